"""What the operator must know and can mend: the queue, dead work, failing endpoints, and how far everything else is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.notifications import subscriptions
from app.persistence.models import (
    Attempt,
    CurationItem,
    ImportJob,
    LoadedEdition,
    Organisation,
    Person,
    Subscription,
    Task,
)  # fmt: skip
from app.persistence.tasks import cancel_tasks
from app.problems import Problem
from app.web import words
from app.web.templating import moment

MOST = 50
ABSENT = "There is no dead task with this address: it was sent again or cancelled."


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Work that was given up. `answer` is what the other side said last, at most 2 KiB, as text."""

    id: str
    topic: str
    about: str
    to: str
    attempts: int
    error: str
    status: int | None
    answer: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    organisation: str
    channel: str
    target: str
    state: str
    breaker: str
    failures: int
    last_success: datetime | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    queue: tuple[tuple[str, str, int], ...]  # topic, state, number
    oldest: datetime | None
    dead: tuple[Dead, ...]
    dead_total: int
    endpoints: tuple[Endpoint, ...]
    imports: tuple[tuple[str, int], ...]
    curation: int
    editions: int
    people: int
    disabled: int


def desk(session: Session) -> Desk:
    """Nine queries, whatever the number of rows."""
    queue = session.execute(
        select(Task.topic, Task.state, func.count())
        .where(Task.state.in_(("ready", "leased", "parked", "dead")))
        .group_by(Task.topic, Task.state)
        .order_by(Task.topic, Task.state)
    ).all()
    return Desk(
        queue=tuple((topic, state, n) for topic, state, n in queue),
        oldest=session.scalar(select(func.min(Task.run_at)).where(Task.state == "ready")),
        dead=_dead(session),
        dead_total=sum(n for _, state, n in queue if state == "dead"),
        endpoints=_endpoints(session),
        imports=tuple(
            (state, n)
            for state, n in session.execute(
                select(ImportJob.state, func.count())
                .where(ImportJob.state.in_(("waiting", "running", "failed")))
                .group_by(ImportJob.state)
            )
        ),
        curation=session.scalar(select(func.count()).where(CurationItem.state == "open")) or 0,
        editions=session.scalar(select(func.count()).select_from(LoadedEdition)) or 0,
        people=session.scalar(select(func.count()).where(Person.disabled_at.is_(None))) or 0,
        disabled=session.scalar(select(func.count()).where(Person.disabled_at.is_not(None))) or 0,
    )


def _dead(session: Session) -> tuple[Dead, ...]:
    newest = select(func.max(Attempt.n)).where(Attempt.task_id == Task.id).correlate(Task).scalar_subquery()
    rows = session.execute(
        select(Task, Attempt, Subscription, Organisation.name)
        .outerjoin(Attempt, (Attempt.task_id == Task.id) & (Attempt.n == newest))
        .outerjoin(Subscription, Subscription.id == Task.lane)
        .outerjoin(Organisation, Organisation.id == Subscription.org_id)
        .where(Task.state == "dead")
        .order_by(Task.id.desc())
        .limit(MOST)
    )
    found: dict[str, Dead] = {}
    for task, attempt, subscription, organisation in rows:
        found.setdefault(
            task.id,
            Dead(
                id=task.id, topic=task.topic, about=_about(task),
                to=f"{organisation}, {subscription.channel}" if subscription is not None else "the service itself",
                attempts=task.attempts, error=task.last_error or "", status=attempt.status if attempt is not None else None,
                answer=(attempt.response or "") if attempt is not None else "", since=task.done_at or task.created_at,
            ),
        )  # fmt: skip
    return tuple(found.values())


def _endpoints(session: Session) -> tuple[Endpoint, ...]:
    rows = session.execute(
        select(Subscription, Organisation.name)
        .join(Organisation, Organisation.id == Subscription.org_id)
        .where(
            Subscription.deleted_at.is_(None),
            (Subscription.failures > 0) | (Subscription.breaker != "closed") | (Subscription.state == "disabled"),
        )
        .order_by(Subscription.failures.desc(), Subscription.id)
        .limit(MOST)
    )
    return tuple(
        Endpoint(
            organisation=name, channel=row.channel, target=(row.target or "").split("?")[0], state=row.state, breaker=row.breaker,
            failures=row.failures, last_success=row.last_success_at, error=row.last_error or "",
        )
        for row, name in rows
    )  # fmt: skip


def send_again(session: Session, task_ids: Sequence[str] | None, now: datetime) -> int:
    """Make dead tasks due again, all of them without ids; the number. Deliveries keep their id: a receiver knows one."""
    query = select(Task).where(Task.state == "dead")
    if task_ids is not None:
        query = query.where(Task.id.in_(task_ids))
    tasks = list(session.scalars(query.with_for_update()))
    for task in tasks:
        subscription = session.get(Subscription, task.lane) if task.topic == "deliver" else None
        if subscription is not None and subscription.deleted_at is None:
            subscriptions.resend(session, [task.id], subscription, now)
        elif task.topic != "deliver":
            task.state, task.run_at, task.attempts, task.crashes, task.done_at = "ready", now, 0, 0, None
    return len(tasks)


def resent(session: Session, task_id: str) -> str:
    """What became of a task that was sent again: its newest attempt and when the next one is due; empty for no such task.

    One query.
    """
    row = session.execute(
        select(Task, Attempt)
        .outerjoin(Attempt, Attempt.task_id == Task.id)
        .where(Task.id == task_id)
        .order_by(Attempt.n.desc())
        .limit(1)
    ).first()
    if row is None:
        return ""
    task, attempt = row
    made = attempt.n if attempt is not None else 0
    said = [f"{task.topic} {_about(task)}"]
    if attempt is not None:
        status = f" ({attempt.status})" if attempt.status is not None else ""
        said.append(f"attempt {made} {words.said(words.ATTEMPTS, attempt.outcome)}{status}, {moment(attempt.ended_at)}")
    if task.state in ("ready", "leased"):
        said.append(f"attempt {made + 1} is due {moment(task.run_at)}")
    elif task.state == "parked":
        said.append(f"attempt {made + 1} goes when its endpoint takes messages again")
    return "; ".join(said)


def _about(task: Task) -> str:
    return str(task.payload.get("alert", task.key))[:80]


def cancel(session: Session, task_id: str, reason: str, now: datetime) -> None:
    """Give a dead task up for good; the reason stays with it. Raises Problem `not-found`."""
    if session.scalar(select(Task.id).where(Task.id == task_id, Task.state == "dead")) is None:
        raise Problem("not-found", ABSENT)
    cancel_tasks(session, [task_id], reason, now)
