"""Bulk intake over HTTP: a file and a mapping are taken with 202 and run in the background; refused rows come back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, File, Form, Query, UploadFile
from fastapi.responses import JSONResponse, Response, StreamingResponse

from app.auth.permissions import Action, Principal
from app.context import AppContext, Context, requires
from app.imports import jobs
from app.imports.mapping import MappingError
from app.imports.readers import FileError, format_of_name
from app.imports.rejects import as_csv, as_json, rejects_of
from app.installation import is_demonstration
from app.persistence.models import ImportJob
from app.problems import FieldError, Problem

router = APIRouter(prefix="/v1/imports", tags=["imports"])
Importer = Annotated[Principal, Depends(requires(Action.IMPORT))]
MAX_MAPPING = 200_000


def field_problem(pointer: str, detail: str) -> Problem:
    return Problem("validation", f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


def chosen_format(name: str | None, given: str | None) -> str:
    """The format that was given, or the one of the ending. Raises a validation Problem where neither says."""
    if given:
        return given
    try:
        return format_of_name(name or "")
    except FileError as error:
        raise field_problem("/file", str(error)) from error


def check_mode(context: AppContext, mode: str) -> None:
    """Raises a validation Problem for a replay on an installation that is no demonstration."""
    if mode != "replay":
        return
    with context.database.read() as session:
        if not is_demonstration(session):
            raise field_problem("/mode", "replay is for an installation marked as demonstration.")


@router.post("", status_code=202, summary="Send a file")
def post_import(
    context: Context,
    principal: Importer,
    file: Annotated[UploadFile, File(description="CSV, XLSX, NDJSON or SDF, at most 200 MB")],
    mapping: Annotated[
        str,
        Form(max_length=MAX_MAPPING, description="The mapping as TOML. Leave it out to be proposed one: the answer is a draft"),
    ] = "",
    mode: Annotated[Literal["live", "historical", "replay"], Form()] = "live",
    file_format: Annotated[Literal["csv", "xlsx", "ndjson", "sdf"] | None, Form(alias="format")] = None,
) -> Response:
    """The file is kept with the 202 and imported by the worker: follow `GET /v1/imports/{id}`. Every row is stored, known
    already, or refused with a reason; the same file again stores nothing twice. With `historical` rows are counted and raise
    nothing. Without a mapping the answer holds a proposed one and nothing is imported until it is sent to `/start`."""
    kind = chosen_format(file.filename, file_format)
    check_mode(context, mode)
    with context.database.write() as session:
        job = jobs.keep_file(
            session, principal, filename=file.filename or "file", file=file.file, file_format=kind, mapping=None, mode=mode,
            context=context,
        )  # fmt: skip
        if mapping:
            _start(session, job, mapping, mode, context)
        shown = jobs.present(job)
    if mapping:
        context.wake_worker()
    else:
        shown |= _proposed(context, principal, shown["id"], kind)
    return JSONResponse(shown, status_code=202, headers={"Location": f"/v1/imports/{shown['id']}"})


def _start(session: Any, job: ImportJob, mapping: str, mode: str, context: AppContext) -> None:
    try:
        jobs.start(session, job, mapping=mapping, mode=mode, context=context)
    except MappingError as error:
        raise field_problem("/mapping", str(error)) from error


def _proposed(context: AppContext, principal: Principal, job_id: str, kind: str) -> dict[str, Any]:
    try:
        proposal = jobs.proposal_for(context, job_id, kind, principal.country)
    except FileError as error:
        raise field_problem("/file", str(error)) from error
    return {"mapping": proposal.toml, "open_questions": proposal.open_questions}


@router.post("/{import_id}/start", status_code=202, summary="Import a draft with a mapping")
def post_start(
    import_id: str,
    context: Context,
    principal: Importer,
    mapping: Annotated[str, Form(min_length=1, max_length=MAX_MAPPING)],
    mode: Annotated[Literal["live", "historical", "replay"], Form()] = "live",
) -> Response:
    """For a file that was sent without a mapping: the proposal, read and mended."""
    check_mode(context, mode)
    with context.database.write() as session:
        job = _own(session, import_id, principal)
        if job.state != "draft":
            raise Problem("conflict", f"The import is {job.state}.")
        _start(session, job, mapping, mode, context)
        shown = jobs.present(job)
    context.wake_worker()
    return JSONResponse(shown, status_code=202)


def _own(session: Any, import_id: str, principal: Principal) -> ImportJob:
    job = jobs.own_job(session, import_id, principal)
    if job is None:
        raise Problem("not-found", f"There is no import {import_id} of this laboratory.")
    return job


@router.get("", summary="Imports, newest first")
def list_imports(
    context: Context,
    principal: Importer,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    with context.database.read() as session:
        found = jobs.jobs_of(session, principal, before=cursor, limit=limit + 1)
    next_cursor = found[limit - 1].id if len(found) > limit else None
    return {"items": [jobs.present(job) for job in found[:limit]], "next_cursor": next_cursor}


@router.get("/{import_id}", summary="State and counts of an import")
def get_import(import_id: str, context: Context, principal: Importer) -> dict[str, Any]:
    """`draft`, `waiting`, `running`, `done` or `failed`; `rows.total` is null where only reading the file would tell."""
    with context.database.read() as session:
        return jobs.present(_own(session, import_id, principal))


@router.get(
    "/{import_id}/rejects",
    summary="Refused rows, as a file to mend",
    responses={200: {"content": {"text/csv": {}, "application/json": {}}, "description": "CSV by default"}},
)
def get_rejects(
    import_id: str,
    context: Context,
    principal: Importer,
    output: Annotated[Literal["csv", "json"], Query(alias="format")] = "csv",
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows of a page of JSON")] = 200,
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The columns of the file as they were, then row number, field, column, reason and suggestion. Mended, it is sent to
    `POST /v1/imports` like any file: the columns that were added are ignored by the mapping."""
    with context.database.read() as session:
        job = _own(session, import_id, principal)
        if output == "json":
            found = rejects_of(session, import_id, after=cursor, limit=limit + 1)
            next_cursor = found[limit - 1].number if len(found) > limit else None
            return JSONResponse({"items": [as_json(row) for row in found[:limit]], "next_cursor": next_cursor})
    return reject_file(context, job)


def reject_file(context: AppContext, job: ImportJob) -> Response:
    """The refused rows of a job as CSV, streamed."""

    def rows() -> Any:
        last = 0
        while True:
            with context.database.read() as session:
                part = rejects_of(session, job.id, after=last)
            if not part:
                return
            yield from part
            last = part[-1].number

    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in job.filename)[:100]
    disposition = f'attachment; filename="{name}.rejects.csv"'
    return StreamingResponse(as_csv(rows()), media_type="text/csv; charset=utf-8", headers={"Content-Disposition": disposition})
