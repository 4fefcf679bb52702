"""A revision with what its bodies are made of, and the bytes that each view of it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session, joinedload

from alerts.policies import Detail, reader_covered, view_key
from alerts.render import alert_document, webhook_body
from alerts.values import AlertView, Evidence, Reader
from app.notifications import queries
from app.persistence.models import Alert, AlertRevision


@dataclass(frozen=True, slots=True)
class Subject:
    """A revision with everything that its bodies are made of."""

    alert: Alert
    revision: AlertRevision
    evidence: list[Evidence]
    earlier: list[AlertRevision]


_REVISIONS = (
    select(AlertRevision)
    .where(AlertRevision.alert_id.in_(bindparam("alerts", expanding=True)))
    .order_by(AlertRevision.alert_id, AlertRevision.revision)
)
_ALERTS = select(Alert).where(Alert.id.in_(bindparam("alerts", expanding=True))).options(joinedload(Alert.substance))


def load_subjects(session: Session, wanted: Sequence[tuple[str, int]]) -> list[Subject]:
    """The subjects of these pairs of an alert and a revision, in their order. Three queries, however many."""
    ids = sorted({alert_id for alert_id, _ in wanted})
    alerts = {alert.id: alert for alert in session.scalars(_ALERTS, {"alerts": ids})}
    revisions: dict[str, list[AlertRevision]] = {}
    for row in session.scalars(_REVISIONS, {"alerts": ids}):
        revisions.setdefault(row.alert_id, []).append(row)
    evidence = queries.evidence_of(session, ids)
    found = []
    for alert_id, number in wanted:
        *earlier, revision = (row for row in revisions[alert_id] if row.revision <= number)
        found.append(Subject(alerts[alert_id], revision, evidence.get(alert_id, []), earlier))
    return found


@dataclass(frozen=True, slots=True)
class Rendering:
    """What one reader gets of a revision: `key` names the view, and all readers with the same key get the same bytes."""

    subject: Subject
    view: AlertView
    kind: str
    key: str

    def row(self) -> dict[str, Any]:
        """The row that keeps the bytes of this view."""
        revision = self.subject.revision
        body = webhook_body(self.kind, revision.sent_at, alert_document(self.view))
        return {"alert_id": revision.alert_id, "revision": revision.revision, "view": self.key, "content": body}


def rendering(subject: Subject, reader: Reader, detail: Detail, kind: str) -> Rendering:
    """The view of this reader, named but not written out yet."""
    view = view_for(subject, reader, detail, kind)
    key = view_key(kind, detail, view.evidence, names=reader.role in queries.NAMED_FOR)
    if kind != "alert.issued":
        key = f"{key}:{','.join(str(row['revision']) for row in view.references)}"[:80]
    return Rendering(subject, view, kind, key)


def reader_sees(revision: AlertRevision, alert: Alert, reader: Reader) -> bool:
    """Whether the audience of an earlier revision held this reader."""
    return revision.audience == "full" or reader_covered(queries.facts_of(alert, revision, alert.substance), reader)


def view_for(subject: Subject, reader: Reader, detail: Detail, kind: str) -> AlertView:
    """The revision as the reader at an endpoint gets it. One that got no earlier revision is told of none."""
    alert = subject.alert
    return queries.view_of(
        alert,
        subject.revision,
        alert.substance,
        evidence=subject.evidence,
        acknowledgements=[],
        earlier=[] if kind == "alert.issued" else [row for row in subject.earlier if reader_sees(row, alert, reader)],
        reader=reader,
        withheld=detail == "thin",
    )
