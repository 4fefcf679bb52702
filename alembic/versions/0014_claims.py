"""Claims in the order of an index; PostgreSQL tells workers of new tasks."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0014_claims"
down_revision = "0013_last_seen"
branch_labels = None
depends_on = None

_NOTIFY = """
CREATE OR REPLACE FUNCTION nps_task_written() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_notify('nps_task', ''); RETURN NULL; END $$
"""
_TRIGGER = "CREATE TRIGGER nps_task_written AFTER INSERT ON task FOR EACH STATEMENT EXECUTE FUNCTION nps_task_written()"


def upgrade() -> None:
    op.create_index(
        "ix_task_due", "task", ["state", sa.text("priority DESC"), "run_at", "id", "lane"],
        postgresql_where=sa.text("state = 'ready'"),
    )  # fmt: skip
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_NOTIFY)
        op.execute(_TRIGGER)
        op.execute("ALTER TABLE task SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER nps_task_written ON task")
        op.execute("DROP FUNCTION nps_task_written")
    op.drop_index("ix_task_due", "task")
