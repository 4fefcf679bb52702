"""Disposable worker processes for chemistry that comes from outside.

RDKit holds the interpreter's lock, so a slow structure in a thread would freeze every request of the process. Each worker
here is a process with a memory limit; a call has a deadline, and a worker that overruns it or dies is killed and replaced.
The structure that was running costs one answer, nothing else.
"""

from __future__ import annotations

import logging
import multiprocessing
import queue
import resource
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

log = logging.getLogger("nps.pool")

MEMORY_LIMIT_BYTES = 1 << 30
RECYCLE_AFTER = 10_000
START_TIMEOUT_S = 60.0

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


def _serve(connection: Connection, initialise: Initialiser) -> None:
    call = initialise()
    _limit_memory()
    connection.send(("ready", None))
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        for argument in arguments:
            try:
                answer = ("ok", call(argument))
            except MemoryError:
                answer = ("memory", None)
            except Exception as error:  # noqa: BLE001 - handed to the caller, who raises it
                answer = ("error", error)
            connection.send(answer)


class _Worker:
    def __init__(self, context: multiprocessing.context.BaseContext, initialise: Initialiser) -> None:
        self.connection, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(target=_serve, args=(theirs, initialise), daemon=True)  # type: ignore[attr-defined]
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

    def send(self, arguments: Sequence[Any]) -> None:
        self.calls += len(arguments)
        try:
            self.connection.send(arguments)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WorkerDied("the chemistry worker ended before the call") from error

    def receive(self, deadline_s: float) -> Any:
        """The answer to the next argument sent."""
        try:
            if not self.connection.poll(deadline_s):
                raise Overrun(f"no answer within {deadline_s:g} s")
            kind, value = self.connection.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError) as error:
            raise WorkerDied("the chemistry worker ended during the call") from error
        if kind == "memory":
            raise WorkerDied("the chemistry worker ran out of its memory")
        if kind == "error":
            raise value
        return value

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
        answers: list[Any] = []
        deadlines = [deadline_s] * len(arguments) if isinstance(deadline_s, int | float) else list(deadline_s)
        worker = self._slots.get()
        keep: _Worker | None = None
        try:
            while len(answers) < len(arguments):
                if worker is None:
                    worker = self._start()
                try:
                    worker.send(arguments[len(answers) :])
                    while len(answers) < len(arguments):
                        answers.append(self._receive(worker, deadlines[len(answers)]))
                except (Overrun, WorkerDied) as error:
                    log.warning("a chemistry worker was replaced")
                    answers.append(error)
                    self._end(worker)
                    worker = None
            keep = worker
            if keep is not None and keep.calls >= RECYCLE_AFTER:
                self._end(keep)
                keep = None
        finally:
            if keep is None and worker is not None and worker in self._workers:
                self._end(worker)  # left in the middle: its next answers belong to nobody
            self._slots.put(keep)
        return answers

    @staticmethod
    def _receive(worker: _Worker, deadline_s: float) -> Any:
        try:
            return worker.receive(deadline_s)
        except (Overrun, WorkerDied):
            raise
        except Exception as error:  # noqa: BLE001 - the function's own error is its answer
            return error

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
