"""`POST /v1/screen` and its certificate: at most 1,000 structures a call."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import Field, ValidationError, model_validator

from app.auth.permissions import Action, Principal
from app.body import RawBody, parse_json
from app.context import AppContext, Context, requires
from app.intake.schemas import Strict, StructureIn, StructureText
from app.problems import FieldError, Problem, from_validation
from app.screening.inputs import Item
from app.screening.run import check_instruments
from app.screening.service import Wish, certify, screen

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

    def item(self) -> Item:
        if self.candidates is None:
            given = [(form, getattr(self, form)) for form in ("smiles", "inchi", "molfile") if getattr(self, form) is not None]
            return Item(self.name, given[0][1], tuple(given))
        members = [text for member in self.candidates for text in _texts_of(member)]
        return Item(self.name, " | ".join(text for _, text in members), tuple(members))


def _texts_of(member: StructureIn | str) -> list[tuple[str, str]]:
    if isinstance(member, str):
        return [("smiles", member)]
    return [(structure.format.value, structure.text) for structure in member.structures()]


class ScreenIn(Strict):
    structures: Annotated[list[ScreenItem], Field(max_length=MAX_STRUCTURES)]
    as_of: date | None = None
    instruments: Annotated[list[str], Field(min_length=1)] | None = None
    analogues: Annotated[int, Field(ge=0, le=50)] = 3


_BODY = {"requestBody": {"required": True, "content": {"application/json": {"schema": ScreenIn.model_json_schema()}}}}


@router.post("/screen", summary="Legal status of up to 1,000 structures, leaving no trace", openapi_extra=_BODY)
def screen_structures(context: Context, principal: Screener, body: RawBody) -> dict[str, Any]:
    """Identity and matches for each structure, in order. Nothing of a structure is stored, cached or logged.

    A structure has half a second, the request a minute; what is not done then is a record with `structure-timeout`.
    """
    found = screen(context.chemistry, _wish(context, body))
    return {"records": found.records, "coverage": found.coverage}


@router.post(
    "/screen/certificate.pdf",
    summary="The certificate of a screen, leaving no trace",
    openapi_extra=_BODY,
    response_class=Response,
    responses={200: {"content": {"application/pdf": {}}, "description": "The certificate"}},
)
def screen_certificate(context: Context, principal: Screener, body: RawBody) -> Response:
    """Screens the same body as `POST /v1/screen` and gives a PDF for the compliance file: versions, editions, date, counts and
    what is not covered, and no structure. It names the SHA-256 of the body sent, and that of the records as NDJSON, which are
    byte for byte what `nps screen` writes. Send `as_of`, so that both calls ask the same law.
    """
    wish = _wish(context, body)
    found = screen(context.chemistry, wish)
    pdf = certify(found, wish, body=body, what_input="the body of the request", now=context.now())
    headers = {"Content-Disposition": 'attachment; filename="screening-certificate.pdf"', "Cache-Control": "no-store"}
    return Response(pdf, media_type="application/pdf", headers=headers)


def _wish(context: AppContext, body: bytes) -> Wish:
    try:
        asked = ScreenIn.model_validate(parse_json(body))
    except ValidationError as error:
        raise from_validation(error.errors()) from None  # its words may hold a structure
    instruments = tuple(asked.instruments) if asked.instruments else None
    try:
        check_instruments(context.chemistry.engine, instruments)
    except ValueError as error:
        raise Problem("validation", f"/instruments: {error}.", errors=[FieldError("/instruments", f"{error}.")]) from error
    return Wish(
        items=[item.item() for item in asked.structures],
        as_of=asked.as_of or context.now().date(),
        instruments=instruments,
        analogues=asked.analogues,
    )
