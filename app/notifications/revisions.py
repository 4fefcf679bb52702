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
from app.persistence.models import Alert, AlertEvidence, AlertRevision, Task
from app.persistence.tasks import insert_once, task_values


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
    revision = AlertRevision(
        alert_id=alert.id,
        revision=number,
        msg_type=draft.msg_type,
        audience=draft.audience,
        level=draft.level,
        reviewed=draft.reviewed,
        state=draft.state,
        tlp=draft.tlp,
        headline=draft.texts.headline,
        short=draft.texts.short,
        summary=draft.texts.summary,
        full=draft.texts.full,
        instruction=draft.texts.instruction,
        numbers=draft.numbers,
        countries=draft.countries,
        reason=draft.reason,
        sent_at=now,
    )
    session.add(revision)
    alert.revision = number
    alert.level = draft.level
    alert.tlp = draft.tlp
    alert.state = draft.state
    alert.reviewed = draft.reviewed
    alert.issued_at = alert.issued_at or now
    session.flush()
    from_task = {"alert": alert.id, "revision": number}
    for topic, priority in (("fanout", draft.level), ("publish", draft.level)):
        insert_once(
            session,
            Task,
            task_values(
                topic=topic,
                key=f"{alert.id}.{number}",
                lane=topic,
                priority=priority,
                payload=from_task,
                now=now,
                seq_group=f"{topic}:{alert.id}",
                seq_no=number,
            ),
        )
    return revision


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
