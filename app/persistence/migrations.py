"""Where the database stands among the migrations, and bringing it to the newest one, also while others work with it."""

from __future__ import annotations

import logging
import time
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from alembic import command

log = logging.getLogger("nps")

PATIENCE_SECONDS = 600.0
AGAIN_SECONDS = 0.3
SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    return config


@cache
def head() -> str | None:
    """The newest migration that this code knows."""
    return ScriptDirectory.from_config(_config()).get_current_head()


@cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def current(engine: Engine) -> str | None:
    """The migration the database is at; None where it is empty."""
    with engine.connect() as connection:
        return current_of(connection)


def current_of(connection: Connection) -> str | None:
    """The same as this transaction sees it."""
    return MigrationContext.configure(connection).get_current_revision()


def behind(engine: Engine) -> bool:
    """Whether the database lacks a migration of this code. Not where a newer version has migrated it: migrations only add."""
    found = current(engine)
    return found != head() and (found is None or found in _known())


class MigrationBusy(Exception):
    """Others held a table for so long that a migration never had its turn; the message says what to do. What came before it is
    done, and the next call goes on there.
    """


def upgrade(engine: Engine, *, patience: float = PATIENCE_SECONDS) -> None:
    """Bring the database to the newest migration; nothing happens where it is there, or further.

    A migration that has to wait for a table gives way and is tried again, for `patience` seconds each. Raises MigrationBusy.
    """
    config = _config()
    config.attributes["engine"] = engine
    before, ends = "", time.monotonic() + patience
    while behind(engine):
        at = current(engine) or "none"
        if at != before:
            before, ends = at, time.monotonic() + patience
        try:
            command.upgrade(config, "head")
        except OperationalError as error:
            if not isinstance(error.orig, DeadlockDetected | LockNotAvailable):
                raise
            if time.monotonic() >= ends:
                raise MigrationBusy(
                    f"The migration after {current(engine) or 'none'} waited {patience:.0f} s for a table that others hold. End "
                    "what runs long on the database, or stop the other processes, and start it again: it goes on there."
                ) from error
            log.info("a migration after %s gives way to others and is tried again", current(engine))
            time.sleep(AGAIN_SECONDS)
        except (DBAPIError, CommandError):
            # one that another process did a moment before leaves nothing to do, or another version than was read
            if (current(engine) or "none") == before:
                raise
            log.info("another process migrates as well; looking again")
