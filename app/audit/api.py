"""The audit log over HTTP, for the operator."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from sqlalchemy import select

from app.audit.seals import entry_document
from app.auth.permissions import Action, Principal
from app.context import Context, requires
from app.persistence.models import AuditEntry

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get("/audit", summary="Who wrote what, and who read a case or an AMBER row, newest first")
def list_audit(
    context: Context,
    principal: Annotated[Principal, Depends(requires(Action.AUDIT_READ))],
    actor: Annotated[str | None, Query(max_length=80, description="`key:ID`, `person:ID` or `cli:USER`")] = None,
    org: Annotated[str | None, Query(max_length=26)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    """Tables and ids only, never content. `nps audit verify` proves the log, `nps audit export` gives all of it and its seals."""
    query = select(AuditEntry)
    if actor is not None:
        query = query.where(AuditEntry.actor == actor)
    if org is not None:
        query = query.where(AuditEntry.org_id == org)
    if cursor is not None:
        query = query.where(AuditEntry.id < cursor)
    with context.database.read() as session:
        rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit + 1)).all()
        items = [entry_document(row) for row in rows[:limit]]
    return {"items": items, "next_cursor": rows[limit - 1].id if len(rows) > limit else None}
