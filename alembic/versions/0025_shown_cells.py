"""What counts show unless asked otherwise, without the context

Revision: 0025_shown_cells, after 0024_levels
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0025_shown_cells"
down_revision = "0024_levels"
branch_labels = None
depends_on = None

FOLD_LOCK = 0x6E707301  # nobody folds between the counting here and the end of this transaction
KEY = ("substance_id", "month", "country", "org_id", "confidence", "tlp")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"SELECT pg_advisory_xact_lock({FOLD_LOCK})")
    op.create_table(
        "shown_cell",
        sa.Column("substance_id", sa.String(26), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("org_id", sa.String(26), nullable=False),
        sa.Column("confidence", sa.String(10), nullable=False),
        sa.Column("tlp", sa.String(12), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name="pk_shown_cell"),
    )
    key = ", ".join(KEY)
    op.execute(
        f"INSERT INTO shown_cell ({key}, n) SELECT {key}, sum(n) FROM detection_cell "  # noqa: S608
        "WHERE NOT test AND tlp <> 'RED' AND relation = 'parent' AND confidence IN ('confirmed', 'probable') "
        f"GROUP BY {key} HAVING sum(n) <> 0 ORDER BY {key}"
    )
    op.create_index("ix_shown_cell_country_tlp_month", "shown_cell", ["country", "tlp", "month"])


def downgrade() -> None:
    op.drop_table("shown_cell")
