"""The ranking against the same formulas written by hand, and what must hold of it whatever the facts."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.priorities.ranking import DRAWS, Facts, Find, Harm, Ranking, Subject, Weights, percent_ranks, points, rank, score
from app.priorities.snapshots import packed, scores_from, scores_kept, unpacked
from tests.app.priorities.by_hand import scores

LABS = ("l1", "l2", "l3")
COUNTRIES = ("AT", "DE", "FR", "GB")
SUBSTANCES = tuple(f"s{n}" for n in range(7))
SERIOUSNESS = ("death", "life_threatening", "hospital_or_emergency_treatment", "other_important")
ROLES = ("sole_cause", "combined_cause", "contributory", "incidental", "undetermined")

finds = st.builds(
    Find,
    laboratory=st.sampled_from(LABS), country=st.sampled_from(COUNTRIES), substance=st.sampled_from(SUBSTANCES),
    month=st.integers(0, 50), confirmed=st.integers(0, 40), probable=st.integers(1, 9),
)  # fmt: skip
harms = st.builds(
    Harm,
    laboratory=st.sampled_from(LABS), country=st.sampled_from(COUNTRIES), substance=st.sampled_from(SUBSTANCES[:5]),
    month=st.integers(0, 11), case=st.uuids().map(str), seriousness=st.sampled_from(SERIOUSNESS), role=st.sampled_from(ROLES),
    evidence=st.sampled_from(("biological", "own_product", "self_report", None)), pss=st.sampled_from((None, 1, 2, 3)),
    others_causal=st.booleans(),
)  # fmt: skip


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    found = draw(st.lists(finds, min_size=2, max_size=40, unique_by=lambda f: (f.laboratory, f.country, f.substance, f.month)))
    known = sorted({f.substance for f in found})
    return Facts(
        cutoff="2026-11-23",
        subjects=tuple(Subject(id=s, name=s, group=f"g{int(s[1:]) % 2}", under_control=s == "s6") for s in known),
        finds=tuple(found),
        harms=tuple(h for h in draw(st.lists(harms, max_size=15)) if h.substance in known),
        tested=draw(st.sampled_from(({}, {"l1": 400}, {"l1": 400, "l3": 90}))),
        reporters=dict.fromkeys(LABS, COUNTRIES),
    )


@given(facts())
@settings(max_examples=25, deadline=None)
def test_the_scores_are_those_of_the_formulas_written_by_hand(found: Facts) -> None:
    ranking = rank(found, Weights())
    exported = json.loads(json.dumps(asdict(found)))
    for rows, under in ((ranking.rows, False), (ranking.controlled, True)):
        expected = scores(exported, under_control=under)
        assert {row.id for row in rows} == set(expected)
        for row in rows:
            assert (row.prevalence, row.persistence, *row.harm) == pytest.approx(expected[row.id], abs=1e-5), row.id
            low = 0.35 * row.prevalence + 0.25 * row.persistence + 0.4 * row.harm[0]
            assert row.priority[0] == pytest.approx(low, abs=1e-5)
            assert row.rank_low <= row.rank <= row.rank_high


@given(facts())
@settings(max_examples=10, deadline=None)
def test_the_same_facts_give_the_same_bytes_whatever_their_order(found: Facts) -> None:
    shuffled = replace(found, finds=found.finds[::-1], harms=found.harms[::-1], subjects=found.subjects[::-1])
    assert shuffled.digest() == found.digest()
    assert repr(rank(shuffled, Weights())) == repr(rank(found, Weights()))
    assert unpacked(packed(found)) == found
    assert scores_from(scores_kept(score(found))) == score(found)


def world() -> Facts:
    """One substance reported everywhere without a case, nine others with a case each and few detections."""
    subjects = [Subject(id="wide", name="Wide", group="g", under_control=False)]
    found = [
        Find(laboratory=lab, country=country, substance="wide", month=month, confirmed=9, probable=0)
        for lab in LABS
        for country in COUNTRIES
        for month in range(36)
    ]
    cases = []
    for n in range(14):
        subjects.append(Subject(id=f"x{n:02}", name=f"X{n}", group="g", under_control=False))
        found += [
            Find(laboratory=LABS[n % 3], country="DE", substance=f"x{n:02}", month=m, confirmed=1 + n, probable=0) for m in (0, 9)
        ]
        cases.append(
            Harm(
                laboratory=LABS[n % 3], country="DE", substance=f"x{n:02}", month=1, case=f"c{n}", seriousness="death",
                role="combined_cause" if n % 2 else "undetermined", evidence="biological", pss=None, others_causal=False,
            )
        )  # fmt: skip
    return Facts(
        cutoff="2026-11-23", subjects=tuple(subjects), finds=tuple(found), harms=tuple(cases),
        reporters=dict.fromkeys(LABS, COUNTRIES),
    )  # fmt: skip


def test_a_widely_reported_substance_without_a_case_stays_among_the_first_ten_and_is_marked() -> None:
    ranking = rank(world(), Weights())
    (wide,) = [row for row in ranking.rows if row.id == "wide"]
    assert wide.harm_unknown
    assert wide.harm[0] == 0
    assert wide.harm[1] > 0
    assert wide.rank_low <= 10
    assert sum(row.priority[1] > wide.priority[1] for row in ranking.rows) < 10
    assert "no case: harm unknown" in wide.missing


def test_other_weights_change_the_order_and_nothing_below_it() -> None:
    first, second = rank(world(), Weights()), rank(world(), Weights(prevalence=1, persistence=0, harm=0))
    assert second.rows[0].id == "wide"

    def parts(ranking: Ranking) -> dict[str, tuple[object, ...]]:
        return {row.id: (row.prevalence, row.persistence, row.harm, row.grade) for row in ranking.rows}

    assert parts(first) == parts(second)
    assert Weights(prevalence=70, persistence=50, harm=80).shares() == pytest.approx(Weights().shares())


def test_the_fast_lane_and_the_grade_stand_outside_the_score() -> None:
    by_id = {row.id: row for row in rank(world(), Weights()).rows}
    assert by_id["x01"].fast_lane == "a death with a causal role"
    assert by_id["x02"].fast_lane is None
    assert by_id["wide"].grade == "C"  # three laboratories; no tests done, no cases
    assert by_id["x01"].grade == "D"


@pytest.mark.parametrize(
    ("seriousness", "role", "pss", "expected"),
    [
        ("death", "sole_cause", None, 10), ("death", "contributory", None, 5), ("death", "undetermined", None, 2),
        ("death", "incidental", None, 0), ("life_threatening", "undetermined", None, 3),
        ("other_important", "undetermined", 3, 3),
        ("hospital_or_emergency_treatment", "undetermined", 1, 2), ("dependence", "undetermined", None, 1),
        ("death", "undetermined", 3, 3),
    ],
)  # fmt: skip
def test_points_are_the_largest_that_applies(seriousness: str, role: str, pss: int | None, expected: float) -> None:
    assert points(seriousness, role, pss) == expected


def test_a_population_of_one_ranks_nothing() -> None:
    assert percent_ranks(np.array([5.0])).tolist() == [0.0]
    only = replace(world(), subjects=world().subjects[:1])
    (row,) = rank(only, Weights()).rows
    assert (row.rank, row.rank_low, row.rank_high) == (1, 1, 1)
    assert DRAWS == 500
