"""The figures of a substance's samples: forms, purity, what lay beside it, routes. Each with its denominator; pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from app.sharing.masking import counted
from app.substances.denominators import wilson
from app.substances.figures import BarRow, Figure, LegendItem, Value, alternative, bar_figure
from app.substances.samples import Purity, Route, Samples, Split
from app.web import charts, words
from app.web.places import country_name

SOURCE = "Source: reports to this service, as far as you may see."
MOST_PURITIES = 10
NOT_STATED = "[x] not stated"
BASES = {"base": "as base", "salt": "as salt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Routes:
    """Lines of (origin, transit, destination, count), the commonest first, with what they are of."""

    title: str
    rows: tuple[tuple[str, str, str, Split], ...]
    denominator: str


def _row(name: str, count: Split, *more: str) -> BarRow:
    return BarRow(name=name, parts=((charts.CONFIRMED, count.confirmed), (charts.PROBABLE, count.probable)), more=more)


def forms_figure(name: str, samples: Samples | None) -> Figure | None:
    """Samples by form, split by confidence; None where no form is stated."""
    if samples is None:
        return None
    known = [(words.plain(form), count) for form, count in samples.forms if form]
    if not known:
        return None
    stated = sum(count.n for _, count in known)
    missing = samples.looked_at.n - stated
    return bar_figure(
        "forms",
        title=f"{name} came most often as {known[0][0].lower()}: {known[0][1].n:,} of {stated:,} samples",
        subtitle=f"Form of {samples.of}, all countries, whole history, confirmed and probable",
        columns=("Form", "Samples"),
        rows=[_row(form, count) for form, count in known],
        source=SOURCE,
        denominator=f"Of {stated:,} samples with a form; {NOT_STATED} for {missing:,}.",
        caveat=words.WHO_TESTED,
    )


def beside_figure(name: str, samples: Samples | None) -> Figure | None:
    """Samples in which another substance lay too, with its share and the 95 % interval; None where nothing did."""
    if samples is None or not samples.beside:
        return None
    total = samples.looked_at.n
    first, count = samples.beside[0]

    def share(n: int) -> tuple[str, str]:
        low, high = wilson(n, total)
        return f"{100 * n / total:.1f} %", f"{100 * low:.1f} to {100 * high:.1f} %"

    return bar_figure(
        "found-with",
        title=f"{first[:1].upper()}{first[1:]} was found beside {name} in {count.n:,} of {total:,} samples",
        subtitle=f"Other substances in {samples.of}, the commonest {len(samples.beside)}, confirmed and probable {name}",
        columns=("Found with", "Samples"),
        more=("Share", "95 %"),
        rows=[_row(other, found, *share(found.n)) for other, found in samples.beside],
        source=SOURCE,
        denominator=f"Of {total:,} samples. Interval: Wilson, 95 %.",
        caveat=f"{words.WHO_TESTED} Laboratories report what they looked for: the full composition is not known.",
    )


def _of_purity(one: Purity) -> str:
    form = words.plain(one.form) if one.form else "Form not stated"
    return f"{form}, {BASES.get(one.basis, 'basis not stated')}"


def purity_figure(name: str, samples: Samples | None) -> Figure | None:
    """Purity by form and basis: dots, the median, and the middle half from 10 samples on; None where none is reported."""
    if samples is None or not samples.purities:
        return None
    drawn = samples.purities[:MOST_PURITIES]
    first = drawn[0]
    basis = f" {BASES[first.basis]}" if first.basis in BASES else ""
    what = f"{name}, {(words.plain(first.form) if first.form else 'form not stated').lower()}"
    title = f"{what}: median {first.middle:.1f} %{basis}, of {first.count.n:,} samples"
    if first.low is not None:
        title = (
            f"{what}: median {first.middle:.1f} %{basis}; half of {first.count.n:,} samples between "
            f"{first.low:.1f} and {first.high:.1f} %"
        )
    rows = tuple(
        charts.Spread(
            key=f"{_of_purity(one)} (n = {one.count.n:,})",
            values=tuple(sorted({float(round(value)) for value in one.values})),
            middle=one.middle,
            low=one.low,
            high=one.high,
        )
        for one in drawn
    )
    stated = sum(one.count.n for one in samples.purities)
    more = f" Drawn: the {MOST_PURITIES} commonest of {len(samples.purities)}." if len(samples.purities) > MOST_PURITIES else ""
    cells = ((_of_purity(one), counted(round(one.middle))) for one in drawn)
    return Figure(
        id="purity",
        title=title,
        subtitle=f"Purity by form and by what it is stated as, of {samples.of}, whole history, confirmed and probable.{more}",
        picture=charts.picture(
            charts.spreads(rows, width=740, label_limit=260),
            charts.spreads(rows, width=340, label_limit=170),
            label=alternative("Dot chart of purity in per cent by form", "whole history", title, cells),
        ),
        legend=(
            LegendItem(kind="probable", text="A sample, to the whole per cent"),
            LegendItem(kind="confirmed", text="Median"),
            *(
                (LegendItem(kind="expected", text="Middle half, from 10 samples"),)
                if any(row.low is not None for row in rows)
                else ()
            ),
        ),
        columns=("Form and basis", "Samples", "Confirmed", "Probable", "Lowest", "Median", "Middle half", "Highest"),
        rows=tuple(
            (
                Value(text=_of_purity(one)),
                *(Value(text=f"{n:,}", numeric=True) for n in (one.count.n, one.count.confirmed, one.count.probable)),
                Value(text=f"{one.values[0]:.1f} %"),
                Value(text=f"{one.middle:.1f} %"),
                Value(text=f"{one.low:.1f} to {one.high:.1f} %" if one.low is not None else "under 10 samples"),
                Value(text=f"{one.values[-1]:.1f} %"),
            )
            for one in samples.purities
        ),
        source=SOURCE,
        denominator=f"Purity is stated for {stated:,} of {samples.looked_at.n:,} samples; "
        f"{NOT_STATED} for {samples.looked_at.n - stated:,}.",
        caveat=f"{words.WHO_TESTED} Purity as base and as salt are not the same scale.",
        csv_href=None,
        svg_href=None,
    )


def routes_of(samples: Samples | None) -> Routes | None:
    """The routes that the reader may see; None where there are none."""
    if samples is None or not samples.routes:
        return None
    origins: Counter[str] = Counter()
    for route in samples.routes:
        origins[route.origin] += route.count.n
    known = [(origin, n) for origin, n in origins.most_common() if origin]
    total = samples.with_route
    title = "No origin is stated"
    if known:
        title = f"{known[0][1]:,} of {total:,} reports with a route name {country_name(known[0][0])} as origin"
    return Routes(
        title=title,
        rows=tuple(_leg(route) for route in samples.routes),
        denominator=f"Of {samples.looked_at.n:,} samples; for {samples.looked_at.n - total:,} the route is not stated or not "
        "open to you: [x] no data.",
    )


def _leg(route: Route) -> tuple[str, str, str, Split]:
    return (
        country_name(route.origin) if route.origin else NOT_STATED,
        ", then ".join(country_name(code) for code in route.transit) or NOT_STATED,
        country_name(route.destination) if route.destination else NOT_STATED,
        route.count,
    )
