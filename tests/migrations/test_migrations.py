"""The migrations make the tables that the models describe, on both databases."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from app.persistence import migrations, models
from app.persistence.base import Base
from app.persistence.session import Database

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
