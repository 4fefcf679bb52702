"""A laboratory's own reports: what did I send, and what came of it?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, select
from starlette.responses import Response

from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.intake import queries
from app.intake.present import deciding, newest_rows
from app.notifications.inbox import AlertRow, alerts_for
from app.persistence.models import CaseSubstance, Detection, HarmCase, Report, ReportVersion
from app.problems import Problem
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Page, reported_date, with_query

router = APIRouter(include_in_schema=False)

LIMIT = 50
ABSENT = "There is no report with this address among your own."
Laboratory = Annotated[Viewer, Depends(requires_viewer(Action.REPORT_SEND))]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A line of the list. `status` and `confidence` are those of the first substance; None where nothing was detected."""

    id: str
    lab_reference: str
    received_at: datetime
    state: str
    version: int
    found: str
    country: str
    confidence: str | None
    status: str | None
    first_in: str | None
    alerts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportsContext:
    rows: tuple[ReportRow, ...]
    total: int
    next_href: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One substance of a report: how it was understood, how sure, its status, and whether it was the first."""

    name: str
    reported: str | None
    href: str | None
    resolution: str
    confidence: str
    because: tuple[str, ...]
    status: str
    verdict: str
    more: int
    first_in: str | None
    other_labs: int | None
    relation: str
    details: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseLine:
    seriousness: str
    role: str
    details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    version: int
    kind: str
    at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    report: ReportRow
    tlp: str
    sample: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...]
    cases: tuple[CaseLine, ...]
    alerts: tuple[AlertRow, ...]
    versions: tuple[VersionLine, ...]


def _current(report: Report) -> list[Detection]:
    return [d for d in report.detections if d.report_version == newest_rows(report)]


def _answers(report: Report) -> list[dict[str, Any]]:
    return list(report.answer.get("substances", ()))


def _first_in(answer: dict[str, Any] | None) -> str | None:
    """In words, or None where it was not the first."""
    return words.FIRST_IN.get((answer or {}).get("first_in", "none"))


def _label(detection: Detection) -> str:
    return detection.substance.name if detection.substance else detection.reported_name or "Not resolved"


def _row(report: Report) -> ReportRow:
    detections = _current(report)
    answers = _answers(report)
    names = [_label(d) for d in detections]
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    firsts = [text for answer in answers if (text := _first_in(answer))]
    return ReportRow(
        id=report.id,
        lab_reference=report.lab_reference,
        received_at=report.received_at,
        state=report.state,
        version=report.version,
        found=shown or "None detected",
        country=country_name(report.country),
        confidence=detections[0].confidence if detections else None,
        status=detections[0].legal_status if detections else None,
        first_in=firsts[0] if firsts else None,
        alerts=len(report.answer.get("alerts", ())),
    )


@router.get("/reports")
def reports(
    request: Request, context: Context, viewer: Laboratory, before: Annotated[str | None, Query(max_length=26)] = None
) -> Response:
    """The laboratory's reports, newest first."""
    with context.database.read() as session:
        found = queries.list_reports(session, viewer.principal, own=True, before=before, limit=LIMIT + 1)
        total = session.scalar(select(func.count()).select_from(Report).where(Report.org_id == viewer.principal.org_id)) or 0
        frame = build_frame(request, context, session, viewer, title="My reports", crumbs=(Crumb(text="Overview", href="/"),))
    page = ReportsContext(
        rows=tuple(_row(report) for report in found[:LIMIT]),
        total=total,
        next_href=with_query("/reports", before=found[LIMIT - 1].id) if len(found) > LIMIT else None,
    )
    return Page("intake/reports.html", frame, page)


@router.get("/reports/{report_id}")
def report(request: Request, context: Context, viewer: Laboratory, report_id: str) -> Response:
    """One report of the laboratory: what it said, how it was understood, what came of it."""
    with context.database.read() as session:
        found = queries.report_with_rows(session, report_id, viewer.principal)
        if found is None or found.org_id != viewer.principal.org_id:
            raise Problem("not-found", ABSENT)
        versions = session.scalars(
            select(ReportVersion).where(ReportVersion.report_id == report_id).order_by(ReportVersion.version.desc())
        ).all()
        alert_ids = tuple(found.answer.get("alerts", ()))
        alerts = alerts_for(session, viewer.principal, now=context.now(), alert_ids=alert_ids).rows if alert_ids else ()
        frame = build_frame(
            request,
            context,
            session,
            viewer,
            title=f"Report {found.lab_reference}",
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="My reports", href="/reports")),
        )
    answers = {answer.get("index", n): answer for n, answer in enumerate(_answers(found))}
    page = ReportContext(
        report=_row(found),
        tlp=found.tlp,
        sample=_sample(found),
        findings=tuple(_finding(d, answers.get(d.position)) for d in _current(found)),
        cases=tuple(_case(case) for case in found.cases if case.report_version == newest_rows(found)),
        alerts=alerts,
        versions=tuple(VersionLine(version=row.version, kind=row.kind, at=row.created_at, reason=row.reason) for row in versions),
    )
    return Page("intake/report.html", frame, page)


def _plain(value: str) -> str:
    text = value.replace("_", " ")
    return text[:1].upper() + text[1:]


def _sample(report: Report) -> tuple[tuple[str, str], ...]:
    sample = report.sample
    where = country_name(sample.country) + (f", {sample.subdivision}" if sample.subdivision else "")
    context = words.said(words.CONTEXTS, sample.context)
    rows: list[tuple[str, str | None]] = [
        ("Country", where),
        ("Sampled", reported_date(sample.date_sampled)),
        ("Context", f"{context}: {sample.context_detail.replace('_', ' ')}" if sample.context_detail else context),
        ("Matrix", _plain(sample.matrix) if sample.matrix else None),
        ("Form", _plain(sample.form) if sample.form else None),
        ("Sold as", sample.sold_as),
        ("Quantity", _quantity(sample.quantity_value, sample.quantity_unit, sample.quantity_basis)),
        ("Origin", country_name(sample.origin) if sample.origin else None),
        ("Transit", ", ".join(country_name(code) for code in sample.transit) or None),
        ("Destination", country_name(sample.destination) if sample.destination else None),
    ]
    return tuple((name, value) for name, value in rows if value)


def _quantity(value: float | None, unit: str | None, basis: str | None) -> str | None:
    if value is None:
        return None
    counted = {"{tablet}": "tablets", "{unit}": "units"}
    return f"{value:,g} {counted.get(unit or '', unit or '')}" + (f", {basis}" if basis else "")


def _finding(detection: Detection, answer: dict[str, Any] | None) -> Finding:
    substance = detection.substance
    matches = deciding(detection.matches, detection.country)
    reported = detection.reported_name or _structure_text(detection.reported_structure)
    details: list[tuple[str, str | None]] = [
        ("Techniques", ", ".join(detection.techniques) or None),
        ("Standard", _plain(detection.reference_material) if detection.reference_material else None),
        ("Isomers excluded", _plain(detection.isomers_excluded) if detection.isomers_excluded else None),
        ("Part", _plain(detection.abundance) if detection.abundance else None),
        (
            "Purity",
            f"{detection.purity_percent:g} % as {detection.purity_as or 'not said'}" if detection.purity_percent else None,
        ),
    ]
    return Finding(
        name=substance.name if substance else reported or "Not resolved",
        reported=reported if substance and reported != substance.name else None,
        href=f"/substances/{substance.id}" if substance else None,
        resolution=words.said(words.RESOLUTIONS, detection.resolution),
        confidence=words.said(words.CONFIDENCE, detection.confidence),
        because=tuple((answer or {}).get("confidence_because", ())),
        status=detection.legal_status,
        verdict=words.verdict(detection.legal_status, matches, label=reported or ""),
        more=words.and_more(detection.legal_status, matches),
        first_in=_first_in(answer),
        other_labs=(answer or {}).get("other_labs"),
        relation=detection.relation,
        details=tuple((name, value) for name, value in details if value),
        warnings=tuple(_texts(detection.warnings)),
    )


def _texts(warnings: Sequence[Any]) -> list[str]:
    return [str(item["detail"]) if isinstance(item, dict) else str(item) for item in warnings]


def _structure_text(structure: dict[str, Any] | None) -> str | None:
    """The structure as it was sent, shortened; a set by the number of its candidates."""
    if structure is None:
        return None
    if structure.get("candidates"):
        return f"one of {len(structure['candidates'])} structures"
    text = structure.get("smiles") or structure.get("inchi") or "molfile"
    return text if len(text) <= 80 else json.dumps(text[:77])[1:-1] + "..."


def _case(case: HarmCase) -> CaseLine:
    links: list[CaseSubstance] = case.substances
    parts = [
        f"route {case.route}" if case.route else "",
        f"age {case.age_band}" if case.age_band else "",
        f"exposure {case.exposure_evidence.replace('_', ' ')}" if case.exposure_evidence else "",
        words.count(len(links), "substance named", "substances named"),
    ]
    return CaseLine(
        seriousness=words.said(words.SERIOUSNESS, case.seriousness),
        role=words.said(words.CASE_ROLES, case.role),
        details=", ".join(part for part in parts if part),
    )
