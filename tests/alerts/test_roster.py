"""Who is told when: contacts in their hours, deputies outside of them, the next ones after the first."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from alerts.roster import RosterLine, on_duty, told_now

TUESDAY_NOON = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def line(email: str = "a@x.example", **more: Any) -> RosterLine:
    values: dict[str, Any] = {
        "email": email, "deputy": None, "days": "1234567", "hours_from": None, "hours_until": None, "zone": "UTC", "until": None,
    }  # fmt: skip
    return RosterLine(**(values | more))


@pytest.mark.parametrize(
    ("hours", "zone", "days", "on"),
    [
        ((None, None), "UTC", "1234567", True),
        ((None, None), "UTC", "67", False),
        (("08:00", "17:00"), "UTC", "12345", True),
        (("13:00", "17:00"), "UTC", "12345", False),
        (("13:00", "17:00"), "Europe/Berlin", "12345", True),  # 13:00 there
        (("12:00", "13:00"), "UTC", "2", True),
        (("11:00", "12:00"), "UTC", "2", False),  # the end is no longer of it
        (("22:00", "13:00"), "UTC", "1", True),  # Monday's night runs into Tuesday
        (("22:00", "13:00"), "UTC", "2", False),  # Tuesday's has not begun
    ],
)
def test_duty_follows_days_hours_and_zone(hours: tuple[str | None, str | None], zone: str, days: str, on: bool) -> None:
    assert on_duty(line(hours_from=hours[0], hours_until=hours[1], zone=zone, days=days), TUESDAY_NOON) is on


def test_the_deputy_stands_in_and_without_one_the_contact_hears_all_the_same() -> None:
    off = {"hours_from": "00:00", "hours_until": "06:00"}
    assert told_now([line(deputy="d@x.example", **off)], TUESDAY_NOON, step=1) == ["d@x.example"]
    assert told_now([line(**off)], TUESDAY_NOON, step=1) == ["a@x.example"]


def test_steps_go_down_the_roster_and_skip_what_has_run_out() -> None:
    lines = [line("gone@x.example", until=date(2026, 11, 23)), line("a@x.example"), line("b@x.example"), line("c@x.example")]
    assert told_now(lines, TUESDAY_NOON, step=1) == ["a@x.example"]
    assert told_now(lines, TUESDAY_NOON, step=2) == ["b@x.example", "c@x.example"]
    assert told_now([line(deputy="d@x.example")], TUESDAY_NOON, step=2) == ["a@x.example", "d@x.example"]
    assert told_now([], TUESDAY_NOON, step=1) == []
