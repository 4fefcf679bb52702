"""Dossiers over HTTP: of a substance as a file, those there are, and the records under a figure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from app.auth.permissions import Action, Principal
from app.context import AppContext, Context, requires
from app.dossiers import keeping
from app.dossiers.assembling import SUBSTANCE, NoSubject
from app.dossiers.forms import MEDIA, Whole, as_file, file_name
from app.dossiers.records import PAGE, as_json, records_of
from app.dossiers.values import Figure
from app.dossiers.views import views_of
from app.persistence.models import Dossier
from app.problems import Problem

router = APIRouter(prefix="/v1", tags=["dossiers"])
Reader = Annotated[Principal, Depends(requires(Action.COUNTS_READ))]
ABSENT = "There is no dossier with this address, or you may not open it."


def whole_of(context: AppContext, reader: Principal, dossier_id: str) -> tuple[Whole, dict[str, Figure]]:
    """A dossier that is made, with its figures. Raises Problem `not-found`, and `conflict` where it is not made yet."""
    with context.database.read() as session:
        row = keeping.open_dossier(session, reader, dossier_id, whole=True)
        if row is None:
            raise Problem("not-found", ABSENT)
        if row.state != "done":
            raise Problem("conflict", "The dossier is not made yet; open it again in a moment.")
        notes = keeping.notes_of(session, reader, dossier_id)
    figures = keeping.figures_in(row)
    whole = Whole(
        row=row, document=keeping.document_in(row), notes=notes, base=context.settings.base_url.rstrip("/"),
        records={key: len(figure.records) for key, figure in figures.items()},
    )  # fmt: skip
    return whole, figures


def file_of(context: AppContext, reader: Principal, dossier_id: str, form: str) -> Response:
    """The dossier as a file to be kept."""
    whole = whole_of(context, reader, dossier_id)[0]
    headers = {"Content-Disposition": f'attachment; filename="{file_name(whole, form)}"', "Cache-Control": "private, no-store"}
    return Response(as_file(whole, form), media_type=MEDIA[form], headers=headers)


def figure_of(figures: dict[str, Figure], key: str) -> Figure:
    found = figures.get(key)
    if found is None:
        raise Problem("not-found", f"The dossier has no figure {key!r}.")
    return found


def summary(row: Dossier) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "subject": row.subject,
        "name": row.name,
        "rows": row.view,
        "snapshot": row.snapshot_id,
        "state": row.state,
        "made_at": row.made_at.isoformat() if row.made_at else None,
        "digest": row.digest,
    }


def _of_substance(context: AppContext, reader: Principal, substance_id: str, form: str) -> Response:
    view = views_of(reader)[0]
    try:
        dossier_id = keeping.made_now(context, reader, view, SUBSTANCE, substance_id)
    except NoSubject as error:
        raise Problem(
            "not-found", "There is no substance with this id in the rows that a dossier for your role rests on."
        ) from error
    return file_of(context, reader, dossier_id, form)


@router.get("/substances/{substance_id}/dossier.json", summary="The dossier of a substance, as JSON")
def dossier_json(context: Context, reader: Reader, substance_id: str) -> Response:
    """In the 19 headings of a critical review and an annex. It rests on the snapshot of yesterday and on the rows that all of the
    reader's role may read; every figure names its records (`figures`, with the address of their list). The first call makes it,
    later ones of the day give the same bytes."""
    return _of_substance(context, reader, substance_id, "json")


@router.get("/substances/{substance_id}/dossier.html", summary="The dossier of a substance, as one HTML file")
def dossier_html(context: Context, reader: Reader, substance_id: str) -> Response:
    return _of_substance(context, reader, substance_id, "html")


@router.get("/substances/{substance_id}/dossier.pdf", summary="The dossier of a substance, as PDF on A4")
def dossier_pdf(context: Context, reader: Reader, substance_id: str) -> Response:
    return _of_substance(context, reader, substance_id, "pdf")


@router.get("/dossiers", summary="Dossiers, newest first")
def dossiers(
    context: Context,
    reader: Reader,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=26)] = None,
) -> dict[str, Any]:
    """Those whose rows the reader may all read."""
    with context.database.read() as session:
        found = keeping.list_dossiers(session, reader, before=cursor, limit=limit + 1)
    next_cursor = found[limit - 1].id if len(found) > limit else None
    return {"items": [summary(row) for row in found[:limit]], "next_cursor": next_cursor}


@router.get("/dossiers/{dossier_id}.{form}", summary="A dossier as a file")
def dossier_file(context: Context, reader: Reader, dossier_id: str, form: Literal["json", "html", "pdf"]) -> Response:
    return file_of(context, reader, dossier_id, form)


@router.get("/dossiers/{dossier_id}/records", summary="The records under a figure of a dossier")
def dossier_records(
    context: Context,
    reader: Reader,
    dossier_id: str,
    figure: Annotated[str, Query(max_length=200)],
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """In the order of the dossier; `total` is the figure. A record corrected, withdrawn or closed to the reader since has
    `gone: true` and nothing else."""
    found = figure_of(whole_of(context, reader, dossier_id)[1], figure)
    with context.database.read() as session:
        rows = records_of(session, reader, found, start=cursor, now=context.now())
    following = cursor + PAGE
    return {
        "kind": found.kind.value,
        "total": len(found.records),
        "items": [as_json(found.kind, row) for row in rows],
        "next_cursor": following if following < len(found.records) else None,
    }
