"""One POST of a known structure under load, against a bare FastAPI endpoint that inserts one row through the same session.

Both run as a process of their own on loopback, one after the other in the same run, under the same number of clients. What each
stage of a POST costs is measured in one process without load. Then the same POST over a database of ten thousand detections and
over one of ten times as many, on both kinds of database.

python -m tests.bench intake
NPS_BENCH_DATABASE=sqlite NPS_BENCH_SECONDS=12 NPS_BENCH_SMALL=10000 python -m tests.bench intake
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, Request
from sqlalchemy import delete, update

from app.auth import accounts
from app.auth.permissions import Principal
from app.chemistry import Chemistry
from app.context import AppContext, utc_now
from app.intake import api, service
from app.intake.resolve import check_dates, resolve_report
from app.intake.schemas import ReportIn
from app.main import create_app
from app.operations.copying import copy
from app.persistence import migrations
from app.persistence.base import new_id
from app.persistence.models import Organisation, Report, Substance, Task
from app.persistence.session import Database
from app.settings import Settings
from tests.bench.figures import figure, growth
from tests.bench.imports import databases, empty, made
from tests.bench.world import Size, fill

CLIENTS = 8
SECONDS = float(os.environ.get("NPS_BENCH_SECONDS", "12"))
RATE_AIM, P99_AIM = 0.25, 5.0
SMALL = int(os.environ.get("NPS_BENCH_SMALL", "10000"))  # detections of a database that takes reports in
STRUCTURE = "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1.Cl"


def report(number: int) -> dict[str, Any]:
    return {
        "lab_reference": f"L-{number}",
        "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure", "form": "powder"},
        "substances": [
            {"structure": {"smiles": STRUCTURE}, "techniques": ["gc-ms", "nmr"], "reference_material": "certified",
             "isomers_excluded": "yes"}
        ],
    }  # fmt: skip


def bare(database: Database, org_id: str) -> FastAPI:
    """The least that a POST can do and keep: one row through the same session, committed."""
    app = FastAPI()

    @app.post("/bare")
    def insert(request: Request, body: dict[str, Any]) -> dict[str, str]:
        now = utc_now()
        with database.write() as session:
            row = Report(
                id=new_id(), org_id=org_id, lab_reference=body["lab_reference"], version=1, state="active", outcome="detected",
                tlp="GREEN", country="DE", historical=False, received_at=now, updated_at=now, answer={},
            )  # fmt: skip
            session.add(row)
        return {"id": row.id}

    return app


def serve(url: str, folder: Path, what: str, port: int) -> None:
    settings = Settings(DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for the benchmark only", NPS_RATE_LIMIT=0)
    database = Database(url)
    if what == "bare":
        with database.read() as session:
            org_id = session.query(Organisation).one().id
        app = bare(database, org_id)
    else:
        context = AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=Chemistry(workers=2))
        app = create_app(settings, context=context, run_worker=True)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


async def load(address: str, path: str, key: str, start: int) -> tuple[float, float, float, int]:
    """Requests a second, median and 99th percentile in milliseconds, and how many were sent."""
    times: list[float] = []
    numbers = iter(range(start, start + 10_000_000))
    end = time.perf_counter() + SECONDS

    async def client() -> None:
        async with httpx.AsyncClient(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            while time.perf_counter() < end:
                before = time.perf_counter()
                answer = await http.post(path, json=report(next(numbers)))
                if answer.status_code not in (200, 201):
                    raise RuntimeError(answer.text)
                times.append(time.perf_counter() - before)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    took = time.perf_counter() - began
    times.sort()
    return len(times) / took, 1000 * median(times), 1000 * times[int(len(times) * 0.99)], len(times)


def measure(url: str, folder: Path, what: str, path: str, key: str, start: int) -> tuple[float, float, float]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.intake", url, str(folder), what, str(port)])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{address}/healthz", timeout=1)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        # the first ones are not measured: processes and caches start with them
        with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            for n in range(30):
                http.post(path, json=report(start - 100 + n)).raise_for_status()
        rate, middle, p99, _ = asyncio.run(load(address, path, key, start))
    finally:
        process.terminate()
        process.wait(60)
    return rate, middle, p99


def stages(url: str, folder: Path, principal: Principal) -> None:
    """What each stage of one POST costs, in this process without load."""
    settings = Settings(DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for the benchmark only")
    context = AppContext(settings=settings, database=Database(url), secret=settings.secret(), chemistry=Chemistry(workers=0))
    bodies = [json.dumps(report(5_000_000 + n)).encode() for n in range(200)]
    costs: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        before = time.perf_counter()
        found = work()
        costs.setdefault(name, []).append(time.perf_counter() - before)
        return found

    for body in bodies:
        given: ReportIn = timed("JSON and schema", lambda body=body: api.read_report(body))
        timed("dates", lambda given=given: check_dates(given, context.now().date()))
        timed(
            "known structure: identity, law, confidence",
            lambda g=given: api.reader_of(context).report(g.substances, context.now().date(), "DE"),
        )
        submission = api.submission_of(context, principal, body)
        with context.database.write() as session:
            timed("rows, first detections, alerts", lambda s=submission, d=session: service.store(d, context.chemistry, s))
            timed("flush", session.flush)
            before = time.perf_counter()
        costs.setdefault("commit to disk, trail", []).append(time.perf_counter() - before)
    for name, found in costs.items():
        print(f"  {name}: {1e6 * median(found[20:]):,.0f} µs")
    context.database.dispose()


def posted(url: str, folder: Path) -> tuple[float, float, float]:
    """Reports a second, median and 99th percentile in milliseconds: the most common substance of a world, from a laboratory that
    sent none before.
    """
    database = Database(url)
    now = utc_now()
    given, chemistry = ReportIn.model_validate(report(0)), Chemistry(workers=0)
    (found,) = resolve_report(given, chemistry, now.date())
    assert found.substance is not None
    with database.write() as session:
        session.execute(update(Substance).where(Substance.id == f"S{0:025d}").values(key=found.substance.key))
        # what a service makes up for that stood still, as the snapshots of two nights, would be done meanwhile, and a world that
        # no engine made would be matched again: not asked here
        session.execute(delete(Task).where(Task.topic.in_(("tick", "evaluate", "rescreen"))))
        session.execute(update(Substance).values(engine_version=chemistry.version))
        name = f"bench {now.isoformat()}"
        org: Organisation = accounts.create_organisation(session, name=name, kind="lab", country="DE", test=False, now=now)
        _, key = accounts.create_key(session, org_id=org.id, role="lab", now=now)
    database.dispose()
    rate, middle, p99 = measure(url, folder, "service", "/v1/reports", key, 3_000_000)
    print(f"  {rate:,.0f} reports/s, median {middle:.1f} ms, p99 {p99:.1f} ms", flush=True)
    return rate, middle, p99


def there_and_back(first: str, second: str, folder: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Reports a second and 99th percentile in milliseconds over two databases: medians of four each, there and back twice, as
    the pace of a machine changes.
    """
    found: dict[str, list[tuple[float, float, float]]] = {first: [], second: []}
    for url in (first, second, second, first) * 2:
        print("  first" if url == first else "  second", end="")
        found[url].append(posted(url, folder))
    one, other = ((median(run[0] for run in found[url]), median(run[2] for run in found[url])) for url in (first, second))
    return one, other


def grown(addresses: dict[str, str], folder: Path, wanted: str | None) -> None:
    """Intake over a world and over one of ten times the data; PostgreSQL makes them, the embedded database gets their copies."""
    urls: dict[str, list[str]] = {"sqlite": [], "postgresql": []}
    sizes = {"small": SMALL, "tenfold": 10 * SMALL}
    for which, url in made(addresses["postgresql"], sizes).items():
        urls["postgresql"].append(url)
        world = Database(url)
        migrations.upgrade(world.engine)
        fill(world, Size(detections=sizes[which]))
        if wanted != "postgresql":
            urls["sqlite"].append(f"sqlite:///{folder}/{which}.sqlite")
            target = Database(urls["sqlite"][-1])
            copy(world, target)
            target.dispose()
        world.dispose()
    for kind, pair in urls.items():
        if wanted and kind != wanted:
            continue
        print(f"{kind}, over {SMALL:,} and {10 * SMALL:,} detections")
        (rate, last), (rate_tenfold, last_tenfold) = there_and_back(*pair, folder)
        growth("intake", f"{kind}: reports a second", rate, rate_tenfold)
        growth("intake", f"{kind}: p99 of a POST", last, last_tenfold)


def main() -> None:
    with databases() as addresses, tempfile.TemporaryDirectory(prefix="nps-bench-") as name:
        folder = Path(name)
        wanted = os.environ.get("NPS_BENCH_DATABASE")
        for kind, url in addresses.items():
            if wanted and kind != wanted:
                continue
            database = empty(url)
            with database.write() as session:
                org = accounts.create_organisation(session, name="bench", kind="lab", country="DE", test=False, now=utc_now())
                _, key = accounts.create_key(session, org_id=org.id, role="lab", now=utc_now())
                principal = accounts.principal_of(org, "lab", "cli:bench")
            database.dispose()
            floor = measure(url, folder, "bare", "/bare", key, 1_000)
            whole = measure(url, folder, "service", "/v1/reports", key, 2_000_000)
            print(f"{kind}, {CLIENTS} clients: bare {floor[0]:,.0f} requests/s, median {floor[1]:.1f} ms, p99 {floor[2]:.1f} ms")
            print(f"  POST /v1/reports {whole[0]:,.0f} requests/s, median {whole[1]:.1f} ms, p99 {whole[2]:.1f} ms")
            figure("intake", f"{kind}: rate over the bare endpoint's", whole[0] / floor[0], aim=f">= {RATE_AIM}")
            figure("intake", f"{kind}: p99 over the bare endpoint's", whole[2] / floor[2], "times", f"<= {P99_AIM}")
            stages(url, folder, principal)
        grown(addresses, folder, wanted)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
