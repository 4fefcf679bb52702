"""What was known before a report was received, for the rules that compare."""

from __future__ import annotations

from datetime import date
from typing import Any

from sqlalchemy import and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from alerts.triggers import COUNTED_CONFIDENCE
from alerts.values import Background, DetectionFacts, ReportFacts, Scope
from app.persistence.models import Detection, Report, Sample, Substance

MOST_PURITIES = 2000


def background_of(session: Session, facts: ReportFacts) -> Background:
    """The background of a stored report: over what was received before it, counted now, its own rows left out.

    A test organisation's report is compared with its own, all others with those that are no tests.
    """
    subjects = [d for d in facts.detections if d.substance is not None and d.relation == "parent"]
    if not subjects:
        return Background()
    row = session.execute(
        select(Report.received_at, Sample.form)
        .outerjoin(Sample, Sample.report_id == Report.id)
        .where(Report.id == facts.report_id)
    ).one()
    received_at, form = row
    earlier = and_(
        Detection.counted.is_(True),
        Detection.relation == "parent",
        Detection.report_id != facts.report_id,
        Detection.org_id == facts.org_id if facts.test else Detection.test.is_(False),
    )
    if facts.received_at != received_at:  # a correction: what came in between is no background
        earlier = and_(earlier, Detection.report_id.in_(select(Report.id).where(Report.received_at <= received_at)))
    adulterants = _adulterants(session, subjects)
    last_seen: dict[int, date] = {}
    in_region: set[int] = set()
    in_form: set[int] = set()
    for detection in subjects:
        if detection.first_in is Scope.WORLD or detection.substance is None or not detection.substance.alertable:
            continue
        found = session.execute(_seen_before(facts, detection.substance.id, earlier, form)).one()
        if found.last is not None:
            last_seen[detection.position] = found.last
        if found.in_region:
            in_region.add(detection.position)
        if found.in_form:
            in_form.add(detection.position)
    purity, earlier_purities = _purities(session, facts, subjects, earlier, form)
    return Background(
        last_seen=last_seen,
        form=form,
        known_in_region=frozenset(in_region),
        known_in_form=frozenset(in_form),
        adulterants=adulterants,
        seen_with={
            d.position: _company(session, facts, d.substance.id, earlier)
            for d in subjects
            if d.position in adulterants and d.substance is not None
        },
        purity=purity,
        earlier_purities=earlier_purities,
    )


def _seen_before(facts: ReportFacts, substance_id: str, earlier: Any, form: str | None) -> Any:
    same = and_(earlier, Detection.substance_id == substance_id)
    last = (
        select(func.max(Detection.sampled_on))
        .where(same, Detection.country == facts.country, Detection.confidence.in_(COUNTED_CONFIDENCE))
        .scalar_subquery()
    )
    in_region = exists().where(same, Detection.region == facts.region)
    in_form = (
        select(Detection.id)
        .join(Sample, Sample.report_id == Detection.report_id)
        .where(same, Detection.region == facts.region, Sample.form == form)
        .exists()
    )
    return select(last.label("last"), in_region.label("in_region"), in_form.label("in_form"))


def _adulterants(session: Session, subjects: list[DetectionFacts]) -> frozenset[int]:
    ids = {d.substance.id for d in subjects if d.substance is not None}
    listed = set(session.scalars(select(Substance.id).where(Substance.id.in_(ids), Substance.harmful_adulterant.is_(True))))
    return frozenset(d.position for d in subjects if d.substance is not None and d.substance.id in listed)


def _company(session: Session, facts: ReportFacts, substance_id: str, earlier: Any) -> frozenset[str]:
    """The chemical groups that were found in one sample with this substance in the country."""
    beside = aliased(Detection)
    return frozenset(
        session.scalars(
            select(Substance.chemical_group)
            .distinct()
            .select_from(Detection)
            .join(beside, beside.report_id == Detection.report_id)
            .join(Substance, Substance.id == beside.substance_id)
            .where(
                earlier,
                Detection.substance_id == substance_id,
                Detection.country == facts.country,
                beside.counted.is_(True),
                beside.relation == "parent",
                beside.id != Detection.id,
            )
        )
    )


def _purities(
    session: Session, facts: ReportFacts, subjects: list[DetectionFacts], earlier: Any, form: str | None
) -> tuple[dict[int, float], dict[int, tuple[float, ...]]]:
    """This report's purities, and those of the same substance, form and basis before it: the newest 2,000."""
    own: dict[int, float] = {}
    before: dict[int, tuple[float, ...]] = {}
    rows = session.execute(
        select(Detection.id, Detection.purity_percent, Detection.purity_as).where(
            Detection.id.in_([d.detection_id for d in subjects]), Detection.purity_percent.is_not(None)
        )
    )
    for detection_id, purity, basis in rows:
        detection = next(d for d in subjects if d.detection_id == detection_id)
        assert detection.substance is not None
        assert purity is not None
        own[detection.position] = purity
        before[detection.position] = tuple(
            value
            for value in session.scalars(
                select(Detection.purity_percent)
                .join(Sample, Sample.report_id == Detection.report_id)
                .where(
                    earlier,
                    Detection.substance_id == detection.substance.id,
                    Detection.purity_percent.is_not(None),
                    Detection.purity_as.is_(None) if basis is None else Detection.purity_as == basis,
                    Sample.form.is_(None) if form is None else Sample.form == form,
                )
                .order_by(Detection.received_at.desc())
                .limit(MOST_PURITIES)
            )
            if value is not None
        )
    return own, before
