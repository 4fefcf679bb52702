"""How soon an alert reaches its receivers, how many a second go out, and whether bad receivers hold up good ones.

* SQLite, the service with its worker in one process, then with a process each: from the 201 of a report to the first byte at
  the receiver, by the clock that processes share: at 2.5, 25 and 50 reports a second, each of which raises an alert (a death),
  and at 50 of which every fifth does.
* PostgreSQL, four worker processes: deliveries a second against a bare httpx loop that connects anew and posts the same bytes
  to the same receiver.
* SQLite: the 99th percentile of 20 healthy receivers beside three bad ones, against the same 23 all healthy; paired runs.

python -m tests.bench delivery; NPS_BENCH_PARTS=latency,rate,bad chooses.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import func, insert, select

from app.auth import accounts
from app.chemistry import Chemistry
from app.context import AppContext, utc_now
from app.main import create_app
from app.notifications import queries
from app.notifications.bodies import load_subjects, rendering
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertRevision, Body, Organisation, Subscription, Task
from app.persistence.session import Database
from app.persistence.tasks import task_values
from app.settings import Settings
from app.worker import run_until_stopped
from tests.bench.figures import figure, growth
from tests.bench.imports import databases, empty
from tests.bench.intake import report
from tests.bench.receivers import Receivers, receivers
from tests.faults.parts import harmful_report

RATES = ((2.5, 1), (25.0, 1), (50.0, 5), (50.0, 1))  # reports a second, and one of how many raises an alert
SECONDS = float(os.environ.get("NPS_BENCH_SECONDS", "20"))
MEDIAN_AIM, P99_AIM = 0.250, 2.0
WORKERS, LANES, RATIO_AIM = 4, 40, 0.3
DELIVERIES, RUNS = int(os.environ.get("NPS_BENCH_DELIVERIES", "3000")), 3
CHUNK = 500
HEALTHY, BAD, PAIRS, SLOWER_AIM = 20, ("dead", "slow-loris", "flapping"), 5, 1.25
BAD_RATE = 2.0
SECRET = "for the benchmark only"


def settings_of(url: str, folder: Path) -> Settings:
    return Settings(
        DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY=SECRET, NPS_RATE_LIMIT=0, EGRESS_ALLOW="127.0.0.1/32:*"
    )  # fmt: skip


class Scene:
    """A database with a laboratory and an authority, and the keys of both."""

    def __init__(self, url: str) -> None:
        self.database = empty(url)
        found = []
        with self.database.write() as session:
            for kind in ("lab", "authority"):
                org = accounts.create_organisation(session, name=kind, kind=kind, country="DE", test=False, now=utc_now())
                found.append(accounts.create_key(session, org_id=org.id, role=kind, now=utc_now())[1])
        self.lab, self.authority = ({"Authorization": f"Bearer {secret}"} for secret in found)

    def subscribe(self, address: str, urls: Sequence[str]) -> list[str]:
        """Active endpoints at these receivers; their ids."""
        ids = []
        with httpx.Client(base_url=address, headers=self.authority, timeout=60) as http:
            for url in urls:
                made = http.post("/v1/subscriptions", json={"channel": "webhook", "url": url, "tlp_max": "AMBER"})
                made.raise_for_status()
                ids.append(made.json()["id"])
            for identifier in ids:
                while http.get(f"/v1/subscriptions/{identifier}").json()["state"] != "active":
                    time.sleep(0.05)
        return ids


@contextmanager
def service(url: str, folder: Path, *, apart: bool = False) -> Iterator[str]:
    """The service as a process with its worker in it, or `apart` in a process of its own; its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    command = [sys.executable, "-m", "tests.bench.delivery"]
    processes = [subprocess.Popen([*command, "serve-only" if apart else "serve", url, str(folder), str(port)])]
    if apart:
        processes.append(subprocess.Popen([*command, "work", url, str(folder)]))
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{address}/healthz", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)


async def send(
    address: str, headers: dict[str, str], rate: float, seconds: float, start: int, *, every: int = 1
) -> tuple[dict[str, float], list[float]]:
    """Post at this rate whatever the answers take; when the 201 of each alert came, and how long each POST took.

    Over plain sockets: at 50 a second a client library takes as much of a processor as the service does.
    """
    answered: dict[str, float] = {}
    took: list[float] = []
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    host, port = address.removeprefix("http://").split(":")
    head = f"POST /v1/reports HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in headers.items()
    )

    async def one(number: int) -> None:
        body = json.dumps(report(number) if number % every else harmful_report(f"L-{number}")).encode()
        before = time.monotonic()
        while idle and idle[-1][0].at_eof():  # the server closes what was not used for a while
            idle.pop()[1].close()
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        length = next(int(field.split(":")[1]) for field in fields if field.startswith("content-length:"))
        content = await reader.readexactly(length)
        at = time.monotonic()
        assert " 201 " in status, (status, content)
        idle.append((reader, writer))
        took.append(at - before)
        answered.update(dict.fromkeys(json.loads(content)["alerts"], at))

    begun, tasks = time.monotonic(), []
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begun + number / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(start + number)))
    await asyncio.wait_for(asyncio.gather(*tasks), 120)
    for _, writer in idle:
        writer.close()
    return answered, took


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def collect(found: Receivers, expected: set[str], endpoints: int, *, patience: float) -> dict[tuple[str, int], float]:
    """First byte by alert and receiver, once each alert reached each of the first `endpoints`, or patience ended."""
    first: dict[tuple[str, int], float] = {}
    end = time.monotonic() + patience
    while time.monotonic() < end:
        for number, at, _, alert in found.receipts():
            first.setdefault((alert, number), at)
        if all((alert, number) in first for alert in expected for number in range(endpoints)):
            break
        time.sleep(0.1)
    return first


def latency(url: str, folder: Path) -> None:
    for apart in (False, True):
        how = "worker apart" if apart else "worker within"
        with receivers(1) as found:
            scene = Scene(url)
            with service(url, folder, apart=apart) as address:
                scene.subscribe(address, found.urls)
                asyncio.run(send(address, scene.lab, 5, 6, 900_000))  # processes and caches start with these
                for start, (rate, every) in enumerate(RATES, 1):
                    answered, took = asyncio.run(send(address, scene.lab, rate, SECONDS, start * 1_000_000, every=every))
                    first = collect(found, set(answered), 1, patience=120)
                    of_them = "each a death" if every == 1 else f"every {every}th a death"
                    told(f"{how}, {rate:g} reports/s, {of_them}", answered, took, first)
            scene.database.dispose()


def told(how: str, answered: dict[str, float], took: Sequence[float], first: dict[tuple[str, int], float]) -> None:
    """Print and keep the figures of one rate."""
    waits = [first[alert, 0] - at for alert, at in answered.items() if (alert, 0) in first]
    middle, last = statistics.median(waits), percentile(waits, 0.99)
    half = sorted(answered, key=lambda alert: answered[alert])[len(answered) // 2 :]
    later = statistics.median(first[alert, 0] - answered[alert] for alert in half)
    print(
        f"sqlite, {how}, for {SECONDS:.0f} s: 201 to first byte p50 {1000 * middle:.0f} ms, "
        f"p99 {1000 * last:.0f} ms (aims {1000 * MEDIAN_AIM:.0f} and {1000 * P99_AIM:.0f}); "
        f"second half p50 {1000 * later:.0f} ms; "
        f"{len(waits)} of {len(answered)} alerts; POST p50 {1000 * statistics.median(took):.0f} ms, "
        f"p99 {1000 * percentile(took, 0.99):.0f} ms",
        flush=True,
    )
    for name, value, aim in (("p50", middle, MEDIAN_AIM), ("p99", last, P99_AIM)):
        said = f"201 to first byte {name}, sqlite, {how}"
        figure("delivery", said, 1000 * value, "ms", f"<= {1000 * aim:.0f}")


def flood(database: Database, endpoints: Sequence[str], count: int) -> None:
    """So many issued alerts, each with a delivery due now at one of the endpoints, in turn, and its bytes as fan-out leaves
    them.
    """
    now = datetime.now(UTC)
    alerts, revisions, tasks = [], [], []
    for number in range(count):
        alert, endpoint = new_id(), endpoints[number % len(endpoints)]
        alerts.append(
            {"id": alert, "type": "industry", "dedupe_key": f"industry:{alert}", "rule": "industry/1", "level": 2,
             "tlp": "GREEN", "state": "issued", "revision": 1, "received_at": now, "created_at": now, "issued_at": now,
             "country": "DE", "reviewed": True, "controlled": False, "test": False, "needs_approval": False}
        )  # fmt: skip
        revisions.append(
            {"alert_id": alert, "revision": 1, "msg_type": "Alert", "audience": "full", "reviewed": True, "level": 2,
             "state": "issued", "tlp": "GREEN", "headline": "A headline of the usual length for a notice of this kind",
             "short": "s" * 150, "summary": "s" * 300, "full": "f" * 900, "instruction": "i" * 200, "numbers": {},
             "countries": ["DE"], "sent_at": now}
        )  # fmt: skip
        tasks.append(
            task_values(
                topic="deliver", key=f"{alert}.1:{endpoint}", lane=endpoint, priority=2, now=now, seq_no=1,
                payload={"alert": alert, "revision": 1, "subscription": endpoint}, seq_group=f"{endpoint}:{alert}",
            )
        )  # fmt: skip
    with database.write() as session:
        for model, rows in ((Alert, alerts), (AlertRevision, revisions), (Task, tasks)):
            session.execute(insert(model), rows)
    for start in range(0, count, CHUNK):
        wanted = [(str(alert["id"]), 1) for alert in alerts[start : start + CHUNK]]
        with database.write() as session:
            (subscription, org), *_ = session.execute(
                select(Subscription, Organisation).join(Organisation, Organisation.id == Subscription.org_id)
            ).all()
            reader = queries.reader_of_subscription(subscription, org)  # all endpoints are one authority's
            bodies = [rendering(subject, reader, "full", "alert.issued").row() for subject in load_subjects(session, wanted)]
            session.execute(insert(Body), bodies)


def bare(urls: Sequence[str], seconds: float) -> float:
    """Posts a second of a loop over httpx that connects anew each time, with a body and headers as they are sent."""
    body = b'{"type":"alert.issued","timestamp":"2026-11-24T12:00:00Z","data":{"id":"x","full":"%s"}}' % (b"f" * 2300)
    headers = {"content-type": "application/json", "webhook-id": "msg_x", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    sent, begun = 0, time.monotonic()
    with httpx.Client(limits=httpx.Limits(max_keepalive_connections=0), trust_env=False, timeout=20) as http:
        while time.monotonic() - begun < seconds:
            http.post(urls[sent % len(urls)], content=body, headers=headers).raise_for_status()
            sent += 1
    return sent / (time.monotonic() - begun)


def rate(url: str, folder: Path) -> None:
    """Deliveries a second against the bare loop, then with ten times as many waiting."""
    ratios, paces = [], []
    with receivers(LANES) as found:
        for _ in range(RUNS):
            floor = bare(found.urls, 5)
            paces.append(pace_of(url, folder, found, DELIVERIES))
            ratios.append(paces[-1] / floor)
            print(
                f"postgresql, {WORKERS} workers, {LANES} receivers: {paces[-1]:,.0f} deliveries/s, bare loop {floor:,.0f}: "
                f"{ratios[-1]:.2f} (aim {RATIO_AIM})",
                flush=True,
            )
        many = pace_of(url, folder, found, 10 * DELIVERIES)
    said = f"deliveries/s of {WORKERS} workers on postgresql to a bare loop"
    figure("delivery", said, statistics.median(ratios), aim=f">= {RATIO_AIM}")
    growth("delivery", "deliveries a second with so many waiting", statistics.median(paces), many)


def pace_of(url: str, folder: Path, found: Receivers, waiting: int) -> float:
    """Deliveries a second of four workers over the first of so many that wait, while all four run."""
    scene = Scene(url)
    with service(url, folder) as address:
        endpoints = scene.subscribe(address, found.urls)
    flood(scene.database, endpoints, waiting)
    found.receipts()
    command = [sys.executable, "-m", "tests.bench.delivery", "work", url, str(folder)]
    workers = [subprocess.Popen(command) for _ in range(WORKERS)]
    at: list[float] = []
    try:
        while len(at) < DELIVERIES:
            at += [row[1] for row in found.receipts()]
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
    with scene.database.read() as session:
        open_breakers = session.scalar(select(func.count()).select_from(Subscription).where(Subscription.breaker != "closed"))
    scene.database.dispose()
    assert not open_breakers, f"{open_breakers} breakers opened"
    at = sorted(at)[:DELIVERIES]
    return (len(at) - 400) / (at[-200] - at[200])


def bad(url: str, folder: Path) -> None:
    ratios = []
    for pair in range(PAIRS):
        last: dict[str, float] = {}
        kinds = ("healthy", "bad") if pair % 2 == 0 else ("bad", "healthy")
        for kind in kinds:
            with receivers(HEALTHY + len(BAD)) as found:
                scene = Scene(url)
                with service(url, folder) as address:
                    scene.subscribe(address, found.urls)
                    asyncio.run(send(address, scene.lab, 2, 3, 900_000))
                    if kind == "bad":
                        found.behave(["healthy"] * HEALTHY + list(BAD))
                    answered, _ = asyncio.run(send(address, scene.lab, BAD_RATE, SECONDS, 1_000_000))
                    first = collect(found, set(answered), HEALTHY, patience=60)
                scene.database.dispose()
            waits = [at - answered[alert] for (alert, number), at in first.items() if alert in answered and number < HEALTHY]
            assert len(waits) == HEALTHY * len(answered), f"{len(waits)} receipts of {HEALTHY * len(answered)}"
            last[kind] = percentile(waits, 0.99)
        ratios.append(last["bad"] / last["healthy"])
        print(
            f"sqlite, {HEALTHY} healthy receivers at {BAD_RATE:g} alerts/s: p99 {1000 * last['healthy']:.0f} ms among healthy, "
            f"{1000 * last['bad']:.0f} ms beside {', '.join(BAD)}: {ratios[-1]:.2f}",
            flush=True,
        )
    said = "p99 of healthy receivers beside bad ones to among healthy"
    figure("delivery", said, statistics.median(ratios), aim=f"<= {SLOWER_AIM}")


def main() -> None:
    parts = os.environ.get("NPS_BENCH_PARTS", "latency,rate,bad").split(",")
    with databases() as addresses, tempfile.TemporaryDirectory(prefix="nps-bench-") as name:
        folder = Path(name)
        if "latency" in parts:
            latency(addresses["sqlite"], folder)
        if "rate" in parts:
            rate(addresses["postgresql"], folder)
        if "bad" in parts:
            bad(addresses["sqlite"], folder)


def _child(what: str, url: str, folder: Path, port: str = "") -> None:
    settings = settings_of(url, folder)
    context = AppContext(settings=settings, database=Database(url), secret=settings.secret(), chemistry=Chemistry(workers=0))
    if what == "work":
        run_until_stopped(context)
    else:
        app = create_app(settings, context=context, run_worker=what == "serve")
        uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error", access_log=False)


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
