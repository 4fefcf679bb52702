"""Is this more than expected? Weekly counts, sparse series, short histories, and a scan for clusters. Pure.

Series with a long history are judged by `alerts.regression`.

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

from alerts import regression

METHOD_VERSION = "2"  # windows of 1, 2 and 4 weeks
BASELINE_WEEKS = 156
GUARD_WEEKS = 3
SHORT_HISTORY = 26
ESTABLISHED_WEEKS = 104
ESTABLISHED_FINDINGS = 100
LEAST_COVERAGE = 0.8
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
    """One evaluation of a series. `window` is in weeks, `observed` the count in it, `expected` and `variance` those of a count
    under the baseline.
    """

    alarm: bool
    method: str
    window: int
    observed: int
    expected: float
    variance: float
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


def sparse_verdicts(weeks: Sequence[int], *, class_mean: float | None, tests: Sequence[float] | None = None) -> list[Verdict]:
    """Tier A: the verdicts of the windows of 1, 2 and 4 weeks.

    `weeks` are weekly counts of independent findings, oldest first, ending with the week tested. `class_mean` is the weekly
    mean of the parent class in that area, None where there is none. `tests` are tests done in the same weeks, scaled to a mean
    of 1; without them each week counts alike.
    """
    first, stop = max(0, len(weeks) - 1 - GUARD_WEEKS - BASELINE_WEEKS), max(0, len(weeks) - 1 - GUARD_WEEKS)
    baseline = list(weeks[first:stop])
    done = [1.0] * len(weeks) if tests is None else list(tests)
    exposure = done[first:stop]
    prior_mean = NO_CLASS_MEAN if class_mean is None else max(LEAST_MEAN, class_mean)
    weights = [1.0] * len(baseline)
    a = b = m = 0.0
    for attempt in range(3):
        a = 0.5 + math.fsum(w * y for w, y in zip(weights, baseline, strict=True))
        b = 0.5 / prior_mean + math.fsum(w * n for w, n in zip(weights, exposure, strict=True))
        m = a / b
        if attempt < 2:
            weights = [_weight(y, m * n) for y, n in zip(baseline, exposure, strict=True)]
    spread = math.fsum(w * (y - m * n) ** 2 / (m * n) for w, y, n in zip(weights, baseline, exposure, strict=True) if n > 0)
    phi = max(1.0, (10 * 1.2 + spread) / (10 + math.fsum(weights) - 1))
    verdicts = []
    for window in (1, 2, 4):
        observed = sum(weeks[-window:])
        share = math.fsum(done[-window:])
        expected = share * m
        variance = phi * (expected + share * share * a / (b * b))
        p = negative_binomial_tail(observed, expected, variance)
        enough = weeks[-1] >= 2 if window == 1 else observed >= 3 and weeks[-1] > 0
        verdicts.append(
            Verdict(
                alarm=p < ALARM_P and enough,
                method=f"gamma-poisson/{METHOD_VERSION}",
                window=window,
                observed=observed,
                expected=expected,
                variance=variance,
                dispersion=phi,
                p=p,
            )
        )
    return verdicts


def _weight(count: int, mean: float) -> float:
    """Less than 1 for a week far above the mean, by its Anscombe residual."""
    if mean <= 0:
        return 1.0
    residual = 1.5 * (count ** (2 / 3) - mean ** (2 / 3)) / mean ** (1 / 6)
    return 1.0 if residual <= REWEIGHT_AT else (REWEIGHT_AT / residual) ** 2


def short_verdict(weeks: Sequence[int], *, window: int = 4) -> Verdict:
    """For histories under 26 weeks: a rise between the last two windows of the same length, conditional on their sum.

    No alarm before both windows are known: where nobody reported yet, nothing has risen.
    """
    later = sum(weeks[-window:])
    earlier = sum(weeks[max(0, len(weeks) - 2 * window) : max(0, len(weeks) - window)])
    p = binomial_tail(later, later + earlier) if later else 1.0
    return Verdict(
        alarm=p < SHORT_P and later >= 3 and len(weeks) >= 2 * window,
        method=f"conditional-binomial/{METHOD_VERSION}",
        window=window,
        observed=later,
        expected=float(earlier),
        variance=float(earlier),
        dispersion=1.0,
        p=p,
    )


def is_established(weeks: Sequence[int]) -> bool:
    """Whether a series has the history for a regression: at least 104 known weeks, and 100 findings before the guard."""
    stop = max(0, len(weeks) - 1 - regression.GUARD_WEEKS)
    findings = sum(weeks[max(0, stop - regression.BASELINE_WEEKS) : stop])
    return len(weeks) >= ESTABLISHED_WEEKS and findings >= ESTABLISHED_FINDINGS


def established_verdicts(weeks: Sequence[int], *, tests: Sequence[float] | None = None) -> list[Verdict]:
    """Tier B: the verdicts of the windows of 1 and 2 weeks of a series with a long history, with tests done as an offset where
    given.
    """
    found = regression.expected([weeks], None if tests is None else [tests])
    return [
        Verdict(
            alarm=bool(found.alarm[0, place]),
            method=regression.METHOD,
            window=window,
            observed=int(found.observed[0, place]),
            expected=float(found.mean[0, place]),
            variance=float(found.variance[0, place]),
            dispersion=float(found.dispersion[0]),
            p=float(found.p[0, place]),
        )
        for place, window in enumerate(regression.WINDOWS)
    ]


def verdicts_of(weeks: Sequence[int], *, class_mean: float | None, tests: Sequence[float] | None = None) -> list[Verdict]:
    """Every verdict on the last week: by regression, by the sparse method, or by the short one, as the history allows."""
    if len(weeks) < SHORT_HISTORY:
        return [short_verdict(weeks)]
    if is_established(weeks):
        return established_verdicts(weeks, tests=tests)
    return sparse_verdicts(weeks, class_mean=class_mean, tests=tests)


def verdict_of(weeks: Sequence[int], *, class_mean: float | None, tests: Sequence[float] | None = None) -> Verdict:
    """The verdict on the last week: an alarm with the smallest p where there is one, else the smallest p."""
    found = verdicts_of(weeks, class_mean=class_mean, tests=tests)
    return min(found, key=lambda one: (not one.alarm, one.p))


def scaled_tests(tests: Sequence[float]) -> list[float] | None:
    """Tests done by week, scaled to a mean of 1 over the weeks that have any; None where fewer than 80 % of the weeks have."""
    known = [n for n in tests if n > 0]
    if not tests or len(known) < LEAST_COVERAGE * len(tests):
        return None
    mean = math.fsum(known) / len(known)
    return [n / mean if n > 0 else 1.0 for n in tests]


def false_discoveries_held(p_values: Sequence[float], q: float = 0.05) -> list[bool]:
    """Which of many p values stand at this false discovery rate, in their order (Benjamini and Hochberg 1995,
    doi:10.1111/j.2517-6161.1995.tb02031.x).
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    last = max((rank for rank, place in enumerate(order, 1) if p_values[place] <= q * rank / len(order)), default=0)
    held = set(order[:last])
    return [place in held for place in range(len(p_values))]


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


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one week was expected to hold, from the weeks before it: the mean, and the least count that alarms by itself."""

    mean: float
    limit: int


def expectations(
    weeks: Sequence[int], *, class_mean: float | None, tests: Sequence[float] | None = None, last: int = 52
) -> list[Expectation | None]:
    """The expectation of each of the last weeks, oldest first, as it was when that week was tested; None in a short history."""
    found: list[Expectation | None] = []
    for stop in range(max(0, len(weeks) - last) + 1, len(weeks) + 1):
        known, done = weeks[:stop], None if tests is None else tests[:stop]
        if stop < SHORT_HISTORY:
            found.append(None)
        elif is_established(known):
            expected = regression.expected([known], None if done is None else [done])
            mean, variance = float(expected.mean[0, 0]), float(expected.variance[0, 0])
            found.append(Expectation(mean, _least_alarm(mean, variance, regression.ALARM_P, regression.LEAST_COUNT[0])))
        else:
            one = sparse_verdicts(known, class_mean=class_mean, tests=done)[0]
            found.append(Expectation(one.expected, _least_alarm(one.expected, one.variance, ALARM_P, 2)))
    return found


def _least_alarm(mean: float, variance: float, p: float, least: int) -> int:
    """The smallest count, at least `least`, whose tail is below p: found by doubling and halving."""
    low, high = least - 1, max(least, math.ceil(mean) * 2)
    while negative_binomial_tail(high, mean, variance) >= p:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        if middle >= least and negative_binomial_tail(middle, mean, variance) < p:
            high = middle
        else:
            low = middle
    return high
