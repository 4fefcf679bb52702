"""Tests done: the denominators of prevalence, and rates over exactly the laboratories and months that stated them.

A rate's numerator counts only detections of laboratories that stated how many samples they tested in that month, so that a
growing number of reporters cannot look like a growing prevalence. Statements for a quarter or a year give no month a number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal, Role, visible_tlp
from app.persistence.models import ActivityReport
from app.sharing.counts import Cut, counts
from app.statements.service import current, readable

Z95 = 1.959964
FEW_TESTS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Detections and tests of one month, of the laboratories that stated tests; per 1,000 with the 95 % Wilson interval."""

    month: str
    tests: int
    detections: int
    per_1000: float
    low: float
    high: float
    few: bool  # under 50 tests: shown, but no trend is read from it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Months in order, only those with tests; how many laboratories stated any, of how many that reported the substance."""

    months: tuple[Rate, ...]
    laboratories: int
    reporting: int


def wilson(found: int, tests: int) -> tuple[float, float]:
    """The 95 % Wilson interval of a share, as two shares of 0 to 1."""
    if tests == 0:
        return 0.0, 1.0
    share, square = min(found / tests, 1.0), Z95 * Z95
    centre = (share + square / (2 * tests)) / (1 + square / tests)
    half = Z95 / (1 + square / tests) * sqrt(share * (1 - share) / tests + square / (4 * tests * tests))
    return max(0.0, centre - half), min(1.0, centre + half)


def stated_tests(
    session: Session, principal: Principal | None, months: Sequence[str], *, contexts: Sequence[str] = ()
) -> dict[tuple[str, str, str], int]:
    """Samples tested by laboratory (organisation id), country and month, over the statements that the reader may see.

    A laboratory that states several contexts of one month has them added up; with `contexts` only statements of these count,
    so one that is not told apart by context counts for none.
    """
    visible: ColumnElement[bool]
    if principal is None:
        visible = (ActivityReport.tlp == "CLEAR") & ActivityReport.test.is_(False)
    elif principal.role in {Role.INDUSTRY, Role.ADMIN}:
        visible = ActivityReport.tlp.in_(visible_tlp(principal, own_country=False) or ("CLEAR",)) & ActivityReport.test.is_(False)
    else:
        visible = readable(ActivityReport, principal)
    by = (ActivityReport.org_id, ActivityReport.country, ActivityReport.period)
    query = select(*by, func.sum(ActivityReport.samples_tested)).where(
        visible, current(ActivityReport), ActivityReport.period.in_(months)
    )
    if contexts:
        query = query.where(ActivityReport.context.in_(contexts))
    return {(org, country, month): int(n) for org, country, month, n in session.execute(query.group_by(*by))}


def samples_tested(
    session: Session, principal: Principal | None, months: Sequence[str], *, country: str | None = None
) -> dict[tuple[str, str], int]:
    """The same by laboratory and month, of one country or of all."""
    found: Counter[tuple[str, str]] = Counter()
    for (org, where, month), n in stated_tests(session, principal, months).items():
        if country in (None, where):
            found[org, month] += n
    return dict(found)


def rates_by_month(
    session: Session,
    principal: Principal | None,
    substance_ids: Sequence[str],
    months: Sequence[str],
    *,
    country: str | None = None,
    known: Mapping[tuple[str, str], int] | None = None,
) -> Rates:
    """Detections per 1,000 tests by month. Two queries; one where the detections by laboratory and month are `known`."""
    tests = samples_tested(session, principal, months, country=country)
    cut = Cut(substances=substance_ids, months=(min(months), max(months)), countries=None if country is None else (country,))
    found = known
    if found is None:
        found = {(org, month): n for org, month, n in session.execute(counts(principal, ("org_id", "month"), cut))}
    sums: dict[str, tuple[int, int]] = {}  # tests and detections
    for key, n in tests.items():
        tested, detected = sums.get(key[1], (0, 0))
        sums[key[1]] = tested + n, detected + found.get(key, 0)
    rates = []
    for month in months:
        total, detections = sums.get(month, (0, 0))
        if not total:
            continue
        low, high = wilson(detections, total)
        rates.append(
            Rate(
                month=month, tests=total, detections=detections, per_1000=round(1000 * detections / total, 3),
                low=round(1000 * low, 3), high=round(1000 * high, 3), few=total < FEW_TESTS,
            )
        )  # fmt: skip
    return Rates(months=tuple(rates), laboratories=len({org for org, _ in tests}), reporting=len({org for org, _ in found}))
