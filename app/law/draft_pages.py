"""Pages of draft rules: what one would catch, followed while it is asked, and what changed in an instrument between two days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import MaybeViewer, Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.law import drafts
from app.law.impact import SETS
from app.law.loaded import EditionError
from app.law.pages import LAW, day_of
from app.persistence.models import Job
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Fragment, Page
from chem.engine import Engine
from chem.values import EntryInfo, InstrumentInfo, RuleInfo

router = APIRouter(include_in_schema=False)
Drafter = Annotated[Viewer, Depends(requires_viewer(Action.LAW_DRAFT))]
Sender = Annotated[Viewer, Depends(requires_form(Action.LAW_DRAFT))]
MOST_TEXT = 200_000
ABSENT = "There is no job with this address among those of your organisation."
STATES = {"waiting": "Waiting", "running": "Running", "done": "Done", "failed": "Broken off"}
EXAMPLE = """instrument = "XX-DRAFT"
[edition]
id = "draft 1"
from = 2027-01-01
source = "draft of 27 November 2026"

[new]
title = "Draft list"
country = "XX"
order = ["I"]
source = "draft"
[new.clauses.I]
stereoisomers = "none"
text_status = "read"
source = "draft"

[[rule]]
id = "xx-draft/cathinones"
provision = "draft, paragraph 1"
schedule = "I"
entry = "cathinones"
text_status = "read"
reading = "open"
effective_from = 2027-01-01
source = "draft of 27 November 2026"
cores = ["[NX3;!R][CX4:1][CX3:2](=O)c1ccccc1"]
hits = ["CNC(C)C(=O)c1ccccc1"]
near_misses = ["CNC(C)Cc1ccccc1"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    text: str
    jobs: tuple[Job, ...]
    states: Mapping[str, str]
    sets: Mapping[str, str]
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    job: Job
    polls: bool
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangesContext:
    """Entries and rules that began to bind, or ended, between two days."""

    instrument: InstrumentInfo
    first: str
    last: str
    begun: tuple[EntryInfo, ...]
    ended: tuple[EntryInfo, ...]
    rules_begun: tuple[RuleInfo, ...]
    rules_ended: tuple[RuleInfo, ...]


def _draft(request: Request, context: AppContext, viewer: Viewer, text: str, issues: tuple[Issue, ...] = ()) -> Response:
    with context.database.read() as session:
        jobs = drafts.jobs_of(session, viewer.principal)
        frame = build_frame(request, context, session, viewer, title="Draft rule", crumbs=(LAW,), error=bool(issues))
    page = DraftContext(text=text, jobs=tuple(jobs), states=STATES, sets=SETS, issues=issues)
    return Page("law/draft.html", frame, page, status=422 if issues else 200)


@router.get("/law/draft")
def draft(request: Request, context: Context, viewer: Drafter) -> Response:
    """The form for a draft, and those asked before."""
    return _draft(request, context, viewer, EXAMPLE)


@router.post("/law/draft")
def ask(
    request: Request, context: Context, viewer: Sender, document: Annotated[str, Form(max_length=MOST_TEXT)] = ""
) -> Response:
    """Ask a draft of the reference sets, in the background."""
    try:
        with context.database.write() as session:
            job_id = drafts.begin(session, context, viewer.principal, document.replace("\r\n", "\n"))
    except EditionError as error:
        return _draft(request, context, viewer, document, (Issue(field="document", text=f"Draft: {error}."),))
    context.wake_worker()
    return RedirectResponse(f"/jobs/{job_id}", status_code=303)


@router.get("/jobs/{job_id}")
def job(request: Request, context: Context, viewer: Drafter, job_id: str) -> Response:
    """A job of the organisation: its progress, then what came of it."""
    return _job(request, context, viewer, job_id, fragment=False)


@router.get("/jobs/{job_id}/progress")
def progress(request: Request, context: Context, viewer: Drafter, job_id: str) -> Response:
    return _job(request, context, viewer, job_id, fragment=True)


def _job(request: Request, context: AppContext, viewer: Viewer, job_id: str, *, fragment: bool) -> Response:
    with context.database.read() as session:
        found = drafts.own_job(session, job_id, viewer.principal)
        if found is None:
            raise Problem("not-found", ABSENT)
        crumbs = (LAW, Crumb(text="Draft rule", href="/law/draft"))
        frame = build_frame(request, context, session, viewer, title=f"Impact of {found.name}", crumbs=crumbs)
    page = JobContext(job=found, polls=found.state in ("waiting", "running"), state=STATES[found.state])
    return Fragment("law/impact.html", frame, page) if fragment else Page("law/job.html", frame, page)


@router.get("/law/instruments/{instrument}/changes")
def changes(
    request: Request,
    context: Context,
    viewer: MaybeViewer,
    instrument: str,
    first: Annotated[str, Query(alias="from", max_length=10)] = "",
    last: Annotated[str, Query(alias="to", max_length=10)] = "",
) -> Response:
    """What began and what ended in an instrument between two days; without days between its last two editions."""
    engine: Engine = context.chemistry.engine
    info = next((i for i in engine.instruments() if i.id == instrument), None)
    if info is None:
        raise Problem("not-found", f"There is no instrument {instrument!r} here.")
    today = context.now().date()
    until = day_of(last, today)
    starts = sorted(edition.valid_from for edition in info.editions)
    earlier = [day for day in starts if day < until]
    since = day_of(first, earlier[-1] if len(earlier) > 1 else date(until.year - 1, until.month, 1))
    then = {(e.name, e.schedule): e for e in engine.entries(instrument, as_of=since)}
    now = {(e.name, e.schedule): e for e in engine.entries(instrument, as_of=until)}
    with context.database.read() as session:
        crumbs = (LAW, Crumb(text=info.id, href=f"/law/instruments/{info.id}"))
        frame = build_frame(request, context, session, viewer, title=f"Changes in {info.id}", crumbs=crumbs)
    page = ChangesContext(
        instrument=info, first=since.isoformat(), last=until.isoformat(),
        begun=tuple(entry for key, entry in now.items() if key not in then),
        ended=tuple(entry for key, entry in then.items() if key not in now),
        rules_begun=tuple(rule for rule in info.rules if _within(rule.effective_from or rule.not_before, since, until)),
        rules_ended=tuple(rule for rule in info.rules if _within(rule.until, since, until)),
    )  # fmt: skip
    return Page("law/changes.html", frame, page)


def _within(day: date | None, since: date, until: date) -> bool:
    return day is not None and since < day <= until
