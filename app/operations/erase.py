"""Lawful erasure of a report: its content goes, a tombstone with the hash of what was there stays, and recipients are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session, joinedload

from app.auth.accounts import principal_of
from app.intake import service
from app.persistence.models import (
    AlertEvidence,
    CaseSubstance,
    Detection,
    HarmCase,
    IdempotencyRecord,
    Report,
    ReportVersion,
    Sample,
)


class EraseError(Exception):
    """The report cannot be erased; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What was erased: the hash of each version's text, and the alerts that were updated or retracted."""

    report_id: str
    versions: tuple[str, ...]
    alerts: tuple[str, ...]


def erase(session: Session, report_id: str, *, basis: str, actor: str, now: datetime) -> Erased:
    """Withdraw the report (its alerts follow and their recipients hear), then replace its content.

    What stays: country and year of the sample, the hash of every version, who sent it and when, the audit trail.
    Raises EraseError: no such report, an empty basis, erased before.
    """
    if not basis.strip():
        raise EraseError("--basis must name the law or decision that the erasure rests on")
    report = session.scalar(
        select(Report).where(Report.id == report_id).options(joinedload(Report.organisation)).with_for_update(of=Report)
    )
    if report is None:
        raise EraseError(f"there is no report {report_id}")
    if "erased" in report.answer:
        raise EraseError(f"report {report_id} was erased at {report.answer['erased']['at']}")
    told = _cited_in(session, report_id)
    if report.state != "withdrawn":
        sender = principal_of(report.organisation, report.organisation.kind, actor)
        service.withdraw(session, report, reason="Erased.", principal=sender, now=now)
    stamp = now.isoformat(timespec="seconds")
    hashes = []
    for version in session.scalars(select(ReportVersion).where(ReportVersion.report_id == report_id)):
        tombstone = {"erased": stamp, "basis": basis.strip(), "sha256": version.body_sha256}
        version.body = json.dumps(tombstone, ensure_ascii=False)
        version.reason = "Erased." if version.reason else None
        hashes.append(version.body_sha256)
    _erase_rows(session, report_id)
    report.lab_reference = f"erased-{report.id}"
    report.answer = {
        "id": report.id, "version": report.version, "state": report.state, "alerts": [], "substances": [],
        "erased": {"at": stamp, "basis": basis.strip()},
    }  # fmt: skip
    report.updated_at = now
    return Erased(report_id=report_id, versions=tuple(hashes), alerts=tuple(told))


def _cited_in(session: Session, report_id: str) -> list[str]:
    query = select(AlertEvidence.alert_id).where(AlertEvidence.report_id == report_id).distinct()
    return sorted(session.scalars(query))


def _erase_rows(session: Session, report_id: str) -> None:
    session.flush()
    held = AlertEvidence.report_id == report_id
    session.execute(update(AlertEvidence).where(held).values(detection_id=None, case_id=None))
    cases = select(HarmCase.id).where(HarmCase.report_id == report_id)
    session.execute(delete(CaseSubstance).where(CaseSubstance.case_id.in_(cases)))
    session.execute(delete(HarmCase).where(HarmCase.report_id == report_id))
    session.execute(delete(Detection).where(Detection.report_id == report_id))
    session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.answer.contains(report_id, autoescape=True)))
    sample = session.scalar(select(Sample).where(Sample.report_id == report_id))
    if sample is not None:
        sample.subdivision = sample.context_detail = sample.matrix = sample.form = sample.sold_as = None
        sample.quantity_value = sample.quantity_unit = sample.quantity_basis = None
        sample.origin = sample.destination = None
        sample.transit = []
        sample.context = "unknown"
        sample.date_sampled, sample.date_precision = f"{sample.sampled_on:%Y}", "year"
        sample.sampled_on = sample.sampled_on.replace(month=1, day=1)
