"""Pages of the audit trail: who did or read what, as a list and as CSV, and whether the trail is what was sealed."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, select
from starlette.responses import Response

from app.audit.search import ACTIONS, TABLES, Asked, Line, found, lines
from app.audit.verify import Verification, verify
from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.persistence.models import AuditEntry, AuditSeal
from app.problems import FieldError, Problem
from app.tables import safe_cell
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page, with_query

router = APIRouter(include_in_schema=False)
Auditor = Annotated[Viewer, Depends(requires_viewer(Action.AUDIT_READ))]
Prover = Annotated[Viewer, Depends(requires_form(Action.AUDIT_READ))]
LIMIT = 50
SEALS = 10
LATELY = timedelta(days=30)  # what is shown where no period is asked for
MOST_CSV = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What the form holds, as it was sent."""

    actor: str
    action: str
    table: str
    about: str
    since: str
    until: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """`entries` are entries of the trail, newest first, each with its lines."""

    fields: Fields
    entries: tuple[tuple[AuditEntry, tuple[Line, ...]], ...]
    seals: tuple[AuditSeal, ...]
    total: int
    actions: tuple[str, ...]
    tables: tuple[str, ...]
    next_href: str | None
    csv_href: str
    proof: Verification | None
    issues: tuple[Issue, ...]

    def fault(self, field: str) -> str:
        """What is wrong with a field; empty where nothing is."""
        return next((issue.text for issue in self.issues if issue.field == field), "")


def fields_of(
    context: Context,
    actor: Annotated[str, Query(max_length=80)] = "",
    action: Annotated[str, Query(max_length=10)] = "",
    table: Annotated[str, Query(max_length=40)] = "",
    about: Annotated[str, Query(max_length=80)] = "",
    since: Annotated[str | None, Query(max_length=10)] = None,
    until: Annotated[str, Query(max_length=10)] = "",
) -> Fields:
    """Reads the address. Without `since` the last 30 days; an empty one asks for the whole trail."""
    if since is None:
        since = (context.now().date() - LATELY).isoformat()
    return Fields(
        actor=actor.strip(),
        action=action if action in ACTIONS else "",
        table=table if table in TABLES else "",
        about=about.strip(),
        since=since.strip(),
        until=until.strip(),
    )


Given = Annotated[Fields, Depends(fields_of)]


def _asked(fields: Fields) -> tuple[Asked, tuple[Issue, ...]]:
    days: dict[str, date | None] = {}
    issues = []
    for name, label in (("since", "From"), ("until", "Until")):
        text = getattr(fields, name)
        try:
            days[name] = date.fromisoformat(text) if text else None
        except ValueError:
            days[name] = None
            issues.append(Issue(field=name, text=f"{label}: {text} is not a date like 2026-11-24."))
    since, until = days["since"], days["until"]
    if since is not None and until is not None and until < since:
        issues.append(Issue(field="until", text="Until: give a day that is not before the first one."))
    asked = Asked(actor=fields.actor, action=fields.action, table=fields.table, about=fields.about, since=since, until=until)
    return asked, tuple(issues)


def _address(path: str, fields: Fields, **more: str | None) -> str:
    """The address of the same search; an empty first day is told, as it asks for more than none does."""
    kept = {name: getattr(fields, name) for name in ("actor", "action", "table", "about", "until")}
    address = with_query(path, **kept, since=fields.since or None, **more)
    return address if fields.since else f"{address}{'&' if '?' in address else '?'}since="


def _page(
    request: Request,
    context: AppContext,
    viewer: Viewer,
    fields: Fields,
    *,
    cursor: str | None = None,
    proof: Verification | None = None,
) -> Response:
    asked, issues = _asked(fields)
    with context.database.read() as session:
        entries, following = ([], None) if issues else found(session, asked, limit=LIMIT, cursor=cursor)
        seals = list(session.scalars(select(AuditSeal).order_by(AuditSeal.seq.desc()).limit(SEALS)))
        total = session.scalar(select(func.count()).select_from(AuditSeal)) or 0
        crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Operations", href="/ops"))
        frame = build_frame(request, context, session, viewer, title="Audit trail", error=bool(issues), crumbs=crumbs)
    page = AuditContext(
        fields=fields,
        entries=tuple((entry, tuple(lines(entry))) for entry in entries),
        seals=tuple(seals),
        total=total,
        actions=ACTIONS,
        tables=TABLES,
        next_href=_address("/ops/audit", fields, cursor=following) if following else None,
        csv_href=_address("/ops/audit.csv", fields),
        proof=proof,
        issues=issues,
    )
    return Page("ops/audit.html", frame, page, status=422 if issues else 200)


@router.get("/ops/audit")
def audit(
    request: Request,
    context: Context,
    viewer: Auditor,
    fields: Given,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> Response:
    """Who wrote or read what: by actor, by action, by kind or id of a row or request, by period; and the newest seals."""
    return _page(request, context, viewer, fields, cursor=cursor)


@router.get("/ops/audit.csv")
def audit_csv(context: Context, viewer: Auditor, fields: Given) -> Response:
    """The same search as CSV, newest first: a line for each entry, action and table, of 10,000 entries at most."""
    asked, issues = _asked(fields)
    if issues:
        raise Problem("validation", issues[0].text, errors=[FieldError(f"/{issue.field}", issue.text) for issue in issues])
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(("entry", "at", "action", "table", "rows", "ids", "actor", "organisation", "door", "request"))
    with context.database.read() as session:
        for entry in found(session, asked, limit=MOST_CSV)[0]:
            at = entry.at.astimezone(UTC).isoformat(timespec="microseconds")
            for line in lines(entry):
                cells = (entry.id, at, line.action, line.table, line.number, " ".join(line.ids), entry.actor, entry.org_id or "",
                         entry.door, entry.request_id)  # fmt: skip
                writer.writerow([safe_cell(cell) for cell in cells])
    name = f"audit-{context.now().date()}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.post("/ops/audit/verify")
def prove(request: Request, context: Context, viewer: Prover, fields: Given) -> Response:
    """Walk every seal and say whether each entry is what it was."""
    with context.database.read(patient=True) as session:
        proof = verify(session)
    return _page(request, context, viewer, fields, proof=proof)
