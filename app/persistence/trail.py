"""The audit trail, kept by the sessions themselves, so that no slice can forget it.

A transaction of `Database.write` that changes a row worth telling adds one `audit_entry` to itself: who, through which door, in
which request, which rows. A session of `Database.read` in which a harm case or a row labelled AMBER or stricter was loaded on
somebody's behalf adds one when it closes, before anything is answered. Only tables and ids are noted, never content.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event, insert, inspect
from sqlalchemy.orm import ORMExecuteState, Session, sessionmaker

from app.persistence.base import new_id
from app.persistence.models import (
    ActivityReport,
    AggregateReport,
    Alert,
    AuditEntry,
    Detection,
    HarmCase,
    Incident,
    Report,
    ReportVersion,
)

RESTRICTED = frozenset({"AMBER", "AMBER+STRICT", "RED"})

# the outbox's own machinery (attempts are a log of their own), derived numbers, and the trail itself
UNTOLD = frozenset(
    {
        "task", "attempt", "body", "feed_item", "alert_key", "idempotency_record", "series_state", "signal",
        "audit_entry", "audit_seal", "sign_in_failure", "service_state", "report_draft", "lag",
    }
)  # fmt: skip
# told by their number: they belong to a row whose id is told
NUMBERED = frozenset(
    {
        "report_version", "sample", "detection", "harm_case", "case_substance", "substance_name", "alert_revision",
        "alert_evidence", "web_session",
    }
)  # fmt: skip


@dataclass(slots=True)
class Trace:
    """On whose behalf this thread works, filled in as a request is understood. `door` is a route, never a path with a secret."""

    request_id: str
    actor: str = "anonymous"
    org_id: str | None = None
    door: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # for the answer: what is left of the rate
    told: dict[str, Any] = field(default_factory=dict)  # ids for the log: `report`, `alerts`


_current: ContextVar[Trace | None] = ContextVar("nps_trace", default=None)


def current() -> Trace | None:
    """The trace of the request or command that runs; None in inner work."""
    return _current.get()


@contextmanager
def tracing(trace: Trace) -> Iterator[Trace]:
    """Everything inside is done on this behalf, also in threads that Starlette starts from here."""
    token = _current.set(trace)
    try:
        yield trace
    finally:
        _current.reset(token)


def note_actor(actor: str, org_id: str | None) -> None:
    """Say who asks, once the key or the sign-in is known."""
    trace = _current.get()
    if trace is not None:
        trace.actor, trace.org_id = actor, org_id


def tell(**ids: Any) -> None:
    """Ids of what the request stored, for the log; nothing in inner work."""
    trace = _current.get()
    if trace is not None:
        trace.told.update(ids)


@dataclass(slots=True)
class _Noted:
    """What a session did so far: by verb, by table, ids in order or a number."""

    ids: dict[str, dict[str, dict[str, None]]] = field(default_factory=dict)
    numbers: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, verb: str, table: str, ids: Iterable[str], number: int) -> None:
        if table in NUMBERED:
            counted = self.numbers.setdefault(verb, {})
            counted[table] = counted.get(table, 0) + number
        else:
            self.ids.setdefault(verb, {}).setdefault(table, {}).update(dict.fromkeys(ids))

    def rows(self) -> dict[str, dict[str, list[str] | int]]:
        found: dict[str, dict[str, list[str] | int]] = {}
        for verb, tables in self.ids.items():
            found.setdefault(verb, {}).update({table: list(ids) for table, ids in tables.items()})
        for verb, counted in self.numbers.items():
            found.setdefault(verb, {}).update(counted)
        return found


def _noted(session: Session) -> _Noted:
    noted: _Noted = session.info.setdefault("trail", _Noted())
    return noted


def note_row(session: Session, verb: str, table: str, ids: Iterable[str]) -> None:
    """Note a row that a statement of its own wrote: `insert_once` knows whether it did."""
    if table not in UNTOLD:
        _noted(session).add(verb, table, ids, 1)


def note_rows(session: Session, verb: str, table: str, ids: Iterable[str], number: int) -> None:
    """Note rows that went in by the driver itself, past the session."""
    if table not in UNTOLD:
        _noted(session).add(verb, table, ids, number)


def _identity(row: object) -> str:
    mapper = inspect(row).mapper
    return "/".join(str(part) for part in mapper.primary_key_from_instance(row))


def _after_flush(session: Session, _context: object) -> None:
    for verb, rows in (("created", session.new), ("changed", session.dirty), ("deleted", session.deleted)):
        for row in rows:
            table: str = row.__tablename__
            if table in UNTOLD or (verb == "changed" and not session.is_modified(row)):
                continue
            _noted(session).add(verb, table, (_identity(row),), 1)


def _on_statement(state: ORMExecuteState) -> None:
    if not (state.is_insert or state.is_update or state.is_delete) or not state.execution_options.get("trail", True):
        return
    table = getattr(state.statement, "table", None)
    name = getattr(table, "name", "")
    if not name or name in UNTOLD:
        return
    verb = "created" if state.is_insert else "changed" if state.is_update else "deleted"
    sent: Any = state.parameters or {}
    given: list[Any] = sent if isinstance(sent, list) else [sent]
    # which rows a condition meets is for the database to know: then only that it was asked is noted
    ids = [str(row["id"]) for row in given if "id" in row]
    _noted(state.session).add(verb, name, ids, len(given))


def _before_commit(session: Session) -> None:
    if session.in_nested_transaction():
        return
    session.flush()
    noted: _Noted | None = session.info.pop("trail", None)
    if noted is not None and (rows := noted.rows()):
        clock: Callable[[], datetime] = session.info.get("clock", lambda: datetime.now(UTC))
        session.connection().execute(_INSERT, _entry("write", rows, clock()))


_INSERT = insert(AuditEntry.__table__)  # type: ignore[arg-type]


def _entry(kind: str, objects: dict[str, Any], now: datetime) -> dict[str, Any]:
    trace = _current.get() or Trace(request_id="", actor="service")
    return {
        "id": new_id(), "at": now, "kind": kind, "actor": trace.actor, "org_id": trace.org_id, "door": trace.door,
        "request_id": trace.request_id, "objects": objects,
    }  # fmt: skip


def watch_writes(factory: sessionmaker[Session]) -> None:
    """Sessions of this factory add an entry about what they wrote to their own transaction."""
    event.listen(factory, "after_flush", _after_flush)
    event.listen(factory, "do_orm_execute", _on_statement)
    event.listen(factory, "before_commit", _before_commit)


def watch_reads(factory: sessionmaker[Session]) -> None:
    """Sessions of this factory remember which restricted rows they loaded."""
    event.listen(factory, "loaded_as_persistent", _on_load)


def _on_load(session: Session, row: object) -> None:
    match row:
        case HarmCase():
            _noted(session).add("read", "case", (row.id,), 1)
        case Report() | Alert() | ActivityReport() | AggregateReport() | Incident() if row.__dict__.get("tlp") in RESTRICTED:
            _noted(session).add("read", row.__tablename__, (row.id,), 1)
        case Detection() if row.__dict__.get("tlp") in RESTRICTED:
            _noted(session).add("read", "report", (row.report_id,), 1)
        case ReportVersion():
            _noted(session).add("read", "report", (row.report_id,), 1)
        case _:
            pass


def reads_of(session: Session) -> dict[str, Any] | None:
    """What this session loaded on somebody's behalf that must be told, else None."""
    noted: _Noted | None = session.info.pop("trail", None)
    if noted is None or _current.get() is None:
        return None
    return noted.rows()["read"]


def add_reads(session: Session, objects: dict[str, Any], now: datetime) -> None:
    """Write down a read, in a session of its own."""
    session.connection().execute(_INSERT, _entry("read", objects, now))
