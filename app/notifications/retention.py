"""Deliveries and their attempts are kept for 13 months, then as counts. Nothing here commits."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.persistence.models import Attempt, DeliveryCount, Subscription, Task
from app.persistence.tasks import insert_once

KEPT = timedelta(days=396)  # 13 months
MOST_AT_ONCE = 2000
FINISHED = ("done", "cancelled", "dead")


def forget_deliveries(session: Session, now: datetime) -> int:
    """Turn the oldest finished deliveries of more than 13 months ago, 2,000 at most, into counts by month, organisation, channel
    and state; the number of them. Alerts, revisions and acknowledgements stay for ever.
    """
    rows = session.execute(
        select(Task.id, Task.done_at, Task.state, Subscription.org_id, Subscription.channel)
        .join(Subscription, Subscription.id == Task.lane)
        .where(Task.topic == "deliver", Task.state.in_(FINISHED), Task.done_at < now - KEPT)
        .order_by(Task.done_at, Task.id)
        .limit(MOST_AT_ONCE)
    ).all()
    if not rows:
        return 0
    ids = [row[0] for row in rows]
    tried: dict[str, int] = {
        row[0]: row[1]
        for row in session.execute(
            select(Attempt.task_id, func.count()).where(Attempt.task_id.in_(ids)).group_by(Attempt.task_id)
        )
    }
    deliveries: Counter[tuple[str, str, str, str]] = Counter()
    attempts: Counter[tuple[str, str, str, str]] = Counter()
    for task_id, done_at, state, org_id, channel in rows:
        key = (f"{done_at:%Y-%m}", org_id, channel, state)
        deliveries[key] += 1
        attempts[key] += tried.get(task_id, 0)
    for key, count in sorted(deliveries.items()):
        named = dict(zip(("month", "org_id", "channel", "state"), key, strict=True))
        insert_once(session, DeliveryCount, named | {"deliveries": 0, "attempts": 0})
        session.execute(
            update(DeliveryCount)
            .filter_by(**named)
            .values(deliveries=DeliveryCount.deliveries + count, attempts=DeliveryCount.attempts + attempts[key])
        )
    session.execute(delete(Attempt).where(Attempt.task_id.in_(ids)))
    session.execute(delete(Task).where(Task.id.in_(ids)))
    return len(ids)
