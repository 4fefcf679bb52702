"""Pages of the substances: the list with its search, and one substance with its charts and downloads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query, Request
from markupsafe import Markup
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, Principal, may
from app.auth.sessions import MaybeViewer
from app.context import AppContext, Context
from app.notifications.inbox import AlertRow, alerts_for
from app.priorities.snapshots import labels_of
from app.priorities.standing import LEAST_SUBSTANCES, Standing, standing_of
from app.problems import Problem
from app.sharing.masking import Cell, counted
from app.substances import figures, queries
from app.substances.denominators import rates_by_month
from app.substances.figures import Figure
from app.substances.queries import CaseSummary, MergedInto, SubstanceDetail
from app.substances.search import CursorError, Sort, SubstanceRow, search_substances
from app.substances.sections import Sections, assess_before, map_of, sections_of
from app.substances.status import InstrumentStatus, coverage_sentence, national_provisions, status_by_instrument
from app.substances.timeline import parse_day
from app.web import words
from app.web.frame import Crumb, build_frame, is_demonstration
from app.web.templating import Page, with_query
from app.web.templating import day as written_day
from app.web.templating import month as written_month
from chem.depiction import depict_svg
from chem.errors import StructureError

router = APIRouter(include_in_schema=False)

LIMIT = 50
DRAWING = (320, 240)
UNREADABLE = "There is no substance with this address, or you may not see it."
_DESCENDING_FIRST = frozenset({Sort.DETECTIONS, Sort.COUNTRIES, Sort.LAST})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A heading of the list: `order` is its aria-sort, `href` sorts by it."""

    text: str
    href: str | None
    order: str | None
    numeric: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveFilter:
    text: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext:
    q: str
    group: str
    status: str
    sort: str
    summary: str
    rows: tuple[SubstanceRow, ...]
    columns: tuple[Column, ...]
    active: tuple[ActiveFilter, ...]
    exact: bool
    contains_href: str | None
    near: tuple[tuple[str, str], ...]
    next_href: str | None
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFigure:
    """A figure on top of the page; without a cell the note says why there is none.

    `href` lists what it counts, `note_href` what the note counts.
    """

    name: str
    cell: Cell | None
    note: str = ""
    href: str | None = None
    note_href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailContext:
    substance: SubstanceDetail
    merged_note: str | None
    also: str
    drawing: Markup | None
    verdict: str
    and_more: int
    coverage_sentence: str | None
    national: tuple[str, ...]
    key_figures: tuple[KeyFigure, ...]
    instruments: tuple[InstrumentStatus, ...]
    by_month: Figure
    by_country: Figure
    confidence: tuple[tuple[str, Cell], ...]
    cases: CaseSummary
    roles: tuple[str, ...]
    alerts: tuple[AlertRow, ...]
    stereo: str | None
    identity_warnings: tuple[str, ...]
    contents: tuple[tuple[str, str], ...]
    more: Sections
    as_of: date
    as_of_note: str
    links: tuple[tuple[str, str], ...]


CONTENTS = (
    ("status", "Status over time"),
    ("trend", "Trend"),
    ("where", "Map and first seen"),
    ("countries", "Countries"),
    ("confidence", "How sure"),
    ("samples", "Forms, purity, route, found with"),
    ("cases", "Cases"),
    ("medical", "Medical and scientific use"),
    ("analogues", "Analogues"),
    ("alerts", "Alerts and measures"),
    ("control", "Before and after control"),
    ("identity", "Identity"),
    ("names", "Names"),
)


def _order(sort: str | None, text: str) -> tuple[Sort, bool]:
    """`-name` sorts downwards. Unknown orders fall back to the default: most detections first."""
    wanted = (sort or "").removeprefix("-")
    if wanted in set(Sort):
        return Sort(wanted), (sort or "").startswith("-")
    return (Sort.NAME, False) if text else (Sort.DETECTIONS, True)


@router.get("/substances")
def substances(
    request: Request,
    context: Context,
    viewer: MaybeViewer,
    q: Annotated[str, Query(max_length=400)] = "",
    group: str = "",
    status: str = "",
    match: str = "",
    sort: str | None = None,
    cursor: str | None = None,
) -> Response:
    """The list. An InChIKey or another text that means exactly one substance shows that one row."""
    q = q.strip()
    group = group if group in words.CHEMICAL_GROUPS else ""
    status = status if status in words.LEGAL_STATUS else ""
    order, descending = _order(sort, q)
    principal = viewer.principal if viewer else None
    with context.database.read() as session:
        try:
            found = search_substances(
                session,
                principal,
                now=context.now(),
                text=q,
                contains=match == "contains",
                chemical_group=group or None,
                legal_status=status or None,
                sort=order,
                descending=descending,
                limit=LIMIT,
                cursor=cursor,
            )
        except CursorError as error:
            raise Problem("validation", f"The list cannot go on from there: {error}. Open it again from the start.") from error
        frame = build_frame(request, context, session, viewer, title="Substances", crumbs=(Crumb(text="Overview", href="/"),))
    kept = {"q": q, "group": group, "status": status, "match": match}
    written = ("-" if descending else "") + order.value
    page = ListContext(
        q=q,
        group=group,
        status=status,
        sort=sort or "",
        summary=words.count(found.total, "substance", "substances"),
        rows=found.items,
        columns=_columns(kept, order, descending=descending),
        active=_active(kept, sort),
        exact=found.exact,
        contains_href=with_query("/substances", q=q, group=group, status=status, match="contains", sort=sort) if q else None,
        near=found.near,
        next_href=with_query("/substances", **kept, sort=written, cursor=found.next_cursor) if found.next_cursor else None,
        limit=LIMIT,
    )
    return Page("substances/list.html", frame, page)


def _columns(kept: Mapping[str, str], order: Sort, *, descending: bool) -> tuple[Column, ...]:
    def column(text: str, key: Sort | None, *, numeric: bool = False) -> Column:
        if key is None:
            return Column(text=text, href=None, order=None)
        here = key is order
        down = not descending if here else key in _DESCENDING_FIRST
        return Column(
            text=text,
            href=with_query("/substances", **kept, sort=("-" if down else "") + key.value),
            order=("descending" if descending else "ascending") if here else None,
            numeric=numeric,
        )

    return (
        column("Substance", Sort.NAME),
        column("Group", None),
        column("Status", None),
        column("Detections", Sort.DETECTIONS, numeric=True),
        column("Countries", Sort.COUNTRIES, numeric=True),
        column("Last detected", Sort.LAST),
    )


def _active(kept: Mapping[str, str], sort: str | None) -> tuple[ActiveFilter, ...]:
    shown = {
        "q": f"text: {kept['q']}",
        "group": f"group: {words.CHEMICAL_GROUPS.get(kept['group'], '')}",
        "status": f"status: {words.LEGAL_STATUS.get(kept['status'], '')}",
    }
    return tuple(
        ActiveFilter(text=text, href=with_query("/substances", **{**kept, name: ""}, sort=sort))
        for name, text in shown.items()
        if kept[name]
    )


def _found(session: Session, principal: Principal | None, substance_id: str) -> SubstanceDetail | MergedInto:
    found = queries.substance_detail(session, principal, substance_id)
    if found is None:
        raise Problem("not-found", UNREADABLE)
    return found


def _period() -> str:
    return f"last {queries.PERIOD} months"


def _figures(
    session: Session, principal: Principal | None, substance: SubstanceDetail, context: AppContext
) -> tuple[Figure, Figure, queries.CountryCounts, queries.MonthSeries]:
    now = context.now()
    base = f"/substances/{substance.id}"
    known = queries.period_cells(session, principal, substance.members, now=now)
    series = queries.detections_by_month(session, principal, substance.members, now=now, known=known)
    countries = queries.detections_by_country(session, principal, substance.members, now=now, known=known)
    rates = None
    if not series.masked:  # a rate would give a hidden count away
        rates = rates_by_month(session, principal, substance.members, known.period, known=known.laboratories)
    return (
        figures.month_figure(substance.name, series, base=base, rates=rates),
        figures.country_figure(substance.name, countries, period=_period(), base=base),
        countries,
        series,
    )


@router.get("/substances/{substance_id}")
def substance(
    request: Request,
    context: Context,
    viewer: MaybeViewer,
    substance_id: str,
    merged: str | None = None,
    as_of: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """One substance. `as_of` is the day for which the status by instrument is told."""
    principal = viewer.principal if viewer else None
    now = context.now()
    wanted = parse_day(as_of, now.date()) if as_of else None
    with context.database.read() as session:
        found = _found(session, principal, substance_id)
        if isinstance(found, MergedInto):
            return RedirectResponse(with_query(f"/substances/{found.id}", merged=substance_id), status_code=301)
    assess_before(context, found, now.date(), wanted)
    with context.database.read() as session:
        by_month, by_country, countries, series = _figures(session, principal, found, context)
        more = sections_of(session, context, principal, found, series, countries, as_of=wanted or now.date(), period=_period())
        split = queries.confidence_split(session, principal, found.members, now=now, series=series)
        cases = queries.cases_of(session, principal, found.members)
        alerts = alerts_for(session, principal, now=now, substance_ids=found.members, limit=10)
        ranked: tuple[KeyFigure, ...] = ()
        if principal is not None and may(principal, Action.COUNTS_READ):
            ranked = (_rank_figure(found, standing_of(session, labels_of(principal), found.id)),)
        frame = build_frame(
            request,
            context,
            session,
            viewer,
            title=found.name,
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Substances", href="/substances")),
        )
    coverage = tuple(context.chemistry.coverage(now.date()))
    page = DetailContext(
        substance=found,
        merged_note=f"{merged} was merged into this substance; its address leads here." if merged else None,
        also=_also(found),
        drawing=_drawing(found),
        verdict=words.verdict(found.legal_status, found.matches, label=found.name),
        and_more=words.and_more(found.legal_status, found.matches),
        coverage_sentence=coverage_sentence(found, coverage, now.date()),
        national=national_provisions(found),
        key_figures=(*_key_figures(found, principal, countries, split, cases), *ranked),
        instruments=status_by_instrument(found, coverage),
        by_month=by_month,
        by_country=by_country,
        confidence=split.rows,
        cases=cases,
        roles=queries.ROLES,
        alerts=alerts.rows,
        stereo=words.said(words.STEREO, found.identity["stereo"]) if found.identity and found.identity.get("stereo") else None,
        identity_warnings=tuple(w["detail"] for w in (found.identity or {}).get("warnings", ())),
        contents=CONTENTS,
        more=more,
        as_of=wanted or now.date(),
        as_of_note="" if wanted or not as_of else f"'{as_of}' is no day up to today: shown is today.",
        links=_links(found, principal),
    )
    return Page("substances/detail.html", frame, page)


def _links(found: SubstanceDetail, principal: Principal | None) -> tuple[tuple[str, str], ...]:
    """What can be done from here."""
    if may(principal, Action.USE_DECLARE):
        return (("Declare a legitimate use", with_query("/legitimate-uses/new", substance_id=found.id)),)
    if not may(principal, Action.COUNTS_READ):
        return ()
    return (
        ("Explore", with_query("/explore", substance=found.id)),
        ("Compare", with_query("/priorities/compare", s=found.id)),
        ("Family", f"/families/{found.chemical_group}"),
        ("Dossier", with_query("/dossiers", substance=found.id)),
    )


def _also(substance: SubstanceDetail) -> str:
    other = [n.name for n in substance.names if n.kind in {"common", "code", "abbreviation"} and n.name != substance.name]
    return ", ".join(other[:4])


def _drawing(substance: SubstanceDetail) -> Markup | None:
    """The structure; None where there is none that can be drawn.

    Where a class or clause decided, its atoms are marked; of a listed substance that would be all of them.
    """
    if substance.smiles is None:
        return None
    deciding = words.counting(substance.matches)[:1] if substance.legal_status in {"controlled", "possibly_controlled"} else []
    atoms = tuple(deciding[0]["atoms"]) if deciding and deciding[0]["basis"] != "listed" else ()
    try:
        svg = depict_svg(substance.smiles, atoms, width=DRAWING[0], height=DRAWING[1])
    except StructureError:
        return None
    named = f'<svg role="img" aria-label="Structure of {Markup.escape(substance.name)}" '
    return Markup(svg.replace("<svg ", named, 1))  # noqa: S704 - drawn here from a parsed structure; the name is escaped


def _key_figures(
    found: SubstanceDetail,
    reader: Principal | None,
    countries: queries.CountryCounts,
    split: queries.ConfidenceSplit,
    cases: CaseSummary,
) -> tuple[KeyFigure, ...]:
    """The figures on top. Each leads to the list of what it counts, where the reader may open all of it."""
    grades = dict(split.rows)
    confirmed, probable = grades["confirmed"], grades["probable"]
    note = "confirmed and probable"
    if confirmed.n is not None and probable.n is not None:
        note = f"confirmed {confirmed.n:,}, probable {probable.n:,}"
    first = min((row.first_month for row in countries.rows), default=None)
    opens = may(reader, Action.REPORT_READ)

    def listed(path: str, **filters: str | int) -> str | None:
        return with_query(path, substance=found.id, **filters) if opens else None

    return (
        KeyFigure(
            name=f"Detections, {queries.LATELY} months",
            cell=split.counted,
            note=note,
            href=listed("/detections", period=queries.LATELY),
        ),
        KeyFigure(
            name=f"Countries, {queries.PERIOD} months",
            cell=counted(len(countries.rows)),
            note=f"of {countries.reporting} reporting" + (f", since {written_month(first)}" if first else ""),
            href=listed("/detections", period=queries.PERIOD, by="country"),
        ),
        KeyFigure(
            name="Deaths naming it",
            cell=cases.deaths,
            note=_sole(cases) if cases.any else words.HARM_UNKNOWN,
            href=listed("/cases", seriousness="death") if cases.listed else None,
            note_href=listed("/cases", seriousness="death", role="sole_cause") if cases.listed and cases.any else None,
        ),
        KeyFigure(
            name=f"Confirmed, {queries.LATELY} months",
            cell=confirmed,
            note=_share(confirmed, probable),
            href=listed("/detections", period=queries.LATELY, confidence="confirmed"),
        ),
    )


def _rank_figure(found: SubstanceDetail, standing: Standing | None) -> KeyFigure:
    """The place in the ranking that the page of priorities shows of the same snapshot, or why there is none."""
    place = standing.place if standing is not None else None
    if standing is None or place is None or place.of < LEAST_SUBSTANCES:
        return KeyFigure(name="Rank", cell=None, note=_not_ranked(found, standing))
    between = f"between {place.low:,} and {place.high:,}" if place.low < place.high else "the same"
    address = with_query("/priorities", snapshot=standing.snapshot_id, substance=found.id)
    return KeyFigure(
        name="Rank of those controlled" if place.controlled else "Rank",
        cell=counted(place.rank),
        note=f"of {place.of:,}; in 450 of 500 draws {between}. Data grade {place.grade}",
        href=f"{address}#rank-{found.id}",
    )


def _not_ranked(found: SubstanceDetail, standing: Standing | None) -> str:
    if standing is None:
        return "the first ranking is made in the night"
    if standing.place is not None:
        return f"fewer than {LEAST_SUBSTANCES} substances meet the minimum data"
    if found.ordinary:
        return "an ordinary substance here"
    return f"no confirmed or probable detection up to {written_day(standing.cutoff)} in the rows that the ranking rests on"


def _sole(cases: CaseSummary) -> str:
    return f"sole cause in {cases.sole_cause.n}" if cases.sole_cause.n is not None else "sole cause masked"


def _share(confirmed: Cell, probable: Cell) -> str:
    """What part of the detections is confirmed."""
    if confirmed.n is None or probable.n is None:
        return "of confirmed and probable: masked"
    if not (total := confirmed.n + probable.n):
        return f"no detections in {queries.LATELY} months"
    return f"{round(100 * confirmed.n / total)} % of confirmed and probable"


def _one_figure(context: AppContext, principal: Principal | None, substance_id: str, which: str) -> tuple[Figure, str, bool]:
    """One figure of a substance, its name for a file, and whether the data are synthetic."""
    with context.database.read() as session:
        found = _found(session, principal, substance_id)
        if isinstance(found, MergedInto):
            found = _found(session, principal, found.id)
        if isinstance(found, MergedInto):
            raise Problem("not-found", UNREADABLE)
        by_month, by_country, countries, series = _figures(session, principal, found, context)
        known: dict[str, Figure | None] = {"month": by_month, "country": by_country, "map": map_of(found, countries, _period())}
        if which not in known:
            today = context.now().date()
            more = sections_of(session, context, principal, found, series, countries, as_of=today, period=_period())
            known |= {"first-seen": more.first_seen, "forms": more.forms, "found-with": more.beside, "purity": more.purity}
            known["before-after"] = more.control.figure
        demonstration = context.demo or is_demonstration(session)
    figure = known.get(which)
    if figure is None:
        raise Problem("not-found", UNREADABLE)
    stem = "".join(c if c.isalnum() or c in "-," else "-" for c in found.name).strip("-") or "substance"
    return figure, f"{stem.encode('ascii', 'ignore').decode()}-{figure.id}", demonstration


@router.get("/substances/{substance_id}/detections-by-{which}.csv")
def figure_csv(context: Context, viewer: MaybeViewer, substance_id: str, which: str) -> Response:
    figure, name, demonstration = _one_figure(context, viewer.principal if viewer else None, substance_id, which)
    return _file(f"{name}.csv", "text/csv; charset=utf-8", figures.to_csv(figure, demonstration=demonstration))


@router.get("/substances/{substance_id}/detections-by-{which}.svg")
def figure_svg(context: Context, viewer: MaybeViewer, substance_id: str, which: str) -> Response:
    figure, name, demonstration = _one_figure(context, viewer.principal if viewer else None, substance_id, which)
    return _file(f"{name}.svg", "image/svg+xml", figures.to_svg(figure, demonstration=demonstration))


@router.get("/substances/{substance_id}/detections-by-{which}.png")
def figure_png(context: Context, viewer: MaybeViewer, substance_id: str, which: str) -> Response:
    figure, name, demonstration = _one_figure(context, viewer.principal if viewer else None, substance_id, which)
    return _file(f"{name}.png", "image/png", figures.to_png(figure, demonstration=demonstration))


def _file(name: str, media_type: str, content: str | bytes) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return Response(content, media_type=media_type, headers=headers)
