"""Salts, solvates and mixtures: nothing is dropped by size, and nothing that is listed is lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chem.values import UN_INSTRUMENTS, Assessment

DRUGS = {
    "amphetamine": "CC(N)Cc1ccccc1",
    "methamphetamine": "CN[C@@H](C)Cc1ccccc1",
    "MDMA": "CNC(C)Cc1ccc2c(c1)OCO2",
    "mephedrone": "CNC(C)C(=O)c1ccc(C)cc1",
    "fentanyl": "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1",
    "isotonitazene": "CCN(CC)CCn1c(Cc2ccc(OC(C)C)cc2)nc2cc([N+](=O)[O-])ccc21",
    "heroin": "CC(=O)Oc1ccc2c3c1O[C@H]1[C@@H](OC(C)=O)C=C[C@H]4[C@@H](C2)N(C)CC[C@@]341",
    "morphine": "CN1CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
    "cocaine": "COC(=O)[C@H]1[C@@H](OC(=O)c2ccccc2)C[C@@H]2CC[C@H]1N2C",
    "ketamine": "CNC1(c2ccccc2Cl)CCCCC1=O",
    "phencyclidine": "c1ccc(C2(N3CCCCC3)CCCCC2)cc1",
    "DMT": "CN(C)CCc1c[nH]c2ccccc12",
    "LSD": "CCN(CC)C(=O)[C@@H]1C=C2c3cccc4[nH]cc(c34)C[C@H]2N(C)C1",
    "methadone": "CCC(=O)C(CC(C)N(C)C)(c1ccccc1)c1ccccc1",
    "BZP": "c1ccc(CN2CCNCC2)cc1",
}
COUNTER_IONS = {
    "hydrochloride": "Cl",
    "hydrobromide": "Br",
    "chloride ion pair": "[Cl-].[H+]",
    "sulfate": "O=S(=O)(O)O",
    "phosphate": "O=P(O)(O)O",
    "nitrate": "O=[N+]([O-])O",
    "acetate": "CC(=O)O",
    "fumarate": "O=C(O)/C=C/C(=O)O",
    "maleate": "O=C(O)/C=C\\C(=O)O",
    "tartrate": "O=C(O)[C@H](O)[C@@H](O)C(=O)O",
    "dibenzoyl tartrate": "O=C(O[C@@H](C(=O)O)[C@@H](OC(=O)c1ccccc1)C(=O)O)c1ccccc1",
    "citrate": "O=C(O)CC(O)(CC(=O)O)C(=O)O",
    "oxalate": "O=C(O)C(=O)O",
    "malate": "O=C(O)CC(O)C(=O)O",
    "succinate": "O=C(O)CCC(=O)O",
    "lactate": "CC(O)C(=O)O",
    "benzoate": "O=C(O)c1ccccc1",
    "salicylate": "O=C(O)c1ccccc1O",
    "pamoate": "O=C(O)c1cc2ccccc2c(Cc2c(O)c(C(=O)O)cc3ccccc23)c1O",
    "stearate": "CCCCCCCCCCCCCCCCCC(=O)O",
    "mesylate": "CS(=O)(=O)O",
    "tosylate": "Cc1ccc(S(=O)(=O)O)cc1",
    "besylate": "O=S(=O)(O)c1ccccc1",
    "camsylate": "CC1(C)C2CCC1(CS(=O)(=O)O)C(=O)C2",
    "lauryl sulfate": "CCCCCCCCCCCCOS(=O)(=O)O",
    "lactobionate": "O=C(O)C(O)C(O)C(OC1OC(CO)C(O)C(O)C1O)C(O)CO",
    "trifluoroacetate": "O=C(O)C(F)(F)F",
    "meglumine": "CNC[C@H](O)[C@@H](O)[C@H](O)[C@H](O)CO",
}
CUTTING = {
    "quinine": "C=C[C@H]1CN2CC[C@H]1C[C@H]2[C@H](O)c1ccnc2ccc(OC)cc12",
    "caffeine": "Cn1c(=O)c2c(ncn2C)n(C)c1=O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "procaine": "CCN(CC)CCOC(=O)c1ccc(N)cc1",
    "piperazine": "C1CNCCN1",
    "mannitol": "OC[C@@H](O)[C@@H](O)[C@H](O)[C@H](O)CO",
}


@pytest.mark.parametrize("drug", DRUGS)
def test_every_counter_ion_leaves_the_drug(screen: Callable[..., Assessment], drug: str) -> None:
    free = screen(DRUGS[drug], instruments=UN_INSTRUMENTS)
    assert free.identity is not None
    for name, ion in COUNTER_IONS.items():
        for text in (f"{DRUGS[drug]}.{ion}", f"{ion}.{DRUGS[drug]}"):
            salt = screen(text, instruments=UN_INSTRUMENTS)
            assert salt.identity is not None
            assert salt.identity.parent_inchikey == free.identity.parent_inchikey, name
            assert salt.matches == free.matches, name
            assert len(salt.identity.removed) == ion.count(".") + 1, name


@pytest.mark.parametrize("drug", DRUGS)
def test_a_cutting_agent_is_a_component_and_the_drug_stays(screen: Callable[..., Assessment], drug: str) -> None:
    free = screen(DRUGS[drug], instruments=UN_INSTRUMENTS)
    assert free.identity is not None
    for name, agent in CUTTING.items():
        mixed = screen(f"{agent}.{DRUGS[drug]}", instruments=UN_INSTRUMENTS)
        assert mixed.identity is not None
        keys = {component.parent_inchikey for component in mixed.identity.components}
        assert free.identity.parent_inchikey in keys, name
        assert len(keys) == 2, name
        assert mixed.legal_status is free.legal_status
        if free.matches:
            assert mixed.identity.parent_inchikey == free.identity.parent_inchikey
            assert {m.component for m in mixed.matches} == {free.identity.parent_inchikey}
        assert "several-components" in {w.code for w in mixed.identity.warnings}


@pytest.mark.parametrize(
    ("smiles", "parent", "removed", "code"),
    [
        ("[Na+].O=C([O-])c1ccccc1", "O=C(O)c1ccccc1", ("[Na+]",), "only-counter-ions"),
        ("[Na+].O=C([O-])CCCO", "O=C(O)CCCO", ("[Na+]",), None),
        ("CC(N)Cc1ccccc1.CC(N)Cc1ccccc1.OS(=O)(=O)O", "CC(N)Cc1ccccc1", ("O=S(=O)(O)O",), None),
        ("O.O.CC(N)Cc1ccccc1.Cl", "CC(N)Cc1ccccc1", ("Cl", "O", "O"), None),
        ("CC(=O)O[Na]", "CC(=O)O", ("[Na+]",), "only-counter-ions"),
        ("N[Pt](N)(Cl)Cl", "[NH2][Pt]([NH2])([Cl])[Cl]", (), "metal-complex"),
        ("[2H]C([2H])([2H])NC(C)Cc1ccccc1", "CNC(C)Cc1ccccc1", (), "isotopically-labelled"),
        ("[NH3+]C(Cc1c[nH]c2ccccc12)C(=O)[O-]", "NC(Cc1c[nH]c2ccccc12)C(=O)O", (), None),
        ("C[N+](C)(C)CC(=O)[O-]", "C[N+](C)(C)CC(=O)[O-]", (), None),
        ("CC[N](=O)=O", "CC[N+](=O)[O-]", (), None),
        ("CS(=O)CC", "CC[S+](C)[O-]", (), None),
        ("O=C1[CH-]C(=O)NC(=O)[N-]1", "O=C1CC(=O)NC(=O)N1", (), None),
    ],
)
def test_parent_removed_parts_and_remark(
    screen: Callable[..., Assessment], smiles: str, parent: str, removed: tuple[str, ...], code: str | None
) -> None:
    identity = screen(smiles).identity
    assert identity is not None
    assert identity.parent_smiles == parent
    assert identity.removed == removed
    assert code is None or code in {w.code for w in identity.warnings}


def test_labels_stay_in_the_isotopic_key(screen: Callable[..., Assessment]) -> None:
    labelled = screen("[2H]C([2H])([2H])NC(C)Cc1ccccc1").identity
    natural = screen("CNC(C)Cc1ccccc1").identity
    assert labelled is not None
    assert natural is not None
    assert labelled.isotopes == ("[2H]3",)
    assert labelled.isotopic_inchikey == labelled.inchikey != labelled.parent_inchikey
    assert labelled.parent_inchikey == natural.parent_inchikey == natural.isotopic_inchikey
