"""Is this more than expected? Weekly counts, sparse series, short histories, and a scan for clusters. Pure, without any
library.

Methods: a Gamma-Poisson predictive distribution with reweighted baseline for sparse series (after Noufaily et al., Stat. Med.
2013;32:1206, in how it treats past outbreaks), an exact conditional binomial test for histories under 26 weeks, and a
prospective Poisson scan with Monte Carlo replicates for clusters (Kulldorff 2001). Every answer holds its inputs, so that it
can be computed again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

METHOD_VERSION = "1"
BASELINE_WEEKS = 156
GUARD_WEEKS = 3
SHORT_HISTORY = 26
NO_CLASS_MEAN = 0.05
LEAST_MEAN = 0.01
ALARM_P = 0.005
SHORT_P = 0.001
REWEIGHT_AT = 2.58
SCAN_DAYS = 30
SCAN_REPLICATES = 999
SCAN_RECURRENCE_DAYS = 365
SCAN_LEAST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One evaluation of a series. `window` is in weeks, `observed` the count in it, `expected` its mean under the baseline."""

    alarm: bool
    method: str
    window: int
    observed: int
    expected: float
    dispersion: float
    p: float


def poisson_tail(count: int, mean: float) -> float:
    """P(X >= count) for a Poisson variable with this mean."""
    if count <= 0:
        return 1.0
    below = math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count)) if mean > 0 else 1.0
    return min(1.0, max(0.0, 1.0 - below))


def negative_binomial_tail(count: int, mean: float, variance: float) -> float:
    """P(X >= count) for a negative binomial with this mean and variance; Poisson where the variance is no larger."""
    if count <= 0:
        return 1.0
    if variance <= mean or mean <= 0:
        return poisson_tail(count, mean)
    size = mean * mean / (variance - mean)
    share = size / (size + mean)
    below = math.fsum(
        math.exp(math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1) + size * math.log(share) + k * math.log1p(-share))
        for k in range(count)
    )
    return min(1.0, max(0.0, 1.0 - below))


def binomial_tail(count: int, trials: int, share: float = 0.5) -> float:
    """P(X >= count) of so many trials."""
    return math.fsum(math.comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count, trials + 1))


def sparse_verdicts(weeks: Sequence[int], *, class_mean: float | None) -> list[Verdict]:
    """Tier A: the verdicts of the windows of 1 and 4 weeks.

    `weeks` are weekly counts of independent findings, oldest first, ending with the week tested. `class_mean` is the weekly
    mean of the parent class in that area, None where there is none.
    """
    baseline = list(weeks[max(0, len(weeks) - 1 - GUARD_WEEKS - BASELINE_WEEKS) : max(0, len(weeks) - 1 - GUARD_WEEKS)])
    prior_mean = NO_CLASS_MEAN if class_mean is None else max(LEAST_MEAN, class_mean)
    weights = [1.0] * len(baseline)
    a = b = m = 0.0
    for attempt in range(3):
        a = 0.5 + math.fsum(w * y for w, y in zip(weights, baseline, strict=True))
        b = 0.5 / prior_mean + math.fsum(weights)
        m = a / b
        if attempt < 2:
            weights = [_weight(y, m) for y in baseline]
    spread = math.fsum(w * (y - m) ** 2 / m for w, y in zip(weights, baseline, strict=True))
    phi = max(1.0, (10 * 1.2 + spread) / (10 + math.fsum(weights) - 1))
    verdicts = []
    for window in (1, 4):
        observed = sum(weeks[-window:])
        expected = window * m
        variance = phi * (expected + window * window * a / (b * b))
        p = negative_binomial_tail(observed, expected, variance)
        enough = weeks[-1] >= 2 if window == 1 else observed >= 3 and weeks[-1] > 0
        verdicts.append(
            Verdict(
                alarm=p < ALARM_P and enough,
                method=f"gamma-poisson/{METHOD_VERSION}",
                window=window,
                observed=observed,
                expected=expected,
                dispersion=phi,
                p=p,
            )
        )
    return verdicts


def _weight(count: int, mean: float) -> float:
    """Less than 1 for a week far above the mean, by its Anscombe residual."""
    residual = 1.5 * (count ** (2 / 3) - mean ** (2 / 3)) / mean ** (1 / 6)
    return 1.0 if residual <= REWEIGHT_AT else (REWEIGHT_AT / residual) ** 2


def short_verdict(weeks: Sequence[int], *, window: int = 4) -> Verdict:
    """For histories under 26 weeks: a rise between the last two windows of the same length, conditional on their sum."""
    later = sum(weeks[-window:])
    earlier = sum(weeks[max(0, len(weeks) - 2 * window) : max(0, len(weeks) - window)])
    p = binomial_tail(later, later + earlier) if later else 1.0
    return Verdict(
        alarm=p < SHORT_P and later >= 3,
        method=f"conditional-binomial/{METHOD_VERSION}",
        window=window,
        observed=later,
        expected=float(earlier),
        dispersion=1.0,
        p=p,
    )


def verdict_of(weeks: Sequence[int], *, class_mean: float | None) -> Verdict:
    """The verdict on the last week: an alarm with the smallest p where there is one, else the smallest p."""
    found = [short_verdict(weeks)] if len(weeks) < SHORT_HISTORY else sparse_verdicts(weeks, class_mean=class_mean)
    return min(found, key=lambda one: (not one.alarm, one.p))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The most unusual window ending today: its days, its cases, and how seldom such a one is expected by chance, in days."""

    days: int
    cases: int
    expected: float
    recurrence_days: float
    alarm: bool


def scan(cases_by_day: Sequence[int], *, seed: str) -> Cluster | None:
    """A prospective scan over windows of 1 to 30 days that end with the last day; None with fewer than 3 cases in 30 days.

    `cases_by_day` are daily counts, oldest first; what lies before the last 30 days is the baseline. The replicates are drawn
    from `seed`, so the same input gives the same answer.
    """
    recent = list(cases_by_day[-SCAN_DAYS:])
    if sum(recent) < SCAN_LEAST:
        return None
    before = list(cases_by_day[:-SCAN_DAYS])
    rate = (0.5 + sum(before)) / (SCAN_RECURRENCE_DAYS + len(before))
    best, days = _best_window(recent, rate)
    source = random.Random(seed)  # noqa: S311 - replicates of a test, not a secret
    beaten = sum(
        _best_window([_poisson(source, rate) for _ in range(len(recent))], rate)[0] >= best for _ in range(SCAN_REPLICATES)
    )
    recurrence = (SCAN_REPLICATES + 1) / (beaten + 1)
    cases = sum(recent[-days:])
    return Cluster(
        days=days,
        cases=cases,
        expected=rate * days,
        recurrence_days=recurrence,
        alarm=recurrence >= SCAN_RECURRENCE_DAYS and cases >= SCAN_LEAST,
    )


def _best_window(recent: Sequence[int], rate: float) -> tuple[float, int]:
    """The largest log likelihood ratio over windows that end today, and its length in days."""
    best, days, count = 0.0, 1, 0
    for length in range(1, len(recent) + 1):
        count += recent[-length]
        expected = rate * length
        if count > expected:
            ratio = count * math.log(count / expected) - (count - expected)
            if ratio > best:
                best, days = ratio, length
    return best, days


def _poisson(source: random.Random, mean: float) -> int:
    """A Poisson draw by inversion; for means well under 30."""
    limit, product, count = math.exp(-mean), source.random(), 0
    while product > limit:
        product *= source.random()
        count += 1
    return count
