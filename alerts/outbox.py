"""The outbox's rules: what a store of tasks must promise, and the one loop that works them off.

A task is claimed with a lease and a random token, worked outside any transaction, and completed only where the token still
holds. A crash therefore repeats a message, which carries the same id, and never loses it.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from alerts.errors import ChannelError

log = logging.getLogger("nps.worker")

LEASE_SECONDS = 60
RENEW_SECONDS = 15.0  # how old a lease may be before whoever works on renews it
LANE_LIMIT = 2
CONCURRENCY = 50
CONTENDED_SECONDS = 0.02
PACE_SECONDS = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskItem:
    """One claimed task. `token` is the fencing token of this claim; `probe` is true where it tests an endpoint whose breaker is
    open.
    """

    id: str
    topic: str
    key: str
    lane: str
    payload: dict[str, Any]
    attempts: int
    crashes: int
    token: str
    probe: bool


def keeper(task: TaskItem, renew: Callable[[TaskItem], bool]) -> Callable[[], bool]:
    """What long work asks between its steps: whether the task is still its own. Renews the lease once that is old enough."""
    renewed = time.monotonic()

    def held() -> bool:
        nonlocal renewed
        if time.monotonic() - renewed > RENEW_SECONDS:
            if not renew(task):
                return False
            renewed = time.monotonic()
        return True

    return held


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one attempt ended. `sent` is false for work inside the service, which leaves no attempt row unless it failed.

    `recorded` is true where the work's own transaction has ended the task already. `along` holds the payloads of other tasks of
    the topic which that transaction ended too.
    """

    outcome: Literal["done", "failed", "blocked", "gone", "cancelled", "parked"]
    sent: bool = False
    status: int | None = None
    resolved_ip: str | None = None
    response: str | None = None
    error: str | None = None
    retry_after: float | None = None
    recorded: bool = False
    along: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An attempt that came to its end: of which task, how, and when it began and ended."""

    task: TaskItem
    result: Result
    started: datetime
    ended: datetime

    @property
    def went_well(self) -> bool:
        """Whether nothing but the attempt and the end of the task are to be written down."""
        return self.result.outcome == "done" and (self.task.topic != "deliver" or not self.task.probe)


DONE = Result(outcome="done")
Handler = Callable[[TaskItem], Result]


class OutboxStore(Protocol):
    """Durable tasks. Every method is one transaction of its own."""

    @property
    def contended(self) -> bool:
        """Whether the last claim left out what another worker was just claiming: then it is worth trying again at once."""

    def claim(self, owner: str, limit: int, *, running: int) -> list[TaskItem]:
        """Lease up to `limit` due tasks, highest priority first, at most `LANE_LIMIT` running a lane.

        A task waits while its sequence group has an unfinished smaller number. A task that crashed workers three times is given
        alone, and only where nothing runs (`running` is 0). Expired leases become ready first.
        """

    def finish(self, ended: Ended, *, worker: str) -> bool:
        """Record the attempt and move the task on; False where the lease was lost: then the attempt is kept as late, nothing
        else.
        """

    def finish_all(self, ended: Sequence[Ended], *, worker: str, limit: int) -> tuple[list[bool], list[TaskItem]]:
        """As `finish`, of several that went well, all or none; and up to `limit` due tasks, leased as `claim` does."""

    def renew(self, task: TaskItem) -> bool:
        """Extend the lease; False where it was lost."""

    def release(self, tasks: Sequence[TaskItem]) -> None:
        """Give back tasks that were not begun."""

    def recover_owner(self, owner_prefix: str | None) -> int:
        """Make leased tasks of a dead owner (None: of anyone) ready at once; the number of them."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """An end that a thread wants recorded, and what became of it."""

    ended: Ended
    kept: bool | None = None
    looked: bool = False
    error: Exception | None = None


@dataclass(slots=True)
class DeliveryLoop:
    """Claims due tasks and runs their handlers in threads until told to stop.

    Where `prepare` has a topic, tasks of it that were claimed together are handed to that first; it is a help, and a handler can
    do without. `wake` shortens the wait; polling is what guarantees progress. Errors of the store are logged and waited out: a
    database that restarts costs time, never a task.
    """

    store: OutboxStore
    handlers: Mapping[str, Handler]
    owner: str
    now: Callable[[], datetime]
    concurrency: int = CONCURRENCY
    poll_seconds: float = 1.0
    may_run: Callable[[], bool] = field(default=lambda: True)
    prepare: Mapping[str, Callable[[Sequence[TaskItem]], None]] = field(default_factory=dict)
    _wake: threading.Event = field(default_factory=threading.Event)
    _stop: threading.Event = field(default_factory=threading.Event)
    _running: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _turn: threading.Lock = field(default_factory=threading.Lock)  # one claims at a time, so that no more begin than may run
    _ended: list[_Waiting] = field(default_factory=list)
    _pool: ThreadPoolExecutor | None = None

    def wake(self) -> None:
        """Look for due tasks now."""
        self._wake.set()

    def stop(self) -> None:
        """Claim nothing more; `run` returns when what is running has ended."""
        self._stop.set()
        self._wake.set()

    def run(self, *, grace_seconds: float = 25.0) -> None:
        """Work until `stop`. Tasks that do not end within the grace keep their lease, which expires."""
        pool = self._pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="nps-task")
        try:
            while not self._stop.is_set():
                self._wake.clear()
                claimed = time.monotonic()
                with self._turn:
                    begun = self._begin(self._claim())
                if begun:
                    self._wake.set()
                self._wake.wait(self._pause())
                # hints come in bursts: what falls due within a moment is claimed, and fanned out, together
                self._stop.wait(max(0.0, claimed + PACE_SECONDS - time.monotonic()))
        finally:
            end = time.monotonic() + grace_seconds
            while self._running and time.monotonic() < end:
                time.sleep(0.02)
            pool.shutdown(wait=False, cancel_futures=True)

    def run_due(self, *, rounds: int = 10_000) -> int:
        """Work off what is due, one task after another in this thread; the number of tasks worked."""
        worked = 0
        for _ in range(rounds):
            tasks = self.store.claim(self.owner, 1, running=0)
            if not tasks:
                break
            self._execute(tasks[0])
            worked += 1
        return worked

    def _pause(self) -> float:
        """How long to wait for a hint: workers that started together should not go on asking together."""
        return (0.8 + 0.4 * random.random()) * (CONTENDED_SECONDS if self.store.contended else self.poll_seconds)  # noqa: S311

    def _begin(self, tasks: Sequence[TaskItem]) -> int:
        """Have these worked in threads; the number of them."""
        if not tasks:
            return 0
        assert self._pool is not None
        with self._lock:
            self._running += len(tasks)
        together: dict[str, list[TaskItem]] = {}
        for task in tasks:
            together.setdefault(task.topic if task.topic in self.prepare else task.id, []).append(task)
        for few in together.values():
            self._pool.submit(self._work_together, few)
        return len(tasks)

    def _work_together(self, tasks: Sequence[TaskItem]) -> None:
        first, *others = tasks
        if others:
            try:
                self.prepare[first.topic](tasks)
            except Exception:
                log.exception("%d tasks could not be prepared together; each is by itself", len(tasks))
        assert self._pool is not None
        for task in others:
            self._pool.submit(self._work, task)
        self._work(first)

    def _may_claim(self) -> bool:
        """Whether an end may bring new work with it: there are threads for it, and nobody asked to stop."""
        return self._pool is not None and not self._stop.is_set() and self.may_run()

    def _claim(self) -> list[TaskItem]:
        free = self.concurrency - self._running
        if free <= 0:
            return []
        try:
            if not self.may_run():
                return []
            return self.store.claim(self.owner, free, running=self._running)
        except Exception:
            log.exception("no tasks could be claimed; trying again in %.0f s", self.poll_seconds)
            return []

    def _work(self, task: TaskItem) -> None:
        look = True
        try:
            look = self._execute(task)
        except Exception:
            log.exception("task %s (%s) was not completed; its lease will expire", task.id, task.topic)
        finally:
            with self._lock:
                self._running -= 1
            if look:
                self._wake.set()

    def _execute(self, task: TaskItem) -> bool:
        """Work a task and have its end recorded; whether to look for what is due now, which the record may have done."""
        started = self.now()
        result = self._handle(task)
        if result.recorded:
            return True
        ended = Ended(task=task, result=result, started=started, ended=self.now())
        give_up = time.monotonic() + LEASE_SECONDS
        together, looked = ended.went_well, False
        while True:
            try:
                if together:
                    kept, looked = self._record(ended)
                else:
                    kept = self.store.finish(ended, worker=self.owner)
            except Exception:
                if time.monotonic() > give_up:
                    raise
                log.exception("the end of task %s (%s) is not recorded yet; trying again", task.id, task.topic)
                together = False  # one end that cannot be recorded must not hold up the others
                time.sleep(0.5)
                continue
            if not kept:
                log.warning("late: the lease of task %s (%s) was lost before its end was recorded", task.id, task.topic)
            return not looked

    def _record(self, ended: Ended) -> tuple[bool, bool]:
        """Have the store record an end that went well, with all that came while another thread had its own recorded, and claim
        what goes next: one commit carries many, and one that comes alone does not wait.

        Whether the lease still held, and whether all that may go now was claimed. Raises what the store raises.
        """
        mine = _Waiting(ended)
        with self._lock:
            self._ended.append(mine)
        with self._turn:
            if mine.kept is None and mine.error is None:
                with self._lock:
                    waiting, self._ended = self._ended, []
                try:
                    free = self.concurrency - self._running + len(waiting) if self._may_claim() else 0
                    answers, more = self.store.finish_all([one.ended for one in waiting], worker=self.owner, limit=free)
                except Exception as error:  # noqa: BLE001  # each of the threads that wait raises it
                    for one in waiting:
                        one.error = error
                else:
                    looked = free > 0 and not self.store.contended
                    for one, kept in zip(waiting, answers, strict=True):
                        one.kept, one.looked = kept, looked
                    self._begin(more)
        if mine.error is not None:
            raise mine.error
        return bool(mine.kept), mine.looked

    def _handle(self, task: TaskItem) -> Result:
        handler = self.handlers.get(task.topic)
        if handler is None:
            return Result(outcome="failed", error=f"no handler for the topic {task.topic}")
        try:
            return handler(task)
        except ChannelError as error:
            return Result(
                outcome="blocked" if error.outcome == "blocked" else "gone" if error.outcome == "gone" else "failed",
                sent=True,
                status=error.status,
                resolved_ip=error.resolved_ip,
                response=error.response,
                error=error.message,
                retry_after=error.retry_after,
            )
        except Exception as error:
            log.exception("task %s (%s) failed", task.id, task.topic)
            return Result(outcome="failed", error=f"{type(error).__name__}: {error}"[:2000])
