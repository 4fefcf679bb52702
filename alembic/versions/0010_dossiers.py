"""Dossiers with the records under their figures, and the remarks of reviewers

Revision: 0010_dossiers, after 0009_snapshots
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0010_dossiers"
down_revision = "0009_snapshots"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dossier",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("subject", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("view", sa.String(length=10), nullable=False),
        sa.Column("snapshot_id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("document", sa.LargeBinary(), nullable=True),
        sa.Column("figures", sa.LargeBinary(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_dossier_org_id_organisation")),
        sa.ForeignKeyConstraint(["snapshot_id"], ["snapshot.id"], name=op.f("fk_dossier_snapshot_id_snapshot")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dossier")),
    )
    op.create_index(op.f("ix_dossier_subject_view_snapshot_id"), "dossier", ["subject", "view", "snapshot_id"])
    op.create_table(
        "dossier_note",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("dossier_id", sa.String(length=26), nullable=False),
        sa.Column("section", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("author", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dossier_id"], ["dossier.id"], name=op.f("fk_dossier_note_dossier_id_dossier")),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_dossier_note_org_id_organisation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dossier_note")),
    )
    op.create_index(op.f("ix_dossier_note_dossier_id"), "dossier_note", ["dossier_id"])


def downgrade() -> None:
    op.drop_table("dossier_note")
    op.drop_table("dossier")
