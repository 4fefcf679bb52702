"""Rows into a table at the driver's own speed, typed as the models say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

from sqlalchemy import JSON, Connection, Dialect, Table, insert
from sqlalchemy.orm import Session

from app.persistence.base import Base, JsonText
from app.persistence.trail import note_rows

Processor = Callable[[Any], Any]


class BulkInsert:
    """The insert statement of a table for one dialect, made once.

    Rows hold every column that has no default of the database. Values of JSON columns may be `JsonText`, which goes in as it is.
    """

    def __init__(self, table: Table, dialect: Dialect) -> None:
        self._keys = [column.name for column in table.columns]
        compiled = insert(table).compile(dialect=dialect, column_keys=self._keys)
        self._sql = str(compiled)
        self._named = not compiled.positional
        if compiled.positional:
            self._keys = list(compiled.positiontup or ())
        self._processors: list[tuple[int, Processor]] = []
        for place, key in enumerate(self._keys):
            made: Processor | None = table.columns[key].type.dialect_impl(dialect).bind_processor(dialect)
            if made is not None:
                # times and days repeat from row to row; a list or object cannot be looked up
                repeats = not isinstance(table.columns[key].type, JSON)
                self._processors.append((place, lru_cache(4096)(made) if repeats else made))

    def run(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows, at least one, in the transaction of the connection."""
        ready = []
        for row in rows:
            values = [row.get(key) for key in self._keys]
            for place, processor in self._processors:
                value = values[place]
                if value is not None and type(value) is not JsonText:
                    values[place] = processor(value)
            ready.append(values)
        given: list[Any]
        given = [dict(zip(self._keys, v, strict=True)) for v in ready] if self._named else [tuple(v) for v in ready]
        connection.exec_driver_sql(self._sql, given if len(given) > 1 else given[0])


def put(session: Session, model: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows past the session's unit of work, and note them in the trail."""
    if rows:
        connection = session.connection()
        table = cast(Table, model.__table__)
        bulk_insert(table, connection.dialect).run(connection, rows)
        note_rows(session, "created", table.name, (row["id"] for row in rows if "id" in row), len(rows))


@lru_cache(64)
def bulk_insert(table: Table, dialect: Dialect) -> BulkInsert:
    return BulkInsert(table, dialect)
