"""When to try again, and the health of an endpoint. Pure: attempts and a clock in, a time or "give up" out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Delays in seconds after attempts 1, 2, ...; there is one more attempt than delays: 13 over 75.7 hours by default."""

    delays: tuple[float, ...] = (
        5, 30, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR, 24 * HOUR, 24 * HOUR,
    )  # fmt: skip
    jitter: float = 0.2
    retry_after_cap: float = 6 * HOUR

    @property
    def attempts(self) -> int:
        return len(self.delays) + 1


def next_attempt(
    policy: RetryPolicy, attempts: int, now: datetime, *, spread: float, retry_after: float | None = None
) -> datetime | None:
    """The time of the next attempt after `attempts` (at least 1) failed ones; None where the budget is spent.

    `spread` in [0, 1] places the delay between (1 - jitter) and (1 + jitter) times its base. `retry_after` in seconds, as a 429
    or 503 asked, lengthens it to at most `retry_after_cap`, and never shortens it.
    """
    if attempts > len(policy.delays):
        return None
    delay = policy.delays[attempts - 1] * (1 - policy.jitter + 2 * policy.jitter * spread)
    if retry_after is not None:
        delay = max(delay, min(retry_after, policy.retry_after_cap))
    return now + timedelta(seconds=delay)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """Failures in a row that open the breaker, the delays between probes, and when an endpoint is given up."""

    opens_at: int = 5
    first_probe: float = 30.0
    longest_probe: float = 30 * MINUTE
    catch_up_interval: float = 0.2
    disable_after: timedelta = timedelta(days=5)
    disable_warning: timedelta = timedelta(days=4)
    disable_attempts: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How an endpoint has been doing. `failures` counts those in a row; `fail_since` is the time of the first of them."""

    breaker: Literal["closed", "open"] = "closed"
    failures: int = 0
    fail_since: datetime | None = None
    probe_at: datetime | None = None
    last_success_at: datetime | None = None


def succeeded(health: Health, now: datetime) -> Health:
    """After a success: closed, whatever went before."""
    return replace(health, breaker="closed", failures=0, fail_since=None, probe_at=None, last_success_at=now)


def failed(policy: BreakerPolicy, health: Health, now: datetime) -> Health:
    """After a failure: open from the fifth in a row on, with the time of the next probe (30 s, doubling to 30 min)."""
    failures = health.failures + 1
    since = health.fail_since or now
    if failures < policy.opens_at:
        return replace(health, failures=failures, fail_since=since)
    doublings = min(failures - policy.opens_at, 32)
    wait = min(policy.first_probe * 2**doublings, policy.longest_probe)
    return replace(health, breaker="open", failures=failures, fail_since=since, probe_at=now + timedelta(seconds=wait))


def given_up(policy: BreakerPolicy, health: Health, now: datetime) -> bool:
    """Whether the endpoint is to be disabled: no success for 5 days, over at least 10 attempts or probes."""
    return (
        health.fail_since is not None
        and now - health.fail_since >= policy.disable_after
        and health.failures >= policy.disable_attempts
    )
