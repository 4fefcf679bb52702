"""The curation queue by hand: a label, what it could mean, one decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.curation import merging, service
from app.persistence.models import CurationItem, SubstanceEvent
from app.problems import Problem, from_validation
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.CURATE))]
Curator = Annotated[Viewer, Depends(requires_form(Action.CURATE))]
LIMIT = 50
EVENTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueContext:
    items: tuple[CurationItem, ...]
    events: tuple[SubstanceEvent, ...]
    next_href: str | None
    issues: tuple[Issue, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemContext:
    """A label with what it could mean; `values` is what was typed into a refused form."""

    item: dict[str, Any]
    values: dict[str, str]
    issues: tuple[Issue, ...] = ()


def _queue(
    request: Request, context: AppContext, viewer: Viewer, before: str | None = None, issues: tuple[Issue, ...] = ()
) -> Response:
    with context.database.read() as session:
        found = service.items(session, state="open", before=before, limit=LIMIT + 1)
        events = merging.events(session, substance=None, before=None, limit=EVENTS)
        frame = build_frame(
            request, context, session, viewer, title="Curation", error=bool(issues), crumbs=(Crumb(text="Overview", href="/"),)
        )
    page = QueueContext(
        items=tuple(found[:LIMIT]),
        events=tuple(events),
        next_href=f"/ops/curation?before={found[LIMIT - 1].id}" if len(found) > LIMIT else None,
        issues=issues,
    )
    return Page("curation/queue.html", frame, page, status=422 if issues else 200)


@router.get("/ops/curation")
def queue(
    request: Request, context: Context, viewer: Reader, before: Annotated[str | None, Query(max_length=26)] = None
) -> Response:
    """Labels that wait, and what was decided last."""
    return _queue(request, context, viewer, before)


def _item(
    request: Request, context: AppContext, viewer: Viewer, item_id: str, values: dict[str, str], issues: tuple[Issue, ...]
) -> Response:
    with context.database.read() as session:
        row = session.get(CurationItem, item_id)
        if row is None:
            raise Problem("not-found", "There is no label with this address.")
        frame = build_frame(
            request, context, session, viewer, title=f"Label: {row.label}", error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Curation", href="/ops/curation")),
        )  # fmt: skip
    page = ItemContext(item=service.present(row, context.chemistry), values=values, issues=issues)
    return Page("curation/item.html", frame, page, status=422 if issues else 200)


@router.get("/ops/curation/{item_id}")
def item(request: Request, context: Context, viewer: Reader, item_id: str) -> Response:
    return _item(request, context, viewer, item_id, {}, ())


@router.post("/ops/curation/{item_id}")
def decide(
    request: Request,
    context: Context,
    viewer: Curator,
    item_id: str,
    meaning: Annotated[str, Form(max_length=300)] = "",
    substance: Annotated[str, Form(max_length=8000)] = "",
    group: Annotated[str, Form(max_length=40)] = "",
    reason: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """One of: a candidate or what was typed, a class, or leave it as reported."""
    values = {"meaning": meaning, "substance": substance, "group": group, "reason": reason}
    issues = []
    if len(reason.strip()) < 3:
        issues.append(Issue(field="reason", text="Reason: say why, in a few words."))
    target = service.Target()
    try:
        if meaning == "class" and group:
            target = service.Target(group=group)
        elif meaning == "typed" or meaning.startswith("name:"):
            text = substance if meaning == "typed" else meaning.removeprefix("name:")
            target = service.target_of(context, service.named_by(text))
        elif meaning != "leave":
            issues.append(Issue(field="meaning", text="Meaning: choose one."))
    except ValidationError as error:
        issues.append(Issue(field="substance", text=f"Substance: {from_validation(error.errors()).errors[0].detail}"))
    except Problem as problem:
        issues.append(
            Issue(field="substance", text=f"Substance: {problem.errors[0].detail if problem.errors else problem.detail}")
        )
    if issues:
        return _item(request, context, viewer, item_id, values, tuple(issues))
    with context.database.write() as session:
        service.decide(
            session, context.chemistry, item_id, target, reason=reason.strip(), add_name=True, principal=viewer.principal,
            now=context.now(),
        )  # fmt: skip
    context.wake_worker()
    return RedirectResponse("/ops/curation", status_code=303)


@router.post("/ops/curation/events/{event_id}/undo")
def undo(
    request: Request, context: Context, viewer: Curator, event_id: str, reason: Annotated[str, Form(max_length=2000)] = ""
) -> Response:
    """Take a decision, merge or split back."""
    if len(reason.strip()) < 3:
        return _queue(
            request, context, viewer, issues=(Issue(field=f"reason-{event_id}", text="Reason: say why, in a few words."),)
        )
    with context.database.write() as session:
        merging.undo(session, event_id, reason.strip(), viewer.principal, context.now())
    context.wake_worker()
    return RedirectResponse("/ops/curation", status_code=303)
