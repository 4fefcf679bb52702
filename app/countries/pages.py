"""Pages of countries: one country as its authority needs it, and the lags of all, open to everybody."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated

import pycountry
from fastapi import APIRouter, Depends, Request
from sqlalchemy import select
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import MaybeViewer, Viewer, requires_viewer
from app.context import Context
from app.countries.country import Country, country_of
from app.countries.lags import STEPS, Step, enqueue, labels_of, lags_of, spent
from app.notifications.inbox import AlertRow, alerts_for
from app.persistence.models import Substance
from app.problems import Problem
from app.sharing.counts import Cut, counts
from app.substances.figures import Figure, month_figure
from app.tables import safe_cell
from app.web.frame import Crumb, build_frame, is_demonstration
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))]
ALERTS = 10
NOBODY = Step(number=None, median=None, p90=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryContext:
    code: str
    name: str
    country: Country
    figure: Figure
    alerts: tuple[AlertRow, ...]
    lags: Mapping[str, Step]
    steps: Mapping[str, str]
    spent: object


@dataclass(frozen=True, slots=True, kw_only=True)
class LagContext:
    rows: tuple[tuple[str, str, Mapping[str, Step]], ...]
    steps: Mapping[str, str]
    made_at: datetime | None
    labels: tuple[str, ...]
    nobody: Step
    spent: object


def _code(text: str) -> str:
    code = text.upper()
    if pycountry.countries.get(alpha_2=code) is None:
        raise Problem("not-found", f"{text!r} is no country code of ISO 3166-1.")
    return code


@router.get("/countries/{country}")
def country(request: Request, context: Context, viewer: Reader, country: str) -> Response:
    """What is found in a country, what is new, its alerts, its lags, and what the service lacks from there."""
    code = _code(country)
    now = context.now()
    with context.database.read() as session:
        found = country_of(session, viewer.principal, code, home=context.chemistry.home_of(code), now=now)
        alerts = alerts_for(session, viewer.principal, now=now, country=code, limit=ALERTS)
        lags, _ = lags_of(session, viewer.principal, code)
        frame = build_frame(
            request, context, session, viewer, title=country_name(code), crumbs=(Crumb(text="Overview", href="/"),)
        )
    page = CountryContext(
        code=code, name=country_name(code), country=found, figure=_figure(code, found),
        alerts=alerts.rows, lags=lags.get(code, {}), steps=STEPS, spent=spent,
    )  # fmt: skip
    return Page("countries/country.html", frame, page)


def _figure(code: str, found: Country) -> Figure:
    name = country_name(code)
    drawn = month_figure(name, found.series, base=None)
    return replace(drawn, subtitle=f"{drawn.subtitle.replace('all countries', name)}, all substances")


@router.get("/countries/{country}/detections.csv")
def country_csv(context: Context, viewer: Reader, country: str) -> Response:
    """Every substance found in the country by month and confidence, as far as the reader may see."""
    code = _code(country)
    with context.database.read() as session:
        cells = session.execute(
            counts(viewer.principal, ("substance_id", "month", "confidence"), Cut(countries=(code,), confidences=None))
        ).all()
        known = select(Substance.id, Substance.name).where(Substance.id.in_({row[0] for row in cells}))
        names: dict[str, str] = {row.id: row.name for row in session.execute(known)}
        demonstration = context.demo or is_demonstration(session)
    rows = sorted((names.get(key, "not resolved"), key, month, confidence, n) for key, month, confidence, n in cells)
    header = ("substance", "substance_id", "country", "month", "confidence", "detections")
    body = ((name, key, code, month, confidence, n) for name, key, month, confidence, n in rows)
    return _csv(header, body, f"detections-{code}", demonstration=demonstration)


def _csv(header: Iterable[str], rows: Iterable[Iterable[object]], name: str, *, demonstration: bool) -> Response:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    more = ("synthetic demonstration data",) if demonstration else ()
    writer.writerow([*header, *(["data"] if demonstration else [])])
    for row in rows:
        writer.writerow([*(safe_cell(value) for value in row), *more])
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "private, no-store"}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/lag")
def lag(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    """How long each step takes, country by country; open to everybody."""
    principal = viewer.principal if viewer else None
    with context.database.read() as session:
        found, made_at = lags_of(session, principal)
        frame = build_frame(
            request, context, session, viewer, title="How long each step takes", crumbs=(Crumb(text="Overview", href="/"),)
        )
    if made_at is None:
        with context.database.write() as session:
            enqueue(session, context.now())
        context.wake_worker()
    rows = tuple(sorted(((code, country_name(code), steps) for code, steps in found.items()), key=lambda row: row[1]))
    page = LagContext(rows=rows, steps=STEPS, made_at=made_at, labels=labels_of(principal), nobody=NOBODY, spent=spent)
    return Page("countries/lag.html", frame, page)


@router.get("/lag.csv")
def lag_csv(context: Context, viewer: MaybeViewer) -> Response:
    """The same as CSV, in hours; [c] where masked."""
    with context.database.read() as session:
        found, made_at = lags_of(session, viewer.principal if viewer else None)
        demonstration = context.demo or is_demonstration(session)
    rows = [
        (
            code,
            step,
            *(("[c]",) * 3 if value.masked else (value.number, value.median, value.p90)),
            made_at.isoformat() if made_at else "",
        )
        for code, steps in sorted(found.items())
        for step, value in steps.items()
    ]
    return _csv(("country", "step", "number", "median_hours", "p90_hours", "made_at"), rows, "lags", demonstration=demonstration)
