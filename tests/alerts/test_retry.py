from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from alerts.retry import BreakerPolicy, Health, RetryPolicy, failed, given_up, next_attempt, succeeded

NOW = datetime(2026, 11, 24, tzinfo=UTC)
POLICY = RetryPolicy()


def test_thirteen_attempts_span_three_days() -> None:
    assert POLICY.attempts == 13
    assert round(sum(POLICY.delays) / 3600, 1) == 75.7


@given(attempts=st.integers(1, 12), spread=st.floats(0, 1))
def test_times_stay_within_a_fifth_of_the_table(attempts: int, spread: float) -> None:
    at = next_attempt(POLICY, attempts, NOW, spread=spread)
    assert at is not None
    base = POLICY.delays[attempts - 1]
    assert 0.8 * base - 1e-6 <= (at - NOW).total_seconds() <= 1.2 * base + 1e-6


@given(attempts=st.integers(1, 11), spread=st.floats(0, 1))
def test_waits_never_shrink_beyond_the_jitter(attempts: int, spread: float) -> None:
    this = next_attempt(POLICY, attempts, NOW, spread=spread)
    following = next_attempt(POLICY, attempts + 1, NOW, spread=spread)
    assert this is not None
    assert following is not None
    assert following >= this


@given(attempts=st.integers(13, 10_000))
def test_the_budget_ends(attempts: int) -> None:
    assert next_attempt(POLICY, attempts, NOW, spread=0.5) is None


@given(attempts=st.integers(1, 12), spread=st.floats(0, 1), wish=st.floats(0, 1e9))
def test_retry_after_only_lengthens_and_is_bounded(attempts: int, spread: float, wish: float) -> None:
    plain = next_attempt(POLICY, attempts, NOW, spread=spread)
    asked = next_attempt(POLICY, attempts, NOW, spread=spread, retry_after=wish)
    assert plain is not None
    assert asked is not None
    assert plain <= asked <= max(plain, NOW + timedelta(hours=6))


@given(st.lists(st.booleans(), max_size=60))
def test_the_breaker_is_open_exactly_after_five_failures_in_a_row(outcomes: list[bool]) -> None:
    health, row = Health(), 0
    for success in outcomes:
        health = succeeded(health, NOW) if success else failed(BreakerPolicy(), health, NOW)
        row = 0 if success else row + 1
        assert (health.breaker == "open") == (row >= 5)
        assert (health.probe_at is not None) == (row >= 5)
        if health.probe_at is not None:
            assert timedelta(seconds=30) <= health.probe_at - NOW <= timedelta(minutes=30)


def test_an_endpoint_is_given_up_after_five_days_and_ten_tries() -> None:
    policy = BreakerPolicy()
    ten = Health(breaker="open", failures=10, fail_since=NOW)
    assert not given_up(policy, ten, NOW + timedelta(days=4, hours=23))
    assert given_up(policy, ten, NOW + timedelta(days=5))
    assert not given_up(policy, Health(breaker="open", failures=9, fail_since=NOW), NOW + timedelta(days=50))
