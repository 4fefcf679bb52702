"""Figures of the whole installation, read from its database when they are asked for: the same from every process."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.policies import ACKNOWLEDGE_WITHIN
from app.notifications.inbox import LIVE_STATES
from app.persistence.models import Acknowledgement, Alert, CurationItem, ImportJob, Subscription, Task
from app.persistence.session import Database


class Installation(Collector):
    """Collects the gauges with a handful of queries, each over an index of open rows."""

    def __init__(self, database: Database, now: datetime) -> None:
        self._database, self._now = database, now

    def collect(self) -> Iterable[Metric]:
        with self._database.read() as session:
            return [*_queue(session, self._now), *_endpoints(session), *_alerts(session, self._now), *_work(session)]


def _family(name: str, text: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(list(values), number)
    return family


def _queue(session: Session, now: datetime) -> list[Metric]:
    open_states = ("ready", "leased", "parked", "dead")
    counted = session.execute(
        select(Task.topic, Task.state, func.count()).where(Task.state.in_(open_states)).group_by(Task.topic, Task.state)
    ).all()
    oldest = session.execute(
        select(Task.topic, func.min(Task.run_at)).where(Task.state == "ready", Task.run_at <= now).group_by(Task.topic)
    ).all()
    last = session.scalar(select(func.max(Task.done_at)).where(Task.topic == "evaluate", Task.state == "done"))
    signals = [((), last.timestamp())] if last is not None else []
    return [
        _family("nps_queue_tasks", "Tasks of the outbox that are not finished", ("topic", "state"),
                (((topic, state), n) for topic, state, n in counted)),
        _family("nps_queue_oldest_seconds", "Age of the oldest task that is due", ("topic",),
                (((topic,), (now - since).total_seconds()) for topic, since in oldest)),
        _family("nps_signals_last_run_timestamp_seconds", "When the statistical rules last ran to their end", (), signals),
    ]  # fmt: skip


def _endpoints(session: Session) -> list[Metric]:
    rows = session.execute(
        select(Subscription.channel, Subscription.state, Subscription.breaker, func.count())
        .where(Subscription.deleted_at.is_(None))
        .group_by(Subscription.channel, Subscription.state, Subscription.breaker)
    ).all()
    text = "Endpoints by channel, state and breaker"
    return [_family("nps_endpoints", text, ("channel", "state", "breaker"), (((c, s, b), n) for c, s, b, n in rows))]


def _alerts(session: Session, now: datetime) -> list[Metric]:
    """Alerts that ask for an acknowledgement and have none from anybody, and those whose time for it is over."""
    rows = session.execute(
        select(Alert.level, Alert.issued_at).where(
            Alert.level.in_(ACKNOWLEDGE_WITHIN),
            Alert.state.in_(LIVE_STATES),
            Alert.test.is_(False),
            ~Alert.acknowledgements.any(Acknowledgement.kind == "acknowledged"),
        )
    ).all()
    waiting = dict.fromkeys(ACKNOWLEDGE_WITHIN, 0)
    overdue = dict(waiting)
    for level, issued in rows:
        waiting[level] += 1
        overdue[level] += issued is not None and now - issued > ACKNOWLEDGE_WITHIN[level]
    return [
        _family("nps_alerts_unacknowledged", "Alerts of levels 3 and 4 that nobody acknowledged", ("level",),
                (((str(level),), n) for level, n in waiting.items())),
        _family("nps_alerts_overdue", "Those of them whose time to acknowledge is over", ("level",),
                (((str(level),), n) for level, n in overdue.items())),
    ]  # fmt: skip


def _work(session: Session) -> list[Metric]:
    curation = session.scalar(select(func.count()).select_from(CurationItem).where(CurationItem.state == "open")) or 0
    unfinished = ImportJob.state.in_(("running", "waiting", "failed"))
    imports = session.execute(select(ImportJob.state, func.count()).where(unfinished).group_by(ImportJob.state)).all()
    return [
        _family("nps_curation_open", "Labels that wait for an analyst", (), [((), curation)]),
        _family("nps_imports", "Imports that are not done", ("state",), (((state,), n) for state, n in imports)),
    ]
