"""The screening page: a list of structures in, their legal status out, as a page, a table or a certificate. Nothing is kept."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Annotated, Any

import click
from fastapi import APIRouter, Depends, Form, Request
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import Context
from app.screening.inputs import Item, read_items
from app.screening.service import Screened, Wish, certify, screen
from app.web import words
from app.web.frame import build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

MOST = 1_000
FORMATS = {"smi": "SMILES, one a line, a name after it", "sdf": "SDF or one molfile", "csv": "CSV with a column smiles"}
FILES = {
    "csv": ("text/csv; charset=utf-8", "screened.csv"),
    "ndjson": ("application/x-ndjson", "screened.ndjson"),
    "pdf": ("application/pdf", "screening-certificate.pdf"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record as shown: its matches as sentences."""

    number: int
    name: str
    shown: str
    status: str
    national: words.National | None
    problem: str | None
    reasons: tuple[str, ...]
    nearest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreeningContext:
    formats: dict[str, str]
    chosen: str
    text: str
    as_of: str
    failure: str | None
    failure_field: str
    rows: tuple[Row, ...] | None
    summary: str
    coverage: tuple[str, ...]
    most: int


def _page(
    request: Request, context: Context, viewer: Viewer, *, chosen: str = "smi", text: str = "", as_of: str = "",
    failure: tuple[str, str] | None = None, found: Screened | None = None,
) -> Response:  # fmt: skip
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Screen structures", error=failure is not None)
    rows = tuple(_row(record) for record in found.records) if found is not None else None
    page = ScreeningContext(
        formats=FORMATS,
        chosen=chosen,
        text=text,
        as_of=as_of or context.now().date().isoformat(),
        failure=failure[1] if failure else None,
        failure_field=failure[0] if failure else "",
        rows=rows,
        summary=_summary(rows) if rows is not None else "",
        coverage=tuple(
            f"{part['instrument']}, {part['edition']}: {'; '.join(part['not_coded']) or 'complete'}"
            for part in (found.coverage if found else ())
        ),
        most=MOST,
    )
    return Page(
        "screening/screen.html", frame, page, status=422 if failure else 200, headers={"Cache-Control": "private, no-store"}
    )


def _row(record: dict[str, Any]) -> Row:
    error = record.get("error")
    matches = record.get("matches", [])
    nearest = record.get("analogues", [])[:1]
    status = "unresolved" if error else record["legal_status"]
    return Row(
        number=record["index"] + 1,
        name=record.get("name", ""),
        shown=record["input"] if len(record["input"]) <= 120 else record["input"][:120] + "…",
        status=status,
        national=words.national_of(status, record.get("status_by_instrument", {})),
        problem=error["detail"] if error else None,
        reasons=tuple(f"{m['instrument']}: {m['explanation']}" for m in matches if m["captured"]),
        nearest=f"{nearest[0]['entry']}, {nearest[0]['similarity']:.2f}" if nearest else "",
    )


def _summary(rows: tuple[Row, ...]) -> str:
    controlled = sum(row.status == "controlled" for row in rows)
    possible = sum(row.status == "possibly_controlled" for row in rows)
    beyond = sum(row.status == "not_controlled" and row.national is not None for row in rows)
    errors = sum(row.problem is not None for row in rows)
    return (
        f"{len(rows):,} structures: {controlled:,} controlled under the UN conventions, {possible:,} possibly, "
        f"{beyond:,} by the law of single countries alone, certainly or possibly, {errors:,} without an answer"
    )


@router.get("/screening")
def form(request: Request, context: Context, viewer: Annotated[Viewer, Depends(requires_viewer(Action.SCREEN))]) -> Response:
    return _page(request, context, viewer)


@router.post("/screening")
def screened(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_form(Action.SCREEN))],
    structures: Annotated[str, Form()] = "",
    form: Annotated[str, Form(alias="format", max_length=8)] = "smi",
    as_of: Annotated[str, Form(max_length=10)] = "",
    want: Annotated[str, Form(max_length=8)] = "page",
) -> Response:
    """The records as a page, or as a file by the button pressed."""
    chosen = form if form in FORMATS else "smi"
    given: dict[str, Any] = {"chosen": chosen, "text": structures, "as_of": as_of}
    try:
        day = date.fromisoformat(as_of) if as_of else context.now().date()
    except ValueError:
        return _page(request, context, viewer, **given, failure=("as-of", f"{as_of!r} is not a date like 2026-11-24."))
    try:
        items: list[Item] = list(islice(read_items(io.StringIO(structures), chosen), MOST + 1))
    except click.ClickException as error:
        return _page(
            request, context, viewer, **given, failure=("structures", f"{error.message[:1].upper()}{error.message[1:]}.")
        )
    if not items:
        return _page(request, context, viewer, **given, failure=("structures", "Give at least one structure."))
    if len(items) > MOST:
        too_many = f"More than {MOST:,} structures. The command nps screen takes any number."
        return _page(request, context, viewer, **given, failure=("structures", too_many))
    wish = Wish(items=items, as_of=day, instruments=None, analogues=3)
    found = screen(context.chemistry, wish)
    if want not in FILES:
        return _page(request, context, viewer, **given, found=found)
    if want == "pdf":
        body = structures.encode("utf-8", "replace")
        content = certify(found, wish, body=body, what_input="the list sent, as UTF-8", now=context.now())
    else:
        content = found.table() if want == "csv" else found.lines()
    media_type, name = FILES[want]
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(content, media_type=media_type, headers=headers)
