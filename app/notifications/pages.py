"""Pages of alerts: the inbox, one alert, and the two answers a person gives there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from starlette.responses import RedirectResponse, Response

from alerts.values import AlertView
from app.auth.permissions import Action, Principal, Role, may
from app.auth.sessions import MaybeViewer, Viewer, requires_form, requires_viewer, safe_return
from app.context import AppContext, Context
from app.notifications import queries, service
from app.notifications.inbox import (
    LIVE_STATES,
    WITHHELD,
    AlertList,
    AlertRow,
    Show,
    alerts_for,
    due_of,
    place_of,
    waiting_count,
)
from app.notifications.reading import (
    MOST_EVIDENCE,
    Event,
    EvidenceLine,
    answers_of,
    evidence_lines,
    how_sure,
    measures_of,
    numbers_in_words,
    timeline_of,
)
from app.persistence.models import Acknowledgement, AlertApproval
from app.problems import Problem
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Fragment, Page, with_query

router = APIRouter(include_in_schema=False)
log = logging.getLogger("nps.pages")

LIMIT = 50
MOST_NOTE = 2_000
ABSENT = "There is no alert with this address, or you may not see it."
HOME = Crumb(text="Overview", href="/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    text: str
    href: str
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxContext:
    tabs: tuple[Tab, ...]
    list: AlertList
    summary: str
    level: int | None
    type: str
    country: str
    show: str
    done: str | None
    active: tuple[tuple[str, str], ...]
    previous_href: str | None
    next_href: str | None
    empty: str
    here: str
    explanation: str
    may_write: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RowContext:
    """One row after its acknowledgement, as a part of the inbox. `waiting` is the new count for the status line."""

    alert: AlertRow
    summary: str
    here: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertContext:
    view: AlertView
    headline: str
    paragraphs: tuple[str, ...]
    place: str
    waits: str | None
    may_acknowledge: bool
    due: datetime | None
    acknowledged_at: datetime | None
    by_me: bool
    approvals: int
    approvals_needed: int
    approved_by_me: bool
    substance_href: str | None
    numbers: tuple[tuple[str, str], ...]
    how_sure: str
    evidence: tuple[EvidenceLine, ...]
    evidence_more: int
    timeline: tuple[Event, ...]
    restricted: bool
    retracted: bool
    done: bool
    may_assess: bool
    may_sight: bool
    may_measure: bool
    may_close: bool
    measures: tuple[tuple[str, str], ...]


def _here(show: Show, level: int | None, alert_type: str, country: str) -> str:
    chosen = None if show is Show.WAITING else show.value
    return with_query("/inbox", show=chosen, level=level, type=alert_type, country=country)


@router.get("/inbox")
def inbox(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.ALERT_READ))],
    show: Show | None = None,
    level: str = "",
    alert_type: Annotated[str, Query(alias="type")] = "",
    country: Annotated[str, Query(max_length=2)] = "",
    done: Annotated[str | None, Query(max_length=26)] = None,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The alerts that wait; other tabs show what was acknowledged, and all."""
    asked = may(viewer.principal, Action.ALERT_ACKNOWLEDGE) or may(viewer.principal, Action.ALERT_APPROVE)
    show = show or (Show.WAITING if asked else Show.ALL)
    chosen = int(level) if level in {"1", "2", "3", "4"} else None
    alert_type = alert_type if alert_type in words.ALERT_TYPES else ""
    country = country.upper() if country.isalpha() else ""
    now = context.now()
    with context.database.read() as session:
        found = alerts_for(
            session, viewer.principal, now=now, show=show, level=chosen, alert_type=alert_type, country=country, also=done,
            limit=LIMIT, offset=offset,
        )  # fmt: skip
        waiting = waiting_count(session, viewer.principal, now=now) if asked else 0
        frame = build_frame(request, context, session, viewer, title="Inbox", crumbs=(HOME,), waiting=waiting)
    here = _here(show, chosen, alert_type, country)
    tabs = [Tab(text=f"Waiting {waiting}", href="/inbox", current=show is Show.WAITING)] if asked else []
    if may(viewer.principal, Action.ALERT_ACKNOWLEDGE):
        tabs.append(Tab(text="Acknowledged", href="/inbox?show=acknowledged", current=show is Show.ACKNOWLEDGED))
    tabs.append(Tab(text="All", href="/inbox?show=all", current=show is Show.ALL))
    page = InboxContext(
        tabs=tuple(tabs),
        list=found,
        summary=_summary(found, show),
        level=chosen,
        type=alert_type,
        country=country,
        show=show.value,
        done=done,
        active=_active(show, chosen, alert_type, country),
        previous_href=_paged(here, max(offset - LIMIT, 0)) if offset else None,
        next_href=_paged(here, offset + LIMIT) if offset + LIMIT < found.total else None,
        empty=_empty(show, filtered=bool(chosen or alert_type or country), asked=asked),
        here=here,
        explanation=_EXPLANATIONS.get(viewer.principal.role, "") if show is Show.WAITING else "",
        may_write=may(viewer.principal, Action.ALERT_WRITE),
    )
    return Page("notifications/inbox.html", frame, page)


_EXPLANATIONS = {
    Role.AUTHORITY: "Waiting: alerts of level 3 and 4 of your country, and of level 4 of every country.",
    Role.ANALYST: "Waiting: alerts of level 3 and 4 that go to everybody only after approval.",
}


def _paged(here: str, offset: int) -> str:
    return f"{here}{'&' if '?' in here else '?'}offset={offset}" if offset else here


def _summary(found: AlertList, show: Show) -> str:
    text = words.count(found.total, "alert", "alerts")
    return f"{text}, {found.overdue} overdue" if show is Show.WAITING and found.overdue else text


def _empty(show: Show, *, filtered: bool, asked: bool) -> str:
    if filtered:
        return "No alert meets these filters."
    match show:
        case Show.WAITING if asked:
            return "Nothing waits for you."
        case Show.ACKNOWLEDGED:
            return "You have acknowledged no alert yet."
        case _:
            return "No alert has been issued yet that you may see."


def _active(show: Show, level: int | None, alert_type: str, country: str) -> tuple[tuple[str, str], ...]:
    found = []
    if level:
        found.append((f"level: {level} {words.LEVELS[level]}", _here(show, None, alert_type, country)))
    if alert_type:
        found.append((f"type: {words.ALERT_TYPES[alert_type]}", _here(show, level, "", country)))
    if country:
        found.append((f"country: {country_name(country)}", _here(show, level, alert_type, "")))
    return tuple(found)


@router.post("/alerts/{alert_id}/acknowledge")
def acknowledge(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.ALERT_ACKNOWLEDGE))],
    alert_id: str,
    note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
    back: Annotated[str, Form()] = "",
) -> Response:
    """Acknowledges, once. Answers the row for a request of htmx, else leads back to where the button was."""
    now = context.now()
    with context.database.write() as session:
        service.answer(session, viewer.principal, alert_id, "acknowledged", note.strip() or None, now)
    context.wake_worker()
    if request.headers.get("hx-request") != "true":
        target = safe_return(back) if back else f"/alerts/{alert_id}"
        joined = "&" if "?" in target else "?"
        return RedirectResponse(f"{target}{joined}done={alert_id}#done-{alert_id}", status_code=303)
    with context.database.read() as session:
        found = alerts_for(session, viewer.principal, now=now, alert_ids=(alert_id,))
        waiting = alerts_for(session, viewer.principal, now=now, show=Show.WAITING, limit=1)
        frame = build_frame(request, context, session, viewer, title="Inbox", waiting=waiting.total)
    page = RowContext(alert=found.rows[0], summary=_summary(waiting, Show.WAITING), here=safe_return(back))
    return Fragment("notifications/row_answer.html", frame, page)


@router.post("/alerts/{alert_id}/approve")
def approve(
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.ALERT_APPROVE))],
    alert_id: str,
    note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
) -> Response:
    """Counts this analyst's approval and leads back to the alert."""
    with context.database.write() as session:
        service.approve(session, viewer.principal, alert_id, note.strip() or None, context.now())
    context.wake_worker()
    return RedirectResponse(f"/alerts/{alert_id}?done={alert_id}#done-{alert_id}", status_code=303)


def _answer(context: AppContext, viewer: Viewer, alert_id: str, kind: str, note: str) -> Response:
    with context.database.write() as session:
        service.answer(session, viewer.principal, alert_id, kind, note.strip() or None, context.now())
    return RedirectResponse(f"/alerts/{alert_id}#h-timeline", status_code=303)


@router.post("/alerts/{alert_id}/assess")
def assess(
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.ALERT_ACKNOWLEDGE))],
    alert_id: str,
    note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
) -> Response:
    """What the organisation makes of the alert, once."""
    return _answer(context, viewer, alert_id, "assessed", note)


@router.post("/alerts/{alert_id}/sighting")
def sighting(
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.ALERT_SIGHT))],
    alert_id: str,
    note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
) -> Response:
    """We see it too, once."""
    return _answer(context, viewer, alert_id, "sighting", note)


@router.post("/alerts/{alert_id}/close")
def close(
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.ALERT_APPROVE))],
    alert_id: str,
    note: Annotated[str, Form(max_length=MOST_NOTE)] = "",
) -> Response:
    """The alert is over: a last revision says so."""
    with context.database.write() as session:
        service.close(session, viewer.principal, alert_id, note.strip() or "The event is over.", context.now())
    context.wake_worker()
    return RedirectResponse(f"/alerts/{alert_id}", status_code=303)


def _note_seen(context: AppContext, principal: Principal | None, alert_id: str) -> None:
    """An authority that opens an alert has seen it. That this cannot be noted must not keep anybody from reading."""
    if not may(principal, Action.ALERT_ACKNOWLEDGE):
        return
    assert principal is not None
    with context.database.read() as session:
        known = session.scalar(
            select(Acknowledgement.id).where(
                Acknowledgement.alert_id == alert_id,
                Acknowledgement.org_id == principal.org_id,
                Acknowledgement.kind == "seen",
            )
        )
        found = None if known is not None else queries.find(session, principal, alert_id)
    if found is None:
        return
    try:
        with context.database.write() as session:
            service.note_seen(session, principal, found.alert, context.now())
    except OperationalError as error:
        log.warning("that alert %s was seen was not noted: %s", alert_id, error.orig)


@router.get("/alerts/{alert_id}")
def alert(
    request: Request, context: Context, viewer: MaybeViewer, alert_id: str, done: Annotated[str | None, Query()] = None
) -> Response:
    """One alert in the newest revision that the reader may see."""
    principal = viewer.principal if viewer else None
    now = context.now()
    _note_seen(context, principal, alert_id)
    with context.database.read() as session:
        found = queries.find(session, principal, alert_id)
        if found is None:
            raise Problem("not-found", ABSENT)
        view = queries.views_for(session, principal, [found])[0]
        row = alerts_for(session, principal, now=now, alert_ids=(alert_id,)).rows[0]
        approvals = session.scalars(
            select(AlertApproval).where(AlertApproval.alert_id == alert_id).order_by(AlertApproval.at)
        ).all()
        evidence = () if view.withheld else evidence_lines(session, principal, view.evidence)
        headline = WITHHELD if view.withheld else view.texts.headline
        frame = build_frame(
            request, context, session, viewer, title=headline, crumbs=(HOME, Crumb(text="Inbox", href="/inbox?show=all"))
        )
        events = timeline_of(session, principal, found.alert, view, approvals)
        given = answers_of(session, principal, alert_id)
        measures = measures_of(session, principal, alert_id)
    analyst = may(principal, Action.ALERT_APPROVE)
    page = AlertContext(
        view=view,
        headline=headline,
        paragraphs=() if view.withheld else tuple(part.strip() for part in view.texts.full.split("\n\n") if part.strip()),
        place="" if view.withheld else place_of(view.countries, found.alert.region),
        waits=row.waits,
        may_acknowledge=row.may_acknowledge,
        due=due_of(principal, found.alert, view.level) if row.waits else None,
        acknowledged_at=row.acknowledged_at,
        by_me=row.by_me,
        approvals=len(approvals) if analyst else 0,
        approvals_needed=service.approvals_needed(found.alert) if analyst else 0,
        approved_by_me=principal is not None and any(a.actor == principal.actor for a in approvals),
        substance_href=f"/substances/{view.substance['id']}" if view.substance and not view.withheld else None,
        numbers=() if view.withheld else numbers_in_words(view.numbers),
        how_sure=how_sure(view),
        evidence=evidence,
        evidence_more=max(len(view.evidence) - MOST_EVIDENCE, 0),
        timeline=events,
        restricted=found.revision.audience == "country" and view.state in LIVE_STATES,
        retracted=view.state == "retracted",
        done=done == alert_id,
        may_assess=view.state in LIVE_STATES and may(principal, Action.ALERT_ACKNOWLEDGE) and "assessed" not in given,
        may_sight=view.state in LIVE_STATES and may(principal, Action.ALERT_SIGHT) and "sighting" not in given,
        may_measure=may(principal, Action.MEASURE_WRITE) and not view.withheld,
        may_close=view.state in LIVE_STATES and analyst and found.revision.audience == "full",
        measures=measures,
    )
    return Page("notifications/alert.html", frame, page)
