"""What an address of the explorer asks, in words and as filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Depends, Query

from app.regions import REGIONS, is_country
from app.substances.queries import months_back
from app.web import words
from app.web.places import country_name

PERIODS = (12, 24, 36, 60)
DEFAULT_PERIOD = 24


class Measure(StrEnum):
    COUNT = "count"
    RATE = "rate"


class Split(StrEnum):
    NONE = ""
    CONFIDENCE = "confidence"
    CONTEXT = "context"
    COUNTRY = "country"
    REGION = "region"
    GROUP = "group"
    SUBSTANCE = "substance"


class View(StrEnum):
    CHART = "chart"
    MAP = "map"
    MAPS = "maps"
    TABLE = "table"


VIEW_WORDS = {View.CHART: "Chart", View.MAP: "Map", View.MAPS: "Small maps", View.TABLE: "Table"}
SPLIT_WORDS = {
    Split.NONE: "Confidence, stacked",
    Split.CONFIDENCE: "Confidence, as lines",
    Split.CONTEXT: "Context",
    Split.COUNTRY: "Country",
    Split.REGION: "Region",
    Split.GROUP: "Chemical group",
    Split.SUBSTANCE: "Substance",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """The filters of an address, only known values; empty means all. `substances` are ids as given, not yet looked up."""

    substances: tuple[str, ...] = ()
    group: str = ""
    countries: tuple[str, ...] = ()
    region: str = ""
    period: int = DEFAULT_PERIOD
    contexts: tuple[str, ...] = ()
    confidences: tuple[str, ...] = ("confirmed", "probable")
    measure: Measure = Measure.COUNT
    split: Split = Split.NONE
    view: View = View.CHART

    def months(self, now: datetime) -> tuple[str, ...]:
        return months_back(now, self.period)

    def query(self) -> str:
        """The address's part after the question mark, defaults left out; the same question gives the same text."""
        pairs: list[tuple[str, str]] = [("substance", one) for one in self.substances]
        pairs += [("country", one) for one in self.countries] + [("context", one) for one in self.contexts]
        if self.confidences != ("confirmed", "probable"):
            pairs += [("confidence", one) for one in self.confidences]
        for name, value, usual in (
            ("group", self.group, ""),
            ("region", self.region, ""),
            ("period", str(self.period), str(DEFAULT_PERIOD)),
            ("measure", self.measure.value, Measure.COUNT.value),
            ("split", self.split.value, ""),
            ("view", self.view.value, View.CHART.value),
        ):
            if value != usual:
                pairs.append((name, value))
        return urlencode(pairs)

    def href(self, path: str = "/explore") -> str:
        query = self.query()
        return f"{path}?{query}" if query else path

    def active(self, names: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """Each filter that narrows, as (words, address without it)."""
        found = []
        for one in self.substances:
            less = replace(self, substances=tuple(s for s in self.substances if s != one))
            found.append((f"substance: {names.get(one, one)}", less.href()))
        if self.group:
            found.append((f"class: {words.CHEMICAL_GROUPS[self.group]}", replace(self, group="").href()))
        for one in self.countries:
            less = replace(self, countries=tuple(c for c in self.countries if c != one))
            found.append((f"country: {country_name(one)}", less.href()))
        if self.region:
            found.append((f"region: {self.region}", replace(self, region="").href()))
        for one in self.contexts:
            less = replace(self, contexts=tuple(c for c in self.contexts if c != one))
            found.append((f"context: {words.CONTEXTS[one]}", less.href()))
        if self.confidences != ("confirmed", "probable"):
            shown = ", ".join(words.CONFIDENCE[c].lower() for c in self.confidences)
            found.append((f"confidence: {shown}", replace(self, confidences=("confirmed", "probable")).href()))
        return tuple(found)

    def place(self) -> str:
        """Where, in words."""
        if self.countries:
            return ", ".join(country_name(code) for code in self.countries)
        return self.region or "all countries"

    def narrower(self) -> Question:
        """A question with fewer rows under it."""
        shorter = [period for period in PERIODS if period < self.period]
        return replace(self, period=shorter[-1] if shorter else PERIODS[0], split=Split.NONE)


def _known(values: Sequence[str], allowed: object) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value in allowed))  # type: ignore[operator]


def question_of(
    *,
    substances: Sequence[str] = (),
    group: str = "",
    countries: Sequence[str] = (),
    region: str = "",
    period: str = "",
    contexts: Sequence[str] = (),
    confidences: Sequence[str] = (),
    measure: str = "",
    split: str = "",
    view: str = "",
) -> Question:
    """The question of an address. Values that are not known are left out, so that no address fails."""
    grades = tuple(grade for grade in words.CONFIDENCE if grade in confidences)
    return Question(
        substances=tuple(dict.fromkeys(one for one in substances if one))[:12],
        group=group if group in words.CHEMICAL_GROUPS else "",
        countries=tuple(dict.fromkeys(one for one in countries if is_country(one)))[:60],
        region=region if region in REGIONS else "",
        period=int(period) if period in {str(p) for p in PERIODS} else DEFAULT_PERIOD,
        contexts=_known(contexts, words.CONTEXTS),
        confidences=grades or ("confirmed", "probable"),
        measure=Measure(measure) if measure in set(Measure) else Measure.COUNT,
        split=Split(split) if split in set(Split) else Split.NONE,
        view=View(view) if view in set(View) else View.CHART,
    )


def asked_of(
    substance: Annotated[list[str] | None, Query(max_length=12)] = None,
    group: str = "",
    country: Annotated[list[str] | None, Query(max_length=60)] = None,
    region: str = "",
    period: str = "",
    context: Annotated[list[str] | None, Query(max_length=8)] = None,
    confidence: Annotated[list[str] | None, Query(max_length=4)] = None,
    measure: str = "",
    split: str = "",
    view: str = "",
) -> Question:
    """The question of a request."""
    return question_of(
        substances=substance or (), group=group, countries=country or (), region=region, period=period, contexts=context or (),
        confidences=confidence or (), measure=measure, split=split, view=view,
    )  # fmt: skip


Wanted = Annotated[Question, Depends(asked_of)]
