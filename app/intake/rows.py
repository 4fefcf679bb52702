"""A report as rows: pure values for the tables and the text of the answer. Nothing here reads or writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.render import iso
from alerts.values import Scope, SoldAsFacts
from app.auth.permissions import Principal, tlp_rank
from app.intake.resolve import ResolvedSubstance
from app.intake.schemas import ReportIn, SampleIn, date_precision, first_day
from app.persistence.base import JsonText, dump_json, new_id
from app.regions import region_of
from chem.names import fold
from chem.values import to_json

OLD_AFTER = timedelta(days=180)


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


def sample_time(report: ReportIn, now: datetime) -> datetime:
    day = first_day(report.sample.date_sampled)
    return datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)


def is_quiet(submission: Submission) -> bool:
    """Whether the report raises nothing: imported as historical, or received more than 180 days after its sample."""
    now = submission.received_at
    return submission.historical or now - sample_time(submission.report, now) > OLD_AFTER


def sha256_of(text: str) -> str:
    """The hash of a version's text, hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


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
        "body_sha256": sha256 or sha256_of(submission.body),
        "reason": reason,
        "actor": submission.principal.actor,
        "created_at": submission.received_at,
    }


def product_key(sample: SampleIn) -> str | None:
    """A hash by which samples of one product are known: its form with its markings and brand; None without either.

    The words themselves are free text, which only the sender and its country's authority may read.
    """
    named = [fold(text) for text in (sample.markings, sample.brand) if text]
    if not any(named):
        return None
    return hashlib.sha256("\n".join([sample.form or "", *sorted(named)]).encode()).hexdigest()[:32]


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
        "product_key": product_key(given),
        "quantity_value": given.quantity.value if given.quantity else None,
        "quantity_unit": given.quantity.unit if given.quantity else None,
        "quantity_basis": given.quantity.basis if given.quantity else None,
        "origin": given.origin,
        "transit": list(given.transit),
        "destination": given.destination,
    }


def detection_values(
    report_id: str,
    report_version: int,
    item: ResolvedSubstance,
    substance_id: str | None,
    submission: Submission,
    version: str,
) -> dict[str, Any]:
    """The row of a detection."""
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
        **written(item).columns,
    }


@dataclass(frozen=True, slots=True)
class Written:
    """What of a substance's rows and answer follows from its text alone, written as JSON once."""

    columns: dict[str, JsonText]  # of the detection
    answer: str  # members of an object


def written(item: ResolvedSubstance) -> Written:
    """The JSON of a resolved substance; kept with what was made of the same text before."""
    known: Written | None = item.memo.get("written")
    if known is None:
        columns = {name: JsonText(dump_json(value)) for name, value in _json_columns(item).items()}
        known = Written(columns, json.dumps(_lasting_answer(item), ensure_ascii=False)[1:-1])
        item.memo["written"] = known
    return known


def _json_columns(item: ResolvedSubstance) -> dict[str, Any]:
    """The columns of a detection that hold JSON and follow from the text alone."""
    structure = item.source.structure
    return {
        "candidates": item.candidates,
        "techniques": list(item.techniques),
        "identity": to_json(item.assessment.identity) if item.assessment else None,
        "matches": item.matches,
        "warnings": item.warnings,
        "reported_structure": structure.model_dump(exclude_none=True) if structure else None,
    }


def _lasting_answer(item: ResolvedSubstance) -> dict[str, Any]:
    """The part of the answer on a substance that does not depend on what was reported before."""
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
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a substance of a report stands: its row, and what was known of it before."""

    substance_id: str | None = None
    name: str | None = None
    first_seen: Scope = Scope.NONE
    other_laboratories: int = 0


def substance_answer(item: ResolvedSubstance, place: Place) -> str:
    """The answer on one substance of a report, as JSON."""
    return (
        f'{{"index": {item.position}, "substance_id": {_quoted(place.substance_id)}, "name": {_quoted(place.name)}, '
        f'"first_in": "{place.first_seen.value}", "other_labs": {place.other_laboratories}, {written(item).answer}}}'
    )


def answer_text(
    report_id: str, version: int, submission: Submission, received_at: datetime, alerts: Sequence[str], substances: Sequence[str]
) -> JsonText:
    """The answer to a report as JSON, from the answers on its substances."""
    return JsonText(
        f'{{"id": "{report_id}", "version": {version}, "state": "active", '
        f'"lab_reference": {_quoted(submission.report.lab_reference)}, "received_at": "{iso(received_at)}", '
        f'"alerts": {json.dumps(list(alerts))}, "substances": [{", ".join(substances)}]}}'
    )


def _quoted(text: str | None) -> str:
    return "null" if text is None else json.dumps(text, ensure_ascii=False)


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
