"""Titles of charts: the finding, printed only where its condition holds in the counts that this reader gets. Pure.

`MONTH_RULES` is a table: an id, the condition and the sentence. The first rule that holds speaks; the last one is a plain name,
so a chart is never without a title.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log, sqrt

from app.substances.expected import Band, bands
from app.substances.queries import CountryCounts, MonthPoint, MonthSeries
from app.web.places import country_name
from app.web.templating import month as written_month

FEW = 12
Z95 = 1.959964


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Last 12 full months over the 12 before among laboratories that reported in both, with a 95 % interval."""

    laboratories: int
    before: int
    last: int
    value: float
    low: float
    high: float


def year_on_year(series: MonthSeries) -> Ratio | None:
    """The ratio, or None without 3 laboratories in both years. The interval is that of a ratio of two Poisson counts."""
    panel = [years for years in series.panel if years.before and years.last]
    if len(panel) < 3:
        return None
    before, last = sum(years.before for years in panel), sum(years.last for years in panel)
    spread = Z95 * sqrt(1 / before + 1 / last)
    value = last / before
    return Ratio(
        laboratories=len(panel),
        before=before,
        last=last,
        value=value,
        low=exp(log(value) - spread),
        high=exp(log(value) + spread),
    )


def _change(value: float) -> str:
    for least, word in ((4.5, "rose more than fourfold"), (3.5, "rose fourfold"), (2.6, "tripled"), (1.8, "doubled")):
        if value >= least:
            return word
    if value <= 0.55:
        return "halved" if value >= 0.4 else "fell to less than half"
    percent = round(abs(value - 1) * 100)
    return f"rose by {percent} %" if value > 1 else f"fell by {percent} %"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the rules look at: the series, the last month that is judged with its band, and the comparison of years."""

    name: str
    series: MonthSeries
    period: str
    judged: tuple[MonthPoint, Band] | None
    ratio: Ratio | None

    @property
    def total(self) -> int | None:
        return self.series.total.cell.n


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    holds: Callable[[Seen], bool]
    says: Callable[[Seen], str]


def seen(name: str, series: MonthSeries) -> Seen:
    first, last = series.points[0].month, series.points[-1].month
    judged = None
    if not series.masked:
        known = [(point, band) for point, band in zip(series.points, bands(series.points), strict=True) if band is not None]
        # the last full month, and no earlier one: an old alarm is no news
        if known and known[-1][0].month in {point.month for point in series.points[-3:]}:
            judged = known[-1]
    return Seen(
        name=name,
        series=series,
        period=f"{written_month(first)} to {written_month(last)}",
        judged=judged,
        ratio=None if series.masked else year_on_year(series),
    )


def _outside(s: Seen) -> bool:
    return s.judged is not None and not s.judged[1].low <= (s.judged[0].total.n or 0) <= s.judged[1].high


def _said_outside(s: Seen) -> str:
    assert s.judged is not None
    point, band = s.judged
    n = point.total.n or 0
    rose = n > band.high
    where = f"{'above' if rose else 'below'} the expected {band.low:,} to {band.high:,}"
    return f"{s.name} detections {'rose' if rose else 'fell'} to {n:,} in {written_month(point.month)}, {where}"


def _said_inside(s: Seen) -> str:
    assert s.judged is not None
    point, band = s.judged
    return f"{s.name}: {point.total.n or 0:,} in {written_month(point.month)}, within the expected {band.low:,} to {band.high:,}"


def _said_ratio(s: Seen) -> str:
    assert s.ratio is not None
    return f"{s.name} detections {_change(s.ratio.value)} among the {s.ratio.laboratories} laboratories reporting throughout"


MONTH_RULES: tuple[Rule, ...] = (
    Rule(
        "masked",
        lambda s: s.total is None,
        lambda s: f"{s.name}: at least {s.series.total.at_least:,} detections, {s.period}; some months are masked",
    ),
    Rule("none", lambda s: s.total == 0, lambda s: f"No {s.name} detections, {s.period}"),
    Rule(
        "few",
        lambda s: (s.total or 0) < FEW,
        lambda s: f"Too few {s.name} detections to show a trend ({s.total} in {s.period})",
    ),
    Rule("outside-band", _outside, _said_outside),
    Rule("year-on-year", lambda s: s.ratio is not None and (s.ratio.low > 1 or s.ratio.high < 1), _said_ratio),
    Rule("inside-band", lambda s: s.judged is not None, _said_inside),
    Rule("plain", lambda _: True, lambda s: f"{s.name}: {s.total:,} detections, {s.period}"),
)


def month_rule(name: str, series: MonthSeries) -> tuple[str, str]:
    """The id of the rule that speaks, and its sentence."""
    found = seen(name, series)
    rule = next(rule for rule in MONTH_RULES if rule.holds(found))
    return rule.id, rule.says(found)


def month_title(name: str, series: MonthSeries) -> str:
    """What the counts by month say."""
    return month_rule(name, series)[1]


def country_title(name: str, counts: CountryCounts) -> str:
    """What the counts by country say."""
    found = len(counts.rows)
    if not found:
        return f"No country reported {name}"
    where = f"{name} was reported by {found} of {counts.reporting} reporting countries"
    lead = counts.rows[0]
    total = counts.total.cell.n
    if total and lead.total.n and found > 1 and lead.total.n * 2 >= total:
        return f"{where}; at least half of it by {country_name(lead.country)}"
    return where


def first_seen_title(name: str, counts: CountryCounts) -> str:
    """When and where it was first reported, and how far it is by now."""
    if not counts.rows:
        return f"No country reported {name}"
    first = min(counts.rows, key=lambda row: (row.first_month, row.country))
    last = max(row.first_month for row in counts.rows)
    number = "1 country" if len(counts.rows) == 1 else f"{len(counts.rows)} countries"
    where = f"{country_name(first.country)} in {written_month(first.first_month)}"
    return f"First reported by {where}; {number} by {written_month(last)}"


def control_title(name: str, before: float, after: float, measure: str) -> str:
    """How detections a month changed after a measure; never because of it."""
    if before == after:
        return f"{name} detections stayed at {before:,.1f} a month after {measure}"
    word = "rose" if after > before else "fell"
    return f"{name} detections {word} from {before:,.1f} to {after:,.1f} a month after {measure}; other causes are possible"
