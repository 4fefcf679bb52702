"""Which counts are hidden, and with what beside them (domain guide, section 7).

Counts of 1 to 4 are hidden from those who may not read the rows, and with them in every table over the same rows the smallest
other count, so that neither a total nor a second table gives one away.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from app.auth.permissions import Action, Principal, may

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


def masks_detections(principal: Principal | None) -> bool:
    """Whether counts of detections under 5 are hidden from this reader."""
    return not may(principal, Action.COUNTS_READ)


def suppress(*tables: Mapping[K, int]) -> list[dict[K, Cell]]:
    """Tables over the same rows (by month, by country, by confidence) with counts of 1 to 4 hidden, so that none comes back.

    Where anything is hidden in any of them, each hides its smallest count of 5 or more as well: then no table gives the total
    away, and in each sum of hidden cells one has no upper bound. Zeros are shown.
    """
    return [
        {key: MASKED if key in keys else counted(n) for key, n in counts.items()}
        for keys, counts in zip(suppressed(*tables), tables, strict=True)
    ]


def suppressed(*tables: Mapping[K, int]) -> list[set[K]]:
    """The keys of each table that `suppress` hides."""
    hidden = [{key for key, n in counts.items() if 0 < n < MASK_BELOW} for counts in tables]
    if any(hidden):
        for keys, counts in zip(hidden, tables, strict=True):
            large = [key for key, n in counts.items() if n >= MASK_BELOW]
            if large:
                keys.add(min(large, key=lambda key: counts[key]))
    return hidden


def masked_cells(counts: Mapping[K, int]) -> dict[K, Cell]:
    """One table by itself, as `suppress` masks it."""
    return suppress(counts)[0]


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
