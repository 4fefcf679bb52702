"""What a person has typed into the report form and not sent: kept with the account, so that it outlives the sign-in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from app.persistence.models import ReportDraft

KEPT = timedelta(days=30)
_NOT_FIELDS = frozenset({"csrf_token", "action"})


def keep(session: Session, person_id: str, values: Mapping[str, Any], now: datetime) -> bool:
    """Keep the fields in place of those before; False where nothing is filled in."""
    fields = {name: value for name, value in values.items() if name not in _NOT_FIELDS}
    if not any(value for name, value in fields.items() if name != "count"):
        return False
    session.merge(ReportDraft(person_id=person_id, fields=fields, saved_at=now))
    return True


def draft_of(session: Session, person_id: str) -> ReportDraft | None:
    return session.get(ReportDraft, person_id)


def drop(session: Session, person_id: str) -> None:
    """The report was sent."""
    session.execute(delete(ReportDraft).where(ReportDraft.person_id == person_id))


def forget_old(session: Session, now: datetime) -> None:
    session.execute(delete(ReportDraft).where(ReportDraft.saved_at < now - KEPT))
