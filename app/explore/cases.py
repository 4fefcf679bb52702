"""The harm cases under a figure of a substance, one by one and de-identified: what the reader may open, newest received first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.permissions import Action, Principal
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.dossiers.records import COLUMNS, case_cells
from app.dossiers.values import Kind
from app.explore.records import cursor_of, place_of
from app.persistence.models import CaseSubstance, Detection, HarmCase, Report
from app.problems import Problem
from app.sharing.rows import readable_cases, readable_detections
from app.substances.queries import SubstanceDetail, substance_detail
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.templating import Page, with_query

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.REPORT_READ))]
PAGE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A case in the list, its cells in the order of the columns; `own` is the id of its report where the reader's sent it."""

    id: str
    cells: tuple[str, ...]
    own: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CasesContext:
    subtitle: str
    total: int
    columns: tuple[str, ...]
    rows: tuple[Line, ...]
    empty: str
    next_href: str | None
    limit: int


def wanted_cases(reader: Principal, substances: tuple[str, ...], *, seriousness: str = "", role: str = "") -> ColumnElement[bool]:
    """The cases naming one of these substances that the reader may open: those that `app.substances.queries.cases_of` counts.

    `role` is the part that the substance itself played; empty: any.
    """
    named = (
        select(CaseSubstance.case_id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .where(CaseSubstance.substance_id.in_(substances), readable_detections(reader))
    )
    if role:
        named = named.where(CaseSubstance.role == role)
    found = and_(HarmCase.id.in_(named), HarmCase.counted, readable_cases(reader))
    return and_(found, HarmCase.seriousness == seriousness) if seriousness else found


def listed(
    session: Session, reader: Principal, wanted: ColumnElement[bool], cursor: str | None
) -> tuple[tuple[Line, ...], str | None]:
    """A page of cases and the cursor of the next one. One query."""
    query = (
        select(HarmCase, Report.org_id)
        .join(Report, Report.id == HarmCase.report_id)
        .where(wanted)
        .order_by(HarmCase.received_at.desc(), HarmCase.id.desc())
        .limit(PAGE + 1)
    )
    if cursor:
        at, key = place_of(cursor)
        query = query.where(or_(HarmCase.received_at < at, and_(HarmCase.received_at == at, HarmCase.id < key)))
    rows: list[Any] = list(session.execute(query))
    lines = tuple(
        Line(id=row.id, cells=case_cells(row), own=row.report_id if org_id == reader.org_id else None)
        for row, org_id in rows[:PAGE]
    )
    return lines, cursor_of(rows[PAGE - 1][0]) if len(rows) > PAGE else None


@router.get("/cases")
def cases(
    request: Request,
    context: Context,
    viewer: Reader,
    substance: Annotated[str, Query(max_length=26)],
    seriousness: Annotated[str, Query(max_length=40)] = "",
    role: Annotated[str, Query(max_length=16)] = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """The list behind the cases of a substance's page, over the whole history. Values that are not known are left out."""
    reader = viewer.principal
    seriousness = seriousness if seriousness in words.SERIOUSNESS else ""
    role = role if role in words.CASE_ROLES else ""
    with context.database.read() as session:
        found = substance_detail(session, reader, substance)
        if not isinstance(found, SubstanceDetail):
            raise Problem("not-found", "There is no substance with this address, or you may not see it.")
        wanted = wanted_cases(reader, found.members, seriousness=seriousness, role=role)
        rows, following = listed(session, reader, wanted, cursor)
        again = with_query("/cases", substance=substance, seriousness=seriousness, role=role, cursor=following)
        page = CasesContext(
            subtitle=_subtitle(found.name, seriousness, role),
            total=session.scalar(select(func.count()).select_from(HarmCase).where(wanted)) or 0,
            columns=COLUMNS[Kind.CASES][1:],
            rows=rows,
            empty="No case that you may open.",
            next_href=again if following else None,
            limit=PAGE,
        )
        crumbs = (Crumb(text="Substances", href="/substances"), Crumb(text=found.name, href=f"/substances/{found.id}"))
        frame = build_frame(request, context, session, viewer, title="Cases", crumbs=crumbs)
    return Page("explore/cases.html", frame, page)


def _subtitle(name: str, seriousness: str, role: str) -> str:
    kind = words.SERIOUSNESS[seriousness].lower() if seriousness else "every seriousness"
    part = f", {name} as {words.CASE_ROLES[role]}" if role else ""
    return f"Cases naming {name}, {kind}{part}, whole history"
