"""Search by structure as a page: exact, substructure, similar. By POST, so that no structure stands in an address or a log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.substances.search import search_substances
from app.substances.structures import StructureRow, query_of, search_structures
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.templating import Page
from chem.errors import StructureError, StructureProblem
from chem.library import Search
from chem.values import Structure, StructureFormat

router = APIRouter(include_in_schema=False)

LIMIT = 100
MODES = {
    "exact": "The same substance, or a stereoisomer of it",
    "substructure": "Substances that contain it",
    "similarity": "Substances like it (similarity 0.5 or more)",
}
LEAST = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureContext:
    modes: dict[str, str]
    mode: str
    text: str
    failure: str | None
    rows: tuple[StructureRow, ...] | None
    summary: str


def form_of(text: str) -> str:
    """What a text is written in: a molfile has an `M  END`, an InChI its prefix; anything else is a SMILES."""
    if "M  END" in text:
        return "molfile"
    return "inchi" if text.lstrip().startswith("InChI=") else "smiles"


def _page(
    request: Request, context: AppContext, viewer: Viewer, *, mode: str = "exact", text: str = "", failure: str | None = None,
    rows: tuple[StructureRow, ...] | None = None, total: int = 0,
) -> Response:  # fmt: skip
    crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Substances", href="/substances"))
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title="Search by structure", crumbs=crumbs, error=failure is not None
        )
    shown = f", the first {len(rows)} shown" if rows is not None and len(rows) < total else ""
    page = StructureContext(
        modes=MODES, mode=mode, text=text, failure=failure, rows=rows,
        summary=words.count(total, "substance", "substances") + shown,
    )  # fmt: skip
    headers = {"Cache-Control": "private, no-store"}
    return Page("substances/by_structure.html", frame, page, status=422 if failure else 200, headers=headers)


@router.get("/structure-search")
def form(
    request: Request, context: Context, viewer: Annotated[Viewer, Depends(requires_viewer(Action.SUBSTANCE_READ))]
) -> Response:
    return _page(request, context, viewer)


@router.post("/structure-search")
def found(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.SUBSTANCE_READ))],
    structure: Annotated[str, Form(max_length=250_000)] = "",
    mode: Annotated[str, Form(max_length=16)] = "exact",
) -> Response:
    """What is stored and exists for this reader, most similar first."""
    mode = mode if mode in MODES else "exact"
    try:
        if not structure.strip():
            raise StructureError(StructureProblem.EMPTY, "give a structure")
        rows, total = _search(context, viewer, mode, structure)
    except StructureError as error:
        failure = f"{error.detail[:1].upper()}{error.detail[1:]}."
        return _page(request, context, viewer, mode=mode, text=structure, failure=failure)
    return _page(request, context, viewer, mode=mode, text=structure, rows=rows, total=total)


def _search(context: AppContext, viewer: Viewer, mode: str, text: str) -> tuple[tuple[StructureRow, ...], int]:
    written = form_of(text)
    text = text if written == "molfile" else text.strip()
    if mode == "exact":
        told = context.chemistry.identify(Structure(format=StructureFormat(written), text=text))
        if told.identity is None:
            raise StructureError(StructureProblem(told.problem), told.detail)
        with context.database.read() as session:
            same = search_substances(session, viewer.principal, now=context.now(), text=told.identity.connectivity, limit=LIMIT)
        return tuple(StructureRow(substance=row, similarity=None) for row in same.items), same.total
    query = query_of(context, Search(mode), written, text, least=LEAST)
    with context.database.read() as session:
        page = search_structures(session, context.structures, viewer.principal, query, now=context.now(), limit=LIMIT)
    return page.items, page.total
