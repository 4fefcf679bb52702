"""Reminders by e-mail: that an alert waits for an answer, that a measure is about to end. The handler of the topic `remind`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.channels.smtp import SmtpChannel
from alerts.mail import measure_reminder, message_id_of, reminder_message
from alerts.outbox import Result, TaskItem
from alerts.policies import ACKNOWLEDGE_WITHIN
from alerts.render import country_name
from alerts.values import AlertView, Reader
from app.context import AppContext
from app.notifications import links, queries
from app.notifications.contacts import recipients
from app.notifications.mailing import NO_RELAY, identity_of, link_of, sent
from app.notifications.raising import LIVE_STATES
from app.persistence.models import Alert, AlertRevision, Measure, Organisation, Person, Substance, Task
from app.persistence.tasks import insert_once, task_values

ANSWERED = "the alert no longer asks for an answer"
MEASURE_NOTICE = timedelta(days=30)


def remind_handler(context: AppContext, channel: SmtpChannel | None) -> Callable[[TaskItem], Result]:
    """One e-mail to one address, that an alert waits or that a measure ends; never what the alert says."""

    def handle(task: TaskItem) -> Result:
        if channel is None:
            return Result(outcome="cancelled", error=NO_RELAY)
        return _measure(context, channel, task) if "measure" in task.payload else _alert(context, channel, task)

    return handle


def _alert(context: AppContext, channel: SmtpChannel, task: TaskItem) -> Result:
    now = context.now()
    with context.database.read() as session:
        alert = session.get(Alert, task.payload["alert"])
        told = _told(session, task)
        if alert is None or alert.state not in LIVE_STATES or told is None:
            return Result(outcome="cancelled", error=ANSWERED)
        to, org = told
        if org.kind == "authority" and queries.is_acknowledged(session, alert.id, org.id):
            return Result(outcome="cancelled", error=ANSWERED)
        revision = session.scalars(
            select(AlertRevision).where(AlertRevision.alert_id == alert.id, AlertRevision.revision == alert.revision)
        ).one()
        view = _withheld(alert, revision, org)
    token = None
    if org.kind == "authority":
        token = links.token_of(context.secret, task.id)
        with context.database.write() as session:
            links.make(session, token, alert_id=alert.id, org_id=org.id, email=to, now=now)
    identity = identity_of(context, channel)
    message = reminder_message(
        view,
        identity=identity,
        to=to,
        at=now,
        message_id=message_id_of(task.id, identity),
        overdue_by=_span(now - ((alert.issued_at or alert.received_at) + ACKNOWLEDGE_WITHIN.get(revision.level, timedelta(0)))),
        acknowledge=link_of(context, token) if token else None,
    )
    return sent(channel, message)


def _told(session: Session, task: TaskItem) -> tuple[str, Organisation] | None:
    """The address and its organisation. A task of the first version names a person instead."""
    if "person" in task.payload:
        person = session.get(Person, task.payload["person"])
        if person is None or person.disabled_at is not None:
            return None
        return person.email, session.get_one(Organisation, person.org_id)
    return task.payload["to"], session.get_one(Organisation, task.payload["org"])


def _withheld(alert: Alert, revision: AlertRevision, org: Organisation) -> AlertView:
    reader = Reader(org_id=org.id, role=org.kind, country=None, test=False, tlp_max="CLEAR")
    return queries.view_of(alert, revision, None, evidence=(), acknowledgements=(), earlier=(), reader=reader, withheld=True)


def _measure(context: AppContext, channel: SmtpChannel, task: TaskItem) -> Result:
    with context.database.read() as session:
        measure = session.get(Measure, task.payload["measure"])
        if measure is None or measure.valid_until is None or measure.valid_until.isoformat() != task.payload["until"]:
            return Result(outcome="cancelled", error="the measure has another end by now")
        substance = session.get(Substance, measure.substance_id) if measure.substance_id else None
        name, kind, country, until = substance.name if substance else None, measure.kind, measure.country, measure.valid_until
    identity = identity_of(context, channel)
    message = measure_reminder(
        kind.replace("_", " "),
        name,
        country_name(country),
        until,
        identity=identity,
        to=task.payload["to"],
        at=context.now(),
        message_id=message_id_of(task.id, identity),
    )
    return sent(channel, message)


def remind_of_measures(session: Session, now: datetime) -> int:
    """Write a reminder for each measure that ends within 30 days, to the first contact of its authority, once an end; the
    number of new ones.
    """
    today: date = now.date()
    ending = session.scalars(
        select(Measure).where(Measure.valid_until >= today, Measure.valid_until <= today + MEASURE_NOTICE).order_by(Measure.id)
    ).all()
    written = 0
    for measure in ending:
        assert measure.valid_until is not None
        for one in recipients(session, measure.org_id, now, step=1):
            values = task_values(
                topic="remind",
                key=f"measure:{measure.id}:{measure.valid_until}",
                lane="remind",
                priority=1,
                payload={"measure": measure.id, "until": measure.valid_until.isoformat(), "to": one.email, "org": one.org_id},
                now=now,
            )
            written += insert_once(session, Task, values)
    return written


def _span(late: timedelta) -> str:
    minutes = max(0, int(late.total_seconds() // 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
