"""What changed lately, over what the reader may see: for the overview."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Integer, ScalarSelect, and_, case, cast, func, literal, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Detection, DetectionCell, ShownPlace, Substance
from app.sharing.counts import LAST_MONTH, Cut, cells_of, counts, not_folded
from app.sharing.masking import MASKED, SHOWN_CONFIDENCES, Cell, counted, masked_cell, masks_detections
from app.sharing.rows import more_cells, open_level, readable_detections
from app.substances.queries import existing_substances, months_back, unpublished
from app.web import words

ENOUGH = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSubstance:
    """A substance by its first detection. Counts are of the last 12 months, of this substance alone."""

    id: str
    name: str
    chemical_group: str
    legal_status: str
    national: words.National | None
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
    """One query."""
    mask = masks_detections(principal)
    since = now - timedelta(days=days)
    home = principal.country if principal else ""
    shown = and_(readable_detections(principal), Detection.relation == "parent", Detection.confidence.in_(SHOWN_CONFIDENCES))
    recent = (
        select(Detection.substance_id, Detection.country, func.count().label("n"))
        .where(shown, Detection.received_at >= since)
        .group_by(Detection.substance_id, Detection.country)
        .cte("recent")
    )
    found = select(recent.c.substance_id).where(recent.c.substance_id.is_not(None)).distinct().subquery()
    earlier = select(literal(1)).where(Detection.substance_id == found.c.substance_id, shown, Detection.received_at < since)
    firsts = select(func.count()).select_from(found).where(~earlier.correlate(found).exists())
    row = session.execute(
        select(
            cast(func.coalesce(func.sum(recent.c.n), 0), Integer).label("detections"),
            func.count(recent.c.country.distinct()).label("countries"),
            cast(func.coalesce(func.sum(case((recent.c.country == home, recent.c.n), else_=0)), 0), Integer).label("home"),
            firsts.scalar_subquery().label("first_seen"),
        )
    ).one()
    return Changes(
        detections=masked_cell(row.detections, mask=mask),
        countries=masked_cell(row.countries, mask=mask),
        first_seen=masked_cell(row.first_seen, mask=mask),
        home=masked_cell(row.home, mask=mask),
    )


def first_month_of(
    session: Session, principal: Principal | None, *, country: str | None = None, among: Sequence[str] | None = None
) -> dict[str, str]:
    """The month of the first detection, in this country or anywhere, of each substance that is not ordinary, by id; only of
    those `among` these ids, where they are given.

    Three queries at most. What the label opens is kept; under the other rules a substance is looked up by itself. Substances
    with lines that are not folded yet are counted.
    """
    wanted = and_(Substance.ordinary.is_(False), Substance.merged_into.is_(None))
    if among is not None:
        wanted = and_(wanted, Substance.id.in_(among))
    pending = not_folded(session, among)
    cut = Cut(countries=None if country is None else (country,))
    place, cell = ShownPlace, DetectionCell

    def looked_up(rule: ColumnElement[bool]) -> ScalarSelect[str]:
        query = select(cell.month).where(cell.substance_id == Substance.id, cell.n > 0, rule, *cut.conditions(cell))
        return query.order_by(cell.month).limit(1).correlate(Substance).scalar_subquery()

    kept = (
        select(place.substance_id, func.min(place.first_month).label("month"))
        .where(
            open_level(principal, place),
            *([] if country is None else [place.country == country]),
            *([] if among is None else [place.substance_id.in_(among)]),
        )
        .group_by(place.substance_id)
        .subquery()
    )
    ways = [looked_up(rule) for rule in more_cells(principal, cell)]
    rows = session.execute(
        select(Substance.id, kept.c.month, *ways)
        .outerjoin(kept, kept.c.substance_id == Substance.id)
        .where(wanted, Substance.id.not_in(pending))
    )
    found = {key: min(month for month in months if month is not None) for key, *months in rows if any(months)}
    if pending:
        counted_ones = counts(principal, ("substance_id", "month"), replace(cut, substances=pending)).subquery()
        more = select(counted_ones.c.substance_id, func.min(counted_ones.c.month)).group_by(counted_ones.c.substance_id)
        for key, month in session.execute(more.join(Substance, Substance.id == counted_ones.c.substance_id).where(wanted)):
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
                national=words.national(substance.legal_status, substance.matches),
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
