"""The page of the operator: is anything stuck?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy import select
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, may
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.operations.desk import ABSENT, Desk, cancel, desk, resent, send_again
from app.operations.doctor import Finding, of_database
from app.persistence.models import Task
from app.problems import Problem
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page, span

router = APIRouter(include_in_schema=False)
Operator = Annotated[Viewer, Depends(requires_viewer(Action.OPERATE))]
Mender = Annotated[Viewer, Depends(requires_form(Action.DELIVERY_MEND))]


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


def _ops(
    request: Request, context: AppContext, viewer: Viewer, *, said: str = "", task: str = "", issues: tuple[Issue, ...] = ()
) -> Response:
    now = context.now()
    health = tuple(of_database(context.settings, context.database, now))
    with context.database.read() as session:
        found = desk(session)
        told = resent(session, task) if task else ""
        frame = build_frame(
            request, context, session, viewer, title="Operations", error=bool(issues), crumbs=(Crumb(text="Overview", href="/"),)
        )
    late = (now - found.oldest).total_seconds() if found.oldest is not None and found.oldest < now else 0.0
    page = OpsContext(
        desk=found, summary=_summary(found, health, late), oldest=span(late) if late else "0 s", health=health,
        said=f"Sent again: {told}." if told else said,
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
def ops(
    request: Request,
    context: Context,
    viewer: Operator,
    done: Annotated[str, Query(max_length=20)] = "",
    task: Annotated[str, Query(max_length=26)] = "",
) -> Response:
    """The queue, what is dead, what fails, and where everything else is. `task` was sent again: what became of it is told."""
    said = {"again": "Sent again: the next attempts are under way.", "cancelled": "Cancelled; the reason is kept."}.get(done, "")
    return _ops(request, context, viewer, said=said, task=task)


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
    return RedirectResponse(f"/ops?task={task_id}", status_code=303)


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
