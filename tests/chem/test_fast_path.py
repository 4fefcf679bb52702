"""The fast path is allowed only where the full path changes nothing: proved over everything that is
shipped.
"""

from __future__ import annotations

import csv

import pytest
from rdkit import Chem

from chem.catalog import DATA
from chem.normalise import clean, neutralise, takes_fast_path

FILES = sorted((DATA / "schedules").glob("*/entries.csv")) + sorted((DATA / "reference").glob("*.csv"))


def shipped() -> list[str]:
    found: dict[str, None] = {}
    for path in [*FILES, DATA / "counterions.csv"]:
        with path.open(encoding="utf-8") as file:
            found.update(dict.fromkeys(row["smiles"] for row in csv.DictReader(file) if row["smiles"]))
    return list(found)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_there_is_something_to_prove(path) -> None:
    assert path.stat().st_size > 0


def test_the_fast_path_changes_nothing_that_the_full_path_would() -> None:
    proved = 0
    for smiles in shipped():
        mol = Chem.MolFromSmiles(smiles)
        if len(Chem.GetMolFrags(mol)) != 1 or not takes_fast_path(mol):
            continue
        full, _ = neutralise(clean(mol), [])
        assert Chem.MolToSmiles(full) == Chem.MolToSmiles(mol), smiles
        proved += 1
    assert proved > 400


@pytest.mark.parametrize(
    "smiles",
    [
        "CS(=O)C",
        "CN=N#N",
        "C[N+](C)(C)[O-]",
        "O=C=O",
        "CC[NH3+]",
        "[CH3]",
        "C[Si](C)(C)Cl.Cl[Sn]",
        "N[Pt]",
        "OP(O)O",
        "CCC(=O)[O-]",
        "C[N-][N+]#N",
        "CI(=O)=O",
    ],
)
def test_what_the_full_path_may_change_does_not_take_it(smiles: str) -> None:
    assert not takes_fast_path(Chem.MolFromSmiles(smiles))
