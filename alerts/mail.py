"""Alerts as e-mails. Pure: plain text first, headers only through the library's structured API."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from html import escape

from alerts.cap import SEVERITY
from alerts.render import one_line
from alerts.values import AlertView

_ACKNOWLEDGE = "To acknowledge without signing in, open this page and press the button. It works once."
NOTICE_LINK = "Sign in to read it"


@dataclass(frozen=True, slots=True, kw_only=True)
class MailIdentity:
    """Who writes: the address in From, the host in Message-ID, the address of the service's pages."""

    address: str
    host: str
    web: str


def message_id_of(task_id: str, identity: MailIdentity) -> str:
    """The Message-ID of a delivery: the same at every attempt."""
    return f"<{task_id}@{identity.host}>"


def _message(identity: MailIdentity, to: str, subject: str, text: str, *, message_id: str, at: datetime) -> EmailMessage:
    message = EmailMessage()
    message["From"] = identity.address
    message["To"] = to
    message["Subject"] = one_line(subject, 200)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = message_id
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    message.add_alternative(_html(text), subtype="html")
    return message


def _html(text: str) -> str:
    """The same text as HTML: paragraphs, and links that are links. No picture, no style from elsewhere."""
    blocks = (block.strip("\n") for block in text.split("\n\n"))
    inner = "".join(f"<p>{_LINK.sub(_anchor, escape(block)).replace(chr(10), '<br>')}</p>" for block in blocks if block)
    return f'<!doctype html><html lang="en"><head><meta charset="utf-8"></head><body>{inner}</body></html>'


_LINK = re.compile(r"https?://[^\s<>&]+")


def _anchor(found: re.Match[str]) -> str:
    return f'<a href="{found.group()}">{found.group()}</a>'


def alert_message(
    view: AlertView,
    kind: str,
    *,
    identity: MailIdentity,
    to: str,
    at: datetime,
    message_id: str,
    earlier_ids: Sequence[str] = (),
    acknowledge: str | None = None,
) -> EmailMessage:
    """An alert to one recipient. The label stands in the subject, the first and the last line; updates refer to what went before.

    A withheld alert (RED, or a thin endpoint) is a notice with a link only. `acknowledge` is a link that answers without a
    sign-in.
    """
    label = f"TLP:{view.tlp}"
    word = {"alert.updated": "Updated: ", "alert.retracted": ""}.get(kind, "")
    link = f"{identity.web}/alerts/{view.id}"
    if view.withheld:
        subject = f"[{label}] [{SEVERITY[view.level]}] An alert waits for you"
        body = f"{NOTICE_LINK}: {link}"
    else:
        subject = f"[{label}] [{SEVERITY[view.level]}] {word}{view.texts.headline}"
        reviewed = "" if view.reviewed else "Unreviewed: issued by rule, not yet checked by a person.\n\n"
        body = f"{view.texts.headline}\n\n{reviewed}{view.texts.full}\n\nWhat to do: {view.texts.instruction}\n\n{link}"
    if acknowledge:
        body = f"{body}\n\n{_ACKNOWLEDGE}\n{acknowledge}"
    message = _message(identity, to, subject, f"{label}\n\n{body}\n\n{label}\n", message_id=message_id, at=at)
    if earlier_ids:
        message["In-Reply-To"] = earlier_ids[-1]
        message["References"] = " ".join(earlier_ids)
    return message


def confirmation_message(*, identity: MailIdentity, to: str, link: str, at: datetime, message_id: str) -> EmailMessage:
    """Asks the owner of an address whether alerts may be sent there."""
    text = (
        "Somebody asked for alerts of the NPS early-warning service to be sent to this address.\n\n"
        f"To confirm, open this page and press the button:\n{link}\n\n"
        "If it was not you, there is nothing to do: without confirmation nothing more is sent.\n"
    )
    return _message(identity, to, "Confirm alerts by e-mail", text, message_id=message_id, at=at)


def digest_message(
    views: Sequence[AlertView],
    *,
    identity: MailIdentity,
    to: str,
    at: datetime,
    message_id: str,
    highest: str,
    series: Sequence[str] = (),
) -> EmailMessage:
    """The notices of a week, one line each. `highest` is the strictest label among them; `series` are sentences on series that
    stand above what was expected.
    """
    label = f"TLP:{highest}"
    lines = [f"- [TLP:{view.tlp}] {view.texts.headline}\n  {identity.web}/alerts/{view.id}" for view in views]
    count = f"{len(views)} notice{'s' if len(views) != 1 else ''}"
    parts = [label, f"{count} of the past week:", "\n".join(lines)] if views else [label, f"{count} of the past week."]
    if series:
        parts += ["Series above what was expected, at a false discovery rate of 5 %:", "\n".join(f"- {one}" for one in series)]
    text = "\n\n".join([*parts, label]) + "\n"
    return _message(identity, to, f"[{label}] [Minor] {count} of the past week", text, message_id=message_id, at=at)


def reminder_message(
    view: AlertView,
    *,
    identity: MailIdentity,
    to: str,
    at: datetime,
    message_id: str,
    overdue_by: str,
    acknowledge: str | None = None,
) -> EmailMessage:
    """Says that an alert still waits for acknowledgement or a decision. The alert itself stays on its page."""
    label = f"TLP:{view.tlp}"
    subject = f"[{label}] [{SEVERITY[view.level]}] Overdue by {overdue_by}: an alert waits for an answer"
    button = f"{_ACKNOWLEDGE}\n{acknowledge}\n\n" if acknowledge else ""
    what = f"An alert of level {view.level} still waits for an answer: {identity.web}/alerts/{view.id}"
    text = f"{label}\n\n{what}\n\n{button}{label}\n"
    return _message(identity, to, subject, text, message_id=message_id, at=at)


def measure_reminder(
    kind: str,
    substance: str | None,
    country: str,
    until: date,
    *,
    identity: MailIdentity,
    to: str,
    at: datetime,
    message_id: str,
) -> EmailMessage:
    """Says that a measure of this authority ends within 30 days."""
    what = f"{kind} of {one_line(substance, 120)}" if substance else kind
    text = (
        f"The measure on file for {country} ends on {until.day} {until:%B %Y}: {what}.\n\n"
        f"Record what follows it, or let it end: {identity.web}/measures\n"
    )
    return _message(identity, to, f"A measure ends on {until.day} {until:%B %Y}: {what}", text, message_id=message_id, at=at)


_ENDPOINT = {
    "silent": "An endpoint has been silent: no message to it, not even the weekly heartbeat, got through for more than a week.",
    "disabled": "An endpoint was disabled: nothing is sent to it until its owner enables it again. What waits for it is kept.",
    "soon-disabled": "An endpoint has taken nothing for four days. It is disabled in 24 hours unless a delivery succeeds.",
    "blocked": "An endpoint was not called: its address is outside the rules for outgoing requests.",
    "dead": "A delivery needs a person: every attempt at it failed. It can be sent again at any time.",
    "refused": "An endpoint refuses deliveries. They are tried again for about three days.",
}


def endpoint_message(
    reason: str, endpoint: str, error: str | None, *, identity: MailIdentity, to: str, at: datetime, message_id: str
) -> EmailMessage:
    """Tells owner or operator what happened to an endpoint; `endpoint` is its id, never its secret or full address."""
    what = _ENDPOINT[reason]
    last = one_line(error or "none", 300)
    text = f"{what}\n\nEndpoint: {endpoint}\nLast error: {last}\n\n{identity.web}/subscriptions\n"
    return _message(identity, to, f"Alerts: {what.partition(':')[0].partition('.')[0]}", text, message_id=message_id, at=at)
