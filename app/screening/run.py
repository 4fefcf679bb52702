"""Running a screen: worker processes with a deadline a structure, records in input order, bounded memory."""

from __future__ import annotations

import csv
import io
import json
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Protocol

import click
import xlsxwriter

from app.chemistry import Chemistry
from app.screening.inputs import Item
from app.screening.records import Wanted, error_record, is_error, record
from chem.engine import Engine
from chem.errors import StructureError, StructureProblem
from chem.values import Structure, StructureFormat, to_json

AHEAD = 64  # inputs read ahead of the slowest record, a worker
COLUMNS = (
    "index", "name", "input", "status", "legal_status", "parent_smiles", "parent_inchikey", "formula", "monoisotopic_mass",
    "removed", "matches", "reasons", "analogues", "error",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenOptions:
    as_of: date
    instruments: tuple[str, ...] | None
    analogues: int
    workers: int
    out: str
    output: Path | None


class Writer(Protocol):
    def write(self, found: dict[str, Any]) -> None: ...

    def close(self, coverage: list[dict[str, Any]]) -> None: ...


class _Ndjson:
    def __init__(self, output: Path | None) -> None:
        self._file = output.open("w", encoding="utf-8") if output else sys.stdout

    def write(self, found: dict[str, Any]) -> None:
        self._file.write(json.dumps(found, ensure_ascii=False) + "\n")

    def close(self, coverage: list[dict[str, Any]]) -> None:
        self._file.flush()
        if self._file is not sys.stdout:
            self._file.close()


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
    ]


class _Csv:
    def __init__(self, output: Path | None) -> None:
        self._file = output.open("w", encoding="utf-8", newline="") if output else sys.stdout
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(COLUMNS)

    def write(self, found: dict[str, Any]) -> None:
        # a name or input that a spreadsheet would take for a formula starts with an apostrophe
        self._writer.writerow(
            ["'" + c if isinstance(c, str) and c[:1] in ("=", "+", "-", "@", "\t", "\r") else c for c in flat(found)]
        )

    def close(self, coverage: list[dict[str, Any]]) -> None:
        self._file.flush()
        if self._file is not sys.stdout:
            self._file.close()


class _Xlsx:
    """A workbook written row by row (constant memory), texts as texts, with the coverage on a sheet of its own."""

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._buffer = io.BytesIO()
        self._folder = tempfile.TemporaryDirectory(prefix="nps-screen-")
        options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "tmpdir": self._folder.name}
        self._book = xlsxwriter.Workbook(str(output) if output else self._buffer, options)
        self._sheet = self._book.add_worksheet("Records")
        self._sheet.write_row(0, 0, COLUMNS)
        self._next = 1

    def write(self, found: dict[str, Any]) -> None:
        for column, value in enumerate(flat(found)):
            if isinstance(value, str):
                self._sheet.write_string(self._next, column, value[:32_000])
            else:
                self._sheet.write(self._next, column, value)
        self._next += 1

    def close(self, coverage: list[dict[str, Any]]) -> None:
        sheet = self._book.add_worksheet("Coverage")
        sheet.write_row(0, 0, ("instrument", "edition", "complete", "not_coded"))
        for number, row in enumerate(coverage, start=1):
            sheet.write_row(number, 0, (row["instrument"], row["edition"], str(row["complete"]), "; ".join(row["not_coded"])))
        sheet.write(len(coverage) + 2, 0, "Information, not legal advice; the official text prevails.")
        self._book.close()
        self._folder.cleanup()
        if self._output is None:
            sys.stdout.buffer.write(self._buffer.getvalue())


WRITERS: dict[str, Callable[[Path | None], Writer]] = {"ndjson": _Ndjson, "csv": _Csv, "xlsx": _Xlsx}


def run_screen(items: Iterable[Item], options: ScreenOptions) -> int:
    """Screen every input; gives how many records are errors. The last line on standard error holds the coverage.

    Raises ValueError for an unknown instrument.
    """
    chemistry = Chemistry(workers=options.workers)
    known = [info.id for info in chemistry.engine.instruments()]
    for name in options.instruments or ():
        if name not in known:
            raise ValueError(f"{name!r} is no instrument here; there are: {', '.join(known)}")
    wanted = Wanted(as_of=options.as_of, instruments=options.instruments, analogues=options.analogues)
    coverage = to_json(chemistry.coverage(options.as_of, options.instruments))
    writer: Writer = WRITERS[options.out](options.output)
    errors = 0
    try:
        with click.progressbar(
            _in_order(chemistry, items, wanted, options.workers), label="Screening", file=sys.stderr,
            hidden=not sys.stderr.isatty() or sys.stdout.isatty(), show_pos=True,
        ) as records:  # fmt: skip
            for found in records:
                errors += is_error(found) and found["status"] == "error"
                writer.write(found)
    finally:
        writer.close(coverage)
        chemistry.close()
    click.echo(json.dumps({"coverage": coverage}, ensure_ascii=False), err=True)
    return errors


def _in_order(chemistry: Chemistry, items: Iterable[Item], wanted: Wanted, workers: int) -> Iterator[dict[str, Any]]:
    """Records in input order, with a bounded number of inputs under way."""
    pending: deque[Future[dict[str, Any]]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        for index, item in enumerate(items):
            pending.append(threads.submit(_one, chemistry, index, item, wanted))
            if len(pending) >= AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _one(chemistry: Chemistry, index: int, item: Item, wanted: Wanted) -> dict[str, Any]:
    if item.error is not None:
        return error_record(index, item.name, item.shown, StructureProblem.UNREADABLE, item.error)
    structures = _structures(item)
    return record(
        chemistry, index=index, name=item.name, shown=item.shown, structures=structures, is_set=len(structures) > 1, wanted=wanted
    )


def _structures(item: Item) -> tuple[Structure, ...]:
    return tuple(Structure(format=StructureFormat(form), text=text) for form, text in item.structures)


def identity_record(engine: Engine, index: int, item: Item) -> dict[str, Any]:
    """Identity layers of one input, or why there are none."""
    if item.error is not None:
        return error_record(index, item.name, item.shown, StructureProblem.UNREADABLE, item.error)
    head: dict[str, Any] = {"index": index} | ({"name": item.name} if item.name is not None else {}) | {"input": item.shown}
    try:
        found = [to_json(engine.identify(structure)) for structure in _structures(item)]
    except StructureError as error:
        return error_record(index, item.name, item.shown, error.code, error.detail)
    if len(found) == 1:
        return head | {"status": "ok", "identity": found[0]}
    return head | {"status": "ok", "candidates": found}
