"""Reports over HTTP (contract, HTTP and A report)."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from app import idempotency
from app.auth.permissions import Action, Principal, Role
from app.body import RawBody, parse_json
from app.context import AppContext, Context, requires
from app.intake import queries, reading, service
from app.intake.curated import decisions_for
from app.intake.present import present_report, present_version
from app.intake.resolve import NO_DECISIONS, check_dates
from app.intake.rows import Submission
from app.intake.schemas import ReportIn, WithdrawIn
from app.intake.sold_as import sold_as_of
from app.intake.vocabularies import vocabularies
from app.observability.metrics import REPORTS
from app.persistence.models import Report, ReportVersion, Substance
from app.persistence.trail import tell
from app.problems import Problem, from_validation
from app.sharing.consent import ConsentIn, consent
from app.sharing.rows import sees_text

router = APIRouter(prefix="/v1", tags=["reports"])

Sender = Annotated[Principal, Depends(requires(Action.REPORT_SEND))]
Corrector = Annotated[Principal, Depends(requires(Action.REPORT_CORRECT))]
Reader = Annotated[Principal, Depends(requires(Action.REPORT_READ))]
AnyKey = Annotated[Principal, Depends(requires(Action.SUBSTANCE_READ))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]

REPORT_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": ReportIn.model_json_schema()}}}}


def read_report(body: bytes) -> ReportIn:
    """The report in a body. Raises Problem: malformed JSON (400) or a field that is not as the contract says (422)."""
    try:
        return ReportIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error


def reader_of(context: AppContext) -> reading.Reader:
    """The reader of this process, made with the first report."""
    if context.reader is None:
        context.reader = reading.Reader(context.chemistry)
    reader: reading.Reader = context.reader
    return reader


def submission_of(context: AppContext, principal: Principal, body: bytes) -> Submission:
    """The report in a body with all chemistry done. Raises Problem where it is refused."""
    report = read_report(body)
    now = context.now()
    check_dates(report, now.date())
    named = [substance.name for substance in report.substances if substance.structure is None and substance.name]
    decisions = NO_DECISIONS
    if named:
        with context.database.read() as session:
            decisions = decisions_for(session, context.chemistry, named)
    resolved = reader_of(context).report(report.substances, now.date(), report.sample.country, decisions)
    return Submission(
        report=report,
        body=body.decode("utf-8"),
        resolved=resolved,
        principal=principal,
        received_at=now,
        sold_as=sold_as_of(context.chemistry, report.sample.sold_as, now.date()),
    )


def _json(status: int, text: str, **headers: str) -> Response:
    return Response(text, status_code=status, media_type="application/json", headers=headers)


def _told(kind: str, stored: service.Stored) -> None:
    REPORTS.labels(kind).inc()
    tell(report=stored.id, alerts=stored.alerts)


class _DryRun(Exception):
    """Ends the transaction of a dry run without committing it."""


DRY: dict[int | str, dict[str, Any]] = {200: {"description": "The answer of a dry run; nothing was stored"}}


@router.post("/reports", status_code=201, summary="Send one report", openapi_extra=REPORT_BODY, responses=DRY)
def post_report(
    request: Request,
    context: Context,
    principal: Sender,
    body: RawBody,
    key: IdempotencyKey = None,
    dry_run: Annotated[bool, Query(description="The full answer, with nothing stored")] = False,
) -> Response:
    """Store a report and answer at once what it means: identity, legal status, first detections, alerts raised.

    All chemistry is done before the transaction opens. A 201 means that the report, its alerts and the tasks that carry them are
    committed and on disk.
    """
    key = idempotency.check_key(key)
    body_digest = idempotency.digest(body)
    path = request.url.path
    if key is not None and not dry_run:
        with context.database.read() as session:
            known = idempotency.stored_answer(session, principal, path, key, body_digest)
        if known is not None:
            return _json(known[0], known[1], **{"Idempotent-Replayed": "true"})
    submission = submission_of(context, principal, body)
    text = ""
    try:
        with context.database.write() as session:
            if key is not None and not dry_run:
                known = idempotency.stored_answer(session, principal, path, key, body_digest)
                if known is not None:
                    return _json(known[0], known[1], **{"Idempotent-Replayed": "true"})
            stored = service.store(session, context.chemistry, submission)
            text = stored.answer
            if dry_run:
                raise _DryRun
            if key is not None:
                idempotency.remember(session, principal, path, key, body_digest, 201, text, submission.received_at)
    except _DryRun:
        return _json(200, json.dumps(_dry(context, json.loads(text)), ensure_ascii=False))
    except IntegrityError as error:
        return _after_race(context, principal, submission, path, key, body_digest, error)
    context.wake_worker()
    _told("created", stored)
    return _json(201, text, ETag='"1"', Location=f"/v1/reports/{stored.id}")


def _dry(context: AppContext, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer of a dry run: without ids of what was not kept."""
    ids = [found["substance_id"] for found in answer["substances"]]
    with context.database.read() as session:
        kept = set(session.scalars(select(Substance.id).where(Substance.id.in_(ids))))
    for found in answer["substances"]:
        found["substance_id"] = found["substance_id"] if found["substance_id"] in kept else None
    return {**answer, "id": None, "alerts": [], "dry_run": True}


def _after_race(
    context: AppContext,
    principal: Principal,
    submission: Submission,
    path: str,
    key: str | None,
    body_digest: str,
    error: IntegrityError,
) -> Response:
    """Another request with the same key or reference committed first: answer as if this one had come second."""
    with context.database.read() as session:
        if key is not None:
            known = idempotency.stored_answer(session, principal, path, key, body_digest)
            if known is not None:
                return _json(known[0], known[1], **{"Idempotent-Replayed": "true"})
        existing = session.scalar(
            select(Report.id).where(Report.org_id == principal.org_id, Report.lab_reference == submission.report.lab_reference)
        )
    if existing is None:
        raise error
    raise Problem(
        "duplicate-reference", f"lab_reference {submission.report.lab_reference!r} is report {existing}.", report_id=existing
    )


@router.get("/reports", summary="List reports, newest first")
def list_reports(
    context: Context,
    principal: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    """A laboratory's own reports; for other roles those they may see."""
    with context.database.read() as session:
        found = queries.list_reports(session, principal, own=principal.role is Role.LAB, before=cursor, limit=limit + 1)
        ids = [report.id for report in found[:limit]]
        cases, routes = queries.open_cases(session, principal, ids), queries.routes_open_to(session, principal, ids)
        items = [present_report(report, principal, cases, routes) for report in found[:limit]]
    return {"items": items, "next_cursor": found[limit - 1].id if len(found) > limit else None}


@router.get("/reports/{report_id}", summary="One report")
def get_report(report_id: str, context: Context, principal: Reader) -> Response:
    with context.database.read() as session:
        report = queries.report_with_rows(session, report_id, principal)
        if report is None:
            raise Problem("not-found", f"There is no report {report_id}, or this key may not see it.")
        cases, routes = (look(session, principal, [report.id]) for look in (queries.open_cases, queries.routes_open_to))
        shown = present_report(report, principal, cases, routes)
    return JSONResponse(shown, headers={"ETag": f'"{shown["version"]}"'})


@router.get("/reports/{report_id}/versions", summary="Every version of a report, as it was sent")
def get_versions(report_id: str, context: Context, principal: Reader) -> dict[str, Any]:
    """Oldest first, with kind (`created`, `corrected`, `curated`, `withdrawn`), reason and the very text. The laboratory's own
    reports, and for the authority of the country."""
    with context.database.read() as session:
        report = queries.report_with_rows(session, report_id, principal)
        if report is None or not sees_text(principal, org_id=report.org_id, country=report.country):
            raise Problem("not-found", f"There is no report {report_id}, or this key may not see its history.")
        rows = session.scalars(
            select(ReportVersion).where(ReportVersion.report_id == report_id).order_by(ReportVersion.version)
        ).all()
        return {"items": [present_version(row) for row in rows], "next_cursor": None}


def _own(session: Any, report_id: str, principal: Principal) -> Report:
    report: Report | None = session.scalar(
        select(Report).where(Report.id == report_id, Report.org_id == principal.org_id).with_for_update()
    )
    if report is None:
        raise Problem("not-found", f"There is no report {report_id} of this laboratory.")
    return report


def _check_version(report: Report, if_match: str | None) -> None:
    if if_match is None:
        raise Problem(
            "precondition-required", f"Send If-Match with the version that you correct; it is at version {report.version}."
        )
    if if_match.strip().strip('"').removeprefix('W/"') != str(report.version):
        raise Problem("stale-version", f"The report is at version {report.version}; If-Match says {if_match}.")


@router.put("/reports/{report_id}", summary="Correct a report", openapi_extra=REPORT_BODY)
def put_report(
    report_id: str,
    context: Context,
    principal: Corrector,
    body: RawBody,
    if_match: Annotated[str | None, Header(alias="If-Match")] = None,
) -> Response:
    """The next version of a report. The earlier ones are kept; alerts that cite it are updated or retracted."""
    with context.database.read() as session:
        existing = session.scalar(select(Report).where(Report.id == report_id, Report.org_id == principal.org_id))
        if existing is None:
            raise Problem("not-found", f"There is no report {report_id} of this laboratory.")
        _check_version(existing, if_match)
    submission = submission_of(context, principal, body)
    with context.database.write() as session:
        report = _own(session, report_id, principal)
        _check_version(report, if_match)
        stored = service.correct(session, context.chemistry, submission, report)
    context.wake_worker()
    _told("corrected", stored)
    return _json(200, stored.answer, ETag=f'"{stored.version}"')


@router.post("/reports/{report_id}/withdraw", summary="Withdraw a report")
def withdraw_report(report_id: str, context: Context, principal: Corrector, body: RawBody) -> dict[str, Any]:
    """Take a report back, with a reason. Nothing is erased; alerts that rest on it are updated or retracted."""
    try:
        wanted = WithdrawIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error
    with context.database.write() as session:
        report = _own(session, report_id, principal)
        answer = service.withdraw(session, report, reason=wanted.reason, principal=principal, now=context.now())
    context.wake_worker()
    REPORTS.labels("withdrawn").inc()
    tell(report=report_id)
    return answer


@router.post("/reports/{report_id}/consent", status_code=201, summary="Agree to a lower label for what rests on a report")
def consent_to_label(report_id: str, wish: ConsentIn, context: Context, principal: Corrector) -> dict[str, Any]:
    """The sender's consent that alerts which cite the report may carry `tlp`. The report keeps its own label; the consent is
    recorded and cannot be taken back. An analyst then lowers the alert with POST /v1/alerts/{id}/label.
    """
    with context.database.write() as session:
        report = _own(session, report_id, principal)
        row = consent(session, report, wish.tlp, wish.note, principal, context.now())
        return {"report": report.id, "tlp": row.tlp, "at": row.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


@router.get("/vocabularies", summary="Every controlled vocabulary, with its version", tags=["vocabularies"])
def get_vocabularies(principal: AnyKey) -> dict[str, Any]:
    return vocabularies()
