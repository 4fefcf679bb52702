"""What a date does to a match: none, only possible, or certain."""

from __future__ import annotations

from datetime import date
from enum import Enum

MONTHS_UNTIL_SETTLED = 18


class InForce(Enum):
    """Whether a text binds on a date."""

    NO = 0
    UNCERTAIN = 1
    YES = 2


def months_later(day: date, months: int) -> date:
    """The same day so many months later; the last day of the month where there is none."""
    index = day.year * 12 + day.month - 1 + months
    year, month = divmod(index, 12)
    for candidate in range(day.day, 27, -1):
        try:
            return date(year, month + 1, candidate)
        except ValueError:
            continue
    return date(year, month + 1, day.day if day.day < 28 else 28)


def in_force(
    as_of: date | None,
    *,
    not_before: date | None,
    effective_from: date | None,
    settled_from: date | None = None,
    until: date | None = None,
) -> InForce:
    """Whether an entry or rule binds on `as_of`; None asks without a date, so everything binds.

    `until` is the last day. Without `effective_from` a text is taken as binding from `settled_from`, or 18
    months after `not_before`; in between it is uncertain.
    """
    if as_of is None:
        return InForce.YES
    if until is not None and as_of > until:
        return InForce.NO
    first = not_before or effective_from
    if first is not None and as_of < first:
        return InForce.NO
    if effective_from is not None:
        return InForce.YES if as_of >= effective_from else InForce.UNCERTAIN
    if settled_from is not None:
        return InForce.YES if as_of >= settled_from else InForce.UNCERTAIN
    if not_before is None:
        return InForce.YES
    return InForce.YES if as_of >= months_later(not_before, MONTHS_UNTIL_SETTLED) else InForce.UNCERTAIN
