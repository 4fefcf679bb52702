"""Reads of deliveries with their attempts, and the feed of published revisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, joinedload

from alerts.render import alert_document, iso
from app.auth.permissions import Principal, Role
from app.notifications import queries
from app.notifications.fanout import message_id
from app.persistence.models import Alert, AlertRevision, Attempt, FeedItem, Organisation, ServiceState, Subscription, Task
from app.problems import Problem


def of_alert(
    session: Session, principal: Principal, alert_id: str, *, before: str | None, limit: int
) -> tuple[list[dict[str, Any]], str | None]:
    """Deliveries of the alert, newest first, and the id to go on from where there are more. Raises Problem `not-found`.

    An authority sees those to its own endpoints; analysts and the operator see all.
    """
    if principal.role is Role.ADMIN:
        known = session.get(Alert, alert_id) is not None
    else:
        known = queries.find(session, principal, alert_id) is not None
    if not known:
        raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
    query = (
        select(Task, Subscription, Organisation.name)
        .join(Subscription, Subscription.id == Task.lane)
        .join(Organisation, Organisation.id == Subscription.org_id)
        .where(Task.topic == "deliver", Task.key.startswith(f"{alert_id}.", autoescape=True))
        .order_by(Task.id.desc())
        .limit(limit + 1)
    )
    if principal.role is Role.AUTHORITY:
        query = query.where(Subscription.org_id == principal.org_id)
    if before is not None:
        query = query.where(Task.id < before)
    rows = session.execute(query).all()
    items = [document(session, task, subscription, name) for task, subscription, name in rows[:limit]]
    return items, rows[limit - 1][0].id if len(rows) > limit else None


def own_delivery(session: Session, principal: Principal, delivery_id: str) -> Task:
    """A delivery that this principal may look after, by its id with or without `msg_`. Raises Problem `not-found`."""
    query = (
        select(Task)
        .join(Subscription, Subscription.id == Task.lane)
        .where(Task.id == delivery_id.removeprefix("msg_"), Task.topic == "deliver")
    )
    if principal.role is Role.AUTHORITY:
        query = query.where(Subscription.org_id == principal.org_id)
    task = session.scalars(query).first()
    if task is None:
        raise Problem("not-found", "There is no delivery of this id, or this key may not see it.")
    return task


def document(session: Session, task: Task, subscription: Subscription, organisation: str | None) -> dict[str, Any]:
    """A delivery with its attempts in order. `status` is the state in the words of the desk."""
    attempts = session.scalars(select(Attempt).where(Attempt.task_id == task.id).order_by(Attempt.n, Attempt.id)).all()
    return {
        "id": message_id(task.id),
        "alert": task.payload["alert"],
        "revision": task.payload["revision"],
        "subscription": subscription.id,
        "organisation": organisation,
        "channel": subscription.channel,
        "state": task.state,
        "next_attempt_at": iso(task.run_at) if task.state == "ready" else None,
        "last_error": task.last_error,
        "created_at": iso(task.created_at),
        "done_at": iso(task.done_at) if task.done_at else None,
        "attempts": [
            {
                "n": row.n,
                "started_at": iso(row.started_at),
                "ended_at": iso(row.ended_at),
                "outcome": row.outcome,
                "status": row.status,
                "latency_ms": row.latency_ms,
                "resolved_ip": row.resolved_ip,
                "error": row.error,
            }
            for row in attempts
        ],
    }


def events(
    session: Session, principal: Principal | None, *, after: int, limit: int, encode: Callable[[str], str]
) -> dict[str, Any]:
    """A page of published revisions by `seq`, each as this reader may see it; what it may not see is left out."""
    items: list[dict[str, Any]] = []
    last = after
    more = False
    while len(items) < limit:
        batch = session.scalars(select(FeedItem).where(FeedItem.seq > last).order_by(FeedItem.seq).limit(limit + 1)).all()
        if not batch:
            more = False
            break
        seen = _seen(session, principal, [item.alert_id for item in batch])
        for item in batch:
            if len(items) >= limit:
                break
            last = item.seq
            row = seen.get((item.alert_id, item.revision))
            if row is not None:
                items.append(_event(session, principal, item, row))
        more = bool(session.scalar(select(FeedItem.seq).where(FeedItem.seq > last).limit(1)))
        if not more:
            break
    generation = session.get(ServiceState, "feed_generation")
    return {
        "items": items,
        "next_cursor": encode(str(last)) if more else None,
        "next_after": last,
        "generation": generation.value.get("id") if generation is not None else "1",
    }


def _seen(
    session: Session, principal: Principal | None, alert_ids: list[str]
) -> dict[tuple[str, int], tuple[queries.Found, bool]]:
    """The revisions of these alerts that the principal may see, each with whether an earlier one was open to it too."""
    rows = session.execute(
        queries.visible_revisions(session, principal)
        .where(and_(Alert.id.in_(alert_ids)))
        .order_by(AlertRevision.alert_id, AlertRevision.revision)
        .options(joinedload(Alert.substance))
    )
    found: dict[tuple[str, int], tuple[queries.Found, bool]] = {}
    known: set[str] = set()
    for alert, revision in rows:
        found[alert.id, revision.revision] = (queries.Found(alert, revision), alert.id in known)
        known.add(alert.id)
    return found


def _event(session: Session, principal: Principal | None, item: FeedItem, row: tuple[queries.Found, bool]) -> dict[str, Any]:
    found, known = row
    kind = "alert.retracted" if found.revision.msg_type == "Cancel" else "alert.updated" if known else "alert.issued"
    return {
        "seq": item.seq,
        "type": kind,
        "timestamp": iso(found.revision.sent_at),
        "data": alert_document(queries.views_for(session, principal, [found])[0]),
    }
