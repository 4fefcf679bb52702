"""Two substances that are one, by hand: what a merge would change in numbers, then the merge. Undone on the curation page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.curation import merging
from app.notifications.raising import LIVE_STATES
from app.persistence.models import Alert, Detection, Substance, SubstanceName
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page
from chem.names import fold

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.CURATE))]
Curator = Annotated[Viewer, Depends(requires_form(Action.CURATE))]
Text = Annotated[str, Query(max_length=400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A substance of the merge with what hangs on it."""

    row: Substance
    detections: int
    organisations: int
    alerts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeContext:
    """What was typed, and once both are found, what would happen."""

    values: dict[str, str]
    source: Side | None = None
    into: Side | None = None
    issues: tuple[Issue, ...] = ()


def _found(session: Session, typed: str, field: str, name: str) -> tuple[Substance | None, Issue | None]:
    """The substance that an id, InChIKey or name means among those that were reported."""
    text = typed.strip()
    if not text:
        return None, Issue(field=field, text=f"{name}: name a substance.")
    rows = session.scalars(
        select(Substance)
        .where(
            Substance.merged_into.is_(None),
            (Substance.id == text)
            | (Substance.inchikey == text)
            | Substance.id.in_(select(SubstanceName.substance_id).where(SubstanceName.folded == fold(text))),
        )
        .order_by(Substance.id)
        .limit(2)
    ).all()
    if len(rows) == 1:
        return rows[0], None
    said = "means more than one substance; give the InChIKey" if rows else "is no substance that was reported"
    return None, Issue(field=field, text=f"{name}: '{text[:60]}' {said}.")


def _side(session: Session, row: Substance) -> Side:
    detections, organisations = session.execute(
        select(func.count(Detection.id), func.count(Detection.org_id.distinct())).where(
            Detection.substance_id == row.id, Detection.counted
        )
    ).one()
    alerts = session.scalar(select(func.count()).where(Alert.substance_id == row.id, Alert.state.in_(LIVE_STATES))) or 0
    return Side(row=row, detections=detections, organisations=organisations, alerts=alerts)


def _page(
    request: Request, context: AppContext, viewer: Viewer, values: dict[str, str], more: tuple[Issue, ...] = (), *, asked: bool
) -> Response:
    issues, sides = list(more), list[Side | None]()
    with context.database.read() as session:
        for field, name in (("source", "Substance that goes"), ("into", "Substance that stays")):
            row, issue = _found(session, values[field], field, name) if asked else (None, None)
            if issue is not None:
                issues.append(issue)
            sides.append(_side(session, row) if row is not None else None)
        frame = build_frame(
            request, context, session, viewer, title="Merge two substances", error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Curation", href="/ops/curation")),
        )  # fmt: skip
    page = MergeContext(values=values, source=sides[0], into=sides[1], issues=tuple(issues))
    return Page("curation/merge.html", frame, page, status=422 if issues else 200)


@router.get("/ops/merge")
def merge_page(request: Request, context: Context, viewer: Reader, source: Text = "", into: Text = "") -> Response:
    """Without both the two fields; with both what the merge would do."""
    return _page(request, context, viewer, {"source": source, "into": into, "reason": ""}, asked=bool(source or into))


@router.post("/ops/merge")
def merge(
    request: Request,
    context: Context,
    viewer: Curator,
    source: Annotated[str, Form(max_length=26)],
    into: Annotated[str, Form(max_length=26)],
    reason: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """The merge; the detections, names and alerts of the first go to the second."""
    values = {"source": source, "into": into, "reason": reason}
    if len(reason.strip()) < 3:
        return _page(
            request, context, viewer, values, (Issue(field="reason", text="Reason: say why, in a few words."),), asked=True
        )
    try:
        with context.database.write() as session:
            merging.merge(session, source, into, reason.strip(), viewer.principal, context.now())
    except Problem as problem:
        said = problem.errors[0].detail if problem.errors else problem.detail
        return _page(request, context, viewer, values, (Issue(field="into", text=said),), asked=True)
    context.wake_worker()
    return RedirectResponse("/ops/curation", status_code=303)
