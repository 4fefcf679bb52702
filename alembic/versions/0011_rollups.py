"""Counts of detections, kept by triggers in the transaction of every change; the substance of a case's part

Revision: 0011_rollups, after 0010_dossiers
"""

# ruff: noqa: S608 - the statements are put together from the names of tables and columns above, never from what came in

from __future__ import annotations

import sqlalchemy as sa

from alembic import op

revision = "0011_rollups"
down_revision = "0010_dossiers"
branch_labels = None
depends_on = None

KEY = ("substance_id", "month", "country", "org_id", "context", "confidence", "relation", "tlp", "test", "report_id")
PRESENCE = ("substance_id", "country", "org_id", "confidence", "relation", "tlp", "test", "report_id")
SUBSTANCE = ("substance_id", "month", "confidence", "relation", "tlp")
PLACE = ("month", "country", "org_id", "context", "confidence", "relation", "tlp", "test", "report_id")
REPORTING = ("month", "country", "org_id", "tlp", "test", "report_id")
TYPES: dict[str, sa.types.TypeEngine[object]] = {
    "substance_id": sa.String(26), "month": sa.String(7), "country": sa.String(2), "org_id": sa.String(26),
    "context": sa.String(20), "confidence": sa.String(10), "relation": sa.String(20), "tlp": sa.String(12),
    "test": sa.Boolean(), "report_id": sa.String(26),
}  # fmt: skip
OPEN = "NOT test AND tlp <> 'RED'"
RED = sa.text("report_id <> ''")


def _of(row: str) -> str:
    """The key of a row of `detection`, in the order of KEY."""
    named = {
        "substance_id": f"coalesce({row}substance_id, '')",
        "report_id": f"CASE WHEN {row}tlp = 'RED' THEN {row}report_id ELSE '' END",
    }
    return ", ".join(named.get(name, row + name) for name in KEY)


def _table(name: str, dims: tuple[str, ...]) -> None:
    columns = [sa.Column(dim, TYPES[dim], nullable=False) for dim in dims]
    op.create_table(
        name, *columns, sa.Column("n", sa.Integer(), nullable=False), sa.PrimaryKeyConstraint(*dims, name=f"pk_{name}")
    )


def upgrade() -> None:
    op.create_table(
        "detection_delta",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        *(sa.Column(dim, TYPES[dim], nullable=False) for dim in KEY),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_detection_delta"),
    )
    _table("detection_cell", KEY)
    _table("detection_presence", PRESENCE)
    _table("substance_month", SUBSTANCE)
    _table("place_month", PLACE)
    _table("reporting_month", REPORTING)
    op.create_index("ix_detection_cell_org_id_test_tlp", "detection_cell", ["org_id", "test", "tlp"])
    op.create_index("ix_detection_cell_country_tlp_month", "detection_cell", ["country", "tlp", "month"])
    op.create_index("ix_detection_cell_substance_id_country_month", "detection_cell", ["substance_id", "country", "month"])
    op.create_index("ix_detection_cell_red", "detection_cell", ["report_id"], postgresql_where=RED, sqlite_where=RED)
    op.create_index("ix_substance_month_month", "substance_month", ["month"])
    op.add_column("case_substance", sa.Column("substance_id", sa.String(26), nullable=True))
    op.create_index("ix_case_substance_substance_id", "case_substance", ["substance_id"])
    op.create_index("ix_detection_substance_id_received_at", "detection", ["substance_id", "received_at"])
    for statement in _fill():
        op.execute(statement)
    for statement in _postgres() if op.get_bind().dialect.name == "postgresql" else _sqlite():
        op.execute(statement)


def _fill() -> list[str]:
    """What is there already, counted once."""
    key = ", ".join(KEY)
    found = [
        f"INSERT INTO detection_cell ({key}, n) SELECT {_of('')}, count(*) FROM detection WHERE counted "
        f"GROUP BY {', '.join(str(n + 1) for n in range(len(KEY)))}"
    ]
    for name, dims, condition in (
        ("detection_presence", PRESENCE, "n > 0"),
        ("substance_month", SUBSTANCE, OPEN),
        ("place_month", PLACE, "n > 0"),
        ("reporting_month", REPORTING, "n > 0"),
    ):
        dim = ", ".join(dims)
        found.append(f"INSERT INTO {name} ({dim}, n) SELECT {dim}, sum(n) FROM detection_cell WHERE {condition} GROUP BY {dim}")
    found.append(
        "UPDATE case_substance SET substance_id = "
        "(SELECT d.substance_id FROM detection d WHERE d.id = case_substance.detection_id)"
    )
    return found


def _postgres() -> list[str]:
    """One function a kind of change, called once a statement with all its rows."""
    key = ", ".join(KEY)
    into = f"INSERT INTO detection_delta ({key}, n)"
    places = ", ".join(str(n + 1) for n in range(len(KEY)))
    more = f"{into} SELECT {_of('')}, count(*) FROM fresh WHERE counted GROUP BY {places}"
    fewer = f"{into} SELECT {_of('')}, -count(*) FROM gone WHERE counted GROUP BY {places}"
    other = (
        f"{into} SELECT {key}, sum(n) FROM (SELECT {_of('')}, 1 FROM fresh WHERE counted "
        f"UNION ALL SELECT {_of('')}, -1 FROM gone WHERE counted) AS change ({key}, n) GROUP BY {key} HAVING sum(n) <> 0"
    )
    found = []
    for event, body, tables in (
        ("insert", more, "NEW TABLE AS fresh"),
        ("delete", fewer, "OLD TABLE AS gone"),
        ("update", other, "OLD TABLE AS gone NEW TABLE AS fresh"),
    ):
        found.append(
            f"CREATE FUNCTION detection_count_{event}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; RETURN NULL; END $$"
        )
        found.append(
            f"CREATE TRIGGER detection_count_{event} AFTER {event.upper()} ON detection REFERENCING {tables} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION detection_count_{event}()"
        )
    found.append(
        "CREATE FUNCTION case_substance_fill() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "NEW.substance_id := (SELECT d.substance_id FROM detection d WHERE d.id = NEW.detection_id); RETURN NEW; END $$"
    )
    found.append(
        "CREATE TRIGGER case_substance_fill BEFORE INSERT ON case_substance FOR EACH ROW EXECUTE FUNCTION case_substance_fill()"
    )
    found.append(
        "CREATE FUNCTION case_substance_follow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE case_substance SET substance_id = NEW.substance_id WHERE detection_id = NEW.id; RETURN NULL; END $$"
    )
    found.append(
        "CREATE TRIGGER case_substance_follow AFTER UPDATE OF substance_id ON detection FOR EACH ROW "
        "WHEN (OLD.substance_id IS DISTINCT FROM NEW.substance_id) EXECUTE FUNCTION case_substance_follow()"
    )
    return found


def _sqlite() -> list[str]:
    """Row by row. A later migration that makes the table of detections anew has to make these anew as well."""
    into = f"INSERT INTO detection_delta ({', '.join(KEY)}, n)"
    columns = ", ".join(["counted", *KEY])
    more, fewer = f"{into} VALUES ({_of('NEW.')}, 1)", f"{into} VALUES ({_of('OLD.')}, -1)"
    return [
        f"CREATE TRIGGER detection_count_insert AFTER INSERT ON detection WHEN NEW.counted BEGIN {more}; END",
        f"CREATE TRIGGER detection_count_delete AFTER DELETE ON detection WHEN OLD.counted BEGIN {fewer}; END",
        f"CREATE TRIGGER detection_count_less AFTER UPDATE OF {columns} ON detection WHEN OLD.counted BEGIN {fewer}; END",
        f"CREATE TRIGGER detection_count_more AFTER UPDATE OF {columns} ON detection WHEN NEW.counted BEGIN {more}; END",
        "CREATE TRIGGER case_substance_fill AFTER INSERT ON case_substance BEGIN UPDATE case_substance SET substance_id = "
        "(SELECT d.substance_id FROM detection d WHERE d.id = NEW.detection_id) "
        "WHERE case_id = NEW.case_id AND detection_id = NEW.detection_id; END",
        "CREATE TRIGGER case_substance_follow AFTER UPDATE OF substance_id ON detection BEGIN UPDATE case_substance "
        "SET substance_id = NEW.substance_id WHERE detection_id = NEW.id; END",
    ]


def downgrade() -> None:
    postgres = op.get_bind().dialect.name == "postgresql"
    if postgres:
        for name in ("detection_count_insert", "detection_count_delete", "detection_count_update", "case_substance_follow"):
            op.execute(f"DROP TRIGGER {name} ON detection")
            op.execute(f"DROP FUNCTION {name}()")
        op.execute("DROP TRIGGER case_substance_fill ON case_substance")
        op.execute("DROP FUNCTION case_substance_fill()")
    else:
        for name in (
            "detection_count_insert", "detection_count_delete", "detection_count_less", "detection_count_more",
            "case_substance_fill", "case_substance_follow",
        ):  # fmt: skip
            op.execute(f"DROP TRIGGER {name}")
    op.drop_index("ix_detection_substance_id_received_at", "detection")
    op.drop_index("ix_case_substance_substance_id", "case_substance")
    with op.batch_alter_table("case_substance") as table:
        table.drop_column("substance_id")
    for name in ("reporting_month", "place_month", "substance_month", "detection_presence", "detection_cell", "detection_delta"):
        op.drop_table(name)
