"""Alerts as CAP documents and as an Atom feed, as one reader may see them."""

from __future__ import annotations

import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.cap import CapSender, Earlier, cap_document, to_bytes
from alerts.render import iso
from alerts.values import AlertView
from app.auth.permissions import Principal
from app.context import AppContext
from app.notifications import queries
from app.notifications.queries import Found
from app.persistence.models import AlertRevision
from app.problems import Problem

ATOM = "http://www.w3.org/2005/Atom"
MOST_ENTRIES = 100
SENDER_NAME = "NPS early-warning service"


def sender_of(context: AppContext) -> CapSender:
    """The sender id is made of the host of NPS_BASE_URL."""
    host = urlsplit(context.settings.base_url).hostname or "localhost"
    return CapSender(id=f"nps@{host}", name=SENDER_NAME, web=context.settings.base_url)


def cap_of(session: Session, context: AppContext, principal: Principal | None, alert_id: str) -> bytes:
    """The CAP document of the newest revision that this principal may see. Raises Problem `not-found`; RED has none."""
    found = queries.find(session, principal, alert_id)
    if found is None or found.revision.tlp == "RED":
        raise Problem("not-found", "There is no CAP document of this alert, or this key may not see it.")
    view = queries.views_for(session, principal, [found])[0]
    return render_cap(session, context, view, found)


def render_cap(session: Session, context: AppContext, view: AlertView, found: Found) -> bytes:
    """The CAP document of this view. A reader that had no earlier revision gets an Alert without references."""
    numbers = [row["revision"] for row in view.references]
    rows = session.execute(
        select(AlertRevision.revision, AlertRevision.sent_at)
        .where(AlertRevision.alert_id == view.id, AlertRevision.revision.in_(numbers))
        .order_by(AlertRevision.revision)
    )
    earlier = [Earlier(revision=number, sent_at=sent_at) for number, sent_at in rows]
    msg_type = "Cancel" if found.revision.msg_type == "Cancel" else "Update" if earlier else "Alert"
    return cap_document(
        view,
        msg_type=msg_type,
        sent_at=found.revision.sent_at,
        earlier=earlier,
        reason=found.revision.reason,
        sender=sender_of(context),
        status="Test" if found.alert.test else "Exercise" if context.demo else "Actual",
        now=context.now(),
    )


def atom_of(context: AppContext, found: Sequence[Found], views: Sequence[AlertView], *, public: bool) -> bytes:
    """An Atom feed (RFC 4287) of these alerts, newest first; each entry points at its CAP document."""
    base = context.settings.base_url
    host = urlsplit(base).hostname or "localhost"
    feed = ET.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
    _add(feed, "id", f"tag:{host},2026:alerts{'' if public else ':restricted'}")
    _add(feed, "title", "Alerts on new psychoactive substances")
    if context.demo:
        _add(feed, "subtitle", "Demonstration: all data are synthetic")
    newest = max((item.revision.sent_at for item in found), default=None)
    _add(feed, "updated", iso(newest) if newest is not None else "1970-01-01T00:00:00.000Z")
    author = ET.SubElement(feed, "author")
    _add(author, "name", SENDER_NAME)
    ET.SubElement(feed, "link", {"rel": "self", "href": f"{base}/v1/alerts.atom", "type": "application/atom+xml"})
    for item, view in zip(found, views, strict=True):
        entry = ET.SubElement(feed, "entry")
        _add(entry, "id", f"tag:{host},2026:alert:{view.id}")
        _add(entry, "title", f"[TLP:{view.tlp}] {view.texts.headline}")
        _add(entry, "updated", iso(item.revision.sent_at))
        if view.issued_at is not None:
            _add(entry, "published", iso(view.issued_at))
        _add(entry, "summary", view.texts.summary)
        ET.SubElement(entry, "category", {"term": view.type})
        ET.SubElement(
            entry, "link", {"rel": "alternate", "type": "application/cap+xml", "href": f"{base}/v1/alerts/{view.id}.cap"}
        )
    return to_bytes(feed)


def etag_of(content: bytes) -> str:
    """A strong entity tag: the same for the same bytes."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = text
