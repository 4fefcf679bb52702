"""What counts show unless asked otherwise, by chemical group

Revision: 0026_classes, after 0025_shown_cells
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0026_classes"
down_revision = "0025_shown_cells"
branch_labels = None
depends_on = None

FOLD_LOCK = 0x6E707301  # nobody folds between the counting here and the end of this transaction
KEY = ("chemical_group", "month", "country", "org_id", "confidence", "tlp")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"SELECT pg_advisory_xact_lock({FOLD_LOCK})")
    op.add_column("substance", sa.Column("counted_group", sa.String(40), nullable=False, server_default=""))
    op.execute("UPDATE substance SET counted_group = chemical_group WHERE NOT ordinary")
    op.create_table(
        "class_cell",
        sa.Column("chemical_group", sa.String(40), nullable=False),
        sa.Column("month", sa.String(7), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("org_id", sa.String(26), nullable=False),
        sa.Column("confidence", sa.String(10), nullable=False),
        sa.Column("tlp", sa.String(12), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(*KEY, name="pk_class_cell"),
    )
    op.execute(
        f"INSERT INTO class_cell ({', '.join(KEY)}, n) "  # noqa: S608
        "SELECT counted_group, month, country, org_id, confidence, tlp, sum(n) FROM shown_cell "
        "JOIN substance ON substance.id = shown_cell.substance_id WHERE counted_group <> '' "
        "GROUP BY counted_group, month, country, org_id, confidence, tlp HAVING sum(n) <> 0 "
        "ORDER BY counted_group, month, country, org_id, confidence, tlp"
    )


def downgrade() -> None:
    op.drop_table("class_cell")
    with op.batch_alter_table("substance") as batch_op:
        batch_op.drop_column("counted_group")
