"""What was known before a report was received, for the rules that compare."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, false, literal_column, select
from sqlalchemy.orm import Session, aliased

from alerts.patterns import PLAIN_FORMS, set_key
from alerts.triggers import COUNTED_CONFIDENCE
from alerts.values import Background, DetectionFacts, ReportFacts, Scope
from app.persistence.models import CaseSubstance, Detection, HarmCase, Report, Sample, Substance

MOST_PURITIES = 2000


def _earlier(*, corrected: bool, test: bool) -> ColumnElement[bool]:
    """Counted parent detections of a substance in other reports, of the right kind of organisation.

    For a corrected report what was received after it is left out as well.
    """
    conditions: list[ColumnElement[bool]] = [
        Detection.substance_id == bindparam("substance_id"),
        # these and that of no test are the conditions of `ix_detection_before`
        Detection.counted.is_(True),
        Detection.relation == literal_column("'parent'"),
        and_(Detection.test.is_(True), Detection.org_id == bindparam("org_id")) if test else Detection.test.is_(False),
        Detection.report_id != bindparam("report_id"),
    ]
    if corrected:
        conditions.append(Detection.report_id.in_(select(Report.id).where(Report.received_at <= bindparam("received_at"))))
    return and_(*conditions)


@cache  # building a statement costs more than running it
def _seen_before(*, corrected: bool, test: bool, by_form: bool) -> Any:
    """The latest sample in the country; whether the region knows the substance; whether it does in this form, where asked."""
    earlier = _earlier(corrected=corrected, test=test)
    last = (
        select(Detection.sampled_on)
        .where(earlier, Detection.country == bindparam("country"), Detection.confidence.in_(COUNTED_CONFIDENCE))
        .order_by(Detection.sampled_on.desc())
        .limit(1)
        .scalar_subquery()
    )
    in_region = exists().where(earlier, Detection.region == bindparam("region"))
    in_form = (
        select(Detection.id)
        .join(Sample, Sample.report_id == Detection.report_id)
        .where(earlier, Detection.region == bindparam("region"), Sample.form == bindparam("form"))
        .exists()
    )
    return select(last.label("last"), in_region.label("in_region"), (in_form if by_form else false()).label("in_form"))


def background_of(session: Session, facts: ReportFacts) -> Background:
    """The background of a stored report: over what was received before it, counted now, its own rows left out.

    A test organisation's report is compared with its own, all others with those that are no tests.
    """
    subjects = [d for d in facts.detections if d.substance is not None and d.relation == "parent"]
    if not subjects and not any(d.isomer_set for d in facts.detections):
        return Background()
    corrected = facts.first_received_at is not None
    parameters = {
        "report_id": facts.report_id,
        "test": facts.test,
        "org_id": facts.org_id,
        "country": facts.country,
        "region": facts.region,
        "form": facts.form,
    } | ({"received_at": facts.first_received_at} if corrected else {})
    last_seen: dict[int, date] = {}
    in_region: set[int] = set()
    in_form: set[int] = set()
    adulterants: set[int] = set()
    groups = sorted({d.substance.chemical_group for d in subjects if d.substance is not None})
    seen_with: dict[int, frozenset[str]] = {}
    purity: dict[int, float] = {}
    earlier_purities: dict[int, tuple[float, ...]] = {}
    known_routes: dict[int, frozenset[str]] = {}
    with_route = {position for case in facts.cases if case.route not in (None, "unknown") for position in case.roles}
    for detection in subjects:
        assert detection.substance is not None
        asked = parameters | {"substance_id": detection.substance.id}
        if detection.substance.harmful_adulterant:
            adulterants.add(detection.position)
            seen_with[detection.position] = _company(session, asked, groups, corrected=corrected)
        if detection.first_in is Scope.WORLD or not detection.substance.alertable:
            continue
        statement = _seen_before(corrected=corrected, test=facts.test, by_form=facts.form not in (None, *PLAIN_FORMS))
        found = session.connection().execute(statement, asked).one()
        if found.last is not None:
            last_seen[detection.position] = found.last
        if found.in_region:
            in_region.add(detection.position)
        if found.in_form:
            in_form.add(detection.position)
        if found.in_region and detection.position in with_route:
            known_routes[detection.position] = _routes(session, asked, corrected=corrected)
        if detection.purity_percent is not None:
            purity[detection.position] = detection.purity_percent
            earlier_purities[detection.position] = _purities(session, asked, detection, facts, corrected=corrected)
    return Background(
        last_seen=last_seen,
        known_in_region=frozenset(in_region),
        known_in_form=frozenset(in_form),
        adulterants=frozenset(adulterants),
        seen_with=seen_with,
        purity=purity,
        earlier_purities=earlier_purities,
        known_routes=known_routes,
        sets_seen_elsewhere=_sets_seen_elsewhere(session, facts, parameters, corrected=corrected),
    )


def _routes(session: Session, asked: dict[str, Any], *, corrected: bool) -> frozenset[str]:
    """The routes of use in earlier cases with this substance in the region."""
    earlier = _earlier(corrected=corrected, test=asked["test"])
    query = (
        select(HarmCase.route)
        .distinct()
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .where(earlier, Detection.region == bindparam("region"), HarmCase.counted.is_(True))
    )
    return frozenset(route for route in session.scalars(query, asked) if route is not None)


def _sets_seen_elsewhere(session: Session, facts: ReportFacts, parameters: dict[str, Any], *, corrected: bool) -> frozenset[int]:
    """The positions of isomer sets that another organisation reported before."""
    sets = {d.position: set_key(m.inchikey for m in d.isomer_set) for d in facts.detections if d.isomer_set}
    if not sets or facts.test:
        return frozenset()
    query = select(Detection.candidates).where(
        Detection.substance_id.is_(None),
        Detection.resolution == "structure",
        Detection.counted.is_(True),
        Detection.relation == "parent",
        Detection.test.is_(False),
        Detection.report_id != bindparam("report_id"),
        Detection.org_id != bindparam("org_id"),
    )
    if corrected:
        query = query.where(Detection.report_id.in_(select(Report.id).where(Report.received_at <= bindparam("received_at"))))
    known = {
        set_key(str(one["inchikey"]) for one in candidates)
        for candidates in session.scalars(query, parameters)
        if candidates and all(one.get("inchikey") for one in candidates)
    }
    return frozenset(position for position, key in sets.items() if key in known)


def _company(session: Session, asked: dict[str, Any], groups: Sequence[str], *, corrected: bool) -> frozenset[str]:
    """Those of these chemical groups that were found in one sample with this substance in the country."""
    if not groups:
        return frozenset()
    beside = aliased(Detection)
    together = (
        select(Detection.id)
        .join(beside, beside.report_id == Detection.report_id)
        .join(Substance, Substance.id == beside.substance_id)
        .where(
            _earlier(corrected=corrected, test=asked["test"]),
            Detection.country == bindparam("country"),
            beside.counted.is_(True),
            beside.relation == "parent",
            beside.id != Detection.id,
        )
    )
    # group by group, so that each ends at the first sample found
    seen = session.execute(select(*(together.where(Substance.chemical_group == group).exists() for group in groups)), asked).one()
    return frozenset(group for group, is_seen in zip(groups, seen, strict=True) if is_seen)


def _purities(
    session: Session,
    asked: dict[str, Any],
    found: DetectionFacts,
    facts: ReportFacts,
    *,
    corrected: bool,
) -> tuple[float, ...]:
    """Purities of the same substance, form and basis before this report: the newest 2,000."""
    query = (
        select(Detection.purity_percent)
        .join(Sample, Sample.report_id == Detection.report_id)
        .where(
            _earlier(corrected=corrected, test=facts.test),
            Detection.purity_percent.is_not(None),
            Detection.purity_as.is_(None) if found.purity_as is None else Detection.purity_as == found.purity_as,
            Sample.form.is_(None) if facts.form is None else Sample.form == facts.form,
        )
        .order_by(Detection.received_at.desc())
        .limit(MOST_PURITIES)
    )
    return tuple(value for value in session.scalars(query, asked) if value is not None)
