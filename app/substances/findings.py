"""Titles of charts: the finding, printed only where its condition holds in the counts that this reader gets. Pure.

The rules stand in order; the first that holds speaks. The last one is a plain name, so a chart is never without a title.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log, sqrt

from app.substances.queries import CountryCounts, MonthSeries
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


def month_title(name: str, series: MonthSeries) -> str:
    """What the counts by month say."""
    first, last = series.points[0].month, series.points[-1].month
    period = f"{written_month(first)} to {written_month(last)}"
    if series.total.cell.n is None:
        return f"{name}: at least {series.total.at_least:,} detections, {period}; some months are masked"
    total = series.total.cell.n
    if total == 0:
        return f"No {name} detections, {period}"
    if total < FEW:
        return f"Too few {name} detections to show a trend ({total} in {period})"
    ratio = None if series.masked else year_on_year(series)
    if ratio and (ratio.low > 1 or ratio.high < 1):
        return f"{name} detections {_change(ratio.value)} among the {ratio.laboratories} laboratories reporting throughout"
    return f"{name}: {total:,} detections, {period}"


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
