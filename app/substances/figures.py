"""Charts of a substance with all that belongs to them: finding, subtitle, table, denominator, caveat, source, downloads.

Drawing, table, name and CSV come from one masked frame, so that none can say more than another.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import xlsxwriter

from app.sharing.masking import Cell, CellState, counted
from app.substances.denominators import Rate, Rates
from app.substances.expected import METHOD, Band, bands
from app.substances.findings import country_title, month_title
from app.substances.queries import CountryCount, CountryCounts, MonthPoint, MonthSeries
from app.tables import safe_text
from app.web import charts, words
from app.web.places import country_name, region_name
from app.web.templating import month as written_month

MOST_BARS = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendItem:
    """A key of the legend: `kind` is the class of its swatch."""

    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A cell of a chart's table: what is shown, the words beside a shorthand, and what an export holds."""

    text: str
    note: str = ""
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart and its furniture. `rows` is the table; its first value is the row's heading."""

    id: str
    title: str
    subtitle: str
    picture: charts.Picture
    legend: tuple[LegendItem, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    source: str
    denominator: str
    caveat: str
    csv_href: str | None
    svg_href: str | None
    png_href: str | None = None
    xlsx_href: str | None = None
    records_href: str | None = None


SPLIT_LEGEND = (LegendItem(kind="confirmed", text="Confirmed"), LegendItem(kind="probable", text="Probable"))


def number(cell: Cell) -> Value:
    text = f"{cell.n:,}" if cell.n is not None else cell.code
    return Value(text=text, note=cell.words, numeric=True)


def alternative(kind: str, period: str, title: str, cells: Iterable[tuple[str, Cell]]) -> str:
    """At most 300 characters: kind of chart, period, finding, lowest and highest, what is missing."""
    cells = list(cells)
    known = [(name, cell.n) for name, cell in cells if cell.n is not None]
    parts = [f"{kind}, {period}.", f"{title}."]
    if known:
        low, high = min(known, key=lambda pair: pair[1]), max(known, key=lambda pair: pair[1])
        parts.append(f"Lowest {low[1]:,} ({low[0]}), highest {high[1]:,} ({high[0]}).")
    for state, word in ((CellState.NO_DATA, "no data"), (CellState.MASKED, "masked")):
        missing = sum(1 for _, cell in cells if cell.state is state)
        if missing:
            parts.append(f"{missing} {word}.")
    parts.append("Table follows.")
    return " ".join(parts)[:300]


def month_bar(point: MonthPoint, expected: Band | None = None, *, label: str) -> charts.Bar:
    """The bar of a month: its parts, or the look of its absence."""
    if point.total.n is None:
        absence = "nodata" if point.total.state is CellState.NO_DATA else "masked"
        return charts.Bar(key=point.month, parts=(), absence=absence)
    if point.confirmed.n is None or point.probable.n is None:
        parts: tuple[tuple[str, int], ...] = ((charts.OTHER, point.total.n),)
    else:
        parts = ((charts.CONFIRMED, point.confirmed.n), (charts.PROBABLE, point.probable.n))
    band = (expected.low, expected.high) if expected else None
    return charts.Bar(key=point.month, parts=parts, arriving=point.arriving, label=label, band=band)


def denominator_line(rates: Rates | None) -> str:
    """What is known of the tests done, for the line under a chart of counts."""
    if rates is None or not rates.months:
        return "Tests done are not reported for these laboratories: counts only, no rate."
    tests = sum(rate.tests for rate in rates.months)
    found = sum(rate.detections for rate in rates.months)
    laboratories = words.count(rates.laboratories, "laboratory states", "laboratories state")
    return (
        f"{laboratories} the tests done in {words.count(len(rates.months), 'month', 'months')}: {tests:,} samples, "
        f"{found:,} with this substance ({1000 * found / tests:,.1f} per 1,000)."
    )


TESTS = ("Tests", "Per 1,000 tests", "95 %")


def rate_cells(rate: Rate | None) -> tuple[Value, ...]:
    """Tests of a month and the rate over exactly the laboratories that stated them."""
    if rate is None:
        return (Value(text="[x]", note="not stated", numeric=True), Value(text="", numeric=True), Value(text=""))
    return (
        Value(text=f"{rate.tests:,}", numeric=True),
        Value(text=f"{rate.per_1000:,.1f}", numeric=True),
        Value(text=f"{rate.low:,.1f} to {rate.high:,.1f}" + (", under 50 tests" if rate.few else "")),
    )


def month_legend(points: Sequence[MonthPoint], *, expected: bool, strip: bool) -> tuple[LegendItem, ...]:
    """The keys of what is drawn for these months."""
    states = {p.total.state for p in points}
    wanted = (
        (any(p.total.n and p.confirmed.n is None for p in points), "other", "Confirmed or probable, split masked"),
        (any(p.arriving and p.total.n for p in points), "arriving", "Reports still arriving"),
        (expected, "expected", "Expected, 95 %"),
        (CellState.MASKED in states, "masked", "[c] masked"),
        (CellState.NO_DATA in states, "nodata", "[x] no data"),
        (strip, "other", "Below: tests done a month; no bar: not stated"),
    )
    return (*SPLIT_LEGEND, *(LegendItem(kind=kind, text=text) for holds, kind, text in wanted if holds))


def month_figure(
    name: str, series: MonthSeries, *, base: str | None, rates: Rates | None = None, id: str = "by-month", least_top: int = 0
) -> Figure:
    """Detections by month. `base` is the address whose downloads it has; `rates` what is known of the tests done.

    `least_top`: up to where the axis goes at least, so that charts beside one another can be compared.
    """
    points = series.points
    title = month_title(name, series)
    period = f"{written_month(points[0].month)} to {written_month(points[-1].month)}"
    highest = max((p for p in points if p.total.n), key=lambda p: p.total.n or 0, default=None)
    expected = bands(points) if not series.masked else (None,) * len(points)
    bars = tuple(
        month_bar(p, band, label=f"{p.total.n:,}" if highest is not None and p is highest else "")
        for p, band in zip(points, expected, strict=True)
    )
    tests = {rate.month: rate for rate in rates.months} if rates is not None else {}
    strip = tuple((rate.month, rate.tests) for rate in tests.values())
    legend = month_legend(points, expected=any(expected), strip=bool(strip))
    label = alternative("Bar chart of detections by month", period, title, ((written_month(p.month), p.total) for p in points))
    return Figure(
        id=id,
        title=title,
        subtitle=f"Detections by month of the sample, all countries, {period}, confirmed and probable",
        picture=charts.picture(
            charts.month_bars(bars, width=700, height=220, least_top=least_top, strip=strip),
            charts.month_bars(bars, width=310, height=190, least_top=least_top, strip=strip),
            label=label,
            reading=charts.along("x", len(points), last_first=True),
        ),
        legend=legend,
        columns=("Month", "Detections", "Confirmed", "Probable", "Expected", *(TESTS if strip else ()), "Remark"),
        rows=tuple(
            (
                Value(text=written_month(p.month)),
                number(p.total),
                number(p.confirmed),
                number(p.probable),
                Value(text=f"{band.low:,} to {band.high:,}" if band else ""),
                *(rate_cells(tests.get(p.month)) if strip else ()),
                Value(text="Reports still arriving" if p.arriving else ""),
            )
            for p, band in zip(reversed(points), reversed(expected), strict=True)
        ),
        source=f"Source: reports of {words.count(series.laboratories, 'laboratory', 'laboratories')} to this service, "
        "as far as you may see.",
        denominator=denominator_line(rates),
        caveat=f"{words.WHO_TESTED} Stereoisomers are counted together."
        + (f" Expected: {METHOD}; not adjusted for season or tests done." if any(expected) else ""),
        csv_href=f"{base}/detections-by-month.csv" if base else None,
        svg_href=f"{base}/detections-by-month.svg" if base else None,
        png_href=f"{base}/detections-by-month.png" if base else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRow:
    """A bar with its parts from the baseline as (colour, count), confirmed before probable, and further cells of its table."""

    name: str
    parts: tuple[tuple[str, int], ...]
    more: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        return sum(n for _, n in self.parts)


def bar_figure(
    id: str,
    *,
    title: str,
    subtitle: str,
    columns: tuple[str, str],
    more: tuple[str, ...] = (),
    rows: Sequence[BarRow],
    source: str,
    denominator: str,
    caveat: str,
) -> Figure:
    """Bars in the given order, split by confidence, their number at the end, and the same rows as a table; without downloads.

    `more` are the headings of the rows' further cells.
    """
    drawn = tuple(charts.Bar(key=row.name, parts=row.parts, label=f"{row.n:,}") for row in rows[:MOST_BARS])
    cells = ((row.name, counted(row.n)) for row in rows[:MOST_BARS])
    label = alternative(f"Bar chart of {columns[1].lower()} by {columns[0].lower()}", subtitle, title, cells)
    return Figure(
        id=id,
        title=title,
        subtitle=subtitle,
        picture=charts.picture(
            charts.ranked_bars(drawn, width=740, label_limit=180),
            charts.ranked_bars(drawn, width=340, label_limit=120),
            label=label,
            reading=charts.along("y", len(drawn)),
        ),
        legend=SPLIT_LEGEND,
        columns=(*columns, "Confirmed", "Probable", *more),
        rows=tuple(
            (
                Value(text=row.name),
                *(Value(text=f"{n:,}", numeric=True) for n in (row.n, *(n for _, n in row.parts))),
                *(Value(text=text) for text in row.more),
            )
            for row in rows
        ),
        source=source,
        denominator=denominator,
        caveat=caveat,
        csv_href=None,
        svg_href=None,
    )


def _parts(row: CountryCount) -> tuple[tuple[str, int], ...]:
    """The parts of a country's bar; one grey block where the split is masked."""
    if row.confirmed.n is None or row.probable.n is None:
        return ((charts.OTHER, row.total.n or 0),)
    return ((charts.CONFIRMED, row.confirmed.n), (charts.PROBABLE, row.probable.n))


def country_figure(name: str, counts: CountryCounts, *, period: str, base: str) -> Figure:
    """Detections by country: the first bars drawn, all of them in the table."""
    title = country_title(name, counts)
    drawn = counts.rows[:MOST_BARS]
    bars = tuple(
        charts.Bar(key=country_name(row.country), parts=_parts(row), label=f"{row.total.n:,}")
        if row.total.n is not None
        else charts.Bar(key=country_name(row.country), parts=(), absence="masked", label="[c] masked")
        for row in drawn
    ) or (charts.Bar(key="No country", parts=((charts.CONFIRMED, 0),), label="0"),)
    label = alternative(
        "Bar chart of detections by country", period, title, ((country_name(row.country), row.total) for row in drawn)
    )
    more = f" Drawn: the first {MOST_BARS} of {len(counts.rows)}." if len(counts.rows) > MOST_BARS else ""
    split = not counts.masked
    legend = list(SPLIT_LEGEND) if split else [LegendItem(kind="other", text="Confirmed or probable, split masked")]
    if any(row.total.n is None for row in drawn):
        legend.append(LegendItem(kind="masked", text="[c] masked"))
    zero = tuple(
        (
            Value(text=country_name(country)),
            Value(text=""),
            Value(text="0", numeric=True),
            *((Value(text="0", numeric=True),) * 2 if split else ()),
            Value(text=""),
            Value(text=""),
        )
        for country in counts.silent
    )
    return Figure(
        id="by-country",
        title=title,
        subtitle=f"Detections by country of the sample, {period}, confirmed and probable.{more}",
        picture=charts.picture(
            charts.ranked_bars(bars, width=740, label_limit=180),
            charts.ranked_bars(bars, width=340, label_limit=120),
            label=label,
            reading=charts.along("y", len(drawn)),
        ),
        legend=tuple(legend),
        columns=("Country", "Region", "Detections", *(("Confirmed", "Probable") if split else ()), "First month", "Last month"),
        rows=tuple(
            (
                Value(text=country_name(row.country)),
                Value(text=region_name(row.region)),
                number(row.total),
                *((number(row.confirmed), number(row.probable)) if split else ()),
                Value(text=written_month(row.first_month)),
                Value(text=written_month(row.last_month)),
            )
            for row in counts.rows
        )
        + zero,
        source="Source: reports to this service, as far as you may see.",
        denominator=f"{words.count(counts.reporting, 'country reports', 'countries report')} in this period. "
        "Every other country is [x] no data, not zero.",
        caveat=f"{words.WHO_TESTED} A longer bar may mean more testing.",
        csv_href=f"{base}/detections-by-country.csv",
        svg_href=f"{base}/detections-by-country.svg",
        png_href=f"{base}/detections-by-country.png",
    )


def to_xlsx(figure: Figure, *, demonstration: bool) -> bytes:
    """The same table as a sheet, with the figure's title and notes on a second one; numbers are numbers."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    sheet, about = book.add_worksheet("Data"), book.add_worksheet("About")
    sheet.write_row(0, 0, [*figure.columns, "Note"], book.add_format({"bold": True}))
    for place, row in enumerate(figure.rows, 1):
        for column, value in enumerate(row):
            text = value.text.replace(",", "")
            if value.numeric and not value.note and _is_number(text):
                sheet.write_number(place, column, float(text))
            else:
                sheet.write_string(place, column, safe_text(value.text))
        sheet.write_string(place, len(row), "; ".join(sorted({value.note for value in row if value.note})))
    lines = [figure.title, figure.subtitle, figure.source, figure.denominator, figure.caveat]
    if demonstration:
        lines.append("Synthetic demonstration data: nothing here is real.")
    for place, line in enumerate(lines):
        about.write_string(place, 0, line)
    sheet.autofit()
    book.close()
    return out.getvalue()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_csv(figure: Figure, *, demonstration: bool) -> str:
    """The figure's table as CSV: counts or their shorthand, the meaning of a shorthand in a column of its own."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*figure.columns, "Note", *(["Data"] if demonstration else [])])
    for row in figure.rows:
        notes = sorted({value.note for value in row if value.note})
        texts = [value.text.replace(",", "") if value.numeric else safe_text(value.text) for value in row]
        writer.writerow([*texts, "; ".join(notes), *(["synthetic demonstration data"] if demonstration else [])])
    return out.getvalue()


_LOOKS = {
    "confirmed": "Dark blue",
    "probable": "Light blue",
    "other": "Grey",
    "arriving": "Striped over",
    "masked": "Dotted",
    "nodata": "Hatched",
    "expected": "Frame",
    "start": "Upright dashes",
    "line-1": "Solid line",
    "line-2": "Long dashes",
    "line-3": "Dots",
    "line-4": "Dash and dot",
    "line-other": "Grey line",
    "s1": "Lightest blue",
    "s2": "Light blue",
    "s3": "Blue",
    "s4": "Strong blue",
    "s5": "Darkest blue",
    "zero": "White",
}


def to_svg(figure: Figure, *, demonstration: bool) -> str:
    """The figure's picture with its title, source and caveats, to stand alone; marked where the data are synthetic."""
    legend = "; ".join(f"{_LOOKS[item.kind]}: {item.text}" for item in figure.legend)
    notes = [figure.subtitle, legend, figure.source, figure.denominator, figure.caveat]
    if demonstration:
        notes.append("Synthetic demonstration data: nothing here is real.")
    return charts.standing_alone(figure.picture.download, title=figure.title, notes=notes)


def to_png(figure: Figure, *, demonstration: bool) -> bytes:
    """The same picture as pixels, twice as many a side, for where no vector is taken."""
    return charts.as_png(to_svg(figure, demonstration=demonstration))
