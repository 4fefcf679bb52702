"""A stored report as a reader may see it (domain guide, section 7): own rows in full, others by label, free text withheld."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from app.auth.permissions import Principal
from app.persistence.models import Detection, HarmCase, Report, ReportVersion
from app.sharing.rows import sees_all, sees_text
from chem.values import INSTRUMENTS_OF_COUNTRY

AGE_THIRDS = {
    "0-9": "0-17", "10-17": "0-17", "18-24": "18-44", "25-34": "18-44", "35-44": "18-44",
    "45-54": "45+", "55-64": "45+", "65+": "45+",
}  # fmt: skip


def newest_rows(report: Report) -> int:
    """The newest version with rows: a withdrawal adds a version without any."""
    return report.version - 1 if report.state == "withdrawn" else report.version


def deciding(matches: Sequence[Any], country: str) -> list[Any]:
    """The matches that a report's status rests on: those of another country's instruments are left out."""
    foreign = {i for home, instruments in INSTRUMENTS_OF_COUNTRY.items() if home != country for i in instruments}
    return [match for match in matches if match["instrument"] not in foreign]


def present_version(version: ReportVersion) -> dict[str, Any]:
    """A version as JSON; `report` is null for a withdrawal and where the content was lawfully erased."""
    try:
        body = json.loads(version.body) if version.body else None
    except ValueError:
        body = None
    return {
        "version": version.version,
        "kind": version.kind,
        "reason": version.reason,
        "created_at": version.created_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "sha256": version.body_sha256,
        "report": body,
    }


def present_report(report: Report, reader: Principal, cases: Collection[str], routes: Collection[str]) -> dict[str, Any]:
    """The report as JSON: the rows of its newest version, and of its cases those with an id in `cases`. The supply
    route shows where the report's id is in `routes`.

    Needs organisation, sample, detections with substances, and cases loaded.
    """
    whole = sees_all(reader, org_id=report.org_id, country=report.country)
    own_text = sees_text(reader, org_id=report.org_id, country=report.country)
    route = report.id in routes
    sample = report.sample
    month = f"{sample.sampled_on:%Y-%m}" if sample.date_precision != "year" else f"{sample.sampled_on:%Y}"
    return {
        "id": report.id,
        "version": report.version,
        "state": report.state,
        "outcome": report.outcome,
        "lab_reference": report.lab_reference if own_text else None,
        "laboratory": report.organisation.name if whole else None,
        "received_at": report.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if whole else None,
        "tlp": report.tlp,
        "sharing_group": report.sharing_group if reader.org_id == report.org_id else None,
        "alerts": report.answer.get("alerts", []) if whole else [],
        "sample": {
            "country": sample.country,
            "subdivision": sample.subdivision if whole else None,
            "date_sampled": sample.date_sampled if whole else month,
            "context": sample.context,
            "context_detail": sample.context_detail if whole else None,
            "matrix": sample.matrix,
            "form": sample.form,
            "sold_as": sample.sold_as if own_text else None,
            "quantity": _quantity(sample) if whole else None,
            "origin": sample.origin if route else None,
            "transit": sample.transit if route else [],
            "destination": sample.destination if route else None,
        },
        "substances": [_detection(d) for d in report.detections if d.report_version == newest_rows(report)],
        "cases": [_case(case, whole=whole) for case in report.cases if case.id in cases],
    }


def _quantity(sample: Any) -> dict[str, Any] | None:
    if sample.quantity_value is None:
        return None
    return {"value": sample.quantity_value, "unit": sample.quantity_unit, "basis": sample.quantity_basis}


def _detection(detection: Detection) -> dict[str, Any]:
    return {
        "index": detection.position,
        "substance_id": detection.substance_id,
        "name": detection.substance.name if detection.substance else None,
        "reported_name": detection.reported_name,
        "reported_structure": detection.reported_structure,
        "resolution": detection.resolution,
        "class": detection.resolution_class,
        "candidates": detection.candidates,
        "relation": detection.relation,
        "abundance": detection.abundance,
        "purity_percent": detection.purity_percent,
        "purity_as": detection.purity_as,
        "concentration": detection.concentration,
        "techniques": detection.techniques,
        "confidence": detection.confidence,
        "identity": detection.identity,
        "legal_status": detection.legal_status,
        "matches": detection.matches,
        "warnings": detection.warnings,
    }


def _case(case: HarmCase, *, whole: bool) -> dict[str, Any]:
    """In full, or de-identified: quarter, no sex, no intent, age in three bands."""
    substances = [{"index": s.detection.position, "role": s.role} for s in case.substances]
    if whole:
        return {
            "seriousness": case.seriousness,
            "country": case.country,
            "month": case.month,
            "role": case.role,
            "exposure_evidence": case.exposure_evidence,
            "route": case.route,
            "pss": case.pss,
            "outcome": case.outcome,
            "intent": case.intent,
            "age_band": case.age_band,
            "sex": case.sex,
            "toxidrome": case.toxidrome,
            "naloxone": case.naloxone,
            "icd": case.icd,
            "substances": substances,
        }
    year, month = case.month.split("-")
    return {
        "seriousness": case.seriousness,
        "country": case.country,
        "month": f"{year}-Q{(int(month) + 2) // 3}",
        "role": case.role,
        "exposure_evidence": case.exposure_evidence,
        "route": case.route,
        "pss": case.pss,
        "outcome": case.outcome,
        "intent": None,
        "age_band": AGE_THIRDS.get(case.age_band or ""),
        "sex": None,
        "toxidrome": case.toxidrome,
        "naloxone": case.naloxone,
        "icd": case.icd,
        "substances": substances,
    }
