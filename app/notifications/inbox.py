"""Alerts as a person meets them: which ones exist for them, what waits for them, by when.

An alert whose newest revisions still wait for approval shows everybody else the newest revision that was let out to all; without
one it does not exist for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, cast, exists, false, func, literal, or_, select
from sqlalchemy.orm import Session, aliased

from app.auth.permissions import Action, Principal, Role, alert_labels, may, visible_tlp
from app.persistence.models import Acknowledgement, Alert, AlertApproval, AlertRevision
from app.web.places import country_name, region_name

ACKNOWLEDGED = "acknowledged"
CLOCKS = {4: timedelta(hours=4), 3: timedelta(hours=24)}
OPEN_STATES = ("issued", "updated")


class Show(StrEnum):
    WAITING = "waiting"
    ACKNOWLEDGED = "acknowledged"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert in a list, in the newest revision that this reader may see.

    `waits` says what is asked of the reader: `acknowledge`, `approve` or nothing (None); `due` by when; `acknowledged_at` and
    `by_me` what their organisation did.
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
    due: datetime | None
    acknowledged_at: datetime | None
    by_me: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertList:
    rows: tuple[AlertRow, ...]
    total: int


def _concerned(principal: Principal, revision: Any) -> ColumnElement[bool]:
    """Those who hear before approval: the submitting laboratory, authorities of the countries, analysts."""
    own = Alert.org_id == principal.org_id
    if principal.role is Role.ANALYST:
        return literal(True)
    if principal.role is Role.AUTHORITY:
        return or_(own, cast(revision.countries, Text).contains(f'"{principal.country}"'))
    return own


def visible_revision(principal: Principal | None, revision: Any) -> ColumnElement[bool]:
    """Whether the reader may see this revision (an alias of AlertRevision) of its alert."""
    if principal is None:
        return and_(Alert.test.is_(False), revision.state != "draft", revision.audience == "full", revision.tlp == "CLEAR")
    if principal.test:
        return Alert.org_id == principal.org_id
    own = Alert.org_id == principal.org_id
    labelled = revision.tlp.in_(alert_labels(principal))
    if principal.role is Role.INDUSTRY:
        labelled = or_(labelled, Alert.type == "industry")
    if principal.role is Role.AUTHORITY:
        home = visible_tlp(principal, own_country=True)
        labelled = or_(labelled, and_(cast(revision.countries, Text).contains(f'"{principal.country}"'), revision.tlp.in_(home)))
    drafts = literal(True) if principal.role is Role.ANALYST else revision.state != "draft"
    released = or_(revision.audience == "full", _concerned(principal, revision))
    return and_(drafts, or_(and_(Alert.test.is_(False), labelled, released), own))


def _what_waits(principal: Principal | None, approved: ColumnElement[bool]) -> ColumnElement[bool]:
    if principal is None:
        return false()
    if may(principal, Action.ALERT_ACKNOWLEDGE):
        return and_(Alert.level >= 3, Alert.state.in_(OPEN_STATES), Acknowledgement.id.is_(None))
    if may(principal, Action.ALERT_APPROVE):
        return and_(Alert.level >= 3, Alert.reviewed.is_(False), Alert.state.in_(("draft", *OPEN_STATES)), ~approved)
    return false()


def alerts_for(
    session: Session,
    principal: Principal | None,
    *,
    show: Show = Show.ALL,
    level: int | None = None,
    alert_type: str | None = None,
    country: str | None = None,
    substance_ids: tuple[str, ...] = (),
    also: str | None = None,
    limit: int = 50,
    offset: int = 0,
) -> AlertList:
    """Alerts that exist for this reader: those that wait by their due time, the others newest first. Two queries.

    `also` is the id of an alert to keep in the list although it no longer waits: the one just acknowledged.
    """
    inner = aliased(AlertRevision)
    newest = (
        select(func.max(inner.revision))
        .where(inner.alert_id == Alert.id, visible_revision(principal, inner))
        .correlate(Alert)
        .scalar_subquery()
    )
    mine = principal.org_id if principal else ""
    actor = principal.actor if principal else ""
    approved = exists().where(AlertApproval.alert_id == Alert.id, AlertApproval.actor == actor)
    waits = _what_waits(principal, approved)
    acknowledged = and_(
        Acknowledgement.alert_id == Alert.id, Acknowledgement.org_id == mine, Acknowledgement.kind == ACKNOWLEDGED
    )
    # by when: an authority's clock starts when it was told, an analyst's when the report came in
    begins = Alert.received_at if may(principal, Action.ALERT_APPROVE) else func.coalesce(Alert.issued_at, Alert.received_at)
    conditions: list[ColumnElement[bool]] = []
    if show is Show.WAITING:
        conditions.append(or_(waits, Alert.id == also) if also else waits)
    elif show is Show.ACKNOWLEDGED:
        conditions.append(Acknowledgement.id.is_not(None))
    if level is not None:
        conditions.append(Alert.level == level)
    if alert_type:
        conditions.append(Alert.type == alert_type)
    if country:
        conditions.append(cast(AlertRevision.countries, Text).contains(f'"{country}"'))
    if substance_ids:
        conditions.append(Alert.substance_id.in_(substance_ids))

    base = (
        select(Alert, AlertRevision, Acknowledgement, waits.label("waits"))
        .select_from(Alert)
        .join(AlertRevision, and_(AlertRevision.alert_id == Alert.id, AlertRevision.revision == newest))
        .outerjoin(Acknowledgement, acknowledged)
        .where(*conditions)
    )
    order = (
        (Alert.level.desc(), begins.asc(), Alert.id)
        if show is Show.WAITING
        else (func.coalesce(Alert.issued_at, Alert.created_at).desc(), Alert.id.desc())
    )
    found = session.execute(base.order_by(*order).limit(limit).offset(offset)).all()
    total = session.scalar(select(func.count()).select_from(base.with_only_columns(Alert.id).subquery())) or 0
    approver = may(principal, Action.ALERT_APPROVE)
    rows = [_row(alert, revision, ack, bool(waits_now), approver, principal) for alert, revision, ack, waits_now in found]
    return AlertList(rows=tuple(rows), total=total)


def alerts_since(session: Session, principal: Principal | None, since: datetime) -> int:
    """How many alerts that exist for this reader were issued since. One query."""
    revision = aliased(AlertRevision)
    seen = select(literal(1)).where(revision.alert_id == Alert.id, visible_revision(principal, revision)).correlate(Alert)
    return session.scalar(select(func.count()).select_from(Alert).where(Alert.issued_at >= since, seen.exists())) or 0


def _row(
    alert: Alert,
    revision: AlertRevision,
    ack: Acknowledgement | None,
    waits: bool,
    approver: bool,
    principal: Principal | None,
) -> AlertRow:
    started = alert.received_at if approver else (alert.issued_at or alert.received_at)
    clock = CLOCKS.get(alert.level)
    return AlertRow(
        id=alert.id,
        type=alert.type,
        level=revision.level,
        state=revision.state,
        reviewed=revision.reviewed,
        controlled=alert.controlled,
        tlp=revision.tlp,
        headline=revision.headline,
        short=revision.short,
        place=place_of(revision.countries, alert.region),
        at=alert.issued_at or alert.created_at,
        waits=("approve" if approver else "acknowledge") if waits else None,
        due=started + clock if clock else None,
        acknowledged_at=ack.at if ack else None,
        by_me=ack is not None and principal is not None and ack.actor == principal.actor,
    )


def place_of(countries: list[Any], region: str | None) -> str:
    """The countries by name, at most three and how many more; else the region."""
    if countries:
        names = ", ".join(country_name(code) for code in countries[:3])
        return f"{names} and {len(countries) - 3} more" if len(countries) > 3 else names
    return region_name(region) if region else ""
