"""Sign-ins to the pages: a cookie for 12 hours, stored as a hash, and the dependencies that ask for it."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated
from urllib.parse import quote, urlsplit

from fastapi import Depends, Form, Request
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from app.auth.accounts import principal_of
from app.auth.permissions import Action, Principal, may
from app.auth.tokens import hash_token
from app.context import Context
from app.persistence import trail
from app.persistence.models import Person, WebSession
from app.problems import Problem
from app.web import csrf

COOKIE = "nps_session"
LIFETIME = timedelta(hours=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """A signed-in person: who they are, what they may (`principal`), and the token of their forms."""

    principal: Principal
    person_id: str
    name: str
    email: str
    theme: str
    shortcuts: bool
    csrf_token: str


class SignInNeeded(Exception):
    """The page needs a sign-in; `return_to` is the address to come back to."""

    def __init__(self, return_to: str) -> None:
        super().__init__(return_to)
        self.return_to = return_to

    @property
    def address(self) -> str:
        return f"/sign-in?next={quote(self.return_to, safe='/?=&')}" if self.return_to != "/" else "/sign-in"


def open_session(session: Session, person_id: str, now: datetime, *, agent: str | None = None) -> str:
    """A new sign-in; gives the cookie's value, which is stored nowhere. Sign-ins that ran out are removed on the way."""
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))
    token = secrets.token_urlsafe(32)
    session.add(
        WebSession(
            token_hash=hash_token(token),
            person_id=person_id,
            csrf_token=csrf.new_token(),
            created_at=now,
            expires_at=now + LIFETIME,
            agent=agent,
        )
    )
    session.execute(update(Person).where(Person.id == person_id).values(last_sign_in_at=now), execution_options={"trail": False})
    return token


def find_viewer(session: Session, token: str, now: datetime) -> Viewer | None:
    """Who signed in with this cookie; None where it is unknown, ran out, or the person was disabled since."""
    found = session.scalar(
        select(WebSession)
        .where(WebSession.token_hash == hash_token(token), WebSession.expires_at > now)
        .options(joinedload(WebSession.person).joinedload(Person.organisation))
    )
    if found is None or found.person.disabled_at is not None:
        return None
    person = found.person
    return Viewer(
        principal=principal_of(person.organisation, person.role, f"person:{person.id}"),
        person_id=person.id,
        name=person.name,
        email=person.email,
        theme=person.theme,
        shortcuts=person.shortcuts,
        csrf_token=found.csrf_token,
    )


def close_session(session: Session, token: str) -> None:
    session.execute(delete(WebSession).where(WebSession.token_hash == hash_token(token)))


def close_all_sessions(session: Session, person_id: str) -> None:
    session.execute(delete(WebSession).where(WebSession.person_id == person_id))


def safe_return(address: str) -> str:
    """The address if it is a path on this host, else `/`. Browsers read `//host` and `/\\host` as another host."""
    parts = urlsplit(address)
    foreign = parts.scheme or parts.netloc or not address.startswith("/") or address.startswith(("//", "/\\"))
    if foreign or any(ord(character) < 0x20 or character == "\\" for character in address):
        return "/"
    return address


def optional_viewer(request: Request, context: Context) -> Viewer | None:
    """The signed-in person, or None."""
    token = request.cookies.get(COOKIE)
    if not token:
        return None
    with context.database.read() as session:
        viewer = find_viewer(session, token, context.now())
    if viewer is not None:
        trail.note_actor(viewer.principal.actor, viewer.principal.org_id)
    return viewer


MaybeViewer = Annotated[Viewer | None, Depends(optional_viewer)]


def _here(request: Request) -> str:
    """The page to return to: for a part of a page, the page that asked for it."""
    if request.headers.get("hx-request") == "true":
        parts = urlsplit(request.headers.get("hx-current-url", "/"))
        return safe_return(parts.path + (f"?{parts.query}" if parts.query else ""))
    if request.method not in {"GET", "HEAD"}:
        return safe_return(urlsplit(request.headers.get("referer", "/")).path or "/")
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def requires_viewer(action: Action) -> Callable[..., Awaitable[Viewer]]:
    """A dependency like `app.context.requires`, for pages: sends to the sign-in without one, 403 where the role may not."""

    async def dependency(request: Request, viewer: MaybeViewer) -> Viewer:
        if viewer is None:
            raise SignInNeeded(_here(request))
        if not may(viewer.principal, action):
            raise Problem("forbidden", f"This page is not for the role {viewer.principal.role} of {viewer.principal.org_name}.")
        return viewer

    dependency.action = action  # type: ignore[attr-defined]
    return dependency


def check_token(viewer: Viewer, sent: str) -> None:
    """Raises `forbidden` unless the form's token is this sign-in's."""
    if not csrf.matches(sent, viewer.csrf_token):
        raise Problem("forbidden", "The form is older than your sign-in. Open the page again and send it once more.")


def requires_form(action: Action) -> Callable[..., Awaitable[Viewer]]:
    """Like `requires_viewer`, for a POST: the form's token must be this sign-in's."""
    allowed = requires_viewer(action)

    async def dependency(viewer: Viewer = Depends(allowed), csrf_token: Annotated[str, Form()] = "") -> Viewer:
        check_token(viewer, csrf_token)
        return viewer

    dependency.action = action  # type: ignore[attr-defined]
    return dependency
