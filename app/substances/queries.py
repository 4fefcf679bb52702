"""Questions about substances, answered over what the reader may see. Pages, API and exports ask here, so that they agree.

Counts are of detections with relation `parent`, of the whole connectivity group (stereoisomers together), confirmed and probable
unless said otherwise.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, selectinload

from app.auth.permissions import Principal, Role
from app.persistence.models import CaseSubstance, Detection, HarmCase, Substance
from app.regions import region_of
from app.sharing.counts import LAST_MONTH, Cut, at_most, counts, groupings
from app.sharing.masking import (
    MASK_BELOW,
    MASKED,
    NO_DATA,
    SHOWN_CONFIDENCES,
    Cell,
    Total,
    cells,
    counted,
    masked_cell,
    masks_detections,
    suppress,
    suppressed,
    total_of,
)
from app.sharing.rows import counted_cases, readable_cases, readable_detections, readable_parts

MOST_LAGS = 200
FEW_MEMBERS = 8
PERIOD, LATELY = 36, 12  # months: of charts and countries, and of the figures on top
ROLES = ("sole_cause", "combined_cause", "contributory", "undetermined", "incidental")  # gravest first


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    name: str
    kind: str
    language: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceDetail:
    """One substance with its names. `members`: ids of its connectivity group, itself included, that exist for the reader."""

    id: str
    name: str
    names: tuple[Name, ...]
    inchikey: str | None
    connectivity: str | None
    smiles: str | None
    inchi: str | None
    formula: str | None
    monoisotopic_mass: float | None
    identity: dict[str, Any] | None
    chemical_group: str
    effect_group: str
    group_rule: str | None
    group_confirmed: bool
    ordinary: bool
    harmful_adulterant: bool
    legal_status: str
    matches: tuple[dict[str, Any], ...]
    engine_version: str
    created_at: datetime
    members: tuple[str, ...]
    stereo_siblings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedInto:
    """The id asked for belongs to a substance that was merged into another one."""

    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthPoint:
    """One month. `total` is no data where no report at all is known of; `arriving` while reports of it are still expected."""

    month: str
    total: Cell
    confirmed: Cell
    probable: Cell
    arriving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LaboratoryYears:
    """Counts of one laboratory in the last 12 full months and the 12 before; only a panel is ever shown, never one of them."""

    before: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthSeries:
    """Detections by month of the sample, oldest first."""

    points: tuple[MonthPoint, ...]
    total: Total
    laboratories: int
    panel: tuple[LaboratoryYears, ...]
    masked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryCount:
    """`confirmed` and `probable` are masked for a reader who gets masked counts."""

    country: str
    region: str
    total: Cell
    first_month: str
    last_month: str
    confirmed: Cell = MASKED
    probable: Cell = MASKED


@dataclass(frozen=True, slots=True, kw_only=True)
class CountryCounts:
    """Detections by country, most first (masked ones last, by name of the code); `silent` report, but not this substance."""

    rows: tuple[CountryCount, ...]
    silent: tuple[str, ...]
    reporting: int
    total: Total
    masked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSplit:
    """How well the detections of a period are identified, all four grades, as (confidence, cell).

    `counted` is the sum of confirmed and probable, a cell of its own: the two are hidden together, so that it tells neither.
    """

    rows: tuple[tuple[str, Cell], ...]
    counted: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseSummary:
    """Harm cases naming the substance. `any` is false where none is known of: harm is then unknown, not nil.

    `listed`: the reader may open every one of them, so that a list is as long as the figure.
    `by_role`: for each seriousness the cases by the gravest part that the substance played, in the order of `ROLES`; None for a
    reader who may not open all of them, as the split would give masked counts away.
    """

    any: bool
    listed: bool
    deaths: Cell
    sole_cause: Cell
    by_seriousness: tuple[tuple[str, Cell], ...]
    by_role: tuple[tuple[str, tuple[int, ...]], ...] | None


def months_back(now: datetime, months: int) -> tuple[str, ...]:
    """The last so many months up to that of `now`, oldest first, as YYYY-MM."""
    last = now.year * 12 + now.month - 1
    return tuple(f"{index // 12:04d}-{index % 12 + 1:02d}" for index in range(last - months + 1, last + 1))


def existing_substances(principal: Principal | None) -> ColumnElement[bool]:
    """Substances that exist for this reader: shipped ones, and those in a detection they may read. Analysts see all."""
    if principal is not None and principal.role is Role.ANALYST:
        return Substance.merged_into.is_(None)
    # one row each by the index: for EXISTS beside OR, PostgreSQL would read all detections of a table of middling size
    seen = (
        select(literal(1))
        .where(Detection.substance_id == Substance.id, readable_detections(principal))
        .correlate(Substance)
        .limit(1)
        .scalar_subquery()
        .is_not(None)
    )
    return and_(Substance.merged_into.is_(None), or_(Substance.shipped, seen))


def with_merged(column: InstrumentedAttribute[Any], ids: Sequence[str]) -> ColumnElement[bool]:
    """That a row's substance is one of these or was merged into one of them: what is said of a substance keeps its own id."""
    return or_(column.in_(ids), column.in_(select(Substance.id).where(Substance.merged_into.in_(ids))))


def substance_detail(session: Session, principal: Principal | None, substance_id: str) -> SubstanceDetail | MergedInto | None:
    """The substance; where it was merged, the id to go to; None where it does not exist for this reader."""
    row = session.scalar(select(Substance).where(Substance.id == substance_id).options(selectinload(Substance.names)))
    if row is None:
        return None
    wanted = Substance.id == (row.merged_into or row.id)
    if row.connectivity is not None and row.merged_into is None:
        wanted = Substance.connectivity == row.connectivity
    group = session.execute(
        select(Substance.id, Substance.name).where(wanted, existing_substances(principal)).order_by(Substance.id)
    ).all()
    if row.merged_into is not None:
        return MergedInto(id=row.merged_into) if group else None
    if row.id not in {member.id for member in group}:
        return None
    kinds = ("common", "systematic", "code", "abbreviation", "brand", "street", "misspelling")
    names = sorted(row.names, key=lambda n: (kinds.index(n.kind) if n.kind in kinds else len(kinds), n.name.lower()))
    return SubstanceDetail(
        id=row.id,
        name=row.name,
        names=tuple(Name(name=n.name, kind=n.kind, language=n.language, source=n.source) for n in names),
        inchikey=row.inchikey,
        connectivity=row.connectivity,
        smiles=row.smiles,
        inchi=row.inchi,
        formula=row.formula,
        monoisotopic_mass=row.monoisotopic_mass,
        identity=row.identity,
        chemical_group=row.chemical_group,
        effect_group=row.effect_group,
        group_rule=row.group_rule,
        group_confirmed=row.group_confirmed,
        ordinary=row.ordinary,
        harmful_adulterant=row.harmful_adulterant,
        legal_status=row.legal_status,
        matches=tuple(row.matches),
        engine_version=row.engine_version,
        created_at=row.created_at,
        members=tuple(member.id for member in group),
        stereo_siblings=tuple((member.id, member.name) for member in group if member.id != row.id),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCells:
    """What a series by month and a count by country are made of: the months; counts of the parents that are confirmed or probable
    by (country, month, confidence) and by (sender, month); and of which months and countries any report is known.
    """

    period: tuple[str, ...]
    places: tuple[tuple[str, str, str, int], ...]
    laboratories: dict[tuple[str, str], int]
    reporting: frozenset[tuple[str, str]]

    def by(self, column: int) -> dict[str, int]:
        """Counts by country (0) or month (1), in its order."""
        found: Counter[str] = Counter()
        for cell in self.places:
            found[str(cell[column])] += cell[3]
        return dict(sorted(found.items()))


def period_cells(
    session: Session,
    principal: Principal | None,
    substance_ids: Sequence[str],
    *,
    now: datetime,
    months: int = PERIOD,
    group: str | None = None,
) -> PeriodCells:
    """Two queries. `group` as that of a `Cut`."""
    period = months_back(now, months)
    cut = Cut(group=group, substances=substance_ids, months=(period[0], period[-1]))
    places, laboratories = groupings(session, principal, (("country", "month", "confidence"), ("org_id", "month")), cut)
    anything = Cut(months=(period[0], LAST_MONTH), confidences=None, relations=None)
    reporting = session.execute(counts(principal, ("month", "country"), anything))
    return PeriodCells(
        period=period,
        places=tuple((country, month, grade, n) for country, month, grade, n in places),
        laboratories={(org, month): n for org, month, n in laboratories},
        reporting=frozenset((month, country) for month, country, _ in reporting),
    )


def newest_first(
    substances: Sequence[str] | Select[str] | None,
) -> tuple[tuple[ColumnElement[bool], ...], tuple[ColumnElement[Any], ...]]:
    """The detections of these substances (None: of all) as conditions, and an order from the newest received: for a list that is
    cut short.

    A single substance is asked for as a range and ordered by: else a planner looks for its newest rows among all rows. It stands
    in the statement itself, as one plan for all would be that of a rare one.
    """
    order = (Detection.received_at.desc(), Detection.id.desc())
    if substances is None:
        return (), order
    if not isinstance(substances, Select) and len(substances) == 1:
        one: Any = bindparam(None, substances[0], literal_execute=True)
        return (Detection.substance_id.between(one, one),), (Detection.substance_id.desc(), *order)
    return (Detection.substance_id.in_(substances),), order


def newest_of(
    principal: Principal | None, substance_ids: Sequence[str]
) -> tuple[ColumnElement[bool], tuple[ColumnElement[Any], ...]]:
    """`newest_first` of those that count for this reader, confirmed or probable."""
    wanted, order = newest_first(substance_ids)
    shown = (Detection.relation == "parent", Detection.confidence.in_(SHOWN_CONFIDENCES), readable_detections(principal))
    return and_(*wanted, *shown), order


def detections_by_month(
    session: Session,
    principal: Principal | None,
    substance_ids: Sequence[str],
    *,
    now: datetime,
    months: int = PERIOD,
    known: PeriodCells | None = None,
) -> MonthSeries:
    """Counts by month of the sample, confirmed and probable. Three queries; one where the cells are `known`."""
    found = known or period_cells(session, principal, substance_ids, now=now, months=months)
    period = found.period
    by_month: Counter[str] = Counter()
    split: Counter[tuple[str, str]] = Counter()
    by_laboratory: dict[str, Counter[str]] = defaultdict(Counter)
    for _, month, confidence, n in found.places:
        by_month[month] += n
        split[month, confidence] += n
    for (org_id, month), n in found.laboratories.items():
        by_laboratory[org_id][month] += n

    mask = masks_detections(principal)
    reporting = {month for month, _ in found.reporting}
    reported = {month: by_month[month] for month in period if month in reporting}
    totals = suppress(reported, found.by(0))[0] if mask else cells(reported, mask=False)
    arriving = _arriving(session, principal, substance_ids, period, now)
    points = []
    for month in period:
        total = totals.get(month, NO_DATA)
        parts = {c: split[month, c] for c in SHOWN_CONFIDENCES}
        hide = mask and any(0 < n < MASK_BELOW for n in parts.values())  # the other part with it
        points.append(
            MonthPoint(
                month=month,
                total=total,
                confirmed=_part(total, parts["confirmed"], hide=hide),
                probable=_part(total, parts["probable"], hide=hide),
                arriving=month in arriving,
            )
        )
    full = period[-25:-1]
    panel = tuple(
        LaboratoryYears(before=sum(one[m] for m in full[:12]), last=sum(one[m] for m in full[12:]))
        for one in by_laboratory.values()
    )
    return MonthSeries(points=tuple(points), total=total_of(totals), laboratories=len(by_laboratory), panel=panel, masked=mask)


def unpublished(session: Session, principal: Principal | None, groups: Sequence[str], *, now: datetime) -> frozenset[str]:
    """Of these connectivity groups those whose count of the last 12 months a masked reader may not have.

    That is so where a month of it is hidden in the substance's own table: the count less the months shown would be that month.
    The countries are counted only of those where it depends on them. Four queries.
    """
    period = months_back(now, PERIOD)
    cut = Cut(months=(period[0], period[-1]))
    group_of = {
        row[0]: row[1]
        for row in session.execute(
            select(Substance.id, func.coalesce(Substance.connectivity, Substance.id)).where(
                func.coalesce(Substance.connectivity, Substance.id).in_(groups)
            )
        )
    }
    lately = set(period[-12:])

    def is_hidden(months: Mapping[str, int], countries: Mapping[str, int]) -> bool:
        return not lately.isdisjoint(suppressed(months, countries)[0])

    hidden, depends = set(), {}
    for key, months in _grouped(session, principal, group_of, cut).items():
        if is_hidden(months, {}):
            hidden.add(key)
        elif is_hidden(months, {"": 1}):  # as soon as any country is
            depends[key] = months
    members = sorted(substance for substance, group in group_of.items() if group in depends)
    places: dict[str, Counter[str]] = defaultdict(Counter)
    for (substance, country), n in at_most(session, principal, members, (period[0], period[-1]), MASK_BELOW).items():
        places[group_of[substance]][country] += n
    for key, countries in places.items():
        if is_hidden(depends[key], countries):
            hidden.add(key)
    return frozenset(hidden)


def _grouped(session: Session, principal: Principal | None, group_of: Mapping[str, str], cut: Cut) -> dict[str, dict[str, int]]:
    """Counts of connectivity groups by month, in its order. One query."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    rows = session.execute(counts(principal, ("substance_id", "month"), replace(cut, substances=sorted(group_of))))
    for substance, month, n in rows.all():
        found[group_of[substance]][month] += n
    return {group: dict(sorted(table.items())) for group, table in found.items()}


def _part(total: Cell, n: int, *, hide: bool) -> Cell:
    """A month's count of one confidence, absent in the way in which the month is."""
    if total.n is None:
        return total
    return MASKED if hide else counted(n)


def _arriving(
    session: Session, principal: Principal | None, substance_ids: Sequence[str], period: Sequence[str], now: datetime
) -> frozenset[str]:
    """Months of which less than 90 % of the reports have come, judged by how long the last two years' took.

    With fewer than 30 earlier detections only the running month counts as unfinished.
    """
    wanted, order = newest_of(principal, substance_ids)
    if len(substance_ids) > FEW_MEMBERS:  # of a whole class: as long as anything takes
        wanted = readable_detections(principal)
    rows = session.execute(
        select(Detection.sampled_on, Detection.received_at)
        .where(wanted, Detection.received_at >= now - timedelta(days=730))
        .order_by(*order)
        .limit(MOST_LAGS)
    ).all()
    lags = sorted((received.date() - sampled).days for sampled, received in rows)
    unfinished = {period[-1]}
    if len(lags) >= 30:
        needed = lags[min(int(len(lags) * 0.9), len(lags) - 1)]
        for month in period[-6:]:
            middle = date(int(month[:4]), int(month[5:]), 15)
            if (now.date() - middle).days < min(needed, 150):
                unfinished.add(month)
    return frozenset(unfinished)


def detections_by_country(
    session: Session,
    principal: Principal | None,
    substance_ids: Sequence[str],
    *,
    now: datetime,
    months: int = PERIOD,
    known: PeriodCells | None = None,
) -> CountryCounts:
    """Counts by country of the sample, confirmed and probable. Two queries; none where the cells are `known`."""
    base = known or period_cells(session, principal, substance_ids, now=now, months=months)
    parts: Counter[tuple[str, str]] = Counter()
    months_of: dict[str, set[str]] = defaultdict(set)
    for country, month, confidence, n in base.places:
        parts[country, confidence] += n
        months_of[country].add(month)
    reporting = {country for _, country in base.reporting}
    mask = masks_detections(principal)
    numbers = base.by(0)
    found = suppress(numbers, base.by(1))[0] if mask else cells(numbers, mask=False)
    listed = [
        CountryCount(
            country=country,
            region=region_of(country),
            total=found[country],
            first_month=min(during),
            last_month=max(during),
            # a masked reader gets no split: with that by month it could give a hidden part away
            confirmed=MASKED if mask else counted(parts[country, "confirmed"]),
            probable=MASKED if mask else counted(parts[country, "probable"]),
        )
        for country, during in months_of.items()
    ]
    listed.sort(key=lambda row: (row.total.n is None, -(row.total.n or 0), row.country))
    silent = tuple(sorted(reporting - set(found)))
    return CountryCounts(rows=tuple(listed), silent=silent, reporting=len(reporting), total=total_of(found), masked=mask)


def confidence_split(
    session: Session,
    principal: Principal | None,
    substance_ids: Sequence[str],
    *,
    now: datetime,
    months: int = LATELY,
    series: MonthSeries | None = None,
) -> ConfidenceSplit:
    """Detections of the last months by confidence, all four grades. One query, where the months of the substance are known as
    a `series`; for masked readers else four.
    """
    grades = ("confirmed", "probable", "tentative", "screening")
    period = months_back(now, months)
    cut = Cut(substances=substance_ids, months=(period[0], period[-1]), confidences=grades)
    rows = session.execute(counts(principal, ("confidence",), cut))
    graded = dict.fromkeys(grades, 0)
    for confidence, n in rows:
        graded[confidence] = n
    mask = masks_detections(principal)
    found = cells(graded, mask=mask)
    apart = False  # a month of the same series is hidden, so their sum must be
    if mask:
        lately = (series or detections_by_month(session, principal, substance_ids, now=now)).points[-months:]
        apart = any(point.total == MASKED for point in lately)
        if any(MASKED in (point.total, point.confirmed, point.probable) for point in lately):
            found |= {grade: MASKED for grade in SHOWN_CONFIDENCES if graded[grade]}
    if any(found[grade] == MASKED for grade in SHOWN_CONFIDENCES):
        found |= {grade: MASKED for grade in SHOWN_CONFIDENCES if graded[grade]}
    total = masked_cell(sum(graded[grade] for grade in SHOWN_CONFIDENCES), mask=mask)
    if apart:
        total = MASKED
    return ConfidenceSplit(rows=tuple((grade, found[grade]) for grade in grades), counted=total)


def cases_of(session: Session, principal: Principal | None, substance_ids: Sequence[str]) -> CaseSummary:
    """Harm cases of the whole history, counted once each. Rows the reader may not open are counted masked. One query."""
    rows = session.execute(
        select(HarmCase.id, HarmCase.seriousness, CaseSubstance.role, readable_cases(principal).label("readable"))
        .select_from(HarmCase)
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .where(CaseSubstance.substance_id.in_(substance_ids), readable_parts(principal), counted_cases(principal))
    ).all()
    mask = not all(row.readable for row in rows)
    seriousness = {row.id: row.seriousness for row in rows}
    sole = {row.id for row in rows if row.seriousness == "death" and row.role == "sole_cause"}
    by_seriousness = cells(Counter(seriousness.values()), mask=mask)
    deaths = sum(1 for value in seriousness.values() if value == "death")
    roles = cells({"sole": len(sole), "other": deaths - len(sole)}, mask=mask)
    gravest: dict[str, str] = {}
    for row in rows:
        gravest[row.id] = min(gravest.get(row.id, row.role), row.role, key=ROLES.index)
    table = Counter((seriousness[case], role) for case, role in gravest.items())
    order = ("death", "life_threatening", "intensive_care", "hospital_or_emergency_treatment")
    kinds = sorted(by_seriousness, key=lambda kind: order.index(kind) if kind in order else len(order))
    return CaseSummary(
        any=bool(rows),
        listed=not mask,
        deaths=by_seriousness.get("death", counted(0)),
        sole_cause=roles["sole"] if by_seriousness.get("death", counted(0)).n is not None else MASKED,
        by_seriousness=tuple((kind, by_seriousness[kind]) for kind in kinds),
        by_role=None if mask else tuple((kind, tuple(table[kind, role] for role in ROLES)) for kind in kinds),
    )
