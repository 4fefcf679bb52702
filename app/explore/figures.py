"""The answer of the explorer as a chart or a map with its table: one frame, so that none can say more than another. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from app.explore.queries import Asked, Frame, Panel, RatePoint, Series
from app.explore.questions import SPLIT_WORDS, Measure, Split, View
from app.regions import region_of
from app.sharing.masking import Cell, CellState, Total, counted
from app.substances.figures import Figure, LegendItem, Value, alternative, number
from app.substances.findings import month_title
from app.substances.queries import LaboratoryYears, MonthPoint, MonthSeries
from app.web import charts, maps, words
from app.web.places import country_name
from app.web.templating import month as written_month

DRAWN = len(charts.SERIES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the title rules of the explorer look at."""

    name: str
    place: str
    period: str
    frame: Frame
    rate: bool
    mapped: bool
    plural: bool


def _last_rate(told: Told) -> tuple[str, RatePoint] | None:
    known = [(month, point) for month, point in told.frame.rates.get("", {}).items() if not point.few]
    return known[-1] if known else None


def _rate_sentence(told: Told) -> str:
    found = _last_rate(told)
    assert found is not None
    month, point = found
    return (
        f"{told.name}: {point.value:,.1f} per 1,000 tests in {written_month(month)} (95 %: {point.low:,.1f} to {point.high:,.1f})"
    )


def _of_reporting(frame: Frame) -> str:
    return f"{len(frame.places)} of {len(frame.reporting)} reporting countries"


def title_of(told: Told) -> tuple[str, str]:
    """The id of the rule that speaks, and its sentence."""
    rule_id, _, says = next(rule for rule in TITLE_RULES if rule[1](told))
    return rule_id, says(told)


# as app.substances.findings.MONTH_RULES: an id, the condition, the sentence; the first that holds speaks
TITLE_RULES: tuple[tuple[str, Callable[[Told], bool], Callable[[Told], str]], ...] = (
    ("none", lambda t: t.frame.total == 0, lambda t: f"No {t.name} detections, {t.place}, {t.period}"),
    (
        "rate-unknown",
        lambda t: t.rate and not t.frame.rates,
        lambda t: f"{t.name}: no rate can be given, as no laboratory stated its tests",
    ),
    (
        "rate-few-laboratories",
        lambda t: t.rate and t.frame.stating * 2 < t.frame.laboratories,
        lambda t: f"{t.name}: tests done are known for {t.frame.stating} of {t.frame.laboratories} laboratories only",
    ),
    ("rate", lambda t: t.rate and not t.mapped and _last_rate(t) is not None, _rate_sentence),
    (
        "map",
        lambda t: t.mapped,
        lambda t: f"{t.name} {'were' if t.plural else 'was'} reported by {_of_reporting(t.frame)}",
    ),
    (
        "few",
        lambda t: t.frame.total < 12,
        lambda t: f"Too few {t.name} detections to show a trend ({t.frame.total} in {t.period})",
    ),
    ("plain", lambda t: True, lambda t: f"{t.name}: {t.frame.total:,} detections, {t.period}"),
)


def name_of(asked: Asked) -> str:
    """What the figures count, as the start of a sentence."""
    if asked.names:
        names = sorted(asked.names.values(), key=str.lower)
        return names[0] if len(names) == 1 else f"{len(names)} substances"
    if asked.question.group:
        return f"{words.CHEMICAL_GROUPS[asked.question.group]} class"
    return "All substances"


def figure_of(asked: Asked, frame: Frame) -> Figure:
    """The figure that the question's view asks for. Its table is that of the view; the table view draws the chart as well."""
    question = asked.question
    if question.view is View.MAP:
        return map_figure(asked, frame)
    if question.view is View.MAPS:
        return atlas_figure(asked, frame)
    if question.measure is Measure.RATE and frame.rates:
        return rate_figure(asked, frame)
    return count_figure(asked, frame)


def _told(asked: Asked, frame: Frame, *, mapped: bool) -> Told:
    period = f"{written_month(frame.months[0])} to {written_month(frame.months[-1])}"
    return Told(
        name=name_of(asked), place=asked.question.place(), period=period, frame=frame,
        rate=asked.question.measure is Measure.RATE, mapped=mapped, plural=len(asked.names) != 1 and not asked.question.group,
    )  # fmt: skip


def _subtitle(asked: Asked, told: Told, what: str) -> str:
    question = asked.question
    contexts = ", ".join(words.CONTEXTS[c].lower() for c in question.contexts) or "all contexts"
    grades = " and ".join(words.CONFIDENCE[c].lower() for c in question.confidences)
    return f"{what}, {told.place}, {told.period}, {contexts}, {grades}"


def _source(frame: Frame) -> str:
    laboratories = words.count(frame.laboratories, "laboratory", "laboratories")
    return f"Source: reports of {laboratories} to this service, as far as you may see."


def _hrefs(asked: Asked) -> dict[str, str]:
    question = asked.question
    return {
        "csv_href": question.href("/explore.csv"),
        "svg_href": question.href("/explore.svg"),
        "png_href": question.href("/explore.png"),
        "xlsx_href": question.href("/explore.xlsx"),
    }


def count_figure(asked: Asked, frame: Frame) -> Figure:
    question = asked.question
    told = _told(asked, frame, mapped=False)
    stacked = question.split is Split.NONE and set(question.confidences) <= {"confirmed", "probable"}
    title = _trend_title(told, frame) if stacked and frame.total and question.measure is Measure.COUNT else title_of(told)[1]
    period = told.period
    what = "Detections a month"
    label = alternative(
        f"{'Bar' if stacked else 'Line'} chart of detections by month", period, title,
        [(f"{series.name}, {written_month(month)}", cell) for series in frame.series for month, cell in series.cells.items()],
    )  # fmt: skip
    if stacked:
        picture, legend = _stack(frame, label)
    else:
        picture, legend = _lines(frame.series, frame.months, label)
    return Figure(
        id="explore",
        title=title,
        subtitle=_subtitle(asked, told, what),
        picture=picture,
        legend=legend,
        columns=("Month", *(series.name for series in frame.series)),
        rows=tuple(
            (Value(text=written_month(month)), *(number(series.cells[month]) for series in frame.series))
            for month in reversed(frame.months)
        ),
        source=_source(frame),
        denominator=f"{words.count(len(frame.reporting), 'country reports', 'countries report')} in this period. "
        + ("Tests done: choose the rate." if question.measure is Measure.COUNT else "No rate: tests are not stated for these."),
        caveat=f"{words.WHO_TESTED} {_more(frame)}Reports of the last months still arrive.",
        **_hrefs(asked),
    )


def _more(frame: Frame) -> str:
    return f"Shown: the {len(frame.series)} largest of {len(frame.series) + frame.others}. " if frame.others else ""


def _trend_title(told: Told, frame: Frame) -> str:
    """The sentence of the substance page's rules, over the same series."""
    grades = {series.key: series.cells for series in frame.series}
    points = []
    for place, month in enumerate(frame.months):
        cells = [cells[month] for cells in grades.values()]
        known = [cell.n for cell in cells if cell.n is not None]
        total = Cell(CellState.COUNTED, sum(known)) if known else cells[0]
        points.append(
            MonthPoint(month=month, total=total, confirmed=total, probable=total, arriving=place == len(frame.months) - 1)
        )
    series = MonthSeries(
        points=tuple(points),
        total=Total(cell=counted(frame.total), at_least=frame.total),
        laboratories=frame.laboratories,
        panel=tuple(LaboratoryYears(before=before, last=last) for before, last in frame.panel),
        masked=frame.masked,
    )
    return month_title(told.name, series)


def _stack(frame: Frame, label: str) -> tuple[charts.Picture, tuple[LegendItem, ...]]:
    colours = {"confirmed": charts.CONFIRMED, "probable": charts.PROBABLE}
    bars = []
    for place, month in enumerate(frame.months):
        parts = [(colours[series.key], series.cells[month]) for series in frame.series]
        if parts and any(cell.n is None for _, cell in parts):
            state = parts[0][1].state
            bars.append(charts.Bar(key=month, parts=(), absence="nodata" if state is CellState.NO_DATA else "masked"))
        else:
            drawn = tuple((colour, cell.n or 0) for colour, cell in parts)
            bars.append(charts.Bar(key=month, parts=drawn, arriving=place == len(frame.months) - 1))
    legend = [LegendItem(kind=series.key, text=series.name) for series in frame.series]
    legend.append(LegendItem(kind="arriving", text="Reports still arriving"))
    if any(bar.absence == "nodata" for bar in bars):
        legend.append(LegendItem(kind="nodata", text="[x] no data"))
    picture = charts.picture(
        charts.month_bars(tuple(bars), width=700, height=240), charts.month_bars(tuple(bars), width=310, height=190), label=label,
        reading=charts.along("x", len(bars), last_first=True),
    )  # fmt: skip
    return picture, tuple(legend)


def _lines(shown: Sequence[Series], months: Sequence[str], label: str) -> tuple[charts.Picture, tuple[LegendItem, ...]]:
    """The series as lines; without any, the empty axis."""
    nothing = tuple((month, None, 0.0, 0.0, False) for month in months)
    lines, legend = [], []
    for place, series in enumerate(shown):
        colour, dashes = charts.SERIES[place] if place < DRAWN else (charts.OTHER, "1,0")
        points = tuple((m, None if c.n is None else float(c.n), c.n or 0, c.n or 0, False) for m, c in series.cells.items())
        lines.append(charts.Line(colour=colour, dashes=dashes, points=points))
        if place < DRAWN:
            legend.append(LegendItem(kind=f"line-{place + 1}", text=f"{series.name} ({series.total:,})"))
    if len(shown) > DRAWN:
        rest = ", ".join(series.name for series in shown[DRAWN:])
        legend.append(LegendItem(kind="line-other", text=f"Grey: {rest}"))
    drawn = tuple(reversed(lines)) or (charts.Line(colour=charts.OTHER, dashes="1,0", points=nothing),)
    return (
        charts.picture(
            charts.month_lines(drawn, width=700, height=260),
            charts.month_lines(drawn, width=310, height=210),
            label=label,
            reading=charts.along("x", len(months), last_first=True),
        ),
        tuple(legend),
    )


def rate_figure(asked: Asked, frame: Frame) -> Figure:
    """Rates by month with the interval of Wilson, of the whole or by country."""
    told = _told(asked, frame, mapped=False)
    title = title_of(told)[1]
    split = asked.question.split is Split.COUNTRY
    keys = [key for key in frame.rates if bool(key) == split]
    keys.sort(key=lambda key: -sum(point.tests for point in frame.rates[key].values()))
    keys = keys[:DRAWN]
    lines = []
    for place, key in enumerate(keys):
        points: list[tuple[str, float | None, float, float, bool]] = []
        for month in frame.months:
            point = frame.rates[key].get(month)
            if point is None:
                points.append((month, None, 0.0, 0.0, False))
            else:
                band = (point.value, point.value) if split else (point.low, point.high)
                points.append((month, point.value, *band, point.few))
        colour, dashes = charts.SERIES[place]
        lines.append(charts.Line(colour=colour, dashes=dashes, points=tuple(points)))
    values = [(written_month(m), Cell(CellState.COUNTED, round(p.value))) for key in keys for m, p in frame.rates[key].items()]
    label = alternative("Line chart of detections per 1,000 tests by month", told.period, title, values)
    picture = charts.picture(
        charts.month_lines(tuple(lines), width=700, height=260, decimals=True),
        charts.month_lines(tuple(lines), width=310, height=210, decimals=True),
        label=label,
    )
    names = {key: country_name(key) if key else "Rate, with its 95 % interval" for key in keys}
    rows = [
        (
            Value(text=written_month(month)),
            Value(text=country_name(key) if key else "All that stated tests"),
            Value(text=f"{point.tests:,}", numeric=True),
            Value(text=f"{point.found:,}", numeric=True),
            Value(text=f"{point.value:,.1f}", numeric=True),
            Value(text=f"{point.low:,.1f}", numeric=True),
            Value(text=f"{point.high:,.1f}", numeric=True),
            Value(text="Under 50 tests" if point.few else ""),
        )
        for month in reversed(frame.months)
        for key in keys
        if (point := frame.rates[key].get(month)) is not None
    ]
    stating = words.count(frame.stating, "laboratory", "laboratories")
    few = any(point.few for key in keys for point in frame.rates[key].values())
    tests = sum(point.tests for key in keys for point in frame.rates[key].values())
    return Figure(
        id="explore",
        title=title,
        subtitle=_subtitle(
            asked, told, f"Detections per 1,000 tests, {words.count(frame.stating, 'laboratory', 'laboratories')}"
        ),
        picture=picture,
        legend=tuple(LegendItem(kind=f"line-{n}", text=names[key]) for n, key in enumerate(keys, 1)),
        columns=("Month", "Who", "Tests", "Detections", "Per 1,000 tests", "95 % from", "95 % to", "Remark"),
        rows=tuple(rows),
        source=_source(frame),
        denominator=f"{tests:,} tests, stated by {stating} of "
        f"{frame.laboratories} that found it. Detections of others, and of months without a statement, are left out here.",
        caveat=f"{words.WHO_TESTED} Interval: Wilson, 95 %."
        + (" Open circles: under 50 tests, no trend is read." if few else ""),
        **_hrefs(asked),
    )


def map_figure(asked: Asked, frame: Frame) -> Figure:
    """The world map: rates where asked for and known, else counts; five classes of about as many countries each."""
    told = _told(asked, frame, mapped=True)
    rate = asked.question.measure is Measure.RATE and bool(frame.place_rates)
    values: dict[str, float] = {c: p.value for c, p in frame.place_rates.items()} if rate else {}
    if not rate:
        values = {c: float(cell.n) for c, cell in frame.places.items() if cell.n is not None}
        values |= dict.fromkeys((c for c in frame.reporting if c not in frame.places), 0.0)
    title = title_of(told)[1]
    return country_map(
        title=title,
        subtitle=_subtitle(asked, told, "Detections per 1,000 tests" if rate else "Detections"),
        values=values,
        masked=() if rate else tuple(c for c, cell in frame.places.items() if cell.n is None),
        rates=frame.place_rates if rate else {},
        reporting=len(frame.reporting),
        period=told.period,
        source=_source(frame),
        hrefs=_hrefs(asked),
    )


def country_map(
    *,
    title: str,
    subtitle: str,
    values: dict[str, float],
    masked: Sequence[str],
    rates: Mapping[str, RatePoint],
    reporting: int,
    period: str,
    source: str,
    hrefs: dict[str, str],
) -> Figure:
    """A world map of values by country, with its table; a country neither in `values` nor `masked` is no data."""
    known = dict(rates)
    steps = maps.steps(list(values.values()))
    looks = {country: steps.place(value) for country, value in values.items()} | dict.fromkeys(masked, maps.MASKED)
    cells = [(country_name(c), Cell(CellState.COUNTED, round(v))) for c, v in values.items()]
    cells += [(country_name(c), Cell(CellState.MASKED)) for c in masked]
    missing = len(maps.places()) - len(looks)
    label = alternative("World map of detections", period, title, cells)[:270] + f" {missing} countries no data."
    legend = []
    lowest = 0.0
    shape = "{:,.1f}" if known else "{:,.0f}"
    for bound in steps.bounds:
        start = min(v for v in values.values() if v > lowest)
        text = shape.format(start) if start == bound else f"{shape.format(start)} to {shape.format(bound)}"
        legend.append(LegendItem(kind=steps.place(bound), text=text))
        lowest = bound
    if any(value == 0 for value in values.values()):
        legend.append(LegendItem(kind="zero", text="0"))
    if masked:
        legend.append(LegendItem(kind="masked", text="[c] masked"))
    legend.append(LegendItem(kind="nodata", text="[x] no data"))
    ordered = sorted(values.items(), key=lambda pair: (-pair[1], country_name(pair[0])))
    return Figure(
        id="map",
        title=title,
        subtitle=subtitle,
        picture=maps.world_map(looks, label=label),
        legend=tuple(legend),
        columns=("Country", "Region", *(("Per 1,000 tests", "95 % from", "95 % to", "Tests") if known else ("Detections",))),
        rows=tuple(_map_row(country, value, known.get(country)) for country, value in ordered)
        + tuple(
            (
                Value(text=country_name(country)),
                Value(text=region_of(country)),
                Value(text="[c]", note="masked", numeric=True),
                *((Value(text=""),) * 3 if known else ()),
            )
            for country in masked
        ),
        source=source,
        denominator=f"{words.count(reporting, 'country reports', 'countries report')} in this period; every other country is "
        "[x] no data, not zero.",
        caveat=f"{words.WHO_TESTED} Darker may mean more testing. {maps.BOUNDARIES}",
        csv_href=hrefs["csv_href"],
        svg_href=hrefs["svg_href"],
        png_href=hrefs.get("png_href"),
        xlsx_href=hrefs.get("xlsx_href"),
    )


def _atlas_title(told: Told, split: Split) -> str:
    """How many countries, among those that report throughout; of other maps than those of time only what they show."""
    atlas = told.frame.atlas
    throughout = frozenset.intersection(*(panel.reporting for panel in atlas))
    if split in SPLIT_OF_TIME and len(atlas) > 1 and throughout:
        first, last = (sum(1 for c in throughout if panel.places.get(c)) for panel in (atlas[0], atlas[-1]))
        moved = f"from {first} to {last} countries" if first != last else f"{words.count(last, 'country', 'countries')} as before"
        return f"{told.name}: {moved}, among the {len(throughout)} that report throughout"
    if split in SPLIT_OF_TIME:
        return f"{told.name} {'were' if told.plural else 'was'} reported by {_of_reporting(told.frame)}"
    return f"{told.name} by {SPLIT_WORDS[split].lower()}: {atlas[0].name} has most, {atlas[0].total:,} of {told.frame.total:,}"


SPLIT_OF_TIME = frozenset(Split) - {Split.CONTEXT, Split.GROUP, Split.SUBSTANCE}


def atlas_figure(asked: Asked, frame: Frame) -> Figure:
    """Small maps in the same classes, one for each 12 months, or for each context, group or substance. Counts, never rates."""
    told = _told(asked, frame, mapped=True)
    split = asked.question.split
    title = _atlas_title(told, split)
    steps = maps.steps([float(n) for panel in frame.atlas for n in panel.places.values()])
    drawn = []
    for panel in frame.atlas:
        looks = dict.fromkeys(panel.reporting, maps.ZERO) | {c: steps.place(n) for c, n in panel.places.items()}
        found = f"{panel.total:,} in {len(panel.places)} of {words.count(len(panel.reporting), 'country', 'countries')}"
        drawn.append(maps.Small(title=f"{panel.name}: {found}", looks=looks))
    legend = []
    lowest = 0.0
    known = [float(n) for panel in frame.atlas for n in panel.places.values() if n]
    for bound in steps.bounds:
        start = min(v for v in known if v > lowest)
        text = f"{start:,.0f}" if start == bound else f"{start:,.0f} to {bound:,.0f}"
        legend.append(LegendItem(kind=steps.place(bound), text=text))
        lowest = bound
    legend += [LegendItem(kind="zero", text="0"), LegendItem(kind="nodata", text="[x] no data")]
    countries = sorted({c for panel in frame.atlas for c in panel.reporting | set(panel.places)}, key=country_name)
    silent = sum(1 for panel in frame.atlas for c in countries if c not in panel.reporting and c not in panel.places)
    return Figure(
        id="map",
        title=title,
        subtitle=_subtitle(asked, told, "Detections") + ". The same classes on every map",
        picture=maps.small_maps(drawn),
        legend=tuple(legend),
        columns=("Country", *(panel.name for panel in frame.atlas)),
        rows=tuple(
            (Value(text=country_name(country)), *(_panel_cell(panel, country) for panel in frame.atlas)) for country in countries
        ),
        source=_source(frame),
        denominator=f"{words.count(len(frame.reporting), 'country reports', 'countries report')} in this period; every other "
        f"country is [x] no data, not zero{', as is one in a year without a report' if silent else ''}.",
        caveat=f"{words.WHO_TESTED} {_more(frame) if split not in SPLIT_OF_TIME else ''}Counts, not rates: darker may mean more "
        f"testing. {maps.BOUNDARIES}",
        **_hrefs(asked),
    )


def _panel_cell(panel: Panel, country: str) -> Value:
    if country not in panel.reporting and country not in panel.places:
        return Value(text="[x]", note="no data", numeric=True)
    return Value(text=f"{panel.places.get(country, 0):,}", numeric=True)


def _map_row(country: str, value: float, rate: RatePoint | None) -> tuple[Value, ...]:
    head = (Value(text=country_name(country)), Value(text=region_of(country)))
    if rate is None:
        return (*head, Value(text=f"{value:,.0f}", numeric=True))
    numbers = (f"{rate.value:,.1f}", f"{rate.low:,.1f}", f"{rate.high:,.1f}", f"{rate.tests:,}")
    return (*head, *(Value(text=text, numeric=True) for text in numbers))
