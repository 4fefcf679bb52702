"""Matching everything stored again, after a new edition or on the day on which one begins to bind.

Substances go in the order of their ids, a batch a transaction, and the place reached is kept with the batch, so that a run that
was cut off goes on where it was. A transaction ends after a quarter of a second, if need be in the midst of the detections of a
common substance: on SQLite no report can be stored while it goes on. Matching twice changes nothing. What changed under an
instrument raises one `control_change`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select, update
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
from chem.engine import Engine
from chem.errors import StructureError
from chem.values import to_json

log = logging.getLogger("nps.law")

BATCH = 25  # substances, or detections of isomer sets, of a transaction at most
DETECTIONS = 500  # of a substance, read and written at a time
MOST_SECONDS = 0.25  # after which a transaction ends
PAUSE_SECONDS = 0.1  # how long a process that waits for SQLite's lock may sleep before it looks again
STATE = "rescreen"
LAGGARDS_AFTER = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is. `phase`: substances, sets (detections of isomer sets), done. `version` and `as_of` name the law.

    `failed` are the substances, and the drawings of detections, whose identity cannot be read any more; they keep what they have.
    `cursor` is the id of what was done last; in the midst of the detections of a substance its id, and the time of receipt and
    the id of the detection, with slashes between.
    """

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

    A run of the same version and day that was cut off goes on where it was. Where this process takes up a newer edition
    meanwhile, everything is matched by that one, from the beginning.
    """
    run = _Run(context=context, engine=context.chemistry.engine, as_of=as_of, only_stale=only_stale)
    progress = _begin(context, run.engine.version, as_of)
    while progress.phase != "done":
        if not go_on():
            return None
        if run.engine is not context.chemistry.engine:
            run = replace(run, engine=context.chemistry.engine, known={}, known_of="")
            progress = _begin(context, run.engine.version, as_of)
        began = time.monotonic()
        progress = run.batch(progress)
        told(progress)
        if context.database.is_sqlite and progress.phase != "done":
            time.sleep(min(time.monotonic() - began, PAUSE_SECONDS))  # another process takes its turn
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


@dataclass(slots=True)
class _Run:
    """What one call of `rescreen` does by one engine. `known` are the verdicts on drawings of the substance under way, None for
    one that cannot be read any more; `unreadable` counts these until they are told.
    """

    context: AppContext
    engine: Engine
    as_of: date
    only_stale: bool
    known: dict[tuple[str, str], tuple[list[Any], str] | None] = field(default_factory=dict)
    known_of: str = ""
    unreadable: int = 0

    def batch(self, progress: Progress) -> Progress:
        """One transaction, and how far it came."""
        ends = time.monotonic() + MOST_SECONDS
        with self.context.database.write() as session:
            step = self._substances if progress.phase == "substances" else self._sets
            progress = step(session, progress, ends)
            progress, self.unreadable = replace(progress, failed=progress.failed + self.unreadable), 0
            _save(session, progress)
        if progress.alerts:
            self.context.wake_worker()
        return progress

    def _substances(self, session: Session, progress: Progress, ends: float) -> Progress:
        at, _, reached = progress.cursor.partition("/")
        here = Substance.id >= at if reached else Substance.id > at
        query = select(Substance).where(Substance.merged_into.is_(None), here).order_by(Substance.id).limit(BATCH)
        # reports of these substances are stored meanwhile: their rows refer to a key that stays
        rows = session.scalars(query.with_for_update(key_share=True)).all()
        for row in rows:
            begun = reached if row.id == at and row.engine_version == progress.version else ""
            wanted = True
            if not begun:
                wanted = not self.only_stale or _is_stale(session, row, progress.version)
                if wanted:
                    progress, wanted = self._substance(session, row, progress)
            left = self._detections(session, row, begun, ends) if wanted else ""
            if left:
                return replace(progress, cursor=f"{row.id}/{left}")
            progress = replace(progress, cursor=row.id, done=progress.done + 1)
            if time.monotonic() >= ends:
                return progress
        return progress if len(rows) == BATCH else replace(progress, phase="sets", cursor="")

    def _sets(self, session: Session, progress: Progress, ends: float) -> Progress:
        query = select(Detection).where(Detection.substance_id.is_(None), Detection.id > progress.cursor)
        query = query.where(Detection.resolution == "structure").order_by(Detection.id).limit(BATCH)
        rows = session.scalars(query.with_for_update(key_share=True)).all()
        for row in rows:
            if not self.only_stale or row.engine_version != progress.version:
                _isomer_set(self.context.chemistry, row, self.as_of, progress.version)
            progress = replace(progress, cursor=row.id)
            if time.monotonic() >= ends:
                return progress
        return progress if len(rows) == BATCH else replace(progress, phase="done", ended_at=iso(self.context.now()))

    def _substance(self, session: Session, row: Substance, progress: Progress) -> tuple[Progress, bool]:
        """The verdict on a substance, and whether there is one: an identity that cannot be read any more keeps what it has, and
        is counted as failed.
        """
        engine, as_of, chemistry = self.engine, self.as_of, self.context.chemistry
        before = statuses(row.matches)
        old = (row.matches, row.legal_status)
        if row.identity:
            try:
                told = identity_of(engine, row.identity, row.smiles)
                found = engine.assess_identity(told, as_of=as_of, analogues=0)
            except StructureError:
                return replace(progress, failed=progress.failed + 1), False
            row.matches, row.legal_status = to_json(found.matches), un_status(found).value
        else:
            named = chemistry.names.substances.get(row.key.removeprefix("material:"))
            matches = chemistry.material_matches(named, as_of) if named is not None else ()
            row.matches = to_json(matches)
            row.legal_status = (
                "controlled" if matches else ("not_controlled" if row.legal_status == "controlled" else row.legal_status)
            )
        row.engine_version = engine.version
        alerts = announce(session, self.context, row, before, statuses(row.matches), as_of)
        changed = progress.changed + ((row.matches, row.legal_status) != old)
        return replace(progress, changed=changed, alerts=progress.alerts + alerts), True

    def _detections(self, session: Session, substance: Substance, after: str, ends: float) -> str:
        """The detections of a substance, each under the law of its country too, in the order of receipt; where time ran out the
        place reached, else nothing. Equal drawings are matched once; one that cannot be read keeps what it has.
        """
        if self.known_of != substance.id:
            self.known_of, self.known = substance.id, {}
        version = self.engine.version
        while True:
            rows = session.execute(_of_substance(substance.id, after)).all()
            anew: dict[tuple[str, str], list[str]] = {}
            for row in rows:
                drawing = json.dumps(row.identity, sort_keys=True) if row.identity else ""
                key = (drawing, row.country if drawing else "")
                found = self._verdict(substance, key, row)
                if found is not None and (row.matches, row.legal_status, row.engine_version) != (*found, version):
                    anew.setdefault(key, []).append(row.id)
                after = f"{row.received_at.isoformat()}/{row.id}"
                if time.monotonic() >= ends:
                    break
            for key, ids in anew.items():
                values = dict(zip(("matches", "legal_status"), self.known[key] or (), strict=True)) | {"engine_version": version}
                changing = update(Detection).where(Detection.id.in_(ids)).values(values)
                session.execute(changing, execution_options={"synchronize_session": False})
            if not rows or (len(rows) < DETECTIONS and after.endswith(rows[-1].id)):
                return ""
            if time.monotonic() >= ends:
                return after

    def _verdict(self, substance: Substance, key: tuple[str, str], row: Any) -> tuple[list[Any], str] | None:
        """Matches and legal status of one drawing, in one country; those of the substance where it was drawn as that is. None
        where it cannot be read.
        """
        if key not in self.known:
            self.known[key] = (substance.matches, substance.legal_status) if not row.identity else self._assessed(substance, row)
        return self.known[key]

    def _assessed(self, substance: Substance, row: Any) -> tuple[list[Any], str] | None:
        home = tuple(info.id for info in self.engine.instruments() if info.country == row.country)
        try:
            told = identity_of(self.engine, row.identity, substance.smiles)
            found = self.engine.assess_identity(told, as_of=self.as_of, analogues=0, home=home)
        except StructureError:
            self.unreadable += 1
            log.warning("the identity of detection %s cannot be read; it keeps the verdict it has", row.id)
            return None
        return to_json(found.matches), found.legal_status.value


def _of_substance(substance_id: str, after: str) -> Any:
    """Detections after a place, by the index of a substance's detections by receipt."""
    query = select(
        Detection.id, Detection.received_at, Detection.identity, Detection.country, Detection.matches, Detection.legal_status,
        Detection.engine_version,
    ).where(Detection.substance_id == substance_id)  # fmt: skip
    if after:
        told, _, last = after.partition("/")
        moment = datetime.fromisoformat(told)
        query = query.where(Detection.received_at >= moment, or_(Detection.received_at > moment, Detection.id > last))
    return query.order_by(Detection.received_at, Detection.id).limit(DETECTIONS)


def _is_stale(session: Session, row: Substance, version: str) -> bool:
    query = select(Detection.id).where(Detection.substance_id == row.id, Detection.engine_version != version).limit(1)
    return row.engine_version != version or session.scalar(query) is not None


def _isomer_set(chemistry: Chemistry, row: Detection, as_of: date, version: str) -> None:
    """A detection of candidates: its own verdict and that of each candidate, by the law of this version or a newer one."""
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
    row.matches, row.legal_status, row.engine_version = to_json(found.matches), found.legal_status.value, version
