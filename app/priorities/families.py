"""A chemical group as a whole: what is moving in it, where, how its members rank, and who is new."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.explore.figures import country_map
from app.explore.queries import members_of
from app.persistence.models import Substance
from app.priorities.api import Asked, ranked
from app.priorities.ranking import Row, Weights
from app.problems import Problem
from app.substances.changes import first_month_of
from app.substances.figures import Figure, month_figure
from app.substances.queries import (
    LATELY,
    PERIOD,
    detections_by_country,
    detections_by_month,
    existing_substances,
    months_back,
    period_cells,
)
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.templating import Page, with_query

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyContext:
    """`new` are members first detected in the last 12 months, as (id, name, month), newest first."""

    group: str
    name: str
    members: int
    by_month: Figure | None
    map: Figure | None
    ranks: tuple[Row, ...]
    controlled: tuple[Row, ...]
    new: tuple[tuple[str, str, str], ...]
    explore_href: str


@router.get("/families/{group}")
def family(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))],
    group: str,
) -> Response:
    """The members are the substances of the group that exist for the reader, without ordinary ones."""
    if group not in words.CHEMICAL_GROUPS:
        raise Problem("not-found", "There is no such chemical group.")
    reader, now = viewer.principal, context.now()
    name = f"{words.CHEMICAL_GROUPS[group]} class"
    with context.database.read() as session:
        found = session.execute(
            select(Substance.id, Substance.name)
            .where(Substance.chemical_group == group, Substance.ordinary.is_(False), existing_substances(reader))
            .order_by(Substance.id)
        ).all()
        names = {row.id: row.name for row in found}
        firsts = first_month_of(session, reader, among=list(names))
        by_month = world = None
        if firsts:
            members, counted = members_of(session, group)
            known = period_cells(session, reader, members, now=now, group=group if counted else None)
            series = detections_by_month(session, reader, list(names), now=now, known=known)
            by_month = month_figure(name, series, base=None)
            places = detections_by_country(session, reader, list(names), now=now, known=known)
            values = {row.country: float(row.total.n) for row in places.rows if row.total.n is not None}
            values |= dict.fromkeys(places.silent, 0.0)
            world = country_map(
                title=f"{name} was reported by {len(places.rows)} of {places.reporting} reporting countries",
                subtitle=f"Detections by country of the sample, last {PERIOD} months, confirmed and probable. Counts, not rates",
                values=values,
                masked=(),
                rates={},
                reporting=places.reporting,
                period=f"last {PERIOD} months",
                source="Source: reports to this service, as far as you may see.",
                hrefs={f"{kind}_href": f"/explore.{kind}?group={group}&period={PERIOD}&view=map" for kind in ("csv", "svg")},
            )
        crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Priorities", href="/priorities"))
        frame = build_frame(request, context, session, viewer, title=name, crumbs=crumbs)
    try:
        _, ranking = ranked(context, reader, Asked(None, Weights()))
        ranks = tuple(row for row in ranking.rows if row.group == group)
        controlled = tuple(row for row in ranking.controlled if row.group == group)
    except Problem:
        ranks = controlled = ()
    since = months_back(now, LATELY)[0]
    new = sorted(((month, key) for key, month in firsts.items() if month >= since), reverse=True)
    page = FamilyContext(
        group=group,
        name=name,
        members=len(firsts),
        by_month=by_month,
        map=world,
        ranks=ranks[:20],
        controlled=controlled[:20],
        new=tuple((key, names[key], month) for month, key in new[:20]),
        explore_href=with_query("/explore", group=group, period=PERIOD, split="substance"),
    )
    return Page("priorities/family.html", frame, page)
