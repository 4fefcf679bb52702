"""E-mails of the service: alerts to endpoints, confirmations, the weekly digest, reminders. Handlers of the worker's topics."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import exists, literal, select
from sqlalchemy.orm import Session, joinedload

from alerts.channels.smtp import SmtpChannel, parse_relay
from alerts.mail import MailIdentity, alert_message, confirmation_message, digest_message, message_id_of
from alerts.outbox import Result, TaskItem
from alerts.policies import hears, highest_tlp
from alerts.values import AlertView, Reader
from app.context import AppContext
from app.notifications import queries
from app.notifications.digests import held_series
from app.notifications.fanout import HELD_BACK
from app.notifications.queries import Found
from app.persistence.models import Alert, AlertRevision, Organisation, Subscription, Task
from app.persistence.tasks import insert_once, task_values

CONFIRM_PATH = "/v1/subscriptions/{id}/confirm/{token}"
DIGEST_SPAN = timedelta(days=7)
NO_RELAY = "this installation has no mail server (NPS_SMTP_URL)"


def smtp_channel(context: AppContext) -> SmtpChannel | None:
    """The channel to the relay of the settings; None where none is set."""
    if not context.settings.smtp_url:
        return None
    return SmtpChannel(parse_relay(context.settings.smtp_url, fallback_host=_host(context)))


def _host(context: AppContext) -> str:
    return urlsplit(context.settings.base_url).hostname or "localhost"


def identity_of(context: AppContext, channel: SmtpChannel) -> MailIdentity:
    return MailIdentity(address=channel.relay.sender, host=_host(context), web=context.settings.base_url)


def sent(channel: SmtpChannel, message: Any) -> Result:
    """Hand the message over; the result of a success. Raises ChannelError."""
    receipt = channel.send(message)
    return Result(outcome="done", sent=True, status=receipt.status, response=receipt.response)


def send_alert(
    context: AppContext,
    channel: SmtpChannel | None,
    task: TaskItem,
    view: AlertView,
    kind: str,
    to: str,
    earlier: list[str],
    acknowledge: str | None = None,
) -> Result:
    """Send one delivery of an alert. `earlier` are the ids of the deliveries of its earlier revisions, in order; `acknowledge`
    the token of a link that answers it.
    """
    if channel is None:
        return Result(outcome="parked", error=NO_RELAY)
    identity = identity_of(context, channel)
    message = alert_message(
        view,
        kind,
        identity=identity,
        to=to,
        at=context.now(),
        message_id=message_id_of(task.id, identity),
        earlier_ids=[message_id_of(one, identity) for one in earlier],
        acknowledge=link_of(context, acknowledge) if acknowledge else None,
    )
    return sent(channel, message)


def link_of(context: AppContext, token: str) -> str:
    """The address of the page that acknowledges by this token."""
    return f"{context.settings.base_url}/a/{token}"


def confirm_handler(context: AppContext, channel: SmtpChannel | None) -> Callable[[TaskItem], Result]:
    """The handler of the topic `confirm`: a link to the owner of an address."""

    def handle(task: TaskItem) -> Result:
        with context.database.read() as session:
            subscription = session.get(Subscription, task.payload["subscription"])
            if subscription is None or subscription.deleted_at is not None or subscription.nonce != task.payload["nonce"]:
                return Result(outcome="cancelled", error="the endpoint was deleted or asked again")
            to = subscription.target or ""
        if channel is None:
            return Result(outcome="failed", error=NO_RELAY)
        identity = identity_of(context, channel)
        path = CONFIRM_PATH.format(id=task.payload["subscription"], token=task.payload["nonce"])
        message = confirmation_message(
            identity=identity,
            to=to,
            link=context.settings.base_url + path,
            at=context.now(),
            message_id=message_id_of(task.id, identity),
        )
        return sent(channel, message)

    return handle


def enqueue_digests(session: Session, nominal: str, now: datetime) -> int:
    """A digest task for every active e-mail endpoint, once a nominal time; the number of new ones."""
    endpoints = session.scalars(
        select(Subscription.id).where(
            Subscription.channel == "email", Subscription.state == "active", Subscription.deleted_at.is_(None)
        )
    ).all()
    return sum(
        insert_once(
            session,
            Task,
            task_values(
                topic="digest",
                key=f"{endpoint}:{nominal}",
                lane=f"ping:{endpoint}",
                priority=1,
                payload={"subscription": endpoint, "until": now.isoformat()},
                now=now,
            ),
        )
        for endpoint in endpoints
    )


def digest_handler(context: AppContext, channel: SmtpChannel | None) -> Callable[[TaskItem], Result]:
    """The handler of the topic `digest`: the past week's notices that this endpoint hears of; none, nothing sent."""

    def handle(task: TaskItem) -> Result:
        until = datetime.fromisoformat(task.payload["until"])
        with context.database.read() as session:
            row = session.execute(
                select(Subscription, Organisation)
                .join(Organisation, Organisation.id == Subscription.org_id)
                .where(Subscription.id == task.payload["subscription"])
            ).first()
            if row is None or row[0].deleted_at is not None or row[0].state != "active":
                return Result(outcome="cancelled", error="the endpoint takes no messages")
            subscription, org = row
            views = notices_heard(session, subscription, org, until - DIGEST_SPAN, until)
            series = held_series(session, subscription, org, until)
            to = subscription.target or ""
        if not views and not series:
            return Result(outcome="done")
        if channel is None:
            return Result(outcome="failed", error=NO_RELAY)
        identity = identity_of(context, channel)
        message = digest_message(
            views,
            identity=identity,
            to=to,
            at=context.now(),
            message_id=message_id_of(task.id, identity),
            highest=highest_tlp([view.tlp for view in views] + (["GREEN"] if series else [])),
            series=series,
        )
        return sent(channel, message)

    return handle


def notices_heard(
    session: Session, subscription: Subscription, org: Organisation, since: datetime, until: datetime
) -> list[AlertView]:
    """The live alerts of levels 1 and 2 whose newest revision fell into the span, that this endpoint hears of in full and that
    were not sent to it at once, oldest first.
    """
    reader: Reader = queries.reader_of_subscription(subscription, org)
    rows = session.execute(
        select(Alert, AlertRevision)
        .join(AlertRevision, (AlertRevision.alert_id == Alert.id) & (AlertRevision.revision == Alert.revision))
        .where(
            AlertRevision.level <= HELD_BACK,
            ~exists().where(
                Task.topic == "deliver",
                Task.seq_group == literal(f"{subscription.id}:").concat(Alert.id),
                Task.state != "cancelled",
            ),
            AlertRevision.sent_at > since,
            AlertRevision.sent_at <= until,
            AlertRevision.state.in_(("issued", "updated")),
        )
        .options(joinedload(Alert.substance))
        .order_by(Alert.id)
    ).all()
    wish = queries.filter_of(subscription)
    found = []
    for alert, revision in rows:
        detail = hears(queries.facts_of(alert, revision, alert.substance), reader, wish, subscription.detail)
        if detail == "full":
            found.append(Found(alert, revision))
    evidence = queries.evidence_of(session, [item.alert.id for item in found])
    return [
        queries.view_of(
            item.alert,
            item.revision,
            item.alert.substance,
            evidence=evidence.get(item.alert.id, ()),
            acknowledgements=(),
            earlier=(),
            reader=reader,
            withheld=False,
        )
        for item in found
    ]
