"""Who of a roster is told now: the contact in their hours, else the deputy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterLine:
    """One contact. `days` are ISO weekdays as digits; no hours means every hour; `until` is the last day of the line."""

    email: str
    deputy: str | None
    days: str
    hours_from: str | None
    hours_until: str | None
    zone: str
    until: date | None


def on_duty(line: RosterLine, now: datetime) -> bool:
    """Whether this moment falls into the line's days and hours, by its own clock. Hours may run over midnight."""
    local = now.astimezone(ZoneInfo(line.zone))
    if line.hours_from is None or line.hours_until is None:
        return str(local.isoweekday()) in line.days
    begins, ends = time.fromisoformat(line.hours_from), time.fromisoformat(line.hours_until)
    at = local.time().replace(tzinfo=None)
    if begins <= ends:
        return str(local.isoweekday()) in line.days and begins <= at < ends
    if at >= begins:
        return str(local.isoweekday()) in line.days
    return at < ends and str((local.isoweekday() - 2) % 7 + 1) in line.days  # the night of the day before


def in_force(lines: Sequence[RosterLine], now: datetime) -> list[RosterLine]:
    """The lines that have not run out, in order."""
    return [line for line in lines if line.until is None or now.astimezone(ZoneInfo(line.zone)).date() <= line.until]


def told_now(lines: Sequence[RosterLine], now: datetime, *, step: int) -> list[str]:
    """Addresses told at a step of the clock: 1 the first contact, 2 all after the first.

    A contact outside of their hours is stood in for by the deputy, where there is one; else they are told all the same:
    somebody must hear. With a single contact step 2 tells that one again, and the deputy.
    """
    valid = in_force(lines, now)
    if not valid:
        return []
    if step == 1:
        return [_address(valid[0], now)]
    if len(valid) == 1:
        return list(dict.fromkeys(a for a in (valid[0].email, valid[0].deputy) if a))
    return list(dict.fromkeys(_address(line, now) for line in valid[1:]))


def _address(line: RosterLine, now: datetime) -> str:
    return line.email if on_duty(line, now) or not line.deputy else line.deputy
