"""What intake asks the tables: is this the first in an area, who else found it, which reports may this reader see."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from alerts.values import Scope
from app.auth.permissions import Principal, Role, visible_tlp
from app.persistence.models import CaseSubstance, Detection, HarmCase, HistoryRecord, Report, Substance
from app.regions import WORLD, region_of
from chem.values import UN_INSTRUMENTS, Assessment, LegalStatus

COUNTED = ("confirmed", "probable")


def un_status(assessment: Assessment) -> LegalStatus:
    """The status over the three UN conventions alone."""
    found = {assessment.status_by_instrument.get(instrument) for instrument in UN_INSTRUMENTS}
    for status in (LegalStatus.CONTROLLED, LegalStatus.POSSIBLY_CONTROLLED):
        if status in found:
            return status
    return LegalStatus.NOT_CONTROLLED


def visible_detections(reader: Principal | None) -> ColumnElement[bool]:
    """Which single detections a reader may see: its own, its country's, and others by their label (domain guide, section 7).

    RED rows show to the sender alone. Rows of test organisations show to themselves alone.
    """
    foreign = Detection.tlp.in_(visible_tlp(reader, own_country=False))
    if reader is None:
        return and_(foreign, Detection.test.is_(False))
    allowed = [and_(foreign, Detection.test.is_(False))]
    if reader.role is Role.LAB:
        allowed.append(Detection.org_id == reader.org_id)
    if reader.role is Role.AUTHORITY:
        own = visible_tlp(reader, own_country=True)
        allowed.append(and_(Detection.country == reader.country, Detection.tlp.in_(own), Detection.test.is_(False)))
    return or_(*allowed)


def first_in(session: Session, substance: Substance, country: str, *, reader: Principal | None, test: bool, org_id: str) -> Scope:
    """The widest area without an earlier confirmed or probable detection of the substance, nor a known history.

    With a `reader`, computed over what that reader may see; without, over everything. `WORLD` needs a substance absent from the
    shipped schedules and reference data. A test organisation compares with its own rows too.
    """
    region = region_of(country)
    base = and_(
        Detection.substance_id == substance.id,
        Detection.counted.is_(True),
        Detection.relation == "parent",
        Detection.confidence.in_(COUNTED),
    )
    seen = visible_detections(reader) if reader is not None else Detection.test.is_(False)
    if test:
        seen = or_(seen, Detection.org_id == org_id)
    known = set(
        session.scalars(
            select(HistoryRecord.area).where(
                HistoryRecord.substance_key == substance.key, HistoryRecord.area.in_((country, region, WORLD))
            )
        )
    )

    def found(*where: ColumnElement[bool]) -> bool:
        return bool(session.scalar(select(exists().where(base, seen, *where))))

    if country in known or found(Detection.country == country):
        return Scope.NONE
    if region in known or found(Detection.region == region):
        return Scope.COUNTRY
    if WORLD in known or substance.shipped or found():
        return Scope.REGION
    return Scope.WORLD


def other_laboratories(session: Session, substance_id: str, reader: Principal) -> int:
    """How many other laboratories found the substance, as far as this reader may see."""
    return (
        session.scalar(
            select(func.count(Detection.org_id.distinct())).where(
                Detection.substance_id == substance_id,
                Detection.counted.is_(True),
                Detection.org_id != reader.org_id,
                visible_detections(reader),
            )
        )
        or 0
    )


def visible_reports(reader: Principal) -> ColumnElement[bool]:
    """Which reports a reader may open or list, by the same rules as single detections."""
    own_test = and_(Report.org_id == reader.org_id)
    labels = visible_tlp(reader, own_country=False)
    test_org = Report.organisation.has(test=True)
    foreign = and_(Report.tlp.in_(labels), ~test_org) if labels else false()
    match reader.role:
        case Role.LAB:
            return or_(own_test, foreign)
        case Role.AUTHORITY:
            own_country = and_(Report.country == reader.country, Report.tlp.in_(visible_tlp(reader, own_country=True)), ~test_org)
            return or_(own_country, foreign)
        case Role.REVIEWER | Role.ANALYST:
            return foreign
        case _:
            return false()


def report_with_rows(session: Session, report_id: str, reader: Principal) -> Report | None:
    """A report with sample, current detections and cases, or None where it does not exist for this reader."""
    return session.scalar(
        select(Report)
        .where(Report.id == report_id, visible_reports(reader))
        .options(
            joinedload(Report.organisation),
            joinedload(Report.sample),
            selectinload(Report.detections.and_(Detection.report_version == Report.version)).joinedload(Detection.substance),
            selectinload(Report.cases.and_(HarmCase.report_version == Report.version))
            .selectinload(HarmCase.substances)
            .joinedload(CaseSubstance.detection),
        )
    )


def list_reports(session: Session, reader: Principal, *, own: bool, before: str | None, limit: int) -> list[Report]:
    """Reports this reader may see, newest first, `limit` at most, after the one with id `before`."""
    query = select(Report).where(visible_reports(reader))
    if own:
        query = query.where(Report.org_id == reader.org_id)
    if before is not None:
        query = query.where(Report.id < before)
    query = (
        query.order_by(Report.id.desc())
        .limit(limit)
        .options(
            joinedload(Report.organisation),
            joinedload(Report.sample),
            selectinload(Report.detections).joinedload(Detection.substance),
            selectinload(Report.cases).selectinload(HarmCase.substances).joinedload(CaseSubstance.detection),
        )
    )
    return list(session.scalars(query).unique())
