"""Substances over HTTP: browse, one substance, search, prevalence, drawing. Answered over what the reader may see."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import Field, ValidationError

from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import AppContext, Context, requires
from app.intake.schemas import Strict, StructureText
from app.problems import FieldError, Problem, from_validation
from app.sharing.masking import Cell
from app.substances import queries
from app.substances.denominators import rates_by_month
from app.substances.search import CursorError, Sort, SubstancePage, SubstanceRow, search_substances
from app.substances.structures import query_of, search_structures
from chem.depiction import depict_svg
from chem.errors import StructureError
from chem.library import Search
from chem.values import Structure, StructureFormat

router = APIRouter(prefix="/v1/substances", tags=["substances"])
Reader = Annotated[Principal, Depends(requires(Action.SUBSTANCE_READ))]
Counter = Annotated[Principal, Depends(requires(Action.COUNTS_READ))]
Limit = Annotated[int, Query(ge=1, le=200)]


def _cell(cell: Cell) -> dict[str, Any]:
    return {"state": cell.state.value, "n": cell.n}


def _row(row: SubstanceRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "inchikey": row.inchikey,
        "chemical_group": row.chemical_group,
        "effect_group": row.effect_group,
        "legal_status": row.legal_status,
        "matches": list(row.matches),
        "detections_12_months": _cell(row.detections),
        "countries_12_months": _cell(row.countries),
        "last_month": row.last_month,
        "created_at": row.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def _page(page: SubstancePage) -> dict[str, Any]:
    return {
        "items": [_row(row) for row in page.items],
        "next_cursor": page.next_cursor,
        "total": page.total,
        "near": [{"id": substance_id, "name": name} for substance_id, name in page.near],
    }


@router.get("", summary="Browse, filter and sort")
def list_substances(
    context: Context,
    principal: Reader,
    q: Annotated[str, Query(max_length=400, description="Name in any spelling, CAS number or InChIKey")] = "",
    chemical_group: Annotated[str | None, Query(max_length=40)] = None,
    effect_group: Annotated[str | None, Query(max_length=40)] = None,
    legal_status: Annotated[str | None, Query(max_length=24)] = None,
    sort: Sort = Sort.DETECTIONS,
    descending: bool = True,
    limit: Limit = 50,
    cursor: Annotated[str | None, Query(max_length=400)] = None,
) -> dict[str, Any]:
    """Counts are of the last 12 months, confirmed and probable, stereoisomers together."""
    try:
        with context.database.read() as session:
            page = search_substances(
                session,
                principal,
                now=context.now(),
                text=q,
                chemical_group=chemical_group,
                effect_group=effect_group,
                legal_status=legal_status,
                sort=sort,
                descending=descending,
                limit=limit,
                cursor=cursor,
            )
    except CursorError as error:
        raise Problem("validation", f"cursor: {error}", errors=[FieldError("/cursor", str(error))]) from error
    return _page(page)


class SearchIn(Strict):
    """A name or identifier as `text`, or a structure and the mode in which it is looked for.

    exact: the parent of the structure and its stereoisomers; substructure: what contains it (a `smarts` too); similarity: what is
    like its parent, by Morgan fingerprints (radius 2, 2,048 bits, Tanimoto), from `min_similarity` on.
    """

    text: Annotated[str, Field(min_length=1, max_length=400)] | None = None
    smiles: StructureText | None = None
    inchi: StructureText | None = None
    molfile: StructureText | None = None
    smarts: Annotated[str, Field(min_length=1, max_length=1_000)] | None = None
    mode: Literal["exact", "substructure", "similarity"] = "exact"
    min_similarity: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5
    limit: Annotated[int, Field(ge=1, le=200)] = 100
    cursor: Annotated[str, Field(max_length=400)] | None = None


@router.post(
    "/search",
    summary="By name, identifier or structure: exact, substructure, similarity",
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": SearchIn.model_json_schema()}}}},
)
def search(context: Context, principal: Reader, body: RawBody) -> dict[str, Any]:
    """Substances with this name, with the parent of this structure (salts and labels taken away) or its stereoisomers, those that
    contain it, or those that are like it, most similar first, as far as this key may see. A search has two seconds.
    """
    try:
        asked = SearchIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error
    given = [form for form in ("text", "smiles", "inchi", "molfile", "smarts") if getattr(asked, form) is not None]
    if len(given) != 1:
        raise Problem("validation", "Give exactly one of text, smiles, inchi, molfile or smarts.")
    if asked.mode != "exact" and given != ["text"]:
        return _by_structure(context, principal, asked, given[0])
    if given == ["smarts"]:
        detail = "A SMARTS is looked for with the mode substructure."
        raise Problem("validation", f"/mode: {detail}", errors=[FieldError("/mode", detail)])
    text = asked.text or _connectivity(context, StructureFormat(given[0]), getattr(asked, given[0]))
    with context.database.read() as session:
        return _page(search_substances(session, principal, now=context.now(), text=text, limit=asked.limit, cursor=asked.cursor))


def _by_structure(context: AppContext, principal: Principal, asked: SearchIn, form: str) -> dict[str, Any]:
    try:
        query = query_of(context, Search(asked.mode), form, getattr(asked, form), least=asked.min_similarity)
        with context.database.read() as session:
            page = search_structures(
                session, context.structures, principal, query, now=context.now(), limit=asked.limit, cursor=asked.cursor
            )
    except StructureError as error:
        raise Problem(error.code.value, f"/{form}: {error.detail}", errors=[FieldError(f"/{form}", error.detail)]) from error
    except CursorError as error:
        raise Problem("validation", f"cursor: {error}", errors=[FieldError("/cursor", str(error))]) from error
    return {
        "items": [_row(item.substance) | {"similarity": item.similarity} for item in page.items],
        "next_cursor": page.next_cursor,
        "total": page.total,
        "near": [],
    }


def _connectivity(context: AppContext, form: StructureFormat, text: str) -> str:
    found = context.chemistry.identify(Structure(format=form, text=text))
    if found.identity is None:
        raise Problem(
            found.problem or "structure-undefined", f"/{form}: {found.detail}", errors=[FieldError(f"/{form}", found.detail)]
        )
    connectivity: str = found.identity.connectivity
    return connectivity


def _detail(context: AppContext, principal: Principal, substance_id: str) -> queries.SubstanceDetail:
    """Raises Problem 404 for a substance that does not exist for this reader; a merged id gives the one it went into."""
    with context.database.read() as session:
        for _ in range(10):
            found = queries.substance_detail(session, principal, substance_id)
            if not isinstance(found, queries.MergedInto):
                break
            substance_id = found.id
    if found is None or isinstance(found, queries.MergedInto):
        raise Problem("not-found", f"There is no substance {substance_id}, or this key may not see it.")
    return found


@router.get("/{substance_id}", summary="One substance")
def get_substance(substance_id: str, context: Context, principal: Reader) -> dict[str, Any]:
    found = _detail(context, principal, substance_id)
    answer = asdict(found)
    answer["created_at"] = found.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    answer["stereo_siblings"] = [{"id": other, "name": name} for other, name in found.stereo_siblings]
    return answer


@router.get("/{substance_id}/prevalence", summary="Detections by month and by country")
def get_prevalence(substance_id: str, context: Context, principal: Counter) -> dict[str, Any]:
    """Confirmed and probable detections of the substance and its stereoisomers; a masked cell holds no number.

    `tests` are the denominators: per month the samples tested by the laboratories that stated them, their detections of the
    substance, and the rate per 1,000 with its 95 % interval.
    """
    found = _detail(context, principal, substance_id)
    with context.database.read() as session:
        known = queries.period_cells(session, principal, found.members, now=context.now())
        months = queries.detections_by_month(session, principal, found.members, now=context.now(), known=known)
        countries = queries.detections_by_country(session, principal, found.members, now=context.now(), known=known)
        rates = rates_by_month(session, principal, found.members, [p.month for p in months.points])
    return {
        "substance_id": found.id,
        "laboratories": months.laboratories,
        "months": [
            {
                "month": p.month, "total": _cell(p.total), "confirmed": _cell(p.confirmed), "probable": _cell(p.probable),
                "arriving": p.arriving,
            }
            for p in months.points
        ],
        "countries": [{"country": c.country, "region": c.region, "total": _cell(c.total)} for c in countries.rows],
        "tests": {
            "laboratories": rates.laboratories,
            "laboratories_reporting": rates.reporting,
            "months": [asdict(rate) for rate in rates.months],
        },
        "caveat": "Counts reflect who tested what. Countries without reports are no data, never zero.",
    }  # fmt: skip


@router.get("/{substance_id}/depiction.svg", summary="Drawing")
def get_depiction(substance_id: str, context: Context, principal: Reader) -> Response:
    found = _detail(context, principal, substance_id)
    if found.smiles is None:
        raise Problem("not-found", f"{found.name} has no single structure to draw.")
    try:
        drawing = depict_svg(found.smiles)
    except StructureError as error:
        raise Problem("not-found", f"{found.name} cannot be drawn: {error.detail}") from error
    return Response(drawing, media_type="image/svg+xml", headers={"Cache-Control": "private, max-age=3600"})
