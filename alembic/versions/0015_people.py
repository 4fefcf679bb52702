"""Contacts, links that acknowledge, counts of old deliveries, limits of an endpoint, discoveries, products that recur."""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0015_people"
down_revision = "0014_claims"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "contact",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("deputy", sa.String(length=254), nullable=True),
        sa.Column("days", sa.String(length=7), nullable=False),
        sa.Column("hours_from", sa.String(length=5), nullable=True),
        sa.Column("hours_until", sa.String(length=5), nullable=True),
        sa.Column("zone", sa.String(length=40), nullable=False),
        sa.Column("until", sa.Date(), nullable=True),
        sa.Column("actor", sa.String(length=40), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_contact_org_id_organisation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact")),
    )
    op.create_index(op.f("ix_contact_org_id_position"), "contact", ["org_id", "position"])
    op.create_table(
        "ack_link",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("alert_id", sa.String(length=26), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("used_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alert.id"], name=op.f("fk_ack_link_alert_id_alert")),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_ack_link_org_id_organisation")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_ack_link")),
    )
    op.create_index(op.f("ix_ack_link_alert_id"), "ack_link", ["alert_id"])
    op.create_table(
        "delivery_count",
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("org_id", sa.String(length=26), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("deliveries", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["org_id"], ["organisation.id"], name=op.f("fk_delivery_count_org_id_organisation")),
        sa.PrimaryKeyConstraint("month", "org_id", "channel", "state", name=op.f("pk_delivery_count")),
    )
    op.add_column("subscription", sa.Column("daily_limit", sa.Integer(), nullable=True))
    op.add_column("sample", sa.Column("product_key", sa.String(length=32), nullable=True))
    op.add_column("signal", sa.Column("held", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("signal", "held")
    op.drop_column("sample", "product_key")
    op.drop_column("subscription", "daily_limit")
    for table in ("delivery_count", "ack_link", "contact"):
        op.drop_table(table)
