"""A time limit for the questions of a session, on both databases."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

_STEPS = 10_000  # of SQLite's virtual machine between two looks at the clock


class TooLong(Exception):
    """The database did not answer in the time allowed."""


@contextmanager
def within(session: Session, seconds: float) -> Iterator[None]:
    """Every question in the block ends in the time, counted from the start on SQLite and by question on PostgreSQL.

    Raises TooLong; the session's transaction is then over and rolled back.
    """
    connection = session.connection()
    sqlite = connection.dialect.name == "sqlite"
    driver = connection.connection.driver_connection
    if sqlite and driver is not None:
        end = time.monotonic() + seconds
        driver.set_progress_handler(lambda: int(time.monotonic() > end), _STEPS)
    else:
        session.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))

    def free() -> None:
        if sqlite and driver is not None:
            driver.set_progress_handler(None, 0)

    try:
        yield
    except DBAPIError as error:
        free()  # before the rollback, which would be interrupted as well
        session.rollback()
        if getattr(error.orig, "sqlstate", None) == "57014" or "interrupted" in str(error.orig):
            raise TooLong(f"no answer in {seconds:g} s") from error
        raise
    free()
    if not sqlite:
        session.execute(text("SET LOCAL statement_timeout = 0"))
