"""Pages of the register of legitimate uses: declaring, one's own list, and the analyst's queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, may
from app.auth.sessions import Viewer, check_token, requires_form, requires_viewer
from app.context import AppContext, Context
from app.curation.service import named_by
from app.intake.schemas import WithdrawIn
from app.notifications.cursors import decode_cursor, encode_cursor
from app.problems import FieldError, Problem, from_validation
from app.uses import service
from app.uses.schemas import KINDS, STATES, USES, DecisionIn, UseIn
from app.uses.service import Listed
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.templating import Page, with_query

router = APIRouter(include_in_schema=False, prefix="/legitimate-uses")

HOME = Crumb(text="Overview", href="/")
LIST = Crumb(text="Legitimate uses", href="/legitimate-uses")
LIMIT = 50
FIELDS = ("substance", "substance_id", "use", "kind", "source", "note", "countries", "from", "until")
_NAMES = {"valid_from": "from", "valid_until": "until", "structure": "substance", "name": "substance", "cas": "substance",
          "inchikey": "substance"}  # fmt: skip

Reader = Annotated[Viewer, Depends(requires_viewer(Action.SUBSTANCE_READ))]
Declarer = Annotated[Viewer, Depends(requires_viewer(Action.USE_DECLARE))]
DeclarerForm = Annotated[Viewer, Depends(requires_form(Action.USE_DECLARE))]
DeciderForm = Annotated[Viewer, Depends(requires_form(Action.USE_DECIDE))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext(WithIssues):
    uses: tuple[Listed, ...]
    state: str
    substance: str
    summary: str
    states: tuple[str, ...]
    may_declare: bool
    may_decide: bool
    next_href: str | None
    values: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContext(WithIssues):
    values: dict[str, str]
    named: str | None
    uses: tuple[str, ...]
    kinds: tuple[str, ...]


def _list(
    request: Request,
    context: AppContext,
    viewer: Viewer,
    *,
    state: str = "",
    substance: str = "",
    cursor: str | None = None,
    values: dict[str, str] | None = None,
    issues: tuple[Issue, ...] = (),
) -> Response:
    decides = may(viewer.principal, Action.USE_DECIDE)
    state = state if state in STATES else ""
    with context.database.read() as session:
        rows = service.uses(
            session, viewer.principal, substances=[substance] if substance else None, state=state or None,
            before=decode_cursor(cursor), limit=LIMIT + 1,
        )  # fmt: skip
        frame = build_frame(request, context, session, viewer, title="Legitimate uses", crumbs=(HOME,), error=bool(issues))
    shown = rows[:LIMIT]
    more = with_query("/legitimate-uses", state=state, substance=substance, cursor=encode_cursor(shown[-1].id)) if shown else None
    page = ListContext(
        uses=tuple(shown),
        state=state,
        substance=substance,
        summary=words.count(len(shown), "declaration", "declarations") + (", the newest of more" if len(rows) > LIMIT else ""),
        states=STATES if decides or may(viewer.principal, Action.USE_DECLARE) else ("confirmed",),
        may_declare=may(viewer.principal, Action.USE_DECLARE),
        may_decide=decides,
        next_href=more if len(rows) > LIMIT else None,
        values=values or {},
        issues=issues,
    )
    return Page("uses/list.html", frame, page, status=422 if issues else 200)


@router.get("")
def uses(
    request: Request,
    context: Context,
    viewer: Reader,
    state: Annotated[str, Query(max_length=10)] = "",
    substance: Annotated[str, Query(max_length=26)] = "",
    cursor: Annotated[str | None, Query(max_length=60)] = None,
) -> Response:
    """The register as the reader may see it; an analyst gets what waits first unless another state is asked for."""
    if may(viewer.principal, Action.USE_DECIDE) and "state" not in request.query_params and not substance:
        state = "waiting"
    return _list(request, context, viewer, state=state, substance=substance, cursor=cursor)


def _new(
    request: Request, context: AppContext, viewer: Viewer, values: dict[str, str], issues: tuple[Issue, ...] = ()
) -> Response:
    with context.database.read() as session:
        named = service.name_of(session, viewer.principal, values["substance_id"]) if values["substance_id"] else None
        frame = build_frame(
            request, context, session, viewer, title="Declare a legitimate use", crumbs=(HOME, LIST), error=bool(issues)
        )
    page = NewContext(values=values, named=named, uses=USES, kinds=KINDS, issues=issues)
    return Page("uses/new.html", frame, page, status=422 if issues else 200)


def _values(given: Any) -> dict[str, str]:
    return {name: str(given.get(name, "")).strip() for name in FIELDS}


@router.get("/new")
def new(request: Request, context: Context, viewer: Declarer) -> Response:
    """The form; `?substance_id=` names the substance."""
    return _new(request, context, viewer, _values(request.query_params))


async def _posted(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=50)


@router.post("/new")
def declare(request: Request, context: Context, viewer: Declarer, form: Annotated[FormData, Depends(_posted)]) -> Response:
    """Stores the declaration, which then waits for an analyst; a fault shows the form again with what was typed."""
    check_token(viewer, str(form.get("csrf_token", "")))
    values = _values(form)
    try:
        wish = UseIn.model_validate(_sent(values))
        now = context.now()
        resolved = service.resolve(wish, context.chemistry, now.date(), viewer.principal.country)
        with context.database.write() as session:
            service.declare(session, context.chemistry, wish, resolved, viewer.principal, now)
    except ValidationError as error:
        return _new(request, context, viewer, values, _issues(from_validation(error.errors()).errors))
    except Problem as problem:
        if problem.slug == "conflict":
            return _new(
                request, context, viewer, values, (Issue(field="substance", text=problem.detail, href="/legitimate-uses"),)
            )
        if not problem.errors:
            raise
        return _new(request, context, viewer, values, _issues(problem.errors))
    return RedirectResponse("/legitimate-uses", status_code=303)


def _sent(values: dict[str, str]) -> dict[str, Any]:
    """The declaration as the API takes it. What is typed as the substance is read as a structure, number or name."""
    sent: dict[str, Any] = {name: values[name] for name in ("use", "source", "note", "from", "until") if values[name]}
    sent.setdefault("source", "")
    if values["use"] == "known" and values["kind"]:
        sent["kind"] = values["kind"]
    sent["countries"] = [code.strip().upper() for code in values["countries"].replace(";", ",").split(",") if code.strip()]
    if values["substance_id"]:
        return sent | {"substance": values["substance_id"]}
    if not values["substance"]:
        return sent
    return sent | named_by(values["substance"]).model_dump(include={"structure", "name", "cas", "inchikey"}, exclude_none=True)


def _issues(faults: Any) -> tuple[Issue, ...]:
    return tuple(_issue(fault) for fault in faults)


def _issue(fault: FieldError) -> Issue:
    """A fault at the field that the form has for it; what a rule over several fields says starts with the field's name."""
    name = fault.pointer.removeprefix("/").partition("/")[0] or fault.detail.partition(":")[0]
    field = _NAMES.get(name, name)
    if field == "source" and not fault.detail.lower().startswith("source"):
        return Issue(field=field, text="Source: name what anybody can look up.")
    return Issue(field=field, text=fault.detail[:1].upper() + fault.detail[1:])


@router.post("/{use_id}/decide")
def decide(
    request: Request,
    context: Context,
    viewer: DeciderForm,
    use_id: str,
    decision: Annotated[str, Form(max_length=10)] = "",
    note: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Confirms or refuses; the note is needed for both."""
    try:
        wish = DecisionIn(note=note)
    except ValidationError:
        fault = Issue(field=f"note-{use_id}", text="Note: say what you checked, or why it is refused.")
        return _list(request, context, viewer, state="waiting", issues=(fault,))
    if decision not in ("confirmed", "refused"):
        fault = Issue(field=f"note-{use_id}", text="Decision: confirm or refuse.")
        return _list(request, context, viewer, state="waiting", issues=(fault,), values={use_id: wish.note})
    with context.database.write() as session:
        service.decide(session, use_id, decision, wish.note, viewer.principal, context.now())
    return RedirectResponse("/legitimate-uses", status_code=303)


@router.post("/{use_id}/withdraw")
def withdraw(
    request: Request, context: Context, viewer: DeclarerForm, use_id: str, reason: Annotated[str, Form(max_length=2000)] = ""
) -> Response:
    """Takes one's own declaration back, with a reason."""
    try:
        wish = WithdrawIn(reason=reason)
    except ValidationError:
        fault = Issue(field=f"reason-{use_id}", text="Reason: say why, in a few words.")
        return _list(request, context, viewer, issues=(fault,))
    with context.database.write() as session:
        service.withdraw(session, use_id, wish.reason, viewer.principal, context.now())
    return RedirectResponse("/legitimate-uses", status_code=303)
