"""Dossiers in the tables: begun, made in the background, found again by who may open them, annotated. Nothing here commits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, defer

from alerts.outbox import DONE, Result, TaskItem
from app.auth.permissions import Action, Principal, may
from app.context import AppContext
from app.dossiers.assembling import NoSubject, assemble, subject_name
from app.dossiers.values import Document, Figure, as_json, document_of, figures_json, figures_of, packed, unpacked
from app.dossiers.views import View, labels_of, views_of
from app.persistence.base import new_id
from app.persistence.models import Dossier, DossierNote, Snapshot, Task
from app.persistence.tasks import insert_once, task_values
from app.persistence.trail import Trace, tracing
from app.priorities.snapshots import snapshot_with

TOPIC = "dossier"
_UNTOLD = {"trail": False}  # how far it is: nobody did that


def begin(
    session: Session, context: AppContext, author: Principal, view: View, kind: str, subject: str, snapshot: Snapshot
) -> str:
    """The id of a dossier to be made by the worker, or of one of the same subject, view and snapshot that is there.

    Raises NoSubject, where the readers of the view know no such subject.
    """
    known = session.scalars(
        select(Dossier.id)
        .where(
            Dossier.kind == kind, Dossier.subject == subject, Dossier.view == view.value, Dossier.snapshot_id == snapshot.id,
            Dossier.state != "failed",
        )
        .order_by(Dossier.id.desc())
    ).first()  # fmt: skip
    if known is not None:
        return known
    now = context.now()
    row = _row(session, author, view, kind, subject, snapshot, now)
    values = task_values(topic=TOPIC, key=row.id, lane=TOPIC, priority=0, payload={"dossier": row.id}, now=now)
    insert_once(session, Task, values)
    return row.id


def begin_again(session: Session, row: Dossier, now: datetime) -> None:
    """Let the worker try once more a dossier that failed."""
    if row.state != "failed":
        return
    row.state, row.error, row.step = "waiting", None, 0
    values = task_values(
        topic=TOPIC, key=f"{row.id}:{now:%Y%m%d%H%M%S%f}", lane=TOPIC, priority=0, payload={"dossier": row.id}, now=now
    )
    insert_once(session, Task, values)


def _row(session: Session, author: Principal, view: View, kind: str, subject: str, snapshot: Snapshot, now: datetime) -> Dossier:
    subject, name = subject_name(session, view, kind, subject)
    row = Dossier(
        id=new_id(), kind=kind, subject=subject, name=name, view=view.value, snapshot_id=snapshot.id, state="waiting", step=0,
        org_id=author.org_id, actor=author.actor, created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def snapshot_of_view(context: AppContext, view: View) -> Snapshot:
    """The snapshot of yesterday with the labels of the view, made where there is none."""
    return snapshot_with(context, labels_of(view))


def made_now(context: AppContext, author: Principal, view: View, kind: str, subject: str) -> str:
    """The id of the subject's dossier of yesterday's snapshot, made in this call where it is not there. Raises NoSubject."""
    snapshot = snapshot_of_view(context, view)
    with context.database.read() as session:
        subject = subject_name(session, view, kind, subject)[0]
        known = session.scalar(
            select(Dossier.id).where(
                Dossier.kind == kind, Dossier.subject == subject, Dossier.view == view.value,
                Dossier.snapshot_id == snapshot.id, Dossier.state == "done",
            )
        )  # fmt: skip
    if known is not None:
        return known
    with context.database.write() as session:
        dossier_id = _row(session, author, view, kind, subject, snapshot, context.now()).id
    _make(context, dossier_id, lambda _: None)
    return dossier_id


def _make(context: AppContext, dossier_id: str, told: Callable[[int], None]) -> None:
    with context.database.read() as session:
        row = session.get_one(Dossier, dossier_id)
        snapshot = session.get_one(Snapshot, row.snapshot_id)

    assembled = assemble(context, View(row.view), row.kind, row.subject, snapshot, told)
    document = packed(as_json(assembled.document))
    with context.database.write() as session:
        session.execute(
            update(Dossier)
            .where(Dossier.id == dossier_id)
            .values(
                state="done", document=document, figures=packed(figures_json(assembled.figures)), made_at=context.now(),
                digest=hashlib.sha256(document).hexdigest(),
            )
        )  # fmt: skip


def dossier_handler(context: AppContext, renew: Callable[[TaskItem], bool]) -> Callable[[TaskItem], Result]:
    """The handler of the topic `dossier`. Made twice, it is made of the same snapshot."""

    def handle(task: TaskItem) -> Result:
        dossier_id = str(task.payload["dossier"])
        with context.database.read() as session:
            row = session.scalar(select(Dossier).where(Dossier.id == dossier_id).options(*_LIGHT))
        if row is None or row.state == "done":
            return DONE
        if not renew(task):
            return Result(outcome="failed", error="the lease was lost")
        with tracing(Trace(request_id=dossier_id, actor=row.actor, org_id=row.org_id, door="task dossier")):
            try:
                _make(context, dossier_id, _tells(context, dossier_id))
            except NoSubject:
                _fail(context, dossier_id, "The substance was withdrawn or merged since.")
            except Exception:
                _fail(context, dossier_id, "Making it was broken off; it is tried again.")
                raise
        return DONE

    return handle


def _tells(context: AppContext, dossier_id: str) -> Callable[[int], None]:
    """Notes how far the making is, for the page that waits for it."""

    def told(step: int) -> None:
        with context.database.write() as session:
            session.execute(
                update(Dossier).where(Dossier.id == dossier_id).values(state="running", step=step), execution_options=_UNTOLD
            )

    return told


def _fail(context: AppContext, dossier_id: str, error: str) -> None:
    with context.database.write() as session:
        session.execute(update(Dossier).where(Dossier.id == dossier_id).values(state="failed", error=error))


_LIGHT = (defer(Dossier.document), defer(Dossier.figures))


def open_dossier(session: Session, reader: Principal, dossier_id: str, *, whole: bool = False) -> Dossier | None:
    """The dossier, where the reader's rows hold all that it rests on; without document and figures unless `whole`."""
    query = select(Dossier).where(Dossier.id == dossier_id, Dossier.view.in_([view.value for view in views_of(reader)]))
    return session.scalar(query if whole else query.options(*_LIGHT))


def list_dossiers(session: Session, reader: Principal, *, before: str | None, limit: int) -> Sequence[Dossier]:
    """Those that the reader may open, newest first."""
    query = select(Dossier).where(Dossier.view.in_([view.value for view in views_of(reader)])).options(*_LIGHT)
    if before is not None:
        query = query.where(Dossier.id < before)
    return list(session.scalars(query.order_by(Dossier.id.desc()).limit(limit)))


def document_in(row: Dossier) -> Document:
    assert row.document is not None
    return document_of(unpacked(row.document))


def figures_in(row: Dossier) -> dict[str, Figure]:
    assert row.figures is not None
    return figures_of(unpacked(row.figures))


def notes_of(session: Session, reader: Principal, dossier_id: str) -> Sequence[DossierNote]:
    """Remarks in the order they were made, withdrawn ones left out. Reviewers and analysts alone read them: they may rest on
    AMBER rows.
    """
    if not may(reader, Action.DOSSIER_BUILD):
        return ()
    return list(
        session.scalars(
            select(DossierNote)
            .where(DossierNote.dossier_id == dossier_id, DossierNote.withdrawn_at.is_(None))
            .order_by(DossierNote.section, DossierNote.id)
        )
    )


def annotate(session: Session, row: Dossier, author: Principal, name: str, section: int, text: str, now: datetime) -> None:
    session.add(
        DossierNote(
            id=new_id(), dossier_id=row.id, section=section, text=text, org_id=author.org_id, actor=author.actor, author=name,
            created_at=now,
        )
    )  # fmt: skip


def withdraw_note(session: Session, dossier_id: str, note_id: str, author: Principal, now: datetime) -> bool:
    """Whether there was such a remark of this author."""
    note = session.scalar(
        select(DossierNote).where(
            DossierNote.id == note_id, DossierNote.dossier_id == dossier_id, DossierNote.actor == author.actor,
            DossierNote.withdrawn_at.is_(None),
        )
    )  # fmt: skip
    if note is None:
        return False
    note.withdrawn_at = now
    return True
