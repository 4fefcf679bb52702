"""Activity reports, aggregate reports and incidents over HTTP. None of them is ever counted as a detection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from sqlalchemy.orm import Session

from app import idempotency
from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import AppContext, Context, requires
from app.intake.schemas import WithdrawIn
from app.persistence.models import ActivityReport, AggregateReport, Incident
from app.problems import from_validation
from app.statements import service
from app.statements.schemas import ActivityIn, AggregateIn, IncidentIn

router = APIRouter(prefix="/v1", tags=["statements"])

ActivitySender = Annotated[Principal, Depends(requires(Action.ACTIVITY_SEND))]
ActivityReader = Annotated[Principal, Depends(requires(Action.ACTIVITY_READ))]
IncidentSender = Annotated[Principal, Depends(requires(Action.INCIDENT_SEND))]
IncidentReader = Annotated[Principal, Depends(requires(Action.INCIDENT_READ))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]
Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=26)]
M = TypeVar("M", bound=BaseModel)
R = TypeVar("R", ActivityReport, AggregateReport, Incident)


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}}


def _read(model: type[M], body: bytes) -> M:
    try:
        return model.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error


def _answer(
    request: Request,
    context: AppContext,
    principal: Principal,
    key: str | None,
    body: bytes,
    work: Callable[[Session], dict[str, Any]],
) -> Response:
    text, replayed = idempotency.carry_out(context.database, principal, request.url.path, key, body, context.now(), work)
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(text, status_code=201, media_type="application/json", headers=headers)


@router.post("/activity-reports", status_code=201, summary="Tests done in a period", openapi_extra=_body_of(ActivityIn))
def post_activity(
    request: Request, context: Context, principal: ActivitySender, body: RawBody, key: IdempotencyKey = None
) -> Response:
    """The denominator of prevalence: how many samples were tested in a month, quarter or year. A second statement on the same
    time and context is refused (409) unless it names in `replaces` the one it corrects, which is kept."""
    given = _read(ActivityIn, body)
    now = context.now()
    service.check_period(given.period, now.date())
    return _answer(
        request, context, principal, key, body, lambda s: service.store_activity(s, given, body.decode(), principal, now)
    )


@router.post("/aggregate-reports", status_code=201, summary="Totals of a country and period", openapi_extra=_body_of(AggregateIn))
def post_aggregate(
    request: Request, context: Context, principal: ActivitySender, body: RawBody, key: IdempotencyKey = None
) -> Response:
    """Totals by substance without single events. They stand beside the counts of detections and never enter them."""
    given = _read(AggregateIn, body)
    now = context.now()
    service.check_period(given.period, now.date())
    resolved = service.resolve(given.substances, context.chemistry, now.date(), given.country or principal.country)
    return _answer(
        request,
        context,
        principal,
        key,
        body,
        lambda s: service.store_aggregate(s, context.chemistry, given, resolved, body.decode(), principal, now),
    )


@router.post("/incidents", status_code=201, summary="An event of supply", openapi_extra=_body_of(IncidentIn))
def post_incident(
    request: Request, context: Context, principal: IncidentSender, body: RawBody, key: IdempotencyKey = None
) -> Response:
    """A seizure without a laboratory result, a stopped shipment, a suspicious order. Industry partners send `suspicious_order`,
    `theft` and `stopped_shipment`. Readable by the sender and the authority of the country; never counted as a detection."""
    given = _read(IncidentIn, body)
    now = context.now()
    resolved = service.resolve(given.substances, context.chemistry, now.date(), given.country or principal.country)
    return _answer(
        request,
        context,
        principal,
        key,
        body,
        lambda s: service.store_incident(s, context.chemistry, given, resolved, body.decode(), principal, now),
    )


@router.get("/activity-reports", summary="Tests done, newest first")
def list_activity(context: Context, principal: ActivityReader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Those this key may see; replaced and withdrawn ones included, with their state."""
    with context.database.read() as session:
        return service.page_of(
            session, ActivityReport, service.readable(ActivityReport, principal), principal, service.present_activity,
            before=cursor, limit=limit,
        )  # fmt: skip


@router.get("/aggregate-reports", summary="Totals, newest first")
def list_aggregates(context: Context, principal: ActivityReader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    with context.database.read() as session:
        return service.page_of(
            session, AggregateReport, service.readable(AggregateReport, principal), principal, service.present_aggregate,
            before=cursor, limit=limit,
        )  # fmt: skip


@router.get("/incidents", summary="Incidents, newest first")
def list_incidents(context: Context, principal: IncidentReader, limit: Limit = 50, cursor: Cursor = None) -> dict[str, Any]:
    """Own ones; an authority also those of its country; an analyst all, without route and free text."""
    with context.database.read() as session:
        return service.page_of(
            session, Incident, service.readable_incidents(principal), principal, service.present_incident,
            before=cursor, limit=limit,
        )  # fmt: skip


def _withdraw(
    context: AppContext,
    principal: Principal,
    body: bytes,
    model: type[R],
    row_id: str,
) -> dict[str, Any]:
    wanted = _read(WithdrawIn, body)
    with context.database.write() as session:
        return service.withdraw(session, model, row_id, wanted.reason, principal, context.now())


@router.post("/activity-reports/{row_id}/withdraw", summary="Take tests done back", openapi_extra=_body_of(WithdrawIn))
def withdraw_activity(row_id: str, context: Context, principal: ActivitySender, body: RawBody) -> dict[str, Any]:
    """Nothing is erased: the statement stays, withdrawn, with the reason."""
    return _withdraw(context, principal, body, ActivityReport, row_id)


@router.post("/aggregate-reports/{row_id}/withdraw", summary="Take totals back", openapi_extra=_body_of(WithdrawIn))
def withdraw_aggregate(row_id: str, context: Context, principal: ActivitySender, body: RawBody) -> dict[str, Any]:
    return _withdraw(context, principal, body, AggregateReport, row_id)


@router.post("/incidents/{row_id}/withdraw", summary="Take an incident back", openapi_extra=_body_of(WithdrawIn))
def withdraw_incident(row_id: str, context: Context, principal: IncidentSender, body: RawBody) -> dict[str, Any]:
    return _withdraw(context, principal, body, Incident, row_id)
