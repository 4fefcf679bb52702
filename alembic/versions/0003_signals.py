"""Evaluations of weekly series

Revision: 0003_signals, after 0002_intake
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0003_signals"
down_revision = "0002_intake"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.create_table(
        "signal",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("substance_id", sa.String(length=26), nullable=False),
        sa.Column("country", sa.String(length=2), nullable=False),
        sa.Column("week", sa.Date(), nullable=False),
        sa.Column("as_of", sa.DateTime(timezone=True), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False),
        sa.Column("window", sa.Integer(), nullable=False),
        sa.Column("observed", sa.Integer(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("dispersion", sa.Double(), nullable=False),
        sa.Column("p", sa.Double(), nullable=False),
        sa.Column("alarm", sa.Boolean(), nullable=False),
        sa.Column("laboratories", sa.Integer(), nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("tests", JSON, nullable=True),
        sa.Column("class_mean", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["substance_id"], ["substance.id"], name=op.f("fk_signal_substance_id_substance")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signal")),
        sa.UniqueConstraint("substance_id", "country", "week", name=op.f("uq_signal_substance_id_country_week")),
    )
    with op.batch_alter_table("signal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_signal_week_alarm"), ["week", "alarm"], unique=False)


def downgrade() -> None:
    op.drop_table("signal")
