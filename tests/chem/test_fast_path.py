"""The fast path is allowed only where the full path changes nothing: proved over everything that is
shipped.
"""

from __future__ import annotations

import csv

import pytest
from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize

from chem.catalog import DATA
from chem.normalise import (
    _only_protons_moved,
    clean,
    is_metal_complex,
    neutralise,
    only_protons_to_move,
    takes_fast_path,
)
from chem.parsing import MAX_HEAVY_ATOMS, round_trip
from tests.approved_drugs import approved_drugs

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
        "O=C=O",
        "CC[NH3+]",
        "[CH3]",
        "C[Si](C)(C)Cl.Cl[Sn]",
        "N[Pt]",
        "OP(O)O",
        "CC=[N+](C)[O-]",
        "C[N+](C)(C)CC(=O)[O-]",
        "CCC(=O)[O-]",
        "C[N-][N+]#N",
        "CI(=O)=O",
    ],
)
def test_what_the_full_path_may_change_does_not_take_it(smiles: str) -> None:
    assert not takes_fast_path(Chem.MolFromSmiles(smiles))


def variants(mol: Chem.Mol) -> list[Chem.Mol]:
    """The fragment itself, as its cations and anions, and as its N-oxides."""
    found = [mol]
    for smarts, charge in (
        ("[NX3;H0,H1,H2;!$(N-C=[O,N,S]);!$(N-[!#6;!#1]);!$(N-a)]", 1),
        ("[OX2H]-C=O", -1),
        ("[OX2H]-c", -1),
        ("[nX2]", 1),
        ("[NX3;H1,H2]S(=O)=O", -1),
        ("[OX2H]S(=O)=O", -1),
        ("[OX2H]P=O", -1),
        ("[nH]", -1),
        ("[SX2H]", -1),
    ):
        editable = Chem.RWMol(mol)
        for match in mol.GetSubstructMatches(Chem.MolFromSmarts(smarts))[:3]:
            atom = editable.GetAtomWithIdx(match[0])
            atom.SetNumExplicitHs(max(0, atom.GetTotalNumHs() + charge))
            atom.SetFormalCharge(charge)
        try:
            Chem.SanitizeMol(editable)
        except (Chem.AtomValenceException, Chem.KekulizeException):
            continue
        again = Chem.MolFromSmiles(Chem.MolToSmiles(editable))
        if again is not None:
            found.append(again)
    for smarts in ("[NX3;H0;!$(N-C=[O,N,S]);!$(N-[!#6]);!$(N-a)]", "[nX2]"):
        for match in mol.GetSubstructMatches(Chem.MolFromSmarts(smarts))[:1]:
            editable = Chem.RWMol(mol)
            oxygen = editable.AddAtom(Chem.Atom(8))
            editable.AddBond(match[0], oxygen, Chem.BondType.SINGLE)
            editable.GetAtomWithIdx(match[0]).SetFormalCharge(1)
            editable.GetAtomWithIdx(oxygen).SetFormalCharge(-1)
            try:
                Chem.SanitizeMol(editable)
            except (Chem.AtomValenceException, Chem.KekulizeException):
                continue
            found.append(editable.GetMol())
    return found


def without_shortcuts(fragment: Chem.Mol) -> list[str]:
    """What cleaning and neutralising give when every step is done on every part."""
    found = []
    for part in Chem.GetMolFrags(clean(fragment, []), asMols=True):
        result = rdMolStandardize.Uncharger(True).uncharge(part)
        try:
            Chem.SanitizeMol(result)
            again = round_trip(result)
        except (Chem.AtomValenceException, Chem.KekulizeException):
            again = None
        found.append(Chem.MolToSmiles(part if again is None or not _only_protons_moved(part, again) else again))
    return sorted(found)


@pytest.mark.parametrize("every", [5, 1])
def test_no_shortcut_changes_what_the_full_path_would_give(every: int) -> None:
    proved = skipped = 0
    for smiles in [*shipped(), *(drug.smiles for drug in approved_drugs()[::3])][::every]:
        whole = Chem.MolFromSmiles(smiles)
        for drawn in Chem.GetMolFrags(whole, asMols=True) if whole is not None else ():
            fragment = Chem.MolFromSmiles(Chem.MolToSmiles(drawn))
            if fragment is None or not 1 < fragment.GetNumAtoms() <= MAX_HEAVY_ATOMS or is_metal_complex(fragment):
                continue
            for mol in variants(fragment):
                if takes_fast_path(mol):
                    short = [Chem.MolToSmiles(mol)]
                elif only_protons_to_move(mol):
                    short = [Chem.MolToSmiles(neutralise(mol, [])[0])]
                    skipped += 1
                else:
                    parts = Chem.GetMolFrags(clean(mol, []), asMols=True)
                    short = sorted(Chem.MolToSmiles(neutralise(part, [])[0]) for part in parts)
                assert short == without_shortcuts(mol), Chem.MolToSmiles(mol)
                proved += 1
    assert proved > 3_000 / every
    assert skipped > 2_000 / every
