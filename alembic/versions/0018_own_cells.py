"""An organisation's own first months are looked up one by one

Revision: 0018_own_cells, after 0017_shortcuts
"""

from __future__ import annotations

from alembic import op

revision = "0018_own_cells"
down_revision = "0017_shortcuts"
branch_labels = None
depends_on = None

NAME = "ix_detection_cell_org_id_substance_id_month"


def upgrade() -> None:
    op.create_index(NAME, "detection_cell", ["org_id", "substance_id", "month"])


def downgrade() -> None:
    op.drop_index(NAME, "detection_cell")
