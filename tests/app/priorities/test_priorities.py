"""The ranking over HTTP and as a page, from stored reports, on both databases: who sees which rows, and the same bytes again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from app.persistence.models import Snapshot
from app.priorities import snapshots
from app.priorities.ranking import Facts, Weights, rank
from app.priorities.snapshots import facts_of, make, packed, ranking_of
from tests.app.priorities.by_hand import scores
from tests.conftest import Service

SURE = {"techniques": ["gc-ms", "nmr"], "reference_material": "certified"}
UNCONTROLLED = {"structure": {"smiles": "CNC(C)C(=O)c1ccccc1C"}} | SURE
OTHER = {"structure": {"smiles": "CC(Cc1cccc2c1OCO2)NC"}} | SURE


def report(reference: str, country: str, month: int, substances: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {
        "lab_reference": reference,
        "sample": {"country": country, "date_sampled": f"2026-{month:02}-10", "context": "seizure"},
        "substances": deepcopy(substances),
        "tlp": "GREEN",
    } | more


@pytest.fixture
def filled(service: Service) -> Service:
    german, french = service.key("lab", "DE"), service.key("lab", "FR")
    death = {"cases": [{"seriousness": "death", "role": "sole_cause", "exposure_evidence": "biological"}], "tlp": "AMBER"}
    for number, (key, country, substances, more) in enumerate(
        [
            (german, "DE", [UNCONTROLLED], {}),
            (german, "DE", [UNCONTROLLED], {}),
            (french, "FR", [UNCONTROLLED], {}),
            (german, "DE", [OTHER], death),
            (german, "DE", [{"name": "fentanyl"} | SURE], {}),
        ]
    ):
        body = report(f"r{number}", country, 3 + number, substances, **more)
        assert service.client.post("/v1/reports", json=body, headers=key).status_code == 201
    return service


def test_each_role_ranks_over_the_rows_it_may_read(filled: Service) -> None:
    lab = filled.client.get("/v1/priorities", headers=filled.key("lab", "AT")).json()
    reviewer = filled.client.get("/v1/priorities", headers=filled.key("reviewer", "CH")).json()
    assert len(lab["items"]) == 1
    assert len(reviewer["items"]) == 2
    assert {row["name"].lower() for row in reviewer["controlled"]} == {"fentanyl"}
    deadly = next(row for row in reviewer["items"] if row["cases"])
    assert (deadly["deaths"], deadly["fast_lane"], deadly["harm_unknown"]) == (1, "a death with a causal role", False)
    assert all(row["harm_unknown"] for row in lab["items"])
    for key in (filled.key("industry", "GB"), filled.key("operator", "AT", "admin")):
        assert filled.client.get("/v1/priorities", headers=key).status_code == 403
    # a snapshot with AMBER rows is not for one who may not read them
    other = filled.client.get(f"/v1/priorities?snapshot={reviewer['snapshot']['id']}", headers=filled.key("lab", "AT", name="x"))
    assert other.status_code == 404


def test_a_snapshot_gives_the_same_bytes_when_the_data_have_changed(filled: Service) -> None:
    key = filled.key("reviewer", "CH")
    first = filled.client.get("/v1/priorities", headers=key)
    address = f"/v1/priorities?snapshot={first.json()['snapshot']['id']}"
    lab = filled.key("lab", "IT")
    assert filled.client.post("/v1/reports", json=report("new", "IT", 9, [OTHER]), headers=lab).status_code == 201
    assert filled.client.get(address, headers=key).content == first.content
    assert filled.client.get(address + "&prevalence=1&persistence=0&harm=0", headers=key).content != first.content
    assert filled.client.get("/v1/snapshots", headers=key).json()["items"][0]["id"] == first.json()["snapshot"]["id"]
    filled.clock.at = filled.clock() + timedelta(days=1)
    later = filled.client.get("/v1/priorities", headers=key).json()
    assert later["snapshot"]["digest"] != first.json()["snapshot"]["digest"]


def test_the_gathered_facts_give_what_the_formulas_by_hand_give(filled: Service) -> None:
    now = filled.context.now()
    snapshot = make(filled.context.database, now.date(), ("CLEAR", "GREEN", "AMBER"), now)
    with filled.context.database.read() as session:
        facts = facts_of(session, snapshot)
    expected = scores(asdict(facts), under_control=False)
    for row in rank(facts, Weights()).rows:
        assert (row.prevalence, row.persistence, *row.harm) == pytest.approx(expected[row.id], abs=1e-5)
    assert sum(find.confirmed + find.probable for find in facts.finds) == 5
    assert {country for countries in facts.reporters.values() for country in countries} == {"DE", "FR"}


def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a process that has just begun."""
    for name in ("_SCORES", "_RANKINGS"):
        monkeypatch.setattr(snapshots, name, {})


def test_a_ranking_is_made_from_the_kept_scores_or_from_the_facts_and_never_from_others(
    filled: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever keeps the scores in memory, in the row, or has neither (a snapshot of an earlier version) gets the same bytes."""
    database, now, weights = filled.context.database, filled.context.now(), Weights(prevalence=3, persistence=1, harm=1)
    snapshot = make(database, now.date(), ("CLEAR", "GREEN"), now)
    _forget(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "score", None)  # whoever draws laboratories fails
        kept = ranking_of(database, snapshot, weights)
    _forget(monkeypatch)
    with database.write() as session:
        session.execute(update(Snapshot).values(scores=None))
    assert ranking_of(database, snapshot, weights) == kept
    _forget(monkeypatch)
    with database.write() as session:
        session.execute(update(Snapshot).values(facts=packed(Facts(cutoff="2026-01-01", subjects=(), finds=(), harms=()))))
    with pytest.raises(ValueError, match="not those it was made of"):
        ranking_of(database, snapshot, weights)


def test_who_asks_for_a_snapshot_while_it_is_made_waits_for_it(filled: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[date] = []
    gather, begun, others = snapshots.gather, threading.Event(), threading.Event()

    def slowly(session: Session, cutoff: date, labels: Sequence[str]) -> Facts:
        gathered.append(cutoff)
        begun.set()
        assert others.wait(20)
        return gather(session, cutoff, labels)

    monkeypatch.setattr(snapshots, "gather", slowly)
    day, now = filled.context.now().date(), filled.context.now()
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(make, filled.context.database, day, ("CLEAR",), now) for _ in range(3)]
        assert begun.wait(20)
        others.set()
        found = {one.result().id for one in waiting}
    assert (len(found), gathered) == (1, [day])


@pytest.mark.parametrize("query", ["prevalence=-1", "harm=x", "prevalence=0&persistence=0&harm=0", "persistence=inf"])
def test_bad_weights_are_refused_with_the_field(filled: Service, query: str) -> None:
    answer = filled.client.get(f"/v1/priorities?{query}", headers=filled.key("reviewer", "CH"))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"]
