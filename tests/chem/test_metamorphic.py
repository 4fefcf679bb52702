"""Another drawing of the same substance has the same parent and the same law."""

from __future__ import annotations

import functools
import random
from datetime import date

from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from chem.catalog import DATA
from chem.engine import Engine
from chem.schedules import load_instrument
from chem.values import Assessment, Match, Structure, StructureFormat

TODAY = date(2026, 11, 24)
LISTED = [
    entry.smiles
    for folder in ("un-1961", "un-1971", "un-1988")
    for entry in load_instrument(DATA / "schedules" / folder).entries
    if entry.smiles and not entry.as_is and "." not in entry.smiles
]
COUNTER_IONS = (
    "Cl",
    "Br",
    "O=C(O)C=CC(=O)O",
    "O=C(O)C(=O)O",
    "O",
    "CS(=O)(=O)O",
    "O=C(O)CC(O)(CC(=O)O)C(=O)O",
)

chosen = st.sampled_from(LISTED)


@functools.cache
def engine() -> Engine:
    return Engine.load()


@functools.cache
def plain(smiles: str) -> Assessment:
    return ask(smiles)


def ask(text: str, form: StructureFormat = StructureFormat.SMILES) -> Assessment:
    return engine().assess(Structure(format=form, text=text), as_of=TODAY)


def same(found: Assessment, smiles: str) -> None:
    wanted = plain(smiles)
    assert found.identity is not None
    assert wanted.identity is not None
    assert found.identity.parent_inchikey == wanted.identity.parent_inchikey
    assert found.identity.parent_smiles == wanted.identity.parent_smiles
    assert found.matches == wanted.matches
    assert found.legal_status is wanted.legal_status
    assert found.analogues == wanted.analogues


@given(smiles=chosen, seed=st.integers(0, 10_000))
@settings(max_examples=80, deadline=None)
def test_the_order_of_atoms_changes_nothing(smiles: str, seed: int) -> None:
    mol = Chem.MolFromSmiles(smiles)
    order = list(range(mol.GetNumAtoms()))
    random.Random(seed).shuffle(order)
    shuffled = Chem.MolToSmiles(Chem.RenumberAtoms(mol, order), canonical=False)
    same(ask(shuffled), smiles)


@given(smiles=chosen)
@settings(max_examples=60, deadline=None)
def test_explicit_hydrogens_and_kekule_bonds_change_nothing(smiles: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    same(ask(Chem.MolToSmiles(mol)), smiles)
    same(ask(Chem.MolToSmiles(Chem.MolFromSmiles(smiles), kekuleSmiles=True)), smiles)


@given(smiles=chosen)
@settings(max_examples=60, deadline=None)
def test_a_molfile_says_the_same(smiles: str) -> None:
    same(ask(Chem.MolToMolBlock(Chem.MolFromSmiles(smiles)), StructureFormat.MOLFILE), smiles)


@given(smiles=chosen)
@settings(max_examples=60, deadline=None)
def test_an_inchi_says_the_same(smiles: str) -> None:
    wanted = plain(smiles)
    assert wanted.identity is not None
    found = ask(wanted.identity.inchi, StructureFormat.INCHI)
    assert found.identity is not None
    # A mobile hydrogen may come back elsewhere: the key and the law stay, atom numbers may not.
    assert found.identity.parent_inchikey == wanted.identity.parent_inchikey
    assert [law(m) for m in found.matches] == [law(m) for m in wanted.matches]


def law(match: Match) -> tuple[object, ...]:
    return (
        match.instrument,
        match.schedule,
        match.entry,
        match.rule,
        match.captured,
        match.certainty,
        match.reason,
    )


@given(smiles=chosen, ion=st.sampled_from(COUNTER_IONS), first=st.booleans())
@settings(max_examples=80, deadline=None)
def test_a_counter_ion_changes_nothing(smiles: str, ion: str, first: bool) -> None:
    same(ask(f"{ion}.{smiles}" if first else f"{smiles}.{ion}"), smiles)


@given(smiles=chosen)
@settings(max_examples=60, deadline=None)
def test_deuterium_changes_no_law(smiles: str) -> None:
    mol = Chem.AddHs(Chem.MolFromSmiles(smiles))
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1 and atom.GetNeighbors()[0].GetAtomicNum() == 6:
            atom.SetIsotope(2)
    found = ask(Chem.MolToSmiles(mol))
    assert found.identity is not None
    wanted = plain(smiles)
    assert wanted.identity is not None
    assert found.identity.parent_inchikey == wanted.identity.parent_inchikey
    assert found.matches == wanted.matches


@given(smiles=chosen)
@settings(max_examples=60, deadline=None)
def test_a_protonated_base_is_the_base(smiles: str) -> None:
    mol = Chem.RWMol(Chem.MolFromSmiles(smiles))
    amine = Chem.MolFromSmarts("[NX3;+0;!$(N-[*]=[*]);!$(N-a);!$(N-[#7,#8])]")
    sites = mol.GetSubstructMatches(amine)
    if not sites:
        return
    atom = mol.GetAtomWithIdx(sites[0][0])
    atom.SetFormalCharge(1)
    atom.SetNumExplicitHs(atom.GetTotalNumHs() + 1)
    Chem.SanitizeMol(mol)
    same(ask(Chem.MolToSmiles(mol) + ".[Cl-]"), smiles)


@given(smiles=chosen)
@settings(max_examples=40, deadline=None)
def test_normalising_twice_changes_nothing(smiles: str) -> None:
    wanted = plain(smiles)
    assert wanted.identity is not None
    same(ask(wanted.identity.parent_smiles), smiles)


@given(smiles=chosen)
@settings(max_examples=40, deadline=None)
def test_a_stored_identity_gives_the_same_law(smiles: str) -> None:
    wanted = plain(smiles)
    assert wanted.identity is not None
    again = engine().assess_identity(wanted.identity, as_of=TODAY)
    assert again == wanted
