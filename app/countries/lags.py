"""How long each step takes: sampled, analysed, reported, alerted, acknowledged; median and 90th percentile a country.

Worked out once a day over the last 365 days and kept, so that the page costs one query whatever the number of reports. A value is
made of rows with the labels it is kept for: what the public gets rests on CLEAR rows alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import JSON, case, cast, delete, literal, select, type_coerce
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from app.auth.permissions import Action, Principal, may
from app.context import AppContext
from app.persistence.models import Acknowledgement, Alert, Lag, Organisation, Report, ReportVersion, Sample, Task
from app.persistence.tasks import insert_once, task_values
from app.sharing.masking import MASK_BELOW

PUBLIC, SHARED = ("CLEAR",), ("CLEAR", "GREEN")
DAYS = 365
STEPS = {
    "analysed": "Sampled to analysed",
    "reported": "Sampled to reported",
    "alerted": "Reported to alerted",
    "acknowledged": "Alerted to acknowledged",
}
FETCH = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step in a country, in hours. `masked`: too few for this reader; the times are then None."""

    number: int | None
    median: float | None
    p90: float | None
    masked: bool = False


def quantile(counted: Counter[float], share: float) -> float:
    """The smallest value below or at which that share of the counted values lies."""
    wanted = share * sum(counted.values())
    seen = 0
    for value in sorted(counted):
        seen += counted[value]
        if seen >= wanted:
            return value
    raise ValueError("nothing was counted")


def labels_of(reader: Principal | None) -> tuple[str, ...]:
    return SHARED if may(reader, Action.COUNTS_READ) else PUBLIC


def lags_of(
    session: Session, reader: Principal | None, country: str | None = None
) -> tuple[dict[str, dict[str, Step]], datetime | None]:
    """By country and step, and when they were made. One query."""
    labels = labels_of(reader)
    query = select(Lag).where(Lag.labels == ",".join(labels)).order_by(Lag.country, Lag.step)
    if country is not None:
        query = query.where(Lag.country == country)
    found: dict[str, dict[str, Step]] = defaultdict(dict)
    made: datetime | None = None
    for row in session.scalars(query):
        made = row.made_at
        hidden = labels == PUBLIC and row.number < MASK_BELOW
        found[row.country][row.step] = (
            Step(number=None, median=None, p90=None, masked=True)
            if hidden
            else Step(number=row.number, median=row.median, p90=row.p90)
        )
    return dict(found), made


def enqueue(session: Session, now: datetime) -> bool:
    """Have the day's lags worked out; False where that was asked before."""
    values = task_values(topic="lags", key=f"{now:%Y-%m-%d}", lane="lags", priority=0, payload={}, now=now)
    return insert_once(session, Task, values)


def lags_handler(context: AppContext) -> Any:
    """The handler of the topic `lags`: reads first, then puts the new values in place of the old."""

    def handle(_: TaskItem) -> Result:
        now = context.now()
        rows: list[dict[str, Any]] = []
        for labels in (PUBLIC, SHARED):
            with context.database.read(patient=True) as session:
                rows += work_out(session, labels, now)
        with context.database.write() as session:
            session.execute(delete(Lag))
            if rows:
                session.execute(Lag.__table__.insert(), rows)  # type: ignore[attr-defined]
        return DONE

    return handle


def work_out(session: Session, labels: Sequence[str], now: datetime) -> list[dict[str, Any]]:
    """The rows of one set of labels."""
    hours: dict[tuple[str, str], Counter[float]] = defaultdict(Counter)
    for step, country, spent in (*_of_reports(session, labels, now), *_of_alerts(session, labels, now)):
        hours[country, step][max(0.0, round(spent, 1))] += 1
    return [
        {
            "country": country, "labels": ",".join(labels), "step": step, "number": sum(counted.values()),
            "median": quantile(counted, 0.5), "p90": quantile(counted, 0.9), "made_at": now,
        }
        for (country, step), counted in sorted(hours.items())
    ]  # fmt: skip


def _of_reports(session: Session, labels: Sequence[str], now: datetime) -> Iterable[tuple[str, str, float]]:
    body = case((ReportVersion.body.like("{%"), ReportVersion.body), else_=literal("{}"))  # an erased one is no JSON
    sqlite = session.get_bind().dialect.name == "sqlite"  # its CAST makes a number of it
    analysed = (type_coerce(body, JSON) if sqlite else cast(body, JSON))["date_analysed"].as_string()
    rows = session.execute(
        select(Report.country, Sample.sampled_on, Report.received_at, analysed)
        .join(Sample, Sample.report_id == Report.id)
        .join(ReportVersion, (ReportVersion.report_id == Report.id) & (ReportVersion.version == Report.version))
        .join(Organisation, Organisation.id == Report.org_id)
        .where(
            Report.tlp.in_(labels), Report.state == "active", Report.historical.is_(False), Organisation.test.is_(False),
            Sample.date_precision == "day", Report.received_at >= now - timedelta(days=DAYS),
        )
        .execution_options(yield_per=FETCH)
    )  # fmt: skip
    for country, sampled_on, received_at, day in rows:
        start = datetime.combine(sampled_on, time(), UTC)
        yield "reported", country, (received_at - start).total_seconds() / 3600
        if day and len(day) == 10:
            yield "analysed", country, 24.0 * (date.fromisoformat(day) - sampled_on).days


def _of_alerts(session: Session, labels: Sequence[str], now: datetime) -> Iterable[tuple[str, str, float]]:
    since = now - timedelta(days=DAYS)
    common = (Alert.tlp.in_(labels), Alert.test.is_(False), Alert.issued_at.is_not(None), Alert.issued_at >= since)
    for country, received, issued in session.execute(
        select(Alert.country, Alert.received_at, Alert.issued_at).where(*common, Alert.country.is_not(None))
    ):
        if country is not None and issued is not None:
            yield "alerted", country, (issued - received).total_seconds() / 3600
    for country, issued, at in session.execute(
        select(Organisation.country, Alert.issued_at, Acknowledgement.at)
        .join(Alert, Alert.id == Acknowledgement.alert_id)
        .join(Organisation, Organisation.id == Acknowledgement.org_id)
        .where(*common, Acknowledgement.kind == "acknowledged", Organisation.kind == "authority", Organisation.test.is_(False))
    ):
        if issued is not None:
            yield "acknowledged", country, (at - issued).total_seconds() / 3600


def spent(hours: float | None) -> str:
    """A time for people: 40 min, 5 h, 12 days."""
    if hours is None:
        return ""
    if hours < 1:
        return f"{round(hours * 60)} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
