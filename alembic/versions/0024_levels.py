"""First and last months of a substance in a country by the label up to which a reader sees

Revision: 0024_levels, after 0023_laboratories

An earlier version reads the rows of all the labels that are open to its reader and takes the least and greatest: the same.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0024_levels"
down_revision = "0023_laboratories"
branch_labels = None
depends_on = None

FOLD_LOCK = 0x6E707301  # nobody folds between the counting here and the end of this transaction
LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
OPENS = " UNION ALL ".join(
    f"SELECT '{label}' AS label, '{level}' AS level" for n, level in enumerate(LABELS) for label in LABELS[: n + 1]
)
SHOWN = (
    "n > 0 AND substance_id <> '' AND NOT test AND tlp <> 'RED' AND relation = 'parent' "
    "AND confidence IN ('confirmed', 'probable')"
)


ANEW = sa.text("first_month = ''")


def _table(*key: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"SELECT pg_advisory_xact_lock({FOLD_LOCK})")
    op.drop_table("shown_place")
    op.create_table(
        "shown_place",
        sa.Column("tlp", sa.String(12), nullable=False),
        sa.Column("substance_id", sa.String(26), nullable=False),
        sa.Column("country", sa.String(2), nullable=False),
        sa.Column("first_month", sa.String(7), nullable=False),
        sa.Column("last_month", sa.String(7), nullable=False),
        sa.PrimaryKeyConstraint(*key, name="pk_shown_place"),
    )
    op.create_index("ix_shown_place_country", "shown_place", ["country"])
    op.create_index("ix_shown_place_anew", "shown_place", ["substance_id"], postgresql_where=ANEW, sqlite_where=ANEW)


def upgrade() -> None:
    _table("tlp", "substance_id", "country")
    op.execute(
        "INSERT INTO shown_place (tlp, substance_id, country, first_month, last_month) "  # noqa: S608
        f"SELECT level, substance_id, country, min(month), max(month) FROM detection_cell JOIN ({OPENS}) AS opens ON label = tlp "
        f"WHERE {SHOWN} GROUP BY level, substance_id, country ORDER BY level, substance_id, country"
    )


def downgrade() -> None:
    _table("substance_id", "country", "tlp")
    op.execute(
        "INSERT INTO shown_place (substance_id, country, tlp, first_month, last_month) "  # noqa: S608
        f"SELECT substance_id, country, tlp, min(month), max(month) FROM detection_cell WHERE {SHOWN} "
        "GROUP BY substance_id, country, tlp"
    )
