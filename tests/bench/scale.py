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
from typing import Any

from sqlalchemy import text

from app.persistence import migrations
from app.persistence.session import Database
from tests.bench import intake, pages
from tests.bench.figures import figure
from tests.bench.imports import databases, made
from tests.bench.world import Size

SMALL = int(os.environ.get("NPS_BENCH_SMALL", "10000"))
LARGE = int(os.environ.get("NPS_BENCH_LARGE", "5000000"))
SUBSTANCES, ORGANISATIONS = 5_000, 200
DECIDE = ("substance, laboratory", "substance, authority", "substance, reviewer", "priorities")
INTAKE_AIM, PAGE_AIM = 0.8, 2.0


def timed(small: pages.Site, large: pages.Site) -> None:
    """p95 of the pages where people decide, the two worlds in turn. Raises RuntimeError where a page did not come."""
    wanted = [page for page in pages.PAGES if page[0] in DECIDE]
    for name, series in pages.asked({"small": small, "large": large}, wanted, clear=True).items():
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
    """Intake over the large world and over an empty database."""
    migrations.upgrade(Database(urls["empty"]).engine)
    (of_empty, _), (of_large, _) = intake.there_and_back(urls["empty"], urls["large"], folder)
    name = f"intake over {LARGE:,} detections, of that of an empty database"
    figure("scale", name, of_large / of_empty, aim=f">= {INTAKE_AIM}")


def main() -> None:
    given = os.environ.get("NPS_BENCH_SERVER")  # a server that is there, with the databases `empty`, `small` and `large`
    names = ("empty", "small", "large")
    with tempfile.TemporaryDirectory(prefix="nps-scale-") as name:
        if given:
            run({which: given.replace("/postgres?", f"/{which}?") for which in names}, Path(name))
            return
        with databases() as addresses:
            run(made(addresses["postgresql"], names), Path(name))
