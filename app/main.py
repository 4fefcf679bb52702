"""`create_app`: wiring and nothing else."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from sqlalchemy import text

from app import problems
from app.audit import api as audit_api
from app.audit.traced import Traced
from app.auth.doors import check_doors
from app.auth.throttle import SignInThrottle
from app.body import LimitBody
from app.chemistry import Chemistry
from app.context import AppContext, Context
from app.curation import api as curation_api
from app.dossiers import api as dossiers_api
from app.imports import api as imports_api
from app.installation import is_demonstration
from app.intake import api as intake_api
from app.law import api as law_api
from app.law.editions import note_editions
from app.law.follow import Follower
from app.law.loaded import refresh, stored_editions
from app.notifications import api as notifications_api
from app.observability import api as observability_api
from app.observability.logs import configure
from app.packages import api as packages_api
from app.persistence import migrations
from app.persistence.session import Database
from app.priorities import api as priorities_api
from app.screening import api as screening_api
from app.settings import Settings
from app.statements import api as statements_api
from app.substances import api as substances_api
from app.substances import suspects_api
from app.uses import api as uses_api
from app.web.wiring import install as install_pages
from app.worker import Worker

log = logging.getLogger("nps")

DESCRIPTION = """Early-warning service for new psychoactive substances.

Send `Authorization: Bearer KEY`. Errors are RFC 9457 problem documents. Lists page by cursor (`?limit=&cursor=`). Times are
RFC 3339 in UTC, countries ISO 3166-1 alpha-2. Verdicts are information, not legal advice; the official text prevails."""


class NotMigrated(Exception):
    """The database is not at the newest migration; the message names the command."""


def build_context(settings: Settings, *, chemistry: Chemistry | None = None, chemistry_workers: int = 2) -> AppContext:
    """Database, secret and chemistry of one process. Raises NotMigrated where the database is behind this code."""
    database = Database(settings.resolved_database_url)
    if migrations.behind(database.engine):
        if not settings.embedded:
            raise NotMigrated("The database is not at the newest migration. Run: nps migrate")
        migrations.upgrade(database.engine)
    database.check_durability()
    with database.read() as session:
        editions = stored_editions(session)
    context = AppContext(
        settings=settings,
        database=database,
        secret=settings.secret(),
        chemistry=chemistry or Chemistry(workers=chemistry_workers, editions=editions),
        editions=0 if chemistry else len(editions),
    )
    refresh(context)
    with database.write() as session:
        note_editions(session, context.chemistry.engine, context.now())
        context.demo = is_demonstration(session)
    return context


def create_app(settings: Settings, *, context: AppContext | None = None, run_worker: bool = False) -> FastAPI:
    """The service as an ASGI application. With `run_worker`, alerts are carried by a worker in this process."""
    app = assemble(settings.base_url)
    attach(app, context or build_context(settings), run_worker=run_worker)
    if context is None:  # the one service of this process
        settle_memory()
    return app


SEARCH_AFTER = 20_000  # objects made and not dropped, between two searches for garbage among the newest


def settle_memory() -> None:
    """Leave what is there now out of every later search for garbage: it stays as long as the process, and looking through it
    takes a few tenths of a second in the middle of a request. Search less often too: a page of many rows makes and drops
    hundreds of thousands of objects, hardly any of them in a circle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(SEARCH_AFTER, *gc.get_threshold()[1:])


def attach(app: FastAPI, context: AppContext, *, run_worker: bool = False) -> None:
    """Give an assembled application its context, before its lifespan begins; what it had before must have ended."""
    app.state.context = context
    app.state.run_worker = run_worker
    app.state.sign_in_throttle = SignInThrottle(context.database, context.secret)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: AppContext = app.state.context
    worker = Worker(context) if app.state.run_worker else None
    follower = Follower(context)
    follower.start()
    allowed = context.settings.egress_allow
    if allowed:
        log.warning("EGRESS_ALLOW lets deliveries reach: %s", ", ".join(f"{n}:{p or '*'}" for n, p in allowed))
    if worker is not None:
        worker.start()
    # the first structure of the day should not wait for a process to start
    threading.Thread(target=context.chemistry.warm, name="nps-warm", daemon=True).start()
    yield
    if worker is not None:
        worker.stop()
    follower.stop()
    context.structures.close()
    context.chemistry.close()
    context.database.dispose()


def assemble(base_url: str) -> FastAPI:
    """Every route, header and error page of a service at this address, without a context. Raises DoorError as `check_doors`."""
    app = FastAPI(
        title="NPS Early Warning",
        version="1",
        description=DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        docs_url=None,
        responses=problems.responses(),
    )
    app.add_middleware(LimitBody)
    app.add_middleware(Traced)
    for module in (
        intake_api,
        imports_api,
        statements_api,
        curation_api,
        screening_api,
        substances_api,
        priorities_api,
        dossiers_api,
        packages_api,
        suspects_api,
        law_api,
        uses_api,
        audit_api,
        observability_api,
        notifications_api,
    ):
        app.include_router(module.router)
    _health(app)
    render = install_pages(app, https=base_url.startswith("https://"))
    problems.install(app, base_url=base_url, page=render)
    check_doors(app)
    return app


def _health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"], summary="The process answers")
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], summary="The database answers and is migrated")
    def readyz(context: Context) -> JSONResponse:
        with context.database.read() as session:
            session.execute(text("SELECT 1"))
        behind = migrations.behind(context.database.engine)
        body = {"status": "migration needed" if behind else "ok", "engine": context.chemistry.version}
        return JSONResponse(body, status_code=503 if behind else 200)


def app_from_environment() -> FastAPI:
    """For uvicorn's `--factory`: settings from the environment, worker in process."""
    configure(as_json=os.environ.get("NPS_LOG") == "json", verbose=False)
    return create_app(Settings(), run_worker=True)


def app_without_worker() -> FastAPI:
    """The same without a worker."""
    configure(as_json=os.environ.get("NPS_LOG") == "json", verbose=False)
    return create_app(Settings(), run_worker=False)
