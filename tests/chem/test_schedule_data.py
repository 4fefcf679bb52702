"""Every listed row matches itself, alone and as a salt, under its own schedule; nothing else is claimed by
the lists.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from chem.catalog import DATA
from chem.engine import Engine
from chem.schedules import Entry, load_instrument
from chem.values import UN_INSTRUMENTS, Assessment, Certainty, Match

FOLDERS = ("un-1961", "un-1971", "un-1988")
ENTRIES = [e for folder in FOLDERS for e in load_instrument(DATA / "schedules" / folder).entries]
WITH_STRUCTURE = [e for e in ENTRIES if e.smiles]


def named(entry: Entry) -> str:
    return f"{entry.instrument} {entry.schedule} {entry.name}"


def own(assessment: Assessment, entry: Entry) -> list[Match]:
    return [
        m for m in assessment.matches if (m.instrument, m.schedule, m.entry) == (entry.instrument, entry.schedule, entry.name)
    ]


@pytest.mark.parametrize("entry", WITH_STRUCTURE, ids=named)
def test_a_listed_structure_matches_its_own_entry(screen: Callable[..., Assessment], entry: Entry) -> None:
    (match,) = own(screen(entry.smiles), entry)
    assert match.captured
    assert match.basis.value == "listed"


@pytest.mark.parametrize(
    "entry",
    [e for e in WITH_STRUCTURE if not e.as_is and "." not in e.smiles],
    ids=named,
)
def test_a_salt_matches_like_the_free_form(screen: Callable[..., Assessment], entry: Entry) -> None:
    counter = ".[Na+]" if entry.smiles[-6:] == "C(=O)O" else ".Cl"
    free, salt = screen(entry.smiles), screen(entry.smiles + counter)
    assert salt.matches == free.matches
    assert salt.identity is not None
    assert len(salt.identity.removed) == 1
    assert own(salt, entry)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if not e.smiles], ids=named)
def test_a_row_without_structure_says_why(entry: Entry) -> None:
    assert entry.structure_check
    assert entry.notes


@pytest.mark.parametrize(
    ("smiles", "why"),
    [
        ("[Na+].[Cl-]", "salts of hydrochloric acid are excepted from Table II"),
        ("[Na+].[Na+].[O-]S(=O)(=O)[O-]", "salts of sulphuric acid are excepted from Table II"),
        ("CN(C)CCOC(c1ccccc1)c1ccccc1.Cl", "a hydrochloride is not hydrochloric acid"),
        ("CCN(CC)CC(=O)Nc1c(C)cccc1C.CC(C)=O", "acetone of a solvate is not acetone"),
    ],
)
def test_entries_listed_as_they_are_never_match_as_counter_ions(screen: Callable[..., Assessment], smiles: str, why: str) -> None:
    assert screen(smiles).matches == (), why


@pytest.mark.parametrize("entry", WITH_STRUCTURE, ids=named)
def test_first_day_and_the_day_before(screen: Callable[..., Assessment], entry: Entry) -> None:
    assert entry.not_before is not None
    assert own(screen(entry.smiles, entry.not_before - timedelta(days=1)), entry) == []
    (first,) = own(screen(entry.smiles, entry.not_before), entry)
    if entry.effective_from != entry.not_before:
        assert first.certainty is Certainty.POSSIBLE
    if entry.effective_from is not None and entry.text_status.value in ("read", "recalled"):
        (match,) = own(screen(entry.smiles, entry.effective_from), entry)
        assert match.reason is None or match.reason.value == "ambiguous_structure"


def reference(name: str) -> list[dict[str, str]]:
    with (DATA / "reference" / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    "row",
    reference("medicines_negative.csv") + reference("nps_uncontrolled.csv"),
    ids=lambda row: row["name"],
)
def test_substances_outside_the_conventions_have_no_match(screen: Callable[..., Assessment], row: dict[str, str]) -> None:
    found = screen(row["smiles"], instruments=UN_INSTRUMENTS).matches
    assert [(m.instrument, m.entry, m.certainty.value) for m in found] == []


def test_coverage_names_every_instrument(engine: Engine) -> None:
    covered = engine.coverage(as_of=date(2026, 11, 24))
    assert [c.instrument for c in covered][:3] == list(UN_INSTRUMENTS)
    assert all(c.edition for c in covered)
