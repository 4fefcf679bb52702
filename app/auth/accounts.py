"""Organisations, people and keys: making them, and finding out who presents a key."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error
from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session, joinedload

from app.auth.permissions import ROLES_OF_KIND, Principal, Role
from app.auth.tokens import hash_token, new_key
from app.persistence.models import ApiKey, Organisation, Person

_hasher = PasswordHasher()
# verified against where there is no such person, so that both answers take the same time
_NOBODY = _hasher.hash("nobody has this password")
LAST_USED_STEP = timedelta(minutes=1)


class AccountError(Exception):
    """An account cannot be made as asked; the message says why."""


def create_organisation(session: Session, *, name: str, kind: str, country: str, test: bool, now: datetime) -> Organisation:
    """A new organisation. Raises AccountError for an unknown kind or an empty name."""
    if kind not in ROLES_OF_KIND:
        raise AccountError(f"kind {kind!r} is not one of {', '.join(ROLES_OF_KIND)}")
    if not name.strip():
        raise AccountError("the name is empty")
    org = Organisation(name=name.strip(), kind=kind, country=country, test=test, created_at=now)
    session.add(org)
    session.flush()
    return org


def create_key(
    session: Session,
    *,
    org_id: str,
    role: str,
    now: datetime,
    expires_at: datetime | None = None,
    scopes: Sequence[str] | None = None,
    note: str | None = None,
) -> tuple[ApiKey, str]:
    """A new key and its secret, which is stored nowhere. Raises AccountError where the organisation has no such role.

    `scopes` cuts the key to some of its role's rights (`app.auth.management.check_scopes` checks them).
    """
    org = session.get(Organisation, org_id)
    if org is None:
        raise AccountError(f"there is no organisation {org_id!r}")
    if role not in ROLES_OF_KIND[org.kind]:
        allowed = ", ".join(sorted(ROLES_OF_KIND[org.kind]))
        raise AccountError(f"an organisation of kind {org.kind} may have keys of role {allowed}, not {role}")
    secret = new_key()
    key = ApiKey(
        org_id=org_id,
        role=role,
        prefix=secret[:12],
        secret_hash=hash_token(secret),
        created_at=now,
        expires_at=expires_at,
        scopes=list(scopes) if scopes is not None else None,
        note=note,
    )
    session.add(key)
    session.flush()
    return key, secret


def principal_of(org: Organisation, role: str, actor: str, scopes: Sequence[str] | None = None) -> Principal:
    return Principal(
        actor=actor,
        org_id=org.id,
        org_name=org.name,
        kind=org.kind,
        country=org.country,
        role=Role(role),
        test=org.test,
        scopes=frozenset(scopes) if scopes is not None else None,
    )


_BY_HASH = select(ApiKey).where(ApiKey.secret_hash == bindparam("secret_hash")).options(joinedload(ApiKey.organisation))


def authenticate_key(session: Session, secret: str, now: datetime) -> tuple[Principal, ApiKey] | None:
    """Who holds this key; None where it is unknown, revoked or expired."""
    key = session.scalar(_BY_HASH, {"secret_hash": hash_token(secret)})
    if key is None or key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        return None
    return principal_of(key.organisation, key.role, f"key:{key.id}", key.scopes), key


def use_is_stale(key: ApiKey, now: datetime) -> bool:
    """Whether `last_used_at` should be written again: it is kept to the minute, not to the request."""
    return key.last_used_at is None or now - key.last_used_at > LAST_USED_STEP


def note_use(session: Session, key_id: str, now: datetime) -> None:
    session.execute(update(ApiKey).where(ApiKey.id == key_id).values(last_used_at=now), execution_options={"trail": False})


def create_person(session: Session, *, org_id: str, email: str, name: str, role: str, password: str, now: datetime) -> Person:
    """Someone who may sign in. The password is stored as an argon2id hash."""
    org = session.get(Organisation, org_id)
    if org is None or role not in ROLES_OF_KIND[org.kind]:
        raise AccountError(f"organisation {org_id!r} has no role {role}")
    person = Person(
        org_id=org_id,
        email=email.strip().lower(),
        name=name,
        role=role,
        password_hash=_hasher.hash(password),
        created_at=now,
    )
    session.add(person)
    session.flush()
    return person


LEAST_PASSWORD = 12


def set_password(person: Person, password: str) -> None:
    """Raises AccountError for a password that is too short or holds the person's own name."""
    own = (person.email.split("@")[0], person.email, *person.name.lower().split())
    if len(password) < LEAST_PASSWORD:
        raise AccountError(f"a password has at least {LEAST_PASSWORD} characters")
    if len(set(password)) < 5 or password.lower() in own:
        raise AccountError("this password is easy to guess")
    person.password_hash = _hasher.hash(password)


def password_is(person: Person, password: str) -> bool:
    """Whether this is the person's password."""
    try:
        _hasher.verify(person.password_hash, password)
    except Argon2Error:
        return False
    return True


def check_password(session: Session, email: str, password: str) -> Person | None:
    """The person, or None for a wrong e-mail or password alike, in the same time."""
    person = session.scalar(select(Person).where(Person.email == email.strip().lower()))
    try:
        _hasher.verify(person.password_hash if person else _NOBODY, password)
    except Argon2Error:
        return None
    return None if person is None or person.disabled_at is not None else person
