"""The page of priorities: the ranking with its weights, the fast lane, and the substances under control apart."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from app.auth.permissions import Action, Role
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.priorities.api import Wanted, ranked
from app.priorities.figures import interval_figure, pareto_figure
from app.priorities.ranking import Ranking, Row
from app.priorities.standing import LEAST_SUBSTANCES
from app.substances.figures import Figure
from app.tables import safe_cell
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

SHOWN, SHOWN_FAST = 100, 50
DRAWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PrioritiesContext:
    title: str
    snapshot_id: str
    cutoff: str
    digest: str
    counts: tuple[tuple[str, int], ...]
    weights: tuple[tuple[str, str, float], ...]
    shares: tuple[int, int, int]
    rows: tuple[Row, ...]
    more: int
    fast: tuple[Row, ...]
    more_fast: int
    controlled: tuple[Row, ...]
    note: str
    data_href: str
    intervals: Figure | None
    pareto: Figure | None
    compare_href: str


def _title(ranking: Ranking) -> str:
    """How many lead clearly: the longest head of the list whose rank intervals lie apart from all that follow."""
    rows = ranking.rows
    if len(rows) < LEAST_SUBSTANCES:
        return f"Fewer than {LEAST_SUBSTANCES} substances meet the minimum data"
    behind = list(accumulate((row.rank_low for row in reversed(rows)), min))[::-1]  # the best rank from each place on
    ahead = accumulate((row.rank_high for row in rows), max)  # the worst rank up to each place
    leading = max((n for n, (worst, best) in enumerate(zip(ahead, behind[1:], strict=False), 1) if worst < best), default=0)
    if not leading:
        worst = max(r.rank_high for r in rows[:1])
        return f"No substance leads clearly; ranks 1 to {worst} cannot be told apart"
    following = rows[leading]
    rest = f"; ranks {leading + 1} to {following.rank_high} cannot be told apart" if following.rank_high > following.rank else ""
    verb = "leads" if leading == 1 else "lead"
    return f"{words.count(leading, 'substance', 'substances')} {verb} clearly{rest}"


def _shown(rows: Sequence[Row], wanted: str) -> tuple[Row, ...]:
    """The first rows, and after them the one that is wanted where it comes later."""
    return (*rows[:SHOWN], *(row for row in rows[SHOWN:] if row.id == wanted))


@router.get("/priorities")
def priorities(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))],
    asked: Wanted,
    substance: Annotated[str, Query(max_length=26)] = "",
) -> Response:
    """The ranking of a snapshot under the weights in the address. `substance` has its row on the page, whatever its rank."""
    found, ranking = ranked(context, viewer.principal, asked)
    weights = asked.weights
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Priorities", crumbs=(Crumb(text="Overview", href="/"),))
    parts = (
        ("prevalence", "Prevalence", weights.prevalence),
        ("persistence", "Persistence", weights.persistence),
        ("harm", "Harm", weights.harm),
    )
    address = "&".join([f"snapshot={found.id}", *(f"{name}={value:g}" for name, _, value in parts)])
    p, s, h = (round(100 * share) for share in weights.shares())
    shown = _shown(ranking.rows, substance)
    fast = tuple(row for row in ranking.rows if row.fast_lane)
    title = _title(ranking)
    page = PrioritiesContext(
        title=title,
        snapshot_id=found.id,
        cutoff=found.cutoff.isoformat(),
        digest=found.digest[:8],
        counts=tuple(found.counts.items()),
        weights=parts,
        shares=(p, s, h),
        rows=shown,
        more=len(ranking.rows) - len(shown),
        fast=fast[:SHOWN_FAST],
        more_fast=len(fast[SHOWN_FAST:]),
        controlled=_shown(ranking.controlled, substance),
        note=_NOTES.get(viewer.principal.role, ""),
        data_href=f"/priorities.csv?{address}",
        intervals=interval_figure(title, ranking.rows[:DRAWN], f"/priorities.csv?{address}"),
        pareto=pareto_figure(ranking.rows, f"/priorities.csv?{address}"),
        compare_href="/priorities/compare?" + "&".join(f"s={row.id}" for row in ranking.rows[:2]),
    )
    return Page("priorities/list.html", frame, page)


_NOTES = {
    Role.LAB: "Your ranking rests on rows labelled CLEAR and GREEN. Harm cases are AMBER, so harm is unknown here.",
    Role.AUTHORITY: "Your ranking rests on rows labelled CLEAR and GREEN. Harm cases are AMBER, so harm is unknown here.",
}


@router.get("/priorities.csv")
def priorities_csv(
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))],
    asked: Wanted,
) -> Response:
    """The whole ranking as CSV, with snapshot and weights in every row."""
    found, ranking = ranked(context, viewer.principal, asked)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    shares = " ".join(f"{share:.4f}" for share in ranking.weights.shares())
    for under, rows in ((False, ranking.rows), (True, ranking.controlled)):
        for row in rows:
            writer.writerow([safe_cell(value) for value in _cells(row, under, found.id, shares)])
    headers = {"Content-Disposition": f'attachment; filename="priorities-{found.cutoff}.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


_COLUMNS = (
    "rank", "rank_low", "rank_high", "substance", "id", "group", "under_control", "priority_low", "priority_high", "prevalence",
    "persistence", "harm_low", "harm_high", "harm_unknown", "detections_weighted", "countries", "reporting_countries",
    "per_1000_tests", "cases", "deaths", "quarters", "years", "months_since", "laboratories", "grade", "fast_lane", "missing",
    "snapshot", "weights",
)  # fmt: skip


def _cells(row: Row, under: bool, snapshot: str, shares: str) -> list[object]:
    return [
        row.rank, row.rank_low, row.rank_high, row.name, row.id, row.group, under, *row.priority, row.prevalence,
        row.persistence, *row.harm, row.harm_unknown, row.detections, row.countries, row.reporting_countries,
        "" if row.per_1000 is None else row.per_1000, row.cases, row.deaths, row.quarters, row.years, row.months_since,
        row.laboratories, row.grade, row.fast_lane or "", "; ".join(row.missing), snapshot, shares,
    ]  # fmt: skip
