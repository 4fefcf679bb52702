"""Pages of measures: what authorities decided, on what basis, until when; and recording one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, Principal, may
from app.auth.sessions import Viewer, check_token, requires_viewer
from app.context import AppContext, Context
from app.notifications import notices, queries
from app.notifications.naming import substance_named
from app.notifications.schemas import MeasureIn
from app.persistence.models import Measure, Substance
from app.problems import FieldError, Problem, from_validation
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False, prefix="/measures")

HOME = Crumb(text="Overview", href="/")
LIST = Crumb(text="Measures", href="/measures")
MOST = 100
ENDS_SOON = timedelta(days=30)
NAMES = {"valid_from": "from", "valid_until": "until"}

Reader = Annotated[Viewer, Depends(requires_viewer(Action.ALERT_READ))]
Authority = Annotated[Viewer, Depends(requires_viewer(Action.MEASURE_WRITE))]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLine:
    kind: str
    place: str
    organisation: str
    substance: str | None
    substance_id: str | None
    alert_id: str | None
    legal_basis: str | None
    begins: date | None
    until: date | None
    state: str
    public_text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext:
    lines: tuple[MeasureLine, ...]
    country: str
    may_record: bool
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContext(WithIssues):
    values: dict[str, str]
    about: str | None
    kinds: tuple[str, ...]
    substance: str | None


def _state(measure: Measure, today: date) -> str:
    """Where a measure stands on a day."""
    if measure.valid_from is not None and measure.valid_from > today:
        return "Not yet in force"
    if measure.valid_until is None:
        return "In force"
    if measure.valid_until < today:
        return "Ended"
    return "Ends within 30 days" if measure.valid_until - today <= ENDS_SOON else "In force"


def _line(measure: Measure, organisation: str, substance: Substance | None, *, known: bool, today: date) -> MeasureLine:
    """`known`: the reader may see the alert that the measure answers."""
    return MeasureLine(
        kind=measure.kind,
        place=country_name(measure.country),
        organisation=organisation,
        substance=substance.name if substance else None,
        substance_id=substance.id if substance else None,
        alert_id=measure.alert_id if known else None,
        legal_basis=measure.legal_basis,
        begins=measure.valid_from,
        until=measure.valid_until,
        state=_state(measure, today),
        public_text=measure.public_text,
    )


def _lines(session: Session, principal: Principal, rows: Sequence[tuple[Measure, str]], today: date) -> tuple[MeasureLine, ...]:
    """Measures with the names of their organisations as lines. Three queries."""
    wanted = {measure.substance_id for measure, _ in rows if measure.substance_id}
    substances = {row.id: row for row in session.scalars(select(Substance).where(Substance.id.in_(wanted)))}
    known = queries.open_among(session, principal, (measure.alert_id for measure, _ in rows))
    return tuple(
        _line(measure, name, substances.get(measure.substance_id or ""), known=measure.alert_id in known, today=today)
        for measure, name in rows
    )


@router.get("")
def measures(request: Request, context: Context, viewer: Reader, country: Annotated[str, Query(max_length=2)] = "") -> Response:
    """Measures of all countries, newest first."""
    today, chosen = context.now().date(), country.upper() if country.isalpha() else ""
    with context.database.read() as session:
        rows = notices.measures(
            session, viewer.principal, substance=None, country=chosen or None, alert=None, before=None, limit=MOST
        )
        lines = _lines(session, viewer.principal, rows, today)
        frame = build_frame(request, context, session, viewer, title="Measures", crumbs=(HOME,))
    page = ListContext(
        lines=lines,
        country=chosen,
        may_record=may(viewer.principal, Action.MEASURE_WRITE),
        summary=words.count(len(lines), "measure", "measures"),
    )
    return Page("notifications/measures.html", frame, page)


def _new(
    request: Request, context: AppContext, viewer: Viewer, values: dict[str, str], issues: tuple[Issue, ...] = ()
) -> Response:
    with context.database.read() as session:
        about = queries.find(session, viewer.principal, values["alert"]) if values["alert"] else None
        frame = build_frame(request, context, session, viewer, title="Record a measure", crumbs=(HOME, LIST), error=bool(issues))
        substance = about.alert.substance.name if about is not None and about.alert.substance is not None else None
    page = NewContext(
        values=values,
        issues=issues,
        about=about.revision.headline if about is not None and about.revision.tlp != "RED" else None,
        kinds=tuple(words.MEASURES),
        substance=substance,
    )
    return Page("notifications/measure_new.html", frame, page, status=422 if issues else 200)


def _values(given: Any) -> dict[str, str]:
    return {
        name: str(given.get(name, "")).strip()
        for name in ("kind", "alert", "substance", "legal_basis", "from", "until", "public_text")
    }


@router.get("/new")
def new(request: Request, context: Context, viewer: Authority) -> Response:
    """The form; `?alert=` names the alert that the measure answers."""
    return _new(request, context, viewer, _values(request.query_params))


async def _posted(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=50)


@router.post("/new")
def record(request: Request, context: Context, viewer: Authority, form: Annotated[FormData, Depends(_posted)]) -> Response:
    """Records the measure; a control raises `control_change`."""
    check_token(viewer, str(form.get("csrf_token", "")))
    values = _values(form)
    sent: dict[str, Any] = {name: value for name, value in values.items() if value}
    try:
        with context.database.write() as session:
            if values["substance"]:
                sent["substance"] = _substance(session, viewer.principal, values["substance"])
            wish = MeasureIn.model_validate(sent)
            notices.record_measure(
                session, viewer.principal, wish, context.now(), home=context.chemistry.home_of(viewer.principal.country)
            )
    except ValidationError as error:
        faults = from_validation(error.errors()).errors
        return _new(request, context, viewer, values, tuple(_issue(fault.pointer, fault.detail) for fault in faults))
    except Problem as problem:
        if not problem.errors:
            raise
        return _new(request, context, viewer, values, tuple(_issue(fault.pointer, fault.detail) for fault in problem.errors))
    context.wake_worker()
    target = f"/alerts/{values['alert']}" if values["alert"] else "/measures"
    return RedirectResponse(target, status_code=303)


def _issue(pointer: str, detail: str) -> Issue:
    name = pointer.removeprefix("/").partition("/")[0]
    field = NAMES.get(name, name) or ("until" if detail.startswith("until") else "kind")
    return Issue(field=field, text=detail)


def _substance(session: Session, principal: Principal, text: str) -> str:
    found = substance_named(session, principal, text)
    if found is None:
        raise Problem("validation", "", errors=[FieldError("/substance", f"No one substance is called {text!r} here.")])
    return found.id
