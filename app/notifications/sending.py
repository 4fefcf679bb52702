"""Sending: deliveries by webhook and e-mail, pings and heartbeats. Handlers of the worker's topics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from alerts.channels.smtp import SmtpChannel
from alerts.channels.webhook import WebhookChannel
from alerts.errors import ChannelError
from alerts.outbox import Result, TaskItem
from alerts.policies import ACKNOWLEDGE_WITHIN, Detail, detail_for, reader_covered
from alerts.values import Reader
from app.context import AppContext
from app.notifications import links, mailing, queries
from app.notifications.bodies import Rendering, Subject, load_subjects, rendering
from app.notifications.fanout import message_id, sequence_group
from app.notifications.secrets import SecretBox, live_secrets
from app.persistence.models import Body, Organisation, Subscription, Task
from app.persistence.tasks import insert_once, unpark_lane

CATCH_UP_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A delivery that may go now: to whom, of what, in which detail, and the deliveries that went before."""

    subscription: Subscription
    subject: Subject
    reader: Reader
    detail: Detail
    kind: str
    earlier: list[str]


def deliver_handler(
    context: AppContext, channel: WebhookChannel, box: SecretBox, mail: SmtpChannel | None
) -> Callable[[TaskItem], Result]:
    """The handler of the topic `deliver`. Clearance and state of the endpoint are looked at again before each attempt."""

    def handle(task: TaskItem) -> Result:
        with context.database.read() as session:
            outgoing = _prepare(session, task)
            if isinstance(outgoing, Result):
                return outgoing
            found = rendering(outgoing.subject, outgoing.reader, outgoing.detail, outgoing.kind)
            webhook = outgoing.subscription.channel == "webhook"
            content = _stored(session, found) if webhook else None
        target = outgoing.subscription.target or ""
        if not webhook:
            token = _link(context, task, outgoing)
            return mailing.send_alert(context, mail, task, found.view, outgoing.kind, target, outgoing.earlier, token)
        body = content if content is not None else _store(context, found)
        now = context.now()
        receipt = channel.send(target, message_id(task.id), body, live_secrets(outgoing.subscription, box, now), now)
        return Result(
            outcome="done",
            sent=True,
            status=receipt.status,
            resolved_ip=receipt.resolved_ip,
            response=receipt.response,
        )

    return handle


def _link(context: AppContext, task: TaskItem, outgoing: _Outgoing) -> str | None:
    """The token of a link that acknowledges, for an authority that is asked to; None where nothing is asked."""
    revision, subscription = outgoing.subject.revision, outgoing.subscription
    if subscription.role != "authority" or revision.level not in ACKNOWLEDGE_WITHIN or revision.msg_type == "Cancel":
        return None
    token = links.token_of(context.secret, task.id)
    with context.database.write() as session:
        links.make(
            session, token, alert_id=revision.alert_id, org_id=subscription.org_id, email=subscription.target or "",
            now=context.now(),
        )  # fmt: skip
    return token


_BODY = select(Body.content).where(
    Body.alert_id == bindparam("alert"), Body.revision == bindparam("revision"), Body.view == bindparam("view")
)


def _stored(session: Session, found: Rendering) -> bytes | None:
    """The stored bytes of this view; None where they were not written out yet."""
    revision = found.subject.revision
    asked = {"alert": revision.alert_id, "revision": revision.revision, "view": found.key}
    content: bytes | None = session.scalar(_BODY, asked)
    return content


def _store(context: AppContext, found: Rendering) -> bytes:
    """Keep the bytes of this view, unless another worker just did: every attempt sends the same."""
    with context.database.write() as session:
        insert_once(session, Body, found.row())
        content = _stored(session, found)
    assert content is not None
    return content


_ENDPOINT = (
    select(Subscription, Organisation)
    .join(Organisation, Organisation.id == Subscription.org_id)
    .where(Subscription.id == bindparam("subscription"))
)
_SENT_BEFORE = (
    select(Task.id)
    .where(Task.seq_group == bindparam("group"), Task.seq_no < bindparam("number"), Task.state == "done")
    .order_by(Task.seq_no)
)


def _prepare(session: Session, task: TaskItem) -> _Outgoing | Result:
    payload = task.payload
    row = session.execute(_ENDPOINT, {"subscription": payload["subscription"]}).first()
    if row is None or row[0].deleted_at is not None:
        return Result(outcome="cancelled", error="the endpoint was deleted")
    subscription, org = row
    if subscription.state != "active" or subscription.target is None:
        return Result(outcome="parked", error=f"the endpoint is {subscription.state}")
    (subject,) = load_subjects(session, [(payload["alert"], payload["revision"])])
    reader = queries.reader_of_subscription(subscription, org)
    facts = queries.facts_of(subject.alert, subject.revision, subject.alert.substance)
    cancels = subject.revision.msg_type == "Cancel"
    detail = detail_for(facts, reader, subscription.detail) or ("thin" if cancels else None)
    if detail is None or not reader_covered(facts, reader):
        return Result(outcome="cancelled", error="the endpoint no longer holds the label of this alert")
    earlier: list[str] = []
    if subject.earlier:
        asked = {"group": sequence_group(subscription.id, subject.alert.id), "number": subject.revision.revision}
        earlier = list(session.scalars(_SENT_BEFORE, asked))
    if cancels and not earlier:
        return Result(outcome="cancelled", error="retracted before anything was sent")
    kind = "alert.retracted" if cancels else "alert.updated" if earlier else "alert.issued"
    return _Outgoing(subscription, subject, reader, detail, kind, earlier)


def ping_handler(context: AppContext, channel: WebhookChannel, box: SecretBox) -> Callable[[TaskItem], Result]:
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
        if task.topic == "heartbeat":
            with context.database.write() as session:
                session.execute(
                    update(Subscription)
                    .where(Subscription.id == task.payload["subscription"])
                    .values(last_success_at=context.now())
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
