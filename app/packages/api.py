"""Data packages over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from app.auth.permissions import Action, Principal
from app.context import AppContext, Context, requires
from app.installation import is_demonstration
from app.packages.bundle import bundle, zipped
from app.packages.tables import PACKAGES
from app.priorities.snapshots import snapshot_for
from app.problems import Problem

router = APIRouter(prefix="/v1", tags=["packages"])
Reader = Annotated[Principal, Depends(requires(Action.COUNTS_READ))]
Country = Annotated[str | None, Query(pattern="^[A-Z]{2}$", description="ISO 3166-1 alpha-2; without it all")]
Year = Annotated[int | None, Query(ge=1900, le=2200, description="For packages by year; without it all")]
SnapshotId = Annotated[str | None, Query(max_length=26, description="Without it that of yesterday")]


def package_file(
    context: AppContext, reader: Principal, package: str, country: str | None, year: int | None, snapshot: str | None
) -> Response:
    """The ZIP of a package. Raises Problem `not-found`."""
    found = PACKAGES.get(package)
    if found is None:
        raise Problem("not-found", f"There is no package {package!r}; there are {', '.join(PACKAGES)}.")
    facts = snapshot_for(context, reader, snapshot)
    if facts is None:
        raise Problem("not-found", "There is no such snapshot, or you may not use it.")
    with context.database.read() as session:
        demonstration = context.demo or is_demonstration(session)
        made = bundle(session, found, facts, country=country, year=year, demonstration=demonstration)
    headers = {"Content-Disposition": f'attachment; filename="{made.name}.zip"', "Cache-Control": "private, no-store"}
    return Response(zipped(made), media_type="application/zip", headers=headers)


@router.get("/packages", summary="Data packages and their columns")
def packages(context: Context, reader: Reader) -> dict[str, Any]:
    return {
        "items": [
            {
                "id": package.id,
                "title": package.title,
                "description": package.text,
                "columns": [
                    {"name": c.name, "kind": c.kind, "may_be_blank": c.empty, "meaning": c.text} for c in package.columns
                ],
            }
            for package in PACKAGES.values()
        ],
        "next_cursor": None,
    }


@router.get("/packages/{package}.zip", summary="A data package: README, dictionary, CSV, XLSX, JSON")
def package_zip(
    context: Context, reader: Reader, package: str, country: Country = None, year: Year = None, snapshot: SnapshotId = None
) -> Response:
    """`annual`, `handover`, `ats`, `opioids` or `precursors`, over the snapshot of the reader's labels."""
    return package_file(context, reader, package, country, year, snapshot)
