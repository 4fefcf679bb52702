"""Before and after control: detections a month on either side of the day on which a substance came under control."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Measure
from app.sharing.counts import Cut, counts
from app.sharing.masking import MASKED, NO_DATA, CellState, counted
from app.substances.denominators import Rates, rates_by_month
from app.substances.figures import TESTS, Figure, LegendItem, Value, alternative, month_bar, month_legend, number, rate_cells
from app.substances.findings import FEW, control_title
from app.substances.queries import MonthPoint, MonthSeries, SubstanceDetail
from app.substances.timeline import EARLIEST
from app.web import charts, words
from app.web.places import country_name
from app.web.templating import day as written_day
from app.web.templating import month as written_month
from chem.values import INSTRUMENTS_OF_COUNTRY, UN_INSTRUMENTS

SIDE = 12  # months on either side of the month in which control began
LEAST_MONTHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A day on which control began for certain, and by what; `country` None: under the conventions of the United Nations."""

    on: date
    what: str
    country: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The chart around the start of control, or `why` there is none. `others` tells of further provisions and measures."""

    figure: Figure | None
    why: str
    others: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Months:
    """What is drawn: the months, what is known of tests, and the laboratories that found it before and after the start."""

    points: tuple[MonthPoint, ...]
    rates: Rates | None = None
    laboratories: tuple[frozenset[str], frozenset[str]] | None = None


def control_of(
    session: Session,
    reader: Principal | None,
    substance: SubstanceDetail,
    series: MonthSeries,
    measures: Sequence[tuple[Measure, str]],
    *,
    now: datetime,
) -> Control:
    """The chart of the first start that has data around it: the international one, else that of the reader's country.

    A masked reader gets the months of `series`, the cells of the trend, and no others. At most four queries a start.
    """
    known, why = starts(substance.matches, reader)
    for start in known:
        if start.on > now.date():
            why = f"The provision takes effect on {written_day(start.on)}: {start.what}."
            continue
        if series.masked and start.country is not None:
            continue  # a count by month and country could give a hidden one away
        months = window(start.on, now)
        found = _of_series(series, months) if series.masked else _of_rows(session, reader, substance, series, start, months)
        why = _refused(found.points, start)
        if not why:
            figure = _figure(substance.name, start, found)
            return Control(figure=figure, why="", others=_others(substance, series, now, measures, but=start.on))
    return Control(figure=None, why=why, others=_others(substance, series, now, measures, but=None))


def starts(matches: Sequence[Mapping[str, Any]], reader: Principal | None) -> tuple[tuple[Start, ...], str]:
    """Where control begins for certain, the international start first, then that of the reader's country; else why there is none.

    A start counts only where no other provision of the same law, of which the start is not on file, can have begun before it.
    """
    certain = [match for match in words.counting(matches) if match["certainty"] == "certain"]
    laws: list[tuple[Collection[str], str | None]] = [(UN_INSTRUMENTS, None)]
    if reader is not None:
        laws.append((INSTRUMENTS_OF_COUNTRY.get(reader.country, ()), reader.country))
    found, unknown = [], []
    for instruments, country in laws:
        here = [match for match in certain if match["instrument"] in instruments]
        begun = [(date.fromisoformat(match["effective_from"]), words.place(match)) for match in here if match["effective_from"]]
        open_ended = [match for match in here if not match["effective_from"]]
        earliest = min((date.fromisoformat(match["not_before"] or str(EARLIEST)) for match in open_ended), default=date.max)
        if begun and min(begun)[0] <= earliest:
            on, what = min(begun)
            found.append(Start(on=on, what=what, country=country))
        elif here:
            unknown.append(words.place((open_ended or here)[0]))
    why = "No provision of the conventions or of your country is met for certain: there is no start to compare around."
    if unknown:
        why = f"The start of control is not on file: {unknown[0]}."
    return tuple(found), why


def window(on: date, now: datetime) -> tuple[str, ...]:
    """The months (YYYY-MM) from a year before the month of a day to a year after it, up to that of `now`."""
    middle = on.year * 12 + on.month - 1
    last = min(middle + SIDE, now.year * 12 + now.month - 1)
    return tuple(f"{index // 12:04d}-{index % 12 + 1:02d}" for index in range(middle - SIDE, last + 1))


def _of_series(series: MonthSeries, months: Sequence[str]) -> _Months:
    return _Months(points=tuple(point for point in series.points if point.month in set(months)))


def _of_rows(
    session: Session,
    reader: Principal | None,
    substance: SubstanceDetail,
    series: MonthSeries,
    start: Start,
    months: Sequence[str],
) -> _Months:
    """Counts of the months over the rows that the reader may have. One query where there is no detection, else four."""
    where = None if start.country is None else (start.country,)
    span = (months[0], months[-1])
    cut = Cut(substances=substance.members, months=span, countries=where)
    totals: Counter[str] = Counter()
    split: Counter[tuple[str, str]] = Counter()
    by_laboratory: dict[str, set[str]] = defaultdict(set)
    for month, confidence, org_id, n in session.execute(counts(reader, ("month", "confidence", "org_id"), cut)):
        totals[month] += n
        split[month, confidence] += n
        by_laboratory[month].add(org_id)
    if not totals:
        return _Months(points=())
    anything = Cut(months=span, countries=where, confidences=None, relations=None)
    reporting = set(session.scalars(counts(reader, ("month",), anything)))
    arriving = {point.month for point in series.points if point.arriving}
    points = tuple(
        MonthPoint(
            month=month,
            total=counted(totals[month]) if month in reporting else NO_DATA,
            confirmed=counted(split[month, "confirmed"]) if month in reporting else NO_DATA,
            probable=counted(split[month, "probable"]) if month in reporting else NO_DATA,
            arriving=month in arriving,
        )
        for month in months
    )
    at = f"{start.on:%Y-%m}"
    before = frozenset(org for month, orgs in by_laboratory.items() if month < at for org in orgs)
    after = frozenset(org for month, orgs in by_laboratory.items() if month > at for org in orgs)
    rates = rates_by_month(session, reader, substance.members, months, country=start.country)
    return _Months(points=points, rates=rates, laboratories=(before, after))


def _sides(points: Sequence[MonthPoint], on: date) -> tuple[list[MonthPoint], list[MonthPoint]]:
    """The full months with reports before and after the month in which control began."""
    at = f"{on:%Y-%m}"
    full = [p for p in points if p.total.state is not CellState.NO_DATA and not p.arriving]
    return [p for p in full if p.month < at], [p for p in full if p.month > at]


def _refused(points: Sequence[MonthPoint], start: Start) -> str:
    """Why these months are not drawn; empty where they are."""
    begun = f"In force since {written_day(start.on)}: {start.what}"
    if not any(p.total.n or p.total == MASKED for p in points):
        return f"{begun}; no detection that you may see is from the {SIDE} months before or after it."
    before, after = _sides(points, start.on)
    if min(len(before), len(after)) < LEAST_MONTHS:
        side = "before" if len(before) < LEAST_MONTHS else "after"
        return f"{begun}; fewer than {LEAST_MONTHS} full months with reports lie {side} it."
    return ""


def _title(name: str, start: Start, points: Sequence[MonthPoint]) -> str:
    before, after = _sides(points, start.on)
    numbers = [[p.total.n for p in side if p.total.n is not None] for side in (before, after)]
    if any(p.total == MASKED for p in points):
        return f"{name} by month around the start of the provision on {written_day(start.on)}; some months are masked"
    if (total := sum(map(sum, numbers))) < FEW:
        return (
            f"Too few {name} detections to compare before and after {start.what} ({total} in {len(before) + len(after)} months)"
        )
    means = [sum(side) / len(side) for side in numbers]
    return control_title(name, means[0], means[1], f"{start.what} ({written_day(start.on)})")


def _denominator(found: _Months, start: Start) -> str:
    """Who found it before and after, and the rates of those who stated how many samples they tested."""
    if found.laboratories is None:
        return "Tests done and the number of laboratories are not shown here: counts only, no rate."
    before, after = found.laboratories
    line = f"Laboratories that found it: {len(before)} before, {len(after)} after, {len(before & after)} of them in both."
    at = f"{start.on:%Y-%m}"
    said = []
    for side, months in (
        ("before", [rate for rate in found.rates.months if rate.month < at] if found.rates else []),
        ("after", [rate for rate in found.rates.months if rate.month > at] if found.rates else []),
    ):
        if tests := sum(rate.tests for rate in months):
            rate = 1000 * sum(one.detections for one in months) / tests
            said.append(f"{rate:,.1f} {side} ({tests:,} tests)")
    if len(said) < 2:
        return f"{line} Tests done are not stated on both sides: counts only, no rate."
    return f"{line} Per 1,000 tests of those that state them: {' and '.join(said)}."


def _figure(name: str, start: Start, found: _Months) -> Figure:
    points, at = found.points, f"{start.on:%Y-%m}"
    before, after = (sum(1 for p in points if p.month < at), sum(1 for p in points if p.month > at))
    period = f"{written_month(points[0].month)} to {written_month(points[-1].month)}"
    where = "all countries" if start.country is None else country_name(start.country)
    title = _title(name, start, points)
    highest = max((p for p in points if p.total.n), key=lambda p: p.total.n or 0, default=None)
    bars = tuple(month_bar(p, label=f"{p.total.n:,}" if p is highest else "") for p in points)
    tests = {rate.month: rate for rate in found.rates.months} if found.rates is not None else {}
    strip = tuple((rate.month, rate.tests) for rate in tests.values())
    marked = LegendItem(kind="start", text=f"Provision in force, {written_day(start.on)}")
    label = alternative(
        "Bar chart of detections by month before and after control", period, title,
        ((written_month(p.month), p.total) for p in points),
    )  # fmt: skip
    source = "Source: reports to this service, as far as you may see."
    return Figure(
        id="before-after",
        title=title,
        subtitle=f"Detections by month of the sample, {where}, {period}: {before} months before and {after} after the month in "
        "which the provision took effect, confirmed and probable",
        picture=charts.picture(
            charts.month_bars(bars, width=700, height=220, strip=strip, start=at),
            charts.month_bars(bars, width=310, height=190, strip=strip, start=at),
            label=label,
            reading=charts.along("x", len(points)),
        ),
        legend=(*month_legend(points, expected=False, strip=bool(strip)), marked),
        columns=("Month", "Side", "Detections", "Confirmed", "Probable", *(TESTS if strip else ()), "Remark"),
        rows=tuple(
            (
                Value(text=written_month(p.month)),
                Value(text="before" if p.month < at else "after" if p.month > at else "month of the start"),
                number(p.total),
                number(p.confirmed),
                number(p.probable),
                *(rate_cells(tests.get(p.month)) if strip else ()),
                Value(text="Reports still arriving" if p.arriving else ""),
            )
            for p in points
        ),
        source=source,
        denominator=_denominator(found, start),
        caveat=f"{words.WHO_TESTED} A change after control need not come from it: what is tested, who reports and the market "
        "change too. An earlier text, not coded here, may have caught it before. "
        "The month of the start and months still arriving count on neither side.",
        csv_href=None,
        svg_href=None,
    )


def _others(
    substance: SubstanceDetail, series: MonthSeries, now: datetime, measures: Sequence[tuple[Measure, str]], *, but: date | None
) -> tuple[str, ...]:
    """A sentence for each further provision or measure that began within the series, with enough full months on either side."""
    if series.masked:
        return ()
    began: dict[date, str] = {}
    for match in words.counting(substance.matches):
        if match["effective_from"] and match["certainty"] == "certain":
            began.setdefault(date.fromisoformat(match["effective_from"]), words.place(match))
    for measure, _ in measures:
        if measure.valid_from is not None:
            began.setdefault(measure.valid_from, f"{words.plain(measure.kind).lower()} in {country_name(measure.country)}")
    found = []
    for on, what in sorted(began.items()):
        before, after = ([p.total.n or 0 for p in side] for side in _sides(series.points, on))
        before, after = before[-SIDE:], after[:SIDE]
        if on != but and on <= now.date() and min(len(before), len(after)) >= LEAST_MONTHS:
            sentence = control_title(
                substance.name, sum(before) / len(before), sum(after) / len(after), f"{what} ({written_day(on)})"
            )
            found.append(f"{sentence}. {len(before)} months before, {len(after)} after.")
    return tuple(found)
