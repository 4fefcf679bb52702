"""From the tables to the facts of a ranking: what was found and what harm was reported, over rows of given labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.persistence.models import ActivityReport, CaseSubstance, Detection, HarmCase, Organisation, Report, Sample, Substance
from app.priorities.ranking import CAUSAL, CONFIDENCE_WEIGHT, Facts, Find, Harm, Subject
from app.sharing.counts import Cut, counts_of_labels

CONVENTIONS = ("UN-1961", "UN-1971")


def months_before(cutoff: date, month: str) -> int:
    """Whole months from a month (YYYY-MM) to that of the cut-off."""
    return (cutoff.year - int(month[:4])) * 12 + cutoff.month - int(month[5:7])


def gather(session: Session, cutoff: date, labels: Collection[str]) -> Facts:
    """The facts up to a day, over detections, cases and statements with one of these labels.

    Rows of test organisations, and withdrawn or replaced ones, are left out.
    """
    rows = _found(session, cutoff, labels)
    counts: dict[tuple[str, str, str, int], dict[str, int]] = defaultdict(dict)
    for (org, country, substance, month, confidence), number in rows.items():
        counts[org, country, substance, months_before(cutoff, month)][confidence] = number
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


def _found(session: Session, cutoff: date, labels: Collection[str]) -> dict[tuple[str, str, str, str, str], int]:
    """Detections by laboratory, country, substance, month and confidence: the monthly counts, less what was sampled later.

    What was sampled after a day was received after it as well.
    """
    by = ("org_id", "country", "substance_id", "month", "confidence")
    cut = Cut(months=("", f"{cutoff:%Y-%m}"), confidences=tuple(CONFIDENCE_WEIGHT))
    cells = counts_of_labels(tuple(labels), by, cut).subquery()
    query = select(*(cells.c[name] for name in by), cells.c.n).join(Substance, Substance.id == cells.c.substance_id)
    found = {tuple(row[:5]): row.n for row in session.execute(query.where(Substance.ordinary.is_(False)))}
    later = (
        select(*(getattr(Detection, name) for name in by), func.count())
        .where(
            Detection.counted.is_(True),
            Detection.test.is_(False),
            Detection.relation == "parent",
            Detection.confidence.in_(tuple(CONFIDENCE_WEIGHT)),
            Detection.tlp.in_(tuple(labels)),
            Detection.received_at >= datetime(cutoff.year, cutoff.month, cutoff.day, tzinfo=UTC),
            Detection.sampled_on > cutoff,
        )
        .group_by(*(getattr(Detection, name) for name in by))
    )
    for *key, number in session.execute(later):
        if tuple(key) in found:
            found[tuple(key)] -= number
    return {key: number for key, number in found.items() if number}


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
