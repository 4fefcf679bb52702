"""Snapshots of the facts that a ranking rests on

Revision: 0009_snapshots, after 0008_vocabulary_widths
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0009_snapshots"
down_revision = "0008_vocabulary_widths"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("cutoff", sa.Date(), nullable=False),
        sa.Column("labels", sa.String(length=60), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_snapshot")),
        sa.UniqueConstraint("cutoff", "labels", name=op.f("uq_snapshot_cutoff_labels")),
    )


def downgrade() -> None:
    op.drop_table("snapshot")
