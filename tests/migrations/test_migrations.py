"""The migrations make the tables that the models describe, on both databases."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text

from alembic import command
from app.persistence import migrations, models
from app.persistence.base import Base
from app.persistence.session import Database
from tests.databases import wipe

DESCENDING = "ix_task_due"  # alembic cannot compare an index with a falling column on SQLite


def _compared(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    return not (kind == "index" and name == DESCENDING)


def test_upgrade_gives_the_tables_of_the_models(empty_database_url: str) -> None:
    database = Database(empty_database_url)
    assert migrations.current(database.engine) is None
    migrations.upgrade(database.engine)
    assert migrations.current(database.engine) == migrations.head()
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": _compared})
        differences: list[Any] = compare_metadata(context, Base.metadata)
        indexes = {index["name"] for index in inspect(connection).get_indexes("task")}
    assert differences == []
    assert DESCENDING in indexes
    assert models.Report.__tablename__ in Base.metadata.tables
    migrations.upgrade(database.engine)  # again: nothing to do
    database.check_durability()
    database.dispose()


@pytest.fixture
def behind(postgres_address: str) -> Iterator[Database]:
    """A PostgreSQL database some migrations behind the newest."""
    database = Database(postgres_address.replace("postgresql://", "postgresql+psycopg://", 1))
    wipe(database)
    config = migrations._config()
    config.attributes["engine"] = database.engine
    command.upgrade(config, "0010_dossiers")
    yield database
    database.dispose()


def test_a_migration_gives_way_and_comes_again(behind: Database) -> None:
    """A process of the older version holds tables in an order of its own: it is never the one that has to stop."""
    holding = threading.Event()
    failed: list[Exception] = []

    def older() -> None:
        try:
            with behind.engine.begin() as connection:
                connection.execute(text("LOCK TABLE detection IN ROW EXCLUSIVE MODE"))
                holding.set()
                time.sleep(0.3)  # by now the migration waits for that table, and holds others
                connection.execute(text("LOCK TABLE substance, report, alert IN ROW EXCLUSIVE MODE"))
                time.sleep(1.5)  # past the second after which the server ends one of two that wait for one another
                connection.execute(text("SELECT count(*) FROM case_substance"))
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    thread = threading.Thread(target=older)
    thread.start()
    assert holding.wait(30)
    migrations.upgrade(behind.engine)
    thread.join(30)
    assert failed == []
    assert migrations.current(behind.engine) == migrations.head()
    with behind.engine.connect() as connection:
        assert connection.scalar(text("SHOW lock_timeout")) == "0"  # nothing of it is left behind


def test_a_migration_that_never_has_its_turn_says_what_to_do(behind: Database) -> None:
    with behind.engine.begin() as connection:
        connection.execute(text("LOCK TABLE detection IN ROW EXCLUSIVE MODE"))
        with pytest.raises(migrations.MigrationBusy, match="goes on there"):
            migrations.upgrade(behind.engine, patience=0.5)
    reached = migrations.current(behind.engine)
    assert reached != migrations.head()
    migrations.upgrade(behind.engine)
    assert migrations.current(behind.engine) == migrations.head()


def test_two_that_migrate_at_once_are_one(behind: Database) -> None:
    migrate = [sys.executable, "-m", "app.cli", "migrate"]
    environment = os.environ | {"DATABASE_URL": behind.engine.url.render_as_string(hide_password=False)}
    both = [
        subprocess.Popen(migrate, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)
    ]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert migrations.current(behind.engine) == migrations.head()
