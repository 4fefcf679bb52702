"""Storing a report: everything it says, what it means, and the alerts it raises, in one transaction of the caller."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from alerts.policies import NEW_LABORATORY_REPORTS
from alerts.values import CaseFacts, DetectionFacts, ReportFacts, Scope, SetMember, SubstanceFacts
from app.auth.permissions import Principal, tlp_rank
from app.chemistry import Chemistry
from app.intake import queries, rows
from app.intake.resolve import ResolvedSubstance
from app.intake.rows import Submission
from app.intake.schemas import first_day
from app.intake.substances import queue_for_curation, substance_row
from app.notifications import service as notifications
from app.persistence.base import new_id
from app.persistence.bulk_insert import put
from app.persistence.models import (
    CaseSubstance,
    Detection,
    HarmCase,
    Organisation,
    Report,
    ReportVersion,
    Sample,
)
from app.problems import Problem
from app.regions import region_of
from app.sharing.consent import consent
from app.sharing.groups import check_own

CURATED_LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")  # analysts, who read the queue, are no recipients of RED

# how many reports of the laboratory there are, as far as it matters; whether an analyst flagged it; whether it used this
# reference before: made once
_ORIGIN = (
    select(
        select(func.count())
        .select_from(select(Report.id).where(Report.org_id == bindparam("org_id")).limit(NEW_LABORATORY_REPORTS + 1).subquery())
        .scalar_subquery(),
        Organisation.flagged,
        Report.id,
        Report.version,
    )
    .outerjoin(Report, (Report.org_id == Organisation.id) & (Report.lab_reference == bindparam("lab_reference")))
    .where(Organisation.id == bindparam("org_id"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored version of a report: the answer for the laboratory as JSON, and the alerts that it raised or changed."""

    id: str
    version: int
    alerts: list[str]
    answer: str


@dataclass(frozen=True, slots=True)
class _Placed:
    """A substance of the report with its row, what was known of it, and the row of its detection."""

    item: ResolvedSubstance
    known: queries.Known | None
    values: dict[str, Any]

    @property
    def place(self) -> rows.Place:
        if self.known is None:
            return rows.Place()
        if self.item.source.relation != "parent":
            return rows.Place(substance_id=self.known.id, name=self.known.name)
        return rows.Place(
            substance_id=self.known.id,
            name=self.known.name,
            first_seen=self.known.first_seen,
            other_laboratories=self.known.other_laboratories,
        )


def store(session: Session, chemistry: Chemistry, submission: Submission) -> Stored:
    """Store a new report and raise its alerts.

    Raises Problem `duplicate-reference` (409) where the laboratory used this reference before.
    """
    report, principal, now = submission.report, submission.principal, submission.received_at
    check_own(session, report.sharing_group, principal)
    asked = {"org_id": principal.org_id, "lab_reference": report.lab_reference}
    earlier, flagged, existing, version = session.connection().execute(_ORIGIN, asked).one()
    if existing is not None:
        raise Problem(
            "duplicate-reference",
            f"lab_reference {report.lab_reference!r} is report {existing}, version {version}. "
            "Correct it with PUT, or send another lab_reference.",
            report_id=existing,
        )
    values = rows.report_values(submission)
    placed = _placed(session, chemistry, submission, values["id"], 1)
    answers = [rows.substance_answer(p.item, p.place) for p in placed]
    values["answer"] = rows.answer_text(values["id"], 1, submission, now, [], answers)
    put(session, Report, [values])
    put(session, ReportVersion, [rows.version_values(submission, values["id"], 1, "created", None)])
    put(session, Sample, [rows.sample_values(report) | {"id": new_id(), "report_id": values["id"]}])
    facts = _store_parts(
        session, submission, values["id"], 1, placed, new_laboratory=earlier < NEW_LABORATORY_REPORTS, flagged=flagged
    )
    alerts = notifications.raise_alerts(session, facts, now)
    if alerts:
        values["answer"] = rows.answer_text(values["id"], 1, submission, now, alerts, answers)
        session.execute(
            Report.__table__.update().where(Report.id == values["id"]),  # type: ignore[attr-defined]
            {"answer": values["answer"]},
            execution_options={"trail": False},
        )
    return Stored(id=values["id"], version=1, alerts=alerts, answer=values["answer"])


def correct(
    session: Session,
    chemistry: Chemistry,
    submission: Submission,
    row: Report,
    *,
    kind: str = "corrected",
    reason: str | None = None,
) -> Stored:
    """Store a correction as the next version; the old rows stay, uncounted, and alerts that cite them are looked at again.

    `kind` is `curated` where not the laboratory changed its report but an analyst decided what a label of it means.
    """
    report, principal, now = submission.report, submission.principal, submission.received_at
    if row.state == "withdrawn":
        raise Problem("conflict", "The report was withdrawn; send a new one with another lab_reference.")
    if report.lab_reference != row.lab_reference:
        raise Problem("conflict", f"A correction keeps its lab_reference {row.lab_reference!r}.")
    check_own(session, report.sharing_group, principal)
    if tlp_rank(report.tlp) < tlp_rank(row.tlp):
        consent(session, row, report.tlp, "by the correction", principal, now)
    _uncount(session, row.id)
    row.version += 1
    row.outcome = report.outcome
    row.tlp = report.tlp
    row.sharing_group = report.sharing_group
    row.country = report.sample.country
    row.updated_at = now
    sample = session.scalars(select(Sample).where(Sample.report_id == row.id)).one()
    for name, value in rows.sample_values(report).items():
        setattr(sample, name, value)
    session.add(ReportVersion(**rows.version_values(submission, row.id, row.version, kind, reason)))
    session.flush()
    placed = _placed(session, chemistry, submission, row.id, row.version)
    asked = {"org_id": principal.org_id, "lab_reference": None}
    earlier, flagged, _, _ = session.connection().execute(_ORIGIN, asked).one()
    facts = _store_parts(
        session,
        submission,
        row.id,
        row.version,
        placed,
        new_laboratory=earlier <= NEW_LABORATORY_REPORTS,
        flagged=flagged,
        first_received_at=row.received_at,
    )
    raised = notifications.raise_alerts(session, facts, now)
    alerts = list(dict.fromkeys([*raised, *notifications.reevaluate(session, row.id, now)]))
    answers = [rows.substance_answer(p.item, p.place) for p in placed]
    answer = rows.answer_text(row.id, row.version, submission, row.received_at, alerts, answers)
    row.answer = json.loads(answer)
    session.flush()
    return Stored(id=row.id, version=row.version, alerts=alerts, answer=answer)


def withdraw(session: Session, row: Report, *, reason: str, principal: Principal, now: datetime) -> dict[str, Any]:
    """Take a report back. History is kept; alerts that rest on it are updated or retracted."""
    if row.state == "withdrawn":
        raise Problem("conflict", "The report was withdrawn before.")
    _uncount(session, row.id)
    row.version += 1
    row.state = "withdrawn"
    row.updated_at = now
    session.add(
        ReportVersion(
            report_id=row.id, version=row.version, kind="withdrawn", body="", body_sha256=rows.sha256_of(""), reason=reason,
            actor=principal.actor, created_at=now,
        )
    )  # fmt: skip
    session.flush()
    notifications.reevaluate(session, row.id, now)
    row.answer = {**row.answer, "version": row.version, "state": "withdrawn"}
    return row.answer


def _uncount(session: Session, report_id: str) -> None:
    for model in (Detection, HarmCase):
        session.query(model).where(model.report_id == report_id).update({"counted": False}, synchronize_session="fetch")


def _placed(session: Session, chemistry: Chemistry, submission: Submission, report_id: str, version: int) -> list[_Placed]:
    """Each substance with what was known of it before this version, its row made where it is new."""
    return [_place(session, chemistry, submission, report_id, version, item) for item in submission.resolved]


def _place(
    session: Session, chemistry: Chemistry, submission: Submission, report_id: str, version: int, item: ResolvedSubstance
) -> _Placed:
    country, principal = submission.report.sample.country, submission.principal
    known = None
    if item.substance is not None:
        known = queries.known_before(session, country, principal, key=item.substance.key)
        if known is None:
            made = substance_row(session, chemistry, item, submission.received_at)
            session.flush()
            known = queries.known_before(session, country, principal, substance_id=made.id)
    values = rows.detection_values(report_id, version, item, known.id if known else None, submission, chemistry.version)
    return _Placed(item, known, values)


def _store_parts(
    session: Session,
    submission: Submission,
    report_id: str,
    version: int,
    placed: Sequence[_Placed],
    *,
    new_laboratory: bool,
    flagged: bool,
    first_received_at: datetime | None = None,
) -> ReportFacts:
    """Put detections and cases of a version into the tables; gives what the rules of alerting need to know of it."""
    report, principal, now = submission.report, submission.principal, submission.received_at
    put(session, Detection, [p.values for p in placed])
    for p in placed:
        if p.item.curation_reason and report.tlp in CURATED_LABELS:
            queue_for_curation(session, p.item, now)
    sampled = first_day(report.sample.date_sampled)
    return ReportFacts(
        report_id=report_id,
        org_id=principal.org_id,
        country=report.sample.country,
        region=region_of(report.sample.country),
        subdivision=report.sample.subdivision,
        sampled_on=sampled,
        month=f"{sampled:%Y-%m}",
        tlp=report.tlp,
        received_at=now,
        first_received_at=first_received_at,
        test=principal.test,
        quiet=rows.is_quiet(submission),
        new_laboratory=new_laboratory,
        flagged=flagged,
        sold_as=report.sample.sold_as,
        form=report.sample.form,
        sold_as_substance=submission.sold_as,
        detections=tuple(_detection_facts(p) for p in placed),
        cases=_store_cases(session, submission, report_id, version, placed),
    )


def _store_cases(
    session: Session, submission: Submission, report_id: str, version: int, placed: Sequence[_Placed]
) -> tuple[CaseFacts, ...]:
    if not submission.report.cases:
        return ()
    detections = [(p.values["id"], p.values["relation"]) for p in placed]
    cases = rows.case_rows(submission, report_id, version, detections)
    put(session, HarmCase, [values for values, _ in cases])
    links = [
        {"case_id": values["id"], "detection_id": detections[index][0], "role": role}
        for values, roles in cases
        for index, role in roles.items()
    ]
    put(session, CaseSubstance, links)
    return tuple(
        CaseFacts(
            case_id=values["id"],
            seriousness=values["seriousness"],
            exposure_evidence=values["exposure_evidence"],
            country=values["country"],
            subdivision=values["subdivision"],
            month=values["month"],
            roles=roles,
            route=values["route"],
        )
        for values, roles in cases
    )


def _detection_facts(placed: _Placed) -> DetectionFacts:
    item, known = placed.item, placed.known
    facts, first = None, Scope.NONE
    if known is not None:
        facts = SubstanceFacts(
            id=known.id,
            key=known.key,
            name=known.name,
            chemical_group=known.chemical_group,
            effect_group=known.effect_group,
            controlled=item.legal_status == "controlled",
            legal_status=item.legal_status,
            inchikey=known.inchikey,
            alertable=not known.ordinary,
            harmful_adulterant=known.harmful_adulterant,
        )
        if item.confidence in queries.COUNTED and item.source.relation == "parent" and item.resolution != "class":
            first = known.first
    return DetectionFacts(
        detection_id=placed.values["id"],
        position=item.position,
        substance=facts,
        label=item.label,
        resolution=item.resolution,
        relation=item.source.relation,
        confidence=item.confidence,
        abundance=item.source.abundance,
        first_in=first,
        purity_percent=item.source.purity_percent,
        purity_as=item.source.purity_as,
        isomer_set=_isomer_set(item),
        legal_status=item.legal_status,
    )


def _isomer_set(item: ResolvedSubstance) -> tuple[SetMember, ...]:
    """The candidates of a set given by structures, where each has an identity."""
    if item.resolution != "structure" or not all(one.get("inchikey") for one in item.candidates):
        return ()
    return tuple(SetMember(inchikey=one["inchikey"], name=one["name"]) for one in item.candidates)
