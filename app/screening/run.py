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
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import click
import xlsxwriter

from app.chemistry import BATCH_DEADLINE_S, Question, answer
from app.pool import Overrun, Pool, WorkerDied
from app.screening.inputs import Item
from app.screening.records import Wanted, as_record, error_record
from chem.engine import Engine
from chem.errors import StructureError, StructureProblem
from chem.values import Structure, StructureFormat, to_json

CHUNK = 50  # inputs handed to a worker at once; at most two chunks a worker wait
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
    def write(self, found: Any) -> None: ...

    def close(self, coverage: list[dict[str, Any]]) -> None: ...


class _Ndjson:
    def __init__(self, output: Path | None) -> None:
        self._file = output.open("w", encoding="utf-8") if output else sys.stdout

    def write(self, found: str) -> None:
        self._file.write(found + "\n")

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

    def write(self, found: list[Any]) -> None:
        # a name or input that a spreadsheet would take for a formula starts with an apostrophe
        self._writer.writerow(["'" + c if isinstance(c, str) and c[:1] in ("=", "+", "-", "@", "\t", "\r") else c for c in found])

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

    def write(self, found: list[Any]) -> None:
        for column, value in enumerate(found):
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


@dataclass(frozen=True, slots=True)
class _Ask:
    """One input for a worker."""

    index: int
    item: Item
    wanted: Wanted
    table: bool


class _Screener:
    """Runs in a worker: one input to a finished record, as JSON text or as a row of a table, so that the parent only writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, ask: _Ask) -> tuple[bool, Any]:
        item = ask.item
        if item.error is not None:
            found = error_record(ask.index, item.name, item.shown, StructureProblem.UNREADABLE, item.error)
        else:
            structures = _structures(item)
            wanted = ask.wanted
            question = Question(structures, len(structures) > 1, wanted.as_of, wanted.instruments, wanted.analogues, ())
            found = as_record(answer(self._engine, question), index=ask.index, name=item.name, shown=item.shown)
        return _finished(found, table=ask.table)


def _finished(found: dict[str, Any], *, table: bool) -> tuple[bool, Any]:
    return found["status"] == "error", flat(found) if table else json.dumps(found, ensure_ascii=False)


def _initialise() -> _Screener:
    return _Screener(Engine.load())


def run_screen(items: Iterable[Item], options: ScreenOptions) -> int:
    """Screen every input; gives how many records are errors. The last line on standard error holds the coverage.

    Raises ValueError for an unknown instrument.
    """
    engine = Engine.load()
    known = [info.id for info in engine.instruments()]
    for name in options.instruments or ():
        if name not in known:
            raise ValueError(f"{name!r} is no instrument here; there are: {', '.join(known)}")
    wanted = Wanted(as_of=options.as_of, instruments=options.instruments, analogues=options.analogues)
    coverage = to_json(engine.coverage(options.instruments, as_of=options.as_of))
    writer: Writer = WRITERS[options.out](options.output)
    pool = Pool(_initialise, size=options.workers)
    table = options.out != "ndjson"
    errors = 0
    try:
        asks = (_Ask(index, item, wanted, table) for index, item in enumerate(items))
        with click.progressbar(
            _in_order(pool, asks, options.workers), label="Screening", file=sys.stderr, show_pos=True,
            hidden=not sys.stderr.isatty() or (sys.stdout.isatty() and options.output is None),
        ) as records:  # fmt: skip
            for is_error, found in records:
                errors += is_error
                writer.write(found)
    finally:
        writer.close(coverage)
        pool.close()
    click.echo(json.dumps({"coverage": coverage}, ensure_ascii=False), err=True)
    return errors


def _in_order(pool: Pool, asks: Iterator[_Ask], workers: int) -> Iterator[tuple[bool, Any]]:
    """Records in input order, with a bounded number of inputs under way."""
    pending: deque[Future[list[tuple[bool, Any]]]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        while chunk := list(islice(asks, CHUNK)):
            pending.append(threads.submit(_chunk, pool, chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _chunk(pool: Pool, chunk: list[_Ask]) -> list[tuple[bool, Any]]:
    found = []
    for ask, result in zip(chunk, pool.call_each(chunk, deadline_s=BATCH_DEADLINE_S), strict=True):
        if isinstance(result, Overrun | WorkerDied):
            record = error_record(ask.index, ask.item.name, ask.item.shown, StructureProblem.TIMEOUT, str(result))
            found.append(_finished(record, table=ask.table))
        elif isinstance(result, Exception):
            raise result
        else:
            found.append(result)
    return found


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
