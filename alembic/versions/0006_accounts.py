"""Second factors, scopes of keys, sign-ins one by one, failed sign-ins shared by every process

Revision: 0006_accounts, after 0005_audit
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0006_accounts"
down_revision = "0005_audit"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("person", sa.Column("totp_secret", sa.Text(), nullable=True))
    op.add_column("person", sa.Column("totp_since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("person", sa.Column("totp_step", sa.Integer(), nullable=True))
    op.add_column("person", sa.Column("recovery", JSON, nullable=True))
    op.add_column("person", sa.Column("last_sign_in_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("web_session", sa.Column("agent", sa.String(length=120), nullable=True))
    op.add_column("api_key", sa.Column("scopes", JSON, nullable=True))
    op.add_column("api_key", sa.Column("note", sa.String(length=100), nullable=True))
    op.create_table(
        "sign_in_failure",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_failure")),
    )
    op.create_index(op.f("ix_sign_in_failure_who_at"), "sign_in_failure", ["who", "at"])


def downgrade() -> None:
    op.drop_table("sign_in_failure")
    for table, columns in (
        ("api_key", ("scopes", "note")),
        ("web_session", ("agent",)),
        ("person", ("totp_secret", "totp_since", "totp_step", "recovery", "last_sign_in_at")),
    ):
        with op.batch_alter_table(table) as batch:
            for column in columns:
                batch.drop_column(column)
