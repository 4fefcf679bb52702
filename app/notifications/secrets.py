"""Signing secrets at rest: encrypted under a key derived from the service's own, so that a copy of the database signs nothing."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.persistence.models import Subscription

MOST_LIVE = 3


class SecretUnreadable(Exception):
    """A stored secret was encrypted under another NPS_SECRET_KEY."""


def _fernet(secret: bytes) -> Fernet:
    key = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"nps subscription secrets 1").derive(secret)
    return Fernet(base64.urlsafe_b64encode(key))


class SecretBox:
    """Encrypts texts under `secret` (HKDF-SHA-256, then Fernet) and opens them under it or one of the `older` ones."""

    def __init__(self, secret: bytes, *older: bytes) -> None:
        self._newest = _fernet(secret)
        self._any = MultiFernet([self._newest, *(_fernet(key) for key in older)])

    def is_newest(self, sealed: str) -> bool:
        """Whether it was encrypted under the present key."""
        try:
            self._newest.decrypt(sealed.encode())
        except InvalidToken:
            return False
        return True

    def seal(self, text: str) -> str:
        return self._newest.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text. Raises SecretUnreadable."""
        try:
            return self._any.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise SecretUnreadable("a stored secret does not open under this NPS_SECRET_KEY") from error


def live_secrets(subscription: Subscription, box: SecretBox, now: datetime) -> list[str]:
    """The secrets that sign now, newest first."""
    return [box.open(row["secret"]) for row in subscription.secrets if not _expired(row, now)]


def with_new_secret(subscription: Subscription, sealed: str, now: datetime, *, overlap: timedelta) -> list[Any]:
    """The list of secrets with this one first; the older ones sign until the overlap ends, at most three in all."""
    until = (now + overlap).isoformat()
    older = [
        {"secret": row["secret"], "expires_at": min(row["expires_at"], until) if row["expires_at"] else until}
        for row in subscription.secrets
        if not _expired(row, now)
    ]
    kept = older[: MOST_LIVE - 1] if overlap > timedelta(0) else []
    return [{"secret": sealed, "expires_at": None}, *kept]


def _expired(row: dict[str, Any], now: datetime) -> bool:
    return row["expires_at"] is not None and datetime.fromisoformat(row["expires_at"]) <= now
