"""Tails against closed forms, alarms against the thresholds of the design, scans that repeat."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.statistics import (
    binomial_tail,
    negative_binomial_tail,
    poisson_tail,
    scan,
    short_verdict,
    sparse_verdicts,
    verdict_of,
)


@pytest.mark.parametrize(
    ("count", "mean", "expected"),
    [(0, 2.0, 1.0), (1, 1.0, 1 - math.exp(-1)), (3, 1.0, 1 - 2.5 * math.exp(-1)), (2, 0.1, 1 - 1.1 * math.exp(-0.1))],
)
def test_poisson_tails(count: int, mean: float, expected: float) -> None:
    assert poisson_tail(count, mean) == pytest.approx(expected, abs=1e-12)


def test_a_geometric_distribution_is_a_negative_binomial_of_size_one() -> None:
    for count in range(6):
        assert negative_binomial_tail(count, 1.0, 2.0) == pytest.approx(0.5**count, abs=1e-12)


def test_without_overdispersion_the_negative_binomial_is_poisson() -> None:
    assert negative_binomial_tail(3, 1.0, 1.0) == poisson_tail(3, 1.0)
    assert negative_binomial_tail(3, 1.0, 1.0 + 1e-9) == pytest.approx(poisson_tail(3, 1.0), abs=1e-6)


def test_binomial_tails() -> None:
    assert binomial_tail(10, 10) == 1 / 1024
    assert binomial_tail(0, 4) == 1.0
    assert binomial_tail(3, 4) == 5 / 16


@given(st.integers(0, 30), st.floats(0.01, 20), st.floats(1, 10))
def test_tails_are_probabilities_and_fall_with_the_count(count: int, mean: float, phi: float) -> None:
    one, two = negative_binomial_tail(count, mean, phi * mean), negative_binomial_tail(count + 1, mean, phi * mean)
    assert 0 <= two <= one <= 1


def test_a_quiet_series_that_jumps_alarms_and_a_steady_one_does_not() -> None:
    quiet = [0] * 150
    assert verdict_of([*quiet, 1, 1, 1, 1], class_mean=None).alarm
    assert verdict_of([*quiet, 0, 0, 0, 3], class_mean=None).alarm
    assert not verdict_of([*quiet, 0, 0, 0, 1], class_mean=None).alarm
    assert not verdict_of([1] * 160, class_mean=None).alarm
    assert not verdict_of([0, 1, 2, 1] * 40, class_mean=0.5).alarm


def test_the_single_week_needs_two_findings_and_the_four_weeks_one_in_the_last() -> None:
    for verdict in sparse_verdicts([0] * 150 + [2, 2, 2, 0], class_mean=None):
        assert not verdict.alarm
    one, two, four = sparse_verdicts([0] * 150 + [0, 0, 0, 2], class_mean=None)
    assert (one.alarm, two.alarm, four.alarm) == (True, False, False)


def test_the_window_never_overlaps_its_baseline() -> None:
    """Three guard weeks: what happened in them changes no expectation."""
    calm = sparse_verdicts([0] * 150 + [0, 0, 0, 2], class_mean=None)[0]
    busy = sparse_verdicts([0] * 150 + [9, 9, 9, 2], class_mean=None)[0]
    assert calm.expected == busy.expected


def test_a_past_outbreak_is_weighed_down() -> None:
    outbreak = [0] * 100 + [30] + [0] * 59
    flat = sparse_verdicts(outbreak, class_mean=None)[0].expected
    assert flat < 30 / 157


def test_a_short_history_compares_two_equal_windows() -> None:
    assert short_verdict([0, 0, 0, 0, 2, 3, 3, 2]).p == 0.5**10
    assert short_verdict([0, 0, 0, 0, 2, 3, 3, 2]).alarm
    assert not short_verdict([0, 0, 0, 0, 1, 1, 0, 1]).alarm
    assert not short_verdict([2, 2, 2, 2, 2, 2, 2, 3]).alarm
    assert not short_verdict([2, 3, 3, 2]).alarm  # the first weeks of a service: there is nothing to compare with
    assert verdict_of([0] * 10, class_mean=None).method.startswith("conditional-binomial")


def test_a_scan_finds_a_burst_and_repeats_itself() -> None:
    days = [0] * 395
    for day in (-1, -3, -5):
        days[day] = 1
    first = scan(days, seed="x")
    assert first is not None
    assert (first.alarm, first.cases, first.days) == (True, 3, 5)
    assert scan(days, seed="x") == first


def test_a_scan_of_what_is_usual_or_rare_is_no_alarm() -> None:
    usual = scan([1 if day % 5 == 0 else 0 for day in range(395)], seed="x")
    assert usual is not None
    assert not usual.alarm
    assert scan([0] * 393 + [1, 1], seed="x") is None
