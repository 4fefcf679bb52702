"""`/v1/schedules`: instruments, editions and entries, with their verification state; a new edition by an administrator."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response

from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import AppContext, Context, requires
from app.law.loaded import EditionError, EditionTaken, Prepared, difference, keep, prepare, refresh
from app.law.rescreen import progress_of, stale
from app.problems import FieldError, Problem
from app.substances.queries import existing_substances
from chem.editions import EDITION_FORMAT
from chem.values import to_json

router = APIRouter(prefix="/v1/schedules", tags=["law"])
Editor = Annotated[Principal, Depends(requires(Action.SCHEDULE_WRITE))]
Reader = Annotated[Principal, Depends(requires(Action.SCHEDULE_READ))]


@router.get("", summary="The instruments and their editions")
def list_instruments(context: Context, principal: Reader) -> dict[str, Any]:
    return {"items": to_json(context.chemistry.engine.instruments()), "next_cursor": None}


@router.get("/{instrument}", summary="The entries of an instrument on a date")
def show_instrument(
    instrument: str, context: Context, principal: Reader, as_of: Annotated[date | None, Query()] = None
) -> dict[str, Any]:
    """Every entry known on the date, with dates, source and how its text was verified."""
    engine = context.chemistry.engine
    info = next((i for i in engine.instruments() if i.id == instrument), None)
    if info is None:
        raise Problem("not-found", f"There is no instrument {instrument!r}; GET /v1/schedules lists them.")
    day = as_of or context.now().date()
    coverage = context.chemistry.coverage(day, [instrument])
    return {
        "instrument": to_json(info),
        "as_of": day.isoformat(),
        "coverage": to_json(coverage[0]) if coverage else None,
        "entries": to_json(engine.entries(instrument, as_of=day)),
    }


_LOADING = f"""With `dry_run` nothing is stored: the answer is the difference, with the stored substances whose verdict it
changes, old and new, over those that this key may see. Loading makes every process use it within seconds and matches everything
stored again in the background; answers for dates before the edition stay what they were.

```
{EDITION_FORMAT}```"""
_EXAMPLE = {
    "instrument": "UN-1961",
    "edition": {"id": "2027-03 (CND 70)", "from": "2027-03-20", "source": "CND decision 70/1"},
    "add": [{"name": "Example", "schedule": "I", "smiles": "CCO", "text_status": "read", "source": "CND decision 70/1"}],
    "end": [{"name": "Other example", "schedule": "II", "until": "2027-03-19", "source": "CND decision 70/2"}],
}


@router.post(
    "/{instrument}/editions",
    status_code=201,
    summary="Load an edition, or see what it would change",
    description=_LOADING,
    responses={
        200: {"description": "The difference; nothing was stored"},
        409: {"description": "Loaded before, or at the same moment"},
    },
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object", "example": _EXAMPLE}}}}
    },
)  # fmt: skip
def load_edition(
    instrument: str, context: Context, principal: Editor, body: RawBody, response: Response, dry_run: bool = False
) -> dict[str, Any]:
    document = parse_json(body)
    if isinstance(document, dict) and document.get("instrument") != instrument:
        detail = f"The document is of {document.get('instrument')!r}, the address of {instrument!r}."
        raise Problem("validation", detail, errors=[FieldError("/instrument", detail)])
    refresh(context)
    try:
        with context.database.read() as session:
            prepared = prepare(session, document)
            found = difference(
                session, context.chemistry.engine, prepared,
                today=context.now().date(), visible=existing_substances(principal),
            )  # fmt: skip
        if not dry_run:
            _load(context, prepared, principal.actor)
    except EditionError as error:
        raise Problem("validation", str(error), errors=[FieldError("", str(error))]) from error
    except EditionTaken as error:
        raise Problem("conflict", f"{str(error)[:1].upper()}{str(error)[1:]}.") from error
    if dry_run:
        response.status_code = 200
    return {"stored": not dry_run, "difference": found.document()}


def _load(context: AppContext, prepared: Prepared, actor: str) -> None:
    with context.database.write() as session:
        keep(session, prepared, actor=actor, now=context.now())
    refresh(context)
    context.wake_worker()


@router.get("/{instrument}/editions", summary="The editions of an instrument, and how far the stored substances follow")
def list_editions(instrument: str, context: Context, principal: Reader) -> dict[str, Any]:
    info = next((i for i in context.chemistry.engine.instruments() if i.id == instrument), None)
    if info is None:
        raise Problem("not-found", f"There is no instrument {instrument!r}; GET /v1/schedules lists them.")
    with context.database.read() as session:
        progress = progress_of(session)
        behind = stale(session, context.chemistry.version)
    return {
        "items": to_json(info.editions),
        "next_cursor": None,
        "engine_version": context.chemistry.version,
        "substances_behind": behind,
        "rescreen": to_json(progress) if progress is not None else None,
    }
