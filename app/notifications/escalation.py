"""Clocks of urgent alerts: who has not acknowledged or decided in time, and who is told next.

A clock is an `escalate` task written with the deliveries of a revision and keyed by alert, authority and step, so it survives
restarts and fires once. Steps: 1 the same endpoints again and the first contact of the authority, 2 the contacts after the
first, 3 the service's own people. Whatever was sent, the alert shows as overdue to the operator. Silence neither issues nor
drops an alert.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from alerts.policies import ACKNOWLEDGE_WITHIN
from app.context import AppContext
from app.notifications import queries
from app.notifications.contacts import Recipient, duty_officers, recipients
from app.notifications.raising import LIVE_STATES
from app.persistence.models import Alert, AlertRevision, Organisation, Subscription, Task
from app.persistence.tasks import insert_all_once, insert_once, task_values

STEP_AFTER = {3: timedelta(hours=2), 4: timedelta(minutes=30)}
LAST_STEP = 3
DECIDE = "decide"
NO_AUTHORITY = "no-authority"


def start_clocks(session: Session, alert: Alert, revision: AlertRevision, now: datetime) -> int:
    """Write the clocks of a level 3 or 4 revision: one for each authority of its countries, one for the decision; the number of
    new ones.

    A country without an authority is told to the operator at once.
    """
    clock = ACKNOWLEDGE_WITHIN.get(revision.level)
    if clock is None or alert.test or revision.state not in LIVE_STATES:
        return 0
    authorities = session.scalars(_AUTHORITIES, {"countries": list(revision.countries)}).all()
    rows = [_clock(alert, revision.level, org_id, 1, now + clock, now) for org_id in authorities]
    if revision.countries and not authorities:
        rows.append(_clock(alert, revision.level, NO_AUTHORITY, LAST_STEP, now, now))
    if revision.audience == "country":
        rows.append(_clock(alert, revision.level, DECIDE, LAST_STEP, alert.received_at + clock, now))
    return insert_all_once(session, Task, rows)


_AUTHORITIES = select(Organisation.id).where(
    Organisation.kind == "authority",
    Organisation.country.in_(bindparam("countries", expanding=True)),
    Organisation.test.is_(False),
)


def _clock(alert: Alert, level: int, whom: str, step: int, at: datetime, now: datetime) -> dict[str, Any]:
    """The row of a clock."""
    return task_values(
        topic="escalate",
        key=f"{alert.id}:{whom}:{level}:{step}",
        lane="escalate",
        priority=level,
        payload={"alert": alert.id, "whom": whom, "step": step, "level": level, "since": now.isoformat()},
        now=now,
        run_at=at,
    )


def stop_clocks(session: Session, alert_id: str, org_id: str, now: datetime) -> None:
    """Cancel the later steps for an authority that acknowledged."""
    session.execute(
        update(Task)
        .where(Task.topic == "escalate", Task.key.startswith(f"{alert_id}:{org_id}:", autoescape=True), Task.state == "ready")
        .values(state="cancelled", done_at=now, last_error="acknowledged")
    )


def stop_all_clocks(session: Session, alert_id: str, now: datetime) -> None:
    """Cancel every step of an alert that is closed."""
    session.execute(
        update(Task)
        .where(Task.topic == "escalate", Task.key.startswith(f"{alert_id}:", autoescape=True), Task.state == "ready")
        .values(state="cancelled", done_at=now, last_error="the alert was closed")
    )


def escalate_handler(context: AppContext) -> Callable[[TaskItem], Result]:
    """The handler of the topic `escalate`: tells those of this step, and writes the clock of the next."""

    def handle(task: TaskItem) -> Result:
        now, whom, step = context.now(), task.payload["whom"], task.payload["step"]
        with context.database.write() as session:
            alert = session.get(Alert, task.payload["alert"])
            if alert is None or alert.state not in LIVE_STATES or alert.level < task.payload["level"]:
                return Result(outcome="cancelled", error="the alert no longer asks for an answer")
            if not _still_open(session, alert, whom):
                return Result(outcome="cancelled", error="answered in time")
            if whom in (DECIDE, NO_AUTHORITY):
                _remind(session, alert, duty_officers(session, now), f"{whom}:{task.payload['level']}", now)
                return DONE
            if step == 1:
                _send_again(session, alert, whom, now)
            told = duty_officers(session, now) if step == LAST_STEP else recipients(session, whom, now, step=step)
            _remind(session, alert, told, f"{whom}:{task.payload['level']}:{step}", now)
            if step < LAST_STEP:
                after = now + STEP_AFTER[task.payload["level"]]
                insert_once(session, Task, _clock(alert, task.payload["level"], whom, step + 1, after, now))
        return DONE

    return handle


def _still_open(session: Session, alert: Alert, whom: str) -> bool:
    if whom == NO_AUTHORITY:
        return True
    if whom == DECIDE:
        return not queries.ever_full(session, alert.id)
    return not queries.is_acknowledged(session, alert.id, whom)


def _send_again(session: Session, alert: Alert, org_id: str, now: datetime) -> None:
    """Make the newest delivery to each active endpoint of the organisation due again: the same id, a new attempt."""
    endpoints = session.scalars(
        select(Subscription.id).where(
            Subscription.org_id == org_id,
            Subscription.state == "active",
            Subscription.breaker == "closed",
            Subscription.deleted_at.is_(None),
        )
    ).all()
    for endpoint in endpoints:
        newest = session.scalars(
            select(Task)
            .where(Task.topic == "deliver", Task.lane == endpoint, Task.key.startswith(f"{alert.id}.", autoescape=True))
            .order_by(Task.seq_no.desc())
            .limit(1)
            .with_for_update()
        ).first()
        if newest is not None and newest.state in ("done", "dead"):
            newest.state, newest.run_at, newest.attempts, newest.done_at = "ready", now, 0, None


def _remind(session: Session, alert: Alert, told: Iterable[Recipient], key: str, now: datetime) -> None:
    for one in told:
        values = task_values(
            topic="remind",
            key=f"{alert.id}:{key}:{hashlib.sha256(one.email.encode()).hexdigest()[:24]}",
            lane="remind",
            priority=alert.level,
            payload={"alert": alert.id, "to": one.email, "org": one.org_id},
            now=now,
        )
        insert_once(session, Task, values)
