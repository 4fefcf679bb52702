"""Pages of the operator: is anything stuck, and is the audit trail what it was?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy import Text, cast, func, select
from starlette.responses import RedirectResponse, Response

from app.audit.verify import Verification, verify
from app.auth.permissions import Action, may
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.operations.desk import ABSENT, Desk, cancel, desk, send_again
from app.operations.doctor import Finding, of_database
from app.persistence.models import AuditEntry, AuditSeal, Task
from app.problems import Problem
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page, span, with_query

router = APIRouter(include_in_schema=False)
Operator = Annotated[Viewer, Depends(requires_viewer(Action.OPERATE))]
Mender = Annotated[Viewer, Depends(requires_form(Action.DELIVERY_MEND))]
Auditor = Annotated[Viewer, Depends(requires_viewer(Action.AUDIT_READ))]
Prover = Annotated[Viewer, Depends(requires_form(Action.AUDIT_READ))]
LIMIT = 50
SEALS = 10
OPS = Crumb(text="Operations", href="/ops")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpsContext:
    desk: Desk
    summary: str
    oldest: str
    health: tuple[Finding, ...]
    said: str
    mends: bool
    accounts: bool
    audits: bool
    curates: bool
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    entries: tuple[AuditEntry, ...]
    seals: tuple[AuditSeal, ...]
    total: int
    actor: str
    about: str
    since: str
    next_href: str | None
    proof: Verification | None
    issues: tuple[Issue, ...] = ()


def _ops(request: Request, context: AppContext, viewer: Viewer, *, said: str = "", issues: tuple[Issue, ...] = ()) -> Response:
    now = context.now()
    health = tuple(of_database(context.settings, context.database, now))
    with context.database.read() as session:
        found = desk(session)
        frame = build_frame(
            request, context, session, viewer, title="Operations", error=bool(issues), crumbs=(Crumb(text="Overview", href="/"),)
        )
    late = (now - found.oldest).total_seconds() if found.oldest is not None and found.oldest < now else 0.0
    page = OpsContext(
        desk=found, summary=_summary(found, health, late), oldest=span(late) if late else "0 s", health=health, said=said,
        mends=may(viewer.principal, Action.DELIVERY_MEND), accounts=may(viewer.principal, Action.ACCOUNTS),
        audits=may(viewer.principal, Action.AUDIT_READ), curates=may(viewer.principal, Action.CURATE), issues=issues,
    )  # fmt: skip
    return Page("ops/ops.html", frame, page, status=422 if issues else 200)


def _summary(found: Desk, health: tuple[Finding, ...], late: float) -> str:
    if any(finding.fails for finding in health):
        return "Something is wrong with the installation: see Health."
    if found.dead_total:
        return f"{words.count(found.dead_total, 'delivery or task needs', 'deliveries or tasks need')} a person."
    if late > 600:
        return f"The oldest task has been due for {span(late)}: does a worker run?"
    failing = len(found.endpoints)
    return f"{words.count(failing, 'endpoint fails', 'endpoints fail')}." if failing else "All paths deliver."


@router.get("/ops")
def ops(request: Request, context: Context, viewer: Operator, done: Annotated[str, Query(max_length=20)] = "") -> Response:
    """The queue, what is dead, what fails, and where everything else is."""
    said = {"again": "Sent again: the next attempt is under way.", "cancelled": "Cancelled; the reason is kept."}.get(done, "")
    return _ops(request, context, viewer, said=said)


@router.post("/ops/dead/again")
def again_all(context: Context, viewer: Mender) -> Response:
    """Everything that is dead, once more."""
    with context.database.write() as session:
        send_again(session, None, context.now())
    context.wake_worker()
    return RedirectResponse("/ops?done=again", status_code=303)


@router.post("/ops/dead/{task_id}/again")
def again(context: Context, viewer: Mender, task_id: str) -> Response:
    """One, once more."""
    with context.database.write() as session:
        if not send_again(session, [task_id], context.now()):
            raise Problem("not-found", ABSENT)
    context.wake_worker()
    return RedirectResponse("/ops?done=again", status_code=303)


@router.post("/ops/dead/{task_id}/cancel")
def cancel_one(
    request: Request, context: Context, viewer: Mender, task_id: str, reason: Annotated[str, Form(max_length=500)] = ""
) -> Response:
    """Give one up, with a reason."""
    if not reason.strip():
        with context.database.read() as session:
            if session.scalar(select(Task.id).where(Task.id == task_id, Task.state == "dead")) is None:
                raise Problem("not-found", ABSENT)
        issue = Issue(field=f"reason-{task_id}", text="Cancelling needs a reason.")
        return _ops(request, context, viewer, issues=(issue,))
    with context.database.write() as session:
        cancel(session, task_id, f"{reason.strip()} ({viewer.name})", context.now())
    return RedirectResponse("/ops?done=cancelled", status_code=303)


def _audit(
    request: Request, context: AppContext, viewer: Viewer, *, actor: str = "", about: str = "", since: str = "",
    before: str | None = None, proof: Verification | None = None,
) -> Response:  # fmt: skip
    query = select(AuditEntry)
    issues: tuple[Issue, ...] = ()
    if actor.strip():
        query = query.where(AuditEntry.actor == actor.strip())
    if since.strip():
        try:
            day = datetime.combine(datetime.fromisoformat(since.strip()).date(), time(), UTC)
            query = query.where(AuditEntry.at >= day, AuditEntry.at < day + timedelta(days=1))
        except ValueError:
            issues = (Issue(field="since", text=f"Day: {since.strip()} is not a date like 2026-11-24."),)
    if about.strip():
        query = query.where(
            cast(AuditEntry.objects, Text).contains(about.strip(), autoescape=True) | (AuditEntry.request_id == about.strip())
        )
    if before is not None:
        query = query.where(AuditEntry.id < before)
    with context.database.read() as session:
        rows = [] if issues else list(session.scalars(query.order_by(AuditEntry.id.desc()).limit(LIMIT + 1)))
        seals = list(session.scalars(select(AuditSeal).order_by(AuditSeal.seq.desc()).limit(SEALS)))
        total = session.scalar(select(func.count()).select_from(AuditSeal)) or 0
        frame = build_frame(
            request,
            context,
            session,
            viewer,
            title="Audit trail",
            error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), OPS),
        )
    next_href = None
    if len(rows) > LIMIT:
        next_href = with_query("/ops/audit", actor=actor, about=about, since=since, before=rows[LIMIT - 1].id)
    page = AuditContext(
        entries=tuple(rows[:LIMIT]), seals=tuple(seals), total=total, actor=actor, about=about, since=since, next_href=next_href,
        proof=proof, issues=issues,
    )  # fmt: skip
    return Page("ops/audit.html", frame, page, status=422 if issues else 200)


@router.get("/ops/audit")
def audit(
    request: Request,
    context: Context,
    viewer: Auditor,
    actor: Annotated[str, Query(max_length=80)] = "",
    about: Annotated[str, Query(max_length=80)] = "",
    since: Annotated[str, Query(max_length=10)] = "",
    before: Annotated[str | None, Query(max_length=26)] = None,
) -> Response:
    """Who wrote or read what, by actor, by an id or a request, by day; and the newest seals."""
    return _audit(request, context, viewer, actor=actor, about=about, since=since, before=before)


@router.post("/ops/audit/verify")
def prove(request: Request, context: Context, viewer: Prover) -> Response:
    """Walk every seal and say whether each entry is what it was."""
    with context.database.read(patient=True) as session:
        proof = verify(session)
    return _audit(request, context, viewer, proof=proof)
