"""The regression of long series: its equations, its tails, what a batch and an offset change, and what it alarms on."""

from __future__ import annotations

import numpy as np
import pytest

from alerts import regression
from alerts.statistics import (
    established_verdicts,
    false_discoveries_held,
    is_established,
    negative_binomial_tail,
    poisson_tail,
    scaled_tests,
    sparse_verdicts,
    verdict_of,
)

WEEKS = regression.BASELINE_WEEKS + regression.GUARD_WEEKS + 1


def seasonal(level: float, seed: int = 1) -> np.ndarray:
    """Poisson counts of five and a half years, higher in one season than in the other."""
    week = np.arange(WEEKS)
    return np.random.default_rng(seed).poisson(level * np.exp(0.5 * np.cos(2 * np.pi * week / regression.WEEKS_A_YEAR)))


def test_the_fit_solves_the_penalised_score_equations() -> None:
    counts = seasonal(6.0)[None, :260].astype(float)
    rows, _ = regression.design(260)
    weights = np.ones_like(counts)
    coefficients, inverse, means = regression._fit(counts, rows, weights, np.zeros_like(counts))
    penalty = np.array([0.0] + [regression.RIDGE] * 5)
    score = rows.T @ (counts[0] - means[0]) - penalty * coefficients[0]
    assert np.abs(score).max() < 1e-5
    information = (rows * means[0][:, None]).T @ rows + np.diag(penalty)
    assert np.allclose(inverse[0] @ information, np.eye(6), atol=1e-9)


@pytest.mark.parametrize(
    ("count", "mean", "variance"), [(3, 1.0, 1.0), (5, 2.0, 6.0), (1, 0.2, 0.3), (40, 25.0, 60.0), (0, 2.0, 3.0)]
)
def test_tails_are_those_of_the_scalar_functions(count: int, mean: float, variance: float) -> None:
    expected = negative_binomial_tail(count, mean, variance) if variance > mean else poisson_tail(count, mean)
    assert regression.tails([count], [mean], [variance])[0] == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_the_season_is_expected_and_a_batch_gives_what_each_series_gives_alone() -> None:
    series = np.stack([seasonal(4.0, 1), seasonal(12.0, 2)])
    both = regression.expected(series)
    for place in (0, 1):
        alone = regression.expected(series[place])
        assert np.allclose(alone.mean[0], both.mean[place], rtol=1e-6)
        assert np.allclose(alone.p[0], both.p[place], rtol=1e-5)
    truth = 12.0 * np.exp(0.5 * np.cos(2 * np.pi * (WEEKS - 1) / regression.WEEKS_A_YEAR))
    assert both.mean[1, 0] == pytest.approx(truth, rel=0.25)
    assert not both.alarm.any()


def test_a_jump_alarms_and_the_two_weeks_catch_what_is_spread_over_two() -> None:
    jump = seasonal(4.0)
    jump[-1] = 25
    assert regression.expected(jump).alarm.any()
    flat = np.array([1, 0, 1, 2, 0, 1, 1, 0] * 40)[-WEEKS:]
    flat[-2:] = (4, 4)
    one, two = established_verdicts(flat.tolist())
    assert (one.window, two.window) == (1, 2)
    assert two.p < one.p
    assert two.alarm


def test_a_past_outbreak_is_weighed_down() -> None:
    calm = seasonal(4.0)
    outbreak = calm.copy()
    outbreak[100:104] = 60
    assert regression.expected(outbreak).mean[0, 0] < 1.15 * regression.expected(calm).mean[0, 0]


def test_twice_the_tests_in_the_last_week_are_twice_the_findings_expected() -> None:
    counts, tests = seasonal(4.0), np.ones(WEEKS)
    once = regression.expected(counts, [tests])
    tests[-1] = 2.0
    assert regression.expected(counts, [tests]).mean[0, 0] == pytest.approx(2 * once.mean[0, 0])
    counts[-1] = 12
    assert regression.expected(counts, [tests]).p[0, 0] > regression.expected(counts).p[0, 0]


def test_the_sparse_method_takes_tests_into_account_too() -> None:
    weeks = [0] * 150 + [0, 0, 0, 3]
    plain = sparse_verdicts(weeks, class_mean=None)[0]
    tests = [1.0] * 153 + [10.0]
    busy = sparse_verdicts(weeks, class_mean=None, tests=tests)[0]
    assert busy.expected == pytest.approx(10 * plain.expected)
    assert busy.p > plain.p


def test_which_method_judges_depends_on_the_history() -> None:
    assert is_established([1] * WEEKS)
    assert not is_established([0] * 187 + [1] * 100)
    assert not is_established([5] * 100)
    assert verdict_of([1] * WEEKS, class_mean=None).method == regression.METHOD
    assert verdict_of([0, 1] * 80, class_mean=None).method.startswith("gamma-poisson")


def test_tests_done_count_only_where_four_weeks_in_five_have_them() -> None:
    assert scaled_tests([10.0, 20.0, 30.0, 0.0, 20.0]) == [0.5, 1.0, 1.5, 1.0, 1.0]
    assert scaled_tests([10.0, 0.0, 0.0, 20.0]) is None
    assert scaled_tests([]) is None


def test_false_discoveries_are_held_at_their_rate() -> None:
    assert false_discoveries_held([0.001, 0.2, 0.012, 0.9]) == [True, False, True, False]
    assert false_discoveries_held([0.03, 0.04, 0.05]) == [True, True, True]
    assert false_discoveries_held([]) == []
