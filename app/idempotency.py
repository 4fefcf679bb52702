"""Repeated requests: the same Idempotency-Key and body get the first answer again, for 72 hours."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import IdempotencyRecord
from app.persistence.session import Database
from app.problems import Problem

MAX_KEY = 255


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def check_key(key: str | None) -> str | None:
    """The key as given. Raises Problem (422) where it is empty, too long or not printable ASCII."""
    if key is None:
        return None
    if not 0 < len(key) <= MAX_KEY or not key.isascii() or not key.isprintable():
        raise Problem("validation", f"Idempotency-Key must be 1 to {MAX_KEY} printable ASCII characters.")
    return key


def stored_answer(session: Session, principal: Principal, path: str, key: str, body_digest: str) -> tuple[int, str] | None:
    """Status and body of the first answer, or None where the key is new.

    Raises Problem `idempotency-key-reused` (422) where the key came with another body.
    """
    record = session.get(IdempotencyRecord, (principal.org_id, path, key))
    if record is None:
        return None
    if record.body_digest != body_digest:
        raise Problem("idempotency-key-reused", "This Idempotency-Key was used with another body within 72 hours.")
    return record.status, record.answer


def remember(
    session: Session, principal: Principal, path: str, key: str, body_digest: str, status: int, answer: str, now: datetime
) -> None:
    """Keep the answer in the request's own transaction: stored if and only if the request was carried out."""
    session.add(
        IdempotencyRecord(
            org_id=principal.org_id, path=path, key=key, body_digest=body_digest, status=status, answer=answer, created_at=now
        )
    )


def carry_out(
    database: Database,
    principal: Principal,
    path: str,
    key: str | None,
    body: bytes,
    now: datetime,
    work: Callable[[Session], dict[str, Any]],
) -> tuple[str, bool]:
    """Run `work` in one write transaction and keep its answer under the key; the answer's text, and whether it is a replay.

    Where another request with the same key committed first, its answer is given.
    """
    key = check_key(key)
    body_digest = digest(body)
    try:
        with database.write() as session:
            known = stored_answer(session, principal, path, key, body_digest) if key is not None else None
            if known is not None:
                return known[1], True
            text = json.dumps(work(session), ensure_ascii=False)
            if key is not None:
                remember(session, principal, path, key, body_digest, 201, text, now)
            return text, False
    except IntegrityError:
        if key is None:
            raise
        with database.read() as session:
            known = stored_answer(session, principal, path, key, body_digest)
        if known is None:
            raise
        return known[1], True
