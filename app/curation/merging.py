"""Merging and splitting substances: detections change their substance, alerts follow, old ids redirect; each can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.curation.service import undo_name
from app.notifications import service as notifications
from app.notifications.corrections import carry_over
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertEvidence, Detection, Substance, SubstanceEvent, SubstanceName
from app.problems import FieldError, Problem

PART = 500


def _substance(session: Session, substance_id: str, pointer: str) -> Substance:
    row = session.scalar(select(Substance).where(Substance.id == substance_id).with_for_update())
    if row is None:
        raise Problem("validation", f"{pointer}: unknown", errors=[FieldError(pointer, f"There is no substance {substance_id}.")])
    if row.merged_into is not None:
        raise Problem("conflict", f"{row.name} was merged into {row.merged_into} before.")
    return row


def merge(session: Session, source_id: str, into_id: str, reason: str, principal: Principal, now: datetime) -> SubstanceEvent:
    """Make one substance of two: the first's detections and names go to the second, its id redirects there."""
    if source_id == into_id:
        raise Problem("validation", "/into: the same", errors=[FieldError("/into", "A substance cannot be merged into itself.")])
    source, into = _substance(session, source_id, "/substance_id"), _substance(session, into_id, "/into")
    moved = session.scalars(select(Detection.id).where(Detection.substance_id == source.id).order_by(Detection.id)).all()
    event = SubstanceEvent(
        id=new_id(), kind="merge", substance_id=source.id, other_id=into.id, moved=list(moved), reason=reason,
        actor=principal.actor, created_at=now,
    )  # fmt: skip
    session.add(event)
    known = set(session.scalars(select(SubstanceName.folded).where(SubstanceName.substance_id == into.id)))
    names = []
    for name in session.scalars(select(SubstanceName).where(SubstanceName.substance_id == source.id)).all():
        if name.folded not in known:
            copy = SubstanceName(
                id=new_id(), substance_id=into.id, name=name.name, folded=name.folded, kind=name.kind, language=name.language,
                source=f"merged from {source.name}"[:200],
            )  # fmt: skip
            session.add(copy)
            names.append(f"name:{copy.id}")
    chained = session.scalars(select(Substance).where(Substance.merged_into == source.id)).all()
    for earlier in chained:
        earlier.merged_into = into.id
    source.merged_into = into.id
    event.moved = [*moved, *names, *(f"substance:{row.id}" for row in chained)]
    session.flush()
    _move(session, moved, source, into, now)
    return event


def split(
    session: Session, source_id: str, report_ids: Sequence[str], to: Substance, reason: str, principal: Principal, now: datetime
) -> SubstanceEvent:
    """Give the detections of these reports, of one substance, to another one that an analyst found them to be."""
    source = _substance(session, source_id, "/substance_id")
    if to.id == source.id:
        raise Problem("validation", "/to: the same", errors=[FieldError("/to", "The reports have this substance.")])
    moved = session.scalars(
        select(Detection.id)
        .where(Detection.substance_id == source.id, Detection.report_id.in_(report_ids), Detection.counted)
        .order_by(Detection.id)
    ).all()
    if not moved:
        detail = f"None of these reports has a counted detection of {source.name}."
        raise Problem("validation", f"/reports: {detail}", errors=[FieldError("/reports", detail)])
    event = SubstanceEvent(
        id=new_id(), kind="split", substance_id=source.id, other_id=to.id, moved=list(moved), reason=reason,
        actor=principal.actor, created_at=now,
    )  # fmt: skip
    session.add(event)
    session.flush()
    _move(session, moved, source, to, now)
    return event


def undo(session: Session, event_id: str, reason: str, principal: Principal, now: datetime) -> SubstanceEvent:
    """Take an event back. Raises Problem where it was undone before, or a later event rests on it."""
    event = session.scalar(select(SubstanceEvent).where(SubstanceEvent.id == event_id).with_for_update())
    if event is None:
        raise Problem("not-found", f"There is no event {event_id}.")
    if event.undone_at is not None:
        raise Problem("conflict", "The event was undone before.")
    event.undone_at, event.undone_by, event.undone_reason = now, principal.actor, reason
    if event.kind in ("resolve", "name"):
        undo_name(session, event, now)
        return event
    source, other = session.get_one(Substance, event.substance_id), session.get_one(Substance, event.other_id)
    if other.merged_into is not None:
        raise Problem("conflict", f"{other.name} was merged into another substance since: undo that first.")
    if event.kind == "merge":
        source.merged_into = None
    detections = [entry for entry in event.moved if ":" not in entry]
    for entry in event.moved:
        kind, _, row_id = str(entry).partition(":")
        if kind == "name":
            name = session.get(SubstanceName, row_id)
            if name is not None:
                session.delete(name)
        elif kind == "substance":
            session.get_one(Substance, row_id).merged_into = source.id
    session.flush()
    _move(session, detections, other, source, now)
    return event


def events(session: Session, *, substance: str | None, before: str | None, limit: int) -> list[SubstanceEvent]:
    """Events, newest first, of one substance or of all."""
    query = select(SubstanceEvent)
    if substance is not None:
        query = query.where((SubstanceEvent.substance_id == substance) | (SubstanceEvent.other_id == substance))
    if before is not None:
        query = query.where(SubstanceEvent.id < before)
    return list(session.scalars(query.order_by(SubstanceEvent.id.desc()).limit(limit)))


def _move(session: Session, detection_ids: Sequence[str], old: Substance, new: Substance, now: datetime) -> None:
    """Detections to their new substance; then every alert on the old one that cites them is looked at again."""
    reports: set[str] = set()
    for start in range(0, len(detection_ids), PART):
        part = detection_ids[start : start + PART]
        session.execute(
            update(Detection).where(Detection.id.in_(part), Detection.substance_id == old.id).values(substance_id=new.id),
            execution_options={"synchronize_session": "fetch"},
        )
        reports |= set(session.scalars(select(Detection.report_id).where(Detection.id.in_(part))))
    session.flush()
    session.expire_all()
    alerts = session.scalars(
        select(Alert).where(Alert.substance_id == old.id, Alert.state.in_(("draft", "issued", "updated"))).order_by(Alert.id)
    ).all()
    cited = {
        alert.id: set(session.scalars(select(AlertEvidence.report_id).where(AlertEvidence.alert_id == alert.id))) & reports
        for alert in alerts
    }
    for report_id in sorted(set().union(*cited.values()) if cited else ()):
        notifications.reevaluate(session, report_id, now)
    carry_over(session, [alert for alert in alerts if cited[alert.id]], new, now)
