"""Hears from the database that another process wrote, so that a worker looks at once. A hint: polling is what guarantees
progress.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy import make_url

log = logging.getLogger("nps.worker")

CHANNEL = "nps_task"  # a trigger on the table notifies it, see migration 0014
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0
GLANCE_SECONDS = 0.02


class Listener:
    """A thread with a connection of its own that calls `wake` after each commit that wrote tasks, until `stopping` is set."""

    def __init__(self, url: str, wake: Callable[[], None], stopping: threading.Event) -> None:
        self._address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._wake = wake
        self._stopping = stopping

    def start(self) -> None:
        threading.Thread(target=self._run, name="nps-listen", daemon=True).start()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with psycopg.connect(self._address, autocommit=True, connect_timeout=5) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    self._wake()
                    while not self._stopping.is_set():
                        for _ in connection.notifies(timeout=LOOK_SECONDS):
                            self._wake()
            except psycopg.Error as error:
                log.info("not listening to the database now: %s", error)
                self._stopping.wait(AGAIN_SECONDS)


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
