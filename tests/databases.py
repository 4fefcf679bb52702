"""Databases at the newest migration for tests: copies of one that this process migrated, since migrating takes a second or two.

tests/migrations runs the migrations themselves, on empty databases.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import text

from app.persistence import migrations
from app.persistence.session import Database

TEMPLATE, COPY = "nps_template", "nps_test"


@cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="nps-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "template.sqlite"
    database = Database(f"sqlite:///{path}")
    migrations.upgrade(database.engine)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.dispose()
    return path


def ready(database: Database) -> None:
    """Bring a database to the newest migration; a new SQLite file becomes a copy."""
    path = database.engine.url.database
    if database.is_sqlite and path and not Path(path).exists():
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_sqlite_template(), path)
    else:
        migrations.upgrade(database.engine)


def wipe(database: Database) -> None:
    """Make a database what it was before its first migration."""
    database.dispose()
    path = database.engine.url.database
    if database.is_sqlite:
        for file in Path(path or "").parent.glob(f"{Path(path or '').name}*"):  # its log of writes too
            file.unlink()
        return
    with database.engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))


@cache
def _postgres_template(address: str) -> None:
    server = Database(address)
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {TEMPLATE}"))
    template = Database(server.engine.url.set(database=TEMPLATE).render_as_string(hide_password=False))
    migrations.upgrade(template.engine)
    template.dispose()
    server.dispose()


def postgres_copy(address: str) -> str:
    """The address of a fresh copy on this server; the one before is dropped, with whoever still holds it."""
    _postgres_template(address)
    server = Database(address)
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"DROP DATABASE IF EXISTS {COPY} WITH (FORCE)"))
        connection.execute(text(f"CREATE DATABASE {COPY} TEMPLATE {TEMPLATE}"))
    copied = server.engine.url.set(database=COPY).render_as_string(hide_password=False)
    server.dispose()
    return copied
