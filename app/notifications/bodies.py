"""A revision with what its bodies are made of, and the bytes that each view of it gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
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


def load_subject(session: Session, alert_id: str, number: int) -> Subject:
    alert = session.scalars(select(Alert).where(Alert.id == alert_id).options(joinedload(Alert.substance))).one()
    revisions = session.scalars(
        select(AlertRevision)
        .where(AlertRevision.alert_id == alert_id, AlertRevision.revision <= number)
        .order_by(AlertRevision.revision)
    ).all()
    evidence = queries.evidence_of(session, [alert_id]).get(alert_id, [])
    return Subject(alert, revisions[-1], evidence, list(revisions[:-1]))


def body_row(
    subject: Subject,
    reader: Reader,
    detail: Detail,
    kind: str,
    *,
    view_only: Iterable[str] = (),
) -> tuple[str, dict[str, Any] | None]:
    """The view this reader gets and the row that keeps its bytes; no row where the view is among `view_only`."""
    view = view_for(subject, reader, detail, kind)
    alert, revision = subject.alert, subject.revision
    names = reader.role in queries.NAMED_FOR
    key = view_key(kind, detail, view.evidence, names=names)
    if kind != "alert.issued":
        key = f"{key}:{','.join(str(row['revision']) for row in view.references)}"[:80]
    if key in set(view_only):
        return key, None
    body = webhook_body(kind, revision.sent_at, alert_document(view))
    return key, {"alert_id": alert.id, "revision": revision.revision, "view": key, "content": body}


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
