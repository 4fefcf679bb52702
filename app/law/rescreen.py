"""Matching everything stored again, after a new edition or on the day on which one begins to bind.

Substances go in the order of their ids, a batch a transaction, and the place reached is kept with the batch, so that a run that
was cut off goes on where it was. Matching twice changes nothing. What changed under an instrument raises one `control_change`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem
from alerts.render import iso
from app.chemistry import Chemistry
from app.context import AppContext
from app.intake.queries import un_status
from app.intake.schemas import StructureIn
from app.law.changes import announce, statuses
from app.law.loaded import enqueue_rescreen, identity_of, refresh
from app.persistence.models import Detection, ServiceState, Substance, Task
from app.persistence.tasks import insert_once, task_values
from chem.errors import StructureError
from chem.values import to_json

BATCH = 25
STATE = "rescreen"
LAGGARDS_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is. `phase`: substances, sets (detections of isomer sets), done. `version` and `as_of` name the law."""

    version: str
    as_of: str
    phase: str
    cursor: str
    done: int
    total: int
    changed: int
    alerts: int
    failed: int
    started_at: str
    ended_at: str | None = None


def progress_of(session: Session) -> Progress | None:
    """The run under way, or the last one; None before the first."""
    row = session.get(ServiceState, STATE)
    return Progress(**row.value) if row is not None else None


def stale(session: Session, version: str) -> int:
    """How many substances carry matches of another version of the law."""
    query = select(func.count()).select_from(Substance)
    return session.scalar(query.where(Substance.merged_into.is_(None), Substance.engine_version != version)) or 0


def rescreen_handler(context: AppContext, renew: Callable[[TaskItem], bool]) -> Callable[[TaskItem], Result]:
    """The handler of the topic `rescreen`. With `stale_only` only what carries another version is matched."""

    def handle(task: TaskItem) -> Result:
        refresh(context)
        day = date.fromisoformat(task.payload["as_of"])
        only_stale = bool(task.payload.get("stale_only"))
        if rescreen(context, as_of=day, only_stale=only_stale, go_on=lambda: renew(task)) is None:
            return Result(outcome="failed", error="the lease was lost")
        if not only_stale:
            with context.database.write() as session:
                # what another process stored by the law before, in the seconds until it noticed
                insert_once(session, Task, _laggards(task.key, day, context.now()))
        return DONE

    return handle


def _laggards(key: str, day: date, now: datetime) -> dict[str, Any]:
    return task_values(
        topic="rescreen", key=f"{key}:laggards"[:200], lane="rescreen", priority=0,
        payload={"as_of": day.isoformat(), "stale_only": True}, now=now, run_at=now + LAGGARDS_AFTER,
    )  # fmt: skip


def enqueue_if_stale(session: Session, version: str, now: datetime) -> bool:
    """Insert the task that brings everything to this version, for an installation that was upgraded; whether there was need."""
    return stale(session, version) > 0 and enqueue_rescreen(session, f"upgrade:{version}:{now:%Y-%m-%d}", now.date(), now)


def rescreen(
    context: AppContext,
    *,
    as_of: date,
    only_stale: bool = False,
    go_on: Callable[[], bool] = lambda: True,
    told: Callable[[Progress], None] = lambda progress: None,
) -> Progress | None:
    """Match everything stored against the law of a day; None where `go_on` said no between two batches.

    A run of the same version and day that was cut off goes on where it was.
    """
    chemistry: Chemistry = context.chemistry
    progress = _begin(context, chemistry.version, as_of)
    while progress.phase != "done":
        if not go_on():
            return None
        progress = _batch(context, chemistry, progress, as_of, only_stale=only_stale)
        told(progress)
    return progress


def _begin(context: AppContext, version: str, as_of: date) -> Progress:
    with context.database.write() as session:
        last = progress_of(session)
        if last is not None and (last.version, last.as_of) == (version, as_of.isoformat()) and last.phase != "done":
            return last
        total = session.scalar(select(func.count()).select_from(Substance).where(Substance.merged_into.is_(None))) or 0
        progress = Progress(
            version=version, as_of=as_of.isoformat(), phase="substances", cursor="", done=0, total=total, changed=0, alerts=0,
            failed=0, started_at=iso(context.now()),
        )  # fmt: skip
        _save(session, progress)
    return progress


def _save(session: Session, progress: Progress) -> None:
    value = {name: getattr(progress, name) for name in Progress.__slots__}
    row = session.get(ServiceState, STATE)
    if row is None:
        session.add(ServiceState(key=STATE, value=value))
    else:
        row.value = value


def _batch(context: AppContext, chemistry: Chemistry, progress: Progress, as_of: date, *, only_stale: bool) -> Progress:
    with context.database.write() as session:
        if progress.phase == "substances":
            query = select(Substance).where(Substance.merged_into.is_(None), Substance.id > progress.cursor)
            rows: Sequence[Any] = session.scalars(query.order_by(Substance.id).limit(BATCH).with_for_update()).all()
            for row in rows:
                if not only_stale or _is_stale(session, row, progress.version):
                    progress = _substance(session, context, chemistry, row, as_of, progress)
        else:
            query_sets = select(Detection).where(Detection.substance_id.is_(None), Detection.id > progress.cursor)
            query_sets = query_sets.where(Detection.resolution == "structure")
            rows = session.scalars(query_sets.order_by(Detection.id).limit(BATCH).with_for_update()).all()
            for row in rows:
                if not only_stale or row.engine_version != progress.version:
                    _isomer_set(chemistry, row, as_of)
        if len(rows) == BATCH:
            done = progress.done + (len(rows) if progress.phase == "substances" else 0)
            progress = replace(progress, cursor=rows[-1].id, done=done)
        elif progress.phase == "substances":
            progress = replace(progress, phase="sets", cursor="", done=progress.done + len(rows))
        else:
            progress = replace(progress, phase="done", ended_at=iso(context.now()))
        _save(session, progress)
    if progress.alerts:
        context.wake_worker()
    return progress


def _is_stale(session: Session, row: Substance, version: str) -> bool:
    query = select(Detection.id).where(Detection.substance_id == row.id, Detection.engine_version != version).limit(1)
    return row.engine_version != version or session.scalar(query) is not None


def _substance(
    session: Session, context: AppContext, chemistry: Chemistry, row: Substance, as_of: date, progress: Progress
) -> Progress:
    """One substance and its detections. An identity that cannot be read any more keeps what it has, and is counted as failed."""
    before = statuses(row.matches)
    old = (row.matches, row.legal_status)
    if row.identity:
        try:
            told = identity_of(chemistry.engine, row.identity, row.smiles)
            found = chemistry.engine.assess_identity(told, as_of=as_of, analogues=0)
        except StructureError:
            return replace(progress, failed=progress.failed + 1)
        row.matches, row.legal_status = to_json(found.matches), un_status(found).value
    else:
        named = chemistry.names.substances.get(row.key.removeprefix("material:"))
        matches = chemistry.material_matches(named, as_of) if named is not None else ()
        row.matches = to_json(matches)
        row.legal_status = (
            "controlled" if matches else ("not_controlled" if row.legal_status == "controlled" else row.legal_status)
        )
    row.engine_version = chemistry.version
    _detections(session, chemistry, row, as_of)
    alerts = announce(session, context, row, before, statuses(row.matches), as_of)
    return replace(
        progress,
        changed=progress.changed + ((row.matches, row.legal_status) != old),
        alerts=progress.alerts + alerts,
    )


def _detections(session: Session, chemistry: Chemistry, substance: Substance, as_of: date) -> None:
    """The detections of a substance, each under the law of its country too. Equal drawings are matched once."""
    known: dict[tuple[str, str], tuple[list[Any], str]] = {}
    for row in session.scalars(select(Detection).where(Detection.substance_id == substance.id)):
        if not row.identity:
            row.matches, row.legal_status = substance.matches, substance.legal_status
        else:
            key = (json.dumps(row.identity, sort_keys=True), row.country)
            if key not in known:
                home = chemistry.home_of(row.country)
                told = identity_of(chemistry.engine, row.identity, substance.smiles)
                found = chemistry.engine.assess_identity(told, as_of=as_of, analogues=0, home=home)
                known[key] = (to_json(found.matches), found.legal_status.value)
            row.matches, row.legal_status = known[key]
        row.engine_version = chemistry.version


def _isomer_set(chemistry: Chemistry, row: Detection, as_of: date) -> None:
    """A detection of candidates: its own verdict and that of each candidate."""
    if not row.reported_structure:
        return
    structure = StructureIn.model_validate(row.reported_structure)
    is_set = structure.candidates is not None
    answer = chemistry.assess(structure.structures(), is_set=is_set, as_of=as_of, country=row.country)
    found = answer.assessment
    if found is None:
        return  # unresolved as before: undefined, or out of time again
    verdicts = {c.identity.parent_inchikey: c for c in found.candidates if c.identity is not None}
    row.candidates = [
        {**known, "legal_status": verdict.legal_status.value, "matches": to_json(verdict.matches)}
        if (verdict := verdicts.get(known.get("inchikey"))) is not None
        else known
        for known in row.candidates
    ]
    row.matches, row.legal_status = to_json(found.matches), found.legal_status.value
    row.engine_version = chemistry.version
