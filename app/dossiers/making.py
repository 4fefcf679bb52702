"""What the sections share: the material at hand, the figures made so far, and how splits, gaps and charts are written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, TypeVar

from app.dossiers.gathering import Case, Find, Material
from app.dossiers.values import Block, Chart, Figures, Fill, Gap, Kind, Section, Table, Value
from app.dossiers.views import View
from app.priorities.ranking import Ranking
from app.substances.queries import SubstanceDetail
from app.web import charts, words
from app.web.places import country_name
from chem.values import Analogue, Coverage

TITLES = {
    1: "Substance identification",
    2: "Chemistry",
    3: "Ease of convertibility into controlled substances",
    4: "General pharmacology",
    5: "Toxicology",
    6: "Adverse reactions in humans",
    7: "Dependence potential",
    8: "Abuse potential",
    9: "Therapeutic applications, extent of therapeutic use and epidemiology of medical use",
    10: "Listing on the WHO Model List of Essential Medicines",
    11: "Marketing authorizations (as a medicinal product)",
    12: "Industrial use",
    13: "Non-medical use, abuse and dependence",
    14: "Nature and magnitude of public health problems related to misuse, abuse and dependence",
    15: "Licit production, consumption and international trade",
    16: "Illicit manufacture and traffic and related information",
    17: "Current international controls and their impact",
    18: "Current and past national controls",
    19: "Other medical and scientific matters relevant for a recommendation on the scheduling of the substance",
    20: "Annex: answers of countries",
}
CHART_WIDTH, CHART_NARROW = 640, 340

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A chemical group as the subject of a dossier."""

    group: str
    name: str


@dataclass(slots=True, kw_only=True)
class Making:
    """One dossier in the making. `substance` is None for a family, `family` for a substance."""

    name: str
    view: View
    cutoff: date
    months: tuple[str, ...]  # the 36 to the cut-off
    snapshot_id: str
    material: Material
    ranking: Ranking
    coverage: tuple[Coverage, ...]
    substance: SubstanceDetail | None = None
    family: Family | None = None
    drawing: str | None = None
    analogues: tuple[Analogue, ...] = ()
    medicine: str | None = None  # the source that names it as an approved medicine
    figures: Figures = field(default_factory=Figures)

    @property
    def counting(self) -> tuple[Find, ...]:
        """Confirmed and probable detections: what every count rests on unless it says otherwise."""
        return tuple(find for find in self.material.finds if find.counts)


def section(number: int, fill: Fill, *blocks: Block | None) -> Section:
    """A section without the blocks that had nothing to say."""
    return Section(number=number, title=TITLES[number], fill=fill, blocks=tuple(block for block in blocks if block is not None))


def literature(number: int, fill: str, *blocks: Block | None) -> Section:
    return section(number, Fill.LITERATURE, *blocks, Gap(fill=fill))


def detections(making: Making, key: str, finds: Iterable[Find]) -> Value:
    return making.figures.count(key, Kind.DETECTIONS, [find.id for find in finds])


def cases(making: Making, key: str, found: Iterable[Case]) -> Value:
    return making.figures.count(key, Kind.CASES, [case.id for case in found])


def by(rows: Iterable[T], what: Callable[[T], str | None]) -> dict[str, list[T]]:
    """The rows by a property, the commonest first; those without it are left out."""
    found: dict[str, list[T]] = defaultdict(list)
    for row in rows:
        value = what(row)
        if value is not None:
            found[value].append(row)
    return dict(sorted(found.items(), key=lambda pair: (-len(pair[1]), pair[0])))


def split(
    making: Making, key: str, caption: str, heading: str, groups: Mapping[str, Sequence[Any]], named: Callable[[str], str],
    *, kind: Kind = Kind.DETECTIONS, most: int = 300,
) -> Table | None:  # fmt: skip
    """A table of counts, each opening its records; None where there is nothing to count."""
    if not groups:
        return None
    shown = list(groups.items())[:most]
    left = len(groups) - len(shown)
    rows = tuple(
        (Value(named(value)), making.figures.count(f"{key}.{value}", kind, [row.id for row in rows])) for value, rows in shown
    )
    return Table(
        caption=caption + (f". {left} further values, each with fewer, are not printed" if left else ""),
        columns=(heading, "Cases" if kind is Kind.CASES else "Detections"),
        rows=rows,
        numeric=(1,),
    )


def countries(making: Making, key: str, finds: Sequence[Any]) -> Value:
    """The number of countries, as a cell that opens their list; behind each stands the figure `{key}.{code}` where it is made."""
    return making.figures.values(
        key,
        [(f"{country_name(code)}: {len(rows):,}", f"{key}.{code}") for code, rows in by(finds, lambda row: row.country).items()],
    )


def bars_chart(title: str, subtitle: str, rows: Sequence[tuple[str, int]], *notes: str) -> Chart:
    """Horizontal bars in the given order; at least one."""
    bars = tuple(charts.Bar(key=name, parts=((charts.CONFIRMED, n),), label=f"{n:,}") for name, n in rows)
    name = f"Bar chart. {title}. " + "; ".join(f"{label} {n:,}" for label, n in rows[:8])
    return Chart(
        title=title, subtitle=subtitle, svg=charts.ranked_bars(bars, width=CHART_WIDTH, label_limit=320),
        narrow=charts.ranked_bars(bars, width=CHART_NARROW, label_limit=210), notes=notes, name=name[:300],
    )  # fmt: skip


def months_chart(title: str, subtitle: str, bars: Sequence[charts.Bar], *notes: str) -> Chart:
    """Stacked bars along months."""
    return Chart(
        title=title, subtitle=subtitle, svg=charts.month_bars(tuple(bars), width=CHART_WIDTH - 40, height=190),
        narrow=charts.month_bars(tuple(bars), width=CHART_NARROW - 30, height=190), notes=notes,
        name=f"Bar chart by month. {title}. Table follows."[:300],
    )  # fmt: skip


def sentence(text: str) -> str:
    """With a capital letter: names of substances begin sentences too."""
    return text[:1].upper() + text[1:]


def plain(code: str) -> str:
    """A stored word, readable."""
    return sentence(code.replace("_", " "))


def said(vocabulary: Mapping[Any, str]) -> Callable[[str], str]:
    return lambda code: plain(words.said(vocabulary, code))
