"""Pages of endpoints: what a filter would have sent, making one, trying it, and looking after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from starlette.datastructures import FormData
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, check_token, requires_form, requires_viewer
from app.context import AppContext, Context
from app.notifications import subscriptions
from app.notifications.inbox import WITHHELD, is_withheld
from app.notifications.preview import Preview, preview
from app.notifications.schemas import TYPES, RedeliverIn, SubscriptionIn, SubscriptionPatch, Tlp
from app.persistence.models import Attempt, Subscription, Task
from app.problems import FieldError, Problem, from_validation
from app.regions import REGIONS
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue, WithIssues
from app.web.places import country_name, region_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False, prefix="/subscriptions")

HOME = Crumb(text="Overview", href="/")
LIST = Crumb(text="Subscriptions", href="/subscriptions")
MOST_SHOWN = 50
MOST_ATTEMPTS = 10
OVERLAP = timedelta(hours=24)
CHANNELS = {"webhook": "Webhook", "email": "E-mail", "inbox": "Inbox only"}
LABELS: tuple[Tlp, ...] = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
FIELDS = {"/filter/countries": "countries", "/filter/substances": "substances", "/url": "target", "/address": "target"}

Subscriber = Annotated[Viewer, Depends(requires_viewer(Action.SUBSCRIBE))]
SubscribersForm = Annotated[Viewer, Depends(requires_form(Action.SUBSCRIBE))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An endpoint in the list."""

    id: str
    channel: str
    target: str
    filter: str
    tlp_max: str
    state: str
    waiting: int
    dead: int
    last_error: str | None
    last_success_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext:
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    id: str
    level: int
    headline: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewContext(WithIssues):
    values: dict[str, Any]
    preview: Preview | None
    lines: tuple[PreviewLine, ...]
    sentence: str
    labels: tuple[str, ...]
    types: tuple[str, ...]
    regions: tuple[tuple[str, str], ...]
    mail: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLine:
    at: datetime
    what: str
    outcome: str
    status: int | None
    error: str | None
    response: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OneContext:
    line: Line
    secret: str | None
    attempts: tuple[AttemptLine, ...]
    testing: bool
    breaker: str


def filter_words(stored: dict[str, Any]) -> str:
    """A filter in a sentence: "Level 3 and above, Germany or France, nitazenes"."""
    level = stored.get("min_level", 1)
    parts = ["Every level" if level == 1 else f"Level {level} {words.LEVELS[level]}" + ("" if level == 4 else " and above")]
    if stored.get("types"):
        parts.append(" or ".join(words.ALERT_TYPES[code] for code in stored["types"]))
    places = [country_name(code) for code in stored.get("countries", ())]
    places += [region_name(code) for code in stored.get("regions", ())]
    parts.append(" or ".join(places) if places else "every country")
    if stored.get("groups"):
        names = {**words.EFFECT_GROUPS, **words.CHEMICAL_GROUPS}
        parts.append(" or ".join(names.get(code, code) for code in stored["groups"]))
    if stored.get("substances"):
        parts.append(words.count(len(stored["substances"]), "named substance", "named substances"))
    return "; ".join(parts)


def _lines(session: Session, rows: Sequence[Subscription]) -> tuple[Line, ...]:
    """Endpoints with what waits for them and what is dead. One query."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    open_states = ("ready", "parked", "leased", "dead")
    found = session.execute(
        select(Task.lane, Task.state, func.count())
        .where(Task.lane.in_([row.id for row in rows]), Task.topic == "deliver", Task.state.in_(open_states))
        .group_by(Task.lane, Task.state)
    )
    for lane, state, n in found:
        counts[lane][state] = n
    return tuple(_line(row, counts[row.id]) for row in rows)


def _line(row: Subscription, counts: Mapping[str, int]) -> Line:
    return Line(
        id=row.id,
        channel=CHANNELS[row.channel],
        target=row.target or "",
        filter=filter_words(row.filter),
        tlp_max=row.tlp_max,
        state=row.state,
        waiting=sum(count for state, count in counts.items() if state != "dead"),
        dead=counts.get("dead", 0),
        last_error=row.last_error,
        last_success_at=row.last_success_at,
    )


@router.get("")
def endpoints(request: Request, context: Context, viewer: Subscriber) -> Response:
    """This organisation's endpoints."""
    with context.database.read() as session:
        rows = subscriptions.page(session, viewer.principal, before=None, limit=100)
        page = ListContext(lines=_lines(session, rows))
        frame = build_frame(request, context, session, viewer, title="Subscriptions", crumbs=(HOME,))
    return Page("notifications/subscriptions.html", frame, page)


def _split(text: str) -> list[str]:
    return [part for part in text.replace(",", " ").split() if part]


def _values(form: FormData | Any) -> dict[str, Any]:
    """The form's fields as they were filled in; absent ones as in an empty form."""
    return {
        "channel": str(form.get("channel", "webhook")),
        "target": str(form.get("target", "")).strip(),
        "min_level": str(form.get("min_level", "2")),
        "countries": str(form.get("countries", "")),
        "substances": str(form.get("substances", "")),
        "types": [str(one) for one in form.getlist("types")],
        "groups": [str(one) for one in form.getlist("groups")],
        "regions": [str(one) for one in form.getlist("regions")],
        "tlp_max": str(form.get("tlp_max", "GREEN")),
        "detail": str(form.get("detail", "full")),
        "daily_limit": str(form.get("daily_limit", "")).strip(),
    }


def _wish(values: dict[str, Any]) -> SubscriptionIn:
    """Raises ValidationError where a field does not fit."""
    channel = values["channel"]
    return SubscriptionIn.model_validate(
        {
            "channel": channel,
            "url": values["target"] or None if channel == "webhook" else None,
            "address": values["target"] or None if channel == "email" else None,
            "filter": {
                "min_level": values["min_level"],
                "countries": [code.upper() for code in _split(values["countries"])],
                "substances": _split(values["substances"]),
                "types": values["types"],
                "groups": values["groups"],
                "regions": values["regions"],
            },
            "tlp_max": values["tlp_max"],
            "detail": values["detail"],
            "daily_limit": values["daily_limit"] or None,
        }
    )


def _issues(errors: tuple[FieldError, ...] | list[FieldError]) -> tuple[Issue, ...]:
    found = []
    for error in errors:
        field = next(
            (name for start, name in FIELDS.items() if error.pointer.startswith(start)), error.pointer.rpartition("/")[2]
        )
        found.append(Issue(field=field, text=error.detail))
    return tuple(found)


def _new(
    request: Request, context: AppContext, viewer: Viewer, values: dict[str, Any], issues: tuple[Issue, ...], wish: Any
) -> Response:
    """The form with its preview; 422 where something does not fit."""
    with context.database.read() as session:
        seen = preview(session, viewer.principal, wish.filter, wish.tlp_max, context.now()) if wish is not None else None
        lines = tuple(
            PreviewLine(
                id=item.alert.id,
                level=item.revision.level,
                headline=WITHHELD if is_withheld(viewer.principal, item.alert, item.revision) else item.revision.headline,
                at=item.alert.issued_at or item.alert.created_at,
            )
            for item in (seen.found[:MOST_SHOWN] if seen else ())
        )
        frame = build_frame(request, context, session, viewer, title="New subscription", crumbs=(HOME, LIST), error=bool(issues))
    held = [label for label in LABELS if subscriptions.clearance(viewer.principal.role, label) == label]
    page = NewContext(
        values=values,
        issues=issues,
        preview=seen,
        lines=lines,
        sentence=_sentence(seen) if seen else "",
        labels=tuple(held),
        types=TYPES,
        regions=tuple((code, region_name(code)) for code in REGIONS),
        mail=bool(context.settings.smtp_url),
    )
    return Page("notifications/subscription_new.html", frame, page, status=422 if issues else 200)


def _sentence(seen: Preview) -> str:
    total = len(seen.found)
    if not total:
        return "This filter would have sent you nothing in the past 30 days."
    split = ", ".join(f"{count} of level {level}" for level, count in seen.by_level.items())
    return f"This filter would have sent you {words.count(total, 'alert', 'alerts')} in the past 30 days: {split}."


@router.get("/new")
def new(request: Request, context: Context, viewer: Subscriber) -> Response:
    """The form, with what the filter of the address would have sent in the past 30 days."""
    values = _values(request.query_params)
    try:
        wish = _wish(values)
    except ValidationError as error:
        return _new(request, context, viewer, values, _issues(from_validation(error.errors()).errors), None)
    return _new(request, context, viewer, values, (), wish)


async def _posted(request: Request) -> FormData:
    return await request.form(max_files=0, max_fields=200)


@router.post("/new")
def make(request: Request, context: Context, viewer: Subscriber, form: Annotated[FormData, Depends(_posted)]) -> Response:
    """Makes the endpoint, or shows the preview. A webhook's secret is shown on the page that answers, this once."""
    check_token(viewer, str(form.get("csrf_token", "")))
    values = _values(form)
    try:
        wish = _wish(values)
        if form.get("step") == "preview":
            return _new(request, context, viewer, values, (), wish)
        with context.database.write() as session:
            made, secret = subscriptions.create(
                session,
                viewer.principal,
                wish,
                allow=context.settings.egress_allow,
                box=context.box,
                mail=bool(context.settings.smtp_url),
                now=context.now(),
            )
            made_id = made.id
    except ValidationError as error:
        return _new(request, context, viewer, values, _issues(from_validation(error.errors()).errors), None)
    except Problem as problem:
        return _new(request, context, viewer, values, _issues(problem.errors), None)
    context.wake_worker()
    if secret is None:
        return RedirectResponse(f"/subscriptions/{made_id}", status_code=303)
    return _one(request, context, viewer, made_id, secret=secret)


def _one(
    request: Request, context: AppContext, viewer: Viewer, subscription_id: str, *, secret: str | None = None, testing: str = ""
) -> Response:
    with context.database.read() as session:
        row = subscriptions.own(session, viewer.principal, subscription_id)
        found = session.execute(
            select(Attempt, Task)
            .join(Task, Task.id == Attempt.task_id)
            .where(Task.lane.in_((row.id, f"ping:{row.id}")))
            .order_by(Attempt.started_at.desc(), Attempt.id.desc())
            .limit(MOST_ATTEMPTS)
        ).all()
        attempts = tuple(
            AttemptLine(
                at=attempt.started_at,
                what={"ping": "Test", "heartbeat": "Heartbeat", "digest": "Digest", "confirm": "Confirmation"}.get(
                    task.topic, "Alert"
                ),
                outcome=attempt.outcome,
                status=attempt.status,
                error=attempt.error,
                response=attempt.response,
            )
            for attempt, task in found
        )
        running = testing and session.scalar(
            select(Task.id).where(
                Task.id == testing.removeprefix("msg_"), Task.state.in_(("ready", "leased")), Task.attempts == 0
            )
        )
        page = OneContext(
            line=_lines(session, [row])[0], secret=secret, attempts=attempts, testing=bool(running), breaker=row.breaker
        )
        title = f"{CHANNELS[row.channel]} {row.target or ''}".strip()
        frame = build_frame(request, context, session, viewer, title=title, crumbs=(HOME, LIST))
    headers = {"Cache-Control": "no-store"} if secret else {}
    return Page("notifications/subscription.html", frame, page, headers=headers)


@router.get("/{subscription_id}")
def one(
    request: Request,
    context: Context,
    viewer: Subscriber,
    subscription_id: str,
    test: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """One endpoint: its state, and what its receiver answered lately, as text."""
    return _one(request, context, viewer, subscription_id, testing=test)


@router.post("/{subscription_id}/{change}")
def change(request: Request, context: Context, viewer: SubscribersForm, subscription_id: str, change: str) -> Response:
    """`test`, `pause`, `resume`, `rotate`, `redeliver` (all dead) or `delete`."""
    now, target = context.now(), f"/subscriptions/{subscription_id}"
    with context.database.write() as session:
        row = subscriptions.own(session, viewer.principal, subscription_id, lock=True)
        match change:
            case "test":
                target += f"?test={subscriptions.send_test(session, row, now)}#attempts"
            case "pause" | "resume":
                patch = SubscriptionPatch(state="paused" if change == "pause" else "active")
                subscriptions.change(session, row, patch, allow=context.settings.egress_allow, now=now)
            case "rotate":
                secret = subscriptions.rotate(session, row, context.box, now, overlap=OVERLAP)
            case "redeliver":
                subscriptions.redeliver(session, viewer.principal, row, RedeliverIn(all_dead=True), now)
            case "delete":
                subscriptions.delete(session, row, now)
                target = "/subscriptions"
            case _:
                raise Problem("not-found", "There is no such change of an endpoint.")
    context.wake_worker()
    if change == "rotate":
        return _one(request, context, viewer, subscription_id, secret=secret)
    return RedirectResponse(target, status_code=303)
