"""Running an import: rows to reports in batches, refused rows back with reasons, the same file again to nothing new."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from alerts.values import SoldAsFacts
from app.auth.permissions import Principal
from app.context import AppContext
from app.imports.bulk import Writer
from app.imports.mapping import Mapping, MappingError
from app.imports.readers import Row, read_rows
from app.imports.rejects import Rejects
from app.intake import service as intake
from app.intake.curated import decisions_for
from app.intake.reading import Reader
from app.intake.resolve import Decisions, check_dates
from app.intake.rows import Submission, sha256_of
from app.intake.schemas import ReportIn, first_day
from app.intake.sold_as import sold_as_of
from app.notifications import service as notifications
from app.notifications.evaluation_queue import enqueue_daily
from app.persistence.base import new_id
from app.persistence.models import ImportJob, Report, ReportVersion
from app.problems import FieldError, Problem, from_validation

BATCH = 500
LABELS_KEPT = 500


@dataclass(slots=True)
class Outcome:
    """Counts of a run, and what every label of the file came out as."""

    read: int = 0
    stored: int = 0
    known: int = 0
    rejected: int = 0
    alerts: int = 0
    resolutions: Counter[str] = field(default_factory=Counter)
    unresolved: Counter[str] = field(default_factory=Counter)

    def copy(self) -> Outcome:
        return replace(self, resolutions=Counter(self.resolutions), unresolved=Counter(self.unresolved))


@dataclass(frozen=True, slots=True)
class _Prepared:
    row: Row
    reference: str
    submission: Submission | None
    sha256: str = ""
    errors: tuple[FieldError, ...] = ()


def run_import(
    context: AppContext,
    *,
    path: Path,
    file_format: str,
    mapping: Mapping,
    principal: Principal,
    mode: str,
    rejects: Rejects,
    progress: Callable[[int], None],
    job_id: str | None = None,
) -> Outcome:
    """Import a file. Every row is stored, known already, or refused with a reason.

    `mode`: `live` (receipt now), `historical` (counted, quiet), `replay` (the sample's date is the time of receipt; for
    demonstration installations). Rows are stored in batches of one transaction each; a run that was cut off is simply run again:
    what it stored is known, and counts as stored where it is the same job.
    """
    now = context.now()
    uploaded = job_id is not None
    if job_id is None:
        job_id = new_id()
        with context.database.write() as session:
            session.add(
                ImportJob(
                    id=job_id,
                    org_id=principal.org_id,
                    filename=path.name[:300],
                    file_sha256=_file_hash(path),
                    mapping_sha256=mapping.sha256,
                    mode=mode,
                    state="running",
                    started_at=now,
                    actor=principal.actor,
                )
            )
    run = _Run(context, mapping, principal, mode, job_id, rejects)
    rows = read_rows(path, file_format)
    try:
        if mode == "replay":
            rows = _by_date(rows, mapping)
        while batch := list(islice(rows, BATCH)):
            run.take(batch)
            progress(len(batch))
            context.wake_worker()
        run.end_of_replay()
    except BaseException:
        if not uploaded:  # an uploaded one is taken up again by the worker
            run.note("failed")
        raise
    run.note("done")
    return run.outcome


class _Run:
    """One run over a file, batch by batch."""

    def __init__(
        self, context: AppContext, mapping: Mapping, principal: Principal, mode: str, job_id: str, rejects: Rejects
    ) -> None:
        self.context, self.mapping, self.principal, self.mode = context, mapping, principal, mode
        self.job_id, self.rejects = job_id, rejects
        self.outcome = Outcome()
        self._reader, self._writer = Reader(context.chemistry), Writer(context.chemistry)
        self._sold_as: dict[tuple[str, date], SoldAsFacts | None] = {}
        self._days: set[date] = set()

    def take(self, batch: list[Row]) -> None:
        """Store a batch in one transaction. The refused rows are handed on once it is committed."""
        now = self.context.now()
        prepared = list(self._prepare(batch, now))
        outcome, refused = self.outcome.copy(), list[tuple[Row, tuple[FieldError, ...]]]()
        try:
            with self.context.database.write() as session:
                self._store(session, prepared, outcome, refused, now)
                self.rejects.store(session, self.job_id, refused)
                _note(session, self.job_id, outcome, now, "running")
        except BaseException:
            self._writer.forget()
            raise
        self.outcome = outcome
        for row, errors in refused:
            self.rejects.add(row, errors)

    def note(self, state: str) -> None:
        now = self.context.now()
        with self.context.database.write() as session:
            _note(session, self.job_id, self.outcome, now, state)
            if state == "done" and self.mode == "historical":
                notifications.note_import(session, self.principal, self.job_id, now)

    def end_of_replay(self) -> None:
        """The daily job for each day that something was received on."""
        if not self._days:
            return
        now = self.context.now()
        day, last = min(self._days), max(self._days)
        with self.context.database.write() as session:
            while day <= last:
                enqueue_daily(session, datetime.combine(day + timedelta(days=1), time(3), tzinfo=UTC), now)
                day += timedelta(days=1)

    def _prepare(self, batch: list[Row], now: datetime) -> Iterator[_Prepared]:
        """The rows as submissions, all chemistry done."""
        today = now.date()
        read: list[tuple[Row, dict[str, Any], ReportIn] | _Prepared] = []
        for row in batch:
            if row.error is not None:
                read.append(_Prepared(row, "", None, errors=(FieldError("row", row.error),)))
                continue
            try:
                body = self.mapping.report_of(row.cells)
                report = ReportIn.model_validate(body)
                check_dates(report, today)
            except ValidationError as error:
                read.append(_Prepared(row, "", None, errors=from_validation(error.errors()).errors))
            except Problem as problem:
                read.append(_Prepared(row, "", None, errors=problem.errors or (FieldError("row", problem.detail),)))
            except MappingError as error:
                read.append(_Prepared(row, "", None, errors=(FieldError("mapping", str(error)),)))
            else:
                read.append((row, body, report))
        names = {s.name for item in read if not isinstance(item, _Prepared) for s in item[2].substances if s.structure is None}
        with self.context.database.read() as session:
            decisions = decisions_for(session, self.context.chemistry, names)
        for item in read:
            yield item if isinstance(item, _Prepared) else self._resolved(*item, decisions, now)

    def _resolved(self, row: Row, body: dict[str, Any], report: ReportIn, decisions: Decisions, now: datetime) -> _Prepared:
        country, today = report.sample.country, now.date()
        try:
            found = [self._reader.read(n, source, today, country, decisions) for n, source in enumerate(report.substances)]
        except Problem as problem:
            return _Prepared(row, "", None, errors=problem.errors or (FieldError("row", problem.detail),))
        received = now
        if self.mode == "replay":
            received = datetime.combine(first_day(report.sample.date_sampled), time(12), tzinfo=UTC)
        text = json.dumps(body, ensure_ascii=False)
        submission = Submission(
            report=report,
            body=text,
            resolved=found,
            principal=self.principal,
            received_at=received,
            historical=self.mode == "historical",
            import_id=self.job_id,
            sold_as=None if self.mode == "historical" else self._sold(report.sample.sold_as, today),
        )
        return _Prepared(row, report.lab_reference, submission, sha256_of(text))

    def _sold(self, label: str | None, today: date) -> SoldAsFacts | None:
        if label is None:
            return None
        if (label, today) not in self._sold_as:
            self._sold_as[label, today] = sold_as_of(self.context.chemistry, label, today)
        return self._sold_as[label, today]

    def _store(
        self,
        session: Session,
        prepared: list[_Prepared],
        outcome: Outcome,
        refused: list[tuple[Row, tuple[FieldError, ...]]],
        now: datetime,
    ) -> None:
        references = [p.reference for p in prepared if p.submission is not None]
        rows = session.execute(
            select(Report.lab_reference, ReportVersion.body_sha256, Report.import_id)
            .join(ReportVersion, (ReportVersion.report_id == Report.id) & (ReportVersion.version == 1))
            .where(Report.org_id == self.principal.org_id, Report.lab_reference.in_(references))
        )
        stored = {reference: (sha256, import_id) for reference, sha256, import_id in rows}
        self._writer.begin(session)
        for item in prepared:
            outcome.read += 1
            if item.submission is None:
                outcome.rejected += 1
                refused.append((item.row, item.errors))
                continue
            earlier = stored.get(item.reference)
            if earlier is not None and earlier[0] == item.sha256:
                # what this very job stored before it was cut off is stored by it
                again = earlier[1] == self.job_id
                outcome.stored, outcome.known = outcome.stored + again, outcome.known + (not again)
            elif earlier is not None:
                outcome.rejected += 1
                reason = f"lab_reference {item.reference!r} is stored with other content; correct that report instead"
                refused.append((item.row, (FieldError("/lab_reference", reason),)))
            else:
                stored[item.reference] = (item.sha256, "")
                self._store_one(session, item, outcome, now)
        self._writer.write(session, now)

    def _store_one(self, session: Session, item: _Prepared, outcome: Outcome, now: datetime) -> None:
        assert item.submission is not None
        if self._writer.takes(item.submission):
            self._writer.add(session, item.submission, item.sha256, now)
        else:
            self._writer.write(session, now)  # the rules compare with what came before
            outcome.alerts += len(intake.store(session, self.context.chemistry, item.submission).alerts)
            session.flush()
            self._writer.learn(session, item.submission, now)
            session.expunge_all()
        outcome.stored += 1
        if self.mode == "replay":
            self._days.add(item.submission.received_at.date())
        for substance in item.submission.resolved:
            outcome.resolutions[substance.resolution] += 1
            if substance.resolution == "unresolved":
                outcome.unresolved[substance.label] += 1


def _by_date(rows: Iterator[Row], mapping: Mapping) -> Iterator[Row]:
    """All rows in the order of their sampling, for a replay; unreadable ones first. Holds the file in memory."""

    def when(row: Row) -> str:
        if row.error is not None:
            return ""
        try:
            return str(mapping.sample_of(row.cells).get("date_sampled", ""))
        except MappingError:
            return ""

    return iter(sorted(rows, key=when))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(session: Session, job_id: str, outcome: Outcome, now: datetime, state: str) -> None:
    values: dict[str, Any] = {
        "rows_read": outcome.read,
        "rows_stored": outcome.stored,
        "rows_known": outcome.known,
        "rows_rejected": outcome.rejected,
        "alerts": outcome.alerts,
        "state": state,
        "ended_at": None if state == "running" else now,
    }
    if state == "done":
        values["labels"] = dict(outcome.unresolved.most_common(LABELS_KEPT))
    session.execute(update(ImportJob).where(ImportJob.id == job_id).values(**values))
