"""The administrator's page of accounts: people and keys, made, cut off, renewed. Data of reports are not to be seen here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth import management
from app.auth.accounts import AccountError, create_key
from app.auth.permissions import ROLES_OF_KIND, Action, Role
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.persistence.models import ApiKey, Organisation, Person
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False, prefix="/accounts")

OVERLAP = timedelta(hours=24)
Admin = Annotated[Viewer, Depends(requires_viewer(Action.ACCOUNTS))]
AdminsForm = Annotated[Viewer, Depends(requires_form(Action.ACCOUNTS))]
Text = Annotated[str, Form(max_length=300)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonRow:
    id: str
    name: str
    email: str
    organisation: str
    role: str
    second_factor: bool
    last_sign_in: datetime | None
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRow:
    """A key without its secret. `ends`: when it stops; `works`: whether it does now."""

    id: str
    prefix: str
    note: str
    organisation: str
    role: str
    scopes: str
    created: datetime
    ends: datetime | None
    last_used: datetime | None
    works: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsContext:
    """`shown` is a secret with what it is, printed this once."""

    people: tuple[PersonRow, ...]
    keys: tuple[KeyRow, ...]
    organisations: tuple[tuple[str, str], ...]
    roles: tuple[str, ...]
    shown: tuple[str, str] | None
    failure: str | None


def _page(
    request: Request,
    context: AppContext,
    session: Session,
    viewer: Viewer,
    *,
    shown: tuple[str, str] | None = None,
    failure: str | None = None,
) -> Response:
    now = context.now()
    frame = build_frame(
        request, context, session, viewer, title="Accounts", crumbs=(Crumb(text="Overview", href="/"),), error=failure is not None
    )
    organisations = session.scalars(select(Organisation).order_by(Organisation.name)).all()
    page = AccountsContext(
        people=tuple(_person(person) for person in management.everybody(session)),
        keys=tuple(_key(key, now) for key in management.every_key(session)),
        organisations=tuple((org.id, f"{org.name} ({org.kind}, {org.country})") for org in organisations),
        roles=tuple(sorted({role.value for roles in ROLES_OF_KIND.values() for role in roles})),
        shown=shown,
        failure=failure,
    )
    return Page("auth/accounts.html", frame, page, status=422 if failure else 200)


def _person(person: Person) -> PersonRow:
    return PersonRow(
        id=person.id, name=person.name, email=person.email, organisation=person.organisation.name, role=person.role,
        second_factor=person.totp_since is not None, last_sign_in=person.last_sign_in_at, disabled=person.disabled_at is not None,
    )  # fmt: skip


def _key(key: ApiKey, now: datetime) -> KeyRow:
    ends = key.revoked_at or key.expires_at
    return KeyRow(
        id=key.id, prefix=key.prefix, note=key.note or "", organisation=key.organisation.name, role=key.role,
        scopes=", ".join(key.scopes or ()), created=key.created_at, ends=ends, last_used=key.last_used_at,
        works=key.revoked_at is None and (key.expires_at is None or key.expires_at > now),
    )  # fmt: skip


@router.get("")
def accounts_page(request: Request, context: Context, viewer: Admin) -> Response:
    """Everybody and every key."""
    with context.database.read() as session:
        return _page(request, context, session, viewer)


@router.post("/people")
def add_person(
    request: Request, context: Context, viewer: AdminsForm, org: Text = "", email: Text = "", name: Text = "", role: Text = ""
) -> Response:
    """Makes an account and shows its first password."""
    try:
        with context.database.write() as session:
            person, password = management.add_person(session, org_id=org, email=email, name=name, role=role, now=context.now())
            session.flush()
            return _page(request, context, session, viewer, shown=(f"First password of {person.email}", password))
    except AccountError as error:
        with context.database.read() as session:
            return _page(request, context, session, viewer, failure=f"{error}.")


@router.post("/people/{person_id}/{change}")
def change_person(request: Request, context: Context, viewer: AdminsForm, person_id: str, change: str) -> Response:
    """`disable`, `enable` or `reset`. Nobody cuts themselves off."""
    with context.database.write() as session:
        person = session.get(Person, person_id)
        if person is None or change not in ("disable", "enable", "reset"):
            raise Problem("not-found", "There is nobody of this id, or no such change.")
        if person.id == viewer.person_id:
            raise Problem("conflict", "Another administrator has to do this to your own account.")
        if change == "reset":
            password = management.reset(session, person)
            session.flush()
            return _page(request, context, session, viewer, shown=(f"New password of {person.email}", password))
        if change == "disable":
            management.disable(session, person, context.now())
        else:
            management.enable(person)
    return RedirectResponse("/accounts", status_code=303)


@router.post("/keys")
def add_key(
    request: Request, context: Context, viewer: AdminsForm, org: Text = "", role: Text = "", note: Text = "", scopes: Text = ""
) -> Response:
    """Makes a key and shows it."""
    try:
        with context.database.write() as session:
            if role not in {known.value for known in Role}:
                raise AccountError(f"there is no role {role!r}")
            cut = management.check_scopes(role, scopes.replace(",", " ").split())
            key, secret = create_key(
                session, org_id=org, role=role, now=context.now(), scopes=cut, note=note.strip()[:100] or None
            )
            return _page(request, context, session, viewer, shown=(f"Key {key.prefix}…", secret))
    except AccountError as error:
        with context.database.read() as session:
            return _page(request, context, session, viewer, failure=f"{error}.")


@router.post("/keys/{key_id}/{change}")
def change_key(request: Request, context: Context, viewer: AdminsForm, key_id: str, change: str) -> Response:
    """`revoke`: it ends now. `rotate`: a new one, and this one works for a day more."""
    with context.database.write() as session:
        key = session.get(ApiKey, key_id)
        if key is None or change not in ("revoke", "rotate"):
            raise Problem("not-found", "There is no key of this id, or no such change.")
        if change == "rotate":
            try:
                new, secret = management.rotate(session, key, overlap=OVERLAP, expires_at=None, now=context.now())
            except AccountError as error:
                raise Problem("conflict", f"{error}.") from error
            session.flush()
            return _page(request, context, session, viewer, shown=(f"Key {new.prefix}…, in place of {key.prefix}…", secret))
        management.revoke(key, context.now())
    return RedirectResponse("/accounts", status_code=303)
