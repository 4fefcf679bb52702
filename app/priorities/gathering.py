"""From the tables to the facts of a ranking: what was found and what harm was reported, over rows of given labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.persistence.models import ActivityReport, CaseSubstance, Detection, HarmCase, Organisation, Report, Sample, Substance
from app.priorities.ranking import CAUSAL, CONFIDENCE_WEIGHT, Facts, Find, Harm, Subject

CONVENTIONS = ("UN-1961", "UN-1971")


def months_before(cutoff: date, month: str) -> int:
    """Whole months from a month (YYYY-MM) to that of the cut-off."""
    return (cutoff.year - int(month[:4])) * 12 + cutoff.month - int(month[5:7])


def gather(session: Session, cutoff: date, labels: Collection[str]) -> Facts:
    """The facts up to a day, over detections, cases and statements with one of these labels.

    Rows of test organisations, and withdrawn or replaced ones, are left out.
    """
    rows = session.execute(
        select(Detection.org_id, Detection.country, Detection.substance_id, Detection.month, Detection.confidence, func.count())
        .join(Substance, Substance.id == Detection.substance_id)
        .where(
            Detection.counted.is_(True),
            Detection.test.is_(False),
            Detection.relation == "parent",
            Detection.confidence.in_(tuple(CONFIDENCE_WEIGHT)),
            Detection.tlp.in_(tuple(labels)),
            Detection.sampled_on <= cutoff,
            Substance.ordinary.is_(False),
        )
        .group_by(Detection.org_id, Detection.country, Detection.substance_id, Detection.month, Detection.confidence)
    ).all()
    counts: dict[tuple[str, str, str, int], dict[str, int]] = defaultdict(dict)
    for org, country, substance, month, confidence, number in rows:
        counts[org, country, str(substance), months_before(cutoff, month)][confidence] = number
    finds = tuple(
        Find(
            laboratory=org, country=country, substance=substance, month=ago,
            confirmed=found.get("confirmed", 0), probable=found.get("probable", 0),
        )
        for (org, country, substance, ago), found in sorted(counts.items())
    )  # fmt: skip
    subjects = _subjects(session, {find.substance for find in finds})
    known = {subject.id for subject in subjects}
    return Facts(
        cutoff=cutoff.isoformat(),
        subjects=subjects,
        finds=finds,
        harms=_harms(session, cutoff, labels, known),
        tested=_tested(session, cutoff, labels),
        reporters=_reporters(session, cutoff, labels),
    )


def _subjects(session: Session, wanted: Collection[str]) -> tuple[Subject, ...]:
    found = session.execute(
        select(Substance.id, Substance.name, Substance.chemical_group, Substance.matches).where(
            Substance.merged_into.is_(None), Substance.ordinary.is_(False)
        )
    )
    return tuple(
        sorted(
            (
                Subject(id=key, name=name, group=group, under_control=_under_control(matches))
                for key, name, group, matches in found
                if key in wanted
            ),
            key=lambda subject: subject.id,
        )
    )


def _under_control(matches: Sequence[dict[str, object]]) -> bool:
    """Whether a certain, captured match puts it under one of the two conventions."""
    return any(m.get("instrument") in CONVENTIONS and m.get("captured") and m.get("certainty") == "certain" for m in matches)


def _harms(session: Session, cutoff: date, labels: Collection[str], known: Collection[str]) -> tuple[Harm, ...]:
    rows = session.execute(
        select(
            HarmCase.id, HarmCase.country, HarmCase.month, HarmCase.seriousness, HarmCase.exposure_evidence, HarmCase.pss,
            CaseSubstance.role, Detection.org_id, Detection.substance_id,
        )
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .where(
            HarmCase.counted.is_(True),
            HarmCase.test.is_(False),
            HarmCase.tlp.in_(tuple(labels)),
            HarmCase.month <= f"{cutoff:%Y-%m}",
            Detection.counted.is_(True),
            Detection.substance_id.is_not(None),
        )
        .order_by(HarmCase.id, Detection.substance_id)
    ).all()  # fmt: skip
    causal: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.role in CAUSAL | {"contributory"}:
            causal[row.id].add(row.substance_id)
    harms: dict[tuple[str, str], Harm] = {}
    for row in rows:
        if row.substance_id not in known:
            continue
        harm = Harm(
            laboratory=row.org_id, country=row.country, substance=row.substance_id, month=months_before(cutoff, row.month),
            case=row.id, seriousness=row.seriousness, role=row.role, evidence=row.exposure_evidence, pss=row.pss,
            others_causal=bool(causal[row.id] - {row.substance_id}),
        )  # fmt: skip
        harms.setdefault((row.id, row.substance_id), harm)  # once a case and substance
    return tuple(harms.values())


def _tested(session: Session, cutoff: date, labels: Collection[str]) -> dict[str, int]:
    """Tests that laboratories state for periods wholly within the last 12 months."""
    start = date(cutoff.year - 1, cutoff.month, 1)
    rows = session.execute(
        select(ActivityReport.org_id, func.sum(ActivityReport.samples_tested))
        .where(
            ActivityReport.tlp.in_(tuple(labels)),
            ActivityReport.test.is_(False),
            ActivityReport.replaced_by.is_(None),
            ActivityReport.withdrawn_at.is_(None),
            ActivityReport.first_day >= start,
            ActivityReport.last_day <= cutoff,
        )
        .group_by(ActivityReport.org_id)
    )
    return {org: int(total) for org, total in rows if total}


def _reporters(session: Session, cutoff: date, labels: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Countries of the samples that each laboratory reported in the last 12 months, also those without a finding."""
    found: dict[str, set[str]] = defaultdict(set)
    rows = session.execute(
        select(Report.org_id, Report.country)
        .distinct()
        .join(Sample, Sample.report_id == Report.id)
        .join(Organisation, Organisation.id == Report.org_id)
        .where(
            Report.state == "active",
            Organisation.test.is_(False),
            Report.tlp.in_(tuple(labels)),
            Sample.sampled_on > date(cutoff.year - 1, cutoff.month, 1),
            Sample.sampled_on <= cutoff,
        )
    )
    for org, country in rows:
        found[org].add(country)
    return {org: tuple(sorted(countries)) for org, countries in sorted(found.items())}
