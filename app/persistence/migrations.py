"""Where the database stands among the migrations, and bringing it to the newest one."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from alembic import command

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


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest migration; nothing happens where it is there, or further."""
    if behind(engine):
        config = _config()
        config.attributes["engine"] = engine
        command.upgrade(config, "head")
