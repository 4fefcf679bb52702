"""Records on their way out: NDJSON, CSV, or a workbook. Workers render a record; the writer here only appends and hashes it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import xlsxwriter

from app.tables import safe_cell

FORMATS = ("ndjson", "csv", "xlsx")
RESUMABLE = ("ndjson", "csv")
COLUMNS = (
    "index", "name", "input", "status", "legal_status", "parent_smiles", "parent_inchikey", "formula", "monoisotopic_mass",
    "removed", "matches", "reasons", "analogues", "error", "status_by_instrument",
)  # fmt: skip
MOST_ROWS = 1_048_575  # of a worksheet, beside its heading
MOST_IN_CELL = 32_767
CUT = " […]"
NOTICE = "Information, not legal advice; the official text prevails."


def one_line(found: dict[str, Any]) -> str:
    """A record as JSON on one line; what has no place in UTF-8 is replaced."""
    return json.dumps(found, ensure_ascii=False, separators=(", ", ": ")).encode("utf-8", "replace").decode()


def rendered(found: dict[str, Any], out: str) -> Any:
    """A record in the form its writer takes: the bytes of its line, the cells of its row, or (`record`) as it is."""
    if out == "record":
        return found
    if out == "ndjson":
        return (one_line(found) + "\n").encode()
    row = flat(found)
    return csv_line(row) if out == "csv" else row


def flat(found: dict[str, Any]) -> list[Any]:
    """A record as one row of a table, in the order of `COLUMNS`."""
    identity = found.get("identity") or {}
    matches = found.get("matches", [])
    named = [
        f"{m['instrument']} {m['schedule']}: {m['entry']} ({m['basis']}, {m['certainty']})" for m in matches if m["captured"]
    ]
    error = found.get("error")
    return [
        found["index"],
        found.get("name", ""),
        found["input"],
        found["status"],
        found.get("legal_status", ""),
        identity.get("parent_smiles", ""),
        identity.get("parent_inchikey", ""),
        identity.get("formula", ""),
        identity.get("monoisotopic_mass", ""),
        ".".join(identity.get("removed", [])),
        "; ".join(named),
        "; ".join(m["explanation"] for m in matches if m["captured"]),
        "; ".join(f"{a['entry']} {a['similarity']:.2f}" for a in found.get("analogues", [])),
        f"{error['code']}: {error['detail']}" if error else "",
        by_instrument(found),
    ]


def by_instrument(found: dict[str, Any]) -> str:
    """Every instrument that a record falls under, or possibly does: the status over the UN conventions passes the others over."""
    statuses = found.get("status_by_instrument", {})
    return "; ".join(f"{name}: {status}" for name, status in statuses.items() if status in ("controlled", "possibly_controlled"))


def csv_line(cells: list[Any] | tuple[str, ...]) -> bytes:
    """One line of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([safe_cell(c) for c in cells])
    return text.getvalue().encode("utf-8", "replace")


class Writer(Protocol):
    """`bytes` and `sha256` are of what was written so far; for a workbook, after `close`."""

    bytes: int

    @property
    def sha256(self) -> str: ...

    def write(self, found: Any) -> None: ...

    def flush(self) -> None: ...

    def close(self, coverage: list[dict[str, Any]]) -> None: ...


class _Lines:
    """NDJSON or CSV. `kept` bytes that an earlier run wrote stay; what stands after them is cut off."""

    def __init__(self, output: Path | None, *, heading: bytes, kept: int = 0) -> None:
        self._own = output is not None
        self.bytes = 0
        self._digest = hashlib.sha256()
        if output is None:
            self._file: BinaryIO = sys.stdout.buffer
        elif kept:
            self._file = output.open("r+b")
            self._read_kept(kept)
        else:
            self._file = output.open("wb")
        if not kept and heading:
            self.write(heading)

    def _read_kept(self, kept: int) -> None:
        while self.bytes < kept and (data := self._file.read(min(1 << 20, kept - self.bytes))):
            self._digest.update(data)
            self.bytes += len(data)
        self._file.seek(self.bytes)
        self._file.truncate()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, found: bytes) -> None:
        self._file.write(found)
        self._digest.update(found)
        self.bytes += len(found)

    def flush(self) -> None:
        self._file.flush()
        if self._own:
            os.fsync(self._file.fileno())

    def close(self, coverage: list[dict[str, Any]]) -> None:
        self._file.flush()
        if self._own:
            self._file.close()


class _Workbook:
    """A workbook written row by row (constant memory), texts as texts, with the coverage on a sheet of its own.

    Its parts lie in a folder beside the output until it is closed; for standard output in the system's temporary folder.
    """

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._folder = tempfile.TemporaryDirectory(prefix=".nps-screen-", dir=output.parent if output else None)
        self._target = output or Path(self._folder.name) / "screened.xlsx"
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": self._folder.name}
        self._book = xlsxwriter.Workbook(str(self._target), options)
        self._sheets = 0
        self._next_sheet()
        self.bytes = 0
        self.sha256 = ""

    def _next_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet("Records" if self._sheets == 1 else f"Records {self._sheets}")
        self._sheet.write_row(0, 0, COLUMNS)
        self._next = 1

    def write(self, found: list[Any]) -> None:
        if self._next > MOST_ROWS:
            self._next_sheet()
        for column, value in enumerate(found):
            if isinstance(value, str):
                text = value if len(value) <= MOST_IN_CELL else value[: MOST_IN_CELL - len(CUT)] + CUT
                self._sheet.write_string(self._next, column, text)
            else:
                self._sheet.write(self._next, column, value)
        self._next += 1

    def flush(self) -> None:
        """Nothing: a workbook exists once it is closed."""

    def close(self, coverage: list[dict[str, Any]]) -> None:
        sheet = self._book.add_worksheet("Coverage")
        sheet.write_row(0, 0, ("instrument", "edition", "complete", "not_coded"))
        for number, row in enumerate(coverage, start=1):
            sheet.write_row(number, 0, (row["instrument"], row["edition"], str(row["complete"]), "; ".join(row["not_coded"])))
        sheet.write(len(coverage) + 2, 0, NOTICE)
        self._book.close()
        with self._target.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.bytes = file.tell()
            if self._output is None:
                file.seek(0)
                shutil.copyfileobj(file, sys.stdout.buffer)
                sys.stdout.buffer.flush()
        self._folder.cleanup()


@contextmanager
def open_writer(out: str, output: Path | None, coverage: list[dict[str, Any]], *, kept: int = 0) -> Iterator[Writer]:
    """The writer of a format; closed at the end, also after an error, so that what was written can be read."""
    heading = csv_line(COLUMNS) if out == "csv" else b""
    writer: Writer = _Workbook(output) if out == "xlsx" else _Lines(output, heading=heading, kept=kept)
    try:
        yield writer
    finally:
        writer.close(coverage)
