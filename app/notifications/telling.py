"""Word to owners and operators about endpoints that fail: one e-mail to each person, once a run of failures and reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.channels.smtp import SmtpChannel
from alerts.mail import endpoint_message, message_id_of
from alerts.outbox import DONE, Result, TaskItem
from app.context import AppContext
from app.notifications.mailing import NO_RELAY, identity_of, sent
from app.persistence.models import Organisation, Person, Subscription, Task
from app.persistence.tasks import insert_once, task_values

log = logging.getLogger("nps.worker")

FOR_OPERATORS = frozenset({"disabled", "blocked", "dead", "silent"})
SILENT_AFTER = timedelta(days=8)  # a weekly heartbeat and a day


def tell_handler(context: AppContext, channel: SmtpChannel | None) -> Callable[[TaskItem], Result]:
    """The handler of the topic `tell`. Without a person named it finds the people and writes a task for each."""

    def handle(task: TaskItem) -> Result:
        if "person" not in task.payload:
            with context.database.write() as session:
                count = _spread(session, context, task)
            log.warning("endpoint %s: %s; %d people are told", task.payload["subscription"], task.payload["reason"], count)
            return DONE
        with context.database.read() as session:
            person = session.get(Person, task.payload["person"])
            subscription = session.get(Subscription, task.payload["subscription"])
            if person is None or person.disabled_at is not None or subscription is None or subscription.deleted_at is not None:
                return Result(outcome="cancelled", error="the person or the endpoint is gone")
            to, error = person.email, subscription.last_error
        if channel is None:
            return Result(outcome="cancelled", error=NO_RELAY)
        identity = identity_of(context, channel)
        message = endpoint_message(
            task.payload["reason"],
            task.payload["subscription"],
            error,
            identity=identity,
            to=to,
            at=context.now(),
            message_id=message_id_of(task.id, identity),
        )
        return sent(channel, message)

    return handle


def tell_of_silence(session: Session, now: datetime) -> int:
    """Write word of each active webhook to which nothing got through for over a week, once a week; the number of new ones."""
    last = func.coalesce(Subscription.last_success_at, Subscription.created_at)
    silent = session.scalars(
        select(Subscription.id)
        .where(
            Subscription.channel == "webhook",
            Subscription.state == "active",
            Subscription.deleted_at.is_(None),
            last < now - SILENT_AFTER,
        )
        .order_by(Subscription.id)
    ).all()
    year, week, _ = now.isocalendar()
    return sum(
        insert_once(
            session,
            Task,
            task_values(
                topic="tell",
                key=f"{endpoint}:silent:{year}-W{week:02}",
                lane="tell",
                priority=2,
                payload={"subscription": endpoint, "reason": "silent"},
                now=now,
            ),
        )
        for endpoint in silent
    )


def _spread(session: Session, context: AppContext, task: TaskItem) -> int:
    subscription = session.get(Subscription, task.payload["subscription"])
    if subscription is None:
        return 0
    owners = select(Person.id).where(Person.org_id == subscription.org_id, Person.disabled_at.is_(None))
    people = set(session.scalars(owners))
    if task.payload["reason"] in FOR_OPERATORS:
        operators = select(Person.id).join(Organisation, Organisation.id == Person.org_id)
        people |= set(session.scalars(operators.where(Organisation.kind == "operator", Person.disabled_at.is_(None))))
    now = context.now()
    for person in sorted(people):
        values = task_values(
            topic="tell",
            key=f"{task.key}:{person}",
            lane="tell",
            priority=2,
            payload=task.payload | {"person": person},
            now=now,
        )
        insert_once(session, Task, values)
    return len(people)
