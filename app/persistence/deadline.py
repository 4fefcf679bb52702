"""A time limit for the questions of a session, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock


class TooLong(Exception):
    """The database did not answer in the time allowed."""


@contextmanager
def within(session: Session, seconds: float) -> Iterator[None]:
    """All questions in the block together end in the time, counted from its start.

    Raises TooLong; the session's transaction is then over and rolled back.
    """
    connection = session.connection()
    end = time.monotonic() + seconds
    driver = connection.connection.driver_connection
    sqlite = connection.dialect.name == "sqlite"

    alone = not sqlite and bool(getattr(driver, "autocommit", False))  # each question by itself: there is nothing to be local to
    setting = "SET" if alone else "SET LOCAL"

    def what_is_left(_connection: Any, cursor: Any, *_: Any) -> None:
        cursor.execute(f"{setting} statement_timeout = {max(1, int((end - time.monotonic()) * 1000))}")

    if sqlite and driver is not None:
        driver.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
    else:
        event.listen(connection, "before_cursor_execute", what_is_left)

    def free() -> None:
        if sqlite and driver is not None:
            driver.set_progress_handler(None, 0)
            return
        event.remove(connection, "before_cursor_execute", what_is_left)
        if alone and driver is not None:
            driver.execute("RESET statement_timeout")

    try:
        yield
    except DBAPIError as error:
        free()  # before the rollback, which would be interrupted as well
        session.rollback()
        if getattr(error.orig, "sqlstate", None) == "57014" or "interrupted" in str(error.orig):
            raise TooLong(f"no answer in {seconds:g} s") from error
        raise
    free()
    if not sqlite and not alone:
        session.execute(text("SET LOCAL statement_timeout = 0"))
