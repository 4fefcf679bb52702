"""What stands behind an alert, in words: how sure it is, what the rule counted, its evidence, what happened to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload, selectinload

from alerts.values import AlertView
from app.auth.permissions import Action, Principal, Role, may
from app.notifications import queries
from app.persistence.models import Acknowledgement, Alert, AlertApproval, AlertRevision, Detection, Measure, Organisation, Report
from app.web import words
from app.web.places import country_name
from app.web.templating import month as written_month

MOST_EVIDENCE = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceLine:
    """A report under an alert, in what this reader may know of it. `href` leads to it where there is a page for them."""

    place: str
    month: str
    context: str
    found: str
    tlp: str
    href: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A line of the timeline: when, what, and a note."""

    at: datetime
    text: str
    note: str | None = None


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_number(item) for item in value)
    return str(value).replace("_", " ")


_NAMED: dict[str, Callable[[str], str]] = {
    "area": country_name,
    "country": country_name,
    "confidence": lambda value: words.said(words.CONFIDENCE, value),
    "seriousness": lambda value: words.said(words.SERIOUSNESS, value),
    "month": written_month,
}


def numbers_in_words(numbers: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """What the rule counted, as (name, value); a structured value is left to the API."""
    shown = []
    for key, value in numbers.items():
        if value is None or isinstance(value, dict):
            continue
        name = key.replace("_", " ")
        text = _NAMED[key](value) if key in _NAMED and isinstance(value, str) else _number(value)
        shown.append((name[:1].upper() + name[1:], text))
    return tuple(shown)


def how_sure(view: AlertView) -> str:
    reviewed = "Checked by a person." if view.reviewed else "Unreviewed: issued by rule, not yet checked by a person."
    confidence = view.numbers.get("confidence")
    if view.withheld or not isinstance(confidence, str):
        return reviewed
    return f"{words.said(words.CONFIDENCE, confidence)} identification. {reviewed}"


def evidence_lines(session: Session, principal: Principal | None, report_ids: Sequence[str]) -> tuple[EvidenceLine, ...]:
    """The reports in the order given, as far as a page shows them. Two queries."""
    rows = {
        report.id: report
        for report in session.scalars(
            select(Report)
            .where(Report.id.in_(report_ids[:MOST_EVIDENCE]))
            .options(
                joinedload(Report.sample),
                selectinload(Report.detections).joinedload(Detection.substance),
            )
        ).unique()
    }
    own = principal.org_id if principal is not None and principal.role is Role.LAB else ""
    lines = []
    for report_id in report_ids[:MOST_EVIDENCE]:
        report = rows[report_id]
        found = [
            f"{d.substance.name if d.substance else d.reported_name or 'not resolved'} "
            f"({words.said(words.CONFIDENCE, d.confidence).lower()})"
            for d in report.detections
            if d.report_version == report.version
        ]
        lines.append(
            EvidenceLine(
                place=country_name(report.country),
                month=written_month(f"{report.sample.sampled_on:%Y-%m}"),
                context=words.said(words.CONTEXTS, report.sample.context),
                found=", ".join(found[:4]),
                tlp=report.tlp,
                href=f"/reports/{report.id}" if report.org_id == own else None,
            )
        )
    return tuple(lines)


_ANSWERS = {"acknowledged": "acknowledged", "assessed": "assessed", "seen": "opened", "sighting": "reported: we see it too"}


def timeline_of(
    session: Session, principal: Principal | None, alert: Alert, view: AlertView, approvals: Sequence[AlertApproval]
) -> tuple[Event, ...]:
    """What happened to the alert, newest first, as far as this reader may know. One query."""
    inside = queries.is_inside(alert, principal)
    revisions = session.scalars(
        select(AlertRevision)
        .where(AlertRevision.alert_id == alert.id, AlertRevision.revision <= view.revision)
        .order_by(AlertRevision.revision)
    ).all()
    events = [
        Event(at=row.sent_at, text=_revision_text(row), note=None if view.withheld else row.reason)
        for row in revisions
        if inside or row.audience == "full"
    ]
    if inside:
        events.append(Event(at=alert.received_at, text="Report received"))
    for answer in () if view.withheld else view.acknowledgements:
        who = answer["organisation"] or f"An organisation in {country_name(answer['country'])}"
        at = datetime.fromisoformat(answer["at"])
        events.append(Event(at=at, text=f"{who} {_ANSWERS.get(answer['kind'], answer['kind'])}", note=answer["note"]))
    if may(principal, Action.ALERT_APPROVE):
        events += [Event(at=row.at, text="Approved by an analyst", note=row.note) for row in approvals]
    return tuple(sorted(events, key=lambda event: event.at, reverse=True))


def _revision_text(row: AlertRevision) -> str:
    audience = "to everybody it is meant for" if row.audience == "full" else "to the laboratory and the authorities concerned"
    match row.msg_type:
        case "Cancel":
            return f"Retracted, revision {row.revision}"
        case "Update":
            return f"Revision {row.revision} sent {audience}"
        case _:
            return f"Issued {audience}"


def answers_of(session: Session, principal: Principal | None, alert_id: str) -> frozenset[str]:
    """The kinds of answers that the reader's organisation gave to this alert."""
    if principal is None:
        return frozenset()
    return frozenset(
        session.scalars(
            select(Acknowledgement.kind).where(Acknowledgement.alert_id == alert_id, Acknowledgement.org_id == principal.org_id)
        )
    )


def measures_of(session: Session, principal: Principal | None, alert_id: str) -> tuple[tuple[str, str], ...]:
    """Measures that answer this alert: what and where. None for the public."""
    if principal is None:
        return ()
    rows = session.execute(
        select(Measure.kind, Measure.country)
        .join(Organisation, Organisation.id == Measure.org_id)
        .where(Measure.alert_id == alert_id, Organisation.test.is_(False))
        .order_by(Measure.id)
    )
    return tuple((words.said(words.MEASURES, kind), country_name(country)) for kind, country in rows)
