"""What changed lately, over what the reader may see: for the overview."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Text, case, cast, func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Detection, Substance
from app.sharing.masking import MASKED, SHOWN_CONFIDENCES, Cell, masked_cell, masks_detections
from app.sharing.rows import readable_detections
from app.substances.queries import existing_substances, months_back, unpublished

ENOUGH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubstance:
    """A substance by its first detection. Counts are of the last 12 months, of this substance alone."""

    id: str
    name: str
    chemical_group: str
    legal_status: str
    first_month: str
    detections: Cell
    countries: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Counts of the last 30 days, by the time of receipt."""

    detections: Cell
    countries: Cell
    first_seen: Cell
    home: Cell


def last_received(session: Session, principal: Principal | None) -> datetime | None:
    """When the last report that the reader may see came in."""
    return session.scalar(select(func.max(Detection.received_at)).where(readable_detections(principal)))


def recent_changes(session: Session, principal: Principal | None, *, now: datetime, days: int = 30) -> Changes:
    """Two queries."""
    mask = masks_detections(principal)
    since = now - timedelta(days=days)
    home = principal.country if principal else ""
    row = session.execute(
        select(
            func.count(),
            func.count(Detection.country.distinct()),
            func.coalesce(func.sum(case((Detection.country == home, 1), else_=0)), 0),
        ).where(
            readable_detections(principal),
            Detection.relation == "parent",
            Detection.confidence.in_(SHOWN_CONFIDENCES),
            Detection.received_at >= since,
        )
    ).one()
    firsts = (
        select(Detection.substance_id)
        .where(
            readable_detections(principal),
            Detection.substance_id.is_not(None),
            Detection.relation == "parent",
            Detection.confidence.in_(SHOWN_CONFIDENCES),
        )
        .group_by(Detection.substance_id)
        .having(func.min(Detection.received_at) >= since)
        .subquery()
    )
    first_seen = session.scalar(select(func.count()).select_from(firsts)) or 0
    detections = masked_cell(row[0], mask=mask)
    return Changes(
        detections=detections,
        countries=masked_cell(row[1], mask=mask),
        first_seen=masked_cell(first_seen, mask=mask),
        home=masked_cell(int(row[2]), mask=mask),
    )


def newest_substances(session: Session, principal: Principal | None, *, now: datetime, limit: int) -> tuple[NewSubstance, ...]:
    """The substances first detected most recently, newest first. One query."""
    since = months_back(now, 12)[0]
    first = func.min(Detection.sampled_on).label("first")
    lately = case((Detection.month >= since, 1))
    rows = session.execute(
        select(
            Substance,
            func.min(Detection.month),
            func.count(lately),
            func.count(case((Detection.month >= since, cast(Detection.country, Text))).distinct()),
        )
        .join(Detection, Detection.substance_id == Substance.id)
        .where(
            readable_detections(principal),
            Detection.relation == "parent",
            Detection.confidence.in_(SHOWN_CONFIDENCES),
            Substance.ordinary.is_(False),
            Substance.merged_into.is_(None),
        )
        .group_by(Substance.id)
        .order_by(first.desc(), Substance.id)
        .limit(limit)
    ).all()
    mask = masks_detections(principal)
    groups = [substance.connectivity or substance.id for substance, *_ in rows]
    apart = unpublished(session, principal, groups, now=now) if mask else frozenset()
    found = []
    for substance, first_month, detections, countries in rows:
        cell = masked_cell(detections, mask=mask)
        if (substance.connectivity or substance.id) in apart:
            cell = MASKED
        found.append(
            NewSubstance(
                id=substance.id,
                name=substance.name,
                chemical_group=substance.chemical_group,
                legal_status=substance.legal_status,
                first_month=first_month,
                detections=cell,
                countries=cell if cell.n is None else masked_cell(countries, mask=False),
            )
        )
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovingGroup:
    """A chemical group with the ids of its substances that exist for the reader."""

    group: str
    members: tuple[str, ...]


def moving_group(session: Session, principal: Principal | None, *, now: datetime) -> MovingGroup | None:
    """The chemical group that grew most from one year to the next, over full months; None where none has enough detections.

    Growth is judged cautiously: the counts of the earlier year are taken at the upper end of their spread. Two queries at most.
    """
    period = months_back(now, 25)[:-1]
    last = func.sum(case((Detection.month >= period[12], 1), else_=0))
    before = func.sum(case((Detection.month < period[12], 1), else_=0))
    rows = session.execute(
        select(Substance.chemical_group, last, before)
        .join(Detection, Detection.substance_id == Substance.id)
        .where(
            readable_detections(principal),
            Detection.relation == "parent",
            Detection.confidence.in_(SHOWN_CONFIDENCES),
            Detection.month >= period[0],
            Detection.month <= period[-1],
            Substance.chemical_group != "other",
        )
        .group_by(Substance.chemical_group)
    ).all()
    grown = {group: new / (old + 2 * (old + 1) ** 0.5) for group, new, old in rows if new >= ENOUGH}
    if not grown:
        return None
    group = max(grown, key=lambda name: (grown[name], name))
    members = session.scalars(
        select(Substance.id).where(Substance.chemical_group == group, existing_substances(principal)).order_by(Substance.id)
    )
    return MovingGroup(group=group, members=tuple(members))
