"""The rows under a dossier, read once: detections with their samples, what lay beside them, cases, alerts, measures, controls.

Every query is bound by app.sharing.rows for the reader of the view. Nothing is counted here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session, aliased

from app.auth.permissions import Principal, Role
from app.notifications.inbox import AlertRow, alerts_for
from app.persistence.models import CaseSubstance, Detection, HarmCase, Measure, Organisation, Sample, Substance
from app.sharing.counts import Cut, counts
from app.sharing.masking import Cell, masked_cells
from app.sharing.rows import counted_cases, readable_cases, readable_detections
from app.substances.queries import existing_substances, with_merged
from app.uses.service import Listed, uses

MOST_ALERTS = 500
MOST_DECLARED = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A substance that the dossier is about: one, with its stereoisomers, or all of a family."""

    id: str
    name: str
    connectivity: str | None
    legal_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Find:
    """A detection with relation `parent`, of any confidence. `mass_g`: the sample's quantity in grams; None where not a mass."""

    id: str
    report: str
    substance: str
    laboratory: str
    country: str
    month: str
    confidence: str
    context: str
    form: str | None
    matrix: str | None
    mass_g: float | None
    purity: float | None
    purity_as: str | None
    concentration: tuple[float, str] | None

    @property
    def counts(self) -> bool:
        return self.confidence in ("confirmed", "probable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A harm case that the reader of the view may open, with the gravest part that a member played in it."""

    id: str
    country: str
    month: str
    seriousness: str
    role: str
    evidence: str | None
    route: str | None
    age_band: str | None
    toxidrome: tuple[str, ...]
    naloxone: str | None
    others: int  # further substances named with a causal or contributory part


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLine:
    kind: str
    country: str
    organisation: str
    basis: str
    valid_from: date | None
    valid_until: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Everything that sections are made of."""

    members: tuple[Member, ...]
    finds: tuple[Find, ...]
    beside: dict[str, tuple[str, ...]]  # other substance's name -> ids of finds in whose sample it lay too
    cases: tuple[Case, ...]
    alerts: tuple[AlertRow, ...]
    measures: tuple[MeasureLine, ...]
    declared: tuple[Listed, ...]  # legitimate uses, confirmed by the cut-off
    masked: dict[str, Cell]  # cases by seriousness as the view gets them where it may not open them; else empty
    reporting: tuple[tuple[str, str], ...]  # (country, month) of any detection in the 36 months to the cut-off


_GRAMS = {"kg": 1000.0, "g": 1.0, "mg": 0.001}
_GRAVEST = ("sole_cause", "combined_cause", "contributory", "undetermined", "incidental")


def gather(session: Session, reader: Principal, members: Sequence[Member], *, cutoff: date, now: Any, since: str) -> Material:
    """All rows up to the cut-off. Seven queries, whatever their number."""
    ids = [member.id for member in members]
    finds = _finds(session, reader, ids, cutoff)
    alerts = alerts_for(session, reader, now=now, substance_ids=ids, limit=MOST_ALERTS).rows
    everything = Cut(months=(since, f"{cutoff:%Y-%m}"), confidences=None, relations=None)
    listed = reader.role is Role.REVIEWER  # the other view has no case of its own
    return Material(
        members=tuple(members),
        finds=finds,
        beside=_beside(session, reader, ids, finds, cutoff),
        cases=_cases(session, reader, ids, cutoff) if listed else (),
        masked={} if listed else _masked(session, reader, ids, cutoff),
        alerts=tuple(alert for alert in alerts if alert.at.date() <= cutoff),
        measures=_measures(session, ids, cutoff),
        declared=_declared(session, reader, ids, cutoff),
        reporting=tuple(
            (country, month)
            for country, month, _ in session.execute(
                counts(reader, ("country", "month"), everything).order_by("country", "month")
            )
        ),
    )


def members_of_family(session: Session, reader: Principal, group: str) -> tuple[Member, ...]:
    """Substances of a chemical group that were found at least once, by name."""
    found = session.execute(
        select(Substance.id, Substance.name, Substance.connectivity, Substance.legal_status)
        .where(
            Substance.chemical_group == group,
            Substance.ordinary.is_(False),
            existing_substances(reader),
            select(Detection.id).where(Detection.substance_id == Substance.id, readable_detections(reader)).exists(),
        )
        .order_by(Substance.name, Substance.id)
    )
    return tuple(
        Member(id=key, name=name, connectivity=connectivity, legal_status=status) for key, name, connectivity, status in found
    )


def _finds(session: Session, reader: Principal, ids: Sequence[str], cutoff: date) -> tuple[Find, ...]:
    rows = session.execute(
        select(
            Detection.id, Detection.report_id, Detection.substance_id, Detection.org_id, Detection.country, Detection.month,
            Detection.confidence, Detection.context, Sample.form, Sample.matrix, Sample.quantity_value, Sample.quantity_unit,
            Detection.purity_percent, Detection.purity_as, Detection.concentration,
        )
        .join(Sample, Sample.report_id == Detection.report_id)
        .where(
            Detection.substance_id.in_(ids),
            Detection.relation == "parent",
            Detection.sampled_on <= cutoff,
            readable_detections(reader),
        )
        .order_by(Detection.month.desc(), Detection.id.desc())
    )  # fmt: skip
    return tuple(
        Find(
            id=row[0], report=row[1], substance=str(row[2]), laboratory=row[3], country=row[4], month=row[5], confidence=row[6],
            context=row[7], form=row[8], matrix=row[9],
            mass_g=row[10] * _GRAMS[row[11]] if row[10] is not None and row[11] in _GRAMS else None,
            purity=row[12], purity_as=row[13], concentration=_concentration(row[14]),
        )
        for row in rows
    )  # fmt: skip


def _concentration(found: dict[str, Any] | None) -> tuple[float, str] | None:
    if not found or found.get("value") is None or not found.get("unit"):
        return None
    return float(found["value"]), str(found["unit"])


def _beside(
    session: Session, reader: Principal, ids: Sequence[str], finds: Sequence[Find], cutoff: date
) -> dict[str, tuple[str, ...]]:
    other = aliased(Detection)
    rows = session.execute(
        select(Detection.id, Substance.name)
        .join(other, and_(other.report_id == Detection.report_id, other.id != Detection.id))
        .join(Substance, Substance.id == other.substance_id)
        .where(
            Detection.substance_id.in_(ids), Detection.relation == "parent", Detection.sampled_on <= cutoff,
            readable_detections(reader), other.counted, other.relation == "parent", other.substance_id.not_in(ids),
        )
        .distinct()
    )  # fmt: skip
    found: dict[str, set[str]] = defaultdict(set)
    for find, name in rows:
        found[name].add(find)
    counting = [find.id for find in finds if find.counts]
    return {name: tuple(find for find in counting if find in beside) for name, beside in found.items()}


def _cases(session: Session, reader: Principal, ids: Sequence[str], cutoff: date) -> tuple[Case, ...]:
    rows = session.execute(
        select(HarmCase, CaseSubstance.role, Detection.substance_id)
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .where(
            HarmCase.id.in_(
                select(CaseSubstance.case_id)
                .join(Detection, Detection.id == CaseSubstance.detection_id)
                .where(Detection.substance_id.in_(ids), readable_detections(reader))
            ),
            HarmCase.counted, readable_cases(reader), HarmCase.month <= f"{cutoff:%Y-%m}", readable_detections(reader),
        )
        .order_by(HarmCase.month.desc(), HarmCase.id.desc())
    ).all()  # fmt: skip
    own: dict[str, list[str]] = defaultdict(list)
    others: dict[str, set[str]] = defaultdict(set)
    for case, role, substance in rows:
        if substance in ids:
            own[case.id].append(role)
        elif role in _GRAVEST[:3]:
            others[case.id].add(substance or "")
    cases = {case.id: case for case, _, _ in rows}
    return tuple(
        Case(
            id=case.id, country=case.country, month=case.month, seriousness=case.seriousness,
            role=min(own[case.id], key=_GRAVEST.index), evidence=case.exposure_evidence, route=case.route,
            age_band=case.age_band, toxidrome=tuple(case.toxidrome), naloxone=case.naloxone, others=len(others[case.id]),
        )
        for case in cases.values()
    )  # fmt: skip


def _masked(session: Session, reader: Principal, ids: Sequence[str], cutoff: date) -> dict[str, Cell]:
    rows = session.execute(
        select(HarmCase.id, HarmCase.seriousness)
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .where(
            Detection.substance_id.in_(ids), readable_detections(reader), counted_cases(reader),
            HarmCase.month <= f"{cutoff:%Y-%m}",
        )
        .distinct()
    )  # fmt: skip
    return masked_cells(Counter(seriousness for _, seriousness in rows))


def _measures(session: Session, ids: Sequence[str], cutoff: date) -> tuple[MeasureLine, ...]:
    rows = session.execute(
        select(Measure, Organisation.name)
        .join(Organisation, Organisation.id == Measure.org_id)
        .where(with_merged(Measure.substance_id, ids), Organisation.test.is_(False))
        .order_by(Measure.country, Measure.created_at)
    )
    return tuple(
        MeasureLine(
            kind=measure.kind, country=measure.country, organisation=name, basis=measure.legal_basis or "",
            valid_from=measure.valid_from, valid_until=measure.valid_until,
        )
        for measure, name in rows
        if measure.created_at.date() <= cutoff
    )  # fmt: skip


def _declared(session: Session, reader: Principal, ids: Sequence[str], cutoff: date) -> tuple[Listed, ...]:
    found = uses(session, reader, substances=ids, state="confirmed", limit=MOST_DECLARED)
    return tuple(use for use in found if use.decided_at is not None and use.decided_at.date() <= cutoff)
