"""What an organisation alone may see is found by month as well

Revision: 0028_own_months, after 0027_one_order

A list of the last twelve months read every restricted row that a laboratory ever sent.
"""

from __future__ import annotations

from alembic import op

revision = "0028_own_months"
down_revision = "0027_one_order"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_detection_cell_org_id_test_tlp_month", "detection_cell", ["org_id", "test", "tlp", "month"])
    op.drop_index("ix_detection_cell_org_id_test_tlp", "detection_cell")


def downgrade() -> None:
    op.create_index("ix_detection_cell_org_id_test_tlp", "detection_cell", ["org_id", "test", "tlp"])
    op.drop_index("ix_detection_cell_org_id_test_tlp_month", "detection_cell")
