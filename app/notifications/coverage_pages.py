"""The page that says who has not seen what: sent, delivered, seen, acknowledged, overdue, by alert and authority."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.responses import Response

from app.auth.permissions import Action, Principal, Role
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.notifications import queries
from app.notifications.coverage import coverages_of
from app.notifications.inbox import WITHHELD, is_withheld, place_of
from app.persistence.models import Alert, AlertRevision, Organisation, Report
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

SPAN = timedelta(days=30)
MOST_ALERTS = 50
CLOCKED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRow:
    """An alert with its lines. `opens`: the reader may open the alert; an administrator follows it by its id."""

    alert_id: str
    opens: bool
    level: int
    headline: str
    place: str
    lines: tuple[dict[str, Any], ...]
    nobody: tuple[str, ...]

    @property
    def overdue(self) -> int:
        return sum(bool(line["overdue"]) for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageContext:
    rows: tuple[CoverageRow, ...]
    overdue: int
    summary: str
    show: str
    nobody: tuple[str, ...]
    whole: bool


def _rows(session: Session, principal: Principal, now: datetime) -> list[CoverageRow]:
    """Alerts of levels 3 and 4 of the past 30 days, those with somebody overdue first. The operator sees all of them without
    what they say.
    """
    operator = principal.role is Role.ADMIN
    if operator:
        query = select(Alert, AlertRevision).join(
            AlertRevision, (AlertRevision.alert_id == Alert.id) & (AlertRevision.revision == Alert.revision)
        )
        query = query.where(Alert.test.is_(False), AlertRevision.state != "draft")
    else:
        query = queries.visible(session, principal)
    query = query.where(AlertRevision.level >= CLOCKED, Alert.issued_at >= now - SPAN)
    shown = session.execute(query.order_by(Alert.id.desc()).limit(MOST_ALERTS)).all()
    coverages = coverages_of(session, principal, [alert for alert, _ in shown], now)
    found = []
    for alert, revision in shown:
        known = coverages[alert.id]
        hidden = operator or is_withheld(principal, alert, revision)
        found.append(
            CoverageRow(
                alert_id=alert.id,
                opens=not operator,
                level=revision.level,
                headline=(words.said(words.ALERT_TYPES, alert.type) if operator else WITHHELD) if hidden else revision.headline,
                place=place_of(revision.countries, alert.region) if not hidden or operator else "",
                lines=tuple(known["authorities"]),
                nobody=tuple(country_name(code) for code in known["countries_without_authority"]),
            )
        )
    return sorted(found, key=lambda row: (-row.overdue, -row.level))


def countries_without_authority(session: Session) -> list[str]:
    """Countries from which reports come, or which an alert names, where nobody is to be told; by name."""
    known = set(
        session.scalars(select(Organisation.country).where(Organisation.kind == "authority", Organisation.test.is_(False)))
    )
    named = set(session.scalars(select(Report.country).distinct()))
    for countries in session.scalars(select(AlertRevision.countries)):
        named |= set(countries)
    return sorted(country_name(code) for code in named - known)


@router.get("/coverage")
def coverage(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.DELIVERY_READ))],
    show: Annotated[Literal["overdue", "all"], Query()] = "all",
) -> Response:
    """Who has not seen what. An authority sees its own lines."""
    now = context.now()
    with context.database.read() as session:
        rows = _rows(session, viewer.principal, now)
        whole = viewer.principal.role is not Role.AUTHORITY
        nobody = countries_without_authority(session) if whole else []
        frame = build_frame(request, context, session, viewer, title="Coverage", crumbs=(Crumb(text="Overview", href="/"),))
    overdue = sum(row.overdue for row in rows)
    shown = [row for row in rows if row.overdue] if show == "overdue" else rows
    page = CoverageContext(
        rows=tuple(shown),
        overdue=overdue,
        summary=f"{overdue} overdue" if overdue else "Nothing overdue",
        show=show,
        nobody=tuple(nobody),
        whole=whole,
    )
    return Page("notifications/coverage.html", frame, page)
