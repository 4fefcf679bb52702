"""Approved medicines: every match outside the named lists was judged by a person, and none is certain without a reason."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from chem.catalog import DATA
from chem.engine import Engine
from chem.values import UN_INSTRUMENTS, Assessment, Basis, Certainty, LegalStatus, Structure, StructureFormat
from tests.approved_drugs import approved_drugs

TODAY = date(2026, 11, 24)
JUDGED = Path(__file__).parent / "cases" / "approved_drugs_judged.csv"
BY_NAME = (Basis.LISTED, Basis.STEREOISOMER)


def assessed(engine: Engine) -> Iterator[tuple[str, Assessment]]:
    for drug in approved_drugs():
        structure = Structure(format=StructureFormat.SMILES, text=drug.smiles)
        yield drug.id, engine.assess(structure, as_of=TODAY, analogues=0, hint=False)


def test_every_match_outside_the_named_lists_is_in_the_judged_table(engine: Engine) -> None:
    with JUDGED.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert all(row["judgement"].startswith(("right:", "right to be only possible:")) for row in rows)
    judged = {(r["drug"], r["rule"], r["entry"], r["certainty"], r["captured"]) for r in rows}
    found = {
        (drug, match.rule, match.entry, match.certainty.value, "yes" if match.captured else "no")
        for drug, assessment in assessed(engine)
        for match in assessment.matches
        if match.basis not in BY_NAME
    }
    assert found == judged
    assert len(found) > 100


def test_medicines_outside_every_list_match_no_convention(engine: Engine) -> None:
    with (DATA / "reference" / "medicines_negative.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 50
    for row in rows:
        found = engine.assess(Structure(format=StructureFormat.SMILES, text=row["smiles"]), as_of=TODAY, analogues=0)
        listed_elsewhere = [m for m in found.matches if m.instrument not in UN_INSTRUMENTS]
        assert found.legal_status is LegalStatus.NOT_CONTROLLED, row["name"]
        certain = [m for m in listed_elsewhere if m.captured and m.certainty is Certainty.CERTAIN and m.basis not in BY_NAME]
        assert not [m for m in certain if not m.carve_outs], (row["name"], [m.rule for m in certain])
