"""Charts: bars become an Altair definition and that SVG on the server, once, kept in memory; the page recolours it.

The picture for download keeps the light palette's literal colours; the one in a page refers to the style sheet's variables
instead, so that the same picture serves light, dark and paper. Nothing here knows what is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from textwrap import wrap
from typing import Any

import altair as alt
import vl_convert as vlc
from markupsafe import Markup

TEXT, MUTED, LINE = "#1A1F26", "#4A5463", "#D5DAE1"
CONFIRMED, PROBABLE, OTHER = "#0E3557", "#5B93C4", "#858F9C"
HATCH = "#5F6A78"
SERIES = (("#12436D", "1,0"), ("#D95F0E", "6,3"), ("#2E8FD8", "2,2"), ("#6E0D3C", "8,3,2,3"))  # colour and dashes
EXPECTED = "#E3E7EC"
STRIP = 34  # height of the thin bars under a chart

_VARIABLES = {
    TEXT: "--text",
    MUTED: "--muted",
    LINE: "--line",
    CONFIRMED: "--confirmed",
    PROBABLE: "--probable",
    OTHER: "--series-other",
    HATCH: "--hatch",
    EXPECTED: "--expected",
    **{colour: f"--series-{n}" for n, (colour, _) in enumerate(SERIES, 1)},
}
_HEX = re.compile("|".join(_VARIABLES), re.IGNORECASE)
_FONT = re.compile(r'\sfont-family="[^"]*"')
_ROOT = re.compile(r"<svg [^>]*>")
_ARIA = re.compile(r'\s(?:role|aria-[a-z]+)="[^"]*"')
_BACKGROUND = re.compile(r'<rect width="[^"]*" height="[^"]*" fill="#FFFFFF"/>')
_SIZE = re.compile(r'<svg [^>]*width="(\d+)[^"]*" height="(\d+)')
_MOST_PICTURES = 512

# the patterns of the absences; a page prints them once, a picture for download carries its own
PATTERNS = (
    '<pattern id="nodata" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    f'<path d="M0 0V6" stroke="{HATCH}" stroke-width="2"/></pattern>'
    '<pattern id="masked" width="6" height="6" patternUnits="userSpaceOnUse">'
    f'<circle cx="3" cy="3" r="1.4" fill="{HATCH}"/></pattern>'
    '<pattern id="arriving" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V6" stroke="#FFFFFF" stroke-width="2.5"/></pattern>'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing in two widths. `wide` and `narrow` stand in a page, `download` is the wide one with literal colours."""

    wide: Markup
    narrow: Markup
    download: str


_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": "#FFFFFF",
    "font": "Arial",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "labelFontSize": 12,
        "titleColor": MUTED,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "gridColor": LINE,
        "domainColor": MUTED,
        "tickColor": MUTED,
    },
}


def _for_page(svg: str, label: str, size: str) -> Markup:
    svg = _BACKGROUND.sub("", _FONT.sub("", _ARIA.sub("", svg)), count=1)
    svg = _HEX.sub(lambda found: f"var({_VARIABLES[found.group().upper()]})", svg)
    box = re.search(r'viewBox="[^"]*"', svg)
    root = f'<svg class="chart chart-{size}" role="img" aria-label="{escape(label, quote=True)}" {box.group() if box else ""}>'
    return Markup(_ROOT.sub(lambda _: root, svg, count=1))  # noqa: S704 - drawn here; the label is escaped


def _for_download(svg: str, label: str) -> str:
    head = f"<title>{escape(label)}</title><defs>{PATTERNS}</defs>"
    return _ROOT.sub(lambda root: root.group() + head, svg, count=1)


def standing_alone(drawing: str, *, title: str, notes: Sequence[str]) -> str:
    """The picture for download with what the page prints around it: the finding above, and under it source and caveats."""
    size = _SIZE.search(drawing)
    if size is None:
        raise ValueError("the drawing says no size")
    width, height = int(size.group(1)), int(size.group(2))
    above = wrap(title, max(width // 9, 20))
    below = [line for note in notes for line in wrap(note, max(width // 6, 30))]
    top, bottom = 14 + 22 * len(above), 8 + 16 * len(below)
    texts = [
        f'<text x="8" y="{22 * n + 22}" font-size="16" font-weight="bold" fill="{TEXT}">{escape(line)}</text>'
        for n, line in enumerate(above)
    ]
    texts += [
        f'<text x="8" y="{top + height + 16 * (n + 1)}" font-size="12" fill="{MUTED}">{escape(line)}</text>'
        for n, line in enumerate(below)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top + height + bottom}" '
        f'viewBox="0 0 {width} {top + height + bottom}" font-family="Arial, sans-serif">'
        f'<rect width="100%" height="100%" fill="#FFFFFF"/>{"".join(texts)}'
        f'{drawing.replace("<svg ", f"""<svg y="{top}" """, 1)}</svg>'
    )


def as_png(svg: str) -> bytes:
    """A picture that stands alone, as PNG."""
    return bytes(vlc.svg_to_png(svg, scale=2.0))


def picture(wide: str, narrow: str, *, label: str) -> Picture:
    """Both widths of a chart (drawn by `month_bars` or `ranked_bars`), named `label` for those who do not see it."""
    return Picture(
        wide=_for_page(wide, label, "wide"), narrow=_for_page(narrow, label, "narrow"), download=_for_download(wide, label)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar of a chart. `parts` are (colour, value) from the baseline; without parts it is an absence with its own pattern.

    `absence` is `nodata` or `masked`; `arriving` hatches the bar over; `label` stands at its end; `band` is what was expected.
    """

    key: str
    parts: tuple[tuple[str, int], ...]
    absence: str | None = None
    arriving: bool = False
    label: str = ""
    band: tuple[int, int] | None = None


@lru_cache(maxsize=_MOST_PICTURES)
def month_bars(
    bars: tuple[Bar, ...],
    *,
    width: int,
    height: int,
    least_top: int = 0,
    strip: tuple[tuple[str, int], ...] = (),
    start: str = "",
) -> str:
    """SVG: stacked bars along months (`key` is YYYY-MM), counted from zero up to `least_top` at least, for charts to compare.

    Absences are blocks of a fixed height without a value. `strip` are further numbers of months, drawn thin and apart beneath
    over the same months; a month without one stays empty. Upright dashes stand before the month `start`.
    """
    top = max((max(sum(value for _, value in bar.parts), bar.band[1] if bar.band else 0) for bar in bars), default=0)
    ceiling = max(_round_up(max(top, least_top) * 1.12), 4)
    years = "slice(datum.value, 5) == '01' ? ['Jan', slice(datum.value, 0, 4)] : slice(datum.value, 5) == '07' ? 'Jul' : ''"
    x = alt.X(
        "key:O",
        sort=[bar.key for bar in bars],
        axis=alt.Axis(title=None, labelExpr=years, labelAngle=0, labelOverlap=False, labelPadding=6, ticks=False, grid=False),
        scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1),
    )
    y_axis = alt.Axis(title=None, tickCount=4, format=",d", tickMinStep=1, domain=False, ticks=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, ceiling], nice=False), axis=y_axis)

    solid, absent, over, labels = [], [], [], []
    for bar in bars:
        base = 0
        for colour, value in bar.parts:
            solid.append({"key": bar.key, "from": base, "to": base + value, "fill": colour})
            base += value
        if bar.absence:
            absent.append({"key": bar.key, "from": 0, "to": ceiling * 0.14, "fill": f"url(#{bar.absence})"})
        elif bar.arriving and base:
            over.append({"key": bar.key, "from": 0, "to": base, "fill": "url(#arriving)"})
        if bar.label:
            labels.append({"key": bar.key, "to": base, "label": bar.label})

    def rects(rows: list[dict[str, Any]]) -> Any:
        return _chart(rows).mark_bar().encode(x=x, y=y("from"), y2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None))

    texts = _chart(labels).mark_text(dy=-7, fontSize=12, fontWeight="bold", color=TEXT).encode(x=x, y=y("to"), text="label:N")
    expected = [{"key": bar.key, "from": bar.band[0], "to": bar.band[1], "fill": EXPECTED} for bar in bars if bar.band]
    frames = [{"key": bar.key, "from": edge, "to": edge, "fill": MUTED} for bar in bars if bar.band for edge in bar.band]
    layers = [
        rects(expected), rects(solid or [{"key": bars[0].key, "from": 0, "to": 0, "fill": CONFIRMED}]), rects(absent),
        rects(over), _chart(frames).mark_tick(thickness=1.5, color=MUTED).encode(x=x, y=y("from")), texts,
    ]  # fmt: skip
    if start:
        dashes = _chart([{"key": start, "from": 0, "to": ceiling}]).mark_rule(
            color=TEXT, strokeWidth=1.5, strokeDash=[4, 3], xOffset=-width / len(bars) / 2
        )
        layers.append(dashes.encode(x=x, y=y("from"), y2="to:Q"))
    return _draw(layers, width=width, height=height, below=_strip(bars, strip) if strip else None)


def _strip(bars: Sequence[Bar], strip: Sequence[tuple[str, int]]) -> Any:
    """Thin bars under a chart of months, on a scale of their own, as wide as the chart."""
    x = alt.X(
        "key:O",
        sort=[bar.key for bar in bars],
        axis=None,
        scale=alt.Scale(domain=[bar.key for bar in bars], paddingInner=0.22, paddingOuter=0.1),
    )
    top = _round_up(max(n for _, n in strip))
    y = alt.Y(
        "tests:Q",
        scale=alt.Scale(domain=[0, top], nice=False),
        axis=alt.Axis(title=None, values=[0, top], format=",d", domain=False, ticks=False),
    )
    rows = [{"key": key, "tests": n} for key, n in strip]
    return _chart(rows).mark_bar(color=OTHER).encode(x=x, y=y)


@lru_cache(maxsize=_MOST_PICTURES)
def ranked_bars(bars: tuple[Bar, ...], *, width: int, label_limit: int) -> str:
    """SVG: horizontal bars in the given order, their parts in a row, their label at the end. A masked one is a block of fixed
    length.
    """
    ceiling = max((sum(value for _, value in bar.parts) for bar in bars), default=0) or 1
    y = alt.Y(
        "key:O",
        sort=[bar.key for bar in bars],
        axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=label_limit, labelPadding=8, labelColor=TEXT),
        scale=alt.Scale(paddingInner=0.3),
    )
    x = alt.X("from:Q", scale=alt.Scale(domain=[0, ceiling * 1.12], nice=False), axis=None)
    rows, labels = [], []
    for bar in bars:
        parts = ((f"url(#{bar.absence})", ceiling * 0.05),) if bar.absence else bar.parts
        end = 0.0
        for colour, value in parts:
            rows.append({"key": bar.key, "from": end, "to": end + value, "fill": colour})
            end += value
        labels.append({"key": bar.key, "from": end, "label": bar.label})
    drawn = _chart(rows).mark_bar().encode(y=y, x=x, x2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None))
    written = _chart(labels).mark_text(align="left", dx=5, fontSize=12, color=TEXT).encode(y=y, x=x, text="label:N")
    return _draw([drawn, written], width=width, height=24 * len(bars), fit=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """One row of values from 0 to 100 with their median, and the middle half where it is known."""

    key: str
    values: tuple[float, ...]
    middle: float
    low: float | None
    high: float | None


@lru_cache(maxsize=_MOST_PICTURES)
def spreads(rows: tuple[Spread, ...], *, width: int, label_limit: int) -> str:
    """SVG: per row a dot for each value over the box of the middle half, and the median as a tick, from 0 to 100."""
    y = alt.Y(
        "key:O",
        sort=[row.key for row in rows],
        axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=label_limit, labelPadding=8, labelColor=TEXT),
    )
    scale = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("value:Q", scale=scale, axis=alt.Axis(title="Per cent", tickCount=5))
    boxes = [{"key": row.key, "value": row.low, "to": row.high} for row in rows if row.low is not None]
    dots = [{"key": row.key, "value": value} for row in rows for value in row.values]
    ticks = [{"key": row.key, "value": row.middle} for row in rows]
    layers = [
        _chart(dots).mark_point(color=PROBABLE, filled=True, size=26, opacity=1).encode(y=y, x=x),
        _chart(ticks).mark_tick(color=CONFIRMED, thickness=3, size=20, opacity=1).encode(y=y, x=x),
    ]
    if boxes:
        box = _chart(boxes).mark_bar(color=EXPECTED, stroke=MUTED, strokeWidth=1, height=16)
        layers.insert(0, box.encode(y=y, x=x, x2="to:Q"))
    return _draw(layers, width=width, height=30 * len(rows), fit=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line along months: (month, value, low, high, open mark); None breaks the line. `colour` and dashes as in `SERIES`."""

    colour: str
    dashes: str
    points: tuple[tuple[str, float | None, float, float, bool], ...]


@lru_cache(maxsize=_MOST_PICTURES)
def month_lines(lines: tuple[Line, ...], *, width: int, height: int, decimals: bool = False) -> str:
    """SVG: lines along months from zero, with a band where low and high differ. A month without value leaves a gap.

    Months with an open mark stand alone, without a line to them.
    """
    top = max((high for line in lines for _, value, _, high, _ in line.points if value is not None), default=0)
    ceiling = max(_round_up(top * 1.12), 4)
    months = [month for month, *_ in lines[0].points]
    years = "slice(datum.value, 5) == '01' ? ['Jan', slice(datum.value, 0, 4)] : slice(datum.value, 5) == '07' ? 'Jul' : ''"
    x = alt.X(
        "key:O",
        sort=months,
        axis=alt.Axis(title=None, labelExpr=years, labelAngle=0, labelOverlap=False, labelPadding=6, ticks=False, grid=False),
        scale=alt.Scale(type="point", padding=0.5),
    )
    axis = alt.Axis(title=None, tickCount=4, format=",.1f" if decimals and ceiling < 10 else ",d", domain=False, ticks=False)
    layers: list[Any] = []
    for line in lines:
        runs: list[list[dict[str, Any]]] = [[]]
        marks = []
        for month, value, low, high, mark in line.points:
            if value is None or mark:
                runs.append([])
            if value is not None:
                row = {"key": month, "value": value, "low": low, "high": high}
                if mark:
                    marks.append(row)
                else:
                    runs[-1].append(row)

        def y(field: str) -> alt.Y:
            return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, ceiling], nice=False), axis=axis)

        dashes = [int(n) for n in line.dashes.split(",")] if line.dashes != "1,0" else []
        for run in runs:
            if any(row["high"] > row["low"] for row in run):
                layers.append(_chart(run).mark_area(color=line.colour, opacity=0.18).encode(x=x, y=y("low"), y2="high:Q"))
            if len(run) > 1:
                layers.append(
                    _chart(run).mark_line(color=line.colour, strokeWidth=2, strokeDash=dashes).encode(x=x, y=y("value"))
                )
            elif run:
                layers.append(_chart(run).mark_point(color=line.colour, filled=True, size=24).encode(x=x, y=y("value")))
        if marks:
            layers.append(_chart(marks).mark_point(color=line.colour, filled=False, size=28).encode(x=x, y=y("value")))
    ghost = [{"key": month, "value": 0} for month in months]
    layers.insert(
        0, _chart(ghost).mark_point(opacity=0).encode(x=x, y=alt.Y("value:Q", scale=alt.Scale(domain=[0, ceiling]), axis=axis))
    )
    return _draw(layers, width=width, height=height)


@lru_cache(maxsize=_MOST_PICTURES)
def intervals(rows: tuple[tuple[str, int, int, int], ...], *, width: int, label_limit: int) -> str:
    """SVG: a dot for the rank and a bar for its interval a row, (name, rank, low, high), ranks growing to the right."""
    data = [{"key": f"{rank}  {name}", "rank": rank, "low": low, "high": high} for name, rank, low, high in rows]
    y = alt.Y(
        "key:O",
        sort=[str(row["key"]) for row in data],
        axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=label_limit, labelPadding=8, labelColor=TEXT),
    )
    top = max(high for *_, high in rows)
    scale = alt.Scale(domain=[0.5, top + 0.5], nice=False)
    x = alt.X("low:Q", scale=scale, axis=alt.Axis(title="Rank", tickMinStep=1, format=",d"))
    bars = _chart(data).mark_rule(color=PROBABLE, strokeWidth=4).encode(y=y, x=x, x2="high:Q")
    dots = _chart(data).mark_point(color=CONFIRMED, filled=True, size=50, opacity=1).encode(y=y, x=alt.X("rank:Q", scale=scale))
    return _draw([bars, dots], width=width, height=20 * len(rows), fit=True)


@lru_cache(maxsize=_MOST_PICTURES)
def pareto(points: tuple[tuple[str, float, float, bool], ...], *, width: int, height: int) -> str:
    """SVG: points (name, prevalence, harm, on the front) from 0 to 100; the front as a stepped line, its points named."""
    data = [{"name": n, "x": px, "y": py, "fill": CONFIRMED if front else PROBABLE} for n, px, py, front in points]
    front = sorted(((px, py) for _, px, py, on in points if on), key=lambda p: (p[0], -p[1]))
    marked = [row for row, point in zip(data, points, strict=True) if point[3]]
    left = [row for row in marked if float(str(row["x"])) < 50]
    right = [row for row in marked if row not in left]
    scale = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("x:Q", scale=scale, axis=alt.Axis(title="Prevalence, 0 to 100"))
    y = alt.Y("y:Q", scale=scale, axis=alt.Axis(title="Harm, 0 to 100, low end"))
    layers = [
        _chart([{"x": px, "y": py} for px, py in front] or [{"x": 0, "y": 0}])
        .mark_line(color=MUTED, interpolate="step-before", strokeDash=[4, 3])
        .encode(x=x, y=y, order="x:Q"),
        _chart(data).mark_point(filled=True, size=50, opacity=0.9).encode(x=x, y=y, color=alt.Color("fill:N", scale=None)),
        *(
            _chart(named).mark_text(align=align, dx=dx, dy=-8, fontSize=12, color=TEXT).encode(x=x, y=y, text="name:N")
            for align, dx, named in (("left", 6, left), ("right", -6, right))
            if named
        ),
    ]
    return _draw(layers, width=width, height=height)


@lru_cache(maxsize=_MOST_PICTURES)
def month_dots(rows: tuple[tuple[str, str], ...], *, width: int, label_limit: int) -> str:
    """SVG: a dot a row, (name, YYYY-MM), along time, with a bar the length of its month."""
    data = []
    for name, month in rows:
        year, number = int(month[:4]), int(month[5:])
        after = f"{year + number // 12:04d}-{number % 12 + 1:02d}-01"
        data.append({"key": name, "from": f"{month}-01", "to": after, "middle": f"{month}-15"})
    y = alt.Y(
        "key:O",
        sort=[name for name, _ in rows],
        axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=label_limit, labelPadding=8, labelColor=TEXT),
    )
    axis = alt.Axis(title=None, format="%b %Y", tickCount=5, labelOverlap=True, grid=True)
    bars = _chart(data).mark_rule(color=MUTED, strokeWidth=2).encode(y=y, x=alt.X("from:T", axis=axis), x2="to:T")
    dots = _chart(data).mark_point(color=CONFIRMED, filled=True, size=50, opacity=1).encode(y=y, x=alt.X("middle:T", axis=axis))
    return _draw([bars, dots], width=width, height=20 * len(rows), fit=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekBar:
    """One week of a series: its Monday as YYYY-MM-DD, the count, the mean expected and the least count that alarms."""

    week: str
    count: int
    mean: float | None
    limit: int | None
    alarm: bool = False


@lru_cache(maxsize=_MOST_PICTURES)
def week_band(weeks: tuple[WeekBar, ...], *, width: int, height: int) -> str:
    """SVG: bars along weeks over the band from zero to the count that alarms, the expected mean as a line."""
    ceiling = max(_round_up(max(max(w.count, w.limit or 0) for w in weeks) * 1.1), 4)
    x = alt.X(
        "week:O",
        sort=[w.week for w in weeks],
        axis=alt.Axis(
            title=None, labelAngle=0, labelPadding=6, ticks=False, grid=False, labelOverlap="greedy",
            labelExpr="timeFormat(toDate(datum.value), '%e %b %y')",
        ),
        scale=alt.Scale(paddingInner=0.22, paddingOuter=0.1),
    )  # fmt: skip
    axis = alt.Axis(title=None, tickCount=4, format=",d", tickMinStep=1, domain=False, ticks=False)

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", scale=alt.Scale(domain=[0, ceiling], nice=False), axis=axis)

    known = [w for w in weeks if w.limit is not None]
    band = [{"week": w.week, "from": 0, "to": w.limit} for w in known]
    line = [{"week": w.week, "mean": w.mean} for w in known]
    bars = [{"week": w.week, "from": 0, "to": w.count, "fill": CONFIRMED if w.alarm else PROBABLE} for w in weeks]
    empty = [{"week": weeks[0].week, "from": 0, "to": 0, "mean": 0}]
    layers = [
        _chart(band or empty).mark_area(color=LINE, interpolate="step", opacity=0.9).encode(x=x, y=y("from"), y2="to:Q"),
        _chart(bars).mark_bar().encode(x=x, y=y("from"), y2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None)),
        _chart(line or empty).mark_line(color=TEXT, strokeWidth=1.5, strokeDash=[4, 3]).encode(x=x, y=y("mean")),
    ]
    return _draw(layers, width=width, height=height)


def warm_up() -> None:
    """Draws once, so that the half second which the first picture costs is spent before the first reader comes."""
    month_bars((Bar(key="2026-01", parts=((CONFIRMED, 1),)),), width=100, height=50)


def _chart(rows: list[dict[str, Any]]) -> Any:
    # altair's own signatures are partly untyped
    return alt.Chart(alt.Data(values=rows))  # type: ignore[no-untyped-call]


def _draw(layers: Sequence[Any], *, width: int, height: int, fit: bool = False, below: Any = None) -> str:
    """The SVG, in literal colours, without prolog.

    With `fit` the width is that of the whole picture, its labels included; else that of the drawing area. `below` is a thin
    chart under it, of the same width.
    """
    chart: Any = alt.layer(*layers).properties(width=width, height=height)
    if below is not None:
        chart = alt.vconcat(chart, below.properties(width=width, height=STRIP), spacing=6)
    chart = chart.configure(**_CONFIG)
    definition: dict[str, Any] = chart.to_dict(validate=False)
    if fit:
        definition["autosize"] = {"type": "fit-x", "contains": "padding"}
    return str(vlc.vegalite_to_svg(json.dumps(definition)))


def _round_up(value: float) -> int:
    """The next number with one or two leading digits that reads well on an axis."""
    step = 10 ** max(len(str(int(value))) - 2, 0)
    return int(-(-value // step) * step) or 1
