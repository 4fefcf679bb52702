"""Signing in and out, and a person's own account.

One message for every failure, and nothing that tells whether an e-mail is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from app.auth import accounts, sessions
from app.auth.permissions import Action
from app.auth.sessions import COOKIE, LIFETIME, MaybeViewer, Viewer, requires_form, requires_viewer, safe_return
from app.auth.throttle import SignInThrottle
from app.context import AppContext, Context
from app.persistence.models import Person
from app.problems import Problem
from app.web import csrf
from app.web.frame import Crumb, Frame, build_frame
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

FAILURE = "E-mail or password is not right."
EXPIRED = "The form was open too long. Sign in once more."
MOST_PASSWORD = 1_024  # longer ones only cost time


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInContext:
    """The sign-in form: where to go after it, what was typed, and why it came back."""

    next: str
    email: str
    token: str
    failure: str | None


THEMES = {"system": "As the device says", "light": "Light", "dark": "Dark"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountContext:
    """Who is signed in, the look they chose, and until when this sign-in lasts."""

    email: str
    organisation: str
    country: str
    themes: tuple[tuple[str, str], ...]
    chosen: str
    saved: bool


def _throttle(request: Request) -> SignInThrottle:
    throttle: SignInThrottle = request.app.state.sign_in_throttle
    return throttle


def _secure(context: AppContext) -> bool:
    return context.settings.base_url.startswith("https://")


def _frame(request: Request, context: AppContext, *, error: bool = False) -> Frame:
    with context.database.read() as session:
        return build_frame(request, context, session, None, title="Sign in", error=error)


def _form(
    request: Request, context: AppContext, *, next_address: str, email: str = "", failure: str | None = None, status: int = 200
) -> Response:
    cookie = request.cookies.get(csrf.ANONYMOUS_COOKIE) or csrf.new_cookie()
    page = SignInContext(next=next_address, email=email, token=csrf.anonymous_token(context.secret, cookie), failure=failure)
    response = Page(
        "auth/sign_in.html",
        _frame(request, context, error=failure is not None),
        page,
        status=status,
        headers={"Cache-Control": "no-store"},
    )
    response.set_cookie(
        csrf.ANONYMOUS_COOKIE, cookie, httponly=True, samesite="lax", secure=_secure(context), path="/sign-in", max_age=12 * 3600
    )
    return response


@router.get("/sign-in")
def sign_in_form(
    request: Request, context: Context, viewer: MaybeViewer, next_address: Annotated[str, Query(alias="next")] = "/"
) -> Response:
    """The form; whoever is signed in goes on."""
    wanted = safe_return(next_address)
    if viewer is not None:
        return RedirectResponse(wanted, status_code=303)
    return _form(request, context, next_address=wanted)


@router.post("/sign-in")
def sign_in(
    request: Request,
    context: Context,
    email: Annotated[str, Form()] = "",
    password: Annotated[str, Form()] = "",
    csrf_token: Annotated[str, Form()] = "",
    next_address: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """Signs in and goes to the address kept, or shows the form again."""
    wanted = safe_return(next_address)
    cookie = request.cookies.get(csrf.ANONYMOUS_COOKIE, "")
    if not cookie or not csrf.matches(csrf_token, csrf.anonymous_token(context.secret, cookie)):
        return _form(request, context, next_address=wanted, email=email, failure=EXPIRED, status=422)

    now = context.now()
    address = request.client.host if request.client else "unknown"
    throttle = _throttle(request)
    wait = throttle.wait(email=email, address=address, now=now)
    if wait is not None:
        seconds = max(math.ceil(wait.total_seconds()), 1)
        minutes = math.ceil(seconds / 60)
        raise Problem(
            "rate-limited",
            f"Too many attempts to sign in. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}.",
            headers={"Retry-After": str(seconds)},
        )
    person = _check(context, email, password)
    if person is None:
        throttle.failed(email=email, address=address, now=now)
        return _form(request, context, next_address=wanted, email=email, failure=FAILURE, status=422)
    throttle.succeeded(email=email)
    return _signed_in(context, person, wanted, now)


def _check(context: AppContext, email: str, password: str) -> Person | None:
    with context.database.read() as session:
        return accounts.check_password(session, email, password[:MOST_PASSWORD])


def _signed_in(context: AppContext, person: Person, wanted: str, now: datetime) -> Response:
    with context.database.write() as session:
        token = sessions.open_session(session, person.id, now)
    response = RedirectResponse(wanted, status_code=303)
    response.set_cookie(
        COOKIE,
        token,
        httponly=True,
        samesite="lax",
        secure=_secure(context),
        path="/",
        max_age=int(LIFETIME.total_seconds()),
    )
    response.delete_cookie(csrf.ANONYMOUS_COOKIE, path="/sign-in")
    response.headers["Cache-Control"] = "no-store"
    return response


@router.post("/sign-out")
def sign_out(request: Request, context: Context, viewer: MaybeViewer, csrf_token: Annotated[str, Form()] = "") -> Response:
    """Ends this sign-in. Without one there is nothing to end."""
    response = RedirectResponse("/", status_code=303)
    if viewer is not None:
        sessions.check_token(viewer, csrf_token)
        with context.database.write() as session:
            sessions.close_session(session, request.cookies[COOKIE])
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=_secure(context))
    return response


Somebody = Annotated[Viewer, Depends(requires_viewer(Action.SUBSTANCE_READ))]
SomebodysForm = Annotated[Viewer, Depends(requires_form(Action.SUBSTANCE_READ))]


@router.get("/account")
def account(request: Request, context: Context, viewer: Somebody, saved: bool = False) -> Response:
    """Who am I here, and how do the pages look?"""
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Account", crumbs=(Crumb(text="Overview", href="/"),))
    page = AccountContext(
        email=viewer.email,
        organisation=viewer.principal.org_name,
        country=country_name(viewer.principal.country),
        themes=tuple(THEMES.items()),
        chosen=viewer.theme,
        saved=saved,
    )
    return Page("auth/account.html", frame, page)


@router.post("/account")
def save_account(context: Context, viewer: SomebodysForm, theme: Annotated[str, Form()]) -> Response:
    """Keeps the chosen look."""
    if theme not in THEMES:
        raise Problem("validation", f"theme: {theme!r} is not one of {', '.join(THEMES)}.")
    with context.database.write() as session:
        session.get_one(Person, viewer.person_id).theme = theme
    return RedirectResponse("/account?saved=true", status_code=303)


@router.post("/account/sign-out-everywhere")
def sign_out_everywhere(context: Context, viewer: SomebodysForm) -> Response:
    """Ends every sign-in of this person."""
    with context.database.write() as session:
        sessions.close_all_sessions(session, viewer.person_id)
    response = RedirectResponse("/", status_code=303)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=_secure(context))
    return response
