"""Storing a report: everything it says, what it means, and the alerts it raises, in one transaction of the caller."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from alerts.values import CaseFacts, DetectionFacts, ReportFacts, Scope, SoldAsFacts, SubstanceFacts
from app.auth.permissions import Principal, tlp_rank
from app.chemistry import Chemistry
from app.intake import queries
from app.intake.resolve import NewSubstance, ResolvedSubstance, folded
from app.intake.schemas import ReportIn, date_precision, first_day
from app.notifications import service as notifications
from app.persistence.base import new_id
from app.persistence.models import (
    CaseSubstance,
    CurationItem,
    Detection,
    HarmCase,
    Organisation,
    Report,
    ReportVersion,
    Sample,
    Substance,
    SubstanceName,
)
from app.persistence.trail import note_row
from app.problems import Problem
from app.regions import region_of
from app.sharing.consent import consent
from app.sharing.groups import check_own
from chem.names import fold
from chem.values import to_json

OLD_AFTER = timedelta(days=180)
NEW_LABORATORY_REPORTS = 10
CURATED_LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")  # analysts, who read the queue, are no recipients of RED
NOTHING_KNOWN = queries.Known(first=Scope.NONE, first_seen=Scope.NONE, other_laboratories=0)


# how many reports of the laboratory there are, as far as it matters, and whether an analyst flagged it; made once
_ORIGIN = select(
    select(func.count())
    .select_from(select(Report.id).where(Report.org_id == bindparam("org_id")).limit(NEW_LABORATORY_REPORTS + 1).subquery())
    .scalar_subquery(),
    Organisation.flagged,
).where(Organisation.id == bindparam("org_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One version of a report on its way in. `received_at` is the clock's now, or the sample's date in a replay."""

    report: ReportIn
    body: str
    resolved: Sequence[ResolvedSubstance]
    principal: Principal
    received_at: datetime
    historical: bool = False
    import_id: str | None = None
    sold_as: SoldAsFacts | None = None


def store(session: Session, chemistry: Chemistry, submission: Submission) -> dict[str, Any]:
    """Store a new report and raise its alerts; gives the answer for the laboratory.

    Raises Problem `duplicate-reference` (409) where the laboratory used this reference before.
    """
    report, principal = submission.report, submission.principal
    check_own(session, report.sharing_group, principal)
    existing = session.execute(
        select(Report.id, Report.version).where(Report.org_id == principal.org_id, Report.lab_reference == report.lab_reference)
    ).first()
    if existing is not None:
        raise Problem(
            "duplicate-reference",
            f"lab_reference {report.lab_reference!r} is report {existing.id}, version {existing.version}. "
            "Correct it with PUT, or send another lab_reference.",
            report_id=existing.id,
        )
    row = Report(**report_values(submission), answer={})
    session.add(row)
    return _store_version(session, chemistry, submission, row, kind="created", reason=None)


def report_values(submission: Submission) -> dict[str, Any]:
    """The row of a new report, without its answer."""
    report = submission.report
    return {
        "id": new_id(),
        "org_id": submission.principal.org_id,
        "lab_reference": report.lab_reference,
        "version": 1,
        "state": "active",
        "outcome": report.outcome,
        "tlp": report.tlp,
        "sharing_group": report.sharing_group,
        "country": report.sample.country,
        "historical": submission.historical,
        "received_at": submission.received_at,
        "updated_at": submission.received_at,
        "import_id": submission.import_id,
    }


def version_values(
    submission: Submission, report_id: str, version: int, kind: str, reason: str | None, sha256: str | None = None
) -> dict[str, Any]:
    """The row of a version: the text as sent, with its hash."""
    return {
        "report_id": report_id,
        "version": version,
        "kind": kind,
        "body": submission.body,
        "body_sha256": sha256 or _sha256(submission.body),
        "reason": reason,
        "actor": submission.principal.actor,
        "created_at": submission.received_at,
    }


def correct(
    session: Session,
    chemistry: Chemistry,
    submission: Submission,
    row: Report,
    *,
    kind: str = "corrected",
    reason: str | None = None,
) -> dict[str, Any]:
    """Store a correction as the next version; the old rows stay, uncounted, and alerts that cite them are looked at again.

    `kind` is `curated` where not the laboratory changed its report but an analyst decided what a label of it means.
    """
    if row.state == "withdrawn":
        raise Problem("conflict", "The report was withdrawn; send a new one with another lab_reference.")
    if submission.report.lab_reference != row.lab_reference:
        raise Problem("conflict", f"A correction keeps its lab_reference {row.lab_reference!r}.")
    check_own(session, submission.report.sharing_group, submission.principal)
    if tlp_rank(submission.report.tlp) < tlp_rank(row.tlp):
        consent(session, row, submission.report.tlp, "by the correction", submission.principal, submission.received_at)
    _uncount(session, row.id)
    row.version += 1
    row.outcome = submission.report.outcome
    row.tlp = submission.report.tlp
    row.sharing_group = submission.report.sharing_group
    row.country = submission.report.sample.country
    row.updated_at = submission.received_at
    return _store_version(session, chemistry, submission, row, kind=kind, reason=reason)


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
            report_id=row.id, version=row.version, kind="withdrawn", body="", body_sha256=_sha256(""), reason=reason,
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


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _store_version(
    session: Session, chemistry: Chemistry, submission: Submission, row: Report, *, kind: str, reason: str | None
) -> dict[str, Any]:
    report, principal, now = submission.report, submission.principal, submission.received_at
    session.add(ReportVersion(**version_values(submission, row.id, row.version, kind, reason)))
    known_sample = session.scalar(select(Sample).where(Sample.report_id == row.id)) if kind != "created" else None
    sample = known_sample or Sample(report_id=row.id)
    for name, value in sample_values(report).items():
        setattr(sample, name, value)
    session.add(sample)
    session.flush()

    detections: list[Detection] = []
    facts: list[DetectionFacts] = []
    answers: list[dict[str, Any]] = []
    for item in submission.resolved:
        substance = substance_row(session, chemistry, item, now) if item.substance else None
        known = NOTHING_KNOWN
        if substance is not None and item.source.relation == "parent":
            known = queries.known_before(session, substance, report.sample.country, principal)
        detection = Detection(
            **detection_values(row.id, row.version, item, substance.id if substance else None, submission, chemistry.version)
        )
        detections.append(detection)
        counts = item.confidence in queries.COUNTED and item.source.relation == "parent" and item.resolution != "class"
        facts.append(_detection_facts(detection, item, substance, known.first if counts else Scope.NONE))
        answers.append(_substance_answer(item, substance, known))
        if item.curation_reason and report.tlp in CURATED_LABELS:
            queue_for_curation(session, item, now)
    session.add_all(detections)
    session.flush()
    cases = _store_cases(session, row, submission, detections)

    report_facts = _facts(session, row, submission, facts, cases)
    alert_ids = notifications.raise_alerts(session, report_facts, now)
    if kind != "created":
        changed = notifications.reevaluate(session, row.id, now)
        alert_ids = list(dict.fromkeys([*alert_ids, *changed]))
    answer = {
        "id": row.id,
        "version": row.version,
        "state": row.state,
        "lab_reference": row.lab_reference,
        "received_at": rfc3339(row.received_at),
        "alerts": alert_ids,
        "substances": answers,
    }
    row.answer = answer
    session.flush()
    return answer


def rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sample_time(report: ReportIn, now: datetime) -> datetime:
    day = first_day(report.sample.date_sampled)
    return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)


def is_quiet(submission: Submission) -> bool:
    """Whether the report raises nothing: imported as historical, or received more than 180 days after its sample."""
    now = submission.received_at
    return submission.historical or now - sample_time(submission.report, now) > OLD_AFTER


def sample_values(report: ReportIn) -> dict[str, Any]:
    """The columns of a sample, without its ids."""
    given = report.sample
    return {
        "country": given.country,
        "subdivision": given.subdivision,
        "date_sampled": given.date_sampled,
        "date_precision": date_precision(given.date_sampled),
        "sampled_on": first_day(given.date_sampled),
        "context": given.context,
        "context_detail": given.context_detail,
        "matrix": given.matrix,
        "form": given.form,
        "sold_as": given.sold_as,
        "quantity_value": given.quantity.value if given.quantity else None,
        "quantity_unit": given.quantity.unit if given.quantity else None,
        "quantity_basis": given.quantity.basis if given.quantity else None,
        "origin": given.origin,
        "transit": list(given.transit),
        "destination": given.destination,
    }


def _insert(session: Session, table: Any) -> Any:
    return (sqlite_insert if session.get_bind().dialect.name == "sqlite" else pg_insert)(table)


def substance_row(session: Session, chemistry: Chemistry, item: ResolvedSubstance, now: datetime) -> Substance:
    """The row of a substance, made where it is new. Two first reports at once are not an error."""
    new = item.substance
    if new is None:
        raise AssertionError("called for a detection without a substance")
    found = session.scalar(select(Substance).where(Substance.key == new.key))
    if found is None:
        values = _substance_values(new, item, chemistry, now)
        statement = _insert(session, Substance).values(**values).on_conflict_do_nothing(index_elements=["key"])
        session.execute(statement, execution_options={"trail": False})
        found = session.scalars(select(Substance).where(Substance.key == new.key)).one()
        if found.id == values["id"]:
            note_row(session, "created", "substance", (found.id,))
            _store_names(session, found, new, item, chemistry)
    if found.merged_into is not None:
        found = session.get_one(Substance, found.merged_into)
    return found


def _substance_values(new: NewSubstance, item: ResolvedSubstance, chemistry: Chemistry, now: datetime) -> dict[str, Any]:
    identity = new.identity
    # the substance's own status is over the UN instruments; what a country adds stays with the detection
    status = queries.un_status(new.assessment) if new.assessment is not None else item.legal_status
    return {
        "id": new_id(),
        "key": new.key,
        "name": new.name[:300],
        "inchikey": identity.parent_inchikey if identity else None,
        "connectivity": identity.connectivity if identity else None,
        "smiles": identity.parent_smiles if identity else None,
        "inchi": identity.parent_inchi if identity else None,
        "formula": identity.formula if identity else None,
        "monoisotopic_mass": identity.monoisotopic_mass if identity else None,
        "identity": to_json(identity) if identity else None,
        "chemical_group": new.chemical_group,
        "effect_group": new.effect_group,
        "group_rule": new.group_rule,
        "ordinary": new.ordinary,
        "harmful_adulterant": new.harmful_adulterant,
        "shipped": new.shipped,
        "legal_status": status,
        "matches": item.matches,
        "engine_version": chemistry.version,
        "created_at": now,
        "group_confirmed": False,
    }


def _store_names(session: Session, row: Substance, new: NewSubstance, item: ResolvedSubstance, chemistry: Chemistry) -> None:
    seen = set()
    names = chemistry.names.names_of(new.named.key) if new.named else ()
    for name in names:
        seen.add(name.folded)
        session.add(
            SubstanceName(
                substance_id=row.id, name=name.name[:400], folded=name.folded[:400], kind=name.kind, source=name.source[:200]
            )
        )
    reported = item.source.name
    if not names and reported and fold(reported) and fold(reported) not in seen:
        session.add(
            SubstanceName(
                substance_id=row.id, name=reported[:400], folded=fold(reported)[:400], kind="common", source="as first reported"
            )
        )


def detection_values(
    report_id: str,
    report_version: int,
    item: ResolvedSubstance,
    substance_id: str | None,
    submission: Submission,
    version: str,
    written: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The row of a detection. `written` are its JSON columns where they were made before, from the same item."""
    source, report = item.source, submission.report
    sampled = first_day(report.sample.date_sampled)
    return {
        "id": new_id(),
        "report_id": report_id,
        "position": item.position,
        "substance_id": substance_id,
        "resolution": item.resolution,
        "resolution_class": item.group,
        "reported_name": source.name,
        "reported_cas": source.cas,
        "relation": source.relation,
        "abundance": source.abundance,
        "purity_percent": source.purity_percent,
        "purity_as": source.purity_as,
        "concentration": source.concentration.model_dump() if source.concentration else None,
        "schymanski_level": source.schymanski_level,
        "reference_material": source.reference_material,
        "isomers_excluded": source.isomers_excluded,
        "confidence": item.confidence,
        "legal_status": item.legal_status,
        "engine_version": version,
        "org_id": submission.principal.org_id,
        "country": report.sample.country,
        "region": region_of(report.sample.country),
        "sampled_on": sampled,
        "month": f"{sampled:%Y-%m}",
        "context": report.sample.context,
        "received_at": submission.received_at,
        "tlp": report.tlp,
        "test": submission.principal.test,
        "counted": True,
        "report_version": report_version,
        **(json_columns(item) if written is None else written),
    }


def json_columns(item: ResolvedSubstance) -> dict[str, Any]:
    """The columns of a detection that hold JSON and follow from the text alone; not to be changed."""
    known: dict[str, Any] | None = item.memo.get("columns")
    if known is not None:
        return known
    structure = item.source.structure
    item.memo["columns"] = columns = {
        "candidates": item.candidates,
        "techniques": list(item.techniques),
        "identity": to_json(item.assessment.identity) if item.assessment else None,
        "matches": item.matches,
        "warnings": item.warnings,
        "reported_structure": structure.model_dump(exclude_none=True) if structure else None,
    }
    return columns


def _substance_answer(item: ResolvedSubstance, substance: Substance | None, known: queries.Known) -> dict[str, Any]:
    return {
        "index": item.position,
        "substance_id": substance.id if substance else None,
        "name": substance.name if substance else None,
        "first_in": known.first_seen.value,
        "other_labs": known.other_laboratories,
        **lasting_answer(item),
    }


def lasting_answer(item: ResolvedSubstance) -> dict[str, Any]:
    """The part of the answer on a substance that does not depend on what was reported before; not to be changed."""
    known: dict[str, Any] | None = item.memo.get("answer")
    if known is not None:
        return known
    found = item.assessment
    answer = {
        "reported_name": item.source.name,
        "resolution": item.resolution,
        "class": item.group,
        "identity": to_json(found.identity) if found else None,
        "confidence": item.confidence,
        "confidence_because": list(item.because),
        "confirmation": to_json(item.needs),
        "legal_status": item.legal_status,
        "status_by_instrument": to_json(found.status_by_instrument) if found else {},
        "matches": item.matches,
        "candidates": item.candidates,
        "analogues": to_json(found.analogues) if found else [],
        "warnings": item.warnings,
    }
    if item.suggestions:
        answer["suggestions"] = item.suggestions
    item.memo["answer"] = answer
    return answer


def queue_for_curation(session: Session, item: ResolvedSubstance, now: datetime, *, times: int = 1) -> None:
    """One row a label, with how often it came. What an analyst decided on it stands."""
    label = item.label[:400] or "(no name)"
    statement = _insert(session, CurationItem).values(
        id=new_id(),
        folded=folded(label),
        label=label,
        reason=(item.curation_reason or "")[:40],
        candidates=item.candidates or item.suggestions,
        reports=times,
        state="open",
        first_seen=now,
        last_seen=now,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["folded"], set_={"reports": CurationItem.reports + times, "last_seen": now}
        )
    )


def case_rows(
    submission: Submission, report_id: str, report_version: int, detections: Sequence[tuple[str, str]]
) -> list[tuple[dict[str, Any], dict[int, str]]]:
    """The rows of the cases, each with the role of the detections it names by their position.

    `detections` are (id, relation) in the order of their positions.
    """
    report = submission.report
    sampled = first_day(report.sample.date_sampled)
    found = []
    # case rows are at least AMBER whatever the report says
    label = report.tlp if tlp_rank(report.tlp) >= tlp_rank("AMBER") else "AMBER"
    for position, given in enumerate(report.cases):
        if given.substances is not None:
            roles = {reference.index: reference.role for reference in given.substances}
        else:
            roles = {index: given.role for index, (_, relation) in enumerate(detections) if relation == "parent"}
        same_country = given.country in (None, report.sample.country)
        values = {
            "id": new_id(),
            "report_id": report_id,
            "position": position,
            "country": given.country or report.sample.country,
            "subdivision": report.sample.subdivision if same_country else None,
            "month": given.month or f"{sampled:%Y-%m}",
            "seriousness": given.seriousness,
            "role": given.role,
            "exposure_evidence": given.exposure_evidence,
            "route": given.route,
            "pss": given.pss,
            "outcome": given.outcome,
            "intent": given.intent,
            "age_band": given.age_band,
            "sex": given.sex,
            "toxidrome": list(given.toxidrome),
            "naloxone": given.naloxone,
            "icd": list(given.icd),
            "tlp": label,
            "test": submission.principal.test,
            "counted": True,
            "report_version": report_version,
            "received_at": submission.received_at,
        }
        found.append((values, roles))
    return found


def _store_cases(session: Session, row: Report, submission: Submission, detections: list[Detection]) -> list[CaseFacts]:
    facts: list[CaseFacts] = []
    if not submission.report.cases:
        return facts
    for values, roles in case_rows(submission, row.id, row.version, [(d.id, d.relation) for d in detections]):
        case = HarmCase(**values)
        session.add(case)
        session.flush()
        session.add_all(
            CaseSubstance(case_id=case.id, detection_id=detections[index].id, role=role) for index, role in roles.items()
        )
        facts.append(
            CaseFacts(
                case_id=case.id,
                seriousness=case.seriousness,
                exposure_evidence=case.exposure_evidence,
                country=case.country,
                subdivision=case.subdivision,
                month=case.month,
                roles=roles,
            )
        )
    session.flush()
    return facts


def _detection_facts(detection: Detection, item: ResolvedSubstance, substance: Substance | None, scope: Scope) -> DetectionFacts:
    facts = None
    if substance is not None:
        facts = SubstanceFacts(
            id=substance.id,
            key=substance.key,
            name=substance.name,
            chemical_group=substance.chemical_group,
            effect_group=substance.effect_group,
            controlled=item.legal_status == "controlled",
            legal_status=item.legal_status,
            inchikey=substance.inchikey,
            alertable=not substance.ordinary,
        )
    return DetectionFacts(
        detection_id=detection.id,
        position=item.position,
        substance=facts,
        label=item.label,
        resolution=item.resolution,
        relation=item.source.relation,
        confidence=item.confidence,
        abundance=item.source.abundance,
        first_in=scope,
    )


def _facts(
    session: Session, row: Report, submission: Submission, detections: list[DetectionFacts], cases: list[CaseFacts]
) -> ReportFacts:
    report, principal, now = submission.report, submission.principal, submission.received_at
    sampled = first_day(report.sample.date_sampled)
    earlier, flagged = session.execute(_ORIGIN, {"org_id": principal.org_id}).one()
    return ReportFacts(
        report_id=row.id,
        org_id=principal.org_id,
        country=report.sample.country,
        region=region_of(report.sample.country),
        subdivision=report.sample.subdivision,
        sampled_on=sampled,
        month=f"{sampled:%Y-%m}",
        tlp=report.tlp,
        received_at=now,
        test=principal.test,
        quiet=is_quiet(submission),
        new_laboratory=(earlier or 0) <= NEW_LABORATORY_REPORTS,
        flagged=bool(flagged),
        sold_as=report.sample.sold_as,
        form=report.sample.form,
        sold_as_substance=submission.sold_as,
        detections=tuple(detections),
        cases=tuple(cases),
    )
