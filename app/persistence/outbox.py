"""The outbox in SQL, the same on the embedded SQLite and on PostgreSQL: leases, fencing, breakers, and what follows an attempt.
How tasks are claimed is in `app.persistence.claims`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, bindparam, case, func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from alerts.outbox import LEASE_SECONDS, Ended, Result, TaskItem
from alerts.retry import BreakerPolicy, Health, RetryPolicy, failed, given_up, next_attempt, succeeded
from app.persistence.base import new_id
from app.persistence.claims import QUARANTINE_AT, Claims, expire
from app.persistence.models import Attempt, Subscription, Task
from app.persistence.session import Database
from app.persistence.tasks import insert_once, park_lane, task_values, unpark_lane

URGENT_LEVEL = 3
ESCALATE_AFTER = 4
ANCHOR_SECONDS = 1.0
SUCCESS_NOTED_EVERY = timedelta(seconds=5)
INTERNAL_RETRY_CAP = timedelta(minutes=10)
SENT_TOPICS = frozenset({"deliver", "ping", "heartbeat", "confirm", "digest", "remind"})


_TASK = cast(Table, Task.__table__)
_COMPLETE = (
    update(_TASK)
    .where(
        tuple_(_TASK.c.id, _TASK.c.lease_token).in_(bindparam("held", expanding=True)), _TASK.c.state == "leased"
    )
    .values(
        state="done", done_at=bindparam("now"), attempts=_TASK.c.attempts + case((_TASK.c.topic == "deliver", 1), else_=0),
        crashes=0, last_error=None, lease_owner=None, lease_token=None, lease_until=None,
    )
    .returning(_TASK.c.id)
)  # fmt: skip
_HEALTH = (
    select(
        Subscription.id, Subscription.breaker, Subscription.failures, Subscription.last_error, Subscription.last_success_at
    )
    .where(Subscription.id.in_(bindparam("lanes", expanding=True)))
    .order_by(Subscription.id)
)  # fmt: skip
_ATTEMPT = insert(Attempt.__table__).values(  # type: ignore[arg-type]
    id=bindparam("id"), task_id=bindparam("task"), started_at=bindparam("started_at"), ended_at=bindparam("ended_at"),
    outcome=bindparam("outcome"), status=bindparam("status"), latency_ms=bindparam("latency_ms"),
    resolved_ip=bindparam("resolved_ip"), response=bindparam("response"), error=bindparam("error"), worker=bindparam("worker"),
    n=select(func.count() + 1).select_from(Attempt).where(Attempt.task_id == bindparam("task")).scalar_subquery(),
)  # fmt: skip


def complete(session: Session, task: TaskItem, now: datetime) -> bool:
    """Move a task to `done` in the transaction of its own work; False where the lease was lost."""
    asked = {"held": [(task.id, task.token)], "now": now}
    return session.connection().execute(_COMPLETE, asked).first() is not None


class LeaseLost(Exception):
    """The task belongs to another worker by now; what this one did is rolled back."""


def end_within(session: Session, task: TaskItem, now: datetime, *, along: Sequence[dict[str, Any]] = ()) -> Result:
    """End work inside the service in the transaction that does it: one commit for both, and never the one without the other.

    `along` are the payloads of the tasks that it took along.
    Raises LeaseLost, which rolls the work back, where the task is another worker's by now.
    """
    session.flush()
    if not complete(session, task, now):
        raise LeaseLost(task.id)
    return Result(outcome="done", recorded=True, along=tuple(along))


def _health_of(subscription: Subscription) -> Health:
    return Health(
        breaker="closed" if subscription.breaker == "closed" else "open",
        failures=subscription.failures,
        fail_since=subscription.fail_since,
        probe_at=subscription.probe_at,
        last_success_at=subscription.last_success_at,
    )


class SqlOutbox:
    """`alerts.outbox.OutboxStore` over the service's database.

    Lease times come from the clock of the database on PostgreSQL and from the host on SQLite, where all workers are on one
    host; a test may hand in a clock of its own.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        retry: RetryPolicy | None = None,
        breaker: BreakerPolicy | None = None,
        database_clock: bool | None = None,
        spread: Callable[[], float] = random.random,
        present: Callable[[], bool] = lambda: False,
    ) -> None:
        self._database = database
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._breaker = breaker or BreakerPolicy()
        self._database_clock = (not database.is_sqlite) if database_clock is None else database_clock
        self._spread = spread
        self._anchor: tuple[datetime, float] | None = None
        self._claims = Claims(database, self.now, present)

    def now(self, session: Session) -> datetime:
        """The time by the clock that leases go by: the database's own, asked at most once a second and counted on from there."""
        if not self._database_clock:
            return self._clock()
        passed = time.monotonic()
        if self._anchor is None or passed - self._anchor[1] > ANCHOR_SECONDS:
            moment: datetime | None = session.scalar(select(func.clock_timestamp(type_=Task.run_at.type)))
            assert moment is not None
            self._anchor = (moment, time.monotonic())
            return moment
        at, since = self._anchor
        return at + timedelta(seconds=passed - since)

    def claim(self, owner: str, limit: int, *, running: int) -> list[TaskItem]:
        """Lease up to `limit` due tasks; see `OutboxStore.claim`."""
        return self._claims.claim(owner, limit, running=running)

    @property
    def contended(self) -> bool:
        """Whether the last claim left out what another worker was just claiming."""
        return self._claims.contended

    # leases

    def renew(self, task: TaskItem) -> bool:
        """Extend the lease by its full length; False where it was lost."""
        with self._database.write(ahead=True) as session:
            until = self.now(session) + timedelta(seconds=LEASE_SECONDS)
            statement = update(Task).where(Task.id == task.id, Task.lease_token == task.token, Task.state == "leased")
            return session.execute(statement.values(lease_until=until).returning(Task.id)).first() is not None

    def release(self, tasks: Sequence[TaskItem]) -> None:
        """Give back tasks that were not begun; nothing is counted against them."""
        with self._database.write(ahead=True) as session:
            for task in tasks:
                session.execute(
                    update(Task)
                    .where(Task.id == task.id, Task.lease_token == task.token, Task.state == "leased")
                    .values(state="parked" if task.probe else "ready", lease_owner=None, lease_token=None, lease_until=None)
                )

    def recover_owner(self, owner_prefix: str | None) -> int:
        """Make leased tasks of a dead owner (None: of anyone) ready at once, as a crash; the number of them.

        A task that runs alone, as it lost workers before, waits for the end of its lease: a service that dies again and again
        for another reason within seconds must not use up the tries of an alert.
        """
        with self._database.write(ahead=True) as session:
            now = self.now(session)
            statement = update(Task).where(Task.state == "leased", Task.crashes < QUARANTINE_AT)
            if owner_prefix is not None:
                statement = statement.where(Task.lease_owner.startswith(owner_prefix, autoescape=True))
            recovered = session.execute(statement.values(lease_until=now - timedelta(seconds=1)).returning(Task.id)).all()
            expire(session, now)
            return len(recovered)

    # ends of attempts

    def finish(self, ended: Ended, *, worker: str) -> bool:
        """Record the attempt and move the task on; see `OutboxStore.finish`."""
        if ended.went_well:
            return self.finish_all([ended], worker=worker, limit=0)[0][0]
        return self._finish_other(ended, worker)

    def finish_all(self, ended: Sequence[Ended], *, worker: str, limit: int) -> tuple[list[bool], list[TaskItem]]:
        """Record ends that went well, and claim more, in one transaction; see `OutboxStore.finish_all`."""
        with self._database.write(ahead=True) as session:
            now, connection = self.now(session), session.connection()
            asked = {"held": [(one.task.id, one.task.token) for one in ended], "now": now}
            held = set(connection.scalars(_COMPLETE, asked))
            lanes = {one.task.lane for one in ended if one.task.id in held and one.task.topic == "deliver" and one.result.sent}
            if lanes:
                self._note_success(session, sorted(lanes), now)
            told = [one for one in ended if one.result.sent or one.task.id not in held]
            if told:
                connection.execute(_ATTEMPT, [self._attempt(one, worker, late=one.task.id not in held) for one in told])
            # others run beside this thread, or may: a suspect is not handed out here
            claimed = self._claims.claim_in(session, worker, limit, running=1) if limit > 0 else []
        return [one.task.id in held for one in ended], claimed

    def _finish_other(self, one: Ended, worker: str) -> bool:
        """An attempt that failed, was put off, or tested an endpoint whose breaker is open."""
        task, result = one.task, one.result
        with self._database.write(ahead=True) as session:
            now = self.now(session)
            row = session.scalar(select(Task).where(Task.id == task.id).with_for_update())
            if row is None:
                return False
            held = row.lease_token == task.token and row.state == "leased"
            if result.sent or not held:
                session.connection().execute(_ATTEMPT, self._attempt(one, worker, late=not held))
            if not held:
                return False
            row.lease_owner = row.lease_token = row.lease_until = None
            row.crashes = 0
            row.last_error = result.error
            if row.topic == "deliver" and result.sent:
                self._settle_delivery(session, row, task, result, now)
            else:
                self._settle(row, result, now)
            return True

    def _note_success(self, session: Session, lanes: Sequence[str], now: datetime) -> None:
        """What deliveries that went through say of their endpoints. Nothing is written where all was well a moment ago.

        Endpoints are locked in the order of their ids, as everywhere, so that no two workers wait for each other.
        """
        for health in session.connection().execute(_HEALTH, {"lanes": lanes}).all():
            well = health.breaker == "closed" and not health.failures and health.last_error is None
            if well and health.last_success_at is not None and now - health.last_success_at < SUCCESS_NOTED_EVERY:
                continue
            subscription = session.scalar(select(Subscription).where(Subscription.id == health.id).with_for_update())
            if subscription is not None:
                self._recover(session, subscription, now)

    def _recover(self, session: Session, subscription: Subscription, now: datetime) -> None:
        before = _health_of(subscription)
        self._keep_health(subscription, succeeded(before, now))
        subscription.last_error = None
        if before.breaker == "open" and subscription.state == "active":
            session.flush()
            unpark_lane(session, subscription.id, now, interval=self._breaker.catch_up_interval)

    @staticmethod
    def _attempt(one: Ended, worker: str, *, late: bool) -> dict[str, Any]:
        """The row of an attempt."""
        task, result = one.task, one.result
        if late:
            outcome = "late"
        elif result.outcome == "done":
            outcome = "delivered"
        elif task.probe:
            outcome = "probe"
        else:
            outcome = "failed" if result.outcome == "gone" else result.outcome
        return {
            "id": new_id(),
            "task": task.id,
            "started_at": one.started,
            "ended_at": one.ended,
            "outcome": outcome,
            "status": result.status,
            "latency_ms": max(0, round((one.ended - one.started).total_seconds() * 1000)),
            "resolved_ip": result.resolved_ip,
            "response": result.response,
            "error": result.error,
            "worker": worker,
        }

    def _settle(self, row: Task, result: Result, now: datetime) -> None:
        """For work inside the service, and for pings: no endpoint's health is at stake.

        Work inside the service is tried for ever, at least every 10 minutes: giving up on it would lose an alert.
        """
        match result.outcome:
            case "done":
                row.state, row.done_at = "done", now
            case "cancelled":
                row.state, row.done_at = "cancelled", now
            case "parked":
                row.state = "parked"
            case _:
                row.attempts += 1
                at = next_attempt(self._retry, row.attempts, now, spread=self._spread(), retry_after=result.retry_after)
                if row.topic in SENT_TOPICS:
                    if at is None:
                        row.state, row.done_at = "dead", now
                    else:
                        row.state, row.run_at = "ready", at
                else:
                    row.state, row.run_at = "ready", min(at or now + INTERNAL_RETRY_CAP, now + INTERNAL_RETRY_CAP)

    def _settle_delivery(self, session: Session, row: Task, task: TaskItem, result: Result, now: datetime) -> None:
        subscription = session.scalar(select(Subscription).where(Subscription.id == row.lane).with_for_update())
        if subscription is None:
            self._settle(row, result, now)
            return
        health = _health_of(subscription)
        if result.outcome in ("cancelled", "parked"):
            self._settle(row, result, now)
            return
        if result.outcome == "done":
            row.attempts += 1
            row.state, row.done_at = "done", now
            self._recover(session, subscription, now)
            return
        if health.breaker == "closed" or task.probe:  # what was under way when the breaker opened says nothing new
            health = failed(self._breaker, health, now)
        self._keep_health(subscription, health)
        subscription.last_error = result.error
        if not task.probe:
            row.attempts += 1
        gone = result.outcome == "gone"
        if gone or given_up(self._breaker, health, now):
            subscription.state = "disabled"
            why = "the receiver says it is gone (410)" if gone else f"no success for 5 days; last: {result.error}"
            subscription.last_error = f"disabled: {why}"
        self._tell(session, subscription, result, health, now)
        if row.priority >= URGENT_LEVEL and row.attempts >= ESCALATE_AFTER and subscription.role == "authority":
            self._escalate(session, subscription, row, now)
        if subscription.state != "active" or health.breaker == "open":
            row.state = "parked"
            session.flush()
            park_lane(session, row.lane)
            return
        at = next_attempt(self._retry, row.attempts, now, spread=self._spread(), retry_after=result.retry_after)
        if at is None:
            row.state, row.done_at = "dead", now
            self._enqueue_word(session, subscription, "dead", row.id, now)
        else:
            row.state, row.run_at = "ready", at

    def _escalate(self, session: Session, subscription: Subscription, row: Task, now: datetime) -> None:
        """An urgent alert does not get through: the second step of its clock, everybody at the authority, is due now."""
        alert_id = row.payload["alert"]
        values = task_values(
            topic="escalate",
            key=f"{alert_id}:{subscription.org_id}:{row.priority}:2",
            lane="escalate",
            priority=row.priority,
            payload={"alert": alert_id, "whom": subscription.org_id, "step": 2, "level": row.priority, "since": now.isoformat()},
            now=now,
        )
        insert_once(session, Task, values)

    def _tell(self, session: Session, subscription: Subscription, result: Result, health: Health, now: datetime) -> None:
        """Enqueue word to owner and operator, once a run of failures and reason."""
        reasons = []
        if subscription.state == "disabled":
            reasons.append("disabled")
        elif health.fail_since is not None and now - health.fail_since >= self._breaker.disable_warning:
            reasons.append("soon-disabled")
        if result.outcome == "blocked":
            reasons.append("blocked")
        elif result.status is not None and 400 <= result.status < 500 and result.status not in (410, 429):
            reasons.append("refused")
        for reason in reasons:
            self._enqueue_word(session, subscription, reason, (health.fail_since or now).isoformat(), now)

    @staticmethod
    def _enqueue_word(session: Session, subscription: Subscription, reason: str, occasion: str, now: datetime) -> None:
        values = task_values(
            topic="tell",
            key=f"{subscription.id}:{reason}:{occasion}",
            lane="tell",
            priority=2,
            payload={"subscription": subscription.id, "reason": reason},
            now=now,
        )
        insert_once(session, Task, values)

    @staticmethod
    def _keep_health(subscription: Subscription, health: Health) -> None:
        subscription.breaker = health.breaker
        subscription.failures = health.failures
        subscription.fail_since = health.fail_since
        subscription.probe_at = health.probe_at
        subscription.last_success_at = health.last_success_at
