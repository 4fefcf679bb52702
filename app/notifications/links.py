"""Links in e-mails that acknowledge an alert without signing in, once. Nothing here commits.

A scanner of mail only follows links; following one changes nothing. The token is derived from the task that sends it, so that an
e-mail tried again holds the same link, and only its hash is stored.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.policies import ACKNOWLEDGE_WITHIN
from app.auth.tokens import hash_token
from app.notifications.escalation import stop_clocks
from app.notifications.inbox import LIVE_STATES
from app.persistence.base import new_id
from app.persistence.models import AcknowledgeLink, Acknowledgement, Alert, AlertRevision, Organisation
from app.persistence.tasks import insert_once

KEPT = timedelta(days=30)


def token_of(secret: bytes, task_id: str) -> str:
    """The token in the e-mail of this task: 256 bits that nobody without the service's key can make."""
    digest = hmac.new(secret, b"acknowledge by mail:" + task_id.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def make(session: Session, token: str, *, alert_id: str, org_id: str, email: str, now: datetime) -> None:
    """Store the link, once."""
    values = {
        "token_hash": hash_token(token), "alert_id": alert_id, "org_id": org_id, "email": email, "created_at": now,
        "expires_at": now + KEPT,
    }  # fmt: skip
    insert_once(session, AcknowledgeLink, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Linked:
    """What stands behind a link. `answer` is the organisation's acknowledgement where there is one; `open` whether there is
    anything left to acknowledge.
    """

    link: AcknowledgeLink
    alert: Alert
    revision: AlertRevision
    organisation: Organisation
    answer: Acknowledgement | None
    open: bool


def find(session: Session, token: str, now: datetime) -> Linked | None:
    """What the link stands for; None where it is unknown or has run out."""
    link = session.get(AcknowledgeLink, hash_token(token))
    if link is None or link.expires_at <= now:
        return None
    alert = session.get_one(Alert, link.alert_id)
    revision = session.get_one(AlertRevision, (alert.id, alert.revision))
    answer = session.scalars(
        select(Acknowledgement).where(
            Acknowledgement.alert_id == alert.id, Acknowledgement.org_id == link.org_id, Acknowledgement.kind == "acknowledged"
        )
    ).first()
    wanted = alert.state in LIVE_STATES and revision.level >= min(ACKNOWLEDGE_WITHIN)
    return Linked(
        link=link,
        alert=alert,
        revision=revision,
        organisation=session.get_one(Organisation, link.org_id),
        answer=answer,
        open=wanted and answer is None and link.used_at is None,
    )


def use(session: Session, token: str, now: datetime) -> Linked | None:
    """Acknowledge by the link, if it is open; what then stands behind it. Using it again changes nothing."""
    found = find(session, token, now)
    if found is None or not found.open:
        return found
    link = session.scalars(
        select(AcknowledgeLink).where(AcknowledgeLink.token_hash == found.link.token_hash).with_for_update()
    ).one()
    link.used_at = now
    values = {
        "id": new_id(), "alert_id": found.alert.id, "revision": found.alert.revision, "org_id": link.org_id,
        "actor": f"link:{link.token_hash[:16]}", "kind": "acknowledged", "note": None, "at": now,
    }  # fmt: skip
    insert_once(session, Acknowledgement, values)
    stop_clocks(session, found.alert.id, link.org_id, now)
    session.flush()
    return find(session, token, now)
