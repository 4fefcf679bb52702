"""Tasks are found by the order in which they are claimed, and by no other

Revision: 0027_one_order, after 0026_classes

With an index by rising priority beside it, PostgreSQL sorted all that waited at each claim until it had counted the table anew.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0027_one_order"
down_revision = "0026_classes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_task_due", "task")
    op.create_index("ix_task_due", "task", ["state", sa.text("priority DESC"), "run_at", "id", "lane"])
    op.drop_index("ix_task_claim", "task")


def downgrade() -> None:
    op.create_index("ix_task_claim", "task", ["state", "priority", "run_at"])
    op.drop_index("ix_task_due", "task")
    op.create_index(
        "ix_task_due", "task", ["state", sa.text("priority DESC"), "run_at", "id", "lane"],
        postgresql_where=sa.text("state = 'ready'"),
    )  # fmt: skip
