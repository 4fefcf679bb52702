"""Engines and sessions for the embedded SQLite and for PostgreSQL, with the durability that a 2xx promises."""

from __future__ import annotations

import math
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import InvalidatePoolError, OperationalError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from app.persistence import trail
from app.persistence.base import dump_json

AHEAD = "ahead"
BUSY_TIMEOUT_MS = 10_000
SERVER_POOL = 10  # with the overflow 15 a process: an API and four workers stay under the 100 that PostgreSQL allows by default
IDLE_IN_TRANSACTION_MS = 15_000  # no transaction waits for anything but the database
PATIENT_MS = 600_000  # but one that only reads holds nobody up
IDLE_SECONDS = 1.0  # after which a connection may have been lost unheard, with a server that was started anew


class DurabilityError(Exception):
    """The database server may lose acknowledged reports as it is set up; the message says which setting to change."""


def make_engine(url: str, *, pool_size: int = 20, turns: Turns | None = None) -> Engine:
    """An engine whose commits are durable.

    SQLite: WAL, synchronous FULL, foreign keys on, 10 s of patience for the write lock; transactions begin by themselves as
    `BEGIN`, those of `Database.write` as `BEGIN IMMEDIATE`. PostgreSQL: `synchronous_commit` and `fsync` are checked by
    `check_durability`.
    """
    if not url.startswith("sqlite"):
        address = make_url(url)
        arguments = {}
        if (threshold := address.query.get("prepare_threshold")) is not None:
            # psycopg's own argument; `none` prepares nothing, for a pooler that hands each transaction to another server
            arguments["prepare_threshold"] = None if threshold == "none" else int(str(threshold))
            address = address.difference_update_query(["prepare_threshold"])
        server = create_engine(
            address, pool_size=min(pool_size, SERVER_POOL), max_overflow=5, json_serializer=dump_json, connect_args=arguments
        )

        @event.listens_for(server, "connect")
        def _impatient(connection: Any, _record: object) -> None:
            # a process that stands still in a transaction must not hold the others' locks
            connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_MS}")
            connection.commit()

        @event.listens_for(server, "checkin")
        def _leave(_connection: object, record: ConnectionPoolEntry) -> None:
            record.info["idle_since"] = time.monotonic()

        @event.listens_for(server, "checkout")
        def _ask(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
            # SQLAlchemy's own pre-ping asks each time, which under load is a question too many for every transaction
            if time.monotonic() - record.info.get("idle_since", math.inf) < IDLE_SECONDS:
                return
            try:
                server.dialect.do_ping(connection)
            except psycopg.Error as error:
                raise InvalidatePoolError(str(error)) from error

        return server

    database = make_url(url).database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=10,
        json_serializer=dump_json,
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy's own BEGIN below, not the driver's
        for pragma in (
            f"busy_timeout={BUSY_TIMEOUT_MS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "temp_store=MEMORY",
            "cache_size=-16000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    turns = turns or Turns()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("nps_write")
        if immediate:
            turns.take(ahead=immediate == AHEAD)
            connection.info["turn"] = True
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    @event.listens_for(engine, "checkin")
    @event.listens_for(engine, "invalidate")
    def _over(_connection: object, record: ConnectionPoolEntry, *_: object) -> None:
        if record.info.pop("turn", False):
            turns.give()

    return engine


class Turns:
    """Lets the writers of one process go one after another, in the order in which they came.

    SQLite has one writer at a time; whoever finds it busy sleeps and looks again, up to 100 ms later, while others pass by.
    Under load that costs seconds, so the threads of a process queue here, and only the first of them asks SQLite.

    Those who go `ahead` wait for one other at most: each second turn is theirs, as long as both kinds wait.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead: deque[threading.Lock] = deque()
        self._others: deque[threading.Lock] = deque()
        self._busy = False
        self._went_ahead = False

    def take(self, *, ahead: bool) -> None:
        """Wait for one's turn, at most as long as SQLite would. Raises OperationalError where it does not come."""
        queue = self._ahead if ahead else self._others
        with self._lock:
            if not self._busy:
                self._busy = True
                self._went_ahead = ahead
                return
            mine = threading.Lock()
            mine.acquire()
            queue.append(mine)
        if mine.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            return
        with self._lock:
            if mine in queue:
                queue.remove(mine)
                raise OperationalError("BEGIN IMMEDIATE", {}, sqlite3.OperationalError("database is locked"))

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        with self._lock:
            return len(self._ahead) + len(self._others)

    def give(self) -> None:
        """It is the next one's turn."""
        with self._lock:
            self._went_ahead = bool(self._ahead) and not (self._went_ahead and self._others)
            queue = self._ahead if self._went_ahead else self._others
            if queue:
                queue.popleft().release()
            else:
                self._busy = False


class Database:
    """The one object through which the service reaches its tables: short reads, and writes that hold the lock from the start."""

    def __init__(self, url: str, *, pool_size: int = 20) -> None:
        self.url = url
        self.turns = Turns()
        self.engine = make_engine(url, pool_size=pool_size, turns=self.turns)
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        # one question at a time: at READ COMMITTED a transaction shows a reader no more than its questions by themselves do, and
        # costs two round trips; SQLite's transactions are snapshots, and cost none
        alone = self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._read = sessionmaker(alone, expire_on_commit=False)
        self._read_long = sessionmaker(self.engine, expire_on_commit=False)
        self._write = sessionmaker(self.engine.execution_options(nps_write=True), expire_on_commit=False)
        self._write_ahead = sessionmaker(self.engine.execution_options(nps_write=AHEAD), expire_on_commit=False)
        trail.watch_reads(self._read)
        trail.watch_reads(self._read_long)
        trail.watch_writes(self._write)
        trail.watch_writes(self._write_ahead)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def path(self) -> Path | None:
        """The file of the embedded database; None where the database is a server or in memory."""
        name = make_url(self.url).database
        return Path(name) if self.is_sqlite and name and name != ":memory:" else None

    @property
    def worker_lock(self) -> Path | None:
        """The file whose holder works on the embedded database; None where the database is a server or in memory."""
        return self.path and self.path.with_name(self.path.name + ".worker-lock")

    @contextmanager
    def read(self, *, patient: bool = False) -> Iterator[Session]:
        """A session for reading; nothing is committed. Restricted rows read in it on somebody's behalf are written down first.

        `patient` is for rows that are fetched bit by bit, and for limits that are set for a transaction: PostgreSQL needs one
        for both, and would end it where the work between two questions takes long.
        """
        with (self._read_long if patient else self._read)() as session:
            if patient and not self.is_sqlite:
                session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {PATIENT_MS}"))
            yield session
            read = trail.reads_of(session)
        if read is not None:
            with self._write() as session, session.begin():
                trail.add_reads(session, read, self.clock())

    @contextmanager
    def write(self, *, ahead: bool = False) -> Iterator[Session]:
        """A session whose one transaction commits at the end of the block and rolls back on any error.

        `ahead` is for what carries alerts on: where many write to SQLite at once, it has each second turn of this process.
        """
        with (self._write_ahead if ahead else self._write)(info={"clock": self.clock}) as session, session.begin():
            yield session

    def check_durability(self) -> None:
        """Raises DurabilityError unless a commit reaches the disk before it is acknowledged."""
        wanted: dict[str, Any]
        with self.engine.connect() as connection:
            if self.is_sqlite:
                wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
                found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in wanted}
            else:
                wanted = {"synchronous_commit": ("on", "remote_apply"), "fsync": "on"}
                found = {name: connection.execute(text(f"SHOW {name}")).scalar() for name in wanted}
        for name, value in wanted.items():
            allowed = value if isinstance(value, tuple) else (value,)
            if found[name] not in allowed:
                raise DurabilityError(f"the database setting {name} is {found[name]!r}; acknowledged reports need {allowed[0]!r}")

    def dispose(self) -> None:
        self.engine.dispose()
