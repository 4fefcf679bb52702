"""The migrations make the tables that the models describe, on both databases."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from app.persistence import migrations, models
from app.persistence.base import Base
from app.persistence.session import Database


def test_upgrade_gives_the_tables_of_the_models(database_url: str) -> None:
    database = Database(database_url)
    assert migrations.current(database.engine) is None
    migrations.upgrade(database.engine)
    assert migrations.current(database.engine) == migrations.head(database.engine)
    with database.engine.connect() as connection:
        differences: list[Any] = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert differences == []
    assert models.Report.__tablename__ in Base.metadata.tables
    migrations.upgrade(database.engine)  # again: nothing to do
    database.check_durability()
    database.dispose()
