"""What changed lately, over what the reader may see: for the overview."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, and_, case, cast, func, literal, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Detection, DetectionCell, DetectionDelta, Substance, SubstanceMonth
from app.sharing.counts import LAST_MONTH, Cut, cells_of, counts
from app.sharing.masking import MASKED, SHOWN_CONFIDENCES, Cell, counted, masked_cell, masks_detections
from app.sharing.rows import more_cells, open_cells, readable_detections
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
    shown = and_(readable_detections(principal), Detection.relation == "parent", Detection.confidence.in_(SHOWN_CONFIDENCES))
    rows = session.execute(
        select(Detection.substance_id, Detection.country, func.count())
        .where(shown, Detection.received_at >= since)
        .group_by(Detection.substance_id, Detection.country)
    ).all()
    earlier = select(literal(1)).where(Detection.substance_id == Substance.id, shown, Detection.received_at < since)
    found = {substance for substance, *_ in rows if substance is not None}
    firsts = select(func.count()).where(Substance.id.in_(found), ~earlier.correlate(Substance).exists())
    first_seen = session.scalar(firsts) or 0
    return Changes(
        detections=masked_cell(sum(n for *_, n in rows), mask=mask),
        countries=masked_cell(len({country for _, country, _ in rows}), mask=mask),
        first_seen=masked_cell(first_seen, mask=mask),
        home=masked_cell(sum(n for _, country, n in rows if country == home), mask=mask),
    )


def first_month_of(session: Session, principal: Principal | None) -> dict[str, str]:
    """The month of the first detection of each substance that is not ordinary, by id. Three queries at most.

    The first month of a substance is looked up by itself, under each rule that opens rows to the reader; substances with lines
    that are not folded yet are counted.
    """
    wanted = and_(Substance.ordinary.is_(False), Substance.merged_into.is_(None))
    pending = [key for key in session.scalars(select(DetectionDelta.substance_id).distinct()) if key]

    def first(months: Any, rule: ColumnElement[bool]) -> ScalarSelect[str]:
        query = select(months.month).where(months.substance_id == Substance.id, months.n > 0, rule, *Cut().conditions(months))
        return query.order_by(months.month).limit(1).correlate(Substance).scalar_subquery()

    ways = [first(SubstanceMonth, open_cells(principal, SubstanceMonth))]
    ways += [first(DetectionCell, rule) for rule in more_cells(principal, DetectionCell)]
    found = {
        key: min(month for month in months if month is not None)
        for key, *months in session.execute(select(Substance.id, *ways).where(wanted, Substance.id.not_in(pending)))
        if any(months)
    }
    if pending:
        rows = counts(principal, ("substance_id", "month"), Cut(substances=pending)).subquery()
        more = select(rows.c.substance_id, func.min(rows.c.month)).group_by(rows.c.substance_id)
        for key, month in session.execute(more.join(Substance, Substance.id == rows.c.substance_id).where(wanted)):
            found[key] = month
    return found


def newest_substances(session: Session, principal: Principal | None, *, now: datetime, limit: int) -> tuple[NewSubstance, ...]:
    """The substances first detected most recently, newest first by the month of the sample. Eight queries at most."""
    since = months_back(now, 12)[0]
    firsts = first_month_of(session, principal)
    newest = sorted(firsts, key=lambda key: (firsts[key], key), reverse=True)[:limit]
    found_by_id = {row.id: row for row in session.scalars(select(Substance).where(Substance.id.in_(newest)))}
    cut = Cut(substances=newest, months=(since, LAST_MONTH))
    numbers, places = Counter[str](), Counter[str]()
    for substance_id, _, n in session.execute(counts(principal, ("substance_id", "country"), cut)):
        numbers[substance_id] += n
        places[substance_id] += 1
    rows = [(found_by_id[key], firsts[key], numbers[key]) for key in newest]
    mask = masks_detections(principal)
    groups = [substance.connectivity or substance.id for substance, *_ in rows]
    apart = unpublished(session, principal, groups, now=now) if mask else frozenset()
    found = []
    for substance, month, detections in rows:
        cell = masked_cell(detections, mask=mask)
        if (substance.connectivity or substance.id) in apart:
            cell = MASKED
        found.append(
            NewSubstance(
                id=substance.id,
                name=substance.name,
                chemical_group=substance.chemical_group,
                legal_status=substance.legal_status,
                first_month=month,
                detections=cell,
                countries=cell if cell.n is None else counted(places[substance.id]),
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
    cells = cells_of(principal, ("substance_id", "month"), Cut(months=(period[0], period[-1])))
    last = cast(func.sum(case((cells.c.month >= period[12], cells.c.n), else_=0)), Integer)
    before = cast(func.sum(case((cells.c.month < period[12], cells.c.n), else_=0)), Integer)
    rows = session.execute(
        select(Substance.chemical_group, last, before)
        .join(cells, cells.c.substance_id == Substance.id)
        .where(Substance.chemical_group != "other")
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
