"""The page on which an analyst or an authority writes a notice, and sees whom it would reach before it goes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from alerts.policies import hears
from alerts.values import AlertFacts
from app.auth.permissions import Action, Principal, Role
from app.auth.sessions import Viewer, check_token, requires_viewer
from app.context import AppContext, Context
from app.notifications import notices, queries
from app.notifications.naming import substance_named
from app.notifications.raising import RELEASE
from app.notifications.schemas import TYPES, NoticeIn
from app.persistence.models import Organisation, Subscription, Substance
from app.problems import FieldError, Problem, from_validation
from app.regions import region_of
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

CRUMBS = (Crumb(text="Overview", href="/"), Crumb(text="Inbox", href="/inbox?show=all"))
LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
FIELDS = ("type", "level", "tlp", "headline", "short", "summary", "full", "instruction", "substance", "country")
FIRST = {"type": "analytical", "level": "1", "tlp": "GREEN"}

Writer = Annotated[Viewer, Depends(requires_viewer(Action.ALERT_WRITE))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipients:
    """Whom the first revision would reach: endpoints, and the organisations behind them; and what is asked before others hear."""

    endpoints: int
    organisations: tuple[tuple[str, str], ...]
    by_channel: tuple[tuple[str, int], ...]
    approvals: int
    inbox: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeContext(WithIssues):
    values: dict[str, str]
    recipients: Recipients | None
    types: tuple[str, ...]
    labels: tuple[str, ...]
    country_fixed: bool
    left: int


def recipients(session: Session, principal: Principal, wish: NoticeIn, substance: Substance | None) -> Recipients:
    """By the rules of sending, over the endpoints as they are now. Names of laboratories show to analysts alone."""
    release = RELEASE.release(wish.level, needs_approval=False)
    names = {substance.id, substance.key, substance.inchikey} if substance is not None else set()
    groups = {substance.chemical_group, substance.effect_group} if substance is not None else set()
    facts = AlertFacts(
        id="",
        type=wish.type,
        level=wish.level,
        tlp=wish.tlp,
        country=wish.country,
        region=region_of(wish.country) if wish.country else None,
        countries=(wish.country,) if wish.country else (),
        substance_ids=frozenset(name for name in names if name),
        groups=frozenset(groups),
        org_id=principal.org_id,
        test=principal.test,
        audience=release.audience,
    )
    rows = session.execute(
        select(Subscription, Organisation)
        .join(Organisation, Organisation.id == Subscription.org_id)
        .where(
            Subscription.deleted_at.is_(None),
            Subscription.state.in_(("active", "paused", "disabled")),
            Subscription.channel.in_(("webhook", "email")),
        )
        .order_by(Organisation.name)
    )
    heard = [
        (subscription, org)
        for subscription, org in rows
        if hears(facts, queries.reader_of_subscription(subscription, org), queries.filter_of(subscription), subscription.detail)
    ]
    shown = {
        org.id: (org.name if org.kind != "lab" or principal.role is Role.ANALYST else "A laboratory", country_name(org.country))
        for _, org in heard
    }
    return Recipients(
        endpoints=len(heard),
        organisations=tuple(sorted(shown.values())),
        by_channel=tuple(sorted(Counter(subscription.channel for subscription, _ in heard).items())),
        approvals=release.approvals,
        inbox="everybody who may read the label"
        if release.audience == "full"
        else "your organisation, the authority of the country, and analysts",
    )


def _page(
    request: Request,
    context: AppContext,
    viewer: Viewer,
    values: dict[str, str],
    issues: tuple[Issue, ...] = (),
    found: Recipients | None = None,
) -> Response:
    with context.database.read() as session:
        frame = build_frame(request, context, session, viewer, title="New notice", crumbs=CRUMBS, error=bool(issues))
    fixed = viewer.principal.role is Role.AUTHORITY
    page = NoticeContext(
        values=values,
        issues=issues,
        recipients=found,
        types=TYPES,
        labels=LABELS,
        country_fixed=fixed,
        left=160 - len(values["short"] or values["headline"]),
    )
    return Page("notifications/notice_new.html", frame, page, status=422 if issues else 200)


def _values(given: Any, viewer: Viewer) -> dict[str, str]:
    values = {name: str(given.get(name, FIRST.get(name, ""))).strip() for name in FIELDS}
    if viewer.principal.role is Role.AUTHORITY:
        values["country"] = viewer.principal.country
    return values


@router.get("/alerts/new")
def new(request: Request, context: Context, viewer: Writer) -> Response:
    """The form, empty or as the address fills it in."""
    return _page(request, context, viewer, _values(request.query_params, viewer))


async def _posted(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=50)


@router.post("/alerts/new")
def write(request: Request, context: Context, viewer: Writer, form: Annotated[FormData, Depends(_posted)]) -> Response:
    """Shows whom the notice would reach (`step=preview`), or issues it."""
    check_token(viewer, str(form.get("csrf_token", "")))
    values = _values(form, viewer)
    sent: dict[str, Any] = {name: value for name, value in values.items() if value}
    if "country" in sent:
        sent["country"] = sent["country"].upper()
    try:
        with context.database.write() as session:
            substance = _substance(session, viewer.principal, values["substance"])
            wish = NoticeIn.model_validate(sent | ({"substance": substance.id} if substance is not None else {}))
            if form.get("step") != "issue":
                return _page(request, context, viewer, values, found=recipients(session, viewer.principal, wish, substance))
            alert_id = notices.issue(
                session, viewer.principal, wish, context.now(), home=context.chemistry.home_of(wish.country)
            ).id
    except ValidationError as error:
        faults = from_validation(error.errors()).errors
        return _page(request, context, viewer, values, tuple(_issue(fault) for fault in faults))
    except Problem as problem:
        if not problem.errors:
            raise
        return _page(request, context, viewer, values, tuple(_issue(fault) for fault in problem.errors))
    context.wake_worker()
    return RedirectResponse(f"/alerts/{alert_id}", status_code=303)


def _issue(fault: FieldError) -> Issue:
    return Issue(field=fault.pointer.removeprefix("/").partition("/")[0] or "summary", text=fault.detail)


def _substance(session: Session, principal: Principal, text: str) -> Substance | None:
    if not text:
        return None
    found = substance_named(session, principal, text)
    if found is None:
        raise Problem("validation", "", errors=[FieldError("/substance", f"No one substance is called {text!r} here.")])
    return found
