"""Sending: deliveries by webhook and e-mail, pings and heartbeats. Handlers of the worker's topics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import bindparam, select, tuple_, update
from sqlalchemy.orm import Session

from alerts.channels.smtp import SmtpChannel
from alerts.channels.webhook import WebhookChannel
from alerts.errors import ChannelError
from alerts.outbox import Result, TaskItem
from alerts.policies import ACKNOWLEDGE_WITHIN, detail_for, reader_covered
from app.context import AppContext
from app.notifications import links, mailing, queries
from app.notifications.bodies import Rendering, Subject, load_subjects, rendering
from app.notifications.fanout import message_id, sequence_group
from app.notifications.secrets import SecretBox, live_secrets
from app.persistence.models import Body, Organisation, Subscription, Task
from app.persistence.tasks import insert_once, unpark_lane

CATCH_UP_SECONDS = 0.2
View = tuple[str, int, str]  # an alert, a revision, the key of the view


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A delivery that may go now: to whom, what it says, the deliveries that went before, and its bytes where they were written
    out.
    """

    subscription: Subscription
    found: Rendering
    earlier: list[str]
    content: bytes | None = None

    @property
    def webhook(self) -> bool:
        return self.subscription.channel == "webhook"


class Deliver:
    """The handler of the topic `deliver`. Clearance and state of the endpoint are looked at again before each attempt.

    What was claimed together is looked up together by `prepare`; an attempt that finds nothing prepared looks for itself.
    """

    def __init__(self, context: AppContext, channel: WebhookChannel, box: SecretBox, mail: SmtpChannel | None) -> None:
        self._context = context
        self._channel = channel
        self._box = box
        self._mail = mail
        self._prepared: dict[tuple[str, str], _Outgoing | Result] = {}

    def prepare(self, tasks: Sequence[TaskItem]) -> None:
        """Look up what these tasks need, a moment before each is worked. Five queries, however many."""
        with self._context.database.read() as session:
            found = _look_up(session, tasks)
        self._prepared.update({(task.id, task.token): one for task, one in zip(tasks, found, strict=True)})

    def __call__(self, task: TaskItem) -> Result:
        outgoing = self._prepared.pop((task.id, task.token), None)
        if outgoing is None:
            with self._context.database.read() as session:
                (outgoing,) = _look_up(session, [task])
        if isinstance(outgoing, Result):
            return outgoing
        subscription, found = outgoing.subscription, outgoing.found
        target = subscription.target or ""
        if not outgoing.webhook:
            token = _link(self._context, task, outgoing)
            return mailing.send_alert(self._context, self._mail, task, found.view, found.kind, target, outgoing.earlier, token)
        body = outgoing.content if outgoing.content is not None else _store(self._context, found)
        now = self._context.now()
        receipt = self._channel.send(target, message_id(task.id), body, live_secrets(subscription, self._box, now), now)
        return Result(
            outcome="done",
            sent=True,
            status=receipt.status,
            resolved_ip=receipt.resolved_ip,
            response=receipt.response,
        )


def _link(context: AppContext, task: TaskItem, outgoing: _Outgoing) -> str | None:
    """The token of a link that acknowledges, for an authority that is asked to; None where nothing is asked."""
    revision, subscription = outgoing.found.subject.revision, outgoing.subscription
    if subscription.role != "authority" or revision.level not in ACKNOWLEDGE_WITHIN or revision.msg_type == "Cancel":
        return None
    token = links.token_of(context.secret, task.id)
    with context.database.write() as session:
        links.make(
            session, token, alert_id=revision.alert_id, org_id=subscription.org_id, email=subscription.target or "",
            now=context.now(),
        )  # fmt: skip
    return token


_BODIES = select(Body.alert_id, Body.revision, Body.view, Body.content).where(
    tuple_(Body.alert_id, Body.revision, Body.view).in_(bindparam("views", expanding=True))
)


def _stored(session: Session, found: Sequence[Rendering]) -> dict[View, bytes]:
    """The stored bytes of those of these views that were written out."""
    if not found:
        return {}
    rows = session.connection().execute(_BODIES, {"views": sorted({_view(one) for one in found})})
    return {(row.alert_id, row.revision, row.view): row.content for row in rows}


def _view(found: Rendering) -> View:
    return found.subject.revision.alert_id, found.subject.revision.revision, found.key


def _store(context: AppContext, found: Rendering) -> bytes:
    """Keep the bytes of this view, unless another worker just did: every attempt sends the same."""
    with context.database.write() as session:
        insert_once(session, Body, found.row())
        return _stored(session, [found])[_view(found)]


_ENDPOINTS = (
    select(Subscription, Organisation)
    .join(Organisation, Organisation.id == Subscription.org_id)
    .where(Subscription.id.in_(bindparam("subscriptions", expanding=True)))
)
_SENT_BEFORE = (
    select(Task.id)
    .where(Task.seq_group == bindparam("group"), Task.seq_no < bindparam("number"), Task.state == "done")
    .order_by(Task.seq_no)
)


def _look_up(session: Session, tasks: Sequence[TaskItem]) -> list[_Outgoing | Result]:
    """For each task its delivery, or how it ends without one."""
    wanted = sorted({task.payload["subscription"] for task in tasks})
    endpoints = {row[0].id: row for row in session.execute(_ENDPOINTS, {"subscriptions": wanted})}
    pairs = [(task.payload["alert"], task.payload["revision"]) for task in tasks]
    found = [
        _outgoing(session, subject, *endpoints.get(task.payload["subscription"], (None, None)))
        for task, subject in zip(tasks, load_subjects(session, pairs), strict=True)
    ]
    stored = _stored(session, [one.found for one in found if isinstance(one, _Outgoing) and one.webhook])
    return [replace(one, content=stored.get(_view(one.found))) if isinstance(one, _Outgoing) else one for one in found]


def _outgoing(
    session: Session, subject: Subject, subscription: Subscription | None, org: Organisation | None
) -> _Outgoing | Result:
    """A delivery that may go now, or how the task ends without it."""
    if subscription is None or org is None or subscription.deleted_at is not None:
        return Result(outcome="cancelled", error="the endpoint was deleted")
    if subscription.state != "active" or subscription.target is None:
        return Result(outcome="parked", error=f"the endpoint is {subscription.state}")
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
    return _Outgoing(subscription, rendering(subject, reader, detail, kind), earlier)


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
