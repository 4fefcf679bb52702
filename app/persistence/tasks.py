"""Rows of the outbox's table, written in the transaction of what causes them: inserting once, parking, freeing, cancelling."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

from sqlalchemy import Integer, Table, bindparam, exists, or_, select, update
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from alerts.outbox import TaskItem
from app.persistence.base import Base, new_id
from app.persistence.models import Subscription, Task
from app.persistence.trail import note_row

PRIORITY_PING = 9
UNFINISHED = ("ready", "leased", "parked")
TASK = cast(Table, Task.__table__)
_EARLIER = TASK.alias("earlier")
# a task of a sequence waits until those before it are finished
IN_TURN = or_(
    TASK.c.seq_group.is_(None),
    ~exists().where(
        _EARLIER.c.seq_group == TASK.c.seq_group, _EARLIER.c.seq_no < TASK.c.seq_no, _EARLIER.c.state.in_(UNFINISHED)
    ),
)
BATCH = 100


def insert_once(session: Session, model: type[Base], values: dict[str, Any]) -> bool:
    """Insert a row unless one with the same unique key is there; whether it was inserted. Waits for a transaction that is about
    to.
    """
    connection = session.connection()  # past the session: the trail is noted below, where it is known whether a row was made
    made = connection.execute(_insert_unless_taken(connection.dialect.name, model), values).first()
    if made is not None:
        note_row(session, "created", model.__tablename__, ("/".join(str(part) for part in made),))
    return made is not None


@cache
def _insert_unless_taken(dialect: str, model: type[Base]) -> Any:
    """One statement a table, made once: building and hashing it costs more than running it."""
    table = model.__table__
    assert isinstance(table, Table)
    insert = sqlite_insert if dialect == "sqlite" else pg_insert
    return insert(table).on_conflict_do_nothing().returning(*table.primary_key.columns)


def insert_all_once(session: Session, model: type[Base], rows: Sequence[dict[str, Any]]) -> int:
    """Insert these rows, leaving out those whose unique key is taken; the number inserted."""
    if not rows:
        return 0
    connection = session.connection()
    statement = _insert_unless_taken(connection.dialect.name, model)
    inserted = 0
    for start in range(0, len(rows), BATCH):
        made = connection.execute(statement, list(rows[start : start + BATCH])).all()
        note_row(session, "created", model.__tablename__, ("/".join(str(part) for part in row) for row in made))
        inserted += len(made)
    return inserted


def task_values(
    *,
    topic: str,
    key: str,
    lane: str,
    priority: int,
    payload: dict[str, Any],
    now: datetime,
    run_at: datetime | None = None,
    seq_group: str | None = None,
    seq_no: int | None = None,
    state: str = "ready",
    task_id: str | None = None,
) -> dict[str, Any]:
    """The row of a new task, to be inserted with `insert_once` in the transaction of what causes it."""
    return {
        "id": task_id or new_id(),
        "topic": topic,
        "key": key,
        "lane": lane,
        "seq_group": seq_group,
        "seq_no": seq_no,
        "priority": priority,
        "state": state,
        "run_at": run_at or now,
        "payload": payload,
        "attempts": 0,
        "crashes": 0,
        "created_at": now,
    }


_SIBLINGS = (
    select(TASK.c.id, TASK.c.payload)
    .where(
        TASK.c.topic == bindparam("topic"),
        TASK.c.lane == bindparam("lane"),
        TASK.c.state == "ready",
        TASK.c.run_at <= bindparam("now"),
        TASK.c.attempts == 0,
        TASK.c.crashes == 0,
        IN_TURN,
    )
    .order_by(TASK.c.priority.desc(), TASK.c.run_at, TASK.c.id)
    .limit(bindparam("most", type_=Integer))
    .with_for_update(skip_locked=True, of=TASK)
)
_END_SIBLINGS = update(TASK).where(TASK.c.id.in_(bindparam("ids", expanding=True))).values(state="done", done_at=bindparam("now"))


def take_along(session: Session, task: TaskItem, now: datetime, *, most: int = BATCH) -> list[dict[str, Any]]:
    """Payloads of tasks of the same lane that are due too, to be done in this transaction and ended by it, first due first.

    None that failed before, and none beside a task that did: what cannot be done is then tried by itself.
    """
    if task.crashes or task.attempts:
        return []
    asked = {"topic": task.topic, "lane": task.lane, "now": now, "most": most}
    connection = session.connection()
    rows = connection.execute(_SIBLINGS, asked).all()
    if rows:
        connection.execute(_END_SIBLINGS, {"ids": [row.id for row in rows], "now": now})
    return [row.payload for row in rows]


def park_lane(session: Session, lane: str) -> None:
    """Set the waiting tasks of an endpoint aside: it is paused, disabled, or its breaker is open."""
    session.execute(update(Task).where(Task.lane == lane, Task.topic == "deliver", Task.state == "ready").values(state="parked"))


def unpark_lane(session: Session, lane: str, now: datetime, *, interval: float) -> int:
    """Make the parked tasks of an endpoint due again, oldest first, one every `interval` seconds; the number of them."""
    waiting = session.scalars(
        select(Task.id).where(Task.lane == lane, Task.state == "parked").order_by(Task.created_at, Task.id)
    ).all()
    rows = [
        {"id": task_id, "state": "ready", "run_at": now + timedelta(seconds=i * interval)} for i, task_id in enumerate(waiting)
    ]
    if rows:
        session.execute(update(Task), rows)
    return len(rows)


def cancel_tasks(session: Session, task_ids: Collection[str], reason: str, now: datetime) -> int:
    """Cancel those that are not finished and not being sent; the number of them. `reason` stays with the row."""
    if not task_ids:
        return 0
    statement = (
        update(Task)
        .where(Task.id.in_(task_ids), Task.state.in_(("ready", "parked", "dead")))
        .values(state="cancelled", last_error=reason, done_at=now)
        .returning(Task.id)
    )
    return len(session.execute(statement).all())


def repair_parked(session: Session, now: datetime, *, interval: float = 0.2) -> int:
    """Make due again what is parked though its endpoint is active with a closed breaker; the number of tasks. A safety net."""
    lanes: Iterable[str] = session.scalars(
        select(Task.lane)
        .join(Subscription, Subscription.id == Task.lane)
        .where(Task.state == "parked", Subscription.state == "active", Subscription.breaker == "closed")
        .distinct()
    ).all()
    return sum(unpark_lane(session, lane, now, interval=interval) for lane in lanes)
