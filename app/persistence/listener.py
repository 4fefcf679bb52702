"""Hears from PostgreSQL that tasks were written, so that a worker looks at once. A hint: polling is what guarantees progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import psycopg
from sqlalchemy import make_url

log = logging.getLogger("nps.worker")

CHANNEL = "nps_task"  # a trigger on the table notifies it, see migration 0014
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 5.0


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
