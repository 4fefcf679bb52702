"""Finding substances: by a name in any spelling, CAS number or InChIKey, filtered, sorted and paged by a cursor."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rapidfuzz import fuzz, process
from sqlalchemy import ColumnElement, Integer, Select, SQLColumnExpression, and_, case, cast, func, literal, or_, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Substance, SubstanceName
from app.sharing.counts import LAST_MONTH, Cut, cells_of, pairs
from app.sharing.masking import MASK_BELOW, MASKED, Cell, counted, masked_cell, masks_detections
from app.substances.queries import existing_substances, months_back, unpublished
from chem.names import fold

INCHIKEY = re.compile(r"[A-Z]{14}-[A-Z]{10}-[A-Z]")
CONNECTIVITY = re.compile(r"[A-Z]{14}")
MOST_NAMES = 50_000
NEAR_ENOUGH = 70


class Sort(StrEnum):
    NAME = "name"
    DETECTIONS = "detections"
    COUNTRIES = "countries"
    LAST = "last"
    NEWEST = "newest"


class CursorError(Exception):
    """The cursor was not made by this list with this order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceRow:
    """A line of the list. Counts are of the last 12 months, of the whole connectivity group."""

    id: str
    name: str
    chemical_group: str
    effect_group: str
    legal_status: str
    matches: tuple[dict[str, Any], ...]
    detections: Cell
    countries: Cell
    last_month: str | None
    inchikey: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstancePage:
    """One page of results. `exact` says that only names equal to the text were taken; `near` are spellings close to it."""

    items: tuple[SubstanceRow, ...]
    total: int
    next_cursor: str | None
    exact: bool
    near: tuple[tuple[str, str], ...]


def _named(text: str, *, contains: bool) -> ColumnElement[bool]:
    folded = fold(text)
    condition = SubstanceName.folded.contains(folded, autoescape=True) if contains else SubstanceName.folded == folded
    own = func.lower(Substance.name)
    own_name = own.contains(text.lower(), autoescape=True) if contains else own == text.lower()
    return or_(own_name, select(literal(1)).where(SubstanceName.substance_id == Substance.id, condition).exists())


def _matches_text(
    session: Session, visible: ColumnElement[bool], text: str, *, contains: bool
) -> tuple[ColumnElement[bool], bool]:
    """The condition for the text, and whether it is an exact one. One query at most."""
    if INCHIKEY.fullmatch(text.upper()):
        return Substance.inchikey == text.upper(), True
    if CONNECTIVITY.fullmatch(text):
        return Substance.connectivity == text, True
    if not fold(text):
        return literal(False), False
    exact = _named(text, contains=False)
    if not contains and session.scalar(select(select(literal(1)).where(visible, exact).exists())):
        return exact, True
    return _named(text, contains=True), False


def _encode(values: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cursor: str, sort: Sort, *, descending: bool) -> tuple[Any, str]:
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise CursorError("the cursor cannot be read") from error
    if not isinstance(values, list) or len(values) != 4 or values[:2] != [sort.value, descending]:
        raise CursorError("the cursor belongs to another order of the list")
    return values[2], str(values[3])


def search_substances(
    session: Session,
    principal: Principal | None,
    *,
    now: datetime,
    text: str = "",
    contains: bool = False,
    ids: Sequence[str] | None = None,
    chemical_group: str | None = None,
    effect_group: str | None = None,
    legal_status: str | None = None,
    sort: Sort = Sort.DETECTIONS,
    descending: bool = True,
    limit: int = 50,
    cursor: str | None = None,
) -> SubstancePage:
    """The substances that exist for this reader and meet the filters, of these `ids` alone where given. Eight queries
    at most, for masked readers eleven.

    A name that equals the text in its folded form wins over names that contain it, unless `contains`. Raises CursorError.
    """
    text = text.strip()
    visible = existing_substances(principal)
    conditions: list[ColumnElement[bool]] = [visible]
    exact = False
    if text:
        condition, exact = _matches_text(session, visible, text, contains=contains)
        conditions.append(condition)
    if ids is not None:
        conditions.append(Substance.id.in_(ids))
    if chemical_group:
        conditions.append(Substance.chemical_group == chemical_group)
    if effect_group:
        conditions.append(Substance.effect_group == effect_group)
    if legal_status:
        conditions.append(Substance.legal_status == legal_status)

    group = func.coalesce(Substance.connectivity, Substance.id)
    mask = masks_detections(principal)
    period = months_back(now, 12)
    lately = Cut(months=(period[0], LAST_MONTH))
    number = _by_group(principal, lately, masked=mask).subquery()
    n: ColumnElement[int] = func.coalesce(number.c.n, 0)
    ordered: ColumnElement[int] = func.coalesce(number.c.shown, 0)  # the order must not tell what is hidden
    keys: dict[Sort, SQLColumnExpression[Any]] = {
        Sort.NAME: func.lower(Substance.name),
        Sort.DETECTIONS: ordered,
        Sort.LAST: func.coalesce(number.c.last_month, ""),
        Sort.NEWEST: Substance.id,
    }
    rows = select(Substance, n.label("n"), number.c.last_month).outerjoin(number, number.c.group == group)
    if sort is Sort.COUNTRIES:
        placed = _countries(session, principal, period[0]).subquery()
        rows = rows.outerjoin(placed, placed.c.group == group)
        placed_in: ColumnElement[int] = func.coalesce(placed.c.countries, 0)
        keys[sort] = case((ordered < MASK_BELOW, 0), else_=placed_in) if mask else placed_in
    key = keys[sort]
    rows = rows.add_columns(key.label("sort_key"))
    rows = rows.where(*conditions)
    if cursor:
        value, last_id = _decode(cursor, sort, descending=descending)
        beyond = key < value if descending else key > value
        rows = rows.where(or_(beyond, and_(key == value, Substance.id > last_id)))
    rows = rows.order_by(key.desc() if descending else key.asc(), Substance.id).limit(limit + 1)
    found = session.execute(rows).all()
    total = session.scalar(select(func.count()).select_from(Substance).where(*conditions)) or 0

    next_cursor = None
    if len(found) > limit:
        found = found[:limit]
        next_cursor = _encode([sort.value, descending, found[-1].sort_key, found[-1].Substance.id])
    near = _near(session, visible, text) if text and not total else ()
    groups = [row.Substance.connectivity or row.Substance.id for row in found if row.n]
    countries = _countries_of(session, principal, groups, period[0])
    apart = unpublished(session, principal, groups, now=now) if mask and groups else frozenset()
    return SubstancePage(
        items=tuple(_row(row, countries, mask=mask, apart=apart) for row in found),
        total=total,
        next_cursor=next_cursor,
        exact=exact,
        near=near,
    )


def _by_group(principal: Principal | None, cut: Cut, *, masked: bool) -> Select[Any]:
    """By connectivity group: detections, the same without months of fewer than 5 where `masked`, and the last month."""
    cells = cells_of(principal, ("substance_id", "month"), cut)
    group = func.coalesce(Substance.connectivity, Substance.id).label("group")
    months = (
        select(group, cells.c.month, func.sum(cells.c.n).label("n"))
        .join(Substance, Substance.id == cells.c.substance_id)
        .group_by(group, cells.c.month)
        .having(func.sum(cells.c.n) > 0)
        .subquery()
    )
    shown = case((months.c.n >= MASK_BELOW, months.c.n), else_=0) if masked else months.c.n
    return select(
        months.c.group,
        cast(func.sum(months.c.n), Integer).label("n"),
        cast(func.sum(shown), Integer).label("shown"),
        func.max(months.c.month).label("last_month"),
    ).group_by(months.c.group)


def _countries(
    session: Session, principal: Principal | None, since: str, substances: Sequence[str] | None = None
) -> Select[str, int]:
    """By connectivity group: how many countries have a detection since this month. One query is made here."""
    cells = pairs(session, principal, since, substances).subquery()
    group = func.coalesce(Substance.connectivity, Substance.id).label("group")
    places = select(group, cells.c.country).join(Substance, Substance.id == cells.c.substance_id).distinct().subquery()
    return select(places.c.group, func.count().label("countries")).group_by(places.c.group)


def _countries_of(session: Session, principal: Principal | None, groups: Sequence[str], since: str) -> Counter[str]:
    """The same for some groups. Three queries at most."""
    if not groups:
        return Counter()
    group = func.coalesce(Substance.connectivity, Substance.id)
    substances = list(session.scalars(select(Substance.id).where(group.in_(groups))))
    return Counter(dict(session.execute(_countries(session, principal, since, substances)).all()))


def _row(row: Any, countries: Mapping[str, int], *, mask: bool, apart: frozenset[str]) -> SubstanceRow:
    substance: Substance = row.Substance
    detections = masked_cell(row.n, mask=mask)
    if (substance.connectivity or substance.id) in apart:
        detections = MASKED
    hidden = detections.n is None
    return SubstanceRow(
        id=substance.id,
        name=substance.name,
        chemical_group=substance.chemical_group,
        effect_group=substance.effect_group,
        legal_status=substance.legal_status,
        matches=tuple(substance.matches),
        detections=detections,
        countries=detections if hidden else counted(countries.get(substance.connectivity or substance.id, 0)),
        last_month=row.last_month,
        inchikey=substance.inchikey,
        created_at=substance.created_at,
    )


def _near(session: Session, visible: ColumnElement[bool], text: str) -> tuple[tuple[str, str], ...]:
    """Up to five substances whose names are spelled nearly like the text, as (id, name)."""
    rows = session.execute(
        select(SubstanceName.folded, Substance.id, Substance.name)
        .join(Substance, Substance.id == SubstanceName.substance_id)
        .where(visible)
        .limit(MOST_NAMES)
    ).all()
    scored = process.extract(fold(text), [row.folded for row in rows], scorer=fuzz.ratio, limit=20, score_cutoff=NEAR_ENOUGH)
    near: dict[str, str] = {}
    for _, _, index in scored:
        near.setdefault(rows[index].id, rows[index].name)
    return tuple(list(near.items())[:5])
