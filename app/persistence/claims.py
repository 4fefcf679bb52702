"""Claiming due tasks: which go next, and their leases. The same on the embedded SQLite and on PostgreSQL.

Claims go by state, never by "id greater than the last seen": a slower transaction can commit a smaller id later. On SQLite one
writer goes at a time. On PostgreSQL workers claim side by side: rows by SKIP LOCKED, and each lane by an advisory lock that is
tried and not waited for, so that the limit of a lane holds over any number of workers and none waits for another.

A worker on PostgreSQL holds a lock on its name as long as it lives (`app.persistence.listener`), and marks its leases so. Where
the lock of a marked lease is free for some seconds its worker is dead, and what it held is due again without waiting for the end
of the lease. A lease without the mark, of a worker behind a pooler or of an earlier version, runs its time.

Statements are made once: building one costs more than running it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, bindparam, exists, func, or_, select, text, update
from sqlalchemy.orm import Session

from alerts.outbox import LANE_LIMIT, LEASE_SECONDS, TaskItem
from app.persistence import locks
from app.persistence.models import Subscription, Task
from app.persistence.session import Database
from app.persistence.tasks import BATCH, IN_TURN, TASK

log = logging.getLogger("nps.worker")

QUARANTINE_AT = 3
POISON_AT = 8
LANE_LIMITS = {"publish": 1, "fanout": 4, "evaluate": 2, "import": 1, "curate": 1, "rescreen": 1}
QUARANTINE_WAIT = timedelta(seconds=30)
LOOK_EVERY = timedelta(seconds=1)  # for expired leases, suspects and probes, none of which is a matter of milliseconds
PRESENT = "+"  # the end of the owner's name in a lease whose worker holds its lock
GONE_SECONDS = 6.0  # a worker whose connection broke has it back within two

_DUE = select(
    or_(
        exists().where(TASK.c.state == "ready", TASK.c.run_at <= bindparam("now")),
        exists().where(TASK.c.state == "leased", TASK.c.lease_until < bindparam("now")),
        exists().where(Subscription.breaker == "open", Subscription.state == "active", Subscription.probe_at <= bindparam("now")),
    )
)
_LEASED = select(TASK.c.lane, func.count()).where(TASK.c.state == "leased").group_by(TASK.c.lane)
_LEASED_IN = _LEASED.where(TASK.c.lane.in_(bindparam("lanes", expanding=True)))
_NEXT = (
    select(TASK.c.id, TASK.c.lane)
    .where(
        TASK.c.state == "ready",
        TASK.c.run_at <= bindparam("now"),
        TASK.c.lane.not_in(bindparam("full", expanding=True)),
        TASK.c.id.not_in(bindparam("picked", expanding=True)),
        TASK.c.crashes < QUARANTINE_AT,
        IN_TURN,
    )
    .order_by(TASK.c.priority.desc(), TASK.c.run_at, TASK.c.id)
    .limit(bindparam("most", type_=Integer))
)
_LOCK_LANES = text(
    "SELECT lane FROM unnest(CAST(:lanes AS text[])) AS lane WHERE pg_try_advisory_xact_lock(:space, hashtext(lane))"
)
_ABSENT = text(
    "WITH owners AS MATERIALIZED (SELECT DISTINCT lease_owner AS owner FROM task "
    "WHERE state = 'leased' AND lease_owner LIKE :marked AND lease_owner <> :mine) "
    "SELECT owner FROM owners WHERE pg_try_advisory_xact_lock_shared(:space, hashtext(owner))"
)
_FREE_ROWS = (
    select(TASK.c.id)
    .where(TASK.c.id.in_(bindparam("ids", expanding=True)), TASK.c.state == bindparam("was"))
    .with_for_update(skip_locked=True)
)
_LEASE_VALUES = {
    "state": "leased",
    "lease_owner": bindparam("owner"),
    "lease_token": bindparam("token"),
    "lease_until": bindparam("until"),
}
_GIVEN = (TASK.c.id, TASK.c.topic, TASK.c.key, TASK.c.lane, TASK.c.payload, TASK.c.attempts, TASK.c.crashes)
_LEASE_SQLITE = (
    update(TASK)
    .where(TASK.c.id.in_(bindparam("ids", expanding=True)), TASK.c.state == bindparam("was"))
    .values(_LEASE_VALUES)
    .returning(*_GIVEN)
)
_LEASE_SERVER = update(TASK).where(TASK.c.id.in_(_FREE_ROWS)).values(_LEASE_VALUES).returning(*_GIVEN)


class Claims:
    """Hands out due tasks of one database. `now` gives the time that leases go by, within a session; `present` says whether the
    worker holds its lock.

    `contended` is true where the last claim left out lanes in which another worker was just claiming: then try again soon.
    """

    def __init__(self, database: Database, now: Callable[[Session], datetime], present: Callable[[], bool]) -> None:
        self._database = database
        self._now = now
        self._present = present
        self._absent: dict[str, float] = {}
        self._asked = -LOOK_EVERY.total_seconds()
        self._looked: datetime | None = None
        self._suspect = False
        self._found = False
        self.contended = False

    def claim(self, owner: str, limit: int, *, running: int) -> list[TaskItem]:
        """Lease up to `limit` due tasks; see `OutboxStore.claim`."""
        self._take_from_the_dead(owner)
        if not self._found and not self._anything_due():
            self.contended = False
            return []
        with self._database.write(ahead=True) as session:
            return self.claim_in(session, owner, limit, running=running)

    def claim_in(self, session: Session, owner: str, limit: int, *, running: int) -> list[TaskItem]:
        """As `claim`, in a transaction that does something else as well."""
        self.contended = False
        now = self._now(session)
        look = self._looked is None or not timedelta() <= now - self._looked < LOOK_EVERY
        if look:
            self._looked = now
            expire(session, now)
        if look or self._suspect:
            quarantined = self._quarantined(session, now)
            self._suspect = quarantined is not None
            if quarantined is not None:
                task_id, due = quarantined
                if running == 0:
                    return self._lease(session, [task_id], owner, now)
                if now - due > QUARANTINE_WAIT:
                    return []  # let what runs come to its end, then the suspect has the worker to itself
        claimed = self._lease(session, self._pick(session, limit, now), owner, now)
        if look and len(claimed) < limit:
            claimed += self._lease(session, self._probes(session, now), owner, now, probe=True)
        self._found = bool(claimed)
        return claimed

    def _take_from_the_dead(self, owner: str) -> None:
        """Make due, as a crash, what workers held whose locks are free for longer than a broken connection takes to come back.

        A task that is tried alone, as it lost workers before, waits for the end of its lease: see `SqlOutbox.recover_owner`.
        """
        asked = time.monotonic()
        if self._database.is_sqlite or asked - self._asked < LOOK_EVERY.total_seconds():
            return
        self._asked = asked
        with self._database.read() as session:
            told = {"marked": f"%{PRESENT}", "mine": owner + PRESENT, "space": locks.WORKERS}
            absent = set(session.connection().scalars(_ABSENT, told))
        self._absent = {name: self._absent.get(name, asked) for name in absent}
        dead = [name for name, since in self._absent.items() if asked - since >= GONE_SECONDS]
        if not dead:
            return
        with self._database.write(ahead=True) as session:
            now = self._now(session)
            theirs = update(Task).where(Task.state == "leased", Task.lease_owner.in_(dead), Task.crashes < QUARANTINE_AT)
            taken = session.execute(theirs.values(lease_until=now - timedelta(seconds=1)).returning(Task.id)).all()
            expire(session, now)
        if taken:
            log.warning("%d tasks taken back from dead workers: %s", len(taken), ", ".join(sorted(dead)))

    def _anything_due(self) -> bool:
        with self._database.read() as session:
            return bool(session.connection().scalar(_DUE, {"now": self._now(session)}))

    def _quarantined(self, session: Session, now: datetime) -> tuple[str, datetime] | None:
        row = session.execute(
            select(Task.id, Task.run_at)
            .where(Task.state == "ready", Task.run_at <= now, Task.crashes >= QUARANTINE_AT)
            .order_by(Task.run_at)
            .limit(1)
        ).first()
        return None if row is None else (row[0], row[1])

    def _pick(self, session: Session, limit: int, now: datetime) -> list[str]:
        """Ids of what goes next: the highest priority first, then the longest due, as far as each lane has room."""
        connection = session.connection()
        busy = {str(row[0]): int(row[1]) for row in connection.execute(_LEASED)}
        picked = self._choose(connection, limit, now, busy)
        if self._database.is_sqlite or not picked:
            return list(picked)
        lanes = sorted(set(picked.values()))
        mine = set(connection.scalars(_LOCK_LANES, {"lanes": lanes, "space": locks.LANES}))
        self.contended = len(mine) < len(lanes)
        # counted again under the locks: another may have claimed in a lane since
        room = {lane: _limit(lane) for lane in mine}
        for lane, count in connection.execute(_LEASED_IN, {"lanes": sorted(mine)}):
            room[lane] -= count
        kept = []
        for task_id, lane in picked.items():
            if room.get(lane, 0) > 0:
                room[lane] -= 1
                kept.append(task_id)
        return kept

    @staticmethod
    def _choose(connection: Any, limit: int, now: datetime, busy: dict[str, int]) -> dict[str, str]:
        """The ids and their lanes, in order. `busy` is what each lane has leased, and is counted on."""
        full = {lane for lane, count in busy.items() if count >= _limit(lane)}
        picked: dict[str, str] = {}
        while len(picked) < limit:
            asked = {"now": now, "full": sorted(full), "picked": list(picked), "most": BATCH}
            rows = connection.execute(_NEXT, asked).all()
            for task_id, lane in rows:
                if lane in full or len(picked) >= limit:
                    continue
                picked[task_id] = lane
                busy[lane] = busy.get(lane, 0) + 1
                if busy[lane] >= _limit(lane):
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
        found = []
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
                found.append(oldest)
                subscription.probe_at = now + timedelta(seconds=LEASE_SECONDS)  # nobody else probes it meanwhile
        return found

    def _lease(self, session: Session, ids: Sequence[str], owner: str, now: datetime, *, probe: bool = False) -> list[TaskItem]:
        if not ids:
            return []
        order = {task_id: position for position, task_id in enumerate(ids)}
        token = secrets.token_hex(16)
        values = {
            "ids": list(ids), "was": "parked" if probe else "ready", "token": token,
            "owner": owner + PRESENT if self._present() else owner,
            "until": now + timedelta(seconds=LEASE_SECONDS),
        }  # fmt: skip
        session.flush()
        rows = session.connection().execute(_LEASE_SQLITE if self._database.is_sqlite else _LEASE_SERVER, values).all()
        return [
            TaskItem(
                id=row.id,
                topic=row.topic,
                key=row.key,
                lane=row.lane,
                payload=dict(row.payload),
                attempts=row.attempts,
                crashes=row.crashes,
                token=token,
                probe=probe,
            )
            for row in sorted(rows, key=lambda row: order[row.id])
        ]


def _limit(lane: str) -> int:
    return LANE_LIMITS.get(lane, LANE_LIMIT)


def expire(session: Session, now: datetime) -> None:
    """Make tasks ready whose lease ran out, each counted as a crash; the eighth is the end of it."""
    values = {"lease_owner": None, "lease_token": None, "lease_until": None, "crashes": Task.crashes + 1, "run_at": now}
    expired = update(Task).where(Task.state == "leased", Task.lease_until < now)
    session.execute(
        expired.where(Task.crashes + 1 >= POISON_AT).values(
            **values, state="dead", done_at=now, last_error="poison: the worker was lost each time this was tried"
        ),
        execution_options={"synchronize_session": False},
    )
    session.execute(
        expired.values(**values, state="ready", last_error="the lease expired: the worker was lost"),
        execution_options={"synchronize_session": False},
    )
