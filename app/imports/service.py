"""Running an import: rows to reports in batches, refused rows to a file, the same file again to nothing new."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from itertools import islice
from pathlib import Path

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.context import AppContext
from app.imports.mapping import Mapping, MappingError
from app.imports.readers import Row, read_rows
from app.intake import service as intake
from app.intake.resolve import check_dates, resolve_report
from app.intake.schemas import ReportIn, first_day
from app.intake.sold_as import sold_as_of
from app.persistence.base import new_id
from app.persistence.models import ImportJob, Report, ReportVersion
from app.problems import Problem, from_validation

BATCH = 200


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


@dataclass(frozen=True, slots=True)
class _Prepared:
    row: Row
    reference: str
    submission: intake.Submission | None
    errors: tuple[tuple[str, str], ...] = ()


class RejectFile:
    """Refused rows with their reason, in a CSV that can be mended and sent again. Made with the first refused row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: io.TextIOWrapper | None = None
        self._columns: list[str] = []

    def add(self, row: Row, errors: tuple[tuple[str, str], ...]) -> None:
        if self._file is None:
            self._file = self.path.open("w", encoding="utf-8", newline="")
            self._columns = list(row.cells)
            csv.writer(self._file).writerow([*self._columns, "nps_row", "nps_field", "nps_reason"])
        fields = "; ".join(field for field, _ in errors)
        reasons = "; ".join(reason for _, reason in errors)
        cells = [_harmless(row.cells.get(column, "")) for column in self._columns]
        csv.writer(self._file).writerow([*cells, row.number, fields, reasons])

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _harmless(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return "'" + cell if cell[:1] in ("=", "+", "-", "@", "\t", "\r") and not _is_number(cell) else cell


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def run_import(
    context: AppContext,
    *,
    path: Path,
    file_format: str,
    mapping: Mapping,
    principal: Principal,
    mode: str,
    rejects: RejectFile,
    progress: Callable[[int], None],
) -> Outcome:
    """Import a file. Every row is stored, known already, or written to the reject file with a reason.

    `mode`: `live` (receipt now), `historical` (counted, quiet), `replay` (the sample's date is the time of receipt; for
    demonstration installations). Rows are stored in batches of one transaction each; a run that was cut off is simply run again.
    """
    now = context.now()
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
            )
        )
    outcome = Outcome()
    rows = read_rows(path, file_format)
    try:
        _run_batches(context, rows, mapping, principal, mode, job_id, outcome, rejects, progress)
    except BaseException:
        with context.database.write() as session:
            _note(session, job_id, outcome, context.now(), "failed")
        raise
    with context.database.write() as session:
        _note(session, job_id, outcome, context.now(), "done")
    return outcome


def _run_batches(
    context: AppContext,
    rows: Iterator[Row],
    mapping: Mapping,
    principal: Principal,
    mode: str,
    job_id: str,
    outcome: Outcome,
    rejects: RejectFile,
    progress: Callable[[int], None],
) -> None:
    while batch := list(islice(rows, BATCH)):
        prepared = list(_prepare(context, batch, mapping, principal, mode, job_id))
        with context.database.write() as session:
            _store_batch(session, context, prepared, principal, outcome, rejects)
            _note(session, job_id, outcome, context.now(), "running")
        progress(len(batch))
        context.wake_worker()


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _note(session: Session, job_id: str, outcome: Outcome, now: datetime, state: str) -> None:
    job = session.get_one(ImportJob, job_id)
    job.rows_read, job.rows_stored = outcome.read, outcome.stored
    job.rows_known, job.rows_rejected = outcome.known, outcome.rejected
    job.state = state
    job.ended_at = None if state == "running" else now


def _prepare(
    context: AppContext, batch: list[Row], mapping: Mapping, principal: Principal, mode: str, job_id: str
) -> Iterator[_Prepared]:
    """The rows as submissions, all chemistry done."""
    now = context.now()
    for row in batch:
        if row.error is not None:
            yield _Prepared(row, "", None, (("row", row.error),))
            continue
        try:
            body = mapping.report_of(row.cells)
            report = ReportIn.model_validate(body)
            check_dates(report, now.date())
            received = now
            if mode == "replay":
                received = datetime.combine(first_day(report.sample.date_sampled), time(12), tzinfo=UTC)
            resolved = resolve_report(report, context.chemistry, now.date())
        except ValidationError as error:
            problem = from_validation(error.errors())
            yield _Prepared(row, "", None, tuple((e.pointer, e.detail) for e in problem.errors))
            continue
        except Problem as problem:
            yield _Prepared(row, "", None, tuple((e.pointer, e.detail) for e in problem.errors) or (("row", problem.detail),))
            continue
        except MappingError as error:
            yield _Prepared(row, "", None, (("mapping", str(error)),))
            continue
        submission = intake.Submission(
            report=report,
            body=json.dumps(body, ensure_ascii=False),
            resolved=resolved,
            principal=principal,
            received_at=received,
            historical=mode == "historical",
            import_id=job_id,
            sold_as=None if mode == "historical" else sold_as_of(context.chemistry, report.sample.sold_as, now.date()),
        )
        yield _Prepared(row, report.lab_reference, submission)


def _store_batch(
    session: Session,
    context: AppContext,
    prepared: list[_Prepared],
    principal: Principal,
    outcome: Outcome,
    rejects: RejectFile,
) -> None:
    references = [p.reference for p in prepared if p.submission is not None]
    rows = session.execute(
        select(Report.lab_reference, ReportVersion.body_sha256)
        .join(ReportVersion, (ReportVersion.report_id == Report.id) & (ReportVersion.version == 1))
        .where(Report.org_id == principal.org_id, Report.lab_reference.in_(references))
    )
    stored: dict[str, str] = dict(rows.all())
    for item in prepared:
        outcome.read += 1
        if item.submission is None:
            outcome.rejected += 1
            rejects.add(item.row, item.errors)
            continue
        sha256 = hashlib.sha256(item.submission.body.encode()).hexdigest()
        if stored.get(item.reference) == sha256:
            outcome.known += 1
        elif item.reference in stored:
            outcome.rejected += 1
            reason = f"lab_reference {item.reference!r} is stored with other content; correct that report instead"
            rejects.add(item.row, (("/lab_reference", reason),))
        else:
            stored[item.reference] = sha256
            answer = intake.store(session, context.chemistry, item.submission)
            outcome.stored += 1
            outcome.alerts += len(answer["alerts"])
            for substance in item.submission.resolved:
                outcome.resolutions[substance.resolution] += 1
                if substance.resolution == "unresolved":
                    outcome.unresolved[substance.label] += 1
