"""Refused rows: in a CSV that can be mended and sent again, or in the tables until their laboratory fetches them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.imports.readers import Row
from app.persistence.base import new_id
from app.persistence.models import ImportReject
from app.persistence.tasks import insert_all_once
from app.problems import FieldError
from app.tables import safe_text

NOTES = ("nps_row", "nps_field", "nps_column", "nps_reason", "nps_suggestion")
Refused = tuple[Row, tuple[FieldError, ...]]
_ALLOWED = re.compile(r"(?:vocabulary: |allowed: )([^.;]+)")
_GIVEN = re.compile(r"'([^']*)' (?:is not|does not)")


class Rejects(Protocol):
    """Where refused rows go: `store` inside the batch's transaction, `add` after it."""

    def store(self, session: Session, job_id: str, refused: Sequence[Refused]) -> None: ...

    def add(self, row: Row, errors: tuple[FieldError, ...]) -> None: ...


class RejectFile:
    """A CSV beside the file that was read, made with the first refused row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.TextIOWrapper | None = None
        self._columns: list[str] = []

    def store(self, session: Session, job_id: str, refused: Sequence[Refused]) -> None:
        """Nothing goes into the tables: the file is the record."""

    def add(self, row: Row, errors: tuple[FieldError, ...]) -> None:
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._columns = list(row.cells)
            csv.writer(self._file).writerow([*self._columns, *NOTES])
        csv.writer(self._file).writerow(_line(self._columns, row.number, row.cells, [_told(e, row.cells) for e in errors]))
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class StoredRejects:
    """Rows of an uploaded file: in the batch's own transaction, each once however often the file is run."""

    def store(self, session: Session, job_id: str, refused: Sequence[Refused]) -> None:
        rows = [
            {
                "id": new_id(), "import_id": job_id, "number": row.number, "cells": row.cells,
                "errors": [_told(error, row.cells) for error in errors],
            }
            for row, errors in refused
        ]  # fmt: skip
        insert_all_once(session, ImportReject, rows)

    def add(self, row: Row, errors: tuple[FieldError, ...]) -> None:
        """Stored already."""


def rejects_of(session: Session, job_id: str, *, after: int = 0, limit: int = 1000) -> list[ImportReject]:
    """Refused rows by their number in the file."""
    query = select(ImportReject).where(ImportReject.import_id == job_id, ImportReject.number > after)
    return list(session.scalars(query.order_by(ImportReject.number).limit(limit)))


def as_csv(rows: Iterable[ImportReject]) -> Iterator[str]:
    """The reject file, piece by piece: the columns of the first row, then what is wrong. Send it again once mended."""
    columns: list[str] | None = None
    for row in rows:
        out = io.StringIO()
        writer = csv.writer(out)
        if columns is None:
            columns = list(row.cells)
            writer.writerow([*columns, *NOTES])
        writer.writerow(_line(columns, row.number, row.cells, row.errors))
        yield out.getvalue()


def _line(columns: list[str], number: int, cells: dict[str, str], errors: Sequence[dict[str, str]]) -> list[str]:
    notes = ["; ".join(e[name] for e in errors if e[name]) for name in ("field", "column", "reason", "suggestion")]
    return [*(safe_text(str(cells.get(column, ""))) for column in columns), str(number), *map(safe_text, notes)]


def _told(error: FieldError, cells: dict[str, str]) -> dict[str, str]:
    """What is wrong: the report's field, the column whose cell holds the refused value, the reason, a suggestion."""
    given = _GIVEN.search(error.detail)
    column = ""
    if given is not None:
        column = next((name for name, cell in cells.items() if cell.strip() == given[1]), "")
    return {
        "field": error.pointer,
        "column": column,
        "reason": error.detail,
        "suggestion": error.suggestion or suggestion(error.detail),
    }


def suggestion(reason: str) -> str:
    """The allowed value that is spelled most like the refused one, or how a date is written; empty where there is none."""
    given, allowed = _GIVEN.search(reason), _ALLOWED.search(reason)
    if given is not None and allowed is not None:
        close = get_close_matches(given[1].lower().replace(" ", "_"), [a.strip() for a in allowed[1].split(",")], n=1, cutoff=0.6)
        return f"{close[0]}?" if close else ""
    if given is not None and "is not a day" in reason:
        return _as_date(given[1])
    return ""


def _as_date(text: str) -> str:
    """An unambiguous reading of a date written another way."""
    match = re.fullmatch(r"(\d{1,2})[./-](\d{1,2})[./-](\d{4})", text.strip())
    if match is None:
        return ""
    first, second, year = int(match[1]), int(match[2]), match[3]
    if "." in text and 1 <= second <= 12:
        return f"{year}-{second:02d}-{first:02d}?"
    if first > 12 >= second:
        return f"{year}-{second:02d}-{first:02d}?"
    if second > 12 >= first:
        return f"{year}-{first:02d}-{second:02d}?"
    return f"{year}-{second:02d}-{first:02d} or {year}-{first:02d}-{second:02d}?"


def as_json(row: ImportReject) -> dict[str, object]:
    return {"row": row.number, "cells": row.cells, "errors": row.errors}
