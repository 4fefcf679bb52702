"""Organisations, people, keys, sign-ins, and answers kept for repeated requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.persistence.base import Base, Id, Json, new_id


class Organisation(Base):
    """A laboratory, authority, reviewer body, industry partner or the operator. `test` ones alert nobody but themselves."""

    __tablename__ = "organisation"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(16))
    country: Mapped[str] = mapped_column(String(2))
    test: Mapped[bool] = mapped_column(default=False)
    flagged: Mapped[bool] = mapped_column(default=False)  # an analyst wants approval for its levels 3 and 4
    created_at: Mapped[datetime]


class Person(Base):
    """Someone who signs in to the pages. E-mail addresses are stored in lower case."""

    __tablename__ = "person"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    name: Mapped[str] = mapped_column(String(200))
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(200))
    theme: Mapped[str] = mapped_column(String(8), default="system")
    shortcuts: Mapped[bool] = mapped_column(default=True, server_default=true())  # single keys that move in lists and search
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    totp_secret: Mapped[str | None] = mapped_column(Text)  # encrypted; counts from `totp_since`
    totp_since: Mapped[datetime | None]
    totp_step: Mapped[int | None]  # of the last code used: none works twice
    recovery: Mapped[list[Any] | None] = mapped_column(Json)  # hashes of the codes that are left
    last_sign_in_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship(lazy="raise")


class WebSession(Base):
    """One sign-in. Only the hash of the cookie is stored."""

    __tablename__ = "web_session"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"))
    csrf_token: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    agent: Mapped[str | None] = mapped_column(String(120))  # what the browser calls itself, to tell sign-ins apart

    person: Mapped[Person] = relationship(lazy="raise")


class ApiKey(Base):
    """A key of an organisation. Only a hash of the secret is stored; `prefix` helps its owner to tell keys apart."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    role: Mapped[str] = mapped_column(String(16))
    prefix: Mapped[str] = mapped_column(String(16))
    secret_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    scopes: Mapped[list[Any] | None] = mapped_column(Json)  # rights of its role that it is cut to; null: all of them
    note: Mapped[str | None] = mapped_column(String(100))  # what its owner calls it

    organisation: Mapped[Organisation] = relationship(lazy="raise")


class SignInFailure(Base):
    """A failed sign-in: a keyed hash of the e-mail or the address, and when. Kept for a quarter of an hour."""

    __tablename__ = "sign_in_failure"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    who: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]

    __table_args__ = (Index(None, "who", "at"),)


class IdempotencyRecord(Base):
    """The answer to a request that carried an Idempotency-Key, kept 72 hours. Written in the request's own transaction."""

    __tablename__ = "idempotency_record"

    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), primary_key=True)
    path: Mapped[str] = mapped_column(String(200), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    body_digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[int]
    answer: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "created_at"),)
