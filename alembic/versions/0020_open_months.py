"""Counts at the grain that pages ask for, over rows that a label opens; indexes for what a reader sees besides

Revision: 0020_open_months, after 0019_stored_ranks
"""

# ruff: noqa: S608 - the statements are put together from the names of tables and columns above, never from what came in

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0020_open_months"
down_revision = "0019_stored_ranks"
branch_labels = None
depends_on = None

OPEN = "NOT test AND tlp <> 'RED'"
PARENTS = f"{OPEN} AND relation = 'parent'"
TYPES: dict[str, sa.types.TypeEngine[object]] = {
    "substance_id": sa.String(26), "month": sa.String(7), "country": sa.String(2), "org_id": sa.String(26),
    "confidence": sa.String(10), "tlp": sa.String(12),
}  # fmt: skip
TABLES = (
    ("shown_month", ("substance_id", "month", "tlp"), f"{PARENTS} AND confidence IN ('confirmed', 'probable')"),
    ("country_month", ("month", "country", "confidence", "tlp"), PARENTS),
    ("laboratory_month", ("month", "org_id", "confidence", "tlp"), PARENTS),
    ("open_month", ("month", "country", "tlp"), OPEN),
)
RED = sa.text("report_id <> ''")


def upgrade() -> None:
    for name, dims, condition in TABLES:
        columns = [sa.Column(dim, TYPES[dim], nullable=False) for dim in dims]
        op.create_table(
            name, *columns, sa.Column("n", sa.Integer(), nullable=False), sa.PrimaryKeyConstraint(*dims, name=f"pk_{name}")
        )
        dim = ", ".join(dims)
        op.execute(
            f"INSERT INTO {name} ({dim}, n) SELECT {dim}, sum(n) FROM detection_cell WHERE {condition} GROUP BY {dim} "
            "HAVING sum(n) <> 0"
        )
    op.create_index("ix_shown_month_month", "shown_month", ["month"])
    op.create_index("ix_detection_cell_tlp_substance_id_month", "detection_cell", ["tlp", "substance_id", "month"])
    for name in ("place_month", "reporting_month"):
        op.create_index(f"ix_{name}_org_id_test_tlp", name, ["org_id", "test", "tlp"])
        op.create_index(f"ix_{name}_country_tlp_month", name, ["country", "tlp", "month"])
        op.create_index(f"ix_{name}_red", name, ["report_id"], postgresql_where=RED, sqlite_where=RED)


def downgrade() -> None:
    for name in ("place_month", "reporting_month"):
        for index in ("red", "country_tlp_month", "org_id_test_tlp"):
            op.drop_index(f"ix_{name}_{index}", name)
    op.drop_index("ix_detection_cell_tlp_substance_id_month", "detection_cell")
    for name, *_ in reversed(TABLES):
        op.drop_table(name)
