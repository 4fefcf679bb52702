"""Which detections and cases a reader's answers are computed over, and which counts are masked (domain guide, section 7).

Everything a reader gets is computed over the rows they may read: a substance known only from other rows does not exist for them.
Industry partners and administrators read data as the public does. Masking hides counts of 1 to 4, and where only one cell would
be hidden the smallest other one with it, so that a total cannot give it away.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, false, or_

from app.auth.permissions import Action, Principal, Role, may, visible_tlp
from app.persistence.models import Detection, HarmCase
from app.web.places import SMALL_COUNTRIES

MASK_BELOW = 5
SHOWN_CONFIDENCES = ("confirmed", "probable")

K = TypeVar("K", bound=Hashable)


class CellState(StrEnum):
    """What a cell of a table holds. The last three are different absences and look different everywhere."""

    COUNTED = "counted"
    NO_DATA = "no_data"
    MASKED = "masked"
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class Cell:
    """A count, or the reason why there is none."""

    state: CellState
    n: int | None = None

    @property
    def code(self) -> str:
        """What an export holds: the number or the shorthand of UK statistics."""
        return {CellState.NO_DATA: "[x]", CellState.MASKED: "[c]", CellState.NOT_ASKED: "[z]"}.get(self.state, str(self.n))

    @property
    def words(self) -> str:
        """What stands beside the shorthand; empty for a count."""
        return {CellState.NO_DATA: "no data", CellState.MASKED: "masked", CellState.NOT_ASKED: "not asked"}.get(self.state, "")


NO_DATA = Cell(CellState.NO_DATA)
MASKED = Cell(CellState.MASKED)
NOT_ASKED = Cell(CellState.NOT_ASKED)


def counted(n: int) -> Cell:
    return Cell(CellState.COUNTED, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum over cells. With masked cells in it, only the sum of the shown ones is known: `at_least`."""

    cell: Cell
    at_least: int


def labels(principal: Principal | None) -> tuple[str, ...]:
    """The TLP labels of other organisations' detections that count for this reader."""
    return visible_tlp(principal, own_country=False) or ("CLEAR",)


def readable_detections(principal: Principal | None) -> ColumnElement[bool]:
    """Rows this reader's answers rest on: labels they may hold, their own rows, and their own country's for an authority."""
    rows = and_(Detection.tlp.in_(labels(principal)), Detection.test.is_(False))
    if principal is None or principal.role in {Role.INDUSTRY, Role.ADMIN}:
        return and_(Detection.counted, rows)
    if principal.role is Role.AUTHORITY:
        home = visible_tlp(principal, own_country=True)
        rows = or_(rows, and_(Detection.country == principal.country, Detection.tlp.in_(home), Detection.test.is_(False)))
    return and_(Detection.counted, or_(rows, Detection.org_id == principal.org_id))


def readable_cases(principal: Principal | None) -> ColumnElement[bool]:
    """Case rows this reader may open, to be joined to their detections. De-identified or not is for the page to decide."""
    if principal is None:
        return false()
    match principal.role:
        case Role.LAB:
            return Detection.org_id == principal.org_id
        case Role.AUTHORITY:
            return and_(
                HarmCase.country == principal.country,
                HarmCase.test.is_(False),
                HarmCase.tlp.in_(visible_tlp(principal, own_country=True)),
            )
        case Role.REVIEWER:
            return and_(
                HarmCase.tlp.in_(visible_tlp(principal, own_country=False)),
                HarmCase.test.is_(False),
                HarmCase.country.not_in(SMALL_COUNTRIES),
            )
        case Role.ANALYST:
            return and_(HarmCase.tlp.in_(visible_tlp(principal, own_country=False)), HarmCase.test.is_(False))
        case _:
            return false()


def counted_cases(principal: Principal | None) -> ColumnElement[bool]:
    """Case rows that enter this reader's counts: those they may open, and AMBER ones of others, which they get masked."""
    return and_(HarmCase.counted, or_(readable_cases(principal), and_(HarmCase.tlp == "AMBER", HarmCase.test.is_(False))))


def masks_detections(principal: Principal | None) -> bool:
    """Whether counts of detections under 5 are hidden from this reader."""
    return not may(principal, Action.COUNTS_READ)


def masked_cells(counts: Mapping[K, int]) -> dict[K, Cell]:
    """The counts with 1 to 4 hidden. A single hidden cell takes the smallest other count with it; zeros are shown."""
    hidden = {key for key, n in counts.items() if 0 < n < MASK_BELOW}
    others = [key for key, n in counts.items() if n >= MASK_BELOW]
    if len(hidden) == 1 and others:
        hidden.add(min(others, key=lambda key: counts[key]))
    return {key: MASKED if key in hidden else counted(n) for key, n in counts.items()}


def cells(counts: Mapping[K, int], *, mask: bool) -> dict[K, Cell]:
    return masked_cells(counts) if mask else {key: counted(n) for key, n in counts.items()}


def total_of(found: Mapping[K, Cell]) -> Total:
    """The sum of the cells; itself masked where one of them is."""
    shown = sum(cell.n or 0 for cell in found.values())
    if any(cell.state is CellState.MASKED for cell in found.values()):
        return Total(cell=MASKED, at_least=shown)
    return Total(cell=counted(shown), at_least=shown)


def masked_cell(n: int, *, mask: bool) -> Cell:
    """One count standing alone."""
    return MASKED if mask and 0 < n < MASK_BELOW else counted(n)
