"""Makes `app/static/world.svg` and `app/data/map_places.csv` from the public package world-atlas 2.0.2 (Natural Earth).

    npm pack world-atlas@2.0.2 && tar xzf world-atlas-2.0.2.tgz
    python -m tests.tools.make_world package

Projection: Equal Earth (Šavrič, Patterson, Jenny 2018, doi:10.1080/13658816.2018.1504949). Shapes are those of the 1:110 million
map; a country that this leaves out gets a place for a circle, from the 1:10 million map or, where that has none, by hand.
"""

from __future__ import annotations

import csv
import json
import sys
from math import asin, cos, pi, radians, sin, sqrt
from pathlib import Path
from typing import Any

import pycountry

from app.regions import is_country

ROOT = Path(__file__).resolve().parents[2]
WIDTH = 1000.0
TOP = 84.0  # degrees north at the upper edge
BOTTOM = -57.0  # south of it lies Antarctica alone, which gets a circle
A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
# islands and territories that the 1:10 million map does not hold apart, in degrees east and north; as recalled
BY_HAND = {
    "AQ": (0.0, -55.5), "BQ": (-68.3, 12.2), "BV": (3.4, -54.4), "CC": (96.8, -12.2), "CX": (105.7, -10.5),
    "GP": (-61.6, 16.2), "MQ": (-61.0, 14.7), "RE": (55.5, -21.1), "SJ": (16.0, 78.5), "TK": (-171.8, -9.2),
    "YT": (45.2, -12.8), "GI": (-5.4, 36.1), "TV": (179.2, -8.5), "UM": (-160.0, 0.4),
}  # fmt: skip


def project(longitude: float, latitude: float) -> tuple[float, float]:
    """Equal Earth in units of the radius: x to the east, y to the north."""
    theta = asin(sqrt(3) / 2 * sin(radians(latitude)))
    square = theta * theta
    sixth = square**3
    x = 2 * sqrt(3) * radians(longitude) * cos(theta) / (3 * (9 * A4 * sixth * square + 7 * A3 * sixth + 3 * A2 * square + A1))
    return x, theta * (A4 * sixth * square + A3 * sixth + A2 * square + A1)


EDGE = project(180, 0)[0]
SCALE = WIDTH / (2 * EDGE)
HIGHEST = project(0, TOP)[1]
HEIGHT = (HIGHEST - project(0, BOTTOM)[1]) * SCALE


def place(longitude: float, latitude: float) -> tuple[float, float]:
    x, y = project(longitude, latitude)
    return round((x + EDGE) * SCALE, 1), round((HIGHEST - y) * SCALE, 1)


def rings(topology: dict[str, Any], geometry: dict[str, Any]) -> list[list[tuple[float, float]]]:
    """The rings of a geometry in degrees."""
    (kx, ky), (dx, dy) = topology["transform"]["scale"], topology["transform"]["translate"]

    def arc(index: int) -> list[tuple[float, float]]:
        x = y = 0
        points = []
        for step in topology["arcs"][index if index >= 0 else ~index]:
            x, y = x + step[0], y + step[1]
            points.append((x * kx + dx, y * ky + dy))
        return points if index >= 0 else points[::-1]

    polygons = [geometry["arcs"]] if geometry["type"] == "Polygon" else geometry.get("arcs", [])
    found = []
    for polygon in polygons:
        for ring in polygon:
            points: list[tuple[float, float]] = []
            for index in ring:
                part = arc(index)
                points += part[1:] if points else part
            found.append(points)
    return found


def cut(ring: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """The ring as it lies on the map: one that crosses the 180th meridian in two parts, each closed along it."""
    unrolled = [ring[0]]
    for lon, lat in ring[1:]:
        turn = round((unrolled[-1][0] - lon) / 360)
        unrolled.append((lon + 360 * turn, lat))
    found = []
    for shift in (-360, 0, 360):
        part = clip([(lon + shift, lat) for lon, lat in unrolled], 180, -1)
        part = clip(part, -180, 1)
        if len(part) > 2 and area(part) > 0:
            found.append(part)
    return found


def clip(ring: list[tuple[float, float]], edge: float, side: int) -> list[tuple[float, float]]:
    """What of a ring lies on one side of a meridian (Sutherland and Hodgman): to the east for 1, to the west for -1."""
    found = []
    for (lon, lat), (before, old) in zip(ring, ring[-1:] + ring[:-1], strict=True):
        inside, was = side * (lon - edge) >= 0, side * (before - edge) >= 0
        if inside != was:
            share = (edge - before) / (lon - before)
            found.append((edge, old + share * (lat - old)))
        if inside:
            found.append((lon, lat))
    return found


def area(ring: list[tuple[float, float]]) -> float:
    return abs(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(ring, ring[1:] + ring[:1], strict=True))) / 2


def path(ring: list[tuple[float, float]]) -> str:
    """A closed path in tenths, relative steps."""
    points = [place(*point) for point in ring]
    text, last = "", points[0]
    for point in points[1:]:
        x, y = round(point[0] - last[0], 1), round(point[1] - last[1], 1)
        if x or y:
            text += f"{x:g} {y:g} ".replace("0.", ".")
            last = point
    return f"M{points[0][0]:g} {points[0][1]:g}l{text.strip().replace(' -', '-')}z"


def main() -> None:
    folder = Path(sys.argv[1])
    coarse = json.loads((folder / "countries-110m.json").read_text())
    fine = json.loads((folder / "countries-10m.json").read_text())
    shapes, named, unnamed = [], set(), 0
    for geometry in coarse["objects"]["countries"]["geometries"]:
        code = geometry.get("id")
        if code == "010":
            continue
        if code is None:
            unnamed += 1
        country = pycountry.countries.get(numeric=code) if code else None
        name = f"c{code}" if code else f"u{unnamed}"
        parts = [part for ring in rings(coarse, geometry) for part in cut(ring)]
        if code == "250":  # French Guiana has a code of its own
            apart = [part for part in parts if max(point[0] for point in part) < -40]
            parts = [part for part in parts if part not in apart]
            shapes.append(f'<path id="c254" d="{"".join(path(part) for part in apart)}"/>')
            named.add("GF")
        shapes.append(f'<path id="{name}" d="{"".join(path(part) for part in parts)}"/>')
        if country is not None:
            named.add(country.alpha_2)
    hatch = (
        '<pattern id="nodata" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path d="M0 0V6" stroke="#75808e" stroke-width="1.4"/></pattern>'
        '<pattern id="masked" width="5" height="5" patternUnits="userSpaceOnUse">'
        '<circle cx="2.5" cy="2.5" r="1.1" fill="#75808e"/></pattern>'
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:g} {HEIGHT:.0f}"><defs>{hatch}</defs>'
        f"{''.join(shapes)}</svg>\n"
    )
    (ROOT / "app" / "static" / "world.svg").write_text(svg)
    points = {}
    for geometry in fine["objects"]["countries"]["geometries"]:
        country = pycountry.countries.get(numeric=geometry.get("id") or "")
        if country is not None and country.alpha_2 not in named and geometry.get("type"):
            largest = max(rings(fine, geometry), key=area)
            lon, lat = (sum(p[axis] for p in largest) / len(largest) for axis in (0, 1))
            points[country.alpha_2] = (lon, lat)
    points |= {code: where for code, where in BY_HAND.items() if code not in named and code not in points}
    with (ROOT / "app" / "data" / "map_places.csv").open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["country", "numeric", "shape", "x", "y"])
        for country in sorted(pycountry.countries, key=lambda c: c.alpha_2):
            if not is_country(country.alpha_2):
                continue
            if country.alpha_2 in named:
                out.writerow([country.alpha_2, country.numeric, "yes", "", ""])
            else:
                x, y = place(*points[country.alpha_2])
                out.writerow([country.alpha_2, country.numeric, "no", x, min(y, round(HEIGHT - 8, 1))])
    print(f"{len(named)} shapes, {unnamed} without a code, {WIDTH:g} x {HEIGHT:.0f}, radius {SCALE:.1f}, turn {2 * pi:.4f}")


if __name__ == "__main__":
    main()
