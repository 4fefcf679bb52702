"""The ranking over HTTP: which substances to review first, and how sure that is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from app.auth.permissions import Action, Principal
from app.context import AppContext, Context, requires
from app.persistence.models import Snapshot
from app.priorities.ranking import FORMULAS, Ranking, Row, Weights
from app.priorities.snapshots import latest, ranking_of, snapshot_for
from app.problems import FieldError, Problem

router = APIRouter(prefix="/v1", tags=["priorities"])
Reader = Annotated[Principal, Depends(requires(Action.COUNTS_READ))]
Part = Annotated[float, Query(ge=0, le=1000, allow_inf_nan=False)]
DEFAULT = Weights()


@dataclass(frozen=True, slots=True)
class Asked:
    """What an address of a ranking names: a snapshot (None: that of yesterday) and the weights."""

    snapshot: str | None
    weights: Weights


def asked_of(
    snapshot: Annotated[str | None, Query(max_length=26)] = None,
    prevalence: Part = DEFAULT.prevalence,
    persistence: Part = DEFAULT.persistence,
    harm: Part = DEFAULT.harm,
) -> Asked:
    """Reads the address. Raises a validation Problem where all weights are zero."""
    if prevalence + persistence + harm <= 0:
        text = "at least one of prevalence, persistence and harm must be above 0"
        raise Problem("validation", text, errors=[FieldError("/prevalence", text)])
    return Asked(snapshot, Weights(prevalence=prevalence, persistence=persistence, harm=harm))


Wanted = Annotated[Asked, Depends(asked_of)]


def ranked(context: AppContext, principal: Principal, asked: Asked) -> tuple[Snapshot, Ranking]:
    """The snapshot asked for and its ranking. Raises a not-found Problem for one that is not there or not for this reader."""
    found = snapshot_for(context, principal, asked.snapshot)
    if found is None:
        raise Problem("not-found", "There is no such snapshot, or you may not use it.")
    return found, ranking_of(context.database, found, asked.weights)


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "cutoff": snapshot.cutoff.isoformat(),
        "digest": snapshot.digest,
        "labels": snapshot.labels.split(","),
        "counts": snapshot.counts,
    }


def _row(row: Row) -> dict[str, Any]:
    value = asdict(row)
    for name in ("harm", "priority"):
        value[name] = {"low": value[name][0], "high": value[name][1]}
    value["rank_interval"] = [value.pop("rank_low"), value.pop("rank_high")]
    value["missing"] = list(value["missing"])
    return value


def ranking_json(snapshot: Snapshot, ranking: Ranking) -> dict[str, Any]:
    """The whole answer; the same snapshot and weights give the same bytes."""
    return {
        "snapshot": snapshot_json(snapshot),
        "formulas": FORMULAS,
        "weights": asdict(ranking.weights),
        "items": [_row(row) for row in ranking.rows],
        "controlled": [_row(row) for row in ranking.controlled],
    }


@router.get("/priorities", summary="Substances by prevalence, persistence and harm")
def priorities(context: Context, principal: Reader, asked: Wanted) -> dict[str, Any]:
    """Ordered by the low end of the priority. Weights are any non-negative numbers, used as parts of their sum.

    `rank_interval` holds 90 % of 500 draws of laboratories and weights, seeded by the snapshot's digest. Without a case harm is
    an interval from 0 to the median of the group, and `harm_unknown` says so. Substances under the 1961 or 1971 Convention are in
    `controlled`. Without `snapshot` that of yesterday is used.
    """
    return ranking_json(*ranked(context, principal, asked))


@router.get("/snapshots", summary="Snapshots that a ranking can be made again from")
def snapshots(context: Context, principal: Reader) -> dict[str, Any]:
    """The newest 30, newest first."""
    with context.database.read() as session:
        return {"items": [snapshot_json(found) for found in latest(session, principal)], "next_cursor": None}
