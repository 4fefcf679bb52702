"""Imports by hand: send a file, read the proposed mapping, follow the rows, fetch the refused ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, File, Form, Query, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.imports import jobs
from app.imports.api import MAX_MAPPING, chosen_format, reject_file
from app.imports.mapping import MappingError
from app.imports.readers import FileError
from app.imports.rejects import rejects_of
from app.persistence.models import ImportJob, ImportReject
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Fragment, Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.IMPORT))]
Sender = Annotated[Viewer, Depends(requires_form(Action.IMPORT))]
ABSENT = "There is no import with this address among your own."
SHOWN_REJECTS = 20
SHOWN_LABELS = 30
LIMIT = 50
MODES = ("live", "historical")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext:
    jobs: tuple[ImportJob, ...]
    issues: tuple[Issue, ...] = ()
    next_href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """One import. `mapping` and `questions` only while it is a draft; `polls` while its counts still change."""

    job: ImportJob
    polls: bool
    mapping: str = ""
    questions: tuple[str, ...] = ()
    issues: tuple[Issue, ...] = ()
    rejects: tuple[ImportReject, ...] = ()
    labels: tuple[tuple[str, int], ...] = ()


def _list(
    request: Request, context: AppContext, viewer: Viewer, issues: tuple[Issue, ...] = (), before: str | None = None
) -> Response:
    with context.database.read() as session:
        found = jobs.jobs_of(session, viewer.principal, before=before, limit=LIMIT + 1)
        frame = build_frame(
            request, context, session, viewer, title="Imports", error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="My reports", href="/reports")),
        )  # fmt: skip
    next_href = f"/imports?before={found[LIMIT - 1].id}" if len(found) > LIMIT else None
    page = ListContext(jobs=tuple(found[:LIMIT]), issues=issues, next_href=next_href)
    return Page("imports/list.html", frame, page, status=422 if issues else 200)


@router.get("/imports")
def imports(
    request: Request, context: Context, viewer: Reader, before: Annotated[str | None, Query(max_length=26)] = None
) -> Response:
    """The laboratory's imports, and the form for a new file."""
    return _list(request, context, viewer, before=before)


@router.post("/imports")
def send_file(request: Request, context: Context, viewer: Sender, file: Annotated[UploadFile | None, File()] = None) -> Response:
    """Keep the file as a draft; its page proposes a mapping."""
    if file is None or not file.filename:
        return _list(request, context, viewer, (Issue(field="file", text="File: choose one."),))
    try:
        kind = chosen_format(file.filename, None)
        with context.database.write() as session:
            job = jobs.keep_file(
                session, viewer.principal, filename=file.filename, file=file.file, file_format=kind, mapping=None, mode="live",
                context=context,
            )  # fmt: skip
            job_id = job.id
        job_mapping = jobs.proposal_for(context, job_id, kind, viewer.principal.country)
    except (Problem, FileError) as error:
        text = error.errors[0].detail if isinstance(error, Problem) and error.errors else str(error)
        return _list(request, context, viewer, (Issue(field="file", text=f"File: {text}"),))
    with context.database.write() as session:
        row = session.get_one(ImportJob, job_id)
        row.mapping = job_mapping.toml
    return RedirectResponse(f"/imports/{job_id}", status_code=303)


def _context_of(context: AppContext, viewer: Viewer, import_id: str, **more: Any) -> JobContext:
    with context.database.read() as session:
        job = jobs.own_job(session, import_id, viewer.principal)
        if job is None:
            raise Problem("not-found", ABSENT)
        refused = rejects_of(session, import_id, limit=SHOWN_REJECTS)
    mapping = more.pop("mapping", job.mapping or "")
    questions = tuple(line.removeprefix("# To decide: ") for line in mapping.splitlines() if line.startswith("# To decide: "))
    return JobContext(
        job=job,
        polls=job.state in ("waiting", "running"),
        mapping=mapping if job.state == "draft" else "",
        questions=questions if job.state == "draft" else (),
        rejects=tuple(refused),
        labels=tuple(sorted((job.labels or {}).items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN_LABELS]),
        **more,
    )


def _job(request: Request, context: AppContext, viewer: Viewer, page: JobContext) -> Response:
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title=f"Import of {page.job.filename}", error=bool(page.issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Imports", href="/imports")),
        )  # fmt: skip
    return Page("imports/job.html", frame, page, status=422 if page.issues else 200)


@router.get("/imports/{import_id}")
def import_page(request: Request, context: Context, viewer: Reader, import_id: str) -> Response:
    """A draft with its mapping, or what came of the rows."""
    return _job(request, context, viewer, _context_of(context, viewer, import_id))


@router.get("/imports/{import_id}/progress")
def progress(request: Request, context: Context, viewer: Reader, import_id: str) -> Response:
    """The part of the page that changes while rows go in; the last one asks for no more."""
    page = _context_of(context, viewer, import_id)
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title=f"Import of {page.job.filename}")
    return Fragment("imports/progress.html", frame, page)


@router.post("/imports/{import_id}/start")
def start(
    request: Request,
    context: Context,
    viewer: Sender,
    import_id: str,
    mapping: Annotated[str, Form(max_length=MAX_MAPPING)] = "",
    mode: Annotated[str, Form(max_length=20)] = "live",
) -> Response:
    """Import the draft with the mapping as it now stands."""
    text = mapping.replace("\r\n", "\n")
    try:
        with context.database.write() as session:
            job = jobs.own_job(session, import_id, viewer.principal)
            if job is None:
                raise Problem("not-found", ABSENT)
            if job.state == "draft":  # pressed twice: it runs already
                jobs.start(session, job, mapping=text, mode=mode if mode in MODES else "live", context=context)
    except MappingError as error:
        issues = (Issue(field="mapping", text=f"Mapping: {error}"),)
        return _job(request, context, viewer, _context_of(context, viewer, import_id, mapping=text, issues=issues))
    context.wake_worker()
    return RedirectResponse(f"/imports/{import_id}", status_code=303)


@router.get("/imports/{import_id}/rejects.csv")
def rejects(context: Context, viewer: Reader, import_id: str) -> Response:
    """The refused rows, to be mended and sent again."""
    with context.database.read() as session:
        job = jobs.own_job(session, import_id, viewer.principal)
    if job is None:
        raise Problem("not-found", ABSENT)
    return reject_file(context, job)
