"""First and last months of each substance in each country, over rows that a label opens

Revision: 0021_shown_places, after 0020_open_months
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0021_shown_places"
down_revision = "0020_open_months"
branch_labels = None
depends_on = None

FOLD_LOCK = 0x6E707301  # nobody folds between the counting here and the end of this transaction
ANEW = sa.text("first_month = ''")


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"SELECT pg_advisory_xact_lock({FOLD_LOCK})")
    op.create_table(
        "shown_place",
        sa.Column("substance_id", sa.String(26), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("tlp", sa.String(12), nullable=False),
        sa.Column("first_month", sa.String(7), nullable=False),
        sa.Column("last_month", sa.String(7), nullable=False),
        sa.PrimaryKeyConstraint("substance_id", "country", "tlp", name="pk_shown_place"),
    )
    op.execute(
        "INSERT INTO shown_place (substance_id, country, tlp, first_month, last_month) "
        "SELECT substance_id, country, tlp, min(month), max(month) FROM detection_cell "
        "WHERE n > 0 AND substance_id <> '' AND NOT test AND tlp <> 'RED' AND relation = 'parent' "
        "AND confidence IN ('confirmed', 'probable') GROUP BY substance_id, country, tlp"
    )
    op.create_index("ix_shown_place_country", "shown_place", ["country"])
    op.create_index("ix_shown_place_anew", "shown_place", ["substance_id"], postgresql_where=ANEW, sqlite_where=ANEW)


def downgrade() -> None:
    op.drop_table("shown_place")
