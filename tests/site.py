"""A small application with the pages and a world in it, for tests of pages."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.testclient import TestClient

from app import problems
from app.chemistry import Answer, Identified, Question
from app.context import AppContext
from app.main import attach
from app.persistence.models import ServiceState
from app.persistence.session import Database
from app.settings import Settings
from app.web.wiring import install
from chem.engine import Engine
from chem.errors import StructureProblem
from chem.values import INSTRUMENTS_OF_COUNTRY, Coverage, Structure
from tests.databases import ready
from tests.factories import NOW, PASSWORD, World, match

# the file of a filled site, by whether it is a demonstration: filling one takes longer than most tests
FILLED: dict[bool, bytes] = {}
FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"
PFF = "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1"


class FakeChemistry:
    """Answers what the pages ask of the chemistry, without loading it."""

    version = "test-1"

    @cached_property
    def engine(self) -> Engine:
        return Engine.load()

    def home_of(self, country: str | None) -> tuple[str, ...]:
        return INSTRUMENTS_OF_COUNTRY.get(country or "", ())

    def identify(self, structure: Structure) -> Identified:
        return Identified(self.engine.identify(structure), None, "")

    def assess_many_uncached(self, questions: Sequence[Question]) -> list[Answer]:
        detail = "no structure is read in tests of pages"
        return [Answer(None, None, None, None, StructureProblem.TIMEOUT, detail) for _ in questions]

    def coverage(self, as_of: date, instruments: object = None) -> tuple[Coverage, ...]:
        return (
            Coverage(instrument="UN-1961", edition="2025-12", complete=True, not_coded=()),
            Coverage(
                instrument="UN-1971",
                edition="2025-12",
                complete=False,
                not_coded=("stereoisomers of three entries: text not read",),
            ),
            Coverage(instrument="UN-1988", edition="2025-12", complete=True, not_coded=()),
            Coverage(
                instrument="DE-NPSG",
                edition="2025-07-01",
                complete=False,
                not_coded=("nitazene class in force 1 July 2025: text not available",),
            ),
        )


def fill(world: World) -> None:
    """Organisations of every kind, a person each, five substances, three years of detections, cases and alerts."""
    lab = world.organisation("lab", "DE", name="Test laboratory DE")
    other = world.organisation("lab", "FR", name="Test laboratory FR")
    third = world.organisation("lab", "MT", name="Test laboratory MT")
    authority = world.organisation("authority", "DE", name="Test authority DE")
    for org in (lab, other, authority, world.organisation("reviewer", "CH"), world.organisation("industry", "GB")):
        world.person(org)
    operator = world.organisation("operator", "AT", name="Test operator")
    world.person(operator)
    world.person(operator, role="admin")

    fentanyl = world.substance(
        "Fentanyl", smiles=FENTANYL, inchikey="PJMPHNIQZUBGLI-UHFFFAOYSA-N", group="fentanyl_analogue", effect="opioid",
        status="controlled", matches=(match(atoms=(3, 4, 5, 6)),), names=(("437-38-7", "code"),),
    )  # fmt: skip
    pff = world.substance(
        "para-Fluorofentanyl", smiles=PFF, inchikey="KXUBAVLIJFTASZ-UHFFFAOYSA-N", group="fentanyl_analogue", effect="opioid",
        status="controlled",
        matches=(match(entry="para-Fluorofentanyl"), match(entry="para-Fluorofentanyl", schedule="IV"),
                 match("US-CSA", "I", "fentanyls", basis="generic", captured=False)),
        names=(("4-fluorofentanyl", "common"), ("4-FF", "abbreviation"), ("pFF", "abbreviation")),
    )  # fmt: skip
    mmc = world.substance(
        "2-Methylmethcathinone", smiles="CNC(C)C(=O)c1ccccc1C", inchikey="JEZYPKYGLUWUPH-UHFFFAOYSA-N",
        group="synthetic_cathinone", effect="stimulant", status="not_controlled",
        matches=(match("UK-MDA", "Class B", "cathinones", basis="generic"),), names=(("2-MMC", "abbreviation"),),
    )  # fmt: skip
    nitazene = world.substance(
        "N-Pyrrolidino protonitazene", smiles="CCCOc1ccc(Cc2nc3cc([N+](=O)[O-])ccc3n2CCN2CCCC2)cc1",
        inchikey="AAAAAAAAAAAAAA-UHFFFAOYSA-N", group="nitazene", effect="opioid", status="possibly_controlled",
        matches=(match("UN-1961", "I", "nitazenes", basis="generic", certainty="possible", reason="text_uncertain",
                       atoms=(4, 5, 6, 7)),),
        shipped=False,
    )  # fmt: skip
    hidden = world.substance("Amberine", shipped=False, status="unresolved")
    world.substance("Opium", status="controlled", matches=(match(entry="Opium"),))

    labs = [lab, other, third]
    for index in range(36):
        day = (NOW - timedelta(days=30 * (35 - index) + 25)).date()
        for n in range(index // 5 + (2 if index % 6 == 0 else 0)):
            world.detection(
                labs[n % 3], pff, sampled_on=day, confidence="probable" if n % 3 == 1 else "confirmed",
                tlp="CLEAR" if n % 2 else "GREEN",
            )  # fmt: skip
        if index % 4 == 0:
            world.detection(lab, mmc, sampled_on=day, tlp="CLEAR")
    first = world.detection(lab, nitazene, sampled_on=NOW.date() - timedelta(days=12))
    world.detection(other, hidden, tlp="AMBER", sampled_on=NOW.date() - timedelta(days=5))
    world.detection(lab, None, label="Fentanyl or Analog", confidence="screening")
    for n in range(6):
        death = world.detection(lab, fentanyl, context="biological", sampled_on=NOW.date() - timedelta(days=40 + n))
        world.case(death, role="sole_cause" if n < 2 else "combined_cause")
    world.case(first, seriousness="intensive_care")

    world.alert(
        nitazene, headline="Six deaths: tablets sold as oxycodone contained a nitazene", alert_type="cluster", level=4,
        evidence=(first,), org=lab, tlp="AMBER", reviewed=False, audience="country", at=NOW - timedelta(hours=2),
        numbers={"observed": 6, "expected": 0.4, "days": 30},
    )  # fmt: skip
    world.alert(
        pff, headline="Rapid spread of para-fluorofentanyl", alert_type="rapid_spread", level=3, countries=("DE", "FR", "MT"),
        at=NOW - timedelta(hours=27), evidence=(first,),
    )  # fmt: skip
    world.alert(mmc, headline="First report of 2-MMC in Germany", level=1, tlp="CLEAR", at=NOW - timedelta(days=3))
    world.alert(
        mmc, headline="2-MMC: reported by mistake", level=2, state="retracted", tlp="GREEN", at=NOW - timedelta(days=9), org=lab
    )


IDLE: dict[str, list[FastAPI]] = {}  # assembled sites that no test is using, by their address


class Clock:
    """A clock that tests set forward."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def make_site(
    directory: Path,
    *,
    demo: bool = True,
    base_url: str = "http://testserver",
    fill_world: Callable[[World], None] = fill,
    database_url: str | None = None,
) -> FastAPI:
    """An application over a new SQLite file, or over the empty database given, filled."""
    settings = Settings(
        database_url=database_url or f"sqlite:///{directory / 'pages.sqlite'}", data_dir=directory, base_url=base_url
    )
    usual = database_url is None and fill_world is fill
    filled = FILLED.get(demo) if usual else None
    if filled is not None:
        (directory / "pages.sqlite").write_bytes(filled)
    database = Database(settings.resolved_database_url, pool_size=4)
    if filled is None:
        ready(database)
        with database.write() as session:
            fill_world(World(session))
            if demo:
                session.add(ServiceState(key="demo", value={"seed": 1}))
        if usual:
            FILLED[demo] = _file_of(directory / "pages.sqlite")
    context = AppContext(settings=settings, database=database, secret=b"s" * 32, chemistry=FakeChemistry(), now=Clock())
    idle = IDLE.setdefault(base_url, [])
    app = idle.pop() if idle else _assembled(base_url)
    attach(app, context)
    return app


def _file_of(path: Path) -> bytes:
    """What a database holds, as a file of its own: without the log beside it."""
    copy = path.with_suffix(".copy")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    found = copy.read_bytes()
    copy.unlink()
    return found


def _assembled(base_url: str) -> FastAPI:
    app = FastAPI()
    problems.install(app, base_url=base_url, page=install(app, https=base_url.startswith("https://")))
    return app


def close_site(app: FastAPI) -> None:
    """End a site; the next one at its address takes over the routes, which take longer to put together than most tests."""
    context: AppContext = app.state.context
    context.database.dispose()
    IDLE[context.settings.base_url].append(app)


def client_of(app: FastAPI) -> TestClient:
    return TestClient(app, headers={"accept": "text/html"}, follow_redirects=False, raise_server_exceptions=False)


def token_in(html: str) -> str:
    found = re.search(r'name="csrf_token" value="([^"]+)"', html)
    assert found, "no form token on the page"
    return found.group(1)


def sign_in(client: TestClient, email: str, password: str = PASSWORD, next_address: str = "/") -> httpx.Response:
    """Signs in through the form, as a browser would."""
    form = client.get("/sign-in")
    data = {"email": email, "password": password, "csrf_token": token_in(form.text), "next": next_address}
    return client.post("/sign-in", data=data)


def signed_in(site: FastAPI, email: str) -> TestClient:
    """A client of this person."""
    client = client_of(site)
    assert sign_in(client, email).status_code == 303
    return client


def post(client: TestClient, path: str, page: str, **fields: Any) -> Any:
    """Sends the fields with the token of the form on this page."""
    return client.post(path, data={"csrf_token": token_in(client.get(page).text), **fields})
