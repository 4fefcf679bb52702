"""Signing in and out: password, then the second factor where the person has one.

One message for every failure, and nothing that tells whether an e-mail is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from app.auth import accounts, second_factor, sessions
from app.auth.sessions import COOKIE, LIFETIME, MaybeViewer, safe_return
from app.auth.throttle import SignInThrottle
from app.context import AppContext, Context
from app.persistence import trail
from app.persistence.models import Person
from app.problems import Problem
from app.web import csrf
from app.web.frame import Frame, build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

FAILURE = "E-mail or password is not right."
EXPIRED = "The form was open too long. Sign in once more."
WRONG_CODE = "The code is not right, or was used before."
TICKET = "nps_second"
MOST_PASSWORD = 1_024  # longer ones only cost time


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInContext:
    """The sign-in form: where to go after it, what was typed, and why it came back."""

    next: str
    email: str
    token: str
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeContext:
    """The second step of a sign-in: a code of the authenticator, or a recovery code."""

    next: str
    token: str
    failure: str | None


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
    _check_wait(throttle, email, address, now)
    person = _check(context, email, password)
    if person is None:
        throttle.failed(email=email, address=address, now=now)
        return _form(request, context, next_address=wanted, email=email, failure=FAILURE, status=422)
    if person.totp_since is not None:
        return _ask_for_code(
            request, context, next_address=wanted, ticket=second_factor.ticket_for(person.id, context.secret, now)
        )
    throttle.succeeded(email=email)
    return _signed_in(request, context, person, wanted, now)


def _ask_for_code(
    request: Request, context: AppContext, *, next_address: str, ticket: str, failure: str | None = None, status: int = 200
) -> Response:
    cookie = request.cookies.get(csrf.ANONYMOUS_COOKIE, "")
    page = CodeContext(next=next_address, token=csrf.anonymous_token(context.secret, cookie), failure=failure)
    with context.database.read() as session:
        frame = build_frame(request, context, session, None, title="Second step", error=failure is not None)
    response = Page("auth/code.html", frame, page, status=status, headers={"Cache-Control": "no-store"})
    response.set_cookie(
        TICKET, ticket, httponly=True, samesite="lax", secure=_secure(context), path="/sign-in",
        max_age=second_factor.TICKET_SECONDS,
    )  # fmt: skip
    return response


@router.post("/sign-in/code")
def sign_in_code(
    request: Request,
    context: Context,
    code: Annotated[str, Form(max_length=100)] = "",
    csrf_token: Annotated[str, Form()] = "",
    next_address: Annotated[str, Form(alias="next")] = "/",
) -> Response:
    """The second step: signs in where the code is right and was not used before."""
    wanted = safe_return(next_address)
    now = context.now()
    cookie = request.cookies.get(csrf.ANONYMOUS_COOKIE, "")
    ticket = request.cookies.get(TICKET, "")
    holder = second_factor.holder_of(ticket, context.secret, now)
    if holder is None or not cookie or not csrf.matches(csrf_token, csrf.anonymous_token(context.secret, cookie)):
        return _form(request, context, next_address=wanted, failure=EXPIRED, status=422)
    address = request.client.host if request.client else "unknown"
    throttle = _throttle(request)
    # codes count apart from passwords, under the person's id, so that a right password does not clear them
    _check_wait(throttle, holder, address, now)
    with context.database.write() as session:
        person = session.get(Person, holder, with_for_update=True)
        right = person is not None and person.disabled_at is None and second_factor.accepts(person, context.box, code, now)
    if not right or person is None:
        throttle.failed(email=holder, address=address, now=now)
        return _ask_for_code(request, context, next_address=wanted, ticket=ticket, failure=WRONG_CODE, status=422)
    throttle.succeeded(email=holder)
    throttle.succeeded(email=person.email)
    return _signed_in(request, context, person, wanted, now)


def _check_wait(throttle: SignInThrottle, email: str, address: str, now: datetime) -> None:
    """Raises Problem `rate-limited` where there were too many failures."""
    wait = throttle.wait(email=email, address=address, now=now)
    if wait is None:
        return
    seconds = max(math.ceil(wait.total_seconds()), 1)
    minutes = math.ceil(seconds / 60)
    raise Problem(
        "rate-limited",
        f"Too many attempts to sign in. Try again in {minutes} {'minute' if minutes == 1 else 'minutes'}.",
        headers={"Retry-After": str(seconds)},
    )


def _check(context: AppContext, email: str, password: str) -> Person | None:
    with context.database.read() as session:
        return accounts.check_password(session, email, password[:MOST_PASSWORD])


def _signed_in(request: Request, context: AppContext, person: Person, wanted: str, now: datetime) -> Response:
    trail.note_actor(f"person:{person.id}", person.org_id)
    with context.database.write() as session:
        token = sessions.open_session(session, person.id, now, agent=request.headers.get("user-agent", "")[:120] or None)
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
    response.delete_cookie(TICKET, path="/sign-in")
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
