"""Looking something up in the audit trail: by who, what was done, to which row, and when. The trail holds ids, no content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import ColumnElement, Select, Text, cast, or_, select
from sqlalchemy.orm import Session

from app.persistence.base import Base
from app.persistence.models import AuditEntry
from app.persistence.trail import UNTOLD

READ = "read"
VERBS = ("created", "changed", "deleted")
ACTIONS = (READ, *VERBS)
CASE = "case"  # what a read of a harm case is noted under
TABLES = tuple(sorted({*Base.metadata.tables, CASE} - UNTOLD))
_SENDERS = ("person:", "key:", "cli:", "demo:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A search; what is empty or None narrows nothing. Days are of UTC, both counted in.

    `actor`: as noted, or the id alone. `about`: the id of a row, or how it begins, or the id of a request.
    """

    actor: str = ""
    org: str = ""
    action: str = ""
    table: str = ""
    about: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What an entry says of one table: the ids of its rows, or their number where only that is noted."""

    action: str
    table: str
    ids: tuple[str, ...]
    number: int


def found(session: Session, asked: Asked, *, limit: int, cursor: str | None = None) -> tuple[list[AuditEntry], str | None]:
    """Entries, newest first, and the cursor of those that follow; None at the end. One query."""
    query = _narrowed(asked)
    if cursor is not None:
        query = query.where(AuditEntry.id < cursor)
    rows = list(session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit + 1)))
    return rows[:limit], rows[limit - 1].id if len(rows) > limit else None


def _narrowed(asked: Asked) -> Select[AuditEntry]:
    query = select(AuditEntry)
    if asked.actor:
        query = query.where(AuditEntry.actor.in_([asked.actor, *(sender + asked.actor for sender in _SENDERS)]))
    if asked.org:
        query = query.where(AuditEntry.org_id == asked.org)
    if asked.action or asked.table:
        query = query.where(or_(*(_did(action, asked.table) for action in ACTIONS if asked.action in ("", action))))
    if asked.about:
        named = cast(AuditEntry.objects, Text).contains(f'"{asked.about}', autoescape=True)
        query = query.where(named | (AuditEntry.request_id == asked.about))
    if asked.since is not None:
        query = query.where(AuditEntry.at >= datetime.combine(asked.since, time(), UTC))
    if asked.until is not None:
        query = query.where(AuditEntry.at < datetime.combine(asked.until, time(), UTC) + timedelta(days=1))
    return query


def _did(action: str, table: str) -> ColumnElement[bool]:
    """That an entry tells of this action, to a row of this table where one is named."""
    if action == READ:
        read = AuditEntry.kind == READ
        return read & _told(table) if table else read
    return (AuditEntry.kind == "write") & _told(action, *([table] if table else []))


def _told(*path: str) -> ColumnElement[bool]:
    told: ColumnElement[bool] = AuditEntry.objects[path].as_string().is_not(None)
    return told


def lines(entry: AuditEntry) -> Iterator[Line]:
    """What an entry tells, a line for each action and table, in the order noted."""
    told = {READ: entry.objects} if entry.kind == READ else entry.objects
    for action, tables in told.items():
        for table, rows in tables.items():
            ids = tuple(rows) if isinstance(rows, list) else ()
            yield Line(action=action, table=table, ids=ids, number=len(ids) if isinstance(rows, list) else rows)
