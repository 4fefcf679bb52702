"""Alerts as a person meets them: what waits for me and by when, what I answered, what there is.

What exists for a reader is decided by `app.notifications.queries`; this module adds whose turn it is and the order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, exists, false, func, or_, select
from sqlalchemy.orm import Session

from alerts.policies import ACKNOWLEDGE_WITHIN
from app.auth.permissions import Action, Principal, may
from app.notifications import queries
from app.persistence.models import Acknowledgement, Alert, AlertApproval, AlertRevision
from app.web.places import country_name, region_name

ACKNOWLEDGED = "acknowledged"
LIVE_STATES = ("issued", "updated")
WITHHELD = "Details withheld: TLP:RED shows to named recipients only"


class Show(StrEnum):
    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert in a list, in the newest revision that this reader may see.

    `waits` says what is asked of the reader: `acknowledge`, `approve` or nothing (None); `due` by when. `may_acknowledge` is
    wider: an authority may answer alerts of other countries too. `acknowledged_at` and `by_me` say what their organisation did.
    """

    id: str
    type: str
    level: int
    state: str
    reviewed: bool
    controlled: bool
    tlp: str
    headline: str
    short: str
    place: str
    at: datetime
    waits: str | None
    may_acknowledge: bool
    due: datetime | None
    acknowledged_at: datetime | None
    by_me: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertList:
    """Some alerts of `total`; `overdue` counts those of them, not only of these, whose time ran out."""

    rows: tuple[AlertRow, ...]
    total: int
    overdue: int = 0


def _clock_starts(principal: Principal | None) -> ColumnElement[datetime]:
    """An analyst decides within a time of receipt; an authority acknowledges within a time of being told."""
    if may(principal, Action.ALERT_APPROVE):
        return Alert.received_at.expression
    return func.coalesce(Alert.issued_at, Alert.received_at)


def _waits(principal: Principal | None) -> ColumnElement[bool]:
    """Whether the reader is asked for something, of a row that joins Alert, its revision and the own acknowledgement.

    An authority is asked to acknowledge level 3 of its own country and level 4 of any; an analyst to decide what waits for that.
    """
    if principal is None:
        return false()
    live = and_(AlertRevision.level >= min(ACKNOWLEDGE_WITHIN), AlertRevision.state.in_(LIVE_STATES))
    if may(principal, Action.ALERT_ACKNOWLEDGE):
        concerned = or_(
            cast(AlertRevision.countries, Text).contains(f'"{principal.country}"'), AlertRevision.level == max(ACKNOWLEDGE_WITHIN)
        )
        return and_(live, Acknowledgement.id.is_(None), concerned)
    if may(principal, Action.ALERT_APPROVE):
        approved = exists().where(AlertApproval.alert_id == Alert.id, AlertApproval.actor == principal.actor)
        return and_(live, AlertRevision.audience == "country", ~approved)
    return false()


def _select(
    session: Session, principal: Principal | None, conditions: Sequence[ColumnElement[bool]] = (), *, now: datetime
) -> tuple[Any, ColumnElement[bool], ColumnElement[bool]]:
    """The select of alerts with the own answer, the condition that one waits, and the one that its time ran out."""
    own = and_(
        Acknowledgement.alert_id == Alert.id,
        Acknowledgement.org_id == (principal.org_id if principal else ""),
        Acknowledgement.kind == ACKNOWLEDGED,
    )
    waits = _waits(principal)
    starts = _clock_starts(principal)
    late = or_(*(and_(AlertRevision.level == level, starts < now - clock) for level, clock in ACKNOWLEDGE_WITHIN.items()))
    chosen = queries.visible(session, principal).select_from(Alert).outerjoin(Acknowledgement, own).where(*conditions)
    return chosen, waits, and_(waits, late)


def alerts_for(
    session: Session,
    principal: Principal | None,
    *,
    now: datetime,
    show: Show = Show.ALL,
    level: int | None = None,
    alert_type: str | None = None,
    country: str | None = None,
    substance_ids: Sequence[str] = (),
    alert_ids: Sequence[str] | None = None,
    also: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> AlertList:
    """Alerts that exist for this reader: those that wait with the overdue first, the others newest first.

    `also` is the id of an alert to keep in the list although it no longer waits: the one just acknowledged.
    """
    conditions: list[ColumnElement[bool]] = []
    if level is not None:
        conditions.append(AlertRevision.level == level)
    if alert_type:
        conditions.append(Alert.type == alert_type)
    if country:
        conditions.append(cast(AlertRevision.countries, Text).contains(f'"{country}"', autoescape=True))
    if substance_ids:
        conditions.append(Alert.substance_id.in_(substance_ids))
    if alert_ids is not None:
        conditions.append(Alert.id.in_(alert_ids))
    chosen, waits, late = _select(session, principal, conditions, now=now)
    if show is Show.WAITING:
        chosen = chosen.where(or_(waits, Alert.id == also) if also else waits)
        order: tuple[Any, ...] = (case((late, 0), else_=1), AlertRevision.level.desc(), _clock_starts(principal), Alert.id)
    else:
        order = (Alert.created_at.desc(), Alert.id.desc())
    if show is Show.ACKNOWLEDGED:
        chosen = chosen.where(Acknowledgement.id.is_not(None))
    found = session.execute(
        chosen.add_columns(Acknowledgement, waits.label("waits")).order_by(*order).limit(limit).offset(offset)
    ).all()
    counts = chosen.with_only_columns(case((late, 1), else_=0).label("late")).subquery()
    total, overdue = session.execute(select(func.count(), func.coalesce(func.sum(counts.c.late), 0)).select_from(counts)).one()
    return AlertList(rows=tuple(_row(principal, *row) for row in found), total=total, overdue=int(overdue))


def waiting_count(session: Session, principal: Principal, *, now: datetime) -> int:
    """How many alerts wait for this reader. One query, two for an authority."""
    chosen, waits, _ = _select(session, principal, now=now)
    waiting = chosen.where(waits).with_only_columns(Alert.id).subquery()
    return session.scalar(select(func.count()).select_from(waiting)) or 0


def alerts_since(session: Session, principal: Principal | None, since: datetime) -> int:
    """How many alerts that exist for this reader were issued since."""
    issued = queries.visible(session, principal).where(Alert.issued_at >= since).with_only_columns(Alert.id).subquery()
    return session.scalar(select(func.count()).select_from(issued)) or 0


def is_withheld(principal: Principal | None, alert: Alert, revision: AlertRevision) -> bool:
    """RED shows in full to the sender alone; others who may know of the alert see that it exists."""
    return revision.tlp == "RED" and (principal is None or alert.org_id != principal.org_id)


def _row(
    principal: Principal | None, alert: Alert, revision: AlertRevision, answer: Acknowledgement | None, waits: bool
) -> AlertRow:
    withheld = is_withheld(principal, alert, revision)
    approver = may(principal, Action.ALERT_APPROVE)
    open_to_answer = revision.level >= min(ACKNOWLEDGE_WITHIN) and revision.state in LIVE_STATES and answer is None
    return AlertRow(
        id=alert.id,
        type=alert.type,
        level=revision.level,
        state=revision.state,
        reviewed=revision.reviewed,
        controlled=alert.controlled,
        tlp=revision.tlp,
        headline=WITHHELD if withheld else revision.headline,
        short="" if withheld else revision.short,
        place="" if withheld else place_of(revision.countries, alert.region),
        at=alert.issued_at or alert.created_at,
        waits=("approve" if approver else "acknowledge") if waits else None,
        may_acknowledge=open_to_answer and may(principal, Action.ALERT_ACKNOWLEDGE),
        due=due_of(principal, alert, revision.level),
        acknowledged_at=answer.at if answer else None,
        by_me=answer is not None and principal is not None and answer.actor == principal.actor,
    )


def due_of(principal: Principal | None, alert: Alert, level: int) -> datetime | None:
    """By when this reader's part is wanted; None for levels without a clock."""
    clock = ACKNOWLEDGE_WITHIN.get(level)
    if clock is None:
        return None
    starts = alert.received_at if may(principal, Action.ALERT_APPROVE) else (alert.issued_at or alert.received_at)
    return starts + clock


def place_of(countries: Sequence[Any], region: str | None) -> str:
    """The countries by name, at most three and how many more; else the region."""
    if countries:
        names = ", ".join(country_name(code) for code in countries[:3])
        return f"{names} and {len(countries) - 3} more" if len(countries) > 3 else names
    return region_name(region) if region else ""
