"""`GET /v1/suspects`: the list for instruments, and the search by m/z."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse, Response

from app.auth.permissions import Action, Principal
from app.context import Context, requires
from app.intake.vocabularies import CHEMICAL_GROUPS
from app.problems import FieldError, Problem
from app.substances import suspects as listed
from app.substances.suspects import ADDUCTS, MOST_PPM, Suspect

router = APIRouter(prefix="/v1/suspects", tags=["substances"])
Reader = Annotated[Principal, Depends(requires(Action.SUBSTANCE_READ))]


def shown(s: Suspect) -> dict[str, Any]:
    return {
        "id": s.id,
        "name": s.name,
        "formula": s.formula,
        "monoisotopic_mass": round(s.monoisotopic_mass, 5),
        "ions": s.ions,
        "inchikey": s.inchikey,
        "smiles": s.smiles,
        "chemical_group": s.chemical_group,
        "legal_status": s.legal_status,
        "adduct": s.adduct,
        "ppm": s.ppm,
    }


def adduct_of(text: str | None) -> tuple[str, ...]:
    """The adducts to search by. A plus sign that a URL turned into a blank is put back. Raises a validation Problem."""
    if text is None:
        return tuple(ADDUCTS)
    given = text.strip()
    mended = given.replace(" ", "+")
    for name in (given, mended, f"{mended}+"):
        if name in ADDUCTS:
            return (name,)
    detail = f"{text!r} is none of {', '.join(ADDUCTS)}."
    raise Problem("validation", f"/adduct: {detail}", errors=[FieldError("/adduct", detail)])


@router.get(
    "",
    summary="Suspect list, and search by m/z",
    responses={200: {"content": {"application/json": {}, "text/csv": {}}, "description": "JSON by default"}},
)
def get_suspects(
    context: Context,
    principal: Reader,
    mz: Annotated[float | None, Query(gt=10, lt=5000, description="Measured m/z; without it the list")] = None,
    adduct: Annotated[str | None, Query(max_length=10, description="[M+H]+, [M+Na]+ or [M-H]-; default all three")] = None,
    ppm: Annotated[float, Query(gt=0, le=MOST_PPM)] = 5.0,
    group: Annotated[str | None, Query(max_length=40, description="A chemical group")] = None,
    output: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    cursor: Annotated[str, Query(max_length=27)] = "",
) -> Response:
    """Formula, monoisotopic mass of the neutral parent, m/z of [M+H]+, [M+Na]+ and [M-H]-, identifiers. As CSV the whole list
    for instrument software. A search gives what lies within `ppm` of the computed m/z, the nearest first."""
    if group is not None and group not in CHEMICAL_GROUPS:
        detail = f"{group!r} is none of {', '.join(CHEMICAL_GROUPS)}."
        raise Problem("validation", f"/group: {detail}", errors=[FieldError("/group", detail)])
    adducts = adduct_of(adduct)
    whole = output == "csv" or mz is not None
    shipped = context.chemistry.shipped_substances(context.now().date())
    with context.database.read() as session:
        found = listed.suspects(
            session, principal, shipped, mz=mz, adducts=adducts, ppm=ppm, group=group, after="" if whole else cursor,
            limit=None if whole else limit + 1,
        )  # fmt: skip
    if output == "csv":
        headers = {"Content-Disposition": 'attachment; filename="suspects.csv"'}
        return Response(listed.as_csv(found, demonstration=context.demo), media_type="text/csv; charset=utf-8", headers=headers)
    more = not whole and len(found) > limit
    return JSONResponse(
        {
            "items": [shown(s) for s in found[: None if whole else limit]],
            "next_cursor": found[limit - 1].inchikey if more else None,
        }
    )
