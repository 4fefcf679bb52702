"""Counts of detections over what a reader may see, from the tables kept beside the detections: exactly the count of the rows.

A question names what it groups by and what it is cut to; the smallest table that knows these columns answers it, and where that
table holds only what the label opens, the cells which the reader may see besides come from the full one. Lines that are not
folded yet are always added. Every sum is above zero: a cell that a withdrawal brought to nothing is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    Subquery,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import (
    ClassCell,
    CountryMonth,
    DetectionCell,
    DetectionDelta,
    DetectionPresence,
    LaboratoryMonth,
    OpenMonth,
    PlaceMonth,
    ReportingMonth,
    ShownCell,
    ShownMonth,
    ShownPlace,
    SubstanceMonth,
)
from app.sharing.masking import SHOWN_CONFIDENCES
from app.sharing.rows import more_cells, open_cells, open_level, readable_cells

LAST_MONTH = "9999-12"  # the end of a period that is open


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What a count is cut to. None: everything. `months` are the first and the last; `substances` may be a select of ids.

    `group`, given beside the substances, says that these are all of a chemical group, as `ClassCell` counts it.
    """

    group: str | None = None
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
        if self.group is not None:
            found.append(table.chemical_group == self.group)
        if self.months is not None:
            found += [table.month >= self.months[0], table.month <= self.months[1]]
        return found


_COLUMN = {
    "group": "chemical_group",
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


def groupings(
    session: Session, reader: Principal | None, bys: Sequence[Sequence[str]], cut: Cut
) -> tuple[list[tuple[Any, ...]], ...]:
    """The rows of `counts` for each of several groupings, from one reading of the tables. One query."""
    columns = sorted({name for by in bys for name in by})
    sets = sorted({tuple(sorted(by)) for by in bys})
    query: Any
    if session.get_bind().dialect.name == "postgresql":
        query = _in_sets(cells_of(reader, columns, cut), columns, sets)
    else:
        query = _regrouped(counts(reader, columns, cut).cte("finest"), columns, sets)
    found: list[list[Any]] = [[] for _ in sets]
    for row in session.connection().execute(query).all():  # columns only: the session would take longer to hand them out
        found[row[0]].append(row)
    places = {name: n for n, name in enumerate(columns, 1)}

    def as_asked(by: Sequence[str]) -> list[tuple[Any, ...]]:
        wanted = itemgetter(*(places[name] for name in by), len(columns) + 1)
        return [wanted(row) for row in found[sets.index(tuple(sorted(by)))]]

    return tuple(as_asked(by) for by in bys)


def _in_sets(cells: Subquery, columns: Sequence[str], sets: Sequence[tuple[str, ...]]) -> Select[Any]:
    """Rows (number of the set, all columns, n) of each set of columns; the columns that it lacks are null."""
    total = cast(func.sum(cells.c.n), Integer)
    every = [cells.c[name] for name in columns]
    # PostgreSQL tells the columns that a row's set lacks, the last one as the lowest bit
    bits = {name: 1 << n for n, name in enumerate(reversed(columns))}
    masks = {sum(bits[name] for name in columns if name not in one): number for number, one in enumerate(sets)}
    which = case(masks, value=func.grouping(*every))
    grouped = func.grouping_sets(*(tuple_(*(cells.c[name] for name in one)) for one in sets))
    return select(which.label("which"), *every, total.label("n")).group_by(grouped).having(total > 0)


def _regrouped(cells: CTE, columns: Sequence[str], sets: Sequence[tuple[str, ...]]) -> CompoundSelect[Any]:
    """The same from counts by all the columns together, for a database without sets of groupings."""
    parts = []
    for number, one in enumerate(sets):
        every = [cells.c[name] if name in one else null().label(name) for name in columns]
        total = cast(func.sum(cells.c.n), Integer)
        parts.append(select(literal(number).label("which"), *every, total.label("n")).group_by(*(cells.c[name] for name in one)))
    return union_all(*parts)


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
    whole, cut = cut, replace(cut, group=None)  # the other tables have no class

    def part(source: Any, rule: ColumnElement[bool], within: Cut = cut) -> Select[Any]:
        return select(*(getattr(source, name) for name in by), source.n).where(rule, *within.conditions(source))

    # rule by rule and not by one condition of all: each has an index that knows the substance and the month
    parts = [part(DetectionDelta, readable_cells(reader, DetectionDelta))]
    opened = open_cells(reader, kept.table)
    if kept.rest is None:
        opened = and_(opened, kept.table.test.is_(False))
    parts.append(part(kept.table, opened, kept.left_of(whole)))
    parts += [part(kept.rest or kept.table, rule) for rule in more_cells(reader, kept.rest or kept.table)]
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
        if self.table is ClassCell and cut.group is None:
            return False
        columns = set(self.table.__table__.columns.keys())
        cut = self._by_class(cut)
        for name in ("confidences", "relations"):
            held, wanted = getattr(self, name), getattr(cut, name)
            if held is None:
                continue
            if wanted is None or not held >= set(wanted):
                return False
            if held == set(wanted):
                columns.add(_COLUMN[name])
        return set(by) <= set(self.table.__table__.columns.keys()) and cut.columns() <= columns

    def _by_class(self, cut: Cut) -> Cut:
        """The cut by the class in the place of its substances where the table has it, else by these."""
        return replace(cut, substances=None) if self.table is ClassCell else replace(cut, group=None)

    def left_of(self, cut: Cut) -> Cut:
        """The cut without what holds for every row of the table."""
        cut = self._by_class(cut)
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
    _Kept(ClassCell, DetectionCell, frozenset(SHOWN_CONFIDENCES), _PARENT),
    _Kept(ShownCell, DetectionCell, frozenset(SHOWN_CONFIDENCES), _PARENT),
    _Kept(DetectionCell),
)


def not_folded(session: Session, substances: Sequence[str] | None = None) -> list[str]:
    """Those of these substances (None: of all) of which a line is not folded into the counts yet. One query."""
    delta = DetectionDelta.substance_id
    among = delta != "" if substances is None else delta.in_(substances)
    return list(session.scalars(select(delta).where(among).distinct()))


def first_months(session: Session, reader: Principal | None, substances: Sequence[str]) -> dict[tuple[str, str], str]:
    """The month in which each pair of one of these substances and a country was first seen, over all months. Two queries.

    Seen is a parent that is confirmed or probable. Substances with lines that are not folded yet are counted by themselves.
    """
    if not substances:
        return {}
    pending = not_folded(session, substances)
    cut = Cut(substances=[one for one in substances if one not in pending])
    place = ShownPlace
    parts: list[Any] = [
        select(place.substance_id, place.country, place.first_month.label("month")).where(
            open_level(reader, place), *replace(cut, confidences=None, relations=None).conditions(place)
        )
    ]
    cell = (DetectionCell.substance_id, DetectionCell.country)
    parts += [
        select(*cell, func.min(DetectionCell.month))
        .where(rule, DetectionCell.n > 0, *cut.conditions(DetectionCell))
        .group_by(*cell)
        for rule in more_cells(reader, DetectionCell)
    ]
    if pending:
        exact = counts(reader, ("substance_id", "country", "month"), replace(cut, substances=pending)).subquery()
        parts.append(select(exact.c.substance_id, exact.c.country, exact.c.month))
    found: dict[tuple[str, str], str] = {}
    for substance, place, month in session.execute(union_all(*parts)).all():
        found[substance, place] = min(found.get((substance, place), month), month)
    return found


def pairs(session: Session, reader: Principal | None, since: str, substances: Sequence[str] | None = None) -> CompoundSelect[Any]:
    """Rows (substance_id, country) seen in this month or later, some more than once, in no order. One query is made here.

    Seen is a parent that is confirmed or probable. Substances with lines that are not folded yet are counted by themselves.
    """
    pending = not_folded(session, substances)
    cut = Cut(substances=substances, months=(since, LAST_MONTH))
    parts = [
        select(ShownPlace.substance_id, ShownPlace.country).where(
            open_level(reader, ShownPlace),
            ShownPlace.last_month >= since,
            ShownPlace.substance_id.not_in(pending),
            *([] if substances is None else [ShownPlace.substance_id.in_(substances)]),
        )
    ]
    parts += [
        select(DetectionCell.substance_id, DetectionCell.country).where(
            rule, DetectionCell.n > 0, DetectionCell.substance_id.not_in(["", *pending]), *cut.conditions(DetectionCell)
        )
        for rule in more_cells(reader, DetectionCell)
    ]
    if pending:
        exact = counts(reader, ("substance_id", "country"), replace(cut, substances=pending)).subquery()
        parts.append(select(exact.c.substance_id, exact.c.country))
    return union_all(*parts)


def at_most(
    session: Session, reader: Principal | None, substances: Sequence[str], months: tuple[str, str], enough: int
) -> dict[tuple[str, str], int]:
    """Counts of the pairs of a substance and a country in these months, each counted no further than `enough`. Two queries.

    For what asks only whether a count is small: a common pair is left after a few cells, however many there are.
    """
    if not substances:
        return {}
    pending = set(not_folded(session, substances))
    if more_cells(reader, DetectionCell):  # readers of more than the label opens
        pending = set(substances)
    settled = [one for one in substances if one not in pending]
    pair = (
        select(ShownPlace.substance_id, ShownPlace.country)
        .where(open_level(reader, ShownPlace), ShownPlace.substance_id.in_(settled), ShownPlace.last_month >= months[0])
        .subquery("pair")
    )
    some = (
        select(DetectionCell.n)
        .where(
            DetectionCell.substance_id == pair.c.substance_id,
            DetectionCell.country == pair.c.country,
            DetectionCell.n > 0,
            DetectionCell.test.is_(False),
            open_cells(reader, DetectionCell),
            *Cut(months=months).conditions(DetectionCell),
        )
        .correlate(pair)
        .limit(enough)
        .subquery("some")
    )
    total = cast(select(func.sum(some.c.n)).scalar_subquery(), Integer)
    parts: list[Select[Any]] = [select(pair.c.substance_id, pair.c.country, total.label("n"))]
    if pending:
        exact = counts(reader, ("substance_id", "country"), Cut(substances=sorted(pending), months=months)).subquery()
        parts.append(select(exact.c.substance_id, exact.c.country, exact.c.n))
    rows = session.execute(union_all(*parts)).all()
    return {(substance, country): min(int(n), enough) for substance, country, n in rows if n}
