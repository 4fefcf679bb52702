"""Counts of detections over what a reader may see, from the tables kept beside the detections: exactly the count of the rows.

A question names what it groups by and what it is cut to; the smallest table that knows these columns answers it, and where that
table holds only what the label opens, the cells which the reader may see besides come from the full one. Lines that are not
folded yet are always added. Every sum is above zero: a cell that a withdrawal brought to nothing is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    Subquery,
    cast,
    func,
    literal,
    select,
    union_all,
)
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import (
    CountryMonth,
    DetectionCell,
    DetectionDelta,
    DetectionPresence,
    LaboratoryMonth,
    OpenMonth,
    PlaceMonth,
    ReportingMonth,
    ShownMonth,
    Substance,
    SubstanceMonth,
)
from app.sharing.masking import SHOWN_CONFIDENCES
from app.sharing.rows import more_cells, open_cells, readable_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What a count is cut to. None: everything. `months` are the first and the last; `substances` may be a select of ids."""

    substances: Sequence[str] | Select[str] | None = None
    months: tuple[str, str] | None = None
    countries: Sequence[str] | None = None
    contexts: Sequence[str] | None = None
    confidences: Sequence[str] | None = SHOWN_CONFIDENCES
    relations: Sequence[str] | None = ("parent",)

    def columns(self) -> set[str]:
        return {_COLUMN[field.name] for field in fields(self) if getattr(self, field.name) is not None}

    def conditions(self, table: Any) -> list[ColumnElement[bool]]:
        found = [
            getattr(table, _COLUMN[name]).in_(value)
            for name in ("substances", "countries", "contexts", "confidences", "relations")
            if (value := getattr(self, name)) is not None
        ]
        if self.months is not None:
            found += [table.month >= self.months[0], table.month <= self.months[1]]
        return found


_COLUMN = {
    "substances": "substance_id",
    "months": "month",
    "countries": "country",
    "contexts": "context",
    "confidences": "confidence",
    "relations": "relation",
}


def counts(reader: Principal | None, by: Sequence[str], cut: Cut) -> Select[Any]:
    """Rows of the columns in `by` and their count `n`, in no order. `substance_id` is empty for what was not resolved.

    Columns: substance_id, month, country, org_id, context, confidence, relation, tlp.
    """
    cells = cells_of(reader, by, cut)
    total = cast(func.sum(cells.c.n), Integer)
    columns = [cells.c[name] for name in by]
    return select(*columns, total.label("n")).group_by(*columns).having(total > 0)


def counts_of_labels(labels: Sequence[str], by: Sequence[str], cut: Cut) -> Select[Any]:
    """The same over the rows with one of these labels, none of a test organisation: for what is nobody's view in particular."""
    parts = []
    for source in (DetectionDelta, DetectionCell):
        columns = (getattr(source, name) for name in by)
        parts.append(select(*columns, source.n).where(source.tlp.in_(labels), source.test.is_(False), *cut.conditions(source)))
    cells = union_all(*parts).subquery("cells")
    total = cast(func.sum(cells.c.n), Integer)
    return select(*(cells.c[name] for name in by), total.label("n")).group_by(*(cells.c[name] for name in by)).having(total > 0)


def cells_of(reader: Principal | None, by: Sequence[str], cut: Cut) -> Subquery:
    """The parts of these counts, several a cell: to be summed, where what is summed may be left out at zero."""
    kept = next(kept for kept in _KEPT if kept.answers(by, cut))

    def part(source: Any, rule: ColumnElement[bool], within: Cut = cut) -> Select[Any]:
        return select(*(getattr(source, name) for name in by), source.n).where(rule, *within.conditions(source))

    parts = [part(DetectionDelta, readable_cells(reader, DetectionDelta))]
    if kept.rest is None:
        parts.append(part(kept.table, readable_cells(reader, kept.table)))
    else:
        parts.append(part(kept.table, open_cells(reader, kept.table), kept.left_of(cut)))
        parts += [part(kept.rest, rule) for rule in more_cells(reader, kept.rest)]
    return union_all(*parts).subquery("cells")


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table of counts. With a `rest` it holds only what the label opens, and the other cells of a reader are in `rest`.

    `confidences` and `relations`, where given, are those of its rows.
    """

    table: Any
    rest: Any = None
    confidences: frozenset[str] | None = None
    relations: frozenset[str] | None = None

    def answers(self, by: Sequence[str], cut: Cut) -> bool:
        """Whether the counts follow from it: it has every column asked for, or its rows are exactly those cut to."""
        columns = set(self.table.__table__.columns.keys())
        for name in ("confidences", "relations"):
            held, wanted = getattr(self, name), getattr(cut, name)
            if held is None:
                continue
            if wanted is None or not held >= set(wanted):
                return False
            if held == set(wanted):
                columns.add(_COLUMN[name])
        return set(by) <= set(self.table.__table__.columns.keys()) and cut.columns() <= columns

    def left_of(self, cut: Cut) -> Cut:
        """The cut without what holds for every row of the table."""
        confidences = None if self.confidences == frozenset(cut.confidences or ()) else cut.confidences
        relations = None if self.relations == frozenset(cut.relations or ()) else cut.relations
        return replace(cut, confidences=confidences, relations=relations)


_PARENT = frozenset({"parent"})
# smallest first: the first that answers is asked
_KEPT = (
    _Kept(OpenMonth, ReportingMonth),
    _Kept(CountryMonth, PlaceMonth, relations=_PARENT),
    _Kept(LaboratoryMonth, PlaceMonth, relations=_PARENT),
    _Kept(DetectionPresence),
    _Kept(ReportingMonth),
    _Kept(ShownMonth, DetectionCell, frozenset(SHOWN_CONFIDENCES), _PARENT),
    _Kept(SubstanceMonth, DetectionCell),
    _Kept(PlaceMonth),
    _Kept(DetectionCell),
)


def first_months(session: Session, reader: Principal | None, substances: Sequence[str], cut: Cut) -> dict[tuple[str, str], str]:
    """The first month of each pair of a substance and a country within the cut's months, countries, confidences and relations.

    Each pair is looked for by itself, so that the answer takes as long for a million detections as for a few thousand.
    Where lines are not folded yet the substances in them are counted instead. Three queries.
    """
    if not substances:
        return {}
    delta = DetectionDelta.substance_id
    pending = set(session.scalars(select(delta).where(delta.in_(substances)).distinct()))
    settled = [one for one in substances if one not in pending]
    anywhere = Cut(months=cut.months, countries=cut.countries, confidences=None, relations=None)
    places = counts(reader, ("country",), anywhere).subquery()
    wanted = select(Substance.id, places.c.country).join(places, literal(True)).where(Substance.id.in_(settled)).subquery()
    there = _first_month(wanted.c.id, wanted.c.country, reader, cut)
    rows = session.execute(select(wanted.c.id, wanted.c.country, there)).all()
    found = {(substance, country): month for substance, country, month in rows if month is not None}
    if pending:
        exact = counts(reader, ("substance_id", "country", "month"), replace(cut, substances=sorted(pending)))
        for substance, country, month, _ in session.execute(exact):
            found[substance, country] = min(found.get((substance, country), month), month)
    return found


def pairs(session: Session, reader: Principal | None, cut: Cut) -> Select[Any]:
    """Rows (substance_id, country) with a detection within the cut, each once, in no order. One query is made here.

    Pairs that exist at all are few; each is looked up by itself in the months of the cut. Substances with lines that are not
    folded yet are counted instead.
    """
    delta = DetectionDelta.substance_id
    pending = session.scalars(select(delta).where(delta != "").distinct()).all()
    known = (
        select(DetectionPresence.substance_id, DetectionPresence.country)
        .where(
            DetectionPresence.n > 0,
            DetectionPresence.substance_id.not_in(["", *pending]),
            readable_cells(reader, DetectionPresence),
            *replace(cut, months=None).conditions(DetectionPresence),
        )
        .distinct()
        .subquery()
    )
    there = _first_month(known.c.substance_id, known.c.country, reader, cut)
    found = select(known.c.substance_id, known.c.country).where(there.is_not(None))
    if not pending:
        return found
    exact = counts(reader, ("substance_id", "country"), replace(cut, substances=pending)).subquery()
    both = union_all(found, select(exact.c.substance_id, exact.c.country)).subquery()
    return select(both.c.substance_id, both.c.country)


def _first_month(
    substance: ColumnElement[str], country: ColumnElement[str], reader: Principal | None, cut: Cut
) -> ScalarSelect[str]:
    """The first month of one pair within the cut. Looked up pair by pair: a planner would join all cells to them instead."""
    return (
        select(DetectionCell.month)
        .where(
            DetectionCell.substance_id == substance,
            DetectionCell.country == country,
            DetectionCell.n > 0,
            readable_cells(reader, DetectionCell),
            *replace(cut, substances=None, countries=None).conditions(DetectionCell),
        )
        .order_by(DetectionCell.month)
        .limit(1)
        .scalar_subquery()
    )
