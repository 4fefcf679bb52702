"""How many detections of each substance a laboratory sent; an index of what was found before

Revision: 0023_laboratories, after 0022_scores
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0023_laboratories"
down_revision = "0022_scores"
branch_labels = None
depends_on = None

FOLD_LOCK = 0x6E707301  # nobody folds between the counting here and the end of this transaction
BEFORE = ("substance_id", "region", "country", "confidence", "tlp")


def upgrade() -> None:
    dialect = op.get_bind().dialect.name
    if dialect == "postgresql":
        op.execute(f"SELECT pg_advisory_xact_lock({FOLD_LOCK})")
    op.create_table(
        "substance_laboratory",
        sa.Column("substance_id", sa.String(26), nullable=False),
        sa.Column("org_id", sa.String(26), nullable=False),
        sa.Column("tlp", sa.String(12), nullable=False),
        sa.Column("test", sa.Boolean(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("substance_id", "org_id", "tlp", "test", name="pk_substance_laboratory"),
    )
    op.execute(
        "INSERT INTO substance_laboratory (substance_id, org_id, tlp, test, n) "
        "SELECT substance_id, org_id, tlp, test, sum(n) FROM detection_presence "
        "GROUP BY substance_id, org_id, tlp, test HAVING sum(n) <> 0"
    )
    true, false = ("true", "false") if dialect == "postgresql" else ("1", "0")
    where = sa.text(f"counted IS {true} AND relation = 'parent' AND test IS {false}")
    # beside the old one first, so that no moment is without
    op.create_index("ix_detection_before", "detection", list(BEFORE), postgresql_where=where, sqlite_where=where)
    op.drop_index("ix_detection_first", "detection")


def downgrade() -> None:
    op.create_index("ix_detection_first", "detection", ["substance_id", "region", "country", "counted"])
    op.drop_index("ix_detection_before", "detection")
    op.drop_table("substance_laboratory")
