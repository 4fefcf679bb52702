"""Uploaded files: kept in the tables with the answer 202, run by the worker as a task, resumable wherever that was cut off."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem, keeper
from app.auth import accounts
from app.auth.permissions import Principal
from app.context import AppContext
from app.imports.mapping import MappingError, parse_mapping
from app.imports.readers import FileError, read_rows
from app.imports.rejects import StoredRejects
from app.imports.service import run_import
from app.imports.suggest import Proposal, suggest_mapping
from app.persistence.base import new_id
from app.persistence.models import ImportChunk, ImportJob, Organisation, Task
from app.persistence.tasks import insert_once, task_values
from app.persistence.trail import Trace, tracing

log = logging.getLogger("nps.imports")

CHUNK = 1 << 20
ENDINGS = {"csv": ".csv", "xlsx": ".xlsx", "ndjson": ".ndjson", "sdf": ".sdf"}
MODES = ("live", "historical", "replay")
# a draft has a file and a proposed mapping, and waits for a person to read it
UNFINISHED = ("draft", "waiting", "running")


class Interrupted(Exception):
    """The run is to be taken up again: the service stops, or another worker has taken it over."""


def keep_file(
    session: Session,
    principal: Principal,
    *,
    filename: str,
    file: BinaryIO,
    file_format: str,
    mapping: str | None,
    mode: str,
    context: AppContext,
) -> ImportJob:
    """Keep an uploaded file in pieces, as a draft; gives its job. Nothing is imported before `start`."""
    now = context.now()
    digest = hashlib.sha256()
    job = ImportJob(
        id=new_id(), org_id=principal.org_id, filename=(Path(filename).name or "file")[:300], file_sha256="", mapping_sha256="",
        mode=mode, state="draft", started_at=now, mapping=mapping, file_format=file_format, actor=principal.actor,
    )  # fmt: skip
    session.add(job)
    session.flush()
    for n, piece in enumerate(iter(lambda: file.read(CHUNK), b"")):
        digest.update(piece)
        session.execute(ImportChunk.__table__.insert(), [{"import_id": job.id, "n": n, "content": piece}])  # type: ignore[attr-defined]
    job.file_sha256 = digest.hexdigest()
    return job


def start(session: Session, job: ImportJob, *, mapping: str, mode: str, context: AppContext) -> None:
    """Let the worker import a draft with this mapping. Raises MappingError where it cannot be used."""
    parsed = parse_mapping(mapping)
    job.mapping, job.mapping_sha256, job.mode, job.state = mapping, parsed.sha256, mode, "waiting"
    now = context.now()
    insert_once(
        session, Task, task_values(topic="import", key=job.id, lane="import", priority=0, payload={"import": job.id}, now=now)
    )


def copy_to(context: AppContext, job_id: str, folder: Path, file_format: str) -> Path:
    """The file of a job in a folder, written piece by piece."""
    path = folder / f"{job_id}{ENDINGS[file_format]}"
    with path.open("wb") as out:
        for piece in _pieces(context, job_id):
            out.write(piece)
    return path


def _pieces(context: AppContext, job_id: str) -> Iterator[bytes]:
    n = 0
    while True:
        with context.database.read() as session:
            piece = session.scalar(select(ImportChunk.content).where(ImportChunk.import_id == job_id, ImportChunk.n == n))
        if piece is None:
            return
        yield piece
        n += 1


def proposal_for(context: AppContext, job_id: str, file_format: str, country: str) -> Proposal:
    """A mapping proposed for a kept file. Raises FileError where it cannot be read or holds no row."""
    with tempfile.TemporaryDirectory(prefix="nps-import-") as folder:
        path = copy_to(context, job_id, Path(folder), file_format)
        try:
            return suggest_mapping(read_rows(path, file_format), country=country)
        except ValueError as error:
            raise FileError(str(error)) from error


def import_handler(
    context: AppContext, renew: Callable[[TaskItem], bool], stopping: Callable[[], bool] = lambda: False
) -> Callable[[TaskItem], Result]:
    """The handler of the topic `import`. A run that is cut off is taken up again; what it stored is known by then."""

    def handle(task: TaskItem) -> Result:
        job_id = str(task.payload["import"])
        held = keeper(task, renew)

        def progress(_: int) -> None:
            if stopping():
                raise Interrupted("the service was stopped")
            if not held():
                raise Interrupted("the lease was lost")

        folder = Path(tempfile.mkdtemp(prefix="nps-import-"))
        try:
            _run(context, job_id, folder, progress)
        except Interrupted as reason:
            return Result(outcome="failed", error=str(reason))
        except (FileError, MappingError) as error:
            _fail(context, job_id, str(error))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return DONE

    return handle


def _run(context: AppContext, job_id: str, folder: Path, progress: Callable[[int], None]) -> None:
    with context.database.read() as session:
        job = session.get_one(ImportJob, job_id)
        if job.state in ("done", "failed") or job.mapping is None or job.file_format is None:
            return
        organisation = session.get_one(Organisation, job.org_id)
        principal = accounts.principal_of(organisation, "lab", job.actor or "import")
    with tracing(Trace(request_id=job_id, actor=principal.actor, org_id=principal.org_id, door="task import")):
        _import(context, job, principal, folder, progress)


def _import(context: AppContext, job: ImportJob, principal: Principal, folder: Path, progress: Callable[[int], None]) -> None:
    job_id = job.id
    assert job.file_format is not None
    assert job.mapping is not None
    path = copy_to(context, job_id, folder, job.file_format)
    total = _count(path, job.file_format)
    with context.database.write() as session:
        session.execute(update(ImportJob).where(ImportJob.id == job_id).values(state="running", rows_total=total))
    run_import(
        context, path=path, file_format=job.file_format, mapping=parse_mapping(job.mapping), principal=principal, mode=job.mode,
        rejects=StoredRejects(), progress=progress, job_id=job_id,
    )  # fmt: skip
    with context.database.write() as session:
        session.execute(delete(ImportChunk).where(ImportChunk.import_id == job_id))


def _count(path: Path, file_format: str) -> int | None:
    """Rows of the file, for the progress; None where only reading it would tell."""
    return None if file_format == "xlsx" else sum(1 for _ in read_rows(path, file_format))


def _fail(context: AppContext, job_id: str, error: str) -> None:
    log.warning("import %s cannot be read: %s", job_id, error)
    with context.database.write() as session:
        session.execute(
            update(ImportJob).where(ImportJob.id == job_id).values(state="failed", error=error[:2000], ended_at=context.now())
        )
        session.execute(delete(ImportChunk).where(ImportChunk.import_id == job_id))


def own_job(session: Session, job_id: str, principal: Principal) -> ImportJob | None:
    """The import of this organisation, or None."""
    return session.scalar(select(ImportJob).where(ImportJob.id == job_id, ImportJob.org_id == principal.org_id))


def jobs_of(session: Session, principal: Principal, *, before: str | None, limit: int) -> list[ImportJob]:
    """The organisation's imports, newest first."""
    query = select(ImportJob).where(ImportJob.org_id == principal.org_id)
    if before is not None:
        query = query.where(ImportJob.id < before)
    return list(session.scalars(query.order_by(ImportJob.id.desc()).limit(limit)))


def present(job: ImportJob) -> dict[str, Any]:
    """A job as JSON: its state, counts and, once done, the labels that did not resolve."""
    return {
        "id": job.id,
        "state": job.state,
        "filename": job.filename,
        "file_sha256": job.file_sha256,
        "format": job.file_format,
        "mode": job.mode,
        "rows": {
            "total": job.rows_total,
            "read": job.rows_read,
            "stored": job.rows_stored,
            "known": job.rows_known,
            "rejected": job.rows_rejected,
        },
        "alerts": job.alerts or 0,
        "labels_unresolved": job.labels or {},
        "error": job.error,
        "started_at": _time(job.started_at),
        "ended_at": _time(job.ended_at) if job.ended_at else None,
    }


def _time(moment: Any) -> str:
    return str(moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"))
