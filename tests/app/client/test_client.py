"""The client against the running service and against a failing one; the worked LIMS example; `nps send`."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from click.testing import CliRunner
from starlette.testclient import TestClient

from app.cli import main
from app.client import AsyncClient, Client, ProblemError, Retry, ServiceUnreachable
from tests.conftest import Service
from tests.examples import lims_bridge

QUICK = Retry(attempts=4, first_seconds=0.01, most_seconds=0.02)
REPORT = {
    "lab_reference": "C-1",
    "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure"},
    "substances": [{"name": "ketamine", "techniques": ["gc-ms"]}],
}


@pytest.fixture
def running(sqlite_service: Service) -> Iterator[tuple[str, str]]:
    """Address and key of a service that listens on loopback."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    application = sqlite_service.client.app
    assert isinstance(sqlite_service.client, TestClient)
    server = uvicorn.Server(uvicorn.Config(application, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}", sqlite_service.key("lab", "DE")["Authorization"].removeprefix("Bearer ")
    server.should_exit = True
    thread.join(timeout=10)


class Flaky(httpx.BaseTransport):
    """Fails as told, then lets through; keeps the keys that came."""

    def __init__(self, failures: list[Callable[[httpx.Request], httpx.Response]]) -> None:
        self.failures = failures
        self.keys: list[str | None] = []
        self.real = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("idempotency-key"))
        if self.failures:
            return self.failures.pop(0)(request)
        return self.real.handle_request(request)

    def close(self) -> None:
        self.real.close()


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("the line went dead")


def answering(status: int, **document: Any) -> Callable[[httpx.Request], httpx.Response]:
    headers = {"retry-after": "0"} if status in (429, 503) else {}
    return lambda request: httpx.Response(status, json=document, headers=headers, request=request)


def test_a_report_is_sent_read_corrected_and_withdrawn(running: tuple[str, str]) -> None:
    address, key = running
    with Client(address, key=key) as client:
        assert client.send_report(REPORT, dry_run=True)["dry_run"] is True
        stored = client.send_report(REPORT)
        assert client.get_report(stored["id"])["substances"][0]["name"] == "ketamine"
        corrected = client.correct_report(stored["id"], REPORT | {"comment": "weighed again"}, version=1)
        assert corrected["version"] == 2
        with pytest.raises(ProblemError) as stale:
            client.correct_report(stored["id"], REPORT, version=1)
        assert (stale.value.status, stale.value.slug) == (412, "stale-version")
        client.withdraw_report(stored["id"], "two samples were mixed up")
        assert [v["kind"] for v in client.versions(stored["id"])] == ["created", "corrected", "withdrawn"]
        assert [r["id"] for r in client.reports()] == [stored["id"]]
        assert client.send_activity({"period": "2026-10", "samples_tested": 9})["samples_tested"] == 9
        assert "Fentanyl" in {s["name"] for s in client.suspects(mz=337.2274, adduct="[M+H]+")}
        assert "technique" in client.vocabularies()


def test_a_refusal_is_an_exception_with_its_fields(running: tuple[str, str]) -> None:
    address, key = running
    with Client(address, key=key) as client, pytest.raises(ProblemError) as refused:
        client.send_report(REPORT | {"sample": {"country": "Germany", "date_sampled": "2026-11-03", "context": "seizure"}})
    assert (refused.value.status, refused.value.slug) == (422, "validation")
    assert refused.value.errors[0]["pointer"] == "/sample/country"


def test_attempts_carry_one_key_and_store_once(running: tuple[str, str]) -> None:
    address, key = running
    flaky = Flaky([broken, answering(503, type="x/problems/unavailable"), answering(429, type="x/problems/rate-limited")])
    with Client(address, key=key, transport=flaky, retry=QUICK) as client:
        stored = client.send_report(REPORT)
        assert len(flaky.keys) == 4
        assert len(set(flaky.keys)) == 1
        assert flaky.keys[0]
        assert len(list(client.reports())) == 1
        # an answer that was lost on the way: the same request gets the first answer
        flaky.failures = [lambda request: (flaky.real.handle_request(request), broken(request))[1]]
        again = client.send_report(REPORT | {"lab_reference": "C-2"})
        assert again["id"] != stored["id"]
        assert len(list(client.reports())) == 2


def test_giving_up_says_what_happened() -> None:
    refusing = Flaky([answering(500, title="Something went wrong", detail="quote abc")])
    with Client("http://127.0.0.1:1", key="k", transport=refusing, retry=QUICK) as client:
        with pytest.raises(ProblemError, match="quote abc"):  # not passing: one attempt
            client.send_report(REPORT)
        assert len(refusing.keys) == 1
        refusing.failures = [broken] * 9
        with pytest.raises(ServiceUnreachable, match="line went dead"):
            client.send_report(REPORT)
        assert len(refusing.keys) == 1 + QUICK.attempts


def test_the_asynchronous_client_does_the_same(running: tuple[str, str], tmp_path: Path) -> None:
    address, key = running
    path = tmp_path / "two.csv"
    path.write_text("No,Date,Substance,Method\nQ1,2026-11-03,MDMA,GC-MS\nQ2,2026-11-04,ketamine,GC-MS\n")

    async def work() -> None:
        async with AsyncClient(address, key=key) as client:
            answers = await asyncio.gather(*(client.send_report(REPORT | {"lab_reference": f"P-{n}"}) for n in range(5)))
            assert len({a["id"] for a in answers}) == 5
            assert len([r async for r in client.reports()]) == 5
            with pytest.raises(ProblemError):
                await client.get_report("0" * 26)
            draft = await client.send_file(path)
            assert draft["state"] == "draft"
            assert "Substance" in draft["mapping"]

    asyncio.run(work())


def test_a_lims_is_kept_in_step(running: tuple[str, str]) -> None:
    address, key = running
    lims = sqlite3.connect(":memory:")
    lims.executescript(lims_bridge.SCHEMA)
    lims.executemany("INSERT INTO sample (no, taken, form) VALUES (?, ?, ?)",
                     [("L-1", "2026-11-02", "PLV"), ("L-2", "2026-11-03", "TBL"), ("L-3", "2026-11", "LIQ")])  # fmt: skip
    lims.executemany(
        "INSERT INTO result VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            ("L-1", "4-FF", "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1", "GCMS+NMR", 1, 1, 4.1),
            ("L-2", "MDMA", None, "GCMS", 0, None, None),
            ("L-3", "GHB", "c1ccc", "IR", 0, None, None),
        ],
    )
    with Client(address, key=key) as nps:
        first = lims_bridge.synchronise(lims, nps)
        assert (first.sent, first.corrected, list(first.to_mend)) == (2, 0, ["L-3"])
        assert first.to_mend["L-3"][0].startswith("/substances/0/structure/smiles")
        assert any("standard" in text for text in first.to_read["L-2"])
        assert lims_bridge.synchronise(lims, nps).sent == 0  # nothing new: nothing goes out
        lims.execute("UPDATE result SET smiles = 'OCCCC(=O)O' WHERE sample = 'L-3'")
        lims.execute("UPDATE result SET standard = 1 WHERE sample = 'L-2'")
        lims.execute("UPDATE sample SET deleted = 1 WHERE no = 'L-1'")
        # the LIMS crashed after sending, before it could write the answer down
        lost = lims_bridge.report_of(lims, lims.execute("SELECT * FROM sample WHERE no = 'L-3'").fetchone())
        digest = lims_bridge.hashlib.sha256(json.dumps(lost, sort_keys=True).encode()).hexdigest()
        nps.send_report(lost, key=f"lims-{digest[:32]}")
        second = lims_bridge.synchronise(lims, nps)
        assert (second.sent, second.corrected, second.withdrawn, second.to_mend) == (1, 1, 1, {})
        states = {r["lab_reference"]: (r["state"], r["version"]) for r in nps.reports()}
    assert states == {"L-1": ("withdrawn", 2), "L-2": ("active", 2), "L-3": ("active", 1)}
    lims.close()


def test_nps_send_prints_an_answer_a_line(running: tuple[str, str]) -> None:
    address, key = running
    lines = [json.dumps(REPORT), "{not json", json.dumps(REPORT | {"lab_reference": "C-9", "substances": []})]
    done = CliRunner().invoke(main, ["send", "--url", address], input="\n".join(lines), env={"NPS_KEY": key})
    assert done.exit_code == 1
    answers = [json.loads(line) for line in done.output.splitlines()]
    assert answers[0]["version"] == 1
    assert [a["error"]["line"] for a in answers[1:]] == [2, 3]
