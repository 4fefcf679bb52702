"""From a revision to its deliveries and to the feed: the handlers of the topics `fanout` and `publish`."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from ulid import ULID

from alerts.outbox import Result, TaskItem
from alerts.policies import detail_for, hears, reader_covered
from alerts.values import Filter, Reader
from app.context import AppContext
from app.notifications import queries
from app.notifications.bodies import Subject, load_subjects, rendering
from app.notifications.escalation import start_clocks
from app.persistence.models import AlertRevision, Body, FeedItem, Organisation, Subscription, Task
from app.persistence.outbox import LeaseLost, end_within
from app.persistence.tasks import cancel_tasks, insert_all_once, take_along, task_values

log = logging.getLogger("nps.worker")

ALONG = 20  # so many alerts are fanned out in one transaction beside the one that was claimed
_PUBLISHED = select(FeedItem.alert_id, FeedItem.revision).where(FeedItem.alert_id.in_(bindparam("alerts", expanding=True)))
_LAST = select(func.max(FeedItem.seq))
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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Somebody who may hear of alerts: the subscription and what the policies need to know of it."""

    subscription: Subscription
    reader: Reader
    filter: Filter

    @property
    def ready(self) -> bool:
        return self.subscription.state == "active" and self.subscription.breaker == "closed"


_ENDPOINTS = (
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


def _endpoints(session: Session, only: str | None) -> list[Endpoint]:
    query = _ENDPOINTS if only is None else _ENDPOINTS.where(Subscription.id == only)
    return [
        Endpoint(subscription, queries.reader_of_subscription(subscription, org), queries.filter_of(subscription))
        for subscription, org in session.execute(query)
    ]


def fan_out(session: Session, alert_id: str, number: int, now: datetime, *, only: str | None = None) -> int:
    """Write a delivery for every endpoint that hears of this revision; the number of new ones. May be repeated.

    An earlier revision that did not get through yet is superseded. A retraction goes wherever something of the alert went out,
    and nowhere else; an update also goes where an earlier one went out though the filter would not take it now. `only` limits
    it to one endpoint.
    """
    return _fan_out(session, load_subjects(session, [(alert_id, number)]), now, only=only)


def _fan_out(session: Session, subjects: Sequence[Subject], now: datetime, *, only: str | None = None) -> int:
    """As `fan_out`, of several revisions in turn."""
    endpoints = _endpoints(session, only)
    rows: list[dict[str, Any]] = []
    bodies: list[dict[str, Any]] = []
    for subject in subjects:
        _add_deliveries(session, subject, endpoints, now, rows, bodies)
    insert_all_once(session, Body, bodies)
    return insert_all_once(session, Task, rows)


def _add_deliveries(
    session: Session,
    subject: Subject,
    endpoints: Sequence[Endpoint],
    now: datetime,
    rows: list[dict[str, Any]],
    bodies: list[dict[str, Any]],
) -> None:
    """Add the deliveries of a revision and the bytes that they carry to the rows to be written."""
    revision, alert_id, number = subject.revision, subject.alert.id, subject.revision.revision
    facts = queries.facts_of(subject.alert, revision, subject.alert.substance)
    earlier = _earlier_deliveries(session, alert_id, number)
    cancels = revision.msg_type == "Cancel"
    written: set[str] = set()
    for endpoint in endpoints:
        subscription, reader = endpoint.subscription, endpoint.reader
        before = earlier.get(subscription.id, [])
        reached = any(task.state in ("done", "leased") for task in before)
        detail = hears(facts, reader, endpoint.filter, subscription.detail)
        if detail is None and reached and reader_covered(facts, reader):
            detail = detail_for(facts, reader, subscription.detail) or ("thin" if cancels else None)
        if detail is not None or cancels:
            why = "retracted before anything was sent" if cancels and not reached else f"superseded by revision {number}"
            cancel_tasks(session, [task.id for task in before], why, now)
        if detail is None or (cancels and not reached):
            continue
        if subscription.channel == "email" and revision.level == 1 and not reached:
            continue  # the weekly digest carries it
        if not reached and _over_limit(session, subscription, revision.level, now, rows):
            continue  # so does this
        rows.append(
            task_values(
                task_id=delivery_id(revision, subscription.id),
                topic="deliver",
                key=f"{alert_id}.{number}:{subscription.id}",
                lane=subscription.id,
                priority=revision.level,
                payload={"alert": alert_id, "revision": number, "subscription": subscription.id},
                now=now,
                seq_group=sequence_group(subscription.id, alert_id),
                seq_no=number,
                state="ready" if endpoint.ready else "parked",
            )
        )
        if not reached and subscription.channel == "webhook":
            found = rendering(subject, reader, detail, "alert.issued")
            if found.key not in written:
                written.add(found.key)
                bodies.append(found.row())


def _over_limit(
    session: Session, subscription: Subscription, level: int, now: datetime, unwritten: Sequence[dict[str, Any]]
) -> bool:
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
    more = sum(row["lane"] == subscription.id and row["priority"] <= HELD_BACK for row in unwritten)
    return bool((sent or 0) + more >= subscription.daily_limit)


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
    """The handler of the topic `fanout`. What else waits to be fanned out goes along, in the same transaction."""

    def work(task: TaskItem, most: int) -> Result:
        with context.database.write(ahead=True) as session:
            now = context.now()
            along = take_along(session, task, now, most=most) if most else []
            subjects = load_subjects(session, [(payload["alert"], payload["revision"]) for payload in (task.payload, *along)])
            _fan_out(session, subjects, now)
            for subject in subjects:
                start_clocks(session, subject.alert, subject.revision, now)
            return end_within(session, task, now, along=along)

    def handle(task: TaskItem) -> Result:
        try:
            return work(task, ALONG)
        except (SQLAlchemyError, LeaseLost):
            raise
        except Exception:
            log.exception("several alerts could not be fanned out together; each is tried by itself")
            return work(task, 0)

    return handle


def publish_handler(context: AppContext) -> Callable[[TaskItem], Result]:
    """The handler of the topic `publish`: gives the revision the next number of the feed, gapless, once.

    What else waits to be published goes along. One worker at a time does this.
    """

    def handle(task: TaskItem) -> Result:
        with context.database.write(ahead=True) as session:
            now = context.now()
            along = take_along(session, task, now)
            wanted = [(payload["alert"], payload["revision"]) for payload in (task.payload, *along)]
            ids = sorted({alert for alert, _ in wanted})
            known = {(row.alert_id, row.revision) for row in session.execute(_PUBLISHED, {"alerts": ids})}
            last = session.scalar(_LAST) or 0
            rows = []
            for alert_id, number in dict.fromkeys(pair for pair in wanted if pair not in known):
                last += 1
                rows.append({"seq": last, "alert_id": alert_id, "revision": number, "published_at": now})
            if rows:
                session.execute(insert(FeedItem), rows)
            return end_within(session, task, now, along=along)

    return handle
