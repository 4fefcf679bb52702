"""Slowing down those who guess passwords or codes, by address and by e-mail, known or not.

Failures are kept in the database, so that every process counts the same, and only as keyed hashes: no attempt tells who it was
for. A sliding window of 15 minutes; after that, or after a right password, an e-mail may try again.
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.persistence.models import SignInFailure
from app.persistence.session import Database

PER_EMAIL = 8
PER_ADDRESS = 40
WINDOW = timedelta(minutes=15)


class SignInThrottle:
    """Counts failures of an e-mail and of an address. Any number of processes share one database."""

    def __init__(self, database: Database, secret: bytes, *, per_email: int = PER_EMAIL, per_address: int = PER_ADDRESS) -> None:
        self._database = database
        self._secret = secret
        self._limits = {"email": per_email, "address": per_address}

    def _who(self, kind: str, value: str) -> str:
        return hmac.new(self._secret, f"sign-in {kind}:{value}".encode(), hashlib.sha256).hexdigest()

    def _keys(self, email: str, address: str) -> dict[str, int]:
        return {
            self._who("email", _fold(email)): self._limits["email"],
            self._who("address", address): self._limits["address"],
        }

    def wait(self, *, email: str, address: str, now: datetime) -> timedelta | None:
        """How long this e-mail or address has to wait; None where it may try now. One query."""
        keys = self._keys(email, address)
        found: dict[str, list[datetime]] = {who: [] for who in keys}
        with self._database.read() as session:
            rows = session.execute(
                select(SignInFailure.who, SignInFailure.at)
                .where(SignInFailure.who.in_(keys), SignInFailure.at > now - WINDOW)
                .order_by(SignInFailure.at.desc())
            )
            for who, at in rows:
                found[who].append(at)
        # the newest `limit` failures must leave the window before the next try
        waits = [times[keys[who] - 1] + WINDOW - now for who, times in found.items() if len(times) >= keys[who]]
        return max(waits, default=None)

    def failed(self, *, email: str, address: str, now: datetime) -> None:
        with self._database.write() as session:
            session.add_all(SignInFailure(who=who, at=now) for who in self._keys(email, address))

    def succeeded(self, *, email: str) -> None:
        """A right sign-in clears the count of its e-mail; that of the address stays."""
        who = self._who("email", _fold(email))
        with self._database.read() as session:
            if session.scalar(select(SignInFailure.id).where(SignInFailure.who == who).limit(1)) is None:
                return
        with self._database.write() as session:
            session.execute(delete(SignInFailure).where(SignInFailure.who == who))


def forget_failures(session: Session, now: datetime) -> None:
    """Drop what has left the window."""
    session.execute(delete(SignInFailure).where(SignInFailure.at <= now - WINDOW))


def _fold(email: str) -> str:
    return email.strip().lower()[:254]
