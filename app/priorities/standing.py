"""Where one substance stands in the newest stored ranking, without ranking anything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.persistence.models import Snapshot
from app.priorities.ranking import Ranking

LEAST_SUBSTANCES = 2  # fewer are no ranking


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A rank from 1 under the default weights, and the ranks between which 450 of 500 draws lie.

    `of` is the number of substances ranked together: those under the 1961 or 1971 Convention (`controlled`), or all others.
    `grade` is the data grade, A to D.
    """

    rank: int
    low: int
    high: int
    of: int
    controlled: bool
    grade: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A snapshot and the substance's place in it; None where the snapshot does not rank it."""

    snapshot_id: str
    cutoff: date
    place: Place | None


def ranks_of(ranking: Ranking) -> dict[str, Any]:
    """Every row's place by id of its substance, as a snapshot keeps it."""
    return {
        row.id: asdict(
            Place(
                rank=row.rank, low=row.rank_low, high=row.rank_high, of=len(rows), controlled=controlled, grade=row.grade
            )
        )
        for controlled, rows in ((False, ranking.rows), (True, ranking.controlled))
        for row in rows
    }  # fmt: skip


def standing_of(session: Session, labels: Collection[str], substance_id: str) -> Standing | None:
    """The place in the newest snapshot over rows with exactly these labels; None where no ranking is stored yet. One query."""
    found = session.execute(
        select(Snapshot.id, Snapshot.cutoff, Snapshot.ranks[substance_id].label("place"))
        .where(Snapshot.labels == ",".join(labels), Snapshot.ranks.is_not(None))
        .order_by(Snapshot.cutoff.desc())
        .limit(1)
    ).first()
    if found is None:
        return None
    place: Mapping[str, Any] | None = found.place
    return Standing(snapshot_id=found.id, cutoff=found.cutoff, place=Place(**place) if place else None)
