"""Sharing groups, and originators' consent to a lower label

Revision: 0007_sharing, after 0006_accounts
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0007_sharing"
down_revision = "0006_accounts"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sharing_group",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sharing_group")),
        sa.UniqueConstraint("name", name=op.f("uq_sharing_group_name")),
    )
    op.create_table(
        "sharing_group_member",
        sa.Column("group_id", sa.String(length=26), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["sharing_group.id"], name=op.f("fk_sharing_group_member_group_id_sharing_group")),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_sharing_group_member_org_id_organisation")),
        sa.PrimaryKeyConstraint("group_id", "org_id", name=op.f("pk_sharing_group_member")),
    )
    op.create_table(
        "label_consent",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("report_id", sa.String(length=26), nullable=False),
        sa.Column("tlp", sa.String(length=12), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["report_id"], ["report.id"], name=op.f("fk_label_consent_report_id_report")),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_label_consent_org_id_organisation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_consent")),
    )
    op.create_index(op.f("ix_label_consent_report_id"), "label_consent", ["report_id"])
    op.add_column("report", sa.Column("sharing_group", sa.String(length=26), nullable=True))
    op.create_index(op.f("ix_report_sharing_group"), "report", ["sharing_group"])


def downgrade() -> None:
    op.drop_index(op.f("ix_report_sharing_group"), "report")
    with op.batch_alter_table("report") as batch:
        batch.drop_column("sharing_group")
    for table in ("label_consent", "sharing_group_member", "sharing_group"):
        op.drop_table(table)
