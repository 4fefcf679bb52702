"""The audit log over HTTP, for the operator."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query

from app.audit.seals import entry_document
from app.audit.search import TABLES, Asked, found
from app.auth.permissions import Action, Principal
from app.context import Context, requires
from app.problems import FieldError, Problem

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit", summary="Who wrote what, and who read a case or an AMBER row, newest first")
def list_audit(
    context: Context,
    principal: Annotated[Principal, Depends(requires(Action.AUDIT_READ))],
    actor: Annotated[str, Query(max_length=80, description="`key:ID`, `person:ID` or `cli:USER`, or the id alone")] = "",
    org: Annotated[str, Query(max_length=26)] = "",
    action: Annotated[Literal["", "read", "created", "changed", "deleted"], Query(description="What was done")] = "",
    table: Annotated[str, Query(max_length=40, description="The kind of row, for example `report`")] = "",
    about: Annotated[str, Query(max_length=80, description="The id of a row or of a request")] = "",
    since: Annotated[date | None, Query(description="The first day, UTC")] = None,
    until: Annotated[date | None, Query(description="The last day, UTC")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    """Tables and ids only, never content. `nps audit verify` proves the log, `nps audit export` gives all of it and its seals."""
    if table and table not in TABLES:
        detail = f"{table!r} is no kind of row that the trail tells of."
        raise Problem("validation", f"/table: {detail}", errors=[FieldError("/table", detail)])
    asked = Asked(actor=actor, org=org, action=action, table=table, about=about, since=since, until=until)
    with context.database.read() as session:
        rows, following = found(session, asked, limit=limit, cursor=cursor)
        items = [entry_document(row) for row in rows]
    return {"items": items, "next_cursor": following}
