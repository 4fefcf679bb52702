"""Real parts: SQLite and PostgreSQL, HTTP receivers on loopback that verify signatures with the public package."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.orm import Session
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.testclient import TestClient

from alerts.values import CaseFacts, DetectionFacts, ReportFacts, Scope, SubstanceFacts
from app import problems
from app.auth import accounts
from app.context import AppContext
from app.notifications import service
from app.notifications.api import router
from app.persistence.models import CaseSubstance, Detection, HarmCase, Organisation, Report, Substance
from app.persistence.session import Database
from app.settings import EgressRule, Settings
from app.worker import Worker
from tests.databases import postgres_copy, ready
from tests.site import FakeChemistry

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="session")
def postgres(postgres_address: str) -> str:
    """The address of a real PostgreSQL server, with the driver."""
    return postgres_address.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'nps.sqlite'}")
    ready(database)
    yield database
    database.dispose()


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[Database]:
    database = Database(postgres_copy(postgres))
    yield database
    database.dispose()


@pytest.fixture(params=["sqlite", "postgres"])
def any_database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return database


# `make soak` runs the faults of this folder on both databases; the suite runs them where the database makes no difference once
EVERY_DATABASE = ["sqlite", "postgres"] if os.environ.get("NPS_EVERY_DATABASE") else ["sqlite"]


@pytest.fixture(params=EVERY_DATABASE)
def faults_database(request: pytest.FixtureRequest) -> Database:
    database: Database = request.getfixturevalue(f"{request.param}_database")
    return database


class Clock:
    """A clock that a test moves. `skew` is added to the real time where `frozen` is None."""

    def __init__(self, at: datetime = NOW) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **span: float) -> None:
        self.at += timedelta(**span)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_context(database: Database, now: Callable[[], datetime] | None = None, smtp_url: str | None = None) -> AppContext:
    settings = Settings(
        DATABASE_URL=database.url,
        NPS_SMTP_URL=smtp_url,
        EGRESS_ALLOW=(EgressRule((ip_network("127.0.0.1/32"), None)),),
        NPS_SECRET_KEY="test key",
    )
    context = AppContext(settings=settings, database=database, secret=b"k" * 32, chemistry=FakeChemistry())
    if now is not None:
        context.now = now
    return context


@pytest.fixture
def context(sqlite_database: Database) -> AppContext:
    return make_context(sqlite_database)


@pytest.fixture
def client(context: AppContext) -> Iterator[TestClient]:
    return TestClient(make_app(context))


def make_app(context: AppContext) -> FastAPI:
    app = FastAPI()
    app.state.context = context
    app.include_router(router)
    problems.install(app, base_url="https://nps.example")
    return app


@dataclass
class Request:
    headers: dict[str, str]
    body: bytes
    at: float
    verified: bool

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Receiver:
    """A webhook receiver on loopback that echoes nonces. `behave` may answer (status, headers, body) in place of the default."""

    secret: str | None = None
    requests: list[Request] = field(default_factory=list)
    behave: Callable[[Request], tuple[int, dict[str, str], bytes]] | None = None

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                request = Request(dict(self.headers.items()), body, time.monotonic(), receiver.verify(self.headers, body))
                receiver.requests.append(request)
                status, headers, answer = (receiver.behave or receiver.default)(request)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    def verify(self, headers: Any, body: bytes) -> bool:
        if self.secret is None:
            return False
        try:
            Webhook(self.secret).verify(body, {k.lower(): v for k, v in headers.items()})
        except WebhookVerificationError:
            return False
        return True

    @staticmethod
    def default(request: Request) -> tuple[int, dict[str, str], bytes]:
        if request.document["type"] == "ping":
            return 200, {"Content-Type": "application/json"}, json.dumps({"nonce": request.document["data"]["nonce"]}).encode()
        return 204, {}, b""

    def of_type(self, prefix: str = "alert.") -> list[Request]:
        return [r for r in self.requests if r.document["type"].startswith(prefix)]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def receivers() -> Iterator[Callable[[], Receiver]]:
    made: list[Receiver] = []

    def make() -> Receiver:
        made.append(Receiver())
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()


def _wait_for(condition: Callable[[], Any], seconds: float = 40.0) -> Any:
    """What the condition gives once it is true. Fails the test where that takes longer."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("the condition did not come true in time")


@dataclass
class World:
    """Makes organisations, keys, substances and stored reports with their facts."""

    context: AppContext
    _lab: Organisation | None = None

    @property
    def lab(self) -> Organisation:
        """The laboratory that sends the reports of a test."""
        if self._lab is None:
            self._lab = self.org("lab", name="the laboratory")
        return self._lab

    def org(self, kind: str, country: str = "DE", *, name: str | None = None, test: bool = False) -> Organisation:
        with self.context.database.write() as session:
            return accounts.create_organisation(
                session, name=name or f"{kind} {country}", kind=kind, country=country, test=test, now=self.context.now()
            )

    def key(self, org: Organisation, role: str | None = None) -> dict[str, str]:
        role = role or ("analyst" if org.kind == "operator" else org.kind)
        with self.context.database.write() as session:
            _, secret = accounts.create_key(session, org_id=org.id, role=role, now=self.context.now())
        return {"Authorization": f"Bearer {secret}"}

    def substance(
        self, name: str = "N-pyrrolidino isotonitazene", group: str = "nitazene", status: str = "not_controlled",
        matches: Sequence[dict[str, Any]] = (),
    ) -> Substance:  # fmt: skip
        with self.context.database.write() as session:
            substance = Substance(
                key=f"inchikey:{name}", name=name, inchikey=None, chemical_group=group, effect_group="opioid",
                legal_status=status, matches=list(matches), engine_version="test", created_at=self.context.now(),
            )  # fmt: skip
            session.add(substance)
        return substance

    def report(
        self, session: Session, org: Organisation, substance: Substance | None, *,
        first_in: Scope = Scope.NONE, country: str = "DE", tlp: str = "GREEN", death: bool = False,
        confidence: str = "confirmed", quiet: bool = False, new_laboratory: bool = False, reference: str | None = None,
        received_at: datetime | None = None, report_id: str | None = None,
    ) -> ReportFacts:  # fmt: skip
        """Store a report with one detection (and a death), and give its facts."""
        now = received_at or self.context.now()
        report = session.get(Report, report_id) if report_id else None
        if report is None:
            report = Report(
                org_id=org.id, lab_reference=reference or f"{time.monotonic_ns()}-{threading.get_ident()}", version=1, tlp=tlp,
                country=country, received_at=now, updated_at=now, answer={},
            )  # fmt: skip
            session.add(report)
        report.tlp, report.country = tlp, country
        session.flush()
        detection = Detection(
            report_id=report.id, position=0, substance_id=substance.id if substance else None, resolution="structure",
            candidates=[], relation="parent", abundance="primary", techniques=[], confidence=confidence, matches=[],
            legal_status=substance.legal_status if substance else "unresolved", warnings=[], engine_version="test",
            org_id=org.id, country=country, region="Europe", sampled_on=date(2026, 11, 3), month="2026-11", context="seizure",
            received_at=now, tlp=tlp, test=org.test, report_version=1,
        )  # fmt: skip
        session.add(detection)
        session.flush()
        cases: tuple[CaseFacts, ...] = ()
        if death:
            case = HarmCase(
                report_id=report.id, position=0, country=country, month="2026-11", seriousness="death", role="combined_cause",
                exposure_evidence="biological", toxidrome=[], icd=[], tlp="AMBER", test=org.test, report_version=1,
                received_at=now,
            )  # fmt: skip
            session.add(case)
            session.flush()
            session.add(CaseSubstance(case_id=case.id, detection_id=detection.id, role="combined_cause"))
            cases = (
                CaseFacts(
                    case_id=case.id, seriousness="death", exposure_evidence="biological", country=country, subdivision=None,
                    month="2026-11", roles={0: "combined_cause"},
                ),
            )  # fmt: skip
        facts = None
        if substance is not None:
            facts = SubstanceFacts(
                id=substance.id, key=substance.key, name=substance.name, chemical_group=substance.chemical_group,
                effect_group=substance.effect_group, controlled=substance.legal_status == "controlled",
                legal_status=substance.legal_status, inchikey=substance.inchikey, alertable=True,
                harmful_adulterant=substance.harmful_adulterant,
            )  # fmt: skip
        return ReportFacts(
            report_id=report.id, org_id=org.id, country=country, region="Europe", subdivision=None, sampled_on=date(2026, 11, 3),
            month="2026-11", tlp=tlp, received_at=now, test=org.test, quiet=quiet, new_laboratory=new_laboratory, flagged=False,
            sold_as=None, cases=cases,
            detections=(
                DetectionFacts(
                    detection_id=detection.id, position=0, substance=facts, label="as reported", resolution="structure",
                    relation="parent", confidence=confidence, abundance="primary", first_in=first_in,
                ),
            ),
        )  # fmt: skip


@pytest.fixture
def world(context: AppContext) -> World:
    return World(context)


@pytest.fixture
def make_world(clock: Clock) -> Callable[[Database], World]:
    """A world on the given database, with a clock that the test moves."""
    return lambda database: World(make_context(database, clock))


@pytest.fixture
def running(context: AppContext) -> Iterator[Worker]:
    """A worker in a thread of this process."""
    worker = Worker(context, schedule=False, concurrency=10)
    worker.start()
    yield worker
    worker.stop()


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """Waits until a condition gives something true, and gives that; at most 20 seconds."""
    return _wait_for


@pytest.fixture
def withdraw() -> Callable[[Session, str], None]:
    """Withdraws a stored report, as intake does."""

    def do(session: Session, report_id: str) -> None:
        session.execute(update(Report).where(Report.id == report_id).values(state="withdrawn"))
        session.execute(update(Detection).where(Detection.report_id == report_id).values(counted=False))
        session.execute(update(HarmCase).where(HarmCase.report_id == report_id).values(counted=False))

    return do


def _store_report(world: World) -> Callable[..., list[str]]:
    def do(org: Organisation, substance: Substance | None, **facts: Any) -> list[str]:
        with world.context.database.write() as session:
            stored = world.report(session, org, substance, **facts)
            raised = service.raise_alerts(session, stored, world.context.now())
        world.context.wake_worker()
        return raised

    return do


@pytest.fixture
def store_report(world: World) -> Callable[..., list[str]]:
    """Stores a report as intake does, raises its alerts, and wakes the worker; the ids of the alerts."""
    return _store_report(world)


def _subscribe(client: TestClient) -> Callable[..., dict[str, Any]]:
    def do(headers: dict[str, str], receiver: Receiver, **wish: Any) -> dict[str, Any]:
        answer = client.post("/v1/subscriptions", headers=headers, json={"channel": "webhook", "url": receiver.url, **wish})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        assert made["state"] == "unverified"
        receiver.secret = made["secret"]
        _wait_for(lambda: client.get(f"/v1/subscriptions/{made['id']}", headers=headers).json()["state"] == "active")
        return made

    return do


@pytest.fixture
def subscribe(client: TestClient) -> Callable[..., dict[str, Any]]:
    """Makes a webhook subscription and waits until its ping was answered."""
    return _subscribe(client)


@pytest.fixture
def make_live_context() -> Callable[[Database], AppContext]:
    """A context over the given database with the real clock."""
    return make_context


@pytest.fixture
def make_world_of() -> Callable[[AppContext], tuple[World, TestClient, Callable[..., Any], Callable[..., Any]]]:
    """World, client, `subscribe` and `store_report` over a context."""

    def make(context: AppContext) -> tuple[World, TestClient, Callable[..., Any], Callable[..., Any]]:
        world, client = World(context), TestClient(make_app(context))
        return world, client, _subscribe(client), _store_report(world)

    return make
