"""The page of the data packages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.packages.api import package_file
from app.packages.tables import PACKAGES, Package
from app.problems import Problem
from app.web.frame import Crumb, build_frame
from app.web.places import all_countries
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackagesContext:
    packages: tuple[Package, ...]
    countries: tuple[tuple[str, str], ...]
    country: str
    years: tuple[int, ...]
    labels: str


@router.get("/packages")
def packages(request: Request, context: Context, viewer: Reader, country: Annotated[str, Query(max_length=2)] = "") -> Response:
    """What can be taken away, with the columns of each."""
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Data packages", crumbs=(Crumb(text="Overview", href="/"),))
    year = context.now().year
    page = PackagesContext(
        packages=tuple(PACKAGES.values()), countries=all_countries(), country=country.upper(),
        years=tuple(range(year, year - 5, -1)),
        labels="CLEAR, GREEN and AMBER" if viewer.principal.role in ("reviewer", "analyst") else "CLEAR and GREEN",
    )  # fmt: skip
    return Page("packages/packages.html", frame, page)


@router.get("/packages/{package}.zip")
def package(
    context: Context,
    viewer: Reader,
    package: str,
    country: Annotated[str, Query(max_length=2)] = "",
    year: Annotated[str, Query(max_length=4)] = "",
) -> Response:
    """The ZIP by the form's fields, which may be blank."""
    if year and not year.isdigit():
        raise Problem("validation", f"{year!r} is no year.")
    return package_file(context, viewer.principal, package, country.upper() or None, int(year) if year else None, None)
