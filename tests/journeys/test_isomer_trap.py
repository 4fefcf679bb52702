"""From the bench to the receiver: isomers that a method cannot tell apart, one molecule under three names, a retraction."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.persistence.outbox import SqlOutbox
from app.worker import Worker
from tests.conftest import Service

ISOTONITAZENE = "CCN(CC)CCn1c(Cc2ccc(OC(C)C)cc2)nc2cc([N+](=O)[O-])ccc21"


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[bytes, dict[str, str]]]]]:
    """A real receiver on loopback: its address and what came, as sent."""
    got: list[tuple[bytes, dict[str, str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append((body, {name.lower(): value for name, value in self.headers.items()}))
            answer = json.dumps({"nonce": json.loads(body)["data"].get("nonce")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook", got
    server.shutdown()
    server.server_close()
    thread.join()


def report(reference: str, *substances: dict[str, Any]) -> dict[str, Any]:
    return {
        "lab_reference": reference,
        "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure", "form": "powder"},
        "substances": list(substances),
    }


def send(service: Service, method: str, path: str, key: dict[str, str], body: Any, status: int = 200, **headers: str) -> Any:
    answer = service.client.request(method, f"/v1/{path}", json=body, headers=key | headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def work(service: Service) -> None:
    worker = Worker(service.context, schedule=False)
    # the service's clock stands still, and clocks of alerts must not run out by the database's
    worker.loop.store = SqlOutbox(service.context.database, clock=service.context.now, database_clock=False)
    while worker.run_due():
        pass


def subscribe(service: Service, key: dict[str, str], address: str) -> Webhook:
    made = send(service, "POST", "subscriptions", key, {"channel": "webhook", "url": address, "tlp_max": "AMBER"}, 201)
    work(service)
    return Webhook(made["secret"])


def told(got: list[tuple[bytes, dict[str, str]]], hook: Webhook) -> list[tuple[str, str, str]]:
    """Type of message, type of alert and substance of what came, every signature verified."""
    found = []
    for body, headers in got:
        # the service's clock stands still here, so that the package's own check of the time would refuse it
        at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC)
        assert hook.sign(headers["webhook-id"], at, body.decode()) in headers["webhook-signature"].split()
        message = json.loads(body)
        if message["type"].startswith("alert."):
            data = message["data"]
            found.append((message["type"], data["type"], data["substance"]["name"] if data["substance"] else ""))
    return found


def test_the_isomer_trap(service: Service, receiver: tuple[str, list[tuple[bytes, dict[str, str]]]]) -> None:
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    hook = subscribe(service, authority, receiver[0])
    trapped = {"name": "isotonitazene or protonitazene", "techniques": ["gc-ms"], "abundance": "primary"}
    stored = send(service, "POST", "reports", lab, report("N-1", trapped), 201)
    found = stored["substances"][0]
    assert (found["substance_id"], found["class"], found["confidence"]) == (None, "nitazene", "probable")
    assert [(c["name"], c["legal_status"]) for c in found["candidates"]] == [
        ("Isotonitazene", "controlled"),
        ("Protonitazene", "controlled"),
    ]
    assert found["legal_status"] == "controlled"  # whichever it is
    assert "tell the candidates apart (Isotonitazene, Protonitazene)" in found["confirmation"]["steps"][0]
    assert (found["first_in"], stored["alerts"]) == ("none", [])  # a set is the first of none of its members
    work(service)
    assert told(receiver[1], hook) == []
    assert send(service, "GET", "substances?q=isotonitazene", lab, None)["items"] == []

    # NMR says which one
    decided = {
        "structure": {"smiles": ISOTONITAZENE},
        "techniques": ["gc-ms", "nmr"],
        "isomers_excluded": "yes",
        "abundance": "primary",
    }
    corrected = send(service, "PUT", f"reports/{stored['id']}", lab, report("N-1", decided), **{"If-Match": '"1"'})
    found = corrected["substances"][0]
    assert (found["name"], found["confidence"], found["confirmation"]["steps"]) == ("Isotonitazene", "confirmed", [])
    assert (found["first_in"], len(corrected["alerts"])) == ("region", 1)
    work(service)
    assert told(receiver[1], hook) == [("alert.issued", "first_region", "Isotonitazene")]
    row = send(service, "GET", "substances?q=isotonitazene", lab, None)["items"][0]
    assert row["detections_12_months"]["n"] == 1
    history = send(service, "GET", f"reports/{stored['id']}/versions", lab, None)["items"]
    assert [(v["version"], v["kind"]) for v in history] == [(1, "created"), (2, "corrected")]
    assert history[0]["report"]["substances"][0]["name"] == "isotonitazene or protonitazene"

    # taken back: whoever got the alert gets the retraction
    send(service, "POST", f"reports/{stored['id']}/withdraw", lab, {"reason": "mixed up two samples"})
    work(service)
    assert told(receiver[1], hook)[-1] == ("alert.retracted", "first_region", "Isotonitazene")
    assert send(service, "GET", "substances?q=isotonitazene", lab, None)["items"][0]["detections_12_months"]["n"] == 0


def test_one_molecule_under_three_names_and_as_a_salt_is_one_substance(service: Service) -> None:
    lab = service.key("lab", "DE")
    ways: list[dict[str, Any]] = [
        {"name": "mephedrone"},
        {"name": "4-MMC"},
        {"name": "4-methylmethcathinone hydrochloride"},
        {"structure": {"smiles": "CNC(C)C(=O)c1ccc(C)cc1.Cl"}},
        {"structure": {"inchi": "InChI=1S/C11H15NO/c1-8-4-6-10(7-5-8)11(13)9(2)12-3/h4-7,9,12H,1-3H3"}},
    ]
    ids = set()
    for n, way in enumerate(ways):
        body = report(f"M-{n}", way | {"techniques": ["gc-ms", "nmr"], "isomers_excluded": "yes"})
        ids.add(send(service, "POST", "reports", lab, body, 201)["substances"][0]["substance_id"])
    assert len(ids) == 1
    found = send(service, "GET", "substances?q=mephedrone", lab, None)["items"]
    assert [(row["id"], row["detections_12_months"]["n"]) for row in found] == [(ids.pop(), len(ways))]
