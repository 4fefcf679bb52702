"""Hears from the database that another process wrote, so that a worker looks at once. A hint: polling is what guarantees
progress. On PostgreSQL the same connection holds the lock by which the others know that the worker lives.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import LiteralString

import psycopg
from sqlalchemy import make_url

from app.persistence import locks

log = logging.getLogger("nps.worker")

CHANNEL = "nps_task"  # a trigger on the table notifies it, see migration 0014
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 1.0  # well under `claims.GONE_SECONDS`, after which a worker without its lock counts as dead
GLANCE_SECONDS = 0.02

_TAKE = "SELECT pg_try_advisory_lock(%s, hashtext(%s))"
_HELD = (
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid = pg_backend_pid() "
    "AND classid::bigint = %s AND objid::bigint = (hashtext(%s)::bigint & 4294967295))"
)


class Listener:
    """A thread with a connection of its own that calls `wake` after each commit that wrote tasks, until `stop`.

    As long as it is connected it holds a lock on the name of the worker, which PostgreSQL gives up with the connection of a
    process that died; `present` says so. Behind a pooler that hands each transaction to another server it is not kept: each
    second it is looked for and taken again.
    """

    def __init__(self, url: str, name: str, wake: Callable[[], None]) -> None:
        self._address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._name = name
        self._wake = wake
        self._over = threading.Event()
        self._held = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nps-listen", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """To be called when nothing is being sent any more: who is not present is taken for dead."""
        self._over.set()

    @property
    def present(self) -> bool:
        """Whether the others can tell by the lock that this worker lives."""
        return self._held.is_set()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with psycopg.connect(self._address, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._wake()
                    while not self._over.is_set():
                        if self._says(connection, _HELD) or self._says(connection, _TAKE):
                            self._held.set()
                        else:
                            self._held.clear()
                        for _ in connection.notifies(timeout=LOOK_SECONDS):
                            self._wake()
            except psycopg.Error as error:
                log.info("not listening to the database now: %s", error)
            finally:
                self._held.clear()
            self._over.wait(AGAIN_SECONDS)

    def _says(self, connection: psycopg.Connection, question: LiteralString) -> bool:
        row = connection.execute(question, (locks.WORKERS, self._name)).fetchone()
        return row is not None and bool(row[0])


class Watcher:
    """A thread that calls `wake` after each commit to a SQLite file by another connection, until `stopping` is set.

    It asks for the file's data_version, which costs microseconds: see https://www.sqlite.org/pragma.html#pragma_data_version.
    """

    def __init__(self, path: str, wake: Callable[[], None], stopping: threading.Event) -> None:
        self._path = path
        self._wake = wake
        self._stopping = stopping

    def start(self) -> None:
        threading.Thread(target=self._run, name="nps-watch", daemon=True).start()

    def _run(self) -> None:
        connection = sqlite3.connect(self._path, check_same_thread=False)
        seen = None
        try:
            while not self._stopping.wait(GLANCE_SECONDS):
                version = connection.execute("PRAGMA data_version").fetchone()
                if version != seen:
                    seen = version
                    self._wake()
        except sqlite3.Error as error:
            log.info("not watching the database now: %s", error)
        finally:
            connection.close()
