"""Editions that an administrator loads

Revision: 0004_editions, after 0003_signals
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0004_editions"
down_revision = "0003_signals"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "loaded_edition",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("instrument", sa.String(length=20), nullable=False),
        sa.Column("edition", sa.String(length=40), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("content", sa.JSON().with_variant(postgresql.JSONB(), "postgresql"), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("loaded_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_loaded_edition")),
        sa.UniqueConstraint("instrument", "edition", name=op.f("uq_loaded_edition_instrument_edition")),
    )


def downgrade() -> None:
    op.drop_table("loaded_edition")
