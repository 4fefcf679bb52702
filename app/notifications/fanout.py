"""From a revision to its deliveries and to the feed: the handlers of the topics `fanout` and `publish`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from ulid import ULID

from alerts.outbox import Result, TaskItem
from alerts.policies import detail_for, hears, reader_covered
from app.context import AppContext
from app.notifications import queries
from app.notifications.bodies import body_row, load_subject
from app.notifications.escalation import start_clocks
from app.persistence.models import Alert, AlertRevision, Body, FeedItem, Organisation, Subscription, Task
from app.persistence.outbox import end_within
from app.persistence.tasks import cancel_tasks, insert_all_once, task_values

HELD_BACK = 2  # the highest level that a daily limit leaves to the digest
HEARING_STATES = ("active", "paused", "disabled")


def message_id(task_id: str) -> str:
    """The `webhook-id` of a delivery: the same at every attempt and redelivery."""
    return f"msg_{task_id}"


def delivery_id(revision: AlertRevision, subscription_id: str) -> str:
    """The id of the delivery of a revision to an endpoint, as a ULID: the revision's time, then a hash of what it is.

    The same wherever and whenever it is fanned out, so that a database restored to an hour ago sends again under the same id.
    """
    named = f"{revision.alert_id}.{revision.revision}:{subscription_id}"
    moment = int(revision.sent_at.timestamp() * 1000).to_bytes(6, "big")
    return str(ULID.from_bytes(moment + hashlib.sha256(named.encode()).digest()[:10]))


def sequence_group(subscription_id: str, alert_id: str) -> str:
    """Within it, deliveries go in the order of their revisions."""
    return f"{subscription_id}:{alert_id}"


def fan_out(session: Session, alert_id: str, number: int, now: datetime, *, only: str | None = None) -> int:
    """Write a delivery for every endpoint that hears of this revision; the number of new ones. May be repeated.

    An earlier revision that did not get through yet is superseded. A retraction goes wherever something of the alert went out,
    and nowhere else; an update also goes where an earlier one went out though the filter would not take it now. `only` limits
    it to one endpoint.
    """
    subject = load_subject(session, alert_id, number)
    facts = queries.facts_of(subject.alert, subject.revision, subject.alert.substance)
    query = (
        select(Subscription, Organisation)
        .join(Organisation, Organisation.id == Subscription.org_id)
        .where(
            Subscription.deleted_at.is_(None),
            Subscription.state.in_(HEARING_STATES),
            Subscription.channel.in_(("webhook", "email")),
        )
        .order_by(Subscription.id)
        .with_for_update(read=True, of=Subscription)
    )
    if only is not None:
        query = query.where(Subscription.id == only)
    earlier = _earlier_deliveries(session, alert_id, number)
    cancels = subject.revision.msg_type == "Cancel"
    rows: list[dict[str, Any]] = []
    bodies: dict[str, dict[str, Any]] = {}
    for subscription, org in session.execute(query):
        reader = queries.reader_of_subscription(subscription, org)
        before = earlier.get(subscription.id, [])
        reached = any(task.state in ("done", "leased") for task in before)
        detail = hears(facts, reader, queries.filter_of(subscription), subscription.detail)
        if detail is None and reached and reader_covered(facts, reader):
            detail = detail_for(facts, reader, subscription.detail) or ("thin" if cancels else None)
        if detail is not None or cancels:
            why = "retracted before anything was sent" if cancels and not reached else f"superseded by revision {number}"
            cancel_tasks(session, [task.id for task in before], why, now)
        if detail is None or (cancels and not reached):
            continue
        if subscription.channel == "email" and subject.revision.level == 1 and not reached:
            continue  # the weekly digest carries it
        if not reached and _over_limit(session, subscription, subject.revision.level, now):
            continue  # so does this
        ready = subscription.state == "active" and subscription.breaker == "closed"
        rows.append(
            task_values(
                task_id=delivery_id(subject.revision, subscription.id),
                topic="deliver",
                key=f"{alert_id}.{number}:{subscription.id}",
                lane=subscription.id,
                priority=subject.revision.level,
                payload={"alert": alert_id, "revision": number, "subscription": subscription.id},
                now=now,
                seq_group=sequence_group(subscription.id, alert_id),
                seq_no=number,
                state="ready" if ready else "parked",
            )
        )
        if not reached and subscription.channel == "webhook":
            view, body = body_row(subject, reader, detail, "alert.issued", view_only=bodies)
            if body is not None:
                bodies[view] = body
    insert_all_once(session, Body, list(bodies.values()))
    return insert_all_once(session, Task, rows)


def _over_limit(session: Session, subscription: Subscription, level: int, now: datetime) -> bool:
    """Whether an e-mail endpoint has had its day's number of messages. Levels 3 and 4 go all the same."""
    if subscription.channel != "email" or subscription.daily_limit is None or level > HELD_BACK:
        return False
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    sent = session.scalar(
        select(func.count())
        .select_from(Task)
        .where(
            Task.topic == "deliver",
            Task.lane == subscription.id,
            Task.priority <= HELD_BACK,
            Task.created_at >= today,
            Task.state != "cancelled",
        )
    )
    return (sent or 0) >= subscription.daily_limit


def _earlier_deliveries(session: Session, alert_id: str, number: int) -> dict[str, list[Task]]:
    """Deliveries of earlier revisions of this alert, by endpoint."""
    if number == 1:
        return {}
    tasks = session.scalars(
        select(Task).where(
            Task.topic == "deliver",
            Task.key.startswith(f"{alert_id}.", autoescape=True),
            Task.seq_no < number,
        )
    )
    found: dict[str, list[Task]] = {}
    for task in tasks:
        found.setdefault(task.lane, []).append(task)
    return found


def fanout_handler(context: AppContext) -> Callable[[TaskItem], Result]:
    """The handler of the topic `fanout`."""

    def handle(task: TaskItem) -> Result:
        with context.database.write() as session:
            alert_id, number, now = task.payload["alert"], task.payload["revision"], context.now()
            fan_out(session, alert_id, number, now)
            alert = session.get_one(Alert, alert_id)
            start_clocks(session, alert, session.get_one(AlertRevision, (alert_id, number)), now)
            return end_within(session, task, now)

    return handle


def publish_handler(context: AppContext) -> Callable[[TaskItem], Result]:
    """The handler of the topic `publish`: gives the revision the next number of the feed, gapless, once."""

    def handle(task: TaskItem) -> Result:
        alert_id, number = task.payload["alert"], task.payload["revision"]
        with context.database.write() as session:
            now = context.now()
            known = session.scalar(select(FeedItem.seq).where(FeedItem.alert_id == alert_id, FeedItem.revision == number))
            if known is None:
                last = session.scalar(select(func.max(FeedItem.seq))) or 0
                session.add(FeedItem(seq=last + 1, alert_id=alert_id, revision=number, published_at=now))
            return end_within(session, task, now)

    return handle
