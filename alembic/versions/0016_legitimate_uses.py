"""The register of legitimate uses: declared by industry, decided by an analyst."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0016_legitimate_uses"
down_revision = "0015_people"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(astext_type=sa.Text()), "postgresql")


def upgrade() -> None:
    op.create_table(
        "legitimate_use",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("substance_id", sa.String(length=26), nullable=False),
        sa.Column("label", sa.String(length=400), nullable=False),
        sa.Column("use", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=True),
        sa.Column("source", sa.String(length=1000), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("countries", JSON, nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(length=40), nullable=True),
        sa.Column("decision_note", sa.Text(), nullable=True),
        sa.Column("withdrawn_at", TIME, nullable=True),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_legitimate_use_org_id_organisation")),
        sa.ForeignKeyConstraint(["substance_id"], ["substance.id"], name=op.f("fk_legitimate_use_substance_id_substance")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_legitimate_use")),
    )
    op.create_index(op.f("ix_legitimate_use_org_id"), "legitimate_use", ["org_id"])
    op.create_index(op.f("ix_legitimate_use_state"), "legitimate_use", ["state"])
    op.create_index(op.f("ix_legitimate_use_substance_id_state"), "legitimate_use", ["substance_id", "state"])


def downgrade() -> None:
    op.drop_table("legitimate_use")
