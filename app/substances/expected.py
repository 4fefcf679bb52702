"""What a month was expected to bring, from the 12 months before it. Pure.

Mean and variance of those months (the variance at least the mean, and more for a mean that 12 months only estimate) give a
negative binomial; its middle 95 % is the band. A month without data, hidden or still arriving in the 12 gives no band. Months
are compared with their past alone: a season is not taken out, nor how many tests were done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt

from app.substances.queries import MonthPoint

BASE = 12
TAIL = 0.025
METHOD = "the mean of the 12 months before, 95 % of a negative binomial with their spread"


@dataclass(frozen=True, slots=True)
class Band:
    """The mean expected and the counts between which 95 % of the months should lie, both ends included."""

    mean: float
    low: int
    high: int


def bands(points: Sequence[MonthPoint]) -> tuple[Band | None, ...]:
    """A band for each month that has one, in their order. The running month is never judged."""
    found: list[Band | None] = []
    for place, point in enumerate(points):
        base = points[place - BASE : place] if place >= BASE else ()
        counts = [one.total.n for one in base if one.total.n is not None and not one.arriving]
        known = len(counts) == BASE and point.total.n is not None and not point.arriving
        found.append(band(counts) if known else None)
    return tuple(found)


def band(counts: Sequence[int]) -> Band:
    """The band that follows from earlier counts."""
    mean = sum(counts) / len(counts)
    if mean == 0:
        return Band(0.0, 0, 0)
    variance = sum((count - mean) ** 2 for count in counts) / (len(counts) - 1)
    variance = max(mean, variance) * (1 + 1 / len(counts))
    low, high = _quantiles(mean, variance)
    return Band(mean, low, high)


def _quantiles(mean: float, variance: float) -> tuple[int, int]:
    """The least counts below or at which the lower tail lies, and all but the upper one.

    The sum begins eight deviations below the mean, where less than a millionth of a tail lies, so that it takes as many steps as
    the spread is wide.
    """
    size = mean * mean / (variance - mean)
    hit = size / (size + mean)
    count = max(int(mean - 8 * sqrt(variance)), 0)
    part = exp(lgamma(count + size) - lgamma(size) - lgamma(count + 1) + size * log(hit) + count * log1p(-hit))
    below, low, last = part, count, 100 * (mean + 10)
    while below < 1 - TAIL and count <= last:
        part *= (count + size) / (count + 1) * (1 - hit)
        count += 1
        if below < TAIL:
            low = count
        below += part
    return low, count
