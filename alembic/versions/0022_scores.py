"""A snapshot keeps the scores that a ranking by any weights is made from, so that no request draws laboratories

Revision: 0022_scores, after 0021_shown_places
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0022_scores"
down_revision = "0021_shown_places"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("snapshot", sa.Column("scores", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("snapshot", "scores")
