"""From a revision to its deliveries, from a delivery to the wire, and to the feed: the handlers of the worker's topics."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from alerts.channels.webhook import WebhookChannel
from alerts.errors import ChannelError
from alerts.outbox import DONE, Result, TaskItem
from alerts.policies import Detail, detail_for, hears, reader_covered, view_key
from alerts.render import alert_document, webhook_body
from alerts.values import Evidence, Reader
from app.context import AppContext
from app.notifications import queries
from app.notifications.secrets import SecretBox, live_secrets
from app.persistence.models import Alert, AlertRevision, Body, FeedItem, Organisation, Subscription, Task
from app.persistence.outbox import cancel_tasks, insert_all_once, insert_once, task_values, unpark_lane

HEARING_STATES = ("active", "paused", "disabled")
CATCH_UP_SECONDS = 0.2


def message_id(task_id: str) -> str:
    """The `webhook-id` of a delivery: the same at every attempt and redelivery."""
    return f"msg_{task_id}"


@dataclass(frozen=True, slots=True)
class _Subject:
    """A revision with everything that its bodies are made of."""

    alert: Alert
    revision: AlertRevision
    evidence: list[Evidence]
    earlier: list[AlertRevision]


def _load(session: Session, alert_id: str, number: int) -> _Subject:
    alert = session.scalars(select(Alert).where(Alert.id == alert_id).options(joinedload(Alert.substance))).one()
    revisions = session.scalars(
        select(AlertRevision)
        .where(AlertRevision.alert_id == alert_id, AlertRevision.revision <= number)
        .order_by(AlertRevision.revision)
    ).all()
    evidence = queries.evidence_of(session, [alert_id]).get(alert_id, [])
    return _Subject(alert, revisions[-1], evidence, list(revisions[:-1]))


def sequence_group(subscription_id: str, alert_id: str) -> str:
    """Within it, deliveries go in the order of their revisions."""
    return f"{subscription_id}:{alert_id}"


# fan-out


def fan_out(session: Session, alert_id: str, number: int, now: datetime, *, only: str | None = None) -> int:
    """Write a delivery for every endpoint that hears of this revision; the number of new ones. May be repeated.

    An earlier revision that did not get through yet is superseded. A retraction goes wherever something of the alert went out,
    and nowhere else; an update also goes where an earlier one went out though the filter would not take it now. `only` limits
    it to one endpoint.
    """
    subject = _load(session, alert_id, number)
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
        ready = subscription.state == "active" and subscription.breaker == "closed"
        rows.append(
            task_values(
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
            view, body = _body_row(session, subject, reader, detail, "alert.issued", view_only=bodies)
            if body is not None:
                bodies[view] = body
    insert_all_once(session, Body, list(bodies.values()))
    return insert_all_once(session, Task, rows)


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


def _body_row(
    session: Session,
    subject: _Subject,
    reader: Reader,
    detail: Detail,
    kind: str,
    *,
    view_only: Iterable[str] = (),
) -> tuple[str, dict[str, Any] | None]:
    """The view this reader gets and the row that keeps its bytes; no row where the view is among `view_only`."""
    alert, revision = subject.alert, subject.revision
    names = reader.role in queries.NAMED_FOR
    view = queries.view_of(
        alert,
        revision,
        alert.substance,
        evidence=subject.evidence,
        acknowledgements=[],
        earlier=[] if kind == "alert.issued" else [row for row in subject.earlier if reader_sees(row, alert, reader)],
        reader=reader,
        withheld=detail == "thin",
    )
    key = view_key(kind, detail, view.evidence, names=names)
    if kind != "alert.issued":
        key = f"{key}:{','.join(str(row['revision']) for row in view.references)}"[:80]
    if key in set(view_only):
        return key, None
    body = webhook_body(kind, revision.sent_at, alert_document(view))
    return key, {"alert_id": alert.id, "revision": revision.revision, "view": key, "content": body}


def reader_sees(revision: AlertRevision, alert: Alert, reader: Reader) -> bool:
    """Whether the audience of an earlier revision held this reader."""
    return revision.audience == "full" or reader_covered(queries.facts_of(alert, revision, alert.substance), reader)


def fanout_handler(context: AppContext) -> Any:
    """The handler of the topic `fanout`."""

    def handle(task: TaskItem) -> Result:
        with context.database.write() as session:
            fan_out(session, task.payload["alert"], task.payload["revision"], context.now())
        return DONE

    return handle


# the feed


def publish_handler(context: AppContext) -> Any:
    """The handler of the topic `publish`: gives the revision the next number of the feed, gapless, once."""

    def handle(task: TaskItem) -> Result:
        alert_id, number = task.payload["alert"], task.payload["revision"]
        with context.database.write() as session:
            known = session.scalar(select(FeedItem.seq).where(FeedItem.alert_id == alert_id, FeedItem.revision == number))
            if known is None:
                last = session.scalar(select(func.max(FeedItem.seq))) or 0
                session.add(FeedItem(seq=last + 1, alert_id=alert_id, revision=number, published_at=context.now()))
        return DONE

    return handle


# sending


@dataclass(frozen=True, slots=True)
class _Outgoing:
    url: str
    body: bytes
    secrets: list[str]


def deliver_handler(context: AppContext, channel: WebhookChannel, box: SecretBox) -> Any:
    """The handler of the topic `deliver` for webhooks. Clearance and state of the endpoint are looked at again before each
    attempt.
    """

    def handle(task: TaskItem) -> Result:
        prepared = _prepare(context, box, task)
        if isinstance(prepared, Result):
            return prepared
        receipt = channel.send(prepared.url, message_id(task.id), prepared.body, prepared.secrets, context.now())
        return Result(
            outcome="done",
            sent=True,
            status=receipt.status,
            resolved_ip=receipt.resolved_ip,
            response=receipt.response,
        )

    return handle


def _prepare(context: AppContext, box: SecretBox, task: TaskItem) -> _Outgoing | Result:
    payload = task.payload
    with context.database.read() as session:
        row = session.execute(
            select(Subscription, Organisation)
            .join(Organisation, Organisation.id == Subscription.org_id)
            .where(Subscription.id == payload["subscription"])
        ).first()
        if row is None or row[0].deleted_at is not None:
            return Result(outcome="cancelled", error="the endpoint was deleted")
        subscription, org = row
        if subscription.state != "active" or subscription.target is None:
            return Result(outcome="parked", error=f"the endpoint is {subscription.state}")
        subject = _load(session, payload["alert"], payload["revision"])
        reader = queries.reader_of_subscription(subscription, org)
        facts = queries.facts_of(subject.alert, subject.revision, subject.alert.substance)
        cancels = subject.revision.msg_type == "Cancel"
        detail = detail_for(facts, reader, subscription.detail) or ("thin" if cancels else None)
        if detail is None or not reader_covered(facts, reader):
            return Result(outcome="cancelled", error="the endpoint no longer holds the label of this alert")
        went_out = session.scalar(
            select(func.count())
            .select_from(Task)
            .where(
                Task.seq_group == sequence_group(subscription.id, subject.alert.id),
                Task.seq_no < subject.revision.revision,
                Task.state == "done",
            )
        )
        if cancels and not went_out:
            return Result(outcome="cancelled", error="retracted before anything was sent")
        kind = "alert.retracted" if cancels else "alert.updated" if went_out else "alert.issued"
        view, fresh = _body_row(session, subject, reader, detail, kind)
        stored = session.scalar(_stored_body(subject, view))
        secrets = live_secrets(subscription, box, context.now())
        url = subscription.target
    if stored is None:
        assert fresh is not None
        with context.database.write() as session:
            insert_once(session, Body, fresh)
            stored = session.scalars(_stored_body(subject, view)).one()
    return _Outgoing(url=url, body=stored, secrets=secrets)


def _stored_body(subject: _Subject, view: str) -> Any:
    return select(Body.content).where(
        Body.alert_id == subject.alert.id, Body.revision == subject.revision.revision, Body.view == view
    )


def ping_handler(context: AppContext, channel: WebhookChannel, box: SecretBox) -> Any:
    """The handler of the topics `ping` and `heartbeat`: signed bodies of the task itself. An echoed nonce makes the endpoint
    active.
    """

    def handle(task: TaskItem) -> Result:
        now = context.now()
        with context.database.read() as session:
            subscription = session.get(Subscription, task.payload["subscription"])
            if subscription is None or subscription.deleted_at is not None or subscription.target is None:
                return Result(outcome="cancelled", error="the endpoint was deleted")
            nonce = task.payload.get("nonce")
            if task.payload.get("activates") and subscription.nonce != nonce:
                return Result(outcome="cancelled", error="a newer ping was asked for")
            url, secrets = subscription.target, live_secrets(subscription, box, now)
        receipt = channel.send(url, message_id(task.id), task.payload["body"].encode(), secrets, now)
        if nonce is not None and echoed(receipt.body) != nonce:
            raise ChannelError(
                "the receiver did not answer with the nonce of the ping",
                status=receipt.status,
                resolved_ip=receipt.resolved_ip,
                response=receipt.response,
            )
        if task.payload.get("activates"):
            with context.database.write() as session:
                activate(session, task.payload["subscription"], task.payload["nonce"], context.now())
        return Result(
            outcome="done",
            sent=True,
            status=receipt.status,
            resolved_ip=receipt.resolved_ip,
            response=receipt.response,
        )

    return handle


def echoed(body: bytes) -> str | None:
    """The nonce in a receiver's answer; None where there is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    nonce = answer.get("nonce") if isinstance(answer, dict) else None
    return nonce if isinstance(nonce, str) else None


def activate(session: Session, subscription_id: str, nonce: str, now: datetime) -> bool:
    """Make an endpoint active whose ping was answered, and let its backlog go, oldest first; False where another ping was asked
    for.
    """
    subscription = session.scalar(select(Subscription).where(Subscription.id == subscription_id).with_for_update())
    if subscription is None or subscription.deleted_at is not None or subscription.nonce != nonce:
        return False
    subscription.state = "active"
    subscription.nonce = None
    subscription.breaker, subscription.failures = "closed", 0
    subscription.fail_since = subscription.probe_at = subscription.last_error = None
    subscription.last_success_at = now
    session.flush()
    unpark_lane(session, subscription_id, now, interval=CATCH_UP_SECONDS)
    return True
