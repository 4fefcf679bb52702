"""World maps: every country in the look of its class or of its absence; the shapes are one file that a browser keeps.

`app/static/world.svg` (Equal Earth, shapes of Natural Earth) has one shape a country, named `c` and its ISO number; countries too
small for one get a circle at their place. Shapes without a code are drawn as no data.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path

from markupsafe import Markup

from app.web.charts import PATTERNS, Picture
from app.web.static import manifest, static_url

WIDTH, HEIGHT = 1000, 435
CLASSES = 5
NO_DATA, ZERO, MASKED = "nodata", "zero", "masked"
_FILLS = {
    "s1": "#DCE9F5", "s2": "#A9CBE8", "s3": "#6BA3D0", "s4": "#2F75AE", "s5": "#12436D", ZERO: "#FFFFFF",
    NO_DATA: "url(#nodata)", MASKED: "url(#masked)",
}  # fmt: skip
BOUNDARIES = (
    "Boundaries and names shown do not imply official endorsement or acceptance. Shapes: Natural Earth, 1:110 million; "
    "small states are circles."
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a country is drawn: by its shape, or as a circle at x, y."""

    numeric: str
    circle: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The classes of a map: the values at or under each bound belong to its class; the last bound is the highest value."""

    bounds: tuple[float, ...]

    def place(self, value: float) -> str:
        """The class's name: `zero`, or `s1` for the lowest values to `s5`. Fewer classes use the darker names."""
        if value <= 0:
            return ZERO
        n = next(n for n, bound in enumerate(self.bounds) if value <= bound)
        return f"s{CLASSES - len(self.bounds) + n + 1}"


def steps(values: Sequence[float]) -> Steps:
    """At most five classes with about as many values each; equal values never fall apart."""
    known = sorted(value for value in values if value > 0)
    if not known:
        return Steps(bounds=())
    picked = {
        known[min((n + 1) * len(known) // CLASSES, len(known)) - 1] for n in range(CLASSES) if (n + 1) * len(known) >= CLASSES
    }
    return Steps(bounds=tuple(sorted(picked | {known[-1]})))


@cache
def places() -> Mapping[str, Place]:
    """Every ISO country by its alpha-2 code."""
    path = Path(__file__).resolve().parents[1] / "data" / "map_places.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["country"]: Place(row["numeric"], None if row["shape"] == "yes" else (float(row["x"]), float(row["y"])))
            for row in csv.DictReader(file)
        }


@cache
def _shapes() -> tuple[Mapping[str, str], tuple[str, ...]]:
    """The paths by their names, for a picture that stands alone; and the names of shapes without a country."""
    text = manifest()["world.svg"].content.decode()
    paths = dict(re.findall(r'<path id="(\w+)" d="([^"]*)"/>', text))
    return paths, tuple(name for name in paths if name.startswith("u"))


def world_map(looks: Mapping[str, str], *, label: str) -> Picture:
    """The map with the look of each country in `looks` (a class, `zero` or `masked`); every other country is no data."""
    return Picture(wide=_page(looks, label), narrow=Markup(""), download=_download(looks, label))


@dataclass(frozen=True, slots=True, kw_only=True)
class Small:
    """One of several maps: its title, and the looks of countries as for `world_map`."""

    title: str
    looks: Mapping[str, str]


def small_maps(maps: Sequence[Small]) -> Picture:
    """Maps beside one another, each under its title; in the download two in a row, their shapes written once."""
    drawn = (
        f'<div class="small-map"><p class="small strong">{escape(one.title)}</p>'
        f"{_page(one.looks, f'World map, {one.title}. Table follows.')}</div>"
        for one in maps
    )
    wide = Markup(f'<div class="small-maps">{"".join(drawn)}</div>')  # noqa: S704 - drawn here; titles are escaped
    return Picture(wide=wide, narrow=Markup(""), download=_sheet(maps))


def _sheet(maps: Sequence[Small]) -> str:
    paths, others = _shapes()
    shapes = "".join(f'<path id="{name}" d="{path}"/>' for name, path in paths.items())
    across, down, above = WIDTH // 2, HEIGHT // 2, 26
    drawn = []
    for n, one in enumerate(maps):
        x, y = n % 2 * across, n // 2 * (down + above)
        marks = [f'<use href="#{name}" fill="{_FILLS[NO_DATA]}"/>' for name in others]
        for country, place in places().items():
            fill = _FILLS[one.looks.get(country, NO_DATA)]
            if place.circle is None:
                marks.append(f'<use href="#c{place.numeric}" fill="{fill}"/>')
            else:
                marks.append(f'<circle cx="{place.circle[0]:g}" cy="{place.circle[1]:g}" r="5" fill="{fill}"/>')
        drawn.append(
            f'<text x="{x + 8}" y="{y + 18}" font-size="13" fill="#1A1F26">{escape(one.title)}</text>'
            f'<svg x="{x}" y="{y + above}" width="{across}" height="{down}" viewBox="0 0 {WIDTH} {HEIGHT}">'
            f'<g stroke="#4A5463" stroke-width="0.7">{"".join(marks)}</g></svg>'
        )
    height = -(-len(maps) // 2) * (down + above)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">'
        f"<defs>{PATTERNS}{shapes}</defs>{''.join(drawn)}</svg>"
    )


def _page(looks: Mapping[str, str], label: str) -> Markup:
    address = static_url("world.svg")
    _, others = _shapes()
    shapes = [f'<use href="{address}#{name}" class="{NO_DATA}"/>' for name in others]
    circles = []
    for country, place in places().items():
        look = looks.get(country, NO_DATA)
        if place.circle is None:
            shapes.append(f'<use href="{address}#c{place.numeric}" class="{look}"/>')
        else:
            circles.append(f'<circle cx="{place.circle[0]:g}" cy="{place.circle[1]:g}" r="4" class="{look}"/>')
    return Markup(  # noqa: S704 - drawn here; the label is escaped
        f'<svg class="chart chart-map" role="img" aria-label="{escape(label, quote=True)}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"{''.join(shapes)}{''.join(circles)}</svg>"
    )


def _download(looks: Mapping[str, str], label: str) -> str:
    paths, others = _shapes()
    line = 'stroke="#4A5463" stroke-width="0.5"'
    drawn = [f'<path d="{paths[name]}" fill="{_FILLS[NO_DATA]}" {line}/>' for name in others]
    circles = []
    for country, place in places().items():
        fill = _FILLS[looks.get(country, NO_DATA)]
        if place.circle is None:
            drawn.append(f'<path d="{paths[f"c{place.numeric}"]}" fill="{fill}" {line}/>')
        else:
            circles.append(f'<circle cx="{place.circle[0]:g}" cy="{place.circle[1]:g}" r="4" fill="{fill}" {line}/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}">'
        f"<title>{escape(label)}</title><defs>{PATTERNS}</defs>{''.join(drawn)}{''.join(circles)}</svg>"
    )
