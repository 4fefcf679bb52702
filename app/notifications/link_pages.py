"""The page behind a link in an e-mail: it acknowledges one alert, once, by a button. Following the link changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth.sessions import MaybeViewer, Viewer
from app.context import AppContext, Context
from app.notifications import links
from app.problems import Problem
from app.web.frame import build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

GONE = "This link is not known, or it is older than 30 days. Sign in to see what waits for you."
PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Robots-Tag": "noindex"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkContext:
    """`short` is empty for TLP:RED, of which the page says only that it is."""

    token: str
    alert_id: str
    level: int
    tlp: str
    short: str
    organisation: str
    open: bool
    answered_at: datetime | None


def _page(
    request: Request, context: AppContext, session: Session, viewer: Viewer | None, token: str, linked: links.Linked
) -> Response:
    red = "RED" in (linked.revision.tlp, linked.alert.tlp)
    page = LinkContext(
        token=token,
        alert_id=linked.alert.id,
        level=linked.revision.level,
        tlp=linked.revision.tlp,
        short="" if red else linked.revision.short,
        organisation=linked.organisation.name,
        open=linked.open,
        answered_at=linked.answer.at if linked.answer else None,
    )
    frame = build_frame(request, context, session, viewer, title="Acknowledge an alert")
    return Page("notifications/link.html", frame, page, headers=PRIVATE)


@router.get("/a/{token}")
def ask(request: Request, context: Context, viewer: MaybeViewer, token: str) -> Response:
    """What would be acknowledged, and a button."""
    with context.database.read() as session:
        linked = links.find(session, token, context.now())
        if linked is None:
            raise Problem("not-found", GONE)
        return _page(request, context, session, viewer, token, linked)


@router.post("/a/{token}")
def acknowledge(context: Context, token: str) -> Response:
    """Acknowledges, once; leads back to the page, which says so."""
    with context.database.write() as session:
        if links.use(session, token, context.now()) is None:
            raise Problem("not-found", GONE)
    return RedirectResponse(f"/a/{token}", status_code=303, headers=PRIVATE)
