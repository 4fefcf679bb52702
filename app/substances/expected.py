"""What a month was expected to bring, from the 12 months before it. Pure.

Mean and variance of those months (the variance at least the mean, and more for a mean that 12 months only estimate) give a
negative binomial; its middle 95 % is the band. A month without data, hidden or still arriving in the 12 gives no band. Months
are compared with their past alone: a season is not taken out, nor how many tests were done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log, log1p, sqrt

import numpy as np

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
    """The least counts at which the negative binomial's distribution reaches the lower tail, and all but the upper one.

    Summed from five deviations below the mean, where less than a millionth lies, to three above it or, where that is not enough,
    to 6.3: by Cantelli's inequality no more than 1 / (1 + 6.3 ** 2), which is less than a tail, lies beyond.
    """
    size, spread = mean * mean / (variance - mean), sqrt(variance)
    hit = size / (size + mean)
    start = max(int(mean - 5 * spread), 0)
    first = lgamma(start + size) - lgamma(size) - lgamma(start + 1) + size * log(hit) + start * log1p(-hit)
    for reach in (3, 6.3):
        counts = np.arange(start, int(mean + reach * spread) + 1)
        steps = np.log((counts + size) / (counts + 1)) + log1p(-hit)
        below = np.cumsum(np.exp(first + np.concatenate(([0.0], np.cumsum(steps)))))
        if below[-1] >= 1 - TAIL:
            break
    low, high = np.searchsorted(below, (TAIL, 1 - TAIL))
    return start + int(low), start + int(high)
