"""The alert worker: fan-out, delivery, feed and scheduled work, in a thread of the API process or as a process of its own.

On PostgreSQL any number may run; the leases of one that died are taken back within seconds by the others, who see that its lock
is free. On SQLite the one that holds the file lock works and the others stand by, so that the death of one is made good by the
next; leases of the dead are taken back at once, as nobody else can hold one.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import IO

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from alerts.channels.smtp import SmtpChannel
from alerts.channels.webhook import WebhookChannel
from alerts.errors import ChannelError
from alerts.outbox import CONCURRENCY, RENEW_SECONDS, DeliveryLoop, Handler, Result, TaskItem
from alerts.retry import BreakerPolicy, RetryPolicy
from app.context import AppContext
from app.countries.lags import lags_handler
from app.curation.service import curate_handler
from app.dossiers.keeping import dossier_handler
from app.imports.jobs import import_handler
from app.law.drafts import impact_handler
from app.law.follow import Follower
from app.law.rescreen import rescreen_handler
from app.notifications.escalation import escalate_handler
from app.notifications.evaluation import evaluate_handler
from app.notifications.fanout import fanout_handler, publish_handler
from app.notifications.mailing import confirm_handler, digest_handler, smtp_channel
from app.notifications.reminders import remind_handler
from app.notifications.sending import Deliver, ping_handler
from app.notifications.telling import tell_handler
from app.observability.metrics import TASK_SECONDS
from app.persistence.claims import PRESENT
from app.persistence.listener import Listener, Watcher
from app.persistence.models import Task
from app.persistence.outbox import SqlOutbox
from app.persistence.rollups import fold_all
from app.scheduler import Scheduler, tick_handler

log = logging.getLogger("nps.worker")

CLOCK_TOLERANCE_SECONDS = 30.0
CLOCK_CHECK_SECONDS = 30.0
LOCK_RETRY_SECONDS = 0.5
FOLD_SECONDS = 2.0


class Worker:
    """Runs the delivery loop and the scheduler for one `AppContext`.

    `start` puts it in a thread and makes `context.wake_worker` wake it; `run` works in the calling thread until `stop`. `stop`
    claims nothing more and waits up to 25 s for what is being sent.
    """

    def __init__(
        self,
        context: AppContext,
        *,
        channel: WebhookChannel | None = None,
        concurrency: int = CONCURRENCY,
        poll_seconds: float = 1.0,
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        schedule: bool = True,
    ) -> None:
        self._context = context
        self.owner = f"{socket.gethostname()[:24]}:{os.getpid()}:{secrets.token_hex(4)}"
        database = context.database
        self._listener = None if database.is_sqlite else Listener(database.url, self.owner + PRESENT, self.wake)
        self.store = SqlOutbox(database, clock=context.now, retry=retry, breaker=breaker, present=self._is_present)
        self._stopping = threading.Event()
        channel = channel or WebhookChannel(allow=context.settings.egress_allow)
        handlers = self._handlers(channel)
        self.loop = DeliveryLoop(
            store=self.store,
            handlers={topic: timed(topic, handler) for topic, handler in handlers.items()},
            prepare={topic: handler.prepare for topic, handler in handlers.items() if isinstance(handler, Deliver)},
            owner=self.owner,
            now=context.now,
            concurrency=concurrency,
            poll_seconds=poll_seconds,
            may_run=self._clock_agrees,
        )
        self._schedule = schedule
        self._thread: threading.Thread | None = None
        self._clock_checked = -CLOCK_CHECK_SECONDS
        self._clock_fine = True

    def _handlers(self, channel: WebhookChannel, mail: SmtpChannel | None = None) -> dict[str, Handler]:
        box = self._context.box
        ping = ping_handler(self._context, channel, box)
        mail = mail or smtp_channel(self._context)
        return {
            "fanout": fanout_handler(self._context),
            "publish": publish_handler(self._context),
            "deliver": Deliver(self._context, channel, box, mail),
            "evaluate": evaluate_handler(self._context, self.store.renew),
            "curate": curate_handler(self._context, self.store.renew),
            "import": import_handler(self._context, self.store.renew, self._stopping.is_set),
            "dossier": dossier_handler(self._context, self.store.renew),
            "escalate": escalate_handler(self._context),
            "tell": tell_handler(self._context, mail),
            "remind": remind_handler(self._context, mail),
            "confirm": confirm_handler(self._context, mail),
            "digest": digest_handler(self._context, mail),
            "lags": holding(self.store.renew, lags_handler(self._context)),
            "impact": impact_handler(self._context, self.store.renew),
            "rescreen": rescreen_handler(self._context, self.store.renew),
            "ping": ping,
            "heartbeat": ping,
            "tick": holding(self.store.renew, tick_handler(self._context)),
        }

    def start(self) -> None:
        """Work in a thread of this process."""
        self._context.wake_worker = self.wake
        self._thread = threading.Thread(target=self.run, name="nps-worker", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Look for due tasks now. A hint: polling finds them within a second in any case."""
        self.loop.wake()

    def stop(self) -> None:
        """Claim nothing more and come to an end within 25 s."""
        self.end()
        if self._thread is not None:
            self._thread.join(30)

    def end(self) -> None:
        """Claim nothing more; `run` returns when what is being sent has ended. Safe in a signal handler."""
        self._stopping.set()
        self.loop.stop()

    def run(self) -> None:
        """Work until `stop`. On SQLite this first waits for the file lock."""
        lock = self._hold_lock()
        if self._stopping.is_set():
            if lock is not None:
                lock.close()
            return
        scheduler = Scheduler(self._context) if self._schedule else None
        try:
            if lock is not None:
                recovered = self.store.recover_owner(None)
                log.info("worker %s holds the lock; %d tasks taken back from a dead worker", self.owner, recovered)
            if scheduler is not None:
                scheduler.start()
            if self._listener is not None:
                self._listener.start()
            elif self._thread is None and (path := self._context.database.path) is not None:
                Watcher(str(path), self.wake, self._stopping).start()
            folding = threading.Thread(target=self._fold, name="nps-fold", daemon=True)
            folding.start()
            self.loop.run()
            folding.join(FOLD_SECONDS)
        finally:
            if scheduler is not None:
                scheduler.stop()
            if self._listener is not None:
                self._listener.stop()
            if lock is not None:
                lock.close()

    def _is_present(self) -> bool:
        return self._listener is not None and self._listener.present

    def run_due(self) -> int:
        """Work off what is due now, in this thread and one by one; the number of tasks."""
        return self.loop.run_due()

    def _fold(self) -> None:
        """Fold new lines into the counts of detections, until the end. One that fails is made good by the next."""
        while not self._stopping.wait(FOLD_SECONDS):
            try:
                fold_all(self._context.database)
            except SQLAlchemyError:
                log.exception("the counts could not be folded; answers stay exact, and the next turn tries again")

    def _hold_lock(self) -> IO[str] | None:
        """The open lock file beside the embedded database, once this process holds it; None on PostgreSQL."""
        path = self._context.database.worker_lock
        if path is None:
            return None
        file = path.open("a")
        waiting = False
        while not self._stopping.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not waiting:
                    log.info("another process holds %s; standing by", path)
                    waiting = True
                self._stopping.wait(LOCK_RETRY_SECONDS)
            else:
                break
        return file

    def _clock_agrees(self) -> bool:
        """Whether this host's clock is within 30 s of the database's; one that is off signs what receivers must refuse."""
        if self._context.database.is_sqlite or time.monotonic() - self._clock_checked < CLOCK_CHECK_SECONDS:
            return self._clock_fine
        with self._context.database.read() as session:
            theirs = session.scalar(select(func.clock_timestamp(type_=Task.run_at.type)))
        assert theirs is not None
        off = abs((self._context.now() - theirs).total_seconds())
        self._clock_fine = off <= CLOCK_TOLERANCE_SECONDS
        self._clock_checked = time.monotonic()
        if not self._clock_fine:
            log.error("this host's clock differs from the database's by %.0f s; nothing is sent from here until it is set", off)
        return self._clock_fine


def timed(topic: str, handler: Handler) -> Handler:
    """The handler with its time, outcome and ids counted and told; what went along shares the time."""

    def handle(task: TaskItem) -> Result:
        began, outcome, payloads = time.perf_counter(), "error", [task.payload]
        try:
            result = handler(task)
            outcome, payloads = result.outcome, [task.payload, *result.along]
            return result
        except ChannelError as error:
            outcome = error.outcome
            raise
        finally:
            seconds = (time.perf_counter() - began) / len(payloads)
            for payload in payloads:
                TASK_SECONDS.labels(topic, outcome).observe(seconds)
                if log.isEnabledFor(logging.INFO):
                    told = {"task": task.id, "topic": topic, "outcome": outcome, "ms": round(1000 * seconds, 1)}
                    alert = payload.get("alert") or payload.get("alert_id")
                    log.info("task %s %s", topic, outcome, extra=told | ({"alert": alert} if alert else {}))

    return handle


def holding(renew: Callable[[TaskItem], bool], handler: Handler, *, every: float = RENEW_SECONDS) -> Handler:
    """The handler with the lease of its task renewed beside it, for one that has long steps in which it cannot do so itself.

    Where the lease was lost the handler still ends, and its end is told as late.
    """

    def handle(task: TaskItem) -> Result:
        over = threading.Event()

        def keep() -> None:
            while not over.wait(every):
                try:
                    if not renew(task):
                        return
                except SQLAlchemyError:
                    log.exception("the lease of task %s (%s) could not be renewed; trying again", task.id, task.topic)

        keeper = threading.Thread(target=keep, name="nps-lease", daemon=True)
        keeper.start()
        try:
            return handler(task)
        finally:
            over.set()
            keeper.join()

    return handle


def run_until_stopped(context: AppContext) -> None:
    """Work in this process until SIGTERM or SIGINT: claim nothing more, finish what is being sent within 25 s."""
    worker = Worker(context)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.end())
    context.wake_worker = worker.wake
    follower = Follower(context)
    follower.start()
    worker.run()
    follower.stop()
    context.database.dispose()
