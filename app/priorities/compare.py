"""Substances side by side: the same figures of each, charts on one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.priorities.api import Asked, ranked
from app.priorities.ranking import Row, Weights
from app.problems import Problem
from app.substances.figures import Figure, month_figure
from app.substances.queries import (
    CaseSummary,
    CountryCounts,
    MergedInto,
    MonthSeries,
    SubstanceDetail,
    cases_of,
    detections_by_country,
    detections_by_month,
    period_cells,
    substance_detail,
)
from app.substances.search import search_substances
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.templating import Page, with_query

router = APIRouter(include_in_schema=False)
MOST = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareContext:
    """`lines` are (name, a text a substance); `removes` the address without each."""

    names: tuple[tuple[str, str, str], ...]
    lines: tuple[tuple[str, tuple[str, ...]], ...]
    figures: tuple[Figure, ...]
    unknown: tuple[str, ...]
    name: str
    near: tuple[tuple[str, str], ...]
    ids: tuple[str, ...]
    full: bool


@router.get("/priorities/compare")
def compare(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))],
    s: Annotated[list[str] | None, Query(max_length=12)] = None,
    name: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Two to four substances. An id that is not there is named, and the others are shown."""
    reader, now = viewer.principal, context.now()
    wanted = list(dict.fromkeys(s or ()))[:MOST]
    near: tuple[tuple[str, str], ...] = ()
    with context.database.read() as session:
        if name.strip():
            found = search_substances(session, reader, now=now, text=name.strip(), limit=5)
            if found.items and (found.total == 1 or found.exact) and len(wanted) < MOST:
                wanted = list(dict.fromkeys([*wanted, found.items[0].id]))
            else:
                near = tuple((_address([*wanted, row.id]), row.name) for row in found.items)
        details: list[SubstanceDetail] = []
        unknown = []
        for one in wanted:
            detail = substance_detail(session, reader, one)
            if isinstance(detail, MergedInto):
                detail = substance_detail(session, reader, detail.id)
            if isinstance(detail, SubstanceDetail):
                details.append(detail)
            else:
                unknown.append(one)
        known = [period_cells(session, reader, detail.members, now=now) for detail in details]
        series = [
            detections_by_month(session, reader, one.members, now=now, known=cells)
            for one, cells in zip(details, known, strict=True)
        ]
        places = [
            detections_by_country(session, reader, one.members, now=now, known=cells)
            for one, cells in zip(details, known, strict=True)
        ]
        deaths = [cases_of(session, reader, detail.members) for detail in details]
        crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Priorities", href="/priorities"))
        frame = build_frame(request, context, session, viewer, title="Compare substances", crumbs=crumbs)
    rows = _rows(context, viewer, details)
    top = max((point.total.n or 0 for one in series for point in one.points), default=0)
    ids = tuple(detail.id for detail in details)
    page = CompareContext(
        names=tuple((d.name, f"/substances/{d.id}", _address([i for i in ids if i != d.id])) for d in details),
        lines=_lines(details, rows, series, places, [_deaths(one) for one in deaths]),
        figures=tuple(
            month_figure(detail.name, one, base=f"/substances/{detail.id}", id=f"by-month-{place}", least_top=top)
            for place, (detail, one) in enumerate(zip(details, series, strict=True))
        ),
        unknown=tuple(unknown),
        name=name.strip(),
        near=near,
        ids=ids,
        full=len(ids) >= MOST,
    )
    return Page("priorities/compare.html", frame, page)


def _address(ids: list[str]) -> str:
    return "/priorities/compare" + ("?" + "&".join(with_query("", s=one).removeprefix("?") for one in ids) if ids else "")


def _rows(context: Context, viewer: Viewer, details: list[SubstanceDetail]) -> list[tuple[Row | None, str]]:
    """The place of each in the ranking of yesterday with the usual weights, and in which of its two tables."""
    try:
        _, ranking = ranked(context, viewer.principal, Asked(None, Weights()))
    except Problem:
        return [(None, "")] * len(details)
    found = {row.id: (row, "") for row in ranking.rows}
    found |= {row.id: (row, " of those under control") for row in ranking.controlled}
    return [next((found[one] for one in detail.members if one in found), (None, "")) for detail in details]


def _deaths(cases: CaseSummary) -> str:
    if not cases.any:
        return words.HARM_UNKNOWN
    return f"{cases.deaths.n:,}" if cases.deaths.n is not None else "[c] masked"


def _pair(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1f}" if pair[0] == pair[1] else f"{pair[0]:.1f} to {pair[1]:.1f}"


def _lines(
    details: list[SubstanceDetail],
    rows: list[tuple[Row | None, str]],
    series: list[MonthSeries],
    places: list[CountryCounts],
    deaths: list[str],
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The figures, a line each, in the order of the substances."""

    def of(row: Row | None, text: str) -> str:
        return text if row is not None else "not ranked"

    ranked_rows = [row for row, _ in rows]
    return (
        ("Verdict", tuple(words.verdict(d.legal_status, d.matches, label=d.name) for d in details)),
        (
            "Rank, 90 % interval",
            tuple(f"{r.rank}{where} ({r.rank_low} to {r.rank_high})" if r else "not ranked" for r, where in rows),
        ),
        ("Prevalence, 0 to 100", tuple(of(r, f"{r.prevalence:.1f}" if r else "") for r in ranked_rows)),
        ("Persistence, 0 to 100", tuple(of(r, f"{r.persistence:.1f}" if r else "") for r in ranked_rows)),
        (
            "Harm, 0 to 100",
            tuple(of(r, (_pair(r.harm) + (" (unknown)" if r.harm_unknown else "")) if r else "") for r in ranked_rows),
        ),
        ("Data grade", tuple(of(r, r.grade if r else "") for r in ranked_rows)),
        (
            "Detections, 36 months",
            tuple(f"{one.total.cell.n:,}" if one.total.cell.n is not None else "[c] masked" for one in series),
        ),
        ("Laboratories", tuple(f"{one.laboratories:,}" for one in series)),
        ("Countries, of those reporting", tuple(f"{len(one.rows)} of {one.reporting}" for one in places)),
        ("Deaths naming it", tuple(deaths)),
    )
