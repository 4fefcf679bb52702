"""Deciding what a waiting label means; the reports that carry it follow in the background, each as a new version of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from alerts.render import iso
from app.auth import accounts
from app.auth.permissions import Principal
from app.chemistry import Chemistry
from app.context import AppContext
from app.intake import service as intake
from app.intake.curated import decisions_for
from app.intake.resolve import ResolvedSubstance, folded, resolve_at, resolve_report
from app.intake.rows import Submission
from app.intake.schemas import ReportIn, StructureIn, SubstanceIn
from app.intake.sold_as import sold_as_of
from app.intake.substances import substance_row
from app.persistence.base import new_id
from app.persistence.models import (
    CurationItem,
    Detection,
    Organisation,
    Report,
    ReportVersion,
    Substance,
    SubstanceEvent,
    SubstanceName,
    Task,
)
from app.persistence.tasks import insert_once, task_values
from app.problems import FieldError, Problem
from chem.names import NameKind, fold

CURATED = "curated"


def items(session: Session, *, state: str, before: str | None, limit: int) -> list[CurationItem]:
    """The queue, what came last first."""
    query = select(CurationItem).where(CurationItem.state == state)
    if before is not None:
        query = query.where(CurationItem.id < before)
    return list(session.scalars(query.order_by(CurationItem.id.desc()).limit(limit)))


def present(item: CurationItem, chemistry: Chemistry) -> dict[str, Any]:
    """An item as JSON, with what could be meant: candidates, near spellings with their score, a systematic name as it reads."""
    resolution = chemistry.names.resolve(item.label)
    return {
        "id": item.id,
        "label": item.label,
        "reports": item.reports,
        "reason": item.reason,
        "state": item.state,
        "candidates": [
            {"name": s.name, "smiles": s.smiles, "inchikey": chemistry.names.inchikey_of(s.key)} for s in resolution.substances
        ],
        "suggestions": [{"name": s.name, "score": s.score} for s in resolution.suggestions],
        "systematic_name": chemistry.from_systematic_name(item.label),
        "substance_id": item.substance_id,
        "class": item.group,
        "note": item.note,
        "first_seen": iso(item.first_seen),
        "last_seen": iso(item.last_seen),
        "decided_at": iso(item.decided_at) if item.decided_at else None,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a label is to mean: one resolved substance, a class, or nothing (it stays as reported)."""

    resolved: ResolvedSubstance | None = None
    group: str | None = None


def target_of(context: AppContext, given: SubstanceIn) -> Target:
    """The substance that an analyst named, before the transaction opens. Raises Problem where it is not exactly one."""
    found = resolve_at(0, given, context.chemistry, context.now().date(), "XX")
    if found.substance is None:
        raise Problem(
            "validation",
            "This does not name exactly one substance; give its structure.",
            errors=[FieldError("/substance", "does not name exactly one substance")],
        )
    return Target(resolved=found)


def named_by(text: str) -> SubstanceIn:
    """What a person typed: an InChI, a CAS number, an InChIKey, else a name or a SMILES.

    A text without blanks that holds a bracket, bond or ring sign is taken for a SMILES. Raises pydantic's ValidationError.
    """
    text = text.strip()
    if text.startswith("InChI="):
        return SubstanceIn(structure=StructureIn(inchi=text))
    for field in ("cas", "inchikey"):
        try:
            return SubstanceIn.model_validate({field: text})
        except ValidationError:
            continue
    if " " not in text and any(sign in text for sign in "=#()[]") and not text.startswith("("):
        return SubstanceIn(structure=StructureIn(smiles=text))
    return SubstanceIn(name=text)


def decide(
    session: Session,
    chemistry: Chemistry,
    item_id: str,
    target: Target,
    *,
    reason: str,
    add_name: bool,
    principal: Principal,
    now: datetime,
) -> CurationItem:
    """Write the decision and its event, and let the waiting reports follow. Raises Problem where it was decided before."""
    item = session.scalar(select(CurationItem).where(CurationItem.id == item_id).with_for_update())
    if item is None:
        raise Problem("not-found", f"There is no label {item_id} in the queue.")
    if item.state != "open":
        raise Problem("conflict", f"{item.label!r} was decided before ({item.state}). Undo that decision first.")
    substance = substance_row(session, chemistry, target.resolved, now) if target.resolved is not None else None
    event = SubstanceEvent(
        id=new_id(), kind="resolve", substance_id=substance.id if substance else None, label=item.label, moved=[], reason=reason,
        actor=principal.actor, created_at=now,
    )  # fmt: skip
    if substance is not None and add_name:
        name_id = _new_name(session, substance.id, item.label, NameKind.COMMON.value, "en", principal, now)
        event.moved = [f"name:{name_id}"] if name_id else []
    item.substance_id = substance.id if substance else None
    item.group = target.group
    item.state = "resolved" if substance else "class" if target.group else "dismissed"
    item.note, item.decided_by, item.decided_at = reason, principal.actor, now
    session.add(event)
    session.flush()
    enqueue_followers(session, item, event.id, now)
    return item


def _new_name(
    session: Session, substance_id: str, name: str, kind: str, language: str, principal: Principal, now: datetime
) -> str | None:
    """The id of the new name; None where the substance has it."""
    known = session.scalar(
        select(SubstanceName.id).where(SubstanceName.substance_id == substance_id, SubstanceName.folded == fold(name)[:400])
    )
    if known is not None:
        return None
    row = SubstanceName(
        id=new_id(), substance_id=substance_id, name=name[:400], folded=fold(name)[:400], kind=kind, language=language,
        source=f"curation, {now:%Y-%m-%d}",
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.id


def add_name(
    session: Session,
    chemistry: Chemistry,
    substance: Substance,
    *,
    name: str,
    kind: str,
    language: str,
    reason: str,
    principal: Principal,
    now: datetime,
) -> SubstanceEvent:
    """A synonym of a substance: found by the search, and read in reports from now on where no shipped table knows it."""
    if not fold(name):
        raise Problem("validation", "/name: holds no letter or digit.", errors=[FieldError("/name", "holds no letter or digit.")])
    name_id = _new_name(session, substance.id, name, kind, language, principal, now)
    if name_id is None:
        raise Problem("conflict", f"{substance.name} has the name {name!r}.")
    event = SubstanceEvent(
        id=new_id(), kind="name", substance_id=substance.id, label=name[:400], moved=[f"name:{name_id}"], reason=reason,
        actor=principal.actor, created_at=now,
    )  # fmt: skip
    session.add(event)
    item = session.scalar(select(CurationItem).where(CurationItem.folded == folded(name)).with_for_update())
    if item is None:
        item = CurationItem(
            id=new_id(), folded=folded(name), label=name[:400], reason="name added", candidates=[], reports=0, state="resolved",
            first_seen=now, last_seen=now,
        )  # fmt: skip
        session.add(item)
    item.state, item.substance_id, item.group = "resolved", substance.id, None
    item.note, item.decided_by, item.decided_at = reason, principal.actor, now
    session.flush()
    enqueue_followers(session, item, event.id, now)
    return event


def undo_name(session: Session, event: SubstanceEvent, now: datetime) -> None:
    """Take back a decision on a label or a name: the label waits again, and its reports with it."""
    for entry in event.moved:
        kind, _, row_id = str(entry).partition(":")
        name = session.get(SubstanceName, row_id) if kind == "name" else None
        if name is not None:
            session.delete(name)
    item = session.scalar(select(CurationItem).where(CurationItem.folded == folded(event.label or "")).with_for_update())
    if item is not None:
        item.state, item.substance_id, item.group = "open", None, None
        item.decided_by, item.decided_at = None, None
        session.flush()
        enqueue_followers(session, item, f"{event.id}:undo", now)


def enqueue_followers(session: Session, item: CurationItem, occasion: str, now: datetime) -> None:
    values = task_values(
        topic="curate", key=f"{item.id}:{occasion}"[:200], lane="curate", priority=0, payload={"item": item.id}, now=now
    )
    insert_once(session, Task, values)


# -- the reports that follow --------------------------------------------------------------------------------------------------


def followers(session: Session, item: CurationItem) -> list[str]:
    """Ids of the active reports that name this label without a structure, and do not say yet what was decided."""
    names = [
        name
        for name in session.scalars(
            select(Detection.reported_name)
            .where(
                Detection.counted, Detection.reported_name.is_not(None), Detection.resolution.in_(("unresolved", "class", "name"))
            )
            .distinct()
        )
        if name is not None and folded(name) == item.folded
    ]
    if not names:
        return []
    rows = session.execute(
        select(Detection.report_id, Detection.substance_id, Detection.resolution_class, Detection.resolution)
        .join(Report, Report.id == Detection.report_id)
        .where(Detection.counted, Report.state == "active", Detection.reported_name.in_(names))
        .order_by(Report.received_at, Detection.report_id)
    ).all()
    wanted = (item.substance_id, item.group)
    found = [
        row.report_id for row in rows if row.resolution != "structure" and (row.substance_id, row.resolution_class) != wanted
    ]
    return list(dict.fromkeys(found))


def follow(context: AppContext, report_id: str, actor: str) -> bool:
    """Read the report's newest text again under today's decisions, as its next version; False where nothing came out anew."""
    now = context.now()
    with context.database.read() as session:
        row = session.get_one(Report, report_id)
        version = session.scalar(
            select(ReportVersion)
            .where(ReportVersion.report_id == report_id, ReportVersion.body != "")
            .order_by(ReportVersion.version.desc())
            .limit(1)
        )
        if version is None or row.state != "active":
            return False
        body = version.body
        report = ReportIn.model_validate(json.loads(body))
        names = [s.name for s in report.substances if s.structure is None]
        decisions = decisions_for(session, context.chemistry, names)
        organisation = session.get_one(Organisation, row.org_id)
        before = session.execute(
            select(Detection.resolution, Detection.resolution_class, Substance.key)
            .outerjoin(Substance, Substance.id == Detection.substance_id)
            .where(Detection.report_id == report_id, Detection.counted)
            .order_by(Detection.position)
        ).all()
    submission = Submission(
        report=report,
        body=body,
        resolved=resolve_report(report, context.chemistry, now.date(), decisions),
        principal=accounts.principal_of(organisation, "lab", actor),
        received_at=now,
        historical=row.historical,
        import_id=row.import_id,
        sold_as=sold_as_of(context.chemistry, report.sample.sold_as, now.date()),
    )
    after = [(r.resolution, r.group, r.substance.key if r.substance else None) for r in submission.resolved]
    if after == [tuple(found) for found in before]:
        return False
    with context.database.write() as session:
        row = session.scalars(select(Report).where(Report.id == report_id).with_for_update()).one()
        if row.state != "active" or row.version != version.version:
            return False
        intake.correct(session, context.chemistry, submission, row, kind=CURATED, reason="a label of it was decided")
    context.wake_worker()
    return True


def curate_handler(context: AppContext, renew: Callable[[TaskItem], bool]) -> Callable[[TaskItem], Result]:
    """The handler of the topic `curate`: every report that carries a decided label follows, one transaction each."""

    def handle(task: TaskItem) -> Result:
        with context.database.read() as session:
            item = session.get_one(CurationItem, str(task.payload["item"]))
            waiting = followers(session, item)
            actor = item.decided_by or "curation"
            if item.state == "open":  # taken back: the newest first, so that no first detection is passed on and lost again
                waiting.reverse()
        for n, report_id in enumerate(waiting):
            if n % 50 == 49 and not renew(task):
                return Result(outcome="failed", error="the lease was lost")
            follow(context, report_id, actor)
        return DONE

    return handle
