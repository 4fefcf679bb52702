"""Where the database stands among the migrations, and bringing it to the newest one."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from alembic import command

SCRIPTS = Path(__file__).resolve().parents[2] / "alembic"


def _config(engine: Engine) -> Config:
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["engine"] = engine
    return config


def head(engine: Engine) -> str | None:
    """The newest migration that this code knows."""
    return ScriptDirectory.from_config(_config(engine)).get_current_head()


def current(engine: Engine) -> str | None:
    """The migration the database is at; None where it is empty."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(engine: Engine) -> None:
    """Bring the database to the newest migration; nothing happens where it is there."""
    if current(engine) != head(engine):
        command.upgrade(_config(engine), "head")
