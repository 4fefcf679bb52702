"""Is this more than expected, for series with a long history: a quasi-Poisson regression on five years of weeks.

Many series at once: they share their design, so that a nightly run of thousands is a few matrix products. The method follows
the improved Farrington design (Noufaily et al., Stat. Med. 2013;32:1206, doi:10.1002/sim.5595) with harmonics and a ridge in
place of its seasonal factor, and the tail of a negative binomial in place of its power-transformed normal one.

The last week and the last two weeks are tested, at 0.005 each: at the same rate of false alarms as one week at 0.01 that finds
more outbreaks, since most are spread over two weeks (`python -m tests.bench signals`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

METHOD = "quasi-poisson-glm/1"
BASELINE_WEEKS = 260
GUARD_WEEKS = 26
WEEKS_A_YEAR = 52.1775
RIDGE = 0.5
FITS = 3
REWEIGHT_AT = 2.58
ITERATIONS = 30
TOLERANCE = 1e-8
LARGEST_LOG_MEAN = 25.0
WINDOWS = (1, 2)
ALARM_P = 0.005
LEAST_COUNT = (2, 3)  # findings in the window


@dataclass(frozen=True, slots=True)
class Expected:
    """What the last weeks of each series were expected to be, one row a series and one column a window: count, mean, variance
    of a count, P(X >= count), and whether that is an alarm. `dispersion` has one value a series.
    """

    observed: Array
    mean: Array
    variance: Array
    dispersion: Array
    p: Array
    alarm: NDArray[np.bool_]


def design(weeks: int) -> tuple[Array, Array]:
    """The rows of the baseline weeks, oldest first, and those of the tested weeks, newest first: intercept, years, two annual
    harmonics.
    """
    ago = np.concatenate([np.arange(weeks + GUARD_WEEKS, GUARD_WEEKS, -1), np.arange(max(WINDOWS))]).astype(float)
    angle = 2 * np.pi * ago / WEEKS_A_YEAR
    rows = np.column_stack(
        [np.ones_like(ago), -ago / WEEKS_A_YEAR, np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)]
    )
    return rows[:weeks], rows[weeks:]


def expected(series: Any, offsets: Any = None) -> Expected:
    """The expectation of the last weeks of each row.

    `series` has one row a series and one column a week, oldest first, at least `GUARD_WEEKS` + 2 of them; `offsets` holds tests
    done in the same shape, scaled to a mean of 1, or None where they are not known.
    """
    counts = np.atleast_2d(np.asarray(series, dtype=float))
    weeks = min(BASELINE_WEEKS, counts.shape[1] - 1 - GUARD_WEEKS)
    stop = counts.shape[1] - 1 - GUARD_WEEKS
    baseline = counts[:, stop - weeks : stop]
    rows, latest = design(weeks)
    tests = np.ones_like(counts) if offsets is None else np.maximum(np.atleast_2d(np.asarray(offsets, dtype=float)), 1e-6)
    shift = np.log(tests[:, stop - weeks : stop])
    weights = np.ones_like(baseline)
    for attempt in range(FITS):
        coefficients, inverse, means = _fit(baseline, rows, weights, shift)
        leverage = weights * means * np.einsum("tj,njk,tk->nt", rows, inverse, rows, optimize=True)
        spread = np.sum(weights * (baseline - means) ** 2 / means, axis=1)
        dispersion = np.maximum(1.0, spread / (weeks - rows.shape[1]))
        if attempt < FITS - 1:
            weights = _weights(baseline, means, dispersion, leverage)
    weekly = np.exp(np.minimum(coefficients @ latest.T, LARGEST_LOG_MEAN)) * tests[:, : -1 - max(WINDOWS) : -1]
    relative = dispersion * np.einsum("j,njk,k->n", latest[0], inverse, latest[0], optimize=True)
    observed = np.stack([counts[:, -window:].sum(axis=1) for window in WINDOWS], axis=1)
    mean = np.stack([weekly[:, :window].sum(axis=1) for window in WINDOWS], axis=1)
    variance = dispersion[:, None] * mean + relative[:, None] * mean**2
    p = tails(observed.ravel(), mean.ravel(), variance.ravel()).reshape(observed.shape)
    alarm = (p < ALARM_P) & (observed >= np.array(LEAST_COUNT)) & (counts[:, -1:] > 0)
    return Expected(observed=observed, mean=mean, variance=variance, dispersion=dispersion, p=p, alarm=alarm)


def _fit(counts: Array, rows: Array, weights: Array, shift: Array) -> tuple[Array, Array, Array]:
    """Ridge-penalised maximum likelihood by iterated weighted least squares: coefficients, inverse information, means."""
    size = rows.shape[1]
    penalty = np.diag([0.0] + [RIDGE] * (size - 1))
    products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), size * size)
    coefficients: Array = np.zeros((len(counts), size))
    total = np.sum(weights * counts, axis=1) / np.sum(weights * np.exp(shift), axis=1)
    coefficients[:, 0] = np.log(np.maximum(total, 1e-3))
    for _ in range(ITERATIONS):
        linear: Array = np.clip(coefficients @ rows.T + shift, -LARGEST_LOG_MEAN, LARGEST_LOG_MEAN)
        means: Array = np.exp(linear)
        worked = weights * means
        information = (worked @ products).reshape(-1, size, size) + penalty
        target = (worked * (linear - shift) + weights * (counts - means)) @ rows
        step = np.linalg.solve(information, target[:, :, None])[:, :, 0] - coefficients
        coefficients += step
        change = float(np.max(np.abs(step)))
        if change < TOLERANCE:
            break
    means = np.asarray(np.exp(np.clip(coefficients @ rows.T + shift, -LARGEST_LOG_MEAN, LARGEST_LOG_MEAN)))
    information = ((weights * means) @ products).reshape(-1, size, size) + penalty
    return coefficients, np.asarray(np.linalg.inv(information)), means


def _weights(counts: Array, means: Array, dispersion: Array, leverage: Array) -> Array:
    """Weeks far above their mean count less, by the square of their residual; the mean weight stays 1.

    The residual is the cube-root one of a gamma variable with the same mean and variance (Wilson and Hilferty 1931,
    doi:10.1073/pnas.17.12.684). Under strong overdispersion the two-thirds root is far from normal: it weighs ordinary weeks
    down, and the false-positive rate rises above 2 %.
    """
    shape = means / (dispersion[:, None] * np.maximum(1e-6, 1 - leverage))
    residual = 3 * np.sqrt(shape) * (np.cbrt(counts / means) - 1 + 1 / (9 * shape))
    weights = np.where(residual > REWEIGHT_AT, np.maximum(residual, REWEIGHT_AT) ** -2.0, 1.0)
    return np.asarray(weights / weights.mean(axis=1, keepdims=True))


def tails(counts: Any, means: Any, variances: Any) -> Array:
    """P(X >= count) for negative binomials with these means and variances, Poisson where the variance is no larger."""
    count, mean, variance = (np.atleast_1d(np.asarray(x, dtype=float)) for x in (counts, means, variances))
    answer = np.ones(len(count))
    for place in np.flatnonzero(count > 0):
        steps = np.arange(1, int(count[place]), dtype=float)
        extra = variance[place] - mean[place]
        if extra <= 1e-9 * mean[place]:
            first, ratios = -mean[place], np.log(mean[place]) - np.log(steps)
        else:
            size = mean[place] ** 2 / extra
            share = size / (size + mean[place])
            first, ratios = size * np.log(share), np.log((steps - 1 + size) / steps) + np.log1p(-share)
        below = np.exp(first + np.concatenate([[0.0], np.cumsum(ratios)]))
        answer[place] = min(1.0, max(0.0, 1.0 - float(below.sum())))
    return answer
