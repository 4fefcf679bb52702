"""One country as its authority needs it: what is found, what is new, what the service lacks from there.

Counts are of what the reader may see. Who reports and when they last did shows to the country's authority and to analysts alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal, Role
from app.persistence.models import ActivityReport, Detection, HarmCase, Measure, Organisation, Report, Substance
from app.sharing.counts import LAST_MONTH, Cut, counts
from app.sharing.masking import NO_DATA, Total, counted
from app.sharing.rows import readable_cases, readable_detections
from app.statements.service import current, readable
from app.substances.changes import first_month_of
from app.substances.queries import LaboratoryYears, MonthPoint, MonthSeries, months_back
from chem.stored import status_with

MONTHS = 24
MOST = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A substance in the country: detections of the last 12 months, and its first month there."""

    id: str
    name: str
    group: str
    status: str
    detections: int
    first_month: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    name: str
    last: datetime | None
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """`gaps` are sentences of what is lacking; `laboratories` is None for readers who may not know them."""

    series: MonthSeries
    most: tuple[Found, ...]
    new: tuple[Found, ...]
    laboratories: tuple[Laboratory, ...] | None
    gaps: tuple[str, ...]


def country_of(session: Session, reader: Principal, code: str, *, home: Sequence[str], now: datetime) -> Country:
    """Thirteen queries at most, whatever the number of rows. `home` are the instruments of the country: the status of a substance
    is over them and the UN conventions.
    """
    months = months_back(now, MONTHS)
    cells = session.execute(
        counts(reader, ("month", "confidence", "org_id"), Cut(countries=(code,), months=(months[0], months[-1])))
    ).all()
    found = _substances(session, reader, code, months)
    laboratories = _laboratories(session, reader, code, now)
    most = sorted((f for f in found if f.detections), key=lambda f: (-f.detections, f.name))[:MOST]
    new = sorted((f for f in found if f.first_month >= months[-12]), key=lambda f: (f.first_month, f.name), reverse=True)[:MOST]
    shown = select(Substance.id, Substance.matches).where(Substance.id.in_({f.id for f in (*most, *new)}))
    matches: dict[str, list[Any]] = dict(session.execute(shown).all())
    most, new = ([replace(f, status=status_with(f.status, matches[f.id], home)) for f in rows] for rows in (most, new))
    return Country(
        series=_series(cells, months),
        most=tuple(most),
        new=tuple(new),
        laboratories=laboratories,
        gaps=tuple(_gaps(session, reader, code, cells, months, laboratories)),
    )


def _series(cells: Sequence[Any], months: tuple[str, ...]) -> MonthSeries:
    split: Counter[tuple[str, str]] = Counter()
    by_laboratory: dict[str, Counter[str]] = defaultdict(Counter)
    for month, confidence, org, n in cells:
        split[month, confidence] += n
        by_laboratory[org][month] += n
    points = []
    for month in months:
        confirmed, probable = split[month, "confirmed"], split[month, "probable"]
        total = confirmed + probable
        points.append(
            MonthPoint(
                month=month, total=counted(total) if total else NO_DATA, confirmed=counted(confirmed), probable=counted(probable),
                arriving=month == months[-1],
            )
        )  # fmt: skip
    full = months[-25:-1] if len(months) > 24 else months[:-1]
    panel = tuple(
        LaboratoryYears(before=sum(found[m] for m in full[:-12]), last=sum(found[m] for m in full[-12:]))
        for found in by_laboratory.values()
    )
    total = sum(split.values())
    return MonthSeries(
        points=tuple(points), total=Total(cell=counted(total), at_least=total), laboratories=len(by_laboratory), panel=panel,
        masked=False,
    )  # fmt: skip


def _substances(session: Session, reader: Principal, code: str, months: tuple[str, ...]) -> list[Found]:
    """What was ever found in the country, in no order. Four queries at most."""
    rows = session.execute(
        select(Substance.id, Substance.name, Substance.chemical_group, Substance.legal_status).where(
            Substance.ordinary.is_(False), Substance.merged_into.is_(None)
        )
    ).all()
    first = first_month_of(session, reader, country=code)
    numbers = counts(reader, ("substance_id",), Cut(countries=(code,), months=(months[-12], LAST_MONTH)))
    lately = {str(key): int(n) for key, n in session.execute(numbers).all()}
    return [
        Found(id=key, name=name, group=group, status=status, detections=lately.get(key, 0), first_month=first[key])
        for key, name, group, status in rows
        if key in first
    ]


def knows_laboratories(reader: Principal, code: str) -> bool:
    return reader.role is Role.ANALYST or (reader.role is Role.AUTHORITY and reader.country == code)


def _laboratories(session: Session, reader: Principal, code: str, now: datetime) -> tuple[Laboratory, ...] | None:
    if not knows_laboratories(reader, code):
        return None
    # of each its newest alone: an index begins with it, however many there are
    newest = select(func.max(Report.received_at)).where(Report.org_id == Organisation.id).correlate(Organisation)
    rows = session.execute(
        select(Organisation.name, newest.scalar_subquery())
        .where(Organisation.kind == "lab", Organisation.country == code, Organisation.test.is_(False))
        .order_by(Organisation.name)
    )
    return tuple(Laboratory(name=name, last=last, silent=last is None or (now - last).days > 90) for name, last in rows)


def _gaps(
    session: Session,
    reader: Principal,
    code: str,
    cells: Sequence[Any],
    months: tuple[str, ...],
    laboratories: tuple[Laboratory, ...] | None,
) -> list[str]:
    gaps = []
    year = months[-12:]
    silent = [month for month in year[:-1] if month not in {cell[0] for cell in cells}]
    if silent:
        gaps.append(f"No detection was reported for {len(silent)} of the last 11 full months.")
    if laboratories is not None:
        quiet = sum(laboratory.silent for laboratory in laboratories)
        if not laboratories:
            gaps.append("No laboratory of this country is registered.")
        elif quiet:
            gaps.append(f"{quiet} of {len(laboratories)} laboratories sent nothing in 90 days.")
    tested = session.scalar(
        select(func.count()).where(
            readable(ActivityReport, reader),
            current(ActivityReport),
            ActivityReport.country == code,
            ActivityReport.period.in_(year),
        )
    )
    if not tested:
        gaps.append("No laboratory states how many samples it tested: counts have no denominator, so no rate can be given.")
    cases = session.scalar(
        select(func.count()).where(HarmCase.counted, readable_cases(reader), HarmCase.country == code, HarmCase.month >= year[0])
    )
    if not cases and knows_laboratories(reader, code):
        gaps.append("No harm case was reported in 12 months: harm is unknown, not nil.")
    unresolved = session.scalar(
        select(func.count()).where(
            readable_detections(reader), Detection.country == code, Detection.substance_id.is_(None), Detection.month >= year[0]
        )
    )
    if unresolved:
        gaps.append(f"{unresolved:,} detections of 12 months carry a label that names no one substance; analysts decide them.")
    if not session.scalar(select(func.count()).where(Organisation.kind == "authority", Organisation.country == code)):
        gaps.append("No authority of this country is registered: its alerts go to the operator.")
    if not session.scalar(select(func.count()).where(Measure.country == code)):
        gaps.append("No measure of this country is recorded.")
    return gaps
