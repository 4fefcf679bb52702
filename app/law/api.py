"""`GET /v1/schedules`: instruments, editions and entries, with their verification state."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app.auth.permissions import Action, Principal
from app.context import Context, requires
from app.problems import Problem
from chem.values import to_json

router = APIRouter(prefix="/v1/schedules", tags=["law"])
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
