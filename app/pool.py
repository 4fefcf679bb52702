"""Disposable worker processes for chemistry that comes from outside.

RDKit holds the interpreter's lock, so a slow structure in a thread would freeze every request of the process. Each worker
here is a process with a memory limit; a call has a deadline, and a worker that overruns it or dies is killed and replaced.
The structure that was running costs one answer, nothing else.

A deadline is counted in the worker's own processor time, so that a busy machine changes no answer; a worker that gets no
processor at all is given up after five times as long. Several arguments travel as one message and so do their answers; a counter
in shared memory says which one is running.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import resource
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

log = logging.getLogger("nps.pool")

MEMORY_LIMIT_BYTES = 1 << 30
RECYCLE_AFTER = 10_000
START_TIMEOUT_S = 60.0
WALL_FACTOR = 5  # times a deadline by the wall clock, for a worker that gets no processor
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")

Initialiser = Callable[[], Callable[[Any], Any]]


class Overrun(Exception):
    """The call did not end within its deadline; its worker was killed."""


class WorkerDied(Exception):
    """The worker ended during the call, for example by a crash in the toolkit or by its memory limit."""


def _limit_memory() -> None:
    """Allow `MEMORY_LIMIT_BYTES` beyond what the loaded libraries map already."""
    with open("/proc/self/statm", encoding="ascii") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_LIMIT_BYTES, mapped + MEMORY_LIMIT_BYTES))


def _serve(connection: Connection, initialise: Initialiser, begun: Any) -> None:
    call = initialise()
    _limit_memory()
    connection.send(("ready", None))
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        answers = []
        for argument in arguments:
            begun.value += 1
            try:
                answers.append(("ok", call(argument)))
            except MemoryError:
                answers.append(("memory", None))
            except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
                answers.append(("error", error))
        connection.send(answers)


class _Stopped(Exception):
    """A worker overran or died: at which of the arguments sent (from 0), and as what the caller hears of it."""

    def __init__(self, place: int, error: Overrun | WorkerDied) -> None:
        super().__init__(place, error)
        self.place = place
        self.error = error


class _Worker:
    def __init__(self, context: Any, initialise: Initialiser) -> None:
        self.connection, theirs = context.Pipe()
        self._begun = context.RawValue("L", 0)  # arguments begun, ever
        self._sent = 0
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, initialise, self._begun), daemon=True)
        self.process.start()
        theirs.close()
        self.calls = 0
        if not self.connection.poll(START_TIMEOUT_S):
            self.kill()
            raise WorkerDied("a chemistry worker did not start")
        try:
            self.connection.recv()
        except EOFError as error:
            raise WorkerDied("a chemistry worker ended while it started") from error

    def ask(self, arguments: Sequence[Any], deadlines: Sequence[float]) -> list[tuple[str, Any]]:
        """The answers to all arguments. Raises _Stopped where one overran its deadline or ended the worker."""
        before = self._sent
        self._sent += len(arguments)
        self.calls += len(arguments)
        try:
            self.connection.send(arguments)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise _Stopped(0, WorkerDied("the chemistry worker ended before the call")) from error
        running, since, used = -1, 0.0, 0.0
        while True:
            place = max(0, self._begun.value - before - 1)
            if place != running:
                running, since, used = place, time.monotonic(), self._processor_seconds()
            deadline = deadlines[place]
            try:
                if self.connection.poll(deadline):
                    found: list[tuple[str, Any]] = self.connection.recv()
                    return found
            except (EOFError, BrokenPipeError, ConnectionResetError) as error:
                died = WorkerDied("the chemistry worker ended during the call")
                raise _Stopped(max(0, self._begun.value - before - 1), died) from error
            if self._begun.value - before - 1 > place:
                continue
            spent = self._processor_seconds() - used
            if spent >= deadline or time.monotonic() - since >= WALL_FACTOR * deadline:
                raise _Stopped(place, Overrun(f"no answer within {deadline:g} s"))

    def _processor_seconds(self) -> float:
        """User and system time of the process so far; endless once it has ended."""
        try:
            with open(f"/proc/{self.process.pid}/stat", encoding="ascii", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return float("inf")
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def kill(self) -> None:
        self.process.kill()
        self.process.join(5)
        self.connection.close()


class Pool:
    """At most `size` workers, started when first needed. Calls from any thread; each waits for a free worker.

    `initialise` runs in the new process and gives the function that answers calls (it must be importable).
    """

    def __init__(self, initialise: Initialiser, *, size: int) -> None:
        self._initialise = initialise
        self._size = size
        self._context = multiprocessing.get_context("forkserver")
        self._slots: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._slots.put(None)
        self._lock = threading.Lock()
        self._workers: set[_Worker] = set()
        self._closed = False

    def call(self, argument: Any, *, deadline_s: float) -> Any:
        """The worker's answer. Raises Overrun, WorkerDied, or what the function itself raised."""
        (answer,) = self.call_each([argument], deadline_s=deadline_s)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call_each(self, arguments: Sequence[Any], *, deadline_s: float | Sequence[float]) -> list[Any]:
        """The answers to several arguments in order, each with a deadline of its own, by one worker where all goes well.

        An argument that overran, killed its worker or made the function raise has that exception as its answer; the rest go on.
        """
        deadlines = [deadline_s] * len(arguments) if isinstance(deadline_s, int | float) else list(deadline_s)
        worker = self._slots.get()
        held: list[_Worker | None] = [worker]
        try:
            return self._answers(held, arguments, deadlines)
        except BaseException:
            if held[0] is not None:
                self._end(held[0])  # left in the middle: its next answers belong to nobody
                held[0] = None
            raise
        finally:
            worker = held[0]
            if worker is not None and worker.calls >= RECYCLE_AFTER:
                self._end(worker)
                worker = None
            self._slots.put(worker)

    def _answers(self, held: list[_Worker | None], arguments: Sequence[Any], deadlines: Sequence[float]) -> list[Any]:
        """The answers by the worker held, or by the next one where it must be replaced."""
        answers: list[Any] = []
        while len(answers) < len(arguments):
            start = len(answers)
            worker = held[0] = held[0] or self._start()
            try:
                found = worker.ask(arguments[start:], deadlines[start:])
            except _Stopped as stopped:
                log.warning("a chemistry worker was replaced")
                self._end(worker)
                held[0] = None
                if stopped.place:  # what was done before went down with the worker
                    done = slice(start, start + stopped.place)
                    answers.extend(self._answers(held, arguments[done], deadlines[done]))
                answers.append(stopped.error)
                continue
            for kind, value in found:
                answers.append(WorkerDied("the chemistry worker ran out of its memory") if kind == "memory" else value)
            if any(kind == "memory" for kind, _ in found):
                self._end(worker)
                held[0] = None
        return answers

    def warm(self) -> None:
        """Start one worker now, so that the first request does not wait for it."""
        worker = self._slots.get()
        try:
            worker = worker or self._start()
        finally:
            self._slots.put(worker)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            workers, self._workers = self._workers, set()
        for worker in workers:
            worker.kill()

    def retire(self) -> None:
        """End each worker once its calls are over; later calls start none and fail. Returns at once."""

        def wait() -> None:
            for _ in range(self._size):
                worker = self._slots.get()
                if worker is not None:
                    self._end(worker)
            self.close()

        threading.Thread(target=wait, name="nps-retire", daemon=True).start()

    def _start(self) -> _Worker:
        try:
            worker = _Worker(self._context, self._initialise)
        except WorkerDied:  # a machine that stood still for a minute, for example, is no reason to end a long run
            log.warning("a chemistry worker did not start; once more")
            worker = _Worker(self._context, self._initialise)
        with self._lock:
            if self._closed:
                worker.kill()
                raise WorkerDied("the pool is closed")
            self._workers.add(worker)
        return worker

    def _end(self, worker: _Worker) -> None:
        with self._lock:
            self._workers.discard(worker)
        worker.kill()
