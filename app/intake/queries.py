"""What intake asks the tables: is this the first in an area, who else found it, which reports may this reader see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal,
    literal_column,
    not_,
    select,
    union_all,
)
from sqlalchemy.orm import Session, joinedload, selectinload

from alerts.values import Scope
from app.auth.permissions import Principal
from app.persistence.models import (
    CaseSubstance,
    Detection,
    DetectionDelta,
    HarmCase,
    HistoryRecord,
    Report,
    Substance,
    SubstanceLaboratory,
)
from app.regions import WORLD, region_of
from app.sharing.rows import open_routes, readable_cases, readable_reports
from chem.values import UN_INSTRUMENTS, Assessment, LegalStatus

COUNTED = ("confirmed", "probable")
OPEN = ("CLEAR", "GREEN")  # labels that open a row to every laboratory


def un_status(assessment: Assessment) -> LegalStatus:
    """The status over the three UN conventions alone."""
    found = {assessment.status_by_instrument.get(instrument) for instrument in UN_INSTRUMENTS}
    for status in (LegalStatus.CONTROLLED, LegalStatus.POSSIBLY_CONTROLLED):
        if status in found:
            return status
    return LegalStatus.NOT_CONTROLLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A substance's row as intake needs it, with what is known of it before a report.

    `everything`, `seen`, `history`: whether country, region and world know it, over all counted detections, over those that the
    laboratory may see, and in the operator's history. `other_laboratories`: how many others it may see.
    """

    id: str
    key: str
    name: str
    inchikey: str | None
    chemical_group: str
    effect_group: str
    shipped: bool
    ordinary: bool
    harmful_adulterant: bool
    merged_into: str | None
    everything: tuple[bool, bool, bool]
    seen: tuple[bool, bool, bool]
    history: tuple[bool, bool, bool]
    other_laboratories: int

    @property
    def first(self) -> Scope:
        """The widest area without an earlier confirmed or probable detection, nor a line of the operator's history."""
        return scope_of(self.everything, self.history, shipped=self.shipped)

    @property
    def first_seen(self) -> Scope:
        """The same over what the laboratory may see."""
        return scope_of(self.seen, self.history, shipped=self.shipped)


_COLUMNS = (
    Substance.id, Substance.key, Substance.name, Substance.inchikey, Substance.chemical_group, Substance.effect_group,
    Substance.shipped, Substance.ordinary, Substance.harmful_adulterant, Substance.merged_into,
)  # fmt: skip


def _others() -> ColumnElement[int]:
    """How many other laboratories found the substance, as far as the laboratory may see; from the counts kept."""
    cells = union_all(
        *(
            select(table.org_id, table.n)
            .where(
                table.substance_id == Substance.id,
                table.org_id != bindparam("org_id"),
                table.tlp.in_(OPEN),
                table.test.is_(False),
            )
            .correlate(Substance)
            for table in (SubstanceLaboratory, DetectionDelta)
        )
    ).subquery()
    found = select(cells.c.org_id).group_by(cells.c.org_id).having(func.sum(cells.c.n) > 0).subquery()
    return select(func.count()).select_from(found).scalar_subquery()


def _known(wanted: ColumnElement[bool]) -> Select[Any]:
    """One statement, made once: the substance, and is there an earlier detection of it in country, region, world?"""
    parents = and_(
        Detection.substance_id == Substance.id,
        Detection.counted.is_(True),
        Detection.relation == literal_column("'parent'"),
        Detection.confidence.in_(COUNTED),
    )
    # rows that are no tests go by `ix_detection_before`, whose conditions these are
    real = and_(parents, Detection.test.is_(False))
    own = and_(parents, Detection.org_id == bindparam("org_id"))
    in_region = Detection.region == bindparam("region")
    areas = (and_(in_region, Detection.country == bindparam("country")), in_region, literal(True))
    among_own = bindparam("test", type_=Boolean)
    # as cases: beside OR and AND, SQLite looks through all rows of a substance for the second though the first has settled it
    yes, no = literal(True), literal(False)
    columns: list[Any] = [
        case((exists().where(real, area), yes), (not_(among_own), no), else_=exists().where(own, area)) for area in areas
    ]
    columns += [
        case((exists().where(real, Detection.tlp.in_(OPEN), area), yes), else_=exists().where(own, area)) for area in areas
    ]
    columns += [
        exists().where(HistoryRecord.substance_key == Substance.key, HistoryRecord.area == area)
        for area in (bindparam("country"), bindparam("region"), literal(WORLD))
    ]
    wanted_columns: list[Any] = [*_COLUMNS, *columns, _others()]
    return select(*wanted_columns).where(wanted)


_BY_KEY = _known(Substance.key == bindparam("substance_key"))
_BY_ID = _known(Substance.id == bindparam("substance_id"))


def known_before(
    session: Session, country: str, laboratory: Principal, *, key: str | None = None, substance_id: str | None = None
) -> Known | None:
    """What is known of a substance when a laboratory reports it from a country; None where there is no row of it yet.

    By key a substance that was merged away gives the one it went into. A test organisation compares with its own rows too.
    """
    asked = {"country": country, "region": region_of(country), "org_id": laboratory.org_id, "test": laboratory.test}
    connection = session.connection()  # columns only: the session would take longer to hand them out than to ask
    if key is not None:
        found = connection.execute(_BY_KEY, asked | {"substance_key": key}).first()
    else:
        found = connection.execute(_BY_ID, asked | {"substance_id": substance_id}).first()
    if found is None:
        return None
    of = len(_COLUMNS)
    known = Known(
        **dict(zip((column.key for column in _COLUMNS), found[:of], strict=True)),
        everything=tuple(found[of : of + 3]),
        seen=tuple(found[of + 3 : of + 6]),
        history=tuple(found[of + 6 : of + 9]),
        other_laboratories=found[of + 9],
    )
    if key is not None and known.merged_into is not None:
        return known_before(session, country, laboratory, substance_id=known.merged_into)
    return known


def scope_of(found: Sequence[bool], history: Sequence[bool], *, shipped: bool) -> Scope:
    """The widest area that is new, from what is known in country, region and world."""
    if found[0] or history[0]:
        return Scope.NONE
    if found[1] or history[1]:
        return Scope.COUNTRY
    if found[2] or history[2] or shipped:
        return Scope.REGION
    return Scope.WORLD


def report_with_rows(session: Session, report_id: str, reader: Principal) -> Report | None:
    """A report with sample, detections and cases of all its versions, or None where it does not exist for this reader."""
    return session.scalar(
        select(Report)
        .where(Report.id == report_id, readable_reports(reader))
        .options(
            joinedload(Report.organisation),
            joinedload(Report.sample),
            # rows of every version: a condition on Report here would join each row to every report
            selectinload(Report.detections).joinedload(Detection.substance),
            selectinload(Report.cases).selectinload(HarmCase.substances).joinedload(CaseSubstance.detection),
        )
    )


def list_reports(session: Session, reader: Principal, *, own: bool, before: str | None, limit: int) -> list[Report]:
    """Reports this reader may see, newest first, `limit` at most, after the one with id `before`."""
    query = select(Report).where(readable_reports(reader))
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


def open_cases(session: Session, reader: Principal, report_ids: Sequence[str]) -> frozenset[str]:
    """Ids of the cases of these reports that this reader may open and that the present version holds."""
    query = select(HarmCase.id).where(HarmCase.report_id.in_(report_ids), HarmCase.counted, readable_cases(reader))
    return frozenset(session.scalars(query))


def routes_open_to(session: Session, reader: Principal, report_ids: Sequence[str]) -> frozenset[str]:
    """Ids of those of these reports whose supply route this reader may see."""
    return frozenset(session.scalars(select(Report.id).where(Report.id.in_(report_ids), open_routes(reader))))
