"""Lowering a label: the sender of each stricter report must have agreed, and that is recorded. Nothing here commits."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.permissions import TLP_ORDER, Principal, tlp_rank
from app.persistence.models import AlertEvidence, LabelConsent, Report
from app.problems import FieldError, Problem

Label = Annotated[str, Field(pattern="^(CLEAR|GREEN|AMBER|AMBER[+]STRICT|RED)$", description=f"One of {', '.join(TLP_ORDER)}")]


class ConsentIn(BaseModel):
    """The label that the sender agrees to."""

    model_config = ConfigDict(extra="forbid")

    tlp: Label
    note: Annotated[str, Field(max_length=2_000)] | None = None


class LabelIn(BaseModel):
    """The label wanted for an alert, and why: `note` goes into the next revision."""

    model_config = ConfigDict(extra="forbid")

    tlp: Label
    note: Annotated[str, Field(min_length=1, max_length=2_000)]


def consent(session: Session, report: Report, tlp: str, note: str | None, sender: Principal, now: datetime) -> LabelConsent:
    """Record that the sender agrees to `tlp` for what rests on the report. Raises Problem where that is no lower label."""
    if tlp_rank(tlp) > tlp_rank(report.tlp):
        detail = f"The report is TLP:{report.tlp}; consent is for a lower label. A correction raises it."
        raise Problem("validation", f"/tlp: {detail}", errors=[FieldError("/tlp", detail)])
    row = LabelConsent(report_id=report.id, tlp=tlp, org_id=sender.org_id, actor=sender.actor, note=note, at=now)
    session.add(row)
    session.flush()
    return row


def without_consent(session: Session, alert_id: str, tlp: str) -> list[str]:
    """Ids of the active reports under the alert that are stricter than `tlp` and whose sender did not agree to it."""
    rows = session.execute(
        select(Report.id, Report.tlp)
        .join(AlertEvidence, AlertEvidence.report_id == Report.id)
        .where(AlertEvidence.alert_id == alert_id, Report.state == "active")
        .distinct()
    ).all()
    stricter = {report_id for report_id, label in rows if tlp_rank(label) > tlp_rank(tlp)}
    given = session.execute(select(LabelConsent.report_id, LabelConsent.tlp).where(LabelConsent.report_id.in_(stricter)))
    agreed = {report_id for report_id, label in given if tlp_rank(label) <= tlp_rank(tlp)}
    return sorted(stricter - agreed)
