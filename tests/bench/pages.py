"""The pages and lists over a small world, one ten times and one a hundred times as large in PostgreSQL, page by page in turn: p95
of each, and their ratios.

The databases are read into memory first: how fast the disk is that serves what memory does not hold is not asked here.

python -m tests.bench pages
NPS_BENCH_SMALL=10000 NPS_BENCH_LARGE=1000000 NPS_BENCH_REQUESTS=60 python -m tests.bench pages
"""

from __future__ import annotations

import os
import random
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from sqlalchemy import event, text
from starlette.testclient import TestClient

from app.chemistry import Chemistry
from app.context import AppContext
from app.main import create_app, settle_memory
from app.persistence import migrations
from app.persistence.rollups import fold_all
from app.persistence.session import Database
from app.priorities.snapshots import LABELS, make
from app.settings import Settings
from tests.bench.figures import FOUND, Figure
from tests.bench.imports import databases, made
from tests.bench.world import END, PASSWORD, Size, counted, fill

SMALL = int(os.environ.get("NPS_BENCH_SMALL", "10000"))
SIZES = {"small": SMALL, "tenfold": 10 * SMALL, "large": int(os.environ.get("NPS_BENCH_LARGE", "1000000"))}
REQUESTS = int(os.environ.get("NPS_BENCH_REQUESTS", "60"))
SUBSTANCES = int(os.environ.get("NPS_BENCH_SUBSTANCES", "300"))
ORGANISATIONS = int(os.environ.get("NPS_BENCH_ORGANISATIONS", "60"))
AIM = 2.0
NOW = datetime(END.year, END.month, END.day, 12, tzinfo=UTC)

# name, role, address; {s} and {t} are substances drawn as they are found: common ones most often
PAGES: tuple[tuple[str, str | None, str], ...] = (
    ("overview, public", None, "/"),
    ("overview", "lab", "/"),
    ("substances", "lab", "/substances"),
    ("substances, page 2", "lab", "/substances?sort=-detections&next"),
    ("substances by countries", "analyst", "/substances?sort=-countries"),
    ("substances by name", "lab", "/substances?q=fentanyl&match=contains"),
    ("substances, public", None, "/substances"),
    ("substance, laboratory", "lab", "/substances/{s}"),
    ("substance, authority", "authority", "/substances/{s}"),
    ("substance, reviewer", "reviewer", "/substances/{s}"),
    ("substance, public", None, "/substances/{c}"),
    ("trend as CSV", "lab", "/substances/{s}/detections-by-month.csv"),
    ("priorities", "reviewer", "/priorities"),
    ("compare", "reviewer", "/priorities/compare?s={s}&s={t}"),
    ("family", "reviewer", "/families/nitazene"),
    ("explore", "reviewer", "/explore"),
    ("explore a substance by country", "lab", "/explore?substance={s}&split=country"),
    ("explore a class, rate", "authority", "/explore?group=nitazene&measure=rate"),
    ("explore a country", "analyst", "/explore?country=DE&split=context"),
    ("detections of a substance", "reviewer", "/detections?substance={s}"),
    ("inbox", "authority", "/inbox"),
    ("my reports", "lab", "/reports"),
    ("suspects", "lab", "/suspects"),
    ("suspects by m/z", "lab", "/suspects?mz=337.2273"),
    ("law", "lab", "/law"),
    ("dossiers", "reviewer", "/dossiers"),
    ("coverage", "authority", "/coverage"),
    ("lag", None, "/lag"),
    ("my country", "authority", "/countries/DE"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The service over one database, with a signed-in client a role (None: nobody)."""

    database: Database
    clients: dict[str | None, TestClient]
    statements: list[str]


@contextmanager
def site(url: str, folder: Path, size: Size) -> Iterator[Site]:
    database = Database(url)
    migrations.upgrade(database.engine)
    began = time.perf_counter()
    with database.engine.connect() as connection:
        there = connection.scalar(text("SELECT count(*) FROM organisation"))
    if not there:
        fill(database, size)
        for labels in sorted(set(LABELS.values())):
            make(database, END.replace(day=END.day - 1), labels, NOW)
    fold_all(database)  # what a service that was stopped had left to its next worker
    with database.engine.connect() as connection:
        print(f"{size.detections:,}: made in {time.perf_counter() - began:,.0f} s; {counted(connection)}", flush=True)
    print(f"  {warm(database) / 1e9:.1f} GB read into memory", flush=True)
    settings = Settings(DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for the benchmark only", NPS_RATE_LIMIT=0)
    chemistry = Chemistry(workers=0)
    context = AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=chemistry, now=lambda: NOW)
    app = create_app(settings, context=context)
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    clients: dict[str | None, TestClient] = {}
    for role in (None, "lab", "authority", "reviewer", "analyst"):
        client = TestClient(app, headers={"accept": "text/html"}, follow_redirects=False)
        if role is not None:
            token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
            assert token is not None
            data = {"email": f"{role}@example.org", "password": PASSWORD, "csrf_token": token.group(1), "next": "/"}
            assert client.post("/sign-in", data=data).status_code == 303, role
        clients[role] = client
    settle_memory()  # as a service does that begins
    yield Site(database=database, clients=clients, statements=statements)
    database.dispose()


def warm(database: Database) -> int:
    """Read every table and index of a PostgreSQL database once, so that the machine's disk is not measured; bytes read."""
    chunk, segment, found = 64 << 20, 1 << 30, 0
    with database.engine.connect() as connection:
        rows = connection.execute(
            text(
                "SELECT pg_relation_filepath(oid), pg_relation_size(oid) FROM pg_class WHERE relkind IN ('r', 'i', 't') "
                "AND pg_relation_filepath(oid) IS NOT NULL"
            )
        ).all()
        for path, size in rows:
            for start in range(0, size, chunk):
                part = "" if start < segment else f".{start // segment}"
                given = {"path": path + part, "start": start % segment, "chunk": chunk}
                found += connection.scalar(text("SELECT length(pg_read_binary_file(:path, :start, :chunk))"), given) or 0
    return found


def substance(dice: random.Random, *, clear: bool = False) -> str:
    """An id drawn by the law that the world is made by; with `clear` a shipped one, which exists for everybody."""
    n = int(SUBSTANCES * dice.random() ** 3)
    if clear and n % 3 == 0:
        n += 1
    return f"S{n:025d}"


def timed(found: Site, role: str | None, address: str) -> tuple[float, int]:
    """Milliseconds and queries of one request. Raises RuntimeError where the page did not come."""
    before, began = len(found.statements), time.perf_counter()
    answer = found.clients[role].get(address)
    took = 1000 * (time.perf_counter() - began)
    if answer.status_code != 200:
        raise RuntimeError(f"{address} for {role}: {answer.status_code}")
    return took, len(found.statements) - before


def p95(values: list[float]) -> float:
    return sorted(values)[min(int(len(values) * 0.95), len(values) - 1)]


@dataclass(slots=True)
class Series:
    """What the requests of one page took: milliseconds and numbers of queries of each world, and what went wrong."""

    dice: random.Random
    times: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    queries: defaultdict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    failed: str = ""


def asked(worlds: Mapping[str, Site], pages: Sequence[tuple[str, str | None, str]], *, clear: bool = False) -> dict[str, Series]:
    """Every page once a turn, in each world one after the other: a slow minute of the machine falls on all of them alike.

    With `clear` every substance drawn is one that exists for everybody.
    """
    found = {name: Series(dice=random.Random(name)) for name, *_ in pages}
    for turn in range(REQUESTS + 2):
        for name, role, pattern in pages:
            series = found[name]
            names = {key: substance(series.dice, clear=clear or key == "c") for key in "stc"}
            address = pattern.format(**names)
            for which, world in worlds.items():
                if series.failed:
                    continue
                try:
                    wanted = _second(world, role, address.removesuffix("&next")) if address.endswith("&next") else address
                    took, number = timed(world, role, wanted)
                except RuntimeError as error:
                    series.failed = str(error)
                    continue
                if turn >= 2:  # the first ones fill caches
                    series.times[which].append(took)
                    series.queries[which].add(number)
        if turn % 10 == 0:
            print(f"  turn {turn} of {REQUESTS + 1}", flush=True)
    return found


def measure(worlds: Mapping[str, Site]) -> None:
    found = asked(worlds, PAGES)
    print(f"\n{'page':<34}{'p95 small':>10}{'x 10':>8}{'large':>8}{'over x 10':>10}{'large':>7}{'median':>8}{'queries':>20}")
    over = 0
    for name, series in found.items():
        if series.failed:
            print(f"{name:<34}{series.failed}")
            continue
        slow = {which: p95(series.times[which]) for which in worlds}
        tenfold, large = slow["tenfold"] / slow["small"], slow["large"] / slow["small"]
        middle = median(series.times["large"]) / median(series.times["small"])
        over += large > AIM
        told = (f"{name}, p95 at 10 times the data", tenfold), (f"{name}, p95 of the large world over the small", large)
        FOUND.extend(Figure(bench="pages", name=said, value=value, unit="times", aim=f"<= {AIM:g}") for said, value in told)
        shown = "/".join(f"{min(series.queries[w])}-{max(series.queries[w])}" for w in worlds)
        times = f"{slow['small']:>10.0f}{slow['tenfold']:>8.0f}{slow['large']:>8.0f}"
        print(f"{name:<34}{times}{tenfold:>10.2f}{large:>7.2f}{middle:>8.2f}{shown:>20}", flush=True)
    print(f"\n{over} of {len(PAGES)} pages over {AIM:g} times")


def _second(found: Site, role: str | None, address: str) -> str:
    """The address behind "Next" on a list."""
    link = re.search(r'href="([^"]*cursor=[^"]*)"', found.clients[role].get(address).text)
    assert link is not None
    return link.group(1).replace("&amp;", "&")


def main() -> None:
    given = os.environ.get("NPS_BENCH_SERVER")  # a server that is there, with databases of these names, filled or not
    with tempfile.TemporaryDirectory(prefix="nps-pages-") as name:
        if given:
            _run({which: given.replace("/postgres?", f"/{which}?") for which in SIZES}, Path(name))
            return
        with databases() as addresses:
            _run(made(addresses["postgresql"], SIZES), Path(name))


def _run(urls: dict[str, str], folder: Path) -> None:
    with ExitStack() as stack:
        worlds = {}
        for which, detections in SIZES.items():
            size = Size(detections=detections, substances=SUBSTANCES, organisations=ORGANISATIONS)
            worlds[which] = stack.enter_context(site(urls[which], folder, size))
        measure(worlds)
