"""What should my instrument look for: the list to download, and the search by m/z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.problems import Problem
from app.substances import suspects as listed
from app.substances.suspects import ADDUCTS, MOST_PPM, Suspect
from app.substances.suspects_api import adduct_of
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.SUBSTANCE_READ))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectsContext:
    """A search and what it found; `near` are the closest ones outside the tolerance where nothing lies within it."""

    mz: str
    adduct: str
    ppm: str
    adducts: tuple[str, ...]
    asked: bool
    rows: tuple[Suspect, ...]
    near: tuple[Suspect, ...]
    total: int
    issues: tuple[Issue, ...]


def _number(text: str, low: float, high: float, label: str, field: str) -> tuple[float | None, Issue | None]:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None, Issue(field=field, text=f"{label}: {text!r} is not a number.")
    if not low < value <= high:
        return None, Issue(field=field, text=f"{label}: give a number above {low:g}, at most {high:g}.")
    return value, None


@router.get("/suspects")
def suspects(
    request: Request,
    context: Context,
    viewer: Reader,
    mz: Annotated[str, Query(max_length=20)] = "",
    adduct: Annotated[str, Query(max_length=10)] = "",
    ppm: Annotated[str, Query(max_length=10)] = "5",
) -> Response:
    """The search form with its answer; without m/z only the download."""
    issues: list[Issue] = []
    rows: list[Suspect] = []
    near: list[Suspect] = []
    shipped = context.chemistry.shipped_substances(context.now().date())
    wanted, fault = _number(mz, 10, 5000, "m/z", "mz") if mz.strip() else (None, None)
    tolerance, wrong = _number(ppm or "5", 0, MOST_PPM, "Tolerance", "ppm")
    issues += [issue for issue in (fault, wrong) if issue is not None]
    adducts: tuple[str, ...] = tuple(ADDUCTS)
    try:
        adducts = adduct_of(adduct or None)
    except Problem as problem:
        issues.append(Issue(field="adduct", text=problem.errors[0].detail))
    with context.database.read() as session:
        if wanted is not None and tolerance is not None and not issues:
            rows = listed.suspects(session, viewer.principal, shipped, mz=wanted, adducts=adducts, ppm=tolerance)
            if not rows:
                near = listed.suspects(session, viewer.principal, shipped, mz=wanted, adducts=adducts, ppm=200, limit=5)
        total = len(listed.suspects(session, viewer.principal, shipped))
        frame = build_frame(
            request, context, session, viewer, title="Suspects", error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Substances", href="/substances")),
        )  # fmt: skip
    page = SuspectsContext(
        mz=mz, adduct=adduct, ppm=ppm, adducts=tuple(ADDUCTS), asked=wanted is not None, rows=tuple(rows), near=tuple(near),
        total=total, issues=tuple(issues),
    )  # fmt: skip
    return Page("substances/suspects.html", frame, page, status=422 if issues else 200)


@router.get("/suspects.csv")
def suspects_csv(context: Context, viewer: Reader) -> Response:
    """The whole list for instrument software."""
    with context.database.read() as session:
        found = listed.suspects(session, viewer.principal, context.chemistry.shipped_substances(context.now().date()))
    text = listed.as_csv(found, demonstration=context.demo)
    headers = {"Content-Disposition": 'attachment; filename="suspects.csv"', "Cache-Control": "private, no-store"}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
