"""Endpoints: making, proving, changing and closing them, and sending again. Nothing here commits."""

from __future__ import annotations

import json
import re
import secrets as random
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from alerts.channels.egress import AllowRule, parse_url
from alerts.channels.webhook import new_secret
from alerts.errors import EgressRefused
from alerts.policies import tlp_rank
from alerts.render import iso
from app.auth.permissions import Principal, Role, held_by
from app.notifications import queries
from app.notifications.fanout import fan_out, message_id
from app.notifications.schemas import ADDRESS, RedeliverIn, SubscriptionIn, SubscriptionPatch
from app.notifications.secrets import SecretBox, with_new_secret
from app.notifications.sending import CATCH_UP_SECONDS, activate
from app.persistence.models import Subscription, Task
from app.persistence.tasks import PRIORITY_PING, cancel_tasks, insert_once, park_lane, task_values, unpark_lane
from app.problems import FieldError, Problem

RESENDABLE = ("done", "dead", "ready", "parked")


def clearance(role: Role, wanted: str) -> str:
    """The highest label an endpoint of this role holds, at most `wanted`. Industry partners hold GREEN, for their own notices
    alone.
    """
    if role is Role.INDUSTRY:
        return min(wanted, "GREEN", key=tlp_rank)
    return held_by(role, wanted)


def create(
    session: Session,
    principal: Principal,
    wish: SubscriptionIn,
    *,
    allow: tuple[AllowRule, ...],
    box: SecretBox,
    mail: bool,
    now: datetime,
) -> tuple[Subscription, str | None]:
    """A new endpoint and, for a webhook, its signing secret in clear, which is shown this once. A signed ping is on its way.

    Raises Problem `validation` where the target does not fit the channel or breaks the rules for outgoing requests.
    """
    target, sealed, secret = _target(wish, allow, mail=mail), [], None
    if wish.channel == "webhook":
        secret = new_secret()
        sealed = [{"secret": box.seal(secret), "expires_at": None}]
    subscription = Subscription(
        org_id=principal.org_id,
        role=principal.role.value,
        channel=wish.channel,
        target=target,
        filter=wish.filter.model_dump(),
        tlp_max=clearance(principal.role, wish.tlp_max),
        detail=wish.detail,
        daily_limit=wish.daily_limit if wish.channel == "email" else None,
        state="active" if wish.channel == "inbox" else "unverified",
        secrets=sealed,
        breaker="closed",
        failures=0,
        created_at=now,
    )
    session.add(subscription)
    session.flush()
    if wish.channel != "inbox":
        prove(session, subscription, now)
    return subscription, secret


def _target(wish: SubscriptionIn, allow: tuple[AllowRule, ...], *, mail: bool) -> str | None:
    match wish.channel:
        case "webhook":
            if wish.url is None or wish.address is not None:
                raise _invalid("/url", "A webhook needs a url, and no address.")
            check_url(wish.url, allow)
            return wish.url
        case "email":
            if not mail:
                raise _invalid("/channel", "This installation has no mail server (NPS_SMTP_URL); use webhook or inbox.")
            if wish.address is None or wish.url is not None or not re.fullmatch(ADDRESS, wish.address):
                raise _invalid("/address", "An e-mail endpoint needs an address, such as alerts@authority.example, and no url.")
            return wish.address
        case _:
            if wish.url is not None or wish.address is not None:
                raise _invalid("/url", "An inbox has neither url nor address.")
            return None


def _invalid(pointer: str, detail: str) -> Problem:
    return Problem("validation", f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


def check_url(url: str, allow: tuple[AllowRule, ...]) -> None:
    """Raises Problem `validation` where the URL may not be called. Its addresses are checked at each request."""
    try:
        parse_url(url, allow)
    except EgressRefused as error:
        raise _invalid("/url", f"This address cannot be called: {error.message}.") from error


def prove(session: Session, subscription: Subscription, now: datetime) -> None:
    """Send a signed ping whose nonce the receiver must echo, or an e-mail with a link to confirm; then the endpoint is active."""
    subscription.nonce = random.token_urlsafe(24)
    if subscription.channel == "email":
        values = task_values(
            topic="confirm",
            key=f"{subscription.id}:{subscription.nonce}",
            lane=f"ping:{subscription.id}",
            priority=PRIORITY_PING,
            payload={"subscription": subscription.id, "nonce": subscription.nonce},
            now=now,
        )
        insert_once(session, Task, values)
        return
    _enqueue_ping(session, subscription, subscription.nonce, now, activates=True)


def _enqueue_ping(session: Session, subscription: Subscription, nonce: str, now: datetime, *, activates: bool) -> str:
    body = {"type": "ping", "timestamp": iso(now), "data": {"nonce": nonce}}
    values = task_values(
        topic="ping",
        key=f"{subscription.id}:{nonce}",
        lane=f"ping:{subscription.id}",
        priority=PRIORITY_PING,
        payload={
            "subscription": subscription.id,
            "nonce": nonce,
            "activates": activates,
            "body": json.dumps(body, separators=(",", ":")),
        },
        now=now,
    )
    insert_once(session, Task, values)
    return str(values["id"])


def send_test(session: Session, subscription: Subscription, now: datetime) -> str:
    """Send a ping now; the id of its delivery. One that waits to become active becomes so when the ping is answered."""
    if subscription.channel != "webhook":
        raise Problem("conflict", "Only a webhook can be tested.")
    if subscription.state == "unverified":
        prove(session, subscription, now)
        assert subscription.nonce is not None
        key = f"{subscription.id}:{subscription.nonce}"
        return message_id(session.scalars(select(Task.id).where(Task.topic == "ping", Task.key == key)).one())
    return message_id(_enqueue_ping(session, subscription, random.token_urlsafe(24), now, activates=False))


def own(session: Session, principal: Principal, subscription_id: str, *, lock: bool = False) -> Subscription:
    """An endpoint of this organisation. Raises Problem `not-found`."""
    query = select(Subscription).where(
        Subscription.id == subscription_id, Subscription.org_id == principal.org_id, Subscription.deleted_at.is_(None)
    )
    found = session.scalars(query.with_for_update() if lock else query).first()
    if found is None:
        raise Problem("not-found", "There is no subscription of this id, or it belongs to another organisation.")
    return found


def page(session: Session, principal: Principal, *, before: str | None, limit: int) -> list[Subscription]:
    """This organisation's endpoints, newest first."""
    query = select(Subscription).where(Subscription.org_id == principal.org_id, Subscription.deleted_at.is_(None))
    if before is not None:
        query = query.where(Subscription.id < before)
    return list(session.scalars(query.order_by(Subscription.id.desc()).limit(limit)))


def change(
    session: Session, subscription: Subscription, wish: SubscriptionPatch, *, allow: tuple[AllowRule, ...],
    now: datetime,
) -> None:  # fmt: skip
    """Apply the fields that are given. Another url, and enabling a disabled endpoint, need a ping to be answered first."""
    if wish.filter is not None:
        subscription.filter = wish.filter.model_dump()
    if wish.tlp_max is not None:
        subscription.tlp_max = clearance(Role(subscription.role), wish.tlp_max)
    if wish.detail is not None:
        subscription.detail = wish.detail
    if "daily_limit" in wish.model_fields_set:
        subscription.daily_limit = wish.daily_limit if subscription.channel == "email" else None
    if wish.url is not None and wish.url != subscription.target:
        if subscription.channel != "webhook":
            raise _invalid("/url", "Only a webhook has a url.")
        check_url(wish.url, allow)
        subscription.target = wish.url
        if subscription.state != "unverified":
            subscription.state = "disabled"  # what comes meanwhile is kept for it
        park_lane(session, subscription.id)
        prove(session, subscription, now)
        return
    match wish.state:
        case "paused" if subscription.state == "active":
            subscription.state = "paused"
            park_lane(session, subscription.id)
        case "active" if subscription.state == "paused":
            subscription.state = "active"
            session.flush()
            if subscription.breaker == "closed":
                unpark_lane(session, subscription.id, now, interval=CATCH_UP_SECONDS)
        case "active" if subscription.state in ("disabled", "unverified") and subscription.channel != "inbox":
            if subscription.channel == "webhook" and not subscription.secrets:
                raise Problem("conflict", "The endpoint has no secret: take one with rotate-secret first.")
            prove(session, subscription, now)
        case "paused" if subscription.state in ("disabled", "unverified"):
            raise Problem("conflict", f"The subscription is {subscription.state}.")


def delete(session: Session, subscription: Subscription, now: datetime) -> int:
    """Close the endpoint; what waits for it is cancelled with that reason. The number of deliveries cancelled."""
    subscription.deleted_at = now
    subscription.state = "disabled"
    subscription.nonce = None
    waiting = session.scalars(
        select(Task.id).where(Task.lane == subscription.id, Task.topic == "deliver", Task.state.in_(("ready", "parked", "dead")))
    ).all()
    return cancel_tasks(session, waiting, "the endpoint was deleted", now)


def rotate(session: Session, subscription: Subscription, box: SecretBox, now: datetime, *, overlap: timedelta) -> str:
    """A new secret that signs at once; the old one also signs until the overlap ends. The new one in clear, shown this once."""
    if subscription.channel != "webhook":
        raise Problem("conflict", "Only a webhook has a secret.")
    secret = new_secret()
    subscription.secrets = with_new_secret(subscription, box.seal(secret), now, overlap=overlap)
    session.flush()
    return secret


def redeliver(session: Session, principal: Principal, subscription: Subscription, wish: RedeliverIn, now: datetime) -> int:
    """Send again: one alert, those of a range of times, or all that are dead. The same webhook-id, a new attempt; the number of
    them.
    """
    given = [wish.alert is not None, wish.start is not None or wish.end is not None, wish.all_dead]
    if sum(given) != 1:
        raise _invalid("", "Give one of alert, from and to, or all_dead.")
    query = select(Task.id).where(Task.lane == subscription.id, Task.topic == "deliver", Task.state.in_(RESENDABLE))
    if wish.all_dead:
        return resend(session, session.scalars(query.where(Task.state == "dead")).all(), subscription, now)
    if wish.alert is not None:
        found = queries.find(session, principal, wish.alert)
        if found is None:
            raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
        fan_out(session, found.alert.id, found.revision.revision, now, only=subscription.id)
        newest = query.where(Task.payload["alert"].as_string() == wish.alert).order_by(Task.seq_no.desc()).limit(1)
        return resend(session, session.scalars(newest).all(), subscription, now)
    if wish.start is None or wish.end is None or wish.start.tzinfo is None or wish.end.tzinfo is None:
        raise _invalid("/from", "A range needs from and to, each with a zone.")
    ranged = query.where(Task.created_at >= wish.start, Task.created_at <= wish.end)
    return resend(session, session.scalars(ranged).all(), subscription, now)


def resend(session: Session, task_ids: Any, subscription: Subscription, now: datetime) -> int:
    """Make these deliveries due with a fresh budget of attempts; parked where the endpoint takes nothing now. The number of
    them.
    """
    ids = list(task_ids)
    ready = subscription.state == "active" and subscription.breaker == "closed"
    if ids:
        session.execute(
            update(Task)
            .where(Task.id.in_(ids), Task.state.in_(RESENDABLE))
            .values(state="ready" if ready else "parked", run_at=now, attempts=0, crashes=0, done_at=None)
        )
    return len(ids)


def document(subscription: Subscription) -> dict[str, Any]:
    """The endpoint as its owner sees it; never its secrets."""
    return {
        "id": subscription.id,
        "channel": subscription.channel,
        "url": subscription.target if subscription.channel == "webhook" else None,
        "address": subscription.target if subscription.channel == "email" else None,
        "filter": subscription.filter,
        "tlp_max": subscription.tlp_max,
        "detail": subscription.detail,
        "daily_limit": subscription.daily_limit,
        "state": subscription.state,
        "health": {
            "breaker": subscription.breaker,
            "failures": subscription.failures,
            "failing_since": iso(subscription.fail_since) if subscription.fail_since else None,
            "last_success_at": iso(subscription.last_success_at) if subscription.last_success_at else None,
            "last_error": subscription.last_error,
        },
        "secrets": [{"expires_at": row["expires_at"]} for row in subscription.secrets],
        "created_at": iso(subscription.created_at),
    }


def confirm(session: Session, subscription_id: str, token: str, now: datetime) -> bool:
    """Make an e-mail endpoint active whose owner followed the link; False where the link is spent or another was sent."""
    known = session.scalar(
        select(Subscription.channel).where(Subscription.id == subscription_id, Subscription.deleted_at.is_(None))
    )
    return known == "email" and activate(session, subscription_id, token, now)
