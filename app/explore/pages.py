"""The explorer's page and its downloads: every filter is in the address, and the downloads are of the same address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.orm import Session
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, Principal
from app.auth.sessions import Viewer, requires_viewer
from app.context import AppContext, Context
from app.explore.figures import figure_of, name_of
from app.explore.queries import Asked, Frame, answer, look_up
from app.explore.questions import PERIODS, SPLIT_WORDS, VIEW_WORDS, Measure, Question, Split, View, Wanted
from app.persistence.deadline import TooLong, within
from app.problems import Problem
from app.regions import REGIONS
from app.substances.figures import Figure, to_csv, to_png, to_svg, to_xlsx
from app.substances.search import search_substances
from app.web import words
from app.web.frame import Crumb, build_frame, is_demonstration
from app.web.places import all_countries
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))]
SECONDS = 5.0
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreContext:
    """`refused` says why there is no figure, `instead` is an address that has one; `near` are spellings close to `name`."""

    question: Question
    names: dict[str, str]
    figure: Figure | None
    refused: str
    instead: tuple[str, str] | None
    active: tuple[tuple[str, str], ...]
    tabs: tuple[tuple[str, str, bool], ...]
    count: str
    name: str
    near: tuple[tuple[str, str], ...]
    records_href: str
    address: str
    countries: tuple[tuple[str, str], ...]
    regions: tuple[str, ...]
    periods: tuple[int, ...]
    splits: tuple[tuple[str, str], ...]


@router.get("/explore")
def explore(
    request: Request, context: Context, viewer: Reader, question: Wanted, name: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The page. A name typed in is looked up: one substance is added to the address, several are offered."""
    reader = viewer.principal
    name = name.strip()
    near: tuple[tuple[str, str], ...] = ()
    with context.database.read(patient=True) as session:
        if name:
            found = search_substances(session, reader, now=context.now(), text=name, limit=6)
            if found.total == 1 or (found.exact and found.items):
                wanted = replace(question, substances=(*question.substances, found.items[0].id))
                return RedirectResponse(wanted.href(), status_code=303)
            near = tuple((row.id, row.name) for row in found.items) or found.near
        asked = look_up(session, reader, question)
        figure, refused, instead, frame = _figure(session, reader, asked, context)
    with context.database.read() as session:
        address = context.settings.base_url.rstrip("/") + question.href()
        page = _page(asked, figure, refused, instead, frame, name, near, address)
        top = build_frame(request, context, session, viewer, title="Explore", crumbs=(Crumb(text="Overview", href="/"),))
    return Page("explore/explore.html", top, page)


def _figure(
    session: Session, reader: Principal, asked: Asked, context: AppContext
) -> tuple[Figure | None, str, tuple[str, str] | None, Frame | None]:
    """The figure, or why there is none and what could be asked instead."""
    question = asked.question
    if question.substances and not asked.names:
        text = "None of these substances exists, or you may not see it."
        return None, text, ("Show all substances", replace(question, substances=()).href()), None
    try:
        with within(session, SECONDS):
            frame = answer(session, reader, asked, now=context.now())
    except TooLong:
        less = question.narrower()
        text = f"This query is too wide to answer in {SECONDS:g} s; narrow the period, or ask for one substance or country."
        return None, text, (f"Ask for {less.period} months", less.href()), None
    if question.measure is Measure.RATE and not (frame.rates or frame.place_rates):
        text = (
            "No rate: no laboratory in this selection has stated how many tests it did"
            + (" in this context" if question.contexts else "")
            + "."
        )
        return None, text, ("Show counts", replace(question, measure=Measure.COUNT).href()), frame
    return figure_of(asked, frame), "", None, frame


def _page(
    asked: Asked,
    figure: Figure | None,
    refused: str,
    instead: tuple[str, str] | None,
    frame: Frame | None,
    name: str,
    near: tuple[tuple[str, str], ...],
    address: str,
) -> ExploreContext:
    question = asked.question
    total = frame.total if frame is not None else 0
    offered = tuple((replace(question, substances=(*question.substances, key)).href(), text) for key, text in near)
    return ExploreContext(
        question=question,
        names=dict(asked.names),
        figure=figure,
        refused=refused,
        instead=instead,
        active=question.active(dict(asked.names)),
        tabs=tuple((VIEW_WORDS[view], replace(question, view=view).href(), view is question.view) for view in View),
        count=words.count(total, "detection", "detections") if frame is not None else "",
        name=name,
        near=offered,
        records_href=records_of(question, frame) if frame is not None and total else "",
        address=address,
        countries=all_countries(),
        regions=REGIONS,
        periods=PERIODS,
        splits=tuple((split.value, text) for split, text in SPLIT_WORDS.items()),
    )


def records_of(question: Question, frame: Frame) -> str:
    """The address of the list of the detections counted."""
    query = replace(question, split=Split.NONE, view=View.CHART, measure=Measure.COUNT).query()
    span = f"from={frame.months[0]}&to={frame.months[-1]}"
    return f"/detections?{query}&{span}" if query else f"/detections?{span}"


@router.get("/explore.{kind}")
def download(context: Context, viewer: Reader, question: Wanted, kind: str) -> Response:
    """The shown rows as CSV or XLSX, or the picture with its notes as SVG or PNG."""
    if kind not in {"csv", "xlsx", "svg", "png"}:
        raise Problem("not-found", "There is no such download.")
    with context.database.read(patient=True) as session:
        asked = look_up(session, viewer.principal, question)
        figure, refused, _, _ = _figure(session, viewer.principal, asked, context)
    with context.database.read() as session:
        demonstration = context.demo or is_demonstration(session)
    if figure is None:
        raise Problem("validation", refused)
    stem = "".join(c if c.isalnum() else "-" for c in name_of(asked)).strip("-").encode("ascii", "ignore").decode()
    headers = {"Content-Disposition": f'attachment; filename="explore-{stem}.{kind}"', "Cache-Control": "private, no-store"}
    if kind == "csv":
        return Response(to_csv(figure, demonstration=demonstration), media_type="text/csv; charset=utf-8", headers=headers)
    if kind == "xlsx":
        return Response(to_xlsx(figure, demonstration=demonstration), media_type=XLSX, headers=headers)
    if kind == "png":
        return Response(to_png(figure, demonstration=demonstration), media_type="image/png", headers=headers)
    return Response(to_svg(figure, demonstration=demonstration), media_type="image/svg+xml", headers=headers)
