"""The counts and rates that answer a question of the explorer, as one frame that chart, map, table and downloads share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.explore.questions import Measure, Question, Split, View
from app.persistence.models import Substance
from app.regions import region_of
from app.sharing.counts import LAST_MONTH, Cut, counts, groupings
from app.sharing.masking import NO_DATA, Cell, cells, masks_detections, suppress
from app.substances.denominators import FEW_TESTS, stated_tests, wilson
from app.substances.queries import existing_substances
from app.web import words
from app.web.places import all_countries, country_name
from app.web.templating import month as written_month

MOST_SERIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class RatePoint:
    """Detections per 1,000 tests, with the 95 % interval of Wilson; `few`: under 50 tests, of which no trend is read."""

    found: int
    tests: int
    value: float
    low: float
    high: float
    few: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line of the answer: its cells by month, and its count over the period."""

    key: str
    name: str
    cells: Mapping[str, Cell]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One of several small maps: counts by country, and the countries with any report in its time; others are no data."""

    name: str
    places: Mapping[str, int]
    reporting: frozenset[str]

    @property
    def total(self) -> int:
        return sum(self.places.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The answer. `others` is how many further series there are than those shown; `rates` are by series ("" is the whole) and
    month, where asked for. `laboratories` found something, `stating` of them stated tests; `reporting`: countries with a report.
    `panel`: counts of each laboratory in the 12 full months before the last 12, and in these. `atlas`: the small maps, where
    asked for: one for each 12 months, or for each context, group or substance.
    """

    months: tuple[str, ...]
    series: tuple[Series, ...]
    others: int
    places: Mapping[str, Cell]
    rates: Mapping[str, Mapping[str, RatePoint]]
    place_rates: Mapping[str, RatePoint]
    reporting: tuple[str, ...]
    total: int
    laboratories: int
    stating: int
    panel: tuple[tuple[int, int], ...]
    masked: bool
    atlas: tuple[Panel, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question with its substances looked up: names by id, and the members of their connectivity groups or of the class.

    `group` is the class where it is counted under its present members.
    """

    question: Question
    names: Mapping[str, str]
    members: tuple[str, ...] | None
    group: str | None = None


def look_up(session: Session, reader: Principal, question: Question) -> Asked:
    """Ids that do not exist for the reader are left out, and named so. Two queries at most."""
    names: dict[str, str] = {}
    members: tuple[str, ...] | None = None
    if question.substances:
        found = session.execute(
            select(Substance.id, Substance.name, Substance.connectivity).where(
                Substance.id.in_(question.substances), existing_substances(reader)
            )
        ).all()
        names = {row.id: row.name for row in found}
        groups = [row.connectivity for row in found if row.connectivity]
        others = session.scalars(select(Substance.id).where(Substance.connectivity.in_(groups))) if groups else ()
        members = tuple(sorted({*names, *others}))
    elif question.group:
        # named one by one: a planner would read the cells of all substances to join them
        members, counted = members_of(session, question.group)
        return Asked(question=question, names=names, members=members, group=question.group if counted else None)
    return Asked(question=question, names=names, members=members)


def members_of(session: Session, group: str) -> tuple[tuple[str, ...], bool]:
    """The ids of a class, without ordinary substances; and whether it is counted under exactly these. One query."""
    inside = and_(Substance.chemical_group == group, Substance.ordinary.is_(False))
    rows = session.execute(
        select(Substance.id, inside.label("inside"), (Substance.counted_group == group).label("counted"))
        .where(or_(inside, Substance.counted_group == group))
        .order_by(Substance.id)
    ).all()
    return tuple(row.id for row in rows if row.inside), all(row.inside and row.counted for row in rows)


def cut_of(asked: Asked, months: tuple[str, ...]) -> Cut:
    question = asked.question
    countries = question.countries or None
    if question.region:
        chosen = question.countries or tuple(code for code, _ in all_countries())
        countries = tuple(code for code in chosen if region_of(code) == question.region)
    return Cut(
        substances=asked.members,
        months=(months[0], months[-1]),
        countries=countries,
        contexts=question.contexts or None,
        confidences=question.confidences,
    )


def answer(session: Session, reader: Principal, asked: Asked, *, now: datetime) -> Frame:
    """Six queries at most, whatever the number of rows."""
    question = asked.question
    months = question.months(now)
    cut = replace(cut_of(asked, months), group=asked.group)
    mask = masks_detections(reader)
    base = _base(session, reader, question, cut)
    places: Counter[str] = Counter()
    for (country, _), n in base.places.items():
        places[country] += n
    by_series, names = _by_series(session, reader, question, cut, base)
    totals: Counter[str] = Counter()
    for (key, _), n in by_series.items():
        totals[key] += n
    shown = [key for key, _ in sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))]
    if question.split in (Split.NONE, Split.CONFIDENCE):
        shown = [grade for grade in words.CONFIDENCE if grade in question.confidences]
    full = months[-25:-1] if len(months) > 24 else ()
    anything = Cut(months=(months[0], LAST_MONTH), confidences=None, relations=None, countries=cut.countries)
    reported: set[str] = set()
    reporting: dict[str, set[str]] = defaultdict(set)
    for month, country, _ in session.execute(counts(reader, ("month", "country"), anything)):
        reported.add(month)
        reporting[country].add(month)
    rates, place_rates, stating = _rates(session, reader, question, cut, months, base.tested)
    kept = shown[:MOST_SERIES]
    tables = [{month: by_series.get((key, month), 0) for month in months if month in reported} for key in kept]
    atlas: tuple[Panel, ...] = ()
    if question.view is View.MAPS and question.split in _PARTED:
        atlas = _panels_of_series(session, reader, question, cut, [(key, names(key)) for key in kept], frozenset(reporting))
    elif question.view is View.MAPS:
        atlas = _panels_of_time(months, base.places, reporting)
    masked = suppress(*tables, places) if mask else [cells(t, mask=False) for t in (*tables, places)]
    return Frame(
        months=months,
        series=tuple(
            Series(
                key=key,
                name=names(key),
                cells={month: found.get(month, NO_DATA) for month in months},
                total=totals[key],
            )
            for key, found in zip(kept, masked, strict=False)
        ),
        others=max(len(shown) - MOST_SERIES, 0),
        places=masked[-1],
        rates=rates,
        place_rates=place_rates,
        reporting=tuple(sorted(reporting)),
        total=sum(totals.values()),
        laboratories=len(base.laboratories),
        stating=len(stating & set(base.laboratories)),
        panel=tuple((sum(found[m] for m in full[:12]), sum(found[m] for m in full[12:])) for found in base.laboratories.values()),
        masked=mask,
        atlas=atlas,
    )


@dataclass(frozen=True, slots=True)
class _Base:
    """What is counted whatever the split: by country and month, by laboratory and month, by confidence and month; `tested` is by
    laboratory, country and month, for a rate.
    """

    places: Counter[tuple[str, str]]
    laboratories: dict[str, Counter[str]]
    grades: Counter[tuple[str, str]]
    tested: dict[tuple[str, str, str], int]


def _base(session: Session, reader: Principal, question: Question, cut: Cut) -> _Base:
    """Over everything two small tables are asked, else the cells are read once for all of them. Two queries at most."""
    base = _Base(Counter(), defaultdict(Counter), Counter(), {})
    whole = cut.substances is None and cut.contexts is None and cut.countries is None
    if whole and question.measure is not Measure.RATE:
        for country, month, confidence, n in session.execute(counts(reader, ("country", "month", "confidence"), cut)):
            base.places[country, month] += n
            base.grades[confidence, month] += n
        for org, month, n in session.execute(counts(reader, ("org_id", "month"), cut)):
            base.laboratories[org][month] = n
        return base
    if question.measure is Measure.RATE:  # the finest of them, of which two others are sums
        tested, grades = groupings(session, reader, (("org_id", "country", "month"), ("confidence", "month")), cut)
        for org, country, month, n in tested:
            base.tested[org, country, month] = n
            base.places[country, month] += n
            base.laboratories[org][month] += n
    else:
        ways = (("country", "month"), ("org_id", "month"), ("confidence", "month"))
        places, laboratories, grades = groupings(session, reader, ways, cut)
        base.places.update({(country, month): n for country, month, n in places})
        for org, month, n in laboratories:
            base.laboratories[org][month] = n
    base.grades.update({(confidence, month): n for confidence, month, n in grades})
    return base


_PARTED = frozenset({Split.CONTEXT, Split.GROUP, Split.SUBSTANCE})


def _panels_of_time(
    months: Sequence[str], by_place: Mapping[tuple[str, str], int], reporting: Mapping[str, set[str]]
) -> tuple[Panel, ...]:
    """One for each 12 months, so that all are as long as one another."""
    found = []
    for start in range(0, len(months), 12):
        span = months[start : start + 12]
        places: Counter[str] = Counter()
        for (country, month), n in by_place.items():
            if span[0] <= month <= span[-1]:
                places[country] += n
        active = frozenset(c for c, known in reporting.items() if any(span[0] <= month <= span[-1] for month in known))
        found.append(Panel(name=f"{written_month(span[0])} to {written_month(span[-1])}", places=places, reporting=active))
    return tuple(found)


def _panels_of_series(
    session: Session,
    reader: Principal,
    question: Question,
    cut: Cut,
    kept: Sequence[tuple[str, str]],
    reporting: frozenset[str],
) -> tuple[Panel, ...]:
    """One for each series shown. One query."""
    rows: Any
    if question.split is Split.CONTEXT:
        rows = session.execute(counts(reader, ("context", "country"), cut))
    else:
        inner = counts(reader, ("substance_id", "country"), cut).subquery()
        key: Any = Substance.chemical_group
        if question.split is Split.SUBSTANCE:
            key = func.coalesce(Substance.connectivity, Substance.id)
        rows = session.execute(
            select(key, inner.c.country, func.sum(inner.c.n))
            .join(Substance, Substance.id == inner.c.substance_id)
            .group_by(key, inner.c.country)
        )
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for one, country, n in rows:
        places[one][country] += int(n)
    return tuple(Panel(name=name, places=places[one], reporting=reporting) for one, name in kept)


def _by_series(
    session: Session, reader: Principal, question: Question, cut: Cut, base: _Base
) -> tuple[Counter[tuple[str, str]], Callable[[str], str]]:
    """Counts by what the question is split by and month; and what such a series is called. One query at most."""
    found: Counter[tuple[str, str]] = Counter()
    if question.split in (Split.COUNTRY, Split.REGION):
        for (country, month), n in base.places.items():
            found[region_of(country) if question.split is Split.REGION else country, month] += n
        return found, str if question.split is Split.REGION else country_name
    if question.split in (Split.NONE, Split.CONFIDENCE):
        return base.grades, words.CONFIDENCE.__getitem__
    if question.split is Split.CONTEXT:
        for context, month, n in session.execute(counts(reader, ("context", "month"), cut)):
            found[context, month] += n
        return found, words.CONTEXTS.__getitem__
    inner = counts(reader, ("substance_id", "month"), cut).subquery()
    key: Any = Substance.chemical_group
    if question.split is Split.SUBSTANCE:
        key = func.coalesce(Substance.connectivity, Substance.id)
    rows = session.execute(
        select(key, inner.c.month, func.sum(inner.c.n), func.min(Substance.name))
        .join(Substance, Substance.id == inner.c.substance_id)
        .group_by(key, inner.c.month)
    )
    named: dict[str, str] = {}
    for one, month, n, name in rows:
        found[one, month] += int(n)
        named[one] = min(named.get(one, name), name)
    return found, named.__getitem__ if question.split is Split.SUBSTANCE else words.CHEMICAL_GROUPS.__getitem__


def _rates(
    session: Session,
    reader: Principal,
    question: Question,
    cut: Cut,
    months: tuple[str, ...],
    found: Mapping[tuple[str, str, str], int],
) -> tuple[dict[str, dict[str, RatePoint]], dict[str, RatePoint], set[str]]:
    """Rates by series and month and by country, and who stated tests: over exactly the laboratories, countries and months stated.

    The series without a name is the whole; a split by country has one for each, any other split has none: tests are not stated
    by substance, class or confidence.
    """
    if question.measure is not Measure.RATE:
        return {}, {}, set()
    tests = stated_tests(session, reader, months, contexts=question.contexts)
    stated = {key: n for key, n in tests.items() if cut.countries is None or key[1] in cut.countries}
    pairs: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for (org, country, month), n in stated.items():
        for key in (("", month), (country, month), (country, "")):
            pairs[key][0] += found.get((org, country, month), 0)
            pairs[key][1] += n
    rates: dict[str, dict[str, RatePoint]] = defaultdict(dict)
    places = {}
    for (country, month), (n, tested) in sorted(pairs.items()):
        if tested and month and (not country or question.split is Split.COUNTRY):
            rates[country][month] = _rate(n, tested)
        elif tested and not month:
            places[country] = _rate(n, tested)
    return dict(rates), places, {org for org, _, _ in stated}


def _rate(found: int, tests: int) -> RatePoint:
    low, high = wilson(found, tests)
    return RatePoint(
        found=found, tests=tests, value=1000 * found / tests, low=1000 * low, high=1000 * high, few=tests < FEW_TESTS
    )  # fmt: skip
