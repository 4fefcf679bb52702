"""Intake and the pages where people decide, over 5 million detections of 5,000 substances by 200 organisations in PostgreSQL.

python -m tests.bench scale
NPS_BENCH_SMALL=10000 NPS_BENCH_LARGE=5000000 python -m tests.bench scale

The posted report is of the most common substance. Compared with the same requests over ten thousand detections and, for intake,
over an empty database.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import delete, text, update

from app.auth import accounts
from app.context import utc_now
from app.intake.resolve import resolve_report
from app.intake.schemas import ReportIn
from app.persistence import migrations
from app.persistence.models import Organisation, Substance, Task
from app.persistence.session import Database
from tests.bench import intake, pages
from tests.bench.figures import figure
from tests.bench.imports import databases
from tests.bench.world import Size

SMALL = int(os.environ.get("NPS_BENCH_SMALL", "10000"))
LARGE = int(os.environ.get("NPS_BENCH_LARGE", "5000000"))
SUBSTANCES, ORGANISATIONS = 5_000, 200
DECIDE = ("substance, laboratory", "substance, authority", "substance, reviewer", "priorities")
INTAKE_AIM, PAGE_AIM = 0.8, 2.0


def key_of_report() -> str:
    """The key under which intake keeps the substance of the posted report."""
    from app.chemistry import Chemistry

    given = ReportIn.model_validate(intake.report(0))
    (found,) = resolve_report(given, Chemistry(workers=0), utc_now().date())
    assert found.substance is not None
    return found.substance.key


def laboratory(database: Database) -> str:
    """A key of a laboratory of its own."""
    now = utc_now()
    with database.write() as session:
        name = f"bench {now.isoformat()}"
        org: Organisation = accounts.create_organisation(session, name=name, kind="lab", country="DE", test=False, now=now)
        _, key = accounts.create_key(session, org_id=org.id, role="lab", now=now)
    return key


def posted(url: str, folder: Path, key: str) -> float:
    """Reports a second of the most common substance, from a laboratory that sent none before."""
    database = Database(url)
    with database.write() as session:
        session.execute(update(Substance).where(Substance.id == f"S{0:025d}").values(key=key))
        # what a service makes up for that stood still, as the snapshots of two nights, would be done meanwhile: not asked here
        session.execute(delete(Task).where(Task.topic.in_(("tick", "evaluate"))))
    api_key = laboratory(database)
    database.dispose()
    rate, middle, p99 = intake.measure(url, folder, "service", "/v1/reports", api_key, 3_000_000)
    print(f"  {rate:,.0f} reports/s, median {middle:.1f} ms, p99 {p99:.1f} ms", flush=True)
    return rate


def timed(small: pages.Site, large: pages.Site) -> None:
    """p95 of the pages where people decide, the two worlds in turn. Raises RuntimeError where a page did not come."""
    wanted = [page for page in pages.PAGES if page[0] in DECIDE]
    for name, series in pages.asked(small, large, wanted, clear=True).items():
        if series.failed:
            raise RuntimeError(series.failed)
        slow, fast = pages.p95(series.times["large"]), pages.p95(series.times["small"])
        print(f"  {name}: {fast:.0f} ms and {slow:.0f} ms")
        figure("scale", f"p95 of {name}, {LARGE:,} over {SMALL:,} detections", slow / fast, "times", f"<= {PAGE_AIM}")


def run(urls: dict[str, str], folder: Path) -> None:
    pages.SUBSTANCES = SUBSTANCES
    sizes = {"small": SMALL, "large": LARGE}
    worlds = {w: Size(detections=n, substances=SUBSTANCES, organisations=ORGANISATIONS) for w, n in sizes.items()}
    with (
        pages.site(urls["small"], folder, worlds["small"]) as small,
        pages.site(urls["large"], folder, worlds["large"]) as large,
    ):
        with large.database.engine.connect() as connection:
            size: Any = connection.scalar(text("SELECT pg_database_size(current_database())"))
            rows: Any = connection.scalar(text("SELECT count(*) FROM detection"))
        figure("scale", "bytes on disk for a detection, everything counted", size / rows, "bytes")
        timed(small, large)
    taken(urls, folder)


def taken(urls: dict[str, str], folder: Path) -> None:
    """Intake over the large world and over an empty one: there and back, twice, and the median, as a machine's pace changes."""
    key = key_of_report()
    migrations.upgrade(Database(urls["empty"]).engine)
    rates: dict[str, list[float]] = {"empty": [], "large": []}
    for which in ("empty", "large", "large", "empty") * 2:
        print(f"  {which}", end="")
        rates[which].append(posted(urls[which], folder, key))
    of_empty = median(rates["large"]) / median(rates["empty"])
    figure("scale", f"intake over {LARGE:,} detections, of that of an empty database", of_empty, aim=f">= {INTAKE_AIM}")


def main() -> None:
    given = os.environ.get("NPS_BENCH_SERVER")  # a server that is there, with the databases `empty`, `small` and `large`
    names = ("empty", "small", "large")
    with tempfile.TemporaryDirectory(prefix="nps-scale-") as name:
        if given:
            run({which: given.replace("/postgres?", f"/{which}?") for which in names}, Path(name))
            return
        with databases() as addresses:
            server = Database(addresses["postgresql"])
            urls = {}
            with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                for which in names:
                    connection.execute(text(f"CREATE DATABASE {which}"))
                    urls[which] = server.engine.url.set(database=which).render_as_string(hide_password=False)
            server.dispose()
            run(urls, Path(name))
