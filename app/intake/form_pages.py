"""Reporting by hand: the form with its live check, for laboratories without a LIMS. The same checks and storing as by the API."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from markupsafe import Markup
from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from starlette.datastructures import FormData
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, check_token, requires_viewer
from app.context import AppContext, Context
from app.intake import drafts, form, service
from app.intake.api import submission_of
from app.intake.curated import decisions_for
from app.intake.form import FieldSpec
from app.intake.present import deciding
from app.intake.resolve import ResolvedSubstance, resolve_at
from app.intake.schemas import SubstanceIn
from app.problems import FieldError, Problem, from_validation
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.templating import Fragment, Page, clock
from chem.depiction import depict_svg
from chem.errors import StructureError

router = APIRouter(include_in_schema=False)
MOST_PARTS = 400


async def _form(request: Request) -> FormData:
    """The posted form; read before the handler, which works in a thread."""
    return await request.form(max_fields=MOST_PARTS, max_files=0)


Laboratory = Depends(requires_viewer(Action.REPORT_SEND))


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstancePart:
    number: int
    fields: tuple[FieldSpec, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormContext(WithIssues):
    """What the form shows: values by field, faults by field, the substances' parts."""

    values: dict[str, Any]
    parts: tuple[SubstancePart, ...]
    sample: tuple[FieldSpec, ...]
    case: tuple[FieldSpec, ...]
    count: int
    more: bool
    token: str
    restored: datetime | None = None  # when the draft was kept that fills the form


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckContext:
    """What a substance would come out as, or what is wrong with it. `empty` where nothing was filled in yet."""

    number: int
    empty: bool = False
    failure: str | None = None
    name: str = ""
    line: str = ""
    status: str = "unresolved"
    verdict: str = ""
    explanation: str = ""
    confidence: str = ""
    because: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    analogues: tuple[str, ...] = ()
    candidates: tuple[tuple[str, str], ...] = ()
    suggestions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    drawing: Markup | None = None
    formula: str = ""
    mass: str = ""
    removed: tuple[str, ...] = ()


def _values(posted: FormData) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in posted.multi_items():
        text = str(value)[:300_000]
        if name.endswith("_techniques"):
            found.setdefault(name, []).append(text)
        else:
            found[name] = text
    return found


def _count(values: dict[str, Any]) -> int:
    given = str(values.get("count", "1"))
    return min(max(int(given), 1), form.MOST_SUBSTANCES) if given.isdigit() else 1


def _page(
    request: Request,
    context: AppContext,
    viewer: Viewer,
    values: dict[str, Any],
    *,
    count: int,
    issues: tuple[Issue, ...] = (),
    status: int = 200,
    restored: datetime | None = None,
) -> Response:
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title="New report", error=bool(issues),
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="My reports", href="/reports")),
        )  # fmt: skip
    page = FormContext(
        values=form.DEFAULTS | {"country": viewer.principal.country} | values,
        issues=issues,
        parts=tuple(SubstancePart(number=n, fields=form.substance_fields(n)) for n in range(count)),
        sample=form.SAMPLE_FIELDS,
        case=form.CASE_FIELDS,
        count=count,
        more=count < form.MOST_SUBSTANCES,
        token=viewer.csrf_token,
        restored=restored,
    )
    return Page("intake/form.html", frame, page, status=status)


@router.get("/reports/new")
def new_report(
    request: Request, context: Context, empty: Annotated[str, Query(max_length=1)] = "", viewer: Viewer = Laboratory
) -> Response:
    """The form, with what was typed and not sent; empty where that is asked for."""
    with context.database.read() as session:
        draft = None if empty else drafts.draft_of(session, viewer.person_id)
    if draft is None:
        return _page(request, context, viewer, {}, count=1)
    return _page(request, context, viewer, draft.fields, count=_count(draft.fields), restored=draft.saved_at)


@router.post("/reports/draft")
def keep_draft(context: Context, viewer: Viewer = Laboratory, posted: FormData = Depends(_form)) -> Response:
    """Keep what is typed so far; says when."""
    values = _values(posted)
    check_token(viewer, str(values.get("csrf_token", "")))
    now = context.now()
    with context.database.write() as session:
        kept = drafts.keep(session, viewer.person_id, values, now)
    return PlainTextResponse(f"Draft kept, {clock(now)}" if kept else "", headers={"Cache-Control": "private, no-store"})


@router.post("/reports/new")
def post_report(request: Request, context: Context, viewer: Viewer = Laboratory, posted: FormData = Depends(_form)) -> Response:
    """Send the report, or add a place for another substance. What is refused comes back filled in, each fault at its field."""
    values = _values(posted)
    check_token(viewer, str(values.pop("csrf_token", "")))
    count = _count(values)
    if values.pop("action", "send") == "add":
        return _page(request, context, viewer, values, count=min(count + 1, form.MOST_SUBSTANCES))
    body = form.body_of(values, count)
    try:
        submission = submission_of(context, viewer.principal, json.dumps(body, ensure_ascii=False).encode())
        with context.database.write() as session:
            stored = service.store(session, context.chemistry, submission)
            drafts.drop(session, viewer.person_id)
    except IntegrityError:
        issues: tuple[Issue, ...] = (Issue(field="lab_reference", text="This reference was used a moment ago. Open My reports."),)
    except Problem as problem:
        issues = _issues(problem, values, count)
    else:
        context.wake_worker()
        return RedirectResponse(f"/reports/{stored.id}?sent=1", status_code=303)
    with context.database.write() as session:
        drafts.keep(session, viewer.person_id, values, context.now())
    return _page(request, context, viewer, values, count=count, issues=issues, status=422)


def _issues(problem: Problem, values: dict[str, Any], count: int) -> tuple[Issue, ...]:
    if problem.slug == "duplicate-reference":
        href = f"/reports/{problem.extra['report_id']}"
        return (Issue(field="lab_reference", text="This reference was used before: open that report.", href=href),)
    errors = problem.errors or (FieldError("", problem.detail),)
    places = form.places_of(values, count)
    found = []
    for error in errors:
        field = form.field_of(error, places)
        found.append(Issue(field=field, text=_said(error, field)))
    return tuple({issue.field: issue for issue in reversed(found)}.values())[::-1]


def _said(error: FieldError, field: str) -> str:
    label = _label(field)
    if error.detail == "This field is required.":
        return f"{label}: fill this in."
    if field == "s0_structure" and error.pointer in ("", "/substances"):
        return "Name a substance by structure, name or CAS number, or say that none was found."
    if field == "lab_reference":
        return f"{label}: fill this in, in at most 200 characters."
    return f"{label}: {error.detail}"


def _label(field: str) -> str:
    number = int(field[1:].partition("_")[0]) if field[:1] == "s" and field[1:2].isdigit() else 0
    for spec in (*form.SAMPLE_FIELDS, *form.CASE_FIELDS, *form.substance_fields(number)):
        if spec.name == field:
            return spec.label
    return "The report"


@router.post("/reports/check")
def check(request: Request, context: Context, viewer: Viewer = Laboratory, posted: FormData = Depends(_form)) -> Response:
    """What one substance of the form would come out as; nothing is stored."""
    values = _values(posted)
    check_token(viewer, str(values.get("csrf_token", "")))
    given = str(request.query_params.get("n", "0"))
    n = min(int(given), form.MOST_SUBSTANCES - 1) if given.isdigit() else 0
    body = form.substance_of(values, n)
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="Check")
    return Fragment(
        "intake/check.html", frame, _checked(context, body, n, str(values.get("country", "")) or viewer.principal.country)
    )


def _checked(context: AppContext, body: dict[str, Any], n: int, country: str) -> CheckContext:
    if not body:
        return CheckContext(number=n, empty=True)
    try:
        source = SubstanceIn.model_validate(body)
        decisions = {}
        if source.structure is None:
            with context.database.read() as session:
                decisions = decisions_for(session, context.chemistry, [source.name])
        found = resolve_at(0, source, context.chemistry, context.now().date(), country, decisions)
    except ValidationError as error:
        return CheckContext(number=n, failure=from_validation(error.errors()).errors[0].detail)
    except Problem as problem:
        return CheckContext(number=n, failure=problem.errors[0].detail if problem.errors else problem.detail)
    return _shown(found, n, country)


def _shown(found: ResolvedSubstance, n: int, country: str) -> CheckContext:
    matches = deciding(found.matches, country)
    identity = found.assessment.identity if found.assessment else None
    first = next((m for m in matches if m["captured"]), None)
    name = found.substance.name if found.substance else found.label
    return CheckContext(
        number=n,
        name=name or "Not resolved",
        line=words.said(words.RESOLUTIONS, found.resolution),
        status=str(found.legal_status),
        verdict=words.verdict(str(found.legal_status), matches, label=name or ""),
        explanation=str(first["explanation"]) if first else "",
        confidence=words.said(words.CONFIDENCE, found.confidence),
        because=found.because,
        steps=found.needs.steps,
        analogues=tuple(f"{a.entry} ({a.similarity:.2f})" for a in (found.assessment.analogues if found.assessment else ())),
        candidates=tuple((c["name"] or c["smiles"], c.get("legal_status", "")) for c in found.candidates),
        suggestions=tuple(f"{s['name']} ({s['score']})" for s in found.suggestions),
        warnings=tuple(w["detail"] for w in found.warnings),
        drawing=_drawing(identity.parent_smiles) if identity else None,
        formula=identity.formula if identity else "",
        mass=f"{identity.monoisotopic_mass:.4f}" if identity else "",
        removed=tuple(identity.removed) if identity else (),
    )


def _drawing(smiles: str) -> Markup | None:
    try:
        return Markup(depict_svg(smiles))  # noqa: S704 - drawn here from a parsed structure
    except StructureError:
        return None
