"""Which reports, detections and cases a reader may have (domain guide, section 7): one rule, written once, deny by default.

`single` is the row "single detection": the label, an authority's own country, the reader's own organisation. Reports and
detections follow it in the same words, so that a count never holds a row that a list would refuse. Cases add their own row of
the table. Rows of test organisations are for those organisations alone. TLP:RED shows to
the sender and to the recipients it named by a sharing group.
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import ColumnElement, Select, and_, false, literal, or_, select

from app.auth.permissions import TLP_ORDER, Principal, Role, visible_tlp
from app.persistence.models import CaseSubstance, Detection, HarmCase, Organisation, Report
from app.sharing.groups import groups_of
from app.web.places import SMALL_COUNTRIES

# these read data as the public does
AS_PUBLIC = frozenset({Role.INDUSTRY, Role.ADMIN})
# these can be named as recipients of RED rows: least right wins, so nobody who may not read AMBER
NAMEABLE = frozenset({Role.AUTHORITY, Role.REVIEWER, Role.ANALYST})


def labels(reader: Principal | None) -> tuple[str, ...]:
    """The labels of other organisations' rows in other countries that count for this reader."""
    return visible_tlp(reader, own_country=False) or ("CLEAR",)


def single(reader: Principal | None, *, org_id: Any, country: Any, tlp: Any, test: Any) -> ColumnElement[bool]:
    """The rule for single rows, over the columns that hold sender, country, label and test mark."""
    others: ColumnElement[bool] = and_(tlp.in_(labels(reader)), ~test)
    if reader is None or reader.role in AS_PUBLIC:
        return others
    if reader.role is Role.AUTHORITY:
        others = or_(others, and_(country == reader.country, tlp.in_(visible_tlp(reader, own_country=True)), ~test))
    return or_(others, org_id == reader.org_id)


def named_reports(reader: Principal | None) -> Select[str] | None:
    """Ids of the RED reports that name the reader; None where the role cannot be named."""
    if reader is None or reader.role not in NAMEABLE:
        return None
    return select(Report.id).where(_named(reader))


def readable_cells(reader: Principal | None, cell: Any) -> ColumnElement[bool]:
    """The rule of `readable_detections` over a table of counts that has all the columns which it asks for."""
    rows = single(reader, org_id=cell.org_id, country=cell.country, tlp=cell.tlp, test=cell.test)
    named = named_reports(reader)
    if named is not None:
        rows = or_(rows, and_(cell.tlp == "RED", cell.test.is_(False), cell.report_id.in_(named)))
    return rows


def open_cells(reader: Principal | None, cell: Any) -> ColumnElement[bool]:
    """The cells that the label alone opens, of a table that holds neither RED rows nor those of test organisations."""
    return cast("ColumnElement[bool]", cell.tlp.in_(labels(reader)))


def open_level(reader: Principal | None, table: Any) -> ColumnElement[bool]:
    """The same of a table that keeps, by the label up to which a reader sees, what is known to all of them."""
    return cast("ColumnElement[bool]", table.tlp == labels(reader)[-1])


def more_cells(reader: Principal | None, cell: Any) -> list[ColumnElement[bool]]:
    """The cells that are readable but not open by their label: conditions without overlap, each for an index of its own."""
    if reader is None or reader.role in AS_PUBLIC:
        return []
    own = cell.org_id == reader.org_id
    closed = [label for label in TLP_ORDER if label not in labels(reader)]
    found = [and_(own, cell.test.is_(False), cell.tlp.in_(closed)), and_(own, cell.test.is_(True))]
    if reader.role is Role.AUTHORITY:
        beyond = [label for label in visible_tlp(reader, own_country=True) if label not in labels(reader)]
        found.append(
            and_(cell.country == reader.country, cell.tlp.in_(beyond), cell.test.is_(False), cell.org_id != reader.org_id)
        )
    named = named_reports(reader)
    if named is not None:
        found.append(
            and_(
                cell.report_id != "", cell.tlp == "RED", cell.test.is_(False), cell.report_id.in_(named),
                cell.org_id != reader.org_id,
            )
        )  # fmt: skip
    return found


def _named(reader: Principal | None) -> ColumnElement[bool]:
    """RED reports whose sender named a group that the reader's organisation is in. Only roles that read AMBER can be named."""
    if reader is None or reader.role not in NAMEABLE:
        return false()
    return and_(Report.tlp == "RED", Report.sharing_group.in_(groups_of(reader.org_id)))


def readable_detections(reader: Principal | None) -> ColumnElement[bool]:
    """Detections that this reader's answers rest on: those that count (neither withdrawn nor replaced) and may be read."""
    rows = single(reader, org_id=Detection.org_id, country=Detection.country, tlp=Detection.tlp, test=Detection.test)
    named = named_reports(reader)
    if named is not None:
        rows = or_(rows, and_(Detection.tlp == "RED", Detection.test.is_(False), Detection.report_id.in_(named)))
    return and_(Detection.counted, rows)


def readable_reports(reader: Principal | None) -> ColumnElement[bool]:
    """Reports that this reader may open or list one by one, by the same rule. A report withdrawn is for its sender alone."""
    if reader is None or reader.role in AS_PUBLIC:
        return false()
    from_test = select(Organisation.test).where(Organisation.id == Report.org_id).scalar_subquery()
    rows = single(reader, org_id=Report.org_id, country=Report.country, tlp=Report.tlp, test=from_test)
    rows = or_(rows, and_(_named(reader), ~from_test))
    return and_(rows, or_(Report.state == "active", Report.org_id == reader.org_id))


def readable_cases(reader: Principal | None) -> ColumnElement[bool]:
    """Case rows that this reader may open: own ones, an authority its country's, a reviewer de-identified, an analyst all.

    Outside the country cases of countries with under a million inhabitants are withheld. RED shows to the sender alone.
    """
    if reader is None:
        return false()
    # asked of each case by itself: an organisation may have sent many reports without one
    own = select(literal(1)).where(Report.id == HarmCase.report_id, Report.org_id == reader.org_id).correlate(HarmCase).exists()
    listed = and_(HarmCase.tlp.in_(visible_tlp(reader, own_country=False)), HarmCase.test.is_(False))
    match reader.role:
        case Role.LAB:
            return own
        case Role.AUTHORITY:
            home = and_(HarmCase.country == reader.country, HarmCase.tlp.in_(visible_tlp(reader, own_country=True)))
            return and_(home, HarmCase.test.is_(False))
        case Role.REVIEWER:
            return and_(listed, HarmCase.country.not_in(SMALL_COUNTRIES))
        case Role.ANALYST:
            return listed
        case _:
            return false()


def readable_parts(reader: Principal | None) -> ColumnElement[bool]:
    """That the detection of a part in a case may be read, over the rows of cases and parts: the rule of `readable_detections`.

    A case has the label of its report or a stricter one, and counts with its detections: where its own label opens it, the
    detection need not be looked up.
    """
    looked_up = (
        select(literal(1))
        .where(Detection.id == CaseSubstance.detection_id, readable_detections(reader))
        .correlate(CaseSubstance)
        .exists()
    )
    return or_(and_(HarmCase.tlp.in_(labels(reader)), HarmCase.test.is_(False), HarmCase.counted), looked_up)


def counted_cases(reader: Principal | None) -> ColumnElement[bool]:
    """Case rows that enter this reader's counts: those they may open, and AMBER ones of others, which they get masked."""
    return and_(HarmCase.counted, or_(readable_cases(reader), and_(HarmCase.tlp == "AMBER", HarmCase.test.is_(False))))


def sees_all(reader: Principal, *, org_id: str, country: str) -> bool:
    """Whether the reader of a row gets its exact day, place, laboratory and quantity: sender, country's authority, analyst."""
    if reader.org_id == org_id or reader.role is Role.ANALYST:
        return True
    return reader.role is Role.AUTHORITY and reader.country == country


def sees_text(reader: Principal, *, org_id: str, country: str) -> bool:
    """Whether free text and the sender's own reference show: to the sender and its country's authority alone."""
    return reader.role is not Role.ANALYST and sees_all(reader, org_id=org_id, country=country)


def open_routes(reader: Principal) -> ColumnElement[bool]:
    """Reports whose supply route (origin, transit, destination) shows: to the sender, to its country's authority, and to the
    authorities and analysts whose organisation is in the group that the sender named.
    """
    own = Report.org_id == reader.org_id
    if reader.role not in {Role.AUTHORITY, Role.ANALYST}:
        return own
    granted = Report.sharing_group.in_(groups_of(reader.org_id))
    if reader.role is Role.ANALYST:
        return or_(own, granted)
    return or_(own, Report.country == reader.country, granted)
