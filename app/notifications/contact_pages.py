"""The page of an organisation's roster: whom to tell, in which order, when, and who stands in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, check_token, requires_viewer
from app.context import AppContext, Context
from app.notifications import contacts
from app.notifications.schemas import RosterIn
from app.problems import from_validation
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.templating import Page

router = APIRouter(include_in_schema=False, prefix="/contacts")

SPARE = 1  # empty lines after the last
MOST = 20
DAYS = (("1", "Mon"), ("2", "Tue"), ("3", "Wed"), ("4", "Thu"), ("5", "Fri"), ("6", "Sat"), ("7", "Sun"))
NAMES = {"hours_from": "from", "hours_until": "to"}

Member = Annotated[Viewer, Depends(requires_viewer(Action.SUBSCRIBE))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactsContext(WithIssues):
    lines: tuple[dict[str, Any], ...]
    days: tuple[tuple[str, str], ...]
    saved: bool


async def _posted(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=400)


def _page(
    request: Request,
    context: AppContext,
    viewer: Viewer,
    lines: list[dict[str, Any]] | None,
    issues: tuple[Issue, ...] = (),
    *,
    saved: bool = False,
) -> Response:
    now = context.now()
    with context.database.read() as session:
        if lines is None:
            lines = [contacts.document(row, now) for row in contacts.roster(session, viewer.principal.org_id)]
        frame = build_frame(
            request, context, session, viewer, title="Contacts", crumbs=(Crumb(text="Overview", href="/"),), error=bool(issues)
        )
    empty = {"name": "", "email": "", "deputy": "", "days": "1234567", "from": "", "to": "", "zone": "UTC", "until": ""}
    shown = tuple(lines + [empty] * (SPARE if len(lines) < MOST else 0))
    page = ContactsContext(lines=shown, days=DAYS, issues=issues, saved=saved)
    return Page("notifications/contacts.html", frame, page, status=422 if issues else 200)


@router.get("")
def show(request: Request, context: Context, viewer: Member, saved: bool = False) -> Response:
    """The roster, in the order in which people are told."""
    return _page(request, context, viewer, None, saved=saved)


def _lines(form: FormData) -> list[dict[str, Any]]:
    """The filled-in lines, in the order of their numbers; a line without name and address is left out."""
    found = []
    for number in range(MOST + SPARE):
        line: dict[str, Any] = {
            name: str(form.get(f"{number}-{name}", "")).strip()
            for name in ("name", "email", "deputy", "from", "to", "zone", "until", "order")
        }
        line["days"] = "".join(str(day) for day in form.getlist(f"{number}-days"))
        if line["name"] or line["email"]:
            order = line.pop("order")
            found.append((int(order) if order.isdigit() else number + 1, number, line))
    return [line for _, _, line in sorted(found, key=lambda one: one[:2])]


@router.post("")
def save(request: Request, context: Context, viewer: Member, form: Annotated[FormData, Depends(_posted)]) -> Response:
    """Puts the lines in place of the roster."""
    check_token(viewer, str(form.get("csrf_token", "")))
    lines = _lines(form)
    try:
        wish = RosterIn.model_validate({"contacts": [{name: value for name, value in line.items() if value} for line in lines]})
    except ValidationError as error:
        issues = []
        for fault in from_validation(error.errors()).errors:
            _, _, number, *rest = fault.pointer.split("/")
            field = NAMES.get(rest[0], rest[0]) if rest else "name"
            issues.append(Issue(field=f"{number}-{field}", text=f"Line {int(number) + 1}: {fault.detail}"))
        return _page(request, context, viewer, lines, tuple(issues))
    with context.database.write() as session:
        contacts.replace(session, viewer.principal, wish.contacts, context.now())
    return RedirectResponse("/contacts?saved=true", status_code=303)
