"""A person's own account: who they are here, the look, password, second factor, and where they are signed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth import accounts, management, second_factor, sessions
from app.auth.permissions import Action
from app.auth.sessions import COOKIE, Viewer, requires_form, requires_viewer
from app.auth.tokens import hash_token
from app.context import AppContext, Context
from app.persistence.models import Person
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

THEMES = {"system": "As the device says", "light": "Light", "dark": "Dark"}
KEYS = {"on": "On", "off": "Off"}
SAVED = {"look": "Saved.", "password": "The password is changed. Other sign-ins ended.", "factor": "The second factor is off.",
         "sign-in": "That sign-in ended."}  # fmt: skip
MOST_PASSWORD = 1_024
Somebody = Annotated[Viewer, Depends(requires_viewer(Action.SUBSTANCE_READ))]
SomebodysForm = Annotated[Viewer, Depends(requires_form(Action.SUBSTANCE_READ))]
Secret = Annotated[str, Form(max_length=MOST_PASSWORD)]
Code = Annotated[str, Form(max_length=100)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """An open sign-in. `handle` names it in a form and opens nothing."""

    handle: str
    since: datetime
    until: datetime
    agent: str
    here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountContext:
    """Who is signed in, the look they chose, their second factor, and every open sign-in."""

    email: str
    organisation: str
    country: str
    themes: tuple[tuple[str, str], ...]
    chosen: str
    keys: tuple[tuple[str, str], ...]
    saved: str | None
    factor_since: datetime | None
    codes_left: int
    sign_ins: tuple[SignIn, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorContext:
    """Setting up the second factor: the secret to type in, or the recovery codes, shown this once."""

    secret: str
    address: str
    codes: tuple[str, ...]
    failure: str | None


@router.get("/account")
def account(request: Request, context: Context, viewer: Somebody, saved: str = "") -> Response:
    """Who am I here, how do the pages look, where am I signed in?"""
    with context.database.read() as session:
        person = session.get_one(Person, viewer.person_id)
        frame = build_frame(request, context, session, viewer, title="Account", crumbs=(Crumb(text="Overview", href="/"),))
        here = hash_token(request.cookies[COOKIE])
        sign_ins = tuple(
            SignIn(
                handle=row.token_hash[:16], since=row.created_at, until=row.expires_at, agent=row.agent or "unknown browser",
                here=row.token_hash == here,
            )
            for row in management.sign_ins_of(session, person.id, context.now())
        )  # fmt: skip
    page = AccountContext(
        email=viewer.email,
        organisation=viewer.principal.org_name,
        country=country_name(viewer.principal.country),
        themes=tuple(THEMES.items()),
        chosen=viewer.theme,
        keys=tuple(KEYS.items()),
        saved=SAVED.get(saved),
        factor_since=person.totp_since,
        codes_left=len(person.recovery or ()),
        sign_ins=sign_ins,
    )
    return Page("auth/account.html", frame, page)


def _back(saved: str) -> Response:
    return RedirectResponse(f"/account?saved={saved}", status_code=303)


@router.post("/account")
def save_account(
    context: Context,
    viewer: SomebodysForm,
    theme: Annotated[str, Form(max_length=10)],
    shortcuts: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Keeps the chosen look, and whether single keys act; without the latter it stays as it is."""
    for name, value, allowed in (("theme", theme, [*THEMES]), ("shortcuts", shortcuts, ["", *KEYS])):
        if value not in allowed:
            raise Problem("validation", f"{name}: {value!r} is not one of {', '.join(filter(None, allowed))}.")
    with context.database.write() as session:
        person = session.get_one(Person, viewer.person_id)
        person.theme = theme
        person.shortcuts = shortcuts == "on" if shortcuts else person.shortcuts
    return _back("look")


@router.post("/account/password")
def change_password(
    request: Request, context: Context, viewer: SomebodysForm, current: Secret = "", new: Secret = "", again: Secret = ""
) -> Response:
    """Changes the password; every other sign-in of the person ends."""
    if new != again:
        raise Problem("validation", "again: the two new passwords differ.")
    _check_password(request, context, viewer, current)
    with context.database.write() as session:
        person = session.get_one(Person, viewer.person_id)
        try:
            accounts.set_password(person, new)
        except accounts.AccountError as error:
            raise Problem("validation", f"new: {error}.") from error
        management.end_sign_ins(session, person.id, except_hash=hash_token(request.cookies[COOKIE]))
    return _back("password")


def _check_password(request: Request, context: AppContext, viewer: Viewer, given: str) -> None:
    """Raises Problem where the password is wrong, slowed down like a sign-in."""
    throttle = request.app.state.sign_in_throttle
    address = request.client.host if request.client else "unknown"
    now = context.now()
    if throttle.wait(email=viewer.person_id, address=address, now=now) is not None:
        raise Problem("rate-limited", "Too many wrong passwords. Try again in 15 minutes.", headers={"Retry-After": "900"})
    with context.database.read() as session:
        right = accounts.password_is(session.get_one(Person, viewer.person_id), given)
    if not right:
        throttle.failed(email=viewer.person_id, address=address, now=now)
        raise Problem("validation", "current: this is not your password.")


def _factor_page(
    request: Request, context: AppContext, session: Session, viewer: Viewer, page: FactorContext, *, status: int = 200
) -> Response:
    crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Account", href="/account"))
    frame = build_frame(request, context, session, viewer, title="Second factor", crumbs=crumbs, error=page.failure is not None)
    return Page("auth/factor.html", frame, page, status=status)


def _unfinished(person: Person) -> None:
    if person.totp_since is not None:
        raise Problem("conflict", "A second factor is set up. Take it off first.")


@router.get("/account/second-factor")
def factor(request: Request, context: Context, viewer: Somebody) -> Response:
    """The secret to type into an authenticator, once one was asked for."""
    with context.database.read() as session:
        person = session.get_one(Person, viewer.person_id)
        _unfinished(person)
        if person.totp_secret is None:
            return RedirectResponse("/account", status_code=303)
        return _factor_page(request, context, session, viewer, _setting_up(person, context))


def _setting_up(person: Person, context: AppContext, failure: str | None = None) -> FactorContext:
    return FactorContext(
        secret=second_factor.shown_secret(person, context.box),
        address=second_factor.address_of(person, context.box),
        codes=(),
        failure=failure,
    )


@router.post("/account/second-factor")
def begin_factor(request: Request, context: Context, viewer: SomebodysForm, current: Secret = "") -> Response:
    """Makes a new secret; it counts once a code of it was entered."""
    _check_password(request, context, viewer, current)
    with context.database.write() as session:
        person = session.get_one(Person, viewer.person_id)
        _unfinished(person)
        second_factor.begin(person, context.box)
    return RedirectResponse("/account/second-factor", status_code=303)


@router.post("/account/second-factor/confirm")
def confirm_factor(request: Request, context: Context, viewer: SomebodysForm, code: Code = "") -> Response:
    """Turns the second factor on and shows the recovery codes, this once."""
    with context.database.write() as session:
        person = session.get_one(Person, viewer.person_id)
        _unfinished(person)
        if person.totp_secret is None:
            return RedirectResponse("/account", status_code=303)
        codes = second_factor.confirm(person, context.box, code, context.now())
        if codes is None:
            failed = _setting_up(person, context, "The code is not right. Wait for the next one and try again.")
            return _factor_page(request, context, session, viewer, failed, status=422)
        management.end_sign_ins(session, person.id, except_hash=hash_token(request.cookies[COOKIE]))
        done = FactorContext(secret="", address="", codes=codes, failure=None)
        return _factor_page(request, context, session, viewer, done)


@router.post("/account/second-factor/remove")
def remove_factor(request: Request, context: Context, viewer: SomebodysForm, code: Code = "") -> Response:
    """Takes the second factor off; needs a code of it, or a recovery code."""
    throttle = request.app.state.sign_in_throttle
    address = request.client.host if request.client else "unknown"
    if throttle.wait(email=viewer.person_id, address=address, now=context.now()) is not None:
        raise Problem("rate-limited", "Too many wrong codes. Try again in 15 minutes.", headers={"Retry-After": "900"})
    with context.database.write() as session:
        person = session.get_one(Person, viewer.person_id)
        right = person.totp_since is not None and second_factor.accepts(person, context.box, code, context.now())
        if right:
            second_factor.remove(person)
    if not right:
        throttle.failed(email=viewer.person_id, address=address, now=context.now())
        raise Problem("validation", "code: the code is not right, or was used before.")
    return _back("factor")


@router.post("/account/sign-ins/{handle}/end")
def end_sign_in(context: Context, viewer: SomebodysForm, handle: str) -> Response:
    """Ends one sign-in of this person."""
    with context.database.write() as session:
        if not management.end_sign_in(session, viewer.person_id, handle):
            raise Problem("not-found", "There is no such sign-in of yours.")
    return _back("sign-in")


@router.post("/account/sign-out-everywhere")
def sign_out_everywhere(context: Context, viewer: SomebodysForm) -> Response:
    """Ends every sign-in of this person."""
    with context.database.write() as session:
        sessions.close_all_sessions(session, viewer.person_id)
    response = RedirectResponse("/", status_code=303)
    secure = context.settings.base_url.startswith("https://")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="lax", secure=secure)
    return response
