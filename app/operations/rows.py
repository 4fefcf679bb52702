"""Rows as lines of JSON and back, the same for both databases, so that a table has one hash wherever it is kept."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, Date, LargeBinary, String, Table, select

from app.persistence.base import Base, UtcDateTime
from app.persistence.rollups import TABLES

# who is signed in or failed to be is not carried over: everybody signs in again
SIGN_INS = frozenset({"web_session", "sign_in_failure"})
# follow from the detections: made anew as these are restored
COUNTS = frozenset({"detection_delta", *TABLES})
LEFT_OUT = SIGN_INS | COUNTS
FETCH = 500


def tables() -> list[Table]:
    """Every table that is carried over, parents before children."""
    return [table for table in Base.metadata.sorted_tables if table.name not in LEFT_OUT]


def to_line(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
        case bytes():
            return base64.b64encode(value).decode()
        case _:
            raise TypeError(f"a {type(value).__name__} has no place in a backup")


def from_line(table: Table, line: str) -> dict[str, Any]:
    """The row of a line, in the types of its columns. Raises ValueError where the line names a column that is not there."""
    row: dict[str, Any] = json.loads(line)
    for name, value in row.items():
        if name not in table.columns:
            raise ValueError(f"table {table.name} has no column {name}: the backup is of a newer version")
        if value is None:
            continue
        kind = table.columns[name].type
        if isinstance(kind, UtcDateTime):
            row[name] = datetime.fromisoformat(value)
        elif isinstance(kind, Date):
            row[name] = date.fromisoformat(value)
        elif isinstance(kind, LargeBinary):
            row[name] = base64.b64decode(value)
    return row


def lines_of(connection: Connection, table: Table) -> Iterator[str]:
    """Every row of the table in the order of its key, compared byte by byte on both databases."""
    postgres = connection.dialect.name == "postgresql"
    order = [
        column.collate("C") if postgres and isinstance(column.type, String) else column for column in table.primary_key.columns
    ]
    query = select(table).order_by(*order).execution_options(yield_per=FETCH)
    for row in connection.execute(query).mappings():
        yield to_line(dict(row))


class Tally:
    """Counts lines and hashes them, each with its line feed."""

    def __init__(self) -> None:
        self.rows = 0
        self._hash = hashlib.sha256()

    def add(self, line: str) -> bytes:
        data = line.encode() + b"\n"
        self._hash.update(data)
        self.rows += 1
        return data

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def tally_of(connection: Connection, table: Table) -> Tally:
    tally = Tally()
    for line in lines_of(connection, table):
        tally.add(line)
    return tally
