"""Facts about this installation: its id, and whether its data are a demonstration."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from app.persistence.models import ServiceState

DEMO = "demo"


def get_state(session: Session, key: str) -> dict[str, Any] | None:
    row = session.get(ServiceState, key)
    return None if row is None else row.value


def set_state(session: Session, key: str, value: dict[str, Any]) -> None:
    row = session.get(ServiceState, key)
    if row is None:
        session.add(ServiceState(key=key, value=value))
    else:
        row.value = value


def is_demonstration(session: Session) -> bool:
    """Whether every page and export must say that the data are synthetic."""
    return get_state(session, DEMO) is not None
