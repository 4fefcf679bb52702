"""Looking after accounts: people, keys and sign-ins, for the command line and the administrator's page. Nothing here commits."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session, joinedload

from app.auth import second_factor
from app.auth.accounts import AccountError, create_key, create_person, set_password
from app.auth.permissions import TABLE, Action, Role
from app.persistence.models import ApiKey, Person, WebSession

MOST_OVERLAP = timedelta(days=30)


def first_password() -> str:
    """A password to hand over, 20 characters with over 110 random bits."""
    return secrets.token_urlsafe(15)


def add_person(session: Session, *, org_id: str, email: str, name: str, role: str, now: datetime) -> tuple[Person, str]:
    """A new person and the password to hand over. Raises AccountError."""
    email = email.strip().lower()
    if "@" not in email or len(email) > 254:
        raise AccountError(f"{email!r} is not an e-mail address")
    if not name.strip():
        raise AccountError("the name is empty")
    if session.scalar(select(Person.id).where(Person.email == email)) is not None:
        raise AccountError(f"somebody has the address {email} already")
    password = first_password()
    person = create_person(session, org_id=org_id, email=email, name=name.strip(), role=role, password=password, now=now)
    return person, password


def person_of(session: Session, email_or_id: str) -> Person:
    """Raises AccountError where there is none."""
    given = email_or_id.strip()
    found = session.scalar(select(Person).where((Person.email == given.lower()) | (Person.id == given)))
    if found is None:
        raise AccountError(f"there is nobody with the address or id {given!r}; `nps people list` shows them")
    return found


def everybody(session: Session) -> Sequence[Person]:
    """By organisation, then name."""
    query = select(Person).options(joinedload(Person.organisation)).order_by(Person.org_id, Person.name)
    return session.scalars(query).all()


def disable(session: Session, person: Person, now: datetime) -> None:
    """Nobody signs in as this person any more; sign-ins that are open end."""
    person.disabled_at = person.disabled_at or now
    end_sign_ins(session, person.id)


def enable(person: Person) -> None:
    person.disabled_at = None


def reset(session: Session, person: Person) -> str:
    """A new password to hand over; the second factor goes, sign-ins that are open end."""
    password = first_password()
    set_password(person, password)
    second_factor.remove(person)
    end_sign_ins(session, person.id)
    return password


def end_sign_ins(session: Session, person_id: str, *, except_hash: str | None = None) -> None:
    query = delete(WebSession).where(WebSession.person_id == person_id)
    if except_hash is not None:
        query = query.where(WebSession.token_hash != except_hash)
    session.execute(query)


def sign_ins_of(session: Session, person_id: str, now: datetime) -> Sequence[WebSession]:
    """The open sign-ins of a person, newest first."""
    query = select(WebSession).where(WebSession.person_id == person_id, WebSession.expires_at > now)
    return session.scalars(query.order_by(WebSession.created_at.desc(), WebSession.token_hash)).all()


def end_sign_in(session: Session, person_id: str, handle: str) -> bool:
    """End one sign-in of this person by the first 16 characters of its hash; whether there was one."""
    found = session.scalar(
        select(WebSession).where(WebSession.person_id == person_id, WebSession.token_hash.startswith(handle, autoescape=True))
    )
    if found is None or len(handle) != 16:
        return False
    session.delete(found)
    return True


def check_scopes(role: str, scopes: Sequence[str]) -> list[str] | None:
    """The scopes in order, None for no cut. Raises AccountError for a right that the role does not have."""
    if not scopes:
        return None
    allowed = {action.value for action, roles in TABLE.items() if Role(role) in roles}
    unknown = sorted(set(scopes) - allowed)
    if unknown:
        raise AccountError(f"the role {role} has no right {unknown[0]!r}; it has {', '.join(sorted(allowed))}")
    return sorted(set(scopes))


def every_key(session: Session) -> Sequence[ApiKey]:
    """Newest first, with their organisations."""
    return session.scalars(select(ApiKey).options(joinedload(ApiKey.organisation)).order_by(ApiKey.id.desc())).all()


def key_of(session: Session, key_id: str) -> ApiKey:
    key = session.get(ApiKey, key_id)
    if key is None:
        raise AccountError(f"there is no key {key_id!r}; `nps keys list` shows them")
    return key


def revoke(key: ApiKey, now: datetime) -> None:
    key.revoked_at = key.revoked_at or now


def rotate(
    session: Session, key: ApiKey, *, overlap: timedelta, expires_at: datetime | None, now: datetime
) -> tuple[ApiKey, str]:
    """A new key with the rights of this one, which works on until the overlap ends. Raises AccountError."""
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise AccountError(f"key {key.id} does not work any more; make a new one")
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        raise AccountError(f"the overlap is at most {MOST_OVERLAP.days} days")
    new, secret = create_key(session, org_id=key.org_id, role=key.role, now=now, expires_at=expires_at)
    new.scopes, new.note = key.scopes, key.note
    ends = now + overlap
    key.expires_at = min(key.expires_at, ends) if key.expires_at is not None else ends
    return new, secret


def names_of_actions() -> tuple[str, ...]:
    return tuple(action.value for action in Action)
