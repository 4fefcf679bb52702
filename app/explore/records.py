"""The detections under a count, one by one or by country: what the reader may read, by the filters of the explorer."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.permissions import Action, Principal
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.explore.queries import Asked, cut_of, look_up
from app.explore.questions import Question, Wanted
from app.persistence.models import Detection, Substance
from app.problems import Problem
from app.sharing.counts import Cut, counts
from app.sharing.rows import readable_detections
from app.substances.queries import newest_first
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Page
from app.web.templating import month as written_month

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.REPORT_READ))]
PAGE = 50
MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A detection in a list. `own` is its report's id where the reader's organisation sent it."""

    id: str
    substance_id: str
    substance: str
    month: str
    country: str
    context: str
    confidence: str
    techniques: str
    tlp: str
    own: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsContext:
    subtitle: str
    total: int
    rows: tuple[Line, ...]
    active: tuple[tuple[str, str], ...]
    next_href: str | None
    explore_href: str
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A country of the list by country: how many detections, and the address of these."""

    name: str
    n: int
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacesContext:
    subtitle: str
    rows: tuple[Place, ...]
    records_href: str


def cursor_of(line: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps([line.received_at.isoformat(), line.id]).encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, str]:
    """Raises a validation Problem for a cursor that no list of this kind gave."""
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return datetime.fromisoformat(at), str(key)
    except (binascii.Error, ValueError, TypeError) as error:
        raise Problem("validation", "The list cannot go on from there. Open it again from the start.") from error


def listed(session: Session, reader: Principal, cut: Cut, cursor: str | None) -> tuple[tuple[Line, ...], str | None]:
    """A page of detections and the cursor of the next one. One query."""
    wanted, order = newest_first(cut.substances)
    query = (
        select(Detection, Substance.name)
        .outerjoin(Substance, Substance.id == Detection.substance_id)
        .where(readable_detections(reader), *wanted, *replace(cut, substances=None).conditions(Detection))
        .order_by(*order)
        .limit(PAGE + 1)
    )
    if cursor:
        at, key = place_of(cursor)
        query = query.where(
            Detection.received_at <= at, or_(Detection.received_at < at, and_(Detection.received_at == at, Detection.id < key))
        )
    rows = session.execute(query).all()
    lines = tuple(
        Line(
            id=row.id, substance_id=row.substance_id or "", substance=name or row.reported_name or "not resolved",
            month=row.month, country=row.country, context=row.context, confidence=row.confidence,
            techniques=", ".join(row.techniques), tlp=row.tlp, own=row.report_id if row.org_id == reader.org_id else None,
        )
        for row, name in rows[:PAGE]
    )  # fmt: skip
    return lines, cursor_of(rows[PAGE - 1][0]) if len(rows) > PAGE else None


def total_of(session: Session, reader: Principal, cut: Cut) -> int:
    """How many there are, from the counts kept: equal to the length of the whole list."""
    inner = counts(reader, ("confidence",), cut).subquery()
    return int(session.scalar(select(func.coalesce(func.sum(inner.c.n), 0))) or 0)


def places_of(session: Session, reader: Principal, cut: Cut, address: Callable[[str], str]) -> tuple[Place, ...]:
    """The countries with a detection under the cut, most detections first, each with what `address` gives for it. One query."""
    rows = [(country, int(n)) for country, n in session.execute(counts(reader, ("country",), cut))]
    rows.sort(key=lambda row: (-row[1], row[0]))
    return tuple(Place(name=country_name(country), n=n, href=address(country)) for country, n in rows)


@router.get("/detections")
def detections(
    request: Request,
    context: Context,
    viewer: Reader,
    question: Wanted,
    since: Annotated[str, Query(alias="from", max_length=7)] = "",
    until: Annotated[str, Query(alias="to", max_length=7)] = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    by: Annotated[str, Query(max_length=10)] = "",
) -> Response:
    """The list behind a figure. `from` and `to` are months; without them the period of the address up to now.

    With `by` as `country` it is the list of the countries that these detections are from.
    """
    reader = viewer.principal
    months = question.months(context.now())
    first, last = (given if MONTH.fullmatch(given) else usual for given, usual in ((since, months[0]), (until, months[-1])))
    with context.database.read() as session:
        asked = look_up(session, reader, question)
        if question.substances and not asked.names:
            raise Problem("not-found", "None of these substances exists, or you may not see it.")
        cut = cut_of(asked, (first, last))
        crumbs = (Crumb(text="Overview", href="/"), Crumb(text="Explore", href=question.href()))
        if by == "country":
            places = PlacesContext(
                subtitle=_subtitle(asked, first, last),
                rows=places_of(session, reader, cut, lambda code: _list_href(replace(question, countries=(code,)), first, last)),
                records_href=_list_href(question, first, last),
            )
            frame = build_frame(request, context, session, viewer, title="Countries of detections", crumbs=crumbs)
            return Page("explore/places.html", frame, places)
        rows, following = listed(session, reader, cut, cursor)
        page = RecordsContext(
            subtitle=_subtitle(asked, first, last),
            total=total_of(session, reader, cut),
            rows=rows,
            active=question.active(dict(asked.names)),
            next_href=_beyond(request, following) if following else None,
            explore_href=question.href(),
            limit=PAGE,
        )
        frame = build_frame(request, context, session, viewer, title="Detections", crumbs=crumbs)
    return Page("explore/detections.html", frame, page)


def _list_href(question: Question, first: str, last: str) -> str:
    """The address of the list under the filters of a question, between two months."""
    query = urlencode({"from": first, "to": last})
    return f"/detections?{kept}&{query}" if (kept := question.query()) else f"/detections?{query}"


def _beyond(request: Request, cursor: str) -> str:
    """The address of the next page, with every filter kept."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return f"{request.url.path}?{urlencode([*kept, ('cursor', cursor)])}"


def _subtitle(asked: Asked, first: str, last: str) -> str:
    question = asked.question
    what = ", ".join(sorted(asked.names.values())) or (
        words.CHEMICAL_GROUPS[question.group] if question.group else "all substances"
    )
    contexts = ", ".join(words.CONTEXTS[c].lower() for c in question.contexts) or "all contexts"
    grades = " and ".join(words.CONFIDENCE[c].lower() for c in question.confidences)
    return f"{what}, {question.place()}, {written_month(first)} to {written_month(last)}, {contexts}, {grades}"
