"""Running a screen: worker processes with a deadline a structure, records in input order, bounded memory.

Workers render a record to its last byte, so that the parent only reads, hands out and appends.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from app.chemistry import BATCH_DEADLINE_S, Question, answer
from app.pool import Overrun, Pool, WorkerDied
from app.screening import resume
from app.screening.inputs import Item, Source
from app.screening.records import Wanted, as_record, error_record
from app.screening.resume import Checkpoint
from app.screening.writers import COLUMNS, Writer, open_writer, rendered
from chem.engine import Engine
from chem.errors import StructureError, StructureProblem
from chem.stored import graver_elsewhere
from chem.values import Structure, StructureFormat, to_json

CHUNK = 50  # inputs handed to a worker at once; at most two chunks a worker wait
CHECKPOINT_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenOptions:
    """What to screen for and where the records go. `resume` goes on with the run that wrote `output`; `editions` are
    those that this installation loaded."""

    as_of: date
    instruments: tuple[str, ...] | None
    analogues: int
    workers: int
    out: str
    output: Path | None
    file_format: str = "smi"
    resume: bool = False
    editions: tuple[Mapping[str, Any], ...] = ()

    def settings(self, engine: Engine) -> dict[str, Any]:
        """Everything that shapes a record, beside the input."""
        return {
            "versions": engine.version,
            "as_of": self.as_of.isoformat(),
            "instruments": list(self.instruments) if self.instruments else None,
            "analogues": self.analogues,
            "format": self.file_format,
            "out": self.out,
            "columns": list(COLUMNS),
        }


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What a run did. `counts` are by `kind_of`."""

    as_of: date
    engine_version: str
    coverage: list[dict[str, Any]]
    counts: Counter[str] = field(default_factory=Counter)
    input_sha256: str = ""
    output_sha256: str = ""

    @property
    def records(self) -> int:
        return self.counts.total()

    @property
    def errors(self) -> int:
        return sum(count for name, count in self.counts.items() if name.startswith("error:"))


@dataclass(frozen=True, slots=True)
class Ask:
    """One input for a worker."""

    index: int
    item: Item
    wanted: Wanted
    out: str


class Screener:
    """Runs in a worker: one input to a finished record."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, ask: Ask) -> tuple[str, Any]:
        item = ask.item
        if item.error is not None:
            found = error_record(ask.index, item.name, item.shown, StructureProblem.UNREADABLE, item.error)
        else:
            structures = _structures(item)
            wanted = ask.wanted
            question = Question(
                structures, len(structures) > 1, wanted.as_of, wanted.instruments, wanted.analogues, (), full=False
            )
            found = as_record(answer(self._engine, question), index=ask.index, name=item.name, shown=item.shown)
        return finished(found, ask.out)


def finished(found: dict[str, Any], out: str) -> tuple[str, Any]:
    """What a record counts as, and the record as its writer takes it."""
    return kind_of(found), rendered(found, out)


def kind_of(found: dict[str, Any]) -> str:
    """The legal status of a record, or `error:<code>`.

    The status is over the UN conventions; where another instrument goes beyond it, that one's follows behind a slash.
    """
    if found["status"] == "error":
        return f"error:{found['error']['code']}"
    kind: str = found["legal_status"]
    elsewhere = graver_elsewhere(kind, found["status_by_instrument"]).values()
    gravest = "controlled" if "controlled" in elsewhere else "possibly_controlled"
    return f"{kind}/{gravest}" if elsewhere else kind


def _initialise(editions: tuple[Mapping[str, Any], ...]) -> Screener:
    return Screener(Engine.load(editions=editions))


def check_instruments(engine: Engine, asked: tuple[str, ...] | None) -> None:
    """Raises ValueError for an instrument that is not loaded."""
    known = [info.id for info in engine.instruments()]
    for name in asked or ():
        if name not in known:
            raise ValueError(f"{name!r} is no instrument here; there are: {', '.join(known)}")


def run_screen(source: Source, options: ScreenOptions, *, progress: Callable[[int], None] = lambda records: None) -> Outcome:
    """Screen every input. `progress` is told the number of records so far.

    Raises ValueError for an unknown instrument, ResumeError where a run cannot go on.
    """
    engine = Engine.load(editions=options.editions)
    check_instruments(engine, options.instruments)
    outcome = Outcome(
        as_of=options.as_of,
        engine_version=engine.version,
        coverage=to_json(engine.coverage(options.instruments, as_of=options.as_of)),
    )
    settings = options.settings(engine)
    items = source.items()
    digest = hashlib.sha256()
    kept = _go_on(items, options, settings, digest, outcome) if options.resume else 0
    if options.output is not None and not options.resume:
        resume.path_beside(options.output).unlink(missing_ok=True)  # of a run whose output is overwritten now
    with open_writer(options.out, options.output, outcome.coverage, kept=kept) as writer:
        _run(items, options, settings, digest, outcome, writer, progress)
    outcome.input_sha256, outcome.output_sha256 = source.sha256, writer.sha256
    if options.output is not None:
        resume.path_beside(options.output).unlink(missing_ok=True)
    return outcome


def _go_on(items: Iterator[Item], options: ScreenOptions, settings: dict[str, Any], digest: Any, outcome: Outcome) -> int:
    """Read past what has its record; the number of bytes of the output to keep."""
    if options.output is None:
        raise resume.ResumeError("--resume needs the --output of the run")
    checkpoint = resume.load(options.output)
    resume.check_settings(checkpoint, settings)
    resume.check_output(checkpoint, options.output)
    resume.skip(items, checkpoint, digest)
    outcome.counts.update(checkpoint.counts)
    return checkpoint.output_bytes


def _run(
    items: Iterator[Item],
    options: ScreenOptions,
    settings: dict[str, Any],
    digest: Any,
    outcome: Outcome,
    writer: Writer,
    progress: Callable[[int], None],
) -> None:
    wanted = Wanted(as_of=options.as_of, instruments=options.instruments, analogues=options.analogues)
    pool = Pool(partial(_initialise, options.editions), size=options.workers)
    keeps = options.output is not None and options.out != "xlsx"
    asks = (Ask(index, item, wanted, options.out) for index, item in enumerate(items, start=outcome.records))
    saved = time.monotonic()
    try:
        for asked, answers in _in_order(pool, asks, options.workers):
            for ask, (kind, found) in zip(asked, answers, strict=True):
                ask.item.digest_into(digest)
                outcome.counts[kind] += 1
                writer.write(found)
            if keeps and options.output is not None and time.monotonic() - saved >= CHECKPOINT_S:
                writer.flush()
                checkpoint = Checkpoint(
                    settings=settings, records=outcome.records, items_sha256=digest.hexdigest(),
                    output_bytes=writer.bytes, output_sha256=writer.sha256, counts=dict(outcome.counts),
                )  # fmt: skip
                resume.save(options.output, checkpoint)
                saved = time.monotonic()
            progress(outcome.records)
    finally:
        pool.close()


_Answers = list[tuple[str, Any]]


def _in_order(pool: Pool, asks: Iterator[Ask], workers: int) -> Iterator[tuple[list[Ask], _Answers]]:
    """Chunks of inputs with their records, in input order, with a bounded number of inputs under way."""
    pending: deque[tuple[list[Ask], Future[_Answers]]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        try:
            while chunk := list(islice(asks, CHUNK)):
                pending.append((chunk, threads.submit(chunk_of, pool, chunk)))
                if len(pending) > 2 * workers:
                    asked, future = pending.popleft()
                    yield asked, future.result()
            while pending:
                asked, future = pending.popleft()
                yield asked, future.result()
        finally:
            for _, future in pending:  # after an error or an interruption nothing more is begun
                future.cancel()


def chunk_of(pool: Pool, chunk: list[Ask]) -> _Answers:
    """What each input counts as and its record, in order, read by one worker of the pool."""
    found: _Answers = []
    deadlines = [BATCH_DEADLINE_S * max(1, len(ask.item.structures)) for ask in chunk]
    for ask, result in zip(chunk, pool.call_each(chunk, deadline_s=deadlines), strict=True):
        if isinstance(result, Overrun | WorkerDied):
            record = error_record(ask.index, ask.item.name, ask.item.shown, StructureProblem.TIMEOUT, str(result))
            found.append(finished(record, ask.out))
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


class Counting(Protocol):
    """An input that says how far it was read."""

    @property
    def bytes_read(self) -> int: ...


class Progress:
    """One line on a terminal: records, rate and, where the size of the input is known, what remains."""

    def __init__(self, source: Counting, size: int | None) -> None:
        self._source, self._size = source, size
        self._began = self._shown = time.monotonic()
        self._first: int | None = None

    def __call__(self, records: int) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = records  # a run that goes on says its own rate
        if now - self._shown < 0.5:
            return
        self._shown = now
        seconds = now - self._began
        text = f"{records:,} records, {(records - self._first) / seconds:,.0f}/s"
        if self._size and self._source.bytes_read:
            part = min(1.0, self._source.bytes_read / self._size)
            text += f", {part:.0%}, {_clock(seconds / part - seconds)} left"
        sys.stderr.write(f"\r\x1b[KScreening: {text}")
        sys.stderr.flush()

    def end(self, outcome: Outcome) -> None:
        seconds = time.monotonic() - self._began
        sys.stderr.write(f"\r\x1b[KScreened {outcome.records:,} records in {_clock(seconds)}, {outcome.errors:,} errors\n")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
