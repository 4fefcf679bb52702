"""Another drawing of the same substance has the same parent and the same law."""

from __future__ import annotations

import csv
import functools
import os
import random
from datetime import date

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rdkit import Chem

from chem.catalog import DATA
from chem.engine import Engine
from chem.normalise import load_counterions
from chem.values import Assessment, Match, Structure, StructureFormat

TODAY = date(2026, 11, 24)
SHARE = int(os.environ.get("NPS_TRIES", "560")) / 560  # NPS_TRIES=20000 is the long run: some 20,000 tries in all


def tries(number: int) -> int:
    """The examples of one property, its share of the whole run."""
    return max(1, round(number * SHARE))


def shipped() -> list[str]:
    """Every structure in the data files that is one fragment, matched as a substance and no counter-ion itself."""
    counterions = load_counterions()
    found: dict[str, None] = {}
    for path in [*sorted((DATA / "schedules").glob("*/entries.csv")), *sorted((DATA / "reference").glob("*.csv"))]:
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["smiles"] and not set(row["smiles"]) & set(".|") and not row.get("as_is"):
                    found.setdefault(row["smiles"])
    return [s for s in found if not counterions.removable(Chem.MolToSmiles(Chem.MolFromSmiles(s), isomericSmiles=False))]


ION_NAMES = """
chloride, bromide, iodide, sulfate, phosphate, nitrate, acetate, trifluoroacetate, propionate, stearate, oxalate,
malonate, succinate, fumarate or maleate, malate, lactate, tartrate, citrate, gluconate, lactobionate, benzoate,
salicylate, pamoate, mesylate, tosylate, besylate, hydroxide or water, methanol
"""


def counter_ions() -> list[str]:
    """27 counter-ions of medicines, water among them, and a solvent, from the shipped list."""
    with (DATA / "counterions.csv").open(encoding="utf-8") as file:
        smiles = {row["name"]: row["smiles"] for row in csv.DictReader(file)}
    return [smiles[" ".join(name.split())] for name in ION_NAMES.split(",")]


SHIPPED = shipped()
COUNTER_IONS = counter_ions()
# A structure and a seed for the order in which its atoms are written.
drawings = st.tuples(st.sampled_from(SHIPPED), st.integers(0, 1_000_000))


def redrawn(smiles: str, seed: int) -> Chem.Mol:
    """The molecule with its atoms in another order."""
    mol = Chem.MolFromSmiles(smiles)
    order = list(range(mol.GetNumAtoms()))
    random.Random(seed).shuffle(order)
    return Chem.RenumberAtoms(mol, order)


def text_of(mol: Chem.Mol, **options: bool) -> str:
    """A SMILES in the molecule's own order of atoms."""
    return Chem.MolToSmiles(mol, canonical=False, **options)


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


def test_there_are_structures_and_counter_ions() -> None:
    assert len(SHIPPED) > 400
    assert len(set(COUNTER_IONS)) == 28


@given(drawing=drawings)
@settings(max_examples=tries(80), deadline=None)
def test_the_order_of_atoms_changes_nothing(drawing: tuple[str, int]) -> None:
    same(ask(text_of(redrawn(*drawing))), drawing[0])


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_explicit_hydrogens_and_kekule_bonds_change_nothing(drawing: tuple[str, int]) -> None:
    mol = redrawn(*drawing)
    same(ask(text_of(Chem.AddHs(mol))), drawing[0])
    Chem.Kekulize(mol, clearAromaticFlags=True)
    same(ask(text_of(mol, kekuleSmiles=True)), drawing[0])


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_a_molfile_says_the_same(drawing: tuple[str, int]) -> None:
    mol = redrawn(*drawing)
    block = Chem.MolToMolBlock(mol)
    # Crowded polycycles: the wedges that the writer chooses do not always say the stereochemistry it was given.
    assume(Chem.MolToInchi(Chem.MolFromMolBlock(block)) == Chem.MolToInchi(mol))
    same(ask(block, StructureFormat.MOLFILE), drawing[0])


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_an_inchi_says_the_same(drawing: tuple[str, int]) -> None:
    smiles, seed = drawing
    wanted = plain(smiles)
    assert wanted.identity is not None
    found = ask(Chem.MolToInchi(redrawn(smiles, seed)), StructureFormat.INCHI)
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


@given(drawing=drawings, ion=st.sampled_from(COUNTER_IONS), first=st.booleans())
@settings(max_examples=tries(80), deadline=None)
def test_a_counter_ion_changes_nothing(drawing: tuple[str, int], ion: str, first: bool) -> None:
    text = text_of(redrawn(*drawing))
    same(ask(f"{ion}.{text}" if first else f"{text}.{ion}"), drawing[0])


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_deuterium_changes_no_law(drawing: tuple[str, int]) -> None:
    mol = Chem.AddHs(redrawn(*drawing))
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 1 and atom.GetNeighbors()[0].GetAtomicNum() == 6:
            atom.SetIsotope(2)
    found = ask(text_of(mol))
    assert found.identity is not None
    wanted = plain(drawing[0])
    assert wanted.identity is not None
    assert found.identity.parent_inchikey == wanted.identity.parent_inchikey
    assert found.matches == wanted.matches


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_a_protonated_base_is_the_base(drawing: tuple[str, int]) -> None:
    charged(drawing, "[NX3;+0;!$(N-[*]=[*]);!$(N-[*]#[*]);!$(N-a);!$(N-[#7,#8])]", 1, ".[Cl-]")


@given(drawing=drawings)
@settings(max_examples=tries(60), deadline=None)
def test_a_deprotonated_acid_is_the_acid(drawing: tuple[str, int]) -> None:
    charged(drawing, "[OX2H;$(O-C=O),$(O-c)]", -1, ".[Na+]")


def charged(drawing: tuple[str, int], smarts: str, charge: int, ion: str) -> None:
    """The first site of a kind brought to its charge, with an ion beside it, is the same substance."""
    mol = Chem.RWMol(redrawn(*drawing))
    sites = mol.GetSubstructMatches(Chem.MolFromSmarts(smarts))
    if not sites:
        return
    atom = mol.GetAtomWithIdx(sites[0][0])
    atom.SetNumExplicitHs(atom.GetTotalNumHs() + charge)
    atom.SetNoImplicit(True)
    atom.SetFormalCharge(charge)
    Chem.SanitizeMol(mol)
    same(ask(text_of(mol.GetMol()) + ion), drawing[0])


@given(smiles=st.sampled_from(SHIPPED))
@settings(max_examples=tries(20), deadline=None)
def test_normalising_twice_changes_nothing(smiles: str) -> None:
    wanted = plain(smiles)
    assert wanted.identity is not None
    same(ask(wanted.identity.parent_smiles), smiles)


@given(drawing=drawings)
@settings(max_examples=tries(40), deadline=None)
def test_a_stored_identity_gives_the_same_law(drawing: tuple[str, int]) -> None:
    found = ask(text_of(redrawn(*drawing)))
    assert found.identity is not None
    assert engine().assess_identity(found.identity, as_of=TODAY) == found
