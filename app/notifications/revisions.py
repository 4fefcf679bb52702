"""Writing an alert and its revisions, each with the tasks that carry it, in the transaction of what caused it. Nothing here
commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.policies import Audience
from alerts.values import Texts
from app.persistence.bulk_insert import put
from app.persistence.models import Alert, AlertEvidence, AlertRevision, Task
from app.persistence.tasks import insert_all_once, insert_once, task_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the next revision says. `reason` is one of the service's own sentences, needed for a retraction."""

    msg_type: str  # Alert | Update | Cancel
    audience: Audience
    level: int
    reviewed: bool
    state: str
    tlp: str
    texts: Texts
    numbers: dict[str, Any]
    countries: list[str]
    reason: str | None = None


def texts_of_revision(revision: AlertRevision) -> Texts:
    return Texts(
        headline=revision.headline,
        short=revision.short,
        summary=revision.summary,
        full=revision.full,
        instruction=revision.instruction,
    )


def current_revision(session: Session, alert: Alert) -> AlertRevision:
    """The newest revision, for whatever audience."""
    return session.scalars(
        select(AlertRevision).where(AlertRevision.alert_id == alert.id, AlertRevision.revision == alert.revision)
    ).one()


def follow(revision: AlertRevision, **changes: Any) -> Draft:
    """A draft that says what this revision said, but for the changes."""
    values: dict[str, Any] = {
        "msg_type": "Update",
        "audience": revision.audience,
        "level": revision.level,
        "reviewed": revision.reviewed,
        "state": "updated",
        "tlp": revision.tlp,
        "texts": texts_of_revision(revision),
        "numbers": dict(revision.numbers),
        "countries": list(revision.countries),
    }
    return Draft(**(values | changes))


def write_revision(session: Session, alert: Alert, draft: Draft, now: datetime, *, number: int) -> AlertRevision:
    """Store revision `number`, bring the alert's own columns up to it, and enqueue its fan-out and its publication."""
    revision = AlertRevision(**_values(alert.id, draft, now, number))
    session.add(revision)
    alert.revision = number
    alert.level = draft.level
    alert.tlp = draft.tlp
    alert.state = draft.state
    alert.reviewed = draft.reviewed
    alert.issued_at = alert.issued_at or now
    session.flush()
    insert_all_once(session, Task, _tasks(alert.id, draft, now, number))
    return revision


def write_first(session: Session, alert_id: str, draft: Draft, now: datetime) -> None:
    """Store the first revision of an alert whose row says the same already, and enqueue it."""
    put(session, AlertRevision, [_values(alert_id, draft, now, 1)])
    insert_all_once(session, Task, _tasks(alert_id, draft, now, 1))


def _values(alert_id: str, draft: Draft, now: datetime, number: int) -> dict[str, Any]:
    texts = draft.texts
    return {
        "alert_id": alert_id, "revision": number, "msg_type": draft.msg_type, "audience": draft.audience, "level": draft.level,
        "reviewed": draft.reviewed, "state": draft.state, "tlp": draft.tlp, "headline": texts.headline, "short": texts.short,
        "summary": texts.summary, "full": texts.full, "instruction": texts.instruction, "numbers": draft.numbers,
        "countries": draft.countries, "reason": draft.reason, "sent_at": now,
    }  # fmt: skip


def _tasks(alert_id: str, draft: Draft, now: datetime, number: int) -> list[dict[str, Any]]:
    """The tasks that carry a revision: to those who hear of it, and into the feed."""
    return [
        task_values(
            topic=topic,
            key=f"{alert_id}.{number}",
            lane=topic,
            priority=draft.level,
            payload={"alert": alert_id, "revision": number},
            now=now,
            seq_group=f"{topic}:{alert_id}",
            seq_no=number,
        )
        for topic in ("fanout", "publish")
    ]


def next_revision(session: Session, alert: Alert, draft: Draft, now: datetime) -> AlertRevision:
    """Store what follows the current revision. Locks the alert, so that two writers give two numbers."""
    session.scalar(select(Alert.id).where(Alert.id == alert.id).with_for_update())
    newest = session.scalar(select(func.max(AlertRevision.revision)).where(AlertRevision.alert_id == alert.id)) or 0
    return write_revision(session, alert, draft, now, number=newest + 1)


def add_evidence(session: Session, alert_id: str, report_id: str, detection_id: str | None, case_id: str | None) -> bool:
    """Note that the alert rests on this report; False where it was noted before."""
    return insert_once(
        session,
        AlertEvidence,
        {"alert_id": alert_id, "report_id": report_id, "detection_id": detection_id, "case_id": case_id},
    )
