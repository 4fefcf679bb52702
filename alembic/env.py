"""Runs the migrations on the engine that the service hands over, or on the one its settings name.

On PostgreSQL each is a transaction of its own that waits half a second for a lock, less than the second after which the server
looks for a deadlock: where the processes of an older version are at work, it is the migration that gives way, never they.
`app.persistence.migrations.upgrade` tries it again. Two processes that migrate go one after the other.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import context
from app.persistence import locks, models
from app.persistence.base import Base, UtcDateTime
from app.persistence.session import make_engine
from app.settings import Settings

assert models.Report.__table__ is not None  # importing the models fills the metadata


def render_item(kind: str, item: object, _autogen: object) -> str | bool:
    """Write plain column types into migrations, so that they stay as they were written."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, sa.JSON):
        return "sa.JSON().with_variant(postgresql.JSONB(), 'postgresql')"
    return False


LOCK_TIMEOUT = "500ms"


def give_way(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({locks.MIGRATING})")


engine = context.config.attributes.get("engine") or make_engine(Settings().resolved_database_url)

with engine.connect() as connection:
    server = connection.dialect.name == "postgresql"
    if server:
        sa.event.listen(connection, "begin", give_way)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        render_item=render_item,
        transaction_per_migration=server,
    )
    with context.begin_transaction():
        context.run_migrations()
