"""Charts: an Altair definition of each kind, made once, is filled with bars or lines and becomes SVG on the server; the page
recolours it. Drawings are kept in memory by all that was given for them.

The picture for download keeps the light palette's literal colours; the one in a page refers to the style sheet's variables
instead, so that the same picture serves light, dark and paper. Nothing here knows what is counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape, unescape
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
STRIP, STRIP_GAP = 34, 42  # height of the thin bars under a chart, and the room for the axis between
FONT, LINE_HEIGHT = "Arial", 14

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
_MOST_DEFINITIONS = 32  # a kind: it is drawn in a few sizes
_QUOTE, _NEW_LINE = "\ue000", "\ue001"  # letters that no text has, in the place of what Vega would change
_EMPTY_TEXT = re.compile(r'<text([^>]*?) font-family="([^"]*)"([^>]*?)/>')
# tenths of a letter's height that it is wide in Arial; what is not here takes 6
_WIDTHS = {
    letter: width
    for letters, width in (
        ("ijl'|", 2),
        (" !,./:;It[]\\f()r-`", 3.3),
        ("ckJsvxyz", 5),
        ("ABCDEHKNPRSUVwXY&", 7.2),
        ("GOQ%mMW", 8.6),
    )
    for letter in letters
}
Rows = list[dict[str, Any]]

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
class Reading:
    """How a page reads values off a chart: its marks stand in equal steps along `axis` (x or y), one for each row of its table.

    So many rows are drawn, in the narrow drawing perhaps the last ones alone. `last_first`: the table begins at the end.
    """

    axis: str
    wide: int
    narrow: int
    last_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A drawing in two widths. `wide` and `narrow` stand in a page, `download` is the wide one with literal colours."""

    wide: Markup
    narrow: Markup
    download: str
    reading: Reading | None = None


def along(axis: str, rows: int, narrow: int | None = None, *, last_first: bool = False) -> Reading | None:
    """The reading of a chart of so many rows; none of a chart without any."""
    if not rows:
        return None
    return Reading(axis=axis, wide=rows, narrow=rows if narrow is None else min(narrow, rows), last_first=last_first)


_CONFIG: dict[str, Any] = {
    "aria": False,
    "background": "#FFFFFF",
    "font": FONT,
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


@lru_cache(maxsize=2 * _MOST_PICTURES)
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


def picture(wide: str, narrow: str, *, label: str, reading: Reading | None = None) -> Picture:
    """Both widths of a chart (drawn by `month_bars` or `ranked_bars`), named `label` for those who do not see it."""
    return Picture(
        wide=_for_page(wide, label, "wide"),
        narrow=_for_page(narrow, label, "narrow"),
        download=_for_download(wide, label),
        reading=reading,
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
    rows: dict[str, Rows] = {"solid": [], "absent": [], "over": [], "labels": [], "expected": [], "frames": []}
    for bar in bars:
        base = 0
        for colour, value in bar.parts:
            rows["solid"].append({"key": bar.key, "from": base, "to": base + value, "fill": colour})
            base += value
        if bar.absence:
            rows["absent"].append({"key": bar.key, "from": 0, "to": ceiling * 0.14, "fill": f"url(#{bar.absence})"})
        elif bar.arriving and base:
            rows["over"].append({"key": bar.key, "from": 0, "to": base, "fill": "url(#arriving)"})
        if bar.label:
            rows["labels"].append({"key": bar.key, "from": base, "label": bar.label})
        if bar.band:
            rows["expected"].append({"key": bar.key, "from": bar.band[0], "to": bar.band[1], "fill": EXPECTED})
            rows["frames"] += [{"key": bar.key, "from": edge} for edge in bar.band]
    keys = [bar.key for bar in bars]
    given: dict[str, Any] = {"keys": keys, "extent": [0, ceiling], "ticks": _half_years(keys)}
    if strip:
        rows["strip"] = [{"key": key, "tests": n} for key, n in strip]
        given["tested"] = [0, _round_up(max(n for _, n in strip))]
    if start:
        rows["start"] = [{"key": start, "from": 0, "to": ceiling}]
    before = -width / len(bars) / 2 if start else None
    room = _room(left=_counted(ceiling, *given.get("tested", ())), bottom=8 if strip else 38)
    return _draw(_month_bars(width, height, strip=bool(strip), before=before), rows, room, **given)


@lru_cache(maxsize=_MOST_DEFINITIONS)
def _month_bars(width: int, height: int, *, strip: bool, before: float | None) -> str:
    """`before`: how far left of its month the dashes of a start stand, in pixels; None for none."""
    x, y = alt.X("key:O", axis=_months_axis(), scale=_columns(), sort=None), _counted_up()

    def rects(name: str) -> Any:
        return _chart(name).mark_bar().encode(x=x, y=y, y2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None))

    texts = _chart("labels").mark_text(dy=-7, fontSize=12, fontWeight="bold", color=TEXT).encode(x=x, y=y, text="label:N")
    layers = [
        rects("expected"), rects("solid"), rects("absent"), rects("over"),
        _chart("frames").mark_tick(thickness=1.5, color=MUTED).encode(x=x, y=y), texts,
    ]  # fmt: skip
    if before is not None:
        dashes = _chart("start").mark_rule(color=TEXT, strokeWidth=1.5, strokeDash=[4, 3], xOffset=before)
        layers.append(dashes.encode(x=x, y=y, y2="to:Q"))
    if not strip:
        return _definition(layers, width=width, height=height)
    tested = alt.Axis(title=None, values=_later("tested"), format=",d", domain=False, ticks=False)
    below = _chart("strip").mark_bar(color=OTHER)
    below = below.encode(
        x=alt.X("key:O", axis=None, scale=_columns(), sort=None),
        y=alt.Y("tests:Q", scale=alt.Scale(domain=_later("tested"), nice=False), axis=tested),
    )
    return _definition(layers, width=width, height=height, below=below)


def _columns() -> alt.Scale:
    """Bars side by side, in the order in which they are given."""
    return alt.Scale(domain=_later("keys"), paddingInner=0.22, paddingOuter=0.1)


def _counted_up() -> alt.Y:
    """Counts from the baseline up, with few ticks."""
    axis = alt.Axis(title=None, tickCount=4, format=",d", tickMinStep=1, domain=False, ticks=False)
    return alt.Y("from:Q", scale=alt.Scale(domain=_later("extent"), nice=False), axis=axis)


def _months_axis() -> alt.Axis:
    """Januaries with their year, Julies without; the months between have no tick."""
    years = f"slice(datum.value, 5) == '01' ? 'Jan{_NEW_LINE}' + slice(datum.value, 0, 4) : 'Jul'"
    return alt.Axis(
        title=None, values=_later("ticks"), labelExpr=years, labelAngle=0, labelOverlap=False, labelPadding=6, ticks=False,
        grid=False,
    )  # fmt: skip


def _half_years(months: Sequence[str]) -> list[str]:
    return [month for month in months if month[5:] in {"01", "07"}]


@lru_cache(maxsize=_MOST_PICTURES)
def ranked_bars(bars: tuple[Bar, ...], *, width: int, label_limit: int) -> str:
    """SVG: horizontal bars in the given order, their parts in a row, their label at the end. A masked one is a block of fixed
    length.
    """
    ceiling = max((sum(value for _, value in bar.parts) for bar in bars), default=0) or 1
    rows: dict[str, Rows] = {"solid": [], "labels": []}
    for bar in bars:
        parts = ((f"url(#{bar.absence})", ceiling * 0.05),) if bar.absence else bar.parts
        end = 0.0
        for colour, value in parts:
            rows["solid"].append({"key": bar.key, "from": end, "to": end + value, "fill": colour})
            end += value
        rows["labels"].append({"key": bar.key, "from": end, "label": bar.label})
    keys = [bar.key for bar in bars]
    names = _names_beside(keys, width, label_limit, bottom=6)
    return _draw(
        _ranked_bars(), rows, names.room, cut=names.cut, **names.size(24 * len(keys)), keys=keys, extent=[0, ceiling * 1.12]
    )


@lru_cache(maxsize=1)
def _ranked_bars() -> str:
    y = alt.Y("key:O", axis=_names_axis(), scale=alt.Scale(domain=_later("keys"), paddingInner=0.3, paddingOuter=0), sort=None)
    x = alt.X("from:Q", scale=alt.Scale(domain=_later("extent"), nice=False), axis=None)
    drawn = _chart("solid").mark_bar().encode(y=y, x=x, x2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None))
    written = _chart("labels").mark_text(align="left", dx=5, fontSize=12, color=TEXT).encode(y=y, x=x, text="label:N")
    return _definition([drawn, written])


def _names_axis() -> alt.Axis:
    return alt.Axis(title=None, ticks=False, domain=False, labelPadding=8, labelColor=TEXT)


def _names() -> alt.Y:
    """Rows by their names in the given order."""
    return alt.Y("key:O", axis=_names_axis(), scale=alt.Scale(domain=_later("keys")), sort=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beside:
    """What is left beside names: the room around the drawing, its width, and how names that are too long are written."""

    room: dict[str, int]
    width: int
    cut: dict[str, str]

    def size(self, height: int) -> dict[str, int]:
        return {"width": self.width, "height": height}


def _names_beside(names: Sequence[str], width: int, limit: int, *, bottom: int, right: int = 12) -> _Beside:
    cut = {name: short for name in names if (short := _cut(name, limit)) != name}
    left = max((_wide(cut.get(name, name)) for name in names), default=0) + 14
    return _Beside(room=_room(left=left, bottom=bottom, right=right), width=width - left - right, cut=cut)


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
    data: dict[str, Rows] = {
        "boxes": [{"key": row.key, "value": row.low, "to": row.high} for row in rows if row.low is not None],
        "dots": [{"key": row.key, "value": value} for row in rows for value in row.values],
        "middles": [{"key": row.key, "value": row.middle} for row in rows],
    }
    keys = [row.key for row in rows]
    names = _names_beside(keys, width, label_limit, bottom=52)
    return _draw(_spreads(), data, names.room, cut=names.cut, **names.size(30 * len(rows)), keys=keys)


@lru_cache(maxsize=1)
def _spreads() -> str:
    y = _names()
    axis = alt.Axis(title="Per cent", titlePadding=18, tickCount=5)
    x = alt.X("value:Q", scale=alt.Scale(domain=[0, 100], nice=False), axis=axis)
    box = _chart("boxes").mark_bar(color=EXPECTED, stroke=MUTED, strokeWidth=1, height=16)
    return _definition([
        box.encode(y=y, x=x, x2="to:Q"),
        _chart("dots").mark_point(color=PROBABLE, filled=True, size=26, opacity=1).encode(y=y, x=x),
        _chart("middles").mark_tick(color=CONFIRMED, thickness=3, size=20, opacity=1).encode(y=y, x=x),
    ])  # fmt: skip


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
    rows: dict[str, Rows] = {"bands": [], "lines": [], "dots": [], "marks": []}
    for number, line in enumerate(lines):
        runs: list[Rows] = [[]]
        for month, value, low, high, mark in line.points:
            if value is None or mark:
                runs.append([])
            if value is not None:
                run = f"{number}-{len(runs)}"
                row = {"key": month, "value": value, "low": low, "high": high, "run": run, "colour": line.colour}
                row["dashes"] = [int(n) for n in line.dashes.split(",")] if line.dashes != "1,0" else []
                (rows["marks"] if mark else runs[-1]).append(row)
        for points in runs:
            if any(row["high"] > row["low"] for row in points):
                rows["bands"] += points
            rows["lines" if len(points) > 1 else "dots"] += points
    months = [month for month, *_ in lines[0].points]
    given: dict[str, Any] = {"keys": months, "extent": [0, ceiling], "ticks": _half_years(months)}
    return _draw(_month_lines(width, height, decimals=decimals and ceiling < 10), rows, _room(left=_counted(ceiling)), **given)


@lru_cache(maxsize=_MOST_DEFINITIONS)
def _month_lines(width: int, height: int, *, decimals: bool) -> str:
    x = alt.X("key:O", axis=_months_axis(), scale=alt.Scale(type="point", padding=0.5, domain=_later("keys")), sort=None)
    axis = alt.Axis(title=None, tickCount=4, format=",.1f" if decimals else ",d", domain=False, ticks=False)
    scale = alt.Scale(domain=_later("extent"), nice=False)
    y, low = (alt.Y(f"{field}:Q", scale=scale, axis=axis) for field in ("value", "low"))
    stroke, fill = (way("colour:N", scale=None, legend=None) for way in (alt.Stroke, alt.Fill))
    dashes = alt.StrokeDash("dashes:N", scale=None, legend=None)
    return _definition([
        _chart("bands").mark_area(opacity=0.18).encode(x=x, y=low, y2="high:Q", fill=fill, detail="run:N"),
        _chart("lines").mark_line(strokeWidth=2).encode(x=x, y=y, stroke=stroke, strokeDash=dashes, detail="run:N"),
        _chart("dots").mark_point(filled=True, size=24).encode(x=x, y=y, fill=fill),
        _chart("marks").mark_point(filled=False, size=28).encode(x=x, y=y, stroke=stroke),
    ], width=width, height=height)  # fmt: skip


@lru_cache(maxsize=_MOST_PICTURES)
def intervals(rows: tuple[tuple[str, int, int, int], ...], *, width: int, label_limit: int) -> str:
    """SVG: a dot for the rank and a bar for its interval a row, (name, rank, low, high), ranks growing to the right."""
    data = [{"key": f"{rank}  {name}", "rank": rank, "low": low, "high": high} for name, rank, low, high in rows]
    keys, top = [f"{rank}  {name}" for name, rank, *_ in rows], max(high for *_, high in rows)
    names = _names_beside(keys, width, label_limit, bottom=52)
    size = names.size(20 * len(rows))
    return _draw(_intervals(), {"data": data}, names.room, cut=names.cut, **size, keys=keys, extent=[0.5, top + 0.5])


@lru_cache(maxsize=1)
def _intervals() -> str:
    y = _names()
    scale = alt.Scale(domain=_later("extent"), nice=False)
    x = alt.X("low:Q", scale=scale, axis=alt.Axis(title="Rank", titlePadding=18, tickMinStep=1, format=",d"))
    bars = _chart("data").mark_rule(color=PROBABLE, strokeWidth=4).encode(y=y, x=x, x2="high:Q")
    dots = _chart("data").mark_point(color=CONFIRMED, filled=True, size=50, opacity=1)
    return _definition([bars, dots.encode(y=y, x=alt.X("rank:Q", scale=scale))])


@lru_cache(maxsize=_MOST_PICTURES)
def pareto(points: tuple[tuple[str, float, float, bool], ...], *, width: int, height: int) -> str:
    """SVG: points (name, prevalence, harm, on the front) from 0 to 100; the front as a stepped line, its points named.

    Of several others within two pixels of one another one is drawn: they would lie under it.
    """
    others = {(round(px * width / 200), round(py * height / 200)): (px, py) for _, px, py, on in points if not on}
    front = sorted(((px, py) for _, px, py, on in points if on), key=lambda p: (p[0], -p[1]))
    marked = [{"name": n, "x": px, "y": py} for n, px, py, on in points if on]
    data: dict[str, Rows] = {
        "front": [{"x": px, "y": py} for px, py in front],
        "points": [
            *({"x": px, "y": py, "fill": PROBABLE} for px, py in others.values()),
            *({"x": row["x"], "y": row["y"], "fill": CONFIRMED} for row in marked),
        ],
        "left": [row for row in marked if float(str(row["x"])) < 50],
        "right": [row for row in marked if float(str(row["x"])) >= 50],
    }
    return _draw(_pareto(width, height), data, _room(left=52, bottom=52))


@lru_cache(maxsize=_MOST_DEFINITIONS)
def _pareto(width: int, height: int) -> str:
    scale = alt.Scale(domain=[0, 100], nice=False)
    x = alt.X("x:Q", scale=scale, axis=alt.Axis(title="Prevalence, 0 to 100", titlePadding=18, tickCount=width // 60))
    y = alt.Y("y:Q", scale=scale, axis=alt.Axis(title="Harm, 0 to 100, low end", titlePadding=26))
    layers = [
        _chart("front").mark_line(color=MUTED, interpolate="step-before", strokeDash=[4, 3]).encode(x=x, y=y, order="x:Q"),
        _chart("points")
        .mark_point(filled=True, size=50, opacity=0.9)
        .encode(x=x, y=y, color=alt.Color("fill:N", scale=None, legend=None)),
        *(
            _chart(align).mark_text(align=align, dx=dx, dy=-8, fontSize=12, color=TEXT).encode(x=x, y=y, text="name:N")
            for align, dx in (("left", 6), ("right", -6))
        ),
    ]
    return _definition(layers, width=width, height=height)


@lru_cache(maxsize=_MOST_PICTURES)
def month_dots(rows: tuple[tuple[str, str], ...], *, width: int, label_limit: int) -> str:
    """SVG: a dot a row, (name, YYYY-MM), along time, with a bar the length of its month."""
    data = []
    for name, month in rows:
        year, number = int(month[:4]), int(month[5:])
        after = f"{year + number // 12:04d}-{number % 12 + 1:02d}-01"
        data.append({"key": name, "from": f"{month}-01", "to": after, "middle": f"{month}-15"})
    keys = [name for name, _ in rows]
    names = _names_beside(keys, width, label_limit, bottom=26, right=30)
    size = names.size(20 * len(rows))
    return _draw(_month_dots(5 if names.width > 400 else 2), {"data": data}, names.room, cut=names.cut, **size, keys=keys)


@lru_cache(maxsize=_MOST_DEFINITIONS)
def _month_dots(ticks: int) -> str:
    y = _names()
    axis = alt.Axis(title=None, format="%b %Y", tickCount=ticks, grid=True)
    bars = _chart("data").mark_rule(color=MUTED, strokeWidth=2).encode(y=y, x=alt.X("from:T", axis=axis), x2="to:T")
    dots = _chart("data").mark_point(color=CONFIRMED, filled=True, size=50, opacity=1)
    return _definition([bars, dots.encode(y=y, x=alt.X("middle:T", axis=axis))])


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
    known = [w for w in weeks if w.limit is not None]
    data: dict[str, Rows] = {
        "band": [{"week": w.week, "from": 0, "to": w.limit} for w in known],
        "bars": [{"week": w.week, "from": 0, "to": w.count, "fill": CONFIRMED if w.alarm else PROBABLE} for w in weeks],
        "line": [{"week": w.week, "from": w.mean} for w in known],
    }
    keys = [w.week for w in weeks]
    given: dict[str, Any] = {"keys": keys, "extent": [0, ceiling], "ticks": keys[:: -(-len(keys) * 90 // width)]}
    return _draw(_week_band(width, height), data, _room(left=_counted(ceiling), bottom=26), **given)


@lru_cache(maxsize=_MOST_DEFINITIONS)
def _week_band(width: int, height: int) -> str:
    x = alt.X(
        "week:O",
        sort=None,
        axis=alt.Axis(
            title=None, values=_later("ticks"), labelAngle=0, labelPadding=6, ticks=False, grid=False, labelOverlap=False,
            labelExpr="timeFormat(toDate(datum.value), '%e %b %y')",
        ),
        scale=_columns(),
    )  # fmt: skip
    y = _counted_up()
    layers = [
        _chart("band").mark_area(color=LINE, interpolate="step", opacity=0.9).encode(x=x, y=y, y2="to:Q"),
        _chart("bars").mark_bar().encode(x=x, y=y, y2="to:Q", fill=alt.Fill("fill:N", scale=None, legend=None)),
        _chart("line").mark_line(color=TEXT, strokeWidth=1.5, strokeDash=[4, 3]).encode(x=x, y=y),
    ]
    return _definition(layers, width=width, height=height)


def warm_up() -> None:
    """Draws the common kinds once: what a first picture and a first definition cost is spent before the first reader comes."""
    bar = (Bar(key="2026-01", parts=((CONFIRMED, 1),)),)
    for width, height in ((700, 220), (310, 190)):
        month_bars(bar, width=width, height=height)
        month_bars(bar, width=width, height=height, strip=(("2026-01", 1),))
    for width, limit in ((740, 180), (340, 120)):
        ranked_bars(bar, width=width, label_limit=limit)


def _chart(rows: str) -> Any:
    return alt.Chart(alt.NamedData(name=rows))


def _later(name: str) -> list[str]:
    """In the place of a list of values that are filled in when a picture is drawn."""
    return [f"${name}"]


def _room(*, left: int, top: int = 10, right: int = 12, bottom: int = 38) -> dict[str, int]:
    """Pixels around what is drawn, for the texts beside it: under it two lines of an axis unless told otherwise."""
    return {"left": left, "top": top, "right": right, "bottom": bottom}


def _counted(*numbers: int) -> int:
    """The room for an axis of counts up to these."""
    return max(_wide(f"{n:,}") for n in numbers) + 8


def _wide(text: str) -> int:
    """About how many pixels a text of 12 pixels takes."""
    return round(1.2 * sum(_WIDTHS.get(letter, 6) for letter in text))


def _cut(text: str, limit: int) -> str:
    """The text, or its beginning with an ellipsis where it is wider than so many pixels."""
    if _wide(text) <= limit:
        return text
    return next(short for n in range(len(text) - 1, -1, -1) if _wide(short := text[:n].rstrip() + "…") <= limit or not n)


def _definition(layers: Sequence[Any], *, width: int = 0, height: int = 0, below: Any = None) -> str:
    """What Vega draws of these layers, as JSON with places for the rows and whatever else is given `_later`.

    Without width and height these are given later too; they are those of the drawing area. `below` is a thin chart under it, of
    the same width.
    """
    chart: Any = alt.layer(*layers).properties(width=width or 1, height=height or 1)
    if below is not None:
        chart = alt.vconcat(chart, below.properties(width=width, height=STRIP), spacing=STRIP_GAP, bounds="flush")
    chart = chart.configure(**_CONFIG)
    vega: dict[str, Any] = vlc.vegalite_to_vega(json.dumps(chart.to_dict(validate=False)))
    names = {layer.data.name for layer in (*layers, *([] if below is None else [below]))}
    for source in vega["data"]:
        if source["name"] in names:
            source["values"] = _later(f"rows:{source['name']}")
    if not width:
        vega |= {"width": _later("width"), "height": _later("height")}
    elif below is not None:
        vega |= {"width": width, "height": height + STRIP_GAP + STRIP}
    vega |= {"autosize": "none", "padding": _later("room")}
    _carry_texts(vega)
    return json.dumps(vega)


def _carry_texts(part: Any) -> None:
    """Let every text of marks and axes come out empty, and be carried in its font's name for `_draw` to write it.

    Vega measures each text that it writes, which takes longer than all else in a picture together.
    """
    if isinstance(part, list):
        for one in part:
            _carry_texts(one)
    if not isinstance(part, dict):
        return
    ways: dict[str, Any] | None = None
    if part.get("type") == "text":
        ways = part["encode"]["update"]
    elif "orient" in part and "scale" in part and part.get("labels", True):
        ways = part.setdefault("encode", {}).setdefault("labels", {}).setdefault("update", {})
        ways.setdefault("text", {"signal": "datum.label"})
    if ways is not None:
        ways |= {"font": ways["text"], "text": {"value": ""}}
    for one in part.values():
        _carry_texts(one)


def _draw(
    definition: str, rows: Mapping[str, Rows], room: Mapping[str, int], *, cut: Mapping[str, str] | None = None, **given: Any
) -> str:
    """The SVG of a definition filled in, in literal colours, without prolog. Texts in `cut` are written as it says.

    No quote is left in what is filled in, so that none of it can be taken for a place.
    """
    for name, value in {"room": room, **given, **{f"rows:{name}": values for name, values in rows.items()}}.items():
        definition = definition.replace(f'["${name}"]', json.dumps(value, ensure_ascii=False).replace('\\"', _QUOTE))

    def write(found: re.Match[str]) -> str:
        before, carried, after = found.groups()
        text = unescape(carried).replace(_QUOTE, '"')
        first, *more = (escape(line, quote=False) for line in (cut or {}).get(text, text).split(_NEW_LINE))
        lines = "".join(f'<tspan x="0" dy="{LINE_HEIGHT}">{line}</tspan>' for line in more)
        return f'<text{before} font-family="{FONT}"{after}>{first}{lines}</text>'

    return _EMPTY_TEXT.sub(write, str(vlc.vega_to_svg(definition)))


def _round_up(value: float) -> int:
    """The next number with one or two leading digits that reads well on an axis."""
    step = 10 ** max(len(str(int(value))) - 2, 0)
    return int(-(-value // step) * step) or 1
