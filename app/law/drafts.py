"""A draft rule asked in the background: kept as a job with its document, its progress and what came of it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from app.auth.permissions import Principal
from app.context import AppContext
from app.law.impact import checked, impact, stored_in
from app.law.loaded import EditionError
from app.persistence.base import new_id
from app.persistence.models import Job, Task
from app.persistence.tasks import insert_once, task_values
from app.persistence.trail import Trace, tracing
from chem.editions import plain

TOPIC = "impact"
_UNTOLD = {"trail": False}


def read_draft(text: str) -> Any:
    """The document of a draft written in TOML. Raises EditionError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise EditionError(f"the text is no TOML: {error}") from error


def begin(session: Session, context: AppContext, author: Principal, text: str) -> str:
    """The id of the job. Raises EditionError where the draft is refused as an edition would be."""
    document = read_draft(text)
    prepared = checked(session, document)
    now = context.now()
    name = f"{prepared.document['instrument']}: {', '.join(str(rule['id']) for rule in prepared.document['rule'])}"
    job = Job(
        id=new_id(), kind=TOPIC, name=name[:200], org_id=author.org_id, actor=author.actor, state="waiting", step=0, steps=0,
        request=plain(document), created_at=now,
    )  # fmt: skip
    session.add(job)
    session.flush()
    insert_once(session, Task, task_values(topic=TOPIC, key=job.id, lane=TOPIC, priority=0, payload={"job": job.id}, now=now))
    return job.id


def own_job(session: Session, job_id: str, reader: Principal) -> Job | None:
    """The job of this organisation, or None."""
    return session.scalar(select(Job).where(Job.id == job_id, Job.org_id == reader.org_id))


def jobs_of(session: Session, reader: Principal, limit: int = 20) -> list[Job]:
    """The organisation's jobs, newest first."""
    return list(session.scalars(select(Job).where(Job.org_id == reader.org_id).order_by(Job.id.desc()).limit(limit)))


def impact_handler(context: AppContext, renew: Callable[[TaskItem], bool]) -> Callable[[TaskItem], Result]:
    """The handler of the topic `impact`. Asked twice, it answers the same."""

    def handle(task: TaskItem) -> Result:
        job_id = str(task.payload["job"])
        with context.database.read() as session:
            job = session.get(Job, job_id)
        if job is None or job.state in ("done", "failed"):
            return DONE

        def told(done: int, total: int) -> None:
            renew(task)
            _note(context, job_id, state="running", step=done, steps=total)

        with tracing(Trace(request_id=job_id, actor=job.actor, org_id=job.org_id, door="task impact")):
            try:
                with context.database.read() as session:
                    prepared, stored = checked(session, job.request), stored_in(session)
                found = impact(stored, context.chemistry.engine, prepared, told)
            except EditionError as error:
                _note(context, job_id, state="failed", error=str(error), ended_at=context.now())
                return DONE
            _note(context, job_id, state="done", result=found.document(), ended_at=context.now())
        return DONE

    return handle


def _note(context: AppContext, job_id: str, **values: Any) -> None:
    with context.database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values), execution_options=_UNTOLD)
