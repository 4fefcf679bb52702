"""Single-key shortcuts can be switched off by each person

Revision: 0017_shortcuts, after 0016_legitimate_uses
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0017_shortcuts"
down_revision = "0016_legitimate_uses"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("person", sa.Column("shortcuts", sa.Boolean(), nullable=False, server_default=sa.true()))


def downgrade() -> None:
    op.drop_column("person", "shortcuts")
