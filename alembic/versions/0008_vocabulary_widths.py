"""Columns as wide as the longest value of their vocabulary

Revision: 0008_vocabulary_widths, after 0007_sharing

`unknown` as an age band and `not_given` as naloxone did not fit. SQLite keeps no width, so there is nothing to change there.
"""

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0008_vocabulary_widths"
down_revision = "0007_sharing"
branch_labels = None
depends_on = None

WIDER = {"age_band": 6, "naloxone": 8}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for column, before in WIDER.items():
            op.alter_column("harm_case", column, type_=sa.String(16), existing_type=sa.String(before))


def downgrade() -> None:
    """Values of the new width stay: a narrower column could not hold them."""
