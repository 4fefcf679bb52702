"""Folding, making anew and proving the counts of detections (`app.persistence.models.rollups`)."""

# ruff: noqa: S608 - the statements are put together from the names of tables and columns above, never from what came in

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, text

from app.persistence import locks, migrations
from app.persistence.models import (
    ClassCell,
    CountryMonth,
    DetectionCell,
    DetectionDelta,
    DetectionPresence,
    LaboratoryMonth,
    OpenMonth,
    PlaceMonth,
    ReportingMonth,
    ShownCell,
    ShownMonth,
    ShownPlace,
    SubstanceLaboratory,
    SubstanceMonth,
)
from app.persistence.models.rollups import KEY, OPEN_LABELS
from app.persistence.session import Database

_OPEN = "NOT test AND tlp <> 'RED'"
_PARENTS = f"{_OPEN} AND relation = 'parent'"
_SHOWN = f"{_PARENTS} AND confidence IN ('confirmed', 'probable')"

# the tables of counts: their columns, and the condition on a line to enter
SHAPES: dict[str, tuple[tuple[str, ...], str]] = {
    table.__tablename__: (tuple(column.name for column in table.__table__.primary_key), condition)
    for table, condition in (
        (DetectionCell, "true"),
        (DetectionPresence, "true"),
        (SubstanceLaboratory, "true"),
        (SubstanceMonth, _OPEN),
        (ShownMonth, _SHOWN),
        (ShownCell, _SHOWN),
        (ClassCell, f"{_SHOWN} AND chemical_group <> ''"),
        (CountryMonth, _PARENTS),
        (LaboratoryMonth, _PARENTS),
        (OpenMonth, _OPEN),
        (PlaceMonth, "true"),
        (ReportingMonth, "true"),
    )
}
_DELTA = DetectionDelta.__tablename__
_CELL = DetectionCell.__tablename__
_PLACE = ShownPlace.__tablename__
_CLASS = ClassCell.__tablename__
# the class under which a substance is to be counted, and those counted under another as yet
_GROUP = "CASE WHEN ordinary THEN '' ELSE chemical_group END"
_MOVED = f"counted_group <> {_GROUP}"
# which labels are open to whoever sees up to a level
_OPENS = " UNION ALL ".join(
    f"SELECT '{label}' AS label, '{level}' AS level" for n, level in enumerate(OPEN_LABELS) for label in OPEN_LABELS[: n + 1]
)
TABLES = (*SHAPES, _PLACE)  # everything that follows from the detections and can be made anew
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
    kept: int | str
    counted: int | str


def _add(table: str, source: str) -> str:
    """Add the lines of a source to a table of counts. Cells are locked in the order of the key."""
    return _put(table, _classed(source) if table == _CLASS else source)


def _put(table: str, source: str) -> str:
    dims, condition = SHAPES[table]
    names = ", ".join(dims)
    return (
        f"INSERT INTO {table} ({names}, n) SELECT {names}, sum(n) FROM {source} WHERE {condition} GROUP BY {names} "
        f"HAVING sum(n) <> 0 ORDER BY {names} ON CONFLICT ({names}) DO UPDATE SET n = {table}.n + excluded.n"
    )


def _classed(source: str, *, group: str = "counted_group", sign: str = "", among: str = "true") -> str:
    """The lines of a source with the class of their substance; those without a substance are left out."""
    columns = ", ".join(f"lines.{name}" for name in ("month", "country", "org_id", "confidence", "tlp", "test", "relation"))
    return (
        f"(SELECT {columns}, {group} AS chemical_group, {sign}lines.n AS n FROM {source} AS lines "
        f"JOIN substance ON substance.id = lines.substance_id WHERE {among}) AS classed"
    )


def _widen(source: str, dialect: str) -> str:
    """Let the first and last months reach those of the lines of a source; where a line takes away, have them looked up anew."""
    least, greatest = ("min", "max") if dialect == "sqlite" else ("least", "greatest")
    return (
        f"INSERT INTO {_PLACE} (substance_id, country, tlp, first_month, last_month) "
        f"SELECT substance_id, country, level, CASE WHEN min(n) < 0 THEN '' ELSE min(month) END, max(month) FROM {source} "
        f"JOIN ({_OPENS}) AS opens ON label = tlp WHERE {_SHOWN} AND substance_id <> '' "
        "GROUP BY substance_id, country, level ORDER BY substance_id, country, level "
        "ON CONFLICT (substance_id, country, tlp) DO UPDATE SET "
        f"first_month = {least}({_PLACE}.first_month, excluded.first_month), "
        f"last_month = {greatest}({_PLACE}.last_month, excluded.last_month)"
    )


def _looked_up(month: str) -> str:
    """The first (min) or last (max) month of a pair among the cells themselves; empty where nothing is left of it."""
    return (
        f"coalesce((SELECT {month}(month) FROM {_CELL} WHERE {_CELL}.substance_id = {_PLACE}.substance_id "
        f"AND {_CELL}.country = {_PLACE}.country AND {_CELL}.tlp IN (SELECT label FROM ({_OPENS}) AS opens "
        f"WHERE level = {_PLACE}.tlp) AND n > 0 AND {_SHOWN}), '')"
    )


_LOOK_UP = (
    f"UPDATE {_PLACE} SET first_month = {_looked_up('min')}, last_month = {_looked_up('max')} WHERE first_month = ''",
    f"DELETE FROM {_PLACE} WHERE first_month = ''",
)


_AMONG = "substance.id IN :ids"
_MOVE = (
    _put(_CLASS, _classed(_CELL, sign="-", among=_AMONG)),
    _put(_CLASS, _classed(_CELL, group=_GROUP, among=_AMONG)),
    f"UPDATE substance SET counted_group = {_GROUP} WHERE {_AMONG}",
)


def _move(connection: Connection) -> None:
    """Count the substances that changed their class under the new one.

    One that another transaction is just changing is left for the next time: nobody waits for another crosswise.
    """
    locked = " FOR NO KEY UPDATE SKIP LOCKED" if connection.dialect.name == "postgresql" else ""
    moved = connection.scalars(text(f"SELECT id FROM substance WHERE {_MOVED} ORDER BY id{locked}")).all()
    for start in range(0, len(moved), 500):
        for statement in _MOVE:
            ids: Any = bindparam("ids", moved[start : start + 500], expanding=True)
            connection.execute(text(statement).bindparams(ids))


def fold(connection: Connection) -> int:
    """Fold the lines that are there into the counts, in the transaction of the connection; the number of them.

    Nothing is done where another transaction is folding on PostgreSQL, nor where a newer version has migrated the database:
    it may keep counts that this one does not know, and folds by itself. Cells that come to zero stay, and count for nothing.
    """
    if connection.dialect.name == "postgresql" and not connection.scalar(
        text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": locks.FOLDING}
    ):
        return 0
    if migrations.current_of(connection) != migrations.head():
        return 0
    _move(connection)
    if connection.dialect.name == "postgresql":
        # one statement, so that exactly the lines that were taken away are added
        parts = [f"into_{table} AS ({_add(table, 'taken')})" for table in SHAPES]
        parts.append(f"into_{_PLACE} AS ({_widen('taken', 'postgresql')})")
        taken = f"taken AS MATERIALIZED (DELETE FROM {_DELTA} RETURNING {', '.join(KEY)}, n)"
        folded = int(connection.scalar(text(f"WITH {taken}, {', '.join(parts)} SELECT count(*) FROM taken")) or 0)
    else:
        for table in SHAPES:
            connection.execute(text(_add(table, _DELTA)))
        connection.execute(text(_widen(_DELTA, "sqlite")))
        folded = connection.execute(text(f"DELETE FROM {_DELTA}")).rowcount
    for statement in _LOOK_UP:
        connection.execute(text(statement))
    return folded


def fold_all(database: Database) -> int:
    """As `fold`, in a transaction of its own that is begun only where there is something to fold."""
    with database.engine.connect() as connection:
        if not connection.scalar(
            text(f"SELECT EXISTS (SELECT 1 FROM {_DELTA}) OR EXISTS (SELECT 1 FROM substance WHERE {_MOVED})")
        ):
            return 0
    with database.engine.execution_options(nps_write=True).begin() as connection:
        return fold(connection)


def rebuild(database: Database) -> dict[str, int]:
    """Count every detection anew; the number of cells of each table. Reports may come in meanwhile: their lines stay."""
    options: dict[str, Any] = {"nps_write": True} if database.is_sqlite else {"isolation_level": "REPEATABLE READ"}
    found = {}
    with database.engine.execution_options(**options).begin() as connection:
        if not database.is_sqlite:  # before the snapshot of the transaction is taken, so that no fold comes between
            connection.execute(text(f"LOCK TABLE {', '.join(TABLES)} IN SHARE ROW EXCLUSIVE MODE"))
        for table in (*TABLES, _DELTA):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text(f"UPDATE substance SET counted_group = {_GROUP} WHERE {_MOVED}"))
        connection.execute(text(_add(_CELL, f"({_RAW}) AS raw")))
        connection.execute(text(_widen(_CELL, connection.dialect.name)))
        for table in TABLES:
            if table in SHAPES and table != _CELL:
                connection.execute(text(_add(table, _CELL)))
            found[table] = int(connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)
    return found


def differences(database: Database) -> Iterator[Difference]:
    """Every cell of every table that, with the lines not folded yet, is not the count of the detections themselves.

    One statement a table, so that what comes in meanwhile makes no difference.
    """
    with database.engine.connect() as connection:
        for table, (dims, condition) in SHAPES.items():
            names = ", ".join(dims)
            lines, raw = (_classed(_DELTA), _classed(f"({_RAW})")) if table == _CLASS else (_DELTA, f"({_RAW}) AS raw")
            rows = connection.execute(
                text(
                    f"SELECT {names}, sum(kept) AS kept, sum(counted) AS counted FROM ("
                    f"SELECT {names}, n AS kept, 0 AS counted FROM {table} "
                    f"UNION ALL SELECT {names}, n, 0 FROM {lines} WHERE {condition} "
                    f"UNION ALL SELECT {names}, 0, n FROM {raw} WHERE {condition}"
                    f") AS cells GROUP BY {names} HAVING sum(kept) <> sum(counted) ORDER BY {names}"
                )
            ).mappings()
            for row in rows:
                yield Difference(
                    table=table, cell={dim: row[dim] for dim in dims}, kept=int(row["kept"]), counted=int(row["counted"])
                )
        # a reader counts the pairs of a substance with lines that are not folded yet by themselves
        yield from map(_place, connection.execute(text(_PLACES)).mappings())


_PLACES = (
    "SELECT substance_id, country, tlp, max(kept) AS kept, max(counted) AS counted FROM ("
    f"SELECT substance_id, country, tlp, first_month || ' to ' || last_month AS kept, '' AS counted FROM {_PLACE} "
    f"UNION ALL SELECT substance_id, country, level, '', min(month) || ' to ' || max(month) FROM ({_RAW}) AS raw "
    f"JOIN ({_OPENS}) AS opens ON label = tlp WHERE {_SHOWN} AND substance_id <> '' GROUP BY substance_id, country, level"
    f") AS pairs WHERE substance_id NOT IN (SELECT substance_id FROM {_DELTA}) "
    "GROUP BY substance_id, country, tlp HAVING max(kept) <> max(counted) ORDER BY substance_id, country, tlp"
)


def _place(row: RowMapping) -> Difference:
    cell = {dim: row[dim] for dim in ("substance_id", "country", "tlp")}
    return Difference(table=_PLACE, cell=cell, kept=row["kept"], counted=row["counted"])
