"""A snapshot keeps its ranking under the default weights, so that a page reads one rank without ranking

Revision: 0019_stored_ranks, after 0018_own_cells
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from alembic import op

revision = "0019_stored_ranks"
down_revision = "0018_own_cells"
branch_labels = None
depends_on = None


def upgrade() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
    op.add_column("snapshot", sa.Column("ranks", json, nullable=True))


def downgrade() -> None:
    op.drop_column("snapshot", "ranks")
