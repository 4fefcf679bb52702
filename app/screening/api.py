"""`POST /v1/screen`: at most 1,000 structures a call."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field, ValidationError, model_validator

from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import Context, requires
from app.intake.schemas import Strict, StructureIn, StructureText
from app.problems import FieldError, Problem, from_validation
from app.screening.records import Wanted, record
from chem.values import to_json

router = APIRouter(prefix="/v1", tags=["screening"])
Screener = Annotated[Principal, Depends(requires(Action.SCREEN))]

MAX_STRUCTURES = 1_000


class ScreenItem(Strict):
    name: Annotated[str, Field(max_length=400)] | None = None
    smiles: StructureText | None = None
    inchi: StructureText | None = None
    molfile: StructureText | None = None
    candidates: Annotated[list[StructureIn | StructureText], Field(min_length=1, max_length=32)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> ScreenItem:
        given = [n for n in ("smiles", "inchi", "molfile", "candidates") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of smiles, inchi, molfile or candidates.")
        return self

    def structure(self) -> StructureIn:
        if self.candidates is None:
            return StructureIn(smiles=self.smiles, inchi=self.inchi, molfile=self.molfile)
        members = [c if isinstance(c, StructureIn) else StructureIn(smiles=c) for c in self.candidates]
        return members[0] if len(members) == 1 else StructureIn(candidates=members)

    def shown(self) -> str:
        if self.candidates is None:
            return self.smiles or self.inchi or self.molfile or ""
        return " | ".join(c if isinstance(c, str) else (c.smiles or c.inchi or c.molfile or "") for c in self.candidates)


class ScreenIn(Strict):
    structures: Annotated[list[ScreenItem], Field(max_length=MAX_STRUCTURES)]
    as_of: date | None = None
    instruments: Annotated[list[str], Field(min_length=1)] | None = None
    analogues: Annotated[int, Field(ge=0, le=50)] = 3


@router.post(
    "/screen",
    summary="Legal status of up to 1,000 structures, leaving no trace",
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": ScreenIn.model_json_schema()}}}},
)
def screen(context: Context, principal: Screener, body: RawBody) -> dict[str, Any]:
    """Identity and matches for each structure, in order. Nothing of a structure is stored, cached or logged."""
    try:
        asked = ScreenIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from error
    as_of = asked.as_of or context.now().date()
    instruments = tuple(asked.instruments) if asked.instruments else None
    known = {info.id for info in context.chemistry.engine.instruments()}
    unknown = [name for name in instruments or () if name not in known]
    if unknown:
        detail = f"{unknown[0]!r} is no instrument here; there are: {', '.join(sorted(known))}."
        raise Problem("validation", f"/instruments: {detail}", errors=[FieldError("/instruments", detail)])
    wanted = Wanted(as_of=as_of, instruments=instruments, analogues=asked.analogues)
    records = []
    for index, item in enumerate(asked.structures):
        structure = item.structure()
        records.append(
            record(
                context.chemistry,
                index=index,
                name=item.name,
                shown=item.shown(),
                structures=structure.structures(),
                is_set=structure.candidates is not None,
                wanted=wanted,
            )
        )
    return {"records": records, "coverage": to_json(context.chemistry.coverage(as_of, instruments))}
