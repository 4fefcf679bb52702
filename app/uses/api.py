"""Routes of the register of legitimate uses."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from app import idempotency
from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import Context, requires
from app.intake.schemas import WithdrawIn
from app.notifications.cursors import decode_cursor, page
from app.problems import Problem, from_validation
from app.uses import service
from app.uses.schemas import STATES, DecisionIn, UseDoc, UseIn, UsePage

router = APIRouter(prefix="/v1/legitimate-uses", tags=["legitimate uses"])

Declarer = Annotated[Principal, Depends(requires(Action.USE_DECLARE))]
Decider = Annotated[Principal, Depends(requires(Action.USE_DECIDE))]
Reader = Annotated[Principal, Depends(requires(Action.SUBSTANCE_READ))]
IdempotencyKey = Annotated[str | None, Header(alias="Idempotency-Key")]

_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": UseIn.model_json_schema()}}}}


@router.post(
    "",
    status_code=201,
    summary="Declare a legitimate use",
    response_model=None,
    responses={201: {"model": UseDoc}},
    openapi_extra=_BODY,
)
def declare(request: Request, context: Context, principal: Declarer, body: RawBody, key: IdempotencyKey = None) -> Response:
    """Say of a substance that a legitimate use is known, that there is none, or that you could not tell. It waits until an
    analyst confirms it. A second one of the same substance and kind answers 409 while the first is open."""
    try:
        wish = UseIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error
    now = context.now()
    resolved = service.resolve(wish, context.chemistry, now.date(), principal.country)
    text, replayed = idempotency.carry_out(
        context.database, principal, request.url.path, key, body, now,
        lambda session: service.declare(session, context.chemistry, wish, resolved, principal, now),
    )  # fmt: skip
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    return Response(text, status_code=201, media_type="application/json", headers=headers)


@router.get("", summary="Legitimate uses, newest first", response_model=None, responses={200: {"model": UsePage}})
def list_uses(
    context: Context,
    principal: Reader,
    substance: Annotated[str | None, Query(max_length=26)] = None,
    state: Annotated[str | None, Query(max_length=10)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, Any]:
    """Your own in any state, and of other organisations those that are confirmed; analysts see all. The organisation and the
    notes show to it and to analysts alone."""
    if state is not None and state not in STATES:
        raise Problem("bad-request", f"state: one of {', '.join(STATES)}.")
    with context.database.read() as session:
        rows = service.uses(
            session, principal, substances=None if substance is None else [substance], state=state,
            before=decode_cursor(cursor), limit=limit + 1,
        )  # fmt: skip
    return page([service.document(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None)


@router.post("/{use_id}/confirm", summary="Confirm a declaration", response_model=None, responses={200: {"model": UseDoc}})
def confirm(use_id: str, wish: DecisionIn, context: Context, principal: Decider) -> dict[str, Any]:
    """From now on it shows to all who may see the substance, with its source and without the organisation."""
    with context.database.write() as session:
        return service.decide(session, use_id, "confirmed", wish.note, principal, context.now())


@router.post("/{use_id}/refuse", summary="Refuse a declaration", response_model=None, responses={200: {"model": UseDoc}})
def refuse(use_id: str, wish: DecisionIn, context: Context, principal: Decider) -> dict[str, Any]:
    """It shows to nobody but the declaring organisation, with your note, and to analysts."""
    with context.database.write() as session:
        return service.decide(session, use_id, "refused", wish.note, principal, context.now())


@router.post("/{use_id}/withdraw", summary="Take a declaration back", response_model=None, responses={200: {"model": UseDoc}})
def withdraw(use_id: str, wish: WithdrawIn, context: Context, principal: Declarer) -> dict[str, Any]:
    """Nothing is erased: it stays on file, withdrawn, and shows to your organisation and to analysts."""
    with context.database.write() as session:
        return service.withdraw(session, use_id, wish.reason, principal, context.now())
