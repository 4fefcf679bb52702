"""Snapshots: the facts of a ranking at the end of a day, made once for each set of labels and never changed."""

from __future__ import annotations

import json
import threading
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal, Role
from app.context import AppContext
from app.persistence.base import new_id
from app.persistence.models import Snapshot
from app.persistence.session import Database
from app.persistence.tasks import insert_once
from app.priorities.gathering import gather
from app.priorities.ranking import (
    FORMULAS,
    Facts,
    Find,
    Harm,
    Ranking,
    Scored,
    Scores,
    Subject,
    Weights,
    placed,
    score,
)
from app.priorities.standing import ranks_of

K = TypeVar("K")
V = TypeVar("V")

LABELS: dict[Role, tuple[str, ...]] = {
    Role.LAB: ("CLEAR", "GREEN"),
    Role.AUTHORITY: ("CLEAR", "GREEN"),
    Role.REVIEWER: ("CLEAR", "GREEN", "AMBER"),
    Role.ANALYST: ("CLEAR", "GREEN", "AMBER"),
}


_MAKING = threading.Lock()


def labels_of(principal: Principal) -> tuple[str, ...]:
    """The labels of the rows that a reader's ranking rests on: the same for all of a role, so that they see one ranking."""
    return LABELS[principal.role]


def packed(facts: Facts) -> bytes:
    """The facts for storage; `unpacked` gives them back."""
    return zlib.compress(json.dumps(asdict(facts), sort_keys=True, ensure_ascii=False).encode())


def unpacked(content: bytes) -> Facts:
    """The facts as they were when the snapshot was made."""
    value = json.loads(zlib.decompress(content))
    return Facts(
        cutoff=value["cutoff"],
        subjects=tuple(Subject(**subject) for subject in value["subjects"]),
        finds=tuple(Find(**find) for find in value["finds"]),
        harms=tuple(Harm(**harm) for harm in value["harms"]),
        tested=value["tested"],
        reporters={name: tuple(countries) for name, countries in value["reporters"].items()},
    )


def make(database: Database, cutoff: date, labels: Sequence[str], now: datetime) -> Snapshot:
    """The snapshot of a day, made now where there is none. Its facts are gathered, packed and ranked before a write begins.

    One at a time in a process: in a large installation it takes minutes and much memory, and who waits finds it made.
    """
    query = select(Snapshot).where(Snapshot.cutoff == cutoff, Snapshot.labels == ",".join(labels))
    with database.read() as session:
        found = session.scalars(query).first()
    if found is not None:
        return found
    with _MAKING:
        return _make(database, cutoff, labels, now, query)


def _make(database: Database, cutoff: date, labels: Sequence[str], now: datetime, query: Select[Snapshot]) -> Snapshot:
    with database.read(patient=True) as session:
        found = session.scalars(query).first()
        if found is not None:
            return found
        facts = gather(session, cutoff, labels)
    counts = {
        "substances": len(facts.subjects),
        "detections": sum(f.confirmed + f.probable for f in facts.finds),
        "cases": len({h.case for h in facts.harms}),
        "laboratories": len(facts.reporters),
        "tests": sum(facts.tested.values()),
    }
    scores = score(facts)
    values = {
        "id": new_id(), "cutoff": cutoff, "labels": ",".join(labels), "digest": scores.digest, "counts": counts,
        "facts": packed(facts), "made_at": now, "ranks": ranks_of(placed(scores, Weights())), "scores": scores_kept(scores),
    }  # fmt: skip
    with database.write() as session:
        insert_once(session, Snapshot, values)
        return session.scalars(query).one()


def snapshot_for(context: AppContext, principal: Principal, wanted: str | None) -> Snapshot | None:
    """The snapshot of this id that the reader may use; without an id that of yesterday, made where there is none."""
    labels = labels_of(principal)
    if wanted is None:
        return snapshot_with(context, labels)
    with context.database.read() as session:
        found = session.get(Snapshot, wanted)
    return found if found is not None and set(found.labels.split(",")) <= set(labels) else None


def snapshot_with(context: AppContext, labels: Sequence[str]) -> Snapshot:
    """The snapshot of yesterday over rows with these labels, made where there is none."""
    return make(context.database, context.now().date() - timedelta(days=1), labels, context.now())


def latest(session: Session, principal: Principal, limit: int = 30) -> list[Snapshot]:
    """The newest snapshots that a reader may use, newest first."""
    found = session.scalars(
        select(Snapshot).where(Snapshot.labels == ",".join(labels_of(principal))).order_by(Snapshot.cutoff.desc()).limit(limit)
    )
    return list(found)


def facts_of(session: Session, snapshot: Snapshot) -> Facts:
    """The facts that the snapshot was made of. Raises ValueError where they are no longer those."""
    content = session.scalar(select(Snapshot.facts).where(Snapshot.id == snapshot.id))
    if content is None:
        raise ValueError("the snapshot is not there")
    facts = unpacked(content)
    if facts.digest() != snapshot.digest:
        raise ValueError("the facts of the snapshot are not those it was made of")
    return facts


def ranking_of(database: Database, snapshot: Snapshot, weights: Weights) -> Ranking:
    """The ranking of a snapshot. Scores and rankings are kept in memory: the facts of a digest never change.

    Raises ValueError where the stored facts are no longer those of the digest.
    """
    found = _RANKINGS.get((snapshot.digest, weights))
    if found is None:
        found = placed(_scores_of(database, snapshot), weights)
        _keep(_RANKINGS, (snapshot.digest, weights), found)
    return found


def _scores_of(database: Database, snapshot: Snapshot) -> Scores:
    scores = _SCORES.get(snapshot.digest)
    if scores is None:
        with database.read(patient=True) as session:
            content = session.scalar(select(Snapshot.scores).where(Snapshot.id == snapshot.id))
            scores = scores_from(content) if content is not None else None
            if scores is None:  # made by an earlier version
                scores = score(facts_of(session, snapshot))
        if scores.digest != snapshot.digest:
            raise ValueError("the scores of the snapshot are not those of its facts")
        _keep(_SCORES, snapshot.digest, scores)
    return scores


MOST_KEPT = 16
_SCORES: dict[str, Scores] = {}
_RANKINGS: dict[tuple[str, Weights], Ranking] = {}
_LOCK = threading.Lock()


def _keep(kept: dict[K, V], key: K, value: V) -> None:
    with _LOCK:
        kept[key] = value
        while len(kept) > MOST_KEPT:
            del kept[next(iter(kept))]  # the one that came first


def scores_kept(scores: Scores) -> bytes:
    """The scores for storage; `scores_from` gives them back."""
    value = asdict(scores) | {"formulas": FORMULAS}
    return zlib.compress(json.dumps(value, sort_keys=True, ensure_ascii=False).encode())


def scores_from(content: bytes) -> Scores | None:
    """The scores as they were stored; None where other formulas made them."""
    value = json.loads(zlib.decompress(content))
    if value["formulas"] != FORMULAS:
        return None
    free, controlled = (tuple(_scored(one) for one in value[name]) for name in ("free", "controlled"))
    return Scores(digest=value["digest"], free=free, controlled=controlled)


def _scored(value: dict[str, Any]) -> Scored:
    pairs = {name: tuple(value[name]) for name in ("harm", "interval", "missing")}
    return Scored(**value | pairs)
