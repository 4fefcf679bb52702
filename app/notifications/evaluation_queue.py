"""When the statistical rules run: a minute and a half after a report, and once a day. Nothing here commits."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from app.persistence.models import Task
from app.persistence.tasks import insert_once, task_values

DELAY = timedelta(seconds=90)
LOOK_BACK = timedelta(minutes=10)
DAILY_LOOK_BACK = timedelta(days=2)


def enqueue(session: Session, received_at: datetime, now: datetime) -> bool:
    """Write the evaluation of the minute in which a report was received; False where there is one.

    It runs a minute and a half later, so that what commits late is seen. One of a replay is due as of its own minute, so that
    evaluations go in the order of the time they look back from.
    """
    minute = received_at.replace(second=0, microsecond=0)
    values = task_values(
        topic="evaluate",
        key=f"{minute:%Y-%m-%dT%H:%M}Z",
        lane="evaluate",
        priority=1,
        payload={"since": (minute - LOOK_BACK).isoformat(), "as_of": (minute + timedelta(minutes=1)).isoformat()},
        now=now,
        run_at=max(now, minute + DELAY) if now - received_at < timedelta(days=1) else minute + DELAY,
    )
    return insert_once(session, Task, values)


def enqueue_daily(session: Session, nominal: datetime, now: datetime) -> bool:
    """The daily evaluation of all that was received in two days."""
    values = task_values(
        topic="evaluate",
        key=f"daily:{nominal:%Y-%m-%d}",
        lane="evaluate",
        priority=1,
        payload={"since": (nominal - DAILY_LOOK_BACK).isoformat(), "as_of": nominal.isoformat()},
        now=now,
        run_at=min(now, nominal),
    )
    return insert_once(session, Task, values)
