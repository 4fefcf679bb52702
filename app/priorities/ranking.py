"""Prevalence, persistence and harm of each substance, their weighted sum, and how sure a rank is. Pure: facts in, rows out.

Source of all formulas: the domain guide, section 8. Parts are added, never multiplied: a substance reported by 36 countries
without one toxicology case was still scheduled. The same facts and weights give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FORMULAS = "priority/1"
CONFIDENCE_WEIGHT = {"confirmed": 1.0, "probable": 0.5}
EVIDENCE_WEIGHT = {"biological": 1.0, "own_product": 0.5, "same_batch": 0.5, "self_report": 0.2, None: 0.2}
CAUSAL = frozenset({"sole_cause", "combined_cause"})
GRAVE = frozenset({"life_threatening", "intensive_care", "disability"})
QUARTERS = 12
DRAWS = 500
LOW_SHARE, HIGH_SHARE = 0.05, 0.95  # of the draws: a 90 % interval
DIRICHLET = (35.0, 25.0, 40.0)
SHRINK = 10.0
HALF_LIFE_MONTHS = 6.0
NEVER = 1_000_000  # months ago
LEAST_LABORATORIES = 3
LEAST_CASE_COUNTRIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Shares of prevalence, persistence and harm in the priority; any non-negative numbers, used as parts of their sum."""

    prevalence: float = 35
    persistence: float = 25
    harm: float = 40

    def shares(self) -> tuple[float, float, float]:
        total = self.prevalence + self.persistence + self.harm
        return self.prevalence / total, self.persistence / total, self.harm / total


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """Detections of one laboratory, country, substance and month by confidence: the unit that is drawn again with its laboratory.

    `month` is in whole months before the month of the cut-off (0: that month itself).
    """

    laboratory: str
    country: str
    substance: str
    month: int
    confirmed: int
    probable: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """The part of one substance in one case. `others_causal`: another substance of the case has a causal role."""

    laboratory: str
    country: str
    substance: str
    month: int
    case: str
    seriousness: str
    role: str
    evidence: str | None
    pss: int | None
    others_causal: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A substance to be ranked."""

    id: str
    name: str
    group: str
    under_control: bool  # UN-1961 or UN-1971: ranked apart


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a ranking reads. `tested` are tests of the last 12 months by laboratory, `reporters` the countries that sent any
    report in them, by laboratory.
    """

    cutoff: str  # YYYY-MM-DD
    subjects: tuple[Subject, ...]
    finds: tuple[Find, ...]
    harms: tuple[Harm, ...]
    tested: Mapping[str, int] = field(default_factory=dict)
    reporters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def digest(self) -> str:
        """SHA-256 over the facts in a fixed order, in hexadecimal."""
        text = json.dumps(as_json(self), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


def as_json(facts: Facts) -> dict[str, Any]:
    """The facts as plain values, every list in a fixed order."""
    return {
        "formulas": FORMULAS,
        "cutoff": facts.cutoff,
        "subjects": sorted([s.id, s.name, s.group, s.under_control] for s in facts.subjects),
        "finds": sorted([f.laboratory, f.country, f.substance, f.month, f.confirmed, f.probable] for f in facts.finds),
        "harms": sorted(
            [
                h.case,
                h.substance,
                h.laboratory,
                h.country,
                h.month,
                h.seriousness,
                h.role,
                h.evidence or "",
                h.pss or -1,
                h.others_causal,
            ]
            for h in facts.harms
        ),
        "tested": dict(sorted(facts.tested.items())),
        "reporters": {key: sorted(value) for key, value in sorted(facts.reporters.items())},
    }


def points(seriousness: str, role: str, pss: int | None) -> float:
    """Points of one case for one substance: the largest that applies."""
    if role == "incidental":
        return 0.0
    found = [1.0]
    if seriousness == "death":
        found.append(10.0 if role in CAUSAL else 5.0 if role == "contributory" else 2.0)
    if seriousness in GRAVE or pss == 3:
        found.append(3.0)
    if seriousness == "hospital_or_emergency_treatment" or pss == 2:
        found.append(2.0)
    return max(found)


def weight_of(find: Find) -> float:
    """What the detections of a find count together."""
    return CONFIDENCE_WEIGHT["confirmed"] * find.confirmed + CONFIDENCE_WEIGHT["probable"] * find.probable


def percent_ranks(values: Array) -> Array:
    """For each value the share of the population strictly below it; 0 for a population of one."""
    if len(values) < 2:
        return np.zeros(len(values))
    return np.asarray(np.searchsorted(np.sort(values), values, side="left") / len(values), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One substance's place. Scores are 0 to 100. `harm` and `priority` are (low, high): the same where cases are known."""

    id: str
    name: str
    group: str
    detections: float
    countries: int
    reporting_countries: int
    per_1000: float | None
    prevalence: float
    persistence: float
    harm: tuple[float, float]
    priority: tuple[float, float]
    rank: int
    rank_low: int
    rank_high: int
    harm_unknown: bool
    cases: int
    deaths: int
    sole_deaths: int
    quarters: int
    years: float
    months_since: int
    laboratories: int
    on_front: bool
    grade: str
    fast_lane: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The ranked substances, best first, and those under international control, ranked apart."""

    digest: str
    weights: Weights
    rows: tuple[Row, ...]
    controlled: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is known of one substance whatever the weights. `harm` is (low, high); `interval` are the ranks between which 90 % of
    the draws of laboratories and weights lie. Not rounded.
    """

    id: str
    name: str
    group: str
    detections: float
    countries: int
    reporting_countries: int
    per_1000: float | None
    prevalence: float
    persistence: float
    harm: tuple[float, float]
    interval: tuple[int, int]
    harm_unknown: bool
    cases: int
    deaths: int
    sole_deaths: int
    quarters: int
    years: float
    months_since: int
    laboratories: int
    on_front: bool
    grade: str
    fast_lane: str | None
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """The substances of a set of facts in the order of their ids, those under international control apart."""

    digest: str
    free: tuple[Scored, ...]
    controlled: tuple[Scored, ...]


def score(facts: Facts) -> Scores:
    """Everything about a set of facts that takes long: 500 draws, which no weights are needed for."""
    digest, about = facts.digest(), _about(facts)
    free = [s for s in facts.subjects if not s.under_control]
    bound = [s for s in facts.subjects if s.under_control]
    return Scores(
        digest=digest, free=_scored(facts, free, digest, about), controlled=_scored(facts, bound, digest, about)
    )  # fmt: skip


def placed(scores: Scores, weights: Weights) -> Ranking:
    """Both rankings of scored facts."""
    return Ranking(
        digest=scores.digest, weights=weights, rows=_placed(scores.free, weights), controlled=_placed(scores.controlled, weights)
    )


def rank(facts: Facts, weights: Weights) -> Ranking:
    """Both rankings of a set of facts."""
    return placed(score(facts), weights)


class _Table:
    """The facts of a population as arrays with one row a find or harm, so that laboratories can be drawn again."""

    def __init__(self, facts: Facts, subjects: Sequence[Subject]) -> None:
        self.subjects = sorted(subjects, key=lambda s: s.id)
        place = {s.id: n for n, s in enumerate(self.subjects)}
        finds = [f for f in facts.finds if f.substance in place and f.confirmed + f.probable]
        harms = [h for h in facts.harms if h.substance in place]
        self.labs = sorted({f.laboratory for f in facts.finds} | {h.laboratory for h in facts.harms} | set(facts.reporters))
        lab = {name: n for n, name in enumerate(self.labs)}
        countries = sorted({f.country for f in facts.finds} | {c for cs in facts.reporters.values() for c in cs})
        country = {name: n for n, name in enumerate(countries)}
        self.n, self.countries = len(self.subjects), len(countries)
        self.find_lab = np.array([lab[f.laboratory] for f in finds], dtype=int)
        self.find_subject = np.array([place[f.substance] for f in finds], dtype=int)
        self.find_country = np.array([country[f.country] for f in finds], dtype=int)
        self.find_month = np.array([f.month for f in finds], dtype=int)
        self.find_weight = np.array([weight_of(f) for f in finds], dtype=float)
        self.find_count = np.array([f.confirmed + f.probable for f in finds], dtype=float)
        self.harm_lab = np.array([lab[h.laboratory] for h in harms], dtype=int)
        self.harm_subject = np.array([place[h.substance] for h in harms], dtype=int)
        recent = [h.month < 12 for h in harms]
        self.harm_points = np.array(
            [
                points(h.seriousness, h.role, h.pss) * EVIDENCE_WEIGHT.get(h.evidence, 0.2) * r
                for h, r in zip(harms, recent, strict=True)
            ]
        )
        self.harm_death = np.array([h.seriousness == "death" and r for h, r in zip(harms, recent, strict=True)], dtype=float)
        self.harm_sole = np.array(
            [
                h.seriousness == "death" and r and h.role != "incidental" and not h.others_causal
                for h, r in zip(harms, recent, strict=True)
            ],
            dtype=float,
        )
        self.tested = np.array([float(facts.tested.get(name, 0)) for name in self.labs])
        self.reports = np.zeros((len(self.labs), len(countries)))
        for name, codes in facts.reporters.items():
            for code in codes:
                self.reports[lab[name], country[code]] = 1.0
        groups = sorted({s.group for s in self.subjects})
        self.group = np.array([groups.index(s.group) for s in self.subjects], dtype=int)
        self.groups = len(groups)

        self.pairs = _Pairs(self)

    def sum(self, rows: NDArray[np.intp], values: Array) -> Array:
        return np.asarray(np.bincount(rows, weights=values, minlength=self.n), dtype=np.float64)


class _Pairs:
    """The finds added up by substance and laboratory, in this order: what one draw of laboratories reads, whatever their number.

    `cell_*` are the laboratories of each substance and country with a find in the last 12 months, in the order of these cells.
    """

    def __init__(self, table: _Table) -> None:
        labs, window = max(1, len(table.labs)), table.find_month < 12
        keys, place = np.unique(table.find_subject * labs + table.find_lab, return_inverse=True)
        size = len(keys)
        self.subject, self.lab = keys // labs, keys % labs
        self.weight = np.bincount(place, weights=table.find_weight * window, minlength=size)
        self.count = np.bincount(place, weights=table.find_count * window, minlength=size)
        self.quarters = np.zeros(size, dtype=np.uint16)  # a bit each
        recent = table.find_month < 3 * QUARTERS
        bits = np.left_shift(1, table.find_month[recent] // 3).astype(np.uint16)
        np.bitwise_or.at(self.quarters, place[recent], bits)
        self.first, self.last = np.full(size, -1), np.full(size, NEVER)
        np.maximum.at(self.first, place, table.find_month)
        np.minimum.at(self.last, place, table.find_month)
        self.starts = np.flatnonzero(np.diff(self.subject, prepend=-1))
        self.found = self.subject[self.starts]
        places = max(1, table.countries)
        cells = np.unique((table.find_subject[window] * places + table.find_country[window]) * labs + table.find_lab[window])
        self.cell_lab, cell = cells % labs, cells // labs
        self.cell_starts = np.flatnonzero(np.diff(cell, prepend=-1))
        self.cell_subject = cell[self.cell_starts] // places

    def countries(self, times: Array, size: int) -> Array:
        """How many countries of each substance have a find of a laboratory that was drawn."""
        if not len(self.cell_starts):
            return np.zeros(size)
        seen = np.logical_or.reduceat(times[self.cell_lab] > 0, self.cell_starts)
        return np.bincount(self.cell_subject[seen], minlength=size).astype(float)

    def spread(self, values: NDArray[Any], size: int, nothing: float) -> Array:
        """One value for each substance that was ever found, over all of them."""
        found = np.full(size, float(nothing))
        found[self.found] = values
        return found


@dataclass(frozen=True, slots=True)
class _Arrays:
    prevalence: Array
    persistence: Array
    low: Array
    high: Array
    detections: Array
    countries: Array
    reporting: int
    per_1000: Array | None
    quarters: Array
    years: Array
    since: Array
    cases: Array
    deaths: Array
    sole: Array


def _scores(table: _Table, times: Array) -> _Arrays:
    """All scores where each laboratory counts as often as it was drawn."""
    pairs = table.pairs
    drawn = times[pairs.lab]
    detections = table.sum(pairs.subject, pairs.weight * drawn)
    countries = pairs.countries(times, table.n)
    reporting = int(((times @ table.reports) > 0).sum())
    spread = countries / reporting if reporting else np.zeros(table.n)
    tests = table.tested * times
    per_1000 = None
    terms, shares = [percent_ranks(detections), spread], [0.4, 0.4]
    if tests.sum() > 0:
        counted = table.sum(pairs.subject, pairs.count * drawn * (table.tested[pairs.lab] > 0))
        per_1000 = 1000 * counted / tests.sum()
        terms.append(percent_ranks(per_1000))
        shares.append(0.2)
    prevalence = 100 * sum(share * term for share, term in zip(shares, terms, strict=True)) / sum(shares)
    quarters, years, since, persistence = _persistence(table, drawn)
    low, high, cases, deaths, sole = _harm(table, times, detections)
    return _Arrays(
        prevalence=np.asarray(prevalence), persistence=persistence, low=low, high=high, detections=detections,
        countries=countries, reporting=reporting, per_1000=per_1000, quarters=quarters, years=years, since=since,
        cases=cases, deaths=deaths, sole=sole,
    )  # fmt: skip


def _persistence(table: _Table, drawn: Array) -> tuple[Array, Array, Array, Array]:
    """Quarters of the last 12 with a find, years since the first, months since the last, and the score."""
    pairs, seen = table.pairs, drawn > 0
    if not len(pairs.starts):
        return np.zeros(table.n), np.zeros(table.n), np.full(table.n, np.inf), np.zeros(table.n)
    bits = np.bitwise_or.reduceat(np.where(seen, pairs.quarters, 0), pairs.starts)
    quarters = pairs.spread(np.bitwise_count(bits), table.n, 0.0)
    first = pairs.spread(np.maximum.reduceat(np.where(seen, pairs.first, -1), pairs.starts), table.n, -1.0)
    last = pairs.spread(np.minimum.reduceat(np.where(seen, pairs.last, NEVER), pairs.starts), table.n, NEVER)
    last[last == NEVER] = np.inf
    years = np.maximum(first, 0.0) / 12
    fresh = np.where(np.isfinite(last), 0.5 ** (np.where(np.isfinite(last), last, 0.0) / HALF_LIFE_MONTHS), 0.0)
    score = 100 * (0.5 * quarters / QUARTERS + 0.3 * np.minimum(1.0, years / 3) + 0.2 * fresh)
    return quarters, years, last, np.where(first >= 0, score, 0.0)


def _harm(table: _Table, times: Array, detections: Array) -> tuple[Array, Array, Array, Array, Array]:
    """Low and high harm, cases, deaths and deaths with no other causal substance. Without a case: 0 to the group's median."""
    drawn = times[table.harm_lab]
    harm = table.sum(table.harm_subject, table.harm_points * drawn)
    cases = table.sum(table.harm_subject, drawn)
    deaths = table.sum(table.harm_subject, table.harm_death * drawn)
    sole = table.sum(table.harm_subject, table.harm_sole * drawn)
    group_harm = np.bincount(table.group, weights=harm, minlength=table.groups)
    group_found = np.bincount(table.group, weights=detections, minlength=table.groups)
    rate = np.divide(group_harm, group_found, out=np.zeros(table.groups), where=group_found > 0)[table.group]
    shrunk = (harm + SHRINK * rate) / (detections + SHRINK)
    score = 100 * (0.5 * percent_ranks(harm) + 0.3 * percent_ranks(shrunk) + 0.2 * sole / (deaths + 2))
    known = cases > 0
    low = np.where(known, score, 0.0)
    overall = float(np.median(score[known])) if known.any() else 0.0
    middle = np.full(table.groups, overall)
    for group in np.unique(table.group[known]):
        middle[group] = np.median(score[known & (table.group == group)])
    high = np.where(known, score, middle[table.group])
    return low, high, cases, deaths, sole


def _places(values: Array) -> NDArray[np.intp]:
    """Ranks from 1, the highest value first; equal values share the better rank."""
    return np.asarray(1 + np.searchsorted(np.sort(-values), -values, side="left"), dtype=np.intp)


def _scored(
    facts: Facts, subjects: Sequence[Subject], digest: str, about: Mapping[str, tuple[int, int, str | None]]
) -> tuple[Scored, ...]:
    if not subjects:
        return ()
    table = _Table(facts, subjects)
    found = _scores(table, np.ones(len(table.labs)))
    rank_low, rank_high = _rank_intervals(table, digest)
    front = _front(found.prevalence, found.persistence, found.low)
    rows = []
    for n, subject in enumerate(table.subjects):
        laboratories, case_countries, fast = about.get(subject.id, (0, 0, None))
        unknown = not found.cases[n]
        rows.append(
            Scored(
                id=subject.id, name=subject.name, group=subject.group,
                detections=float(found.detections[n]), countries=int(found.countries[n]),
                reporting_countries=found.reporting,
                per_1000=None if found.per_1000 is None else float(found.per_1000[n]),
                prevalence=float(found.prevalence[n]), persistence=float(found.persistence[n]),
                harm=(float(found.low[n]), float(found.high[n])),
                interval=(int(rank_low[n]), int(rank_high[n])),
                harm_unknown=unknown, cases=int(found.cases[n]), deaths=int(found.deaths[n]), sole_deaths=int(found.sole[n]),
                quarters=int(found.quarters[n]), years=float(found.years[n]),
                months_since=int(found.since[n]) if np.isfinite(found.since[n]) else -1,
                laboratories=laboratories, on_front=bool(front[n]),
                grade=_grade(bool(found.per_1000 is not None), laboratories, case_countries),
                fast_lane=fast,
                missing=_missing(found.per_1000 is not None, laboratories, case_countries, unknown),
            )
        )  # fmt: skip
    return tuple(rows)


def _placed(scored: Sequence[Scored], weights: Weights) -> tuple[Row, ...]:
    if not scored:
        return ()
    p, s, h = weights.shares()
    base = p * np.array([one.prevalence for one in scored]) + s * np.array([one.persistence for one in scored])
    low, high = base + h * np.array([one.harm[0] for one in scored]), base + h * np.array([one.harm[1] for one in scored])
    places = _places(np.round(low, 9))
    rows = []
    for n in sorted(range(len(scored)), key=lambda n: (places[n], -high[n], scored[n].name, scored[n].id)):
        one, rank = scored[n], int(places[n])
        rows.append(
            Row(
                id=one.id, name=one.name, group=one.group, detections=one.detections, countries=one.countries,
                reporting_countries=one.reporting_countries, per_1000=None if one.per_1000 is None else round(one.per_1000, 6),
                prevalence=round(one.prevalence, 6), persistence=round(one.persistence, 6),
                harm=(round(one.harm[0], 6), round(one.harm[1], 6)),
                priority=(round(float(low[n]), 6), round(float(high[n]), 6)),
                rank=rank, rank_low=min(one.interval[0], rank), rank_high=max(one.interval[1], rank),
                harm_unknown=one.harm_unknown, cases=one.cases, deaths=one.deaths, sole_deaths=one.sole_deaths,
                quarters=one.quarters, years=round(one.years, 6), months_since=one.months_since,
                laboratories=one.laboratories, on_front=one.on_front, grade=one.grade, fast_lane=one.fast_lane,
                missing=one.missing,
            )
        )  # fmt: skip
    return tuple(rows)


def _rank_intervals(table: _Table, digest: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The 5th and 95th percentile of each rank over draws of laboratories and of weights, seeded by the facts' digest.

    A substance without a case is placed between its low and high harm by chance, since that is what is known.
    """
    source = np.random.Generator(np.random.PCG64(int(digest[:16], 16)))
    found = np.empty((DRAWS, table.n), dtype=np.intp)
    size = len(table.labs)
    for draw in range(DRAWS):
        times = np.bincount(source.integers(0, size, size), minlength=size).astype(float) if size else np.zeros(0)
        p, s, h = source.dirichlet(DIRICHLET)
        scores = _scores(table, times)
        harm = scores.low + source.random(table.n) * (scores.high - scores.low)
        found[draw] = _places(np.round(p * scores.prevalence + s * scores.persistence + h * harm, 9))
    found.sort(axis=0)
    return found[int(LOW_SHARE * DRAWS)], found[int(HIGH_SHARE * DRAWS) - 1]


def _front(*parts: Array) -> NDArray[np.bool_]:
    """Whether no other row is at least as high in every part and higher in one."""
    stacked = np.stack(parts, axis=1)
    found = np.ones(len(stacked), dtype=bool)
    for n, row in enumerate(stacked):
        better = (stacked >= row).all(axis=1) & (stacked > row).any(axis=1)
        found[n] = not better.any()
    return found


def _about(facts: Facts) -> dict[str, tuple[int, int, str | None]]:
    """By substance: laboratories that found it, countries with cases of the last 12 months, why it stands in the fast lane."""
    laboratories: dict[str, set[str]] = defaultdict(set)
    for find in facts.finds:
        if find.month < 12:
            laboratories[find.substance].add(find.laboratory)
    cases: dict[str, list[Harm]] = defaultdict(list)
    for harm in facts.harms:
        if harm.month < 12 and harm.role != "incidental":
            cases[harm.substance].append(harm)
    return {
        key: (len(laboratories[key]), len({harm.country for harm in cases[key]}), _fast_lane(cases[key]))
        for key in {*laboratories, *cases}
    }


def _fast_lane(cases: Sequence[Harm]) -> str | None:
    if any(h.seriousness == "death" and h.role in CAUSAL | {"contributory"} for h in cases):
        return "a death with a causal role"
    grave = {h.country for h in cases if h.seriousness in GRAVE | {"death"} and h.evidence == "biological"}
    return f"serious, biologically confirmed cases in {len(grave)} countries" if len(grave) >= LEAST_CASE_COUNTRIES else None


def _grade(denominators: bool, laboratories: int, case_countries: int) -> str:
    """A to D by how many hold: tests done are known, at least 3 laboratories, cases from at least 2 countries."""
    held = denominators + (laboratories >= LEAST_LABORATORIES) + (case_countries >= LEAST_CASE_COUNTRIES)
    return "DCBA"[held]


def _missing(denominators: bool, laboratories: int, case_countries: int, unknown: bool) -> tuple[str, ...]:
    found = []
    if not denominators:
        found.append("tests done are not reported")
    if laboratories < LEAST_LABORATORIES:
        found.append("fewer than 3 laboratories")
    if unknown:
        found.append("no case: harm unknown")
    elif case_countries < LEAST_CASE_COUNTRIES:
        found.append("cases from fewer than 2 countries")
    return tuple(found)
