"""The outbox in SQL, the same on the embedded SQLite and on PostgreSQL: claims, leases, fencing, breakers, and what follows an
attempt.

Claims go by state, never by "id greater than the last seen": a slower transaction can commit a smaller id later. On PostgreSQL
claims are serialised by an advisory lock, so that the limits of a lane hold over any number of workers; on SQLite by `BEGIN
IMMEDIATE`.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, func, insert, or_, select, text, update
from sqlalchemy.orm import Session, aliased

from alerts.outbox import LANE_LIMIT, LEASE_SECONDS, Result, TaskItem
from alerts.retry import BreakerPolicy, Health, RetryPolicy, failed, given_up, next_attempt, succeeded
from app.persistence.base import new_id
from app.persistence.models import Attempt, Subscription, Task
from app.persistence.session import Database
from app.persistence.tasks import BATCH, insert_once, park_lane, task_values, unpark_lane

CLAIM_LOCK = 0x4E50535F  # one number for the whole service, so that claims wait for one another
PRIORITIES = (9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
UNFINISHED = ("ready", "leased", "parked")
QUARANTINE_AT = 3
URGENT_LEVEL = 3
ESCALATE_AFTER = 4
POISON_AT = 8
LANE_LIMITS = {"publish": 1, "fanout": 4, "evaluate": 2, "import": 1, "curate": 1, "rescreen": 1}
INTERNAL_RETRY_CAP = timedelta(minutes=10)
SENT_TOPICS = frozenset({"deliver", "ping", "heartbeat", "confirm", "digest", "remind"})
QUARANTINE_WAIT = timedelta(seconds=30)


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
    ) -> None:
        self._database = database
        self._clock = clock
        self._retry = retry or RetryPolicy()
        self._breaker = breaker or BreakerPolicy()
        self._database_clock = (not database.is_sqlite) if database_clock is None else database_clock
        self._spread = spread

    def now(self, session: Session) -> datetime:
        """The time by the clock that leases go by."""
        if not self._database_clock:
            return self._clock()
        moment: datetime | None = session.scalar(select(func.clock_timestamp(type_=Task.run_at.type)))
        assert moment is not None
        return moment

    # claims

    def claim(self, owner: str, limit: int, *, running: int) -> list[TaskItem]:
        """Lease up to `limit` due tasks; see `OutboxStore.claim`."""
        if not self._anything_due():
            return []
        with self._database.write() as session:
            if not self._database.is_sqlite:
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": CLAIM_LOCK})
            now = self.now(session)
            self._expire(session, now)
            quarantined = self._quarantined(session, now)
            if quarantined is not None:
                task_id, due = quarantined
                if running == 0:
                    return self._lease(session, [task_id], owner, now)
                if now - due > QUARANTINE_WAIT:
                    return []  # let what runs come to its end, then the suspect has the worker to itself
            picked = self._pick(session, limit, now)
            claimed = self._lease(session, picked, owner, now)
            if len(claimed) < limit:
                claimed += self._lease(session, self._probes(session, now), owner, now, probe=True)
            return claimed

    def _anything_due(self) -> bool:
        with self._database.read() as session:
            now = self.now(session)
            due = exists().where(Task.state == "ready", Task.run_at <= now)
            expired = exists().where(Task.state == "leased", Task.lease_until < now)
            probe = exists().where(Subscription.breaker == "open", Subscription.state == "active", Subscription.probe_at <= now)
            return bool(session.scalar(select(or_(due, expired, probe))))

    def _expire(self, session: Session, now: datetime) -> None:
        values = {"lease_owner": None, "lease_token": None, "lease_until": None, "crashes": Task.crashes + 1, "run_at": now}
        expired = update(Task).where(Task.state == "leased", Task.lease_until < now)
        session.execute(
            expired.where(Task.crashes + 1 >= POISON_AT).values(
                **values, state="dead", done_at=now, last_error="poison: the worker was lost each time this was tried"
            )
        )
        session.execute(expired.values(**values, state="ready", last_error="the lease expired: the worker was lost"))

    def _quarantined(self, session: Session, now: datetime) -> tuple[str, datetime] | None:
        row = session.execute(
            select(Task.id, Task.run_at)
            .where(Task.state == "ready", Task.run_at <= now, Task.crashes >= QUARANTINE_AT)
            .order_by(Task.run_at)
            .limit(1)
        ).first()
        return None if row is None else (row[0], row[1])

    def _pick(self, session: Session, limit: int, now: datetime) -> list[str]:
        leased = select(Task.lane, func.count()).where(Task.state == "leased").group_by(Task.lane)
        busy: dict[str, int] = {row[0]: row[1] for row in session.execute(leased)}
        full = {lane for lane, count in busy.items() if count >= LANE_LIMITS.get(lane, LANE_LIMIT)}
        earlier = aliased(Task)
        blocked = exists().where(earlier.seq_group == Task.seq_group, earlier.seq_no < Task.seq_no, earlier.state.in_(UNFINISHED))
        picked: list[str] = []
        for priority in PRIORITIES:
            while len(picked) < limit:
                rows = session.execute(
                    select(Task.id, Task.lane)
                    .where(
                        Task.state == "ready",
                        Task.priority == priority,
                        Task.run_at <= now,
                        Task.crashes < QUARANTINE_AT,
                        Task.lane.not_in(full),
                        Task.id.not_in(picked),
                        or_(Task.seq_group.is_(None), ~blocked),
                    )
                    .order_by(Task.run_at, Task.id)
                    .limit(BATCH)
                ).all()
                for task_id, lane in rows:
                    if lane in full or len(picked) >= limit:
                        continue
                    picked.append(task_id)
                    busy[lane] = busy.get(lane, 0) + 1
                    if busy[lane] >= LANE_LIMITS.get(lane, LANE_LIMIT):
                        full.add(lane)
                if len(rows) < BATCH:
                    break
        return picked

    def _probes(self, session: Session, now: datetime) -> list[str]:
        """The oldest parked task of each endpoint whose breaker is open and whose time to probe has come."""
        due = session.scalars(
            select(Subscription)
            .where(Subscription.breaker == "open", Subscription.state == "active", Subscription.probe_at <= now)
            .with_for_update(skip_locked=True)
        ).all()
        picked = []
        for subscription in due:
            if session.scalar(select(exists().where(Task.lane == subscription.id, Task.state == "leased"))):
                continue
            oldest = session.scalar(
                select(Task.id)
                .where(Task.lane == subscription.id, Task.state == "parked")
                .order_by(Task.created_at, Task.id)
                .limit(1)
            )
            if oldest is not None:
                picked.append(oldest)
                subscription.probe_at = now + timedelta(seconds=LEASE_SECONDS)
        return picked

    def _lease(self, session: Session, ids: Sequence[str], owner: str, now: datetime, *, probe: bool = False) -> list[TaskItem]:
        if not ids:
            return []
        order = {task_id: position for position, task_id in enumerate(ids)}
        rows = session.scalars(
            select(Task).where(Task.id.in_(ids), Task.state == ("parked" if probe else "ready")).with_for_update(skip_locked=True)
        ).all()
        items = []
        for task in sorted(rows, key=lambda row: order[row.id]):
            task.state = "leased"
            task.lease_owner = owner
            task.lease_token = secrets.token_hex(16)
            task.lease_until = now + timedelta(seconds=LEASE_SECONDS)
            items.append(
                TaskItem(
                    id=task.id,
                    topic=task.topic,
                    key=task.key,
                    lane=task.lane,
                    payload=dict(task.payload),
                    attempts=task.attempts,
                    crashes=task.crashes,
                    token=task.lease_token,
                    probe=probe,
                )
            )
        session.flush()
        return items

    # leases

    def renew(self, task: TaskItem) -> bool:
        """Extend the lease by its full length; False where it was lost."""
        with self._database.write() as session:
            until = self.now(session) + timedelta(seconds=LEASE_SECONDS)
            statement = update(Task).where(Task.id == task.id, Task.lease_token == task.token, Task.state == "leased")
            return session.execute(statement.values(lease_until=until).returning(Task.id)).first() is not None

    def release(self, tasks: Sequence[TaskItem]) -> None:
        """Give back tasks that were not begun; nothing is counted against them."""
        with self._database.write() as session:
            for task in tasks:
                session.execute(
                    update(Task)
                    .where(Task.id == task.id, Task.lease_token == task.token, Task.state == "leased")
                    .values(state="parked" if task.probe else "ready", lease_owner=None, lease_token=None, lease_until=None)
                )

    def recover_owner(self, owner_prefix: str | None) -> int:
        """Make leased tasks of a dead owner (None: of anyone) ready at once, as a crash; the number of them."""
        with self._database.write() as session:
            now = self.now(session)
            statement = update(Task).where(Task.state == "leased")
            if owner_prefix is not None:
                statement = statement.where(Task.lease_owner.startswith(owner_prefix, autoescape=True))
            recovered = session.execute(statement.values(lease_until=now - timedelta(seconds=1)).returning(Task.id)).all()
            self._expire(session, now)
            return len(recovered)

    # ends of attempts

    def finish(self, task: TaskItem, result: Result, *, worker: str, started: datetime, ended: datetime) -> bool:
        """Record the attempt and move the task on; see `OutboxStore.finish`."""
        with self._database.write() as session:
            row = session.scalar(select(Task).where(Task.id == task.id).with_for_update())
            if row is None:
                return False
            held = row.lease_token == task.token and row.state == "leased"
            if result.sent or not held:
                attempt = self._attempt(session, task, result, worker, started, ended, late=not held)
                session.execute(insert(Attempt).values(**attempt))
            if not held:
                return False
            now = self.now(session)
            row.lease_owner = row.lease_token = row.lease_until = None
            row.crashes = 0
            row.last_error = result.error
            if row.topic == "deliver" and result.sent:
                self._settle_delivery(session, row, task, result, now)
            else:
                self._settle(row, result, now)
            return True

    def _attempt(
        self, session: Session, task: TaskItem, result: Result, worker: str, started: datetime, ended: datetime, *, late: bool
    ) -> dict[str, Any]:
        before = session.scalar(select(func.count()).select_from(Attempt).where(Attempt.task_id == task.id)) or 0
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
            "task_id": task.id,
            "n": before + 1,
            "started_at": started,
            "ended_at": ended,
            "outcome": outcome,
            "status": result.status,
            "latency_ms": max(0, round((ended - started).total_seconds() * 1000)),
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
        health = Health(
            breaker="closed" if subscription.breaker == "closed" else "open",
            failures=subscription.failures,
            fail_since=subscription.fail_since,
            probe_at=subscription.probe_at,
            last_success_at=subscription.last_success_at,
        )
        if result.outcome in ("cancelled", "parked"):
            self._settle(row, result, now)
            return
        if result.outcome == "done":
            self._keep_health(subscription, succeeded(health, now))
            subscription.last_error = None
            row.attempts += 1
            row.state, row.done_at = "done", now
            if health.breaker == "open" and subscription.state == "active":
                session.flush()
                unpark_lane(session, row.lane, now, interval=self._breaker.catch_up_interval)
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
