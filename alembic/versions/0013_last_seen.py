"""The latest sample of a substance in a country is found by an index

Revision: 0013_last_seen, after 0012_desk
"""

from __future__ import annotations

from alembic import op

revision = "0013_last_seen"
down_revision = "0012_desk"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_detection_last", "detection", ["substance_id", "country", "sampled_on"])
