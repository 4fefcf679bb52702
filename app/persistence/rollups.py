"""Folding, making anew and proving the counts of detections (`app.persistence.models.rollups`)."""

# ruff: noqa: S608 - the statements are put together from the names of tables and columns above, never from what came in

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from app.persistence.models import (
    CountryMonth,
    DetectionCell,
    DetectionDelta,
    DetectionPresence,
    LaboratoryMonth,
    OpenMonth,
    PlaceMonth,
    ReportingMonth,
    ShownMonth,
    SubstanceMonth,
)
from app.persistence.models.rollups import KEY
from app.persistence.session import Database

FOLD_LOCK = 0x6E707301  # of PostgreSQL's advisory locks: one folds at a time
_OPEN = "NOT test AND tlp <> 'RED'"
_PARENTS = f"{_OPEN} AND relation = 'parent'"

# the tables of counts: their columns, and the condition on a line to enter
SHAPES: dict[str, tuple[tuple[str, ...], str]] = {
    table.__tablename__: (tuple(column.name for column in table.__table__.primary_key), condition)
    for table, condition in (
        (DetectionCell, "true"),
        (DetectionPresence, "true"),
        (SubstanceMonth, _OPEN),
        (ShownMonth, f"{_PARENTS} AND confidence IN ('confirmed', 'probable')"),
        (CountryMonth, _PARENTS),
        (LaboratoryMonth, _PARENTS),
        (OpenMonth, _OPEN),
        (PlaceMonth, "true"),
        (ReportingMonth, "true"),
    )
}
_DELTA = DetectionDelta.__tablename__
_STANDS_FOR = {
    "substance_id": "coalesce(substance_id, '') AS substance_id",
    "report_id": "CASE WHEN tlp = 'RED' THEN report_id ELSE '' END AS report_id",
}
_RAW = f"SELECT {', '.join(_STANDS_FOR.get(name, name) for name in KEY)}, 1 AS n FROM detection WHERE counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A cell whose count is not that of the detections themselves."""

    table: str
    cell: dict[str, Any]
    kept: int
    counted: int


def _add(table: str, source: str) -> str:
    """Add the lines of a source to a table of counts. Cells are locked in the order of the key."""
    dims, condition = SHAPES[table]
    names = ", ".join(dims)
    return (
        f"INSERT INTO {table} ({names}, n) SELECT {names}, sum(n) FROM {source} WHERE {condition} GROUP BY {names} "
        f"HAVING sum(n) <> 0 ORDER BY {names} ON CONFLICT ({names}) DO UPDATE SET n = {table}.n + excluded.n"
    )


def fold(connection: Connection) -> int:
    """Fold the lines that are there into the counts, in the transaction of the connection; the number of them.

    Nothing is done where another transaction is folding on PostgreSQL. Cells that come to zero stay, and count for nothing.
    """
    if connection.dialect.name == "postgresql":
        if not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": FOLD_LOCK}):
            return 0
        # one statement, so that exactly the lines that were taken away are added
        parts = ", ".join(f"into_{table} AS ({_add(table, 'taken')})" for table in SHAPES)
        taken = f"taken AS MATERIALIZED (DELETE FROM {_DELTA} RETURNING {', '.join(KEY)}, n)"
        return int(connection.scalar(text(f"WITH {taken}, {parts} SELECT count(*) FROM taken")) or 0)
    for table in SHAPES:
        connection.execute(text(_add(table, _DELTA)))
    return connection.execute(text(f"DELETE FROM {_DELTA}")).rowcount


def fold_all(database: Database) -> int:
    """As `fold`, in a transaction of its own that is begun only where there is something to fold."""
    with database.engine.connect() as connection:
        if connection.scalar(text(f"SELECT 1 FROM {_DELTA} LIMIT 1")) is None:
            return 0
    with database.engine.execution_options(nps_write=True).begin() as connection:
        return fold(connection)


def rebuild(database: Database) -> dict[str, int]:
    """Count every detection anew; the number of cells of each table. Reports may come in meanwhile: their lines stay."""
    options: dict[str, Any] = {"nps_write": True} if database.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    found = {}
    with database.engine.execution_options(**options).begin() as connection:
        if not database.is_sqlite:  # before the snapshot of the transaction is taken, so that no fold comes between
            connection.execute(text(f"LOCK TABLE {', '.join(SHAPES)} IN SHARE ROW EXCLUSIVE MODE"))
        for table in (*SHAPES, _DELTA):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text(_add(DetectionCell.__tablename__, f"({_RAW}) AS raw")))
        for table in SHAPES:
            if table != DetectionCell.__tablename__:
                connection.execute(text(_add(table, DetectionCell.__tablename__)))
            found[table] = int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
    return found


def differences(database: Database) -> Iterator[Difference]:
    """Every cell of every table that, with the lines not folded yet, is not the count of the detections themselves.

    One statement a table, so that what comes in meanwhile makes no difference.
    """
    with database.engine.connect() as connection:
        for table, (dims, condition) in SHAPES.items():
            names = ", ".join(dims)
            rows = connection.execute(
                text(
                    f"SELECT {names}, sum(kept) AS kept, sum(counted) AS counted FROM ("
                    f"SELECT {names}, n AS kept, 0 AS counted FROM {table} "
                    f"UNION ALL SELECT {names}, n, 0 FROM {_DELTA} WHERE {condition} "
                    f"UNION ALL SELECT {names}, 0, n FROM ({_RAW}) AS raw WHERE {condition}"
                    f") AS cells GROUP BY {names} HAVING sum(kept) <> sum(counted) ORDER BY {names}"
                )
            ).mappings()
            for row in rows:
                yield Difference(
                    table=table, cell={dim: row[dim] for dim in dims}, kept=int(row["kept"]), counted=int(row["counted"])
                )
