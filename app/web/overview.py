"""The first page: what waits for me, and what changed? Each card is loaded by itself and may fail by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar, cast

from fastapi import APIRouter, Request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.permissions import Principal
from app.auth.sessions import MaybeViewer
from app.context import Context
from app.notifications.inbox import AlertList, Show, alerts_for, alerts_since
from app.sharing.masking import Cell, counted
from app.substances.changes import NewSubstance, last_received, moving_group, newest_substances, recent_changes
from app.substances.figures import Figure, month_figure
from app.substances.queries import detections_by_month
from app.web import words
from app.web.frame import build_frame
from app.web.places import country_name
from app.web.templating import Page, with_query

log = logging.getLogger("nps.pages")

router = APIRouter(include_in_schema=False)
MOVING_KEPT = timedelta(minutes=10)

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Generic[T]):
    """What a card shows, or that it could not be loaded."""

    value: T | None
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A key figure: its name, the count, a note under it."""

    name: str
    cell: Cell
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """The chart of the chemical group that grew most, and where its substances are."""

    figure: Figure
    href: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewContext:
    greeting: str
    waiting: Card[AlertList]
    newest: Card[AlertList]
    changed: Card[tuple[Fact, ...]]
    substances: Card[tuple[NewSubstance, ...]]
    last_received: Card[datetime | None]
    moving: Card[Moving | None]


def load(session: Session, name: str, question: Callable[[], T]) -> Card[T]:
    """The card of this question. An error of the database is logged and leaves the other cards standing."""
    try:
        return Card(value=question())
    except SQLAlchemyError:
        log.exception("the card %s could not be loaded", name)
        session.rollback()
        return Card(value=None, failed=True)


def _moving(session: Session, principal: Principal | None, now: datetime) -> Moving | None:
    """The chart of the class that grew most; None where none did."""
    found = moving_group(session, principal, now=now)
    if found is None:
        return None
    name = words.said(words.CHEMICAL_GROUPS, found.group)
    figure = month_figure(name, detections_by_month(session, principal, found.members, now=now), base=None)
    return Moving(figure=figure, href=with_query("/substances", group=found.group), name=name)


@router.get("/")
def overview(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    principal = viewer.principal if viewer else None
    now = context.now()
    with context.database.read() as session:

        def facts() -> tuple[Fact, ...]:
            found = recent_changes(session, principal, now=now)
            rows = [Fact(name="Detections received", cell=found.detections)]
            rows.append(Fact(name="Countries they came from", cell=found.countries))
            rows.append(Fact(name="Substances first seen here", cell=found.first_seen, note="confirmed or probable"))
            if viewer and viewer.principal.role == "authority":
                home = country_name(viewer.principal.country)
                rows.append(Fact(name=f"Detections in {home}", cell=found.home))
            else:
                rows.append(Fact(name="Alerts issued", cell=counted(alerts_since(session, principal, now - timedelta(days=30)))))
            return tuple(rows)

        def moving() -> Moving | None:
            key = (principal.role, principal.org_id, principal.country) if principal else None
            since, kept = context.moving.get(key, (None, None))
            if since is None or now - since > MOVING_KEPT:  # over full months: it does not change from hour to hour
                kept = _moving(session, principal, now)
                context.moving[key] = (now, kept)
            return cast("Moving | None", kept)

        waiting: Card[AlertList] = Card(value=AlertList(rows=(), total=0))
        if principal is not None:
            waiting = load(session, "waiting", lambda: alerts_for(session, principal, now=now, show=Show.WAITING, limit=5))
        page = OverviewContext(
            greeting=f"{viewer.principal.org_name}, {country_name(viewer.principal.country)}" if viewer else "",
            waiting=waiting,
            newest=load(session, "newest alerts", lambda: alerts_for(session, principal, now=now, limit=6)),
            changed=load(session, "changed", facts),
            substances=load(session, "newest substances", lambda: newest_substances(session, principal, now=now, limit=8)),
            last_received=load(session, "last report", lambda: last_received(session, principal)),
            moving=load(session, "moving group", moving),
        )
        title = "Overview"
        if viewer and viewer.principal.kind in {"lab", "authority"}:
            title = f"Overview: {country_name(viewer.principal.country)}"
        frame = build_frame(
            request, context, session, viewer, title=title, waiting=waiting.value.total if waiting.value else None
        )
    return Page("web/overview.html", frame, page)
