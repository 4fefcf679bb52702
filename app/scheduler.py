"""Scheduled work. A tick only inserts a task keyed by job and nominal time, so that any number of schedulers is harmless.

The worker does what the tick asks. Jobs: `heartbeat` (Mondays 06:00 UTC, a signed message to each endpoint that proves the
path), `digest`, `evaluate` (daily), `snapshot` (daily, the facts of the
ranking), `housekeeping` (hourly) and `seal` (each minute, over the audit trail).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from alerts.render import iso
from app.audit.seals import seal_due
from app.auth.throttle import forget_failures
from app.context import AppContext
from app.countries.lags import enqueue as enqueue_lags
from app.intake.drafts import forget_old
from app.law.rescreen import enqueue_if_stale
from app.notifications.evaluation_queue import enqueue_daily
from app.notifications.mailing import enqueue_digests
from app.notifications.reminders import remind_of_measures
from app.notifications.retention import forget_deliveries
from app.notifications.telling import tell_of_silence
from app.persistence.models import Attempt, IdempotencyRecord, Subscription, Task
from app.persistence.tasks import insert_once, repair_parked, task_values
from app.priorities.snapshots import LABELS, make

log = logging.getLogger("nps.scheduler")

CATCH_UP = timedelta(hours=48)
IDEMPOTENCY_KEPT = timedelta(hours=72)
INTERNAL_KEPT = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A named schedule: `cron` are the fields of a CronTrigger in UTC."""

    name: str
    cron: dict[str, Any]
    catches_up: bool = True  # False: one run does what all the missed ones would have done

    def trigger(self) -> Any:
        return CronTrigger(timezone=UTC, **self.cron)


JOBS = (
    Job(name="heartbeat", cron={"day_of_week": "mon", "hour": 6, "minute": 0}),
    Job(name="digest", cron={"day_of_week": "mon", "hour": 6, "minute": 30}),
    Job(name="evaluate", cron={"hour": 3, "minute": 0}),
    Job(name="snapshot", cron={"hour": 1, "minute": 0}),
    Job(name="lags", cron={"hour": 2, "minute": 0}, catches_up=False),
    Job(name="housekeeping", cron={"minute": 7}),
    Job(name="seal", cron={"minute": "*"}, catches_up=False),
)


def insert_tick(session: Session, job: str, nominal: datetime, now: datetime) -> bool:
    """Insert the task of one nominal time; False where any scheduler did before."""
    values = task_values(
        topic="tick",
        key=f"{job}:{nominal.astimezone(UTC):%Y-%m-%dT%H:%M}",
        lane="tick",
        priority=0,
        payload={"job": job, "nominal": iso(nominal)},
        now=now,
    )
    return insert_once(session, Task, values)


def nominal_times(job: Job, after: datetime, until: datetime) -> list[datetime]:
    """The job's nominal times in the half-open span (after, until], in order."""
    trigger = job.trigger()
    found: list[datetime] = []
    previous: datetime | None = None
    moment = after + timedelta(microseconds=1)
    while True:
        following = trigger.get_next_fire_time(previous, moment)
        if following is None or following > until:
            return found
        found.append(following)
        previous, moment = following, following + timedelta(microseconds=1)


def _missed(job: Job, now: datetime) -> list[datetime]:
    """The nominal times to insert on start: those of 48 hours, or the last one where one run is enough."""
    return nominal_times(job, now - CATCH_UP, now) if job.catches_up else nominal_times(job, now - timedelta(minutes=1), now)


class Scheduler:
    """Ticks of this process. On start it inserts what was missed in the last 48 hours; inserting twice is harmless."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._scheduler = BackgroundScheduler(
            timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        )
        for job in JOBS:
            self._scheduler.add_job(self._ticker(job), job.trigger(), id=job.name)

    def start(self) -> None:
        self.catch_up()
        self._scheduler.start()

    def stop(self) -> None:
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)

    def catch_up(self) -> int:
        """Insert every tick of the last 48 hours that is not there yet; the number inserted."""
        now = self._context.now()
        with self._context.database.write() as session:
            known = session.scalar(select(Task.id).where(Task.topic == "tick").limit(1))
            if known is None:
                return 0  # a new installation has missed nothing
            return sum(insert_tick(session, job.name, nominal, now) for job in JOBS for nominal in _missed(job, now))

    def _ticker(self, job: Job) -> Callable[[], None]:
        def tick() -> None:
            now = self._context.now()
            due = nominal_times(job, now - (CATCH_UP if job.catches_up else timedelta(minutes=2)), now)
            if due:
                with self._context.database.write() as session:
                    insert_tick(session, job.name, due[-1], now)
                self._context.wake_worker()

        return tick


def tick_handler(context: AppContext) -> Callable[[TaskItem], Result]:
    """The handler of the topic `tick`."""

    def handle(task: TaskItem) -> Result:
        now = context.now()
        if task.payload["job"] == "snapshot":
            day = datetime.fromisoformat(task.payload["nominal"]).date() - timedelta(days=1)
            for labels in sorted(set(LABELS.values())):
                make(context.database, day, labels, now)
            return DONE
        with context.database.write() as session:
            match task.payload["job"]:
                case "heartbeat":
                    heartbeats(session, task.payload["nominal"], now)
                case "digest":
                    enqueue_digests(session, task.payload["nominal"], now)
                case "evaluate":
                    enqueue_daily(session, datetime.fromisoformat(task.payload["nominal"]), now)
                case "lags":
                    enqueue_lags(session, now)
                case "housekeeping":
                    housekeeping(session, now)
                    remind_of_measures(session, now)
                    tell_of_silence(session, now)
                    forget_deliveries(session, now)
                    enqueue_if_stale(session, context.chemistry.version, now)
                case "seal":
                    seal_due(session, now)
                case other:
                    return Result(outcome="cancelled", error=f"there is no job {other!r}")
        return DONE

    return handle


def heartbeats(session: Session, nominal: str, now: datetime) -> int:
    """Enqueue a signed heartbeat to every active webhook, once a nominal time; the number of them."""
    endpoints = session.scalars(
        select(Subscription.id).where(
            Subscription.channel == "webhook", Subscription.state == "active", Subscription.deleted_at.is_(None)
        )
    ).all()
    body = json.dumps({"type": "heartbeat", "timestamp": iso(now), "data": {"nominal": nominal}}, separators=(",", ":"))
    return sum(
        insert_once(
            session,
            Task,
            task_values(
                topic="heartbeat",
                key=f"{endpoint}:{nominal}",
                lane=f"ping:{endpoint}",
                priority=0,
                payload={"subscription": endpoint, "body": body},
                now=now,
            ),
        )
        for endpoint in endpoints
    )


def housekeeping(session: Session, now: datetime) -> None:
    """Drop kept answers older than 72 hours and finished tasks of inner work older than 14 days; free what is parked in error.

    Deliveries and their attempts stay for 13 months (`app.notifications.retention`).
    """
    forget_failures(session, now)
    forget_old(session, now)
    session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.created_at < now - IDEMPOTENCY_KEPT))
    old = select(Task.id).where(
        Task.topic.in_(
            (
                "tick",
                "fanout",
                "publish",
                "heartbeat",
                "ping",
                "confirm",
                "digest",
                "evaluate",
                "remind",
                "tell",
                "dossier",
                "impact",
                "lags",
            )
        ),
        Task.state.in_(("done", "cancelled")),
        Task.done_at < now - INTERNAL_KEPT,
    )
    session.execute(delete(Attempt).where(Attempt.task_id.in_(old)))
    session.execute(delete(Task).where(Task.id.in_(old)))
    freed = repair_parked(session, now)
    if freed:
        log.warning("%d deliveries were parked though their endpoints take messages; they go now", freed)
