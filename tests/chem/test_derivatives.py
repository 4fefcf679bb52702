"""Esters, ethers and entry clauses of the 1961 Convention, and what is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chem.values import UN_INSTRUMENTS, Assessment

C, P = "certain", "possible"
MORPHINAN = "CN1CC[C@]23c4c5ccc({O3})c4O[C@H]2[C@@H]({O6})C=C[C@H]3[C@H]1C5"


def morphine(o3: str, o6: str) -> str:
    return MORPHINAN.format(O3=o3, O6=o6)


# Structure, then entry, basis, rule, certainty, reason of the one UN match; None where there is none.
CASES: dict[str, tuple[str, tuple[str, str, str, str, str | None] | None]] = {
    "6-acetylmorphine": (
        morphine("O", "OC(C)=O"),
        ("Morphine", "ester", "un-1961/esters", C, None),
    ),
    "3,6-dibutanoylmorphine, two sites": (
        morphine("OC(=O)CCC", "OC(=O)CCC"),
        ("Morphine", "ester", "un-1961/esters", C, None),
    ),
    "morphine 3-formate": (morphine("OC=O", "O"), ("Morphine", "ester", "un-1961/esters", C, None)),
    "morphine 3-isopropyl ether": (
        morphine("OC(C)C", "O"),
        ("Morphine", "ether", "un-1961/ethers", C, None),
    ),
    "acetylcodeine is reached only through codeine": (
        morphine("OC", "OC(C)=O"),
        ("Morphine", "ester", "un-1961/esters", P, "text_uncertain"),
    ),
    "morphine 6-sulfate": (
        morphine("O", "OS(=O)(=O)O"),
        ("Morphine", "ester", "un-1961/esters", P, "word_undefined"),
    ),
    "morphine 3-phosphate": (
        morphine("OP(=O)(O)O", "O"),
        ("Morphine", "ester", "un-1961/esters", P, "word_undefined"),
    ),
    "codeine is named in Schedule II": (
        morphine("OC", "O"),
        ("Codeine", "listed", "un-1961/listed", C, None),
    ),
    "an ester of codeine's own kind, named": (
        "COc1ccc2c3c1O[C@H]1[C@@H](OC(=O)c4cccnc4)C=C[C@H]4[C@@H](C2)N(C)CC[C@@]341",
        ("Nicocodine", "listed", "un-1961/listed", C, None),
    ),
    "hydromorphone enol acetate": (
        "CC(=O)OC1=CC[C@H]2[C@H]3Cc4ccc(O)c5c4[C@@]2(CCN3C)[C@H]1O5",
        ("Hydromorphone", "ester", "un-1961/esters", C, None),
    ),
    "butyl ester of pethidine intermediate C": (
        "CCCCOC(=O)C1(c2ccccc2)CCN(C)CC1",
        ("Pethidine intermediate C", "ester", "un-1961/esters", C, None),
    ),
    "methyl ester of difenoxin": (
        "COC(=O)C1(c2ccccc2)CCN(CCC(C#N)(c2ccccc2)c2ccccc2)CC1",
        ("Difenoxin", "ester", "un-1961/esters", C, None),
    ),
    "ketobemidone methyl ether": (
        "CCC(=O)C1(c2cccc(OC)c2)CCN(C)CC1",
        ("Ketobemidone", "ether", "un-1961/ethers", C, None),
    ),
    "benzoylecgonine": (
        "CN1[C@H]2CC[C@@H]1[C@@H](C(=O)O)[C@@H](OC(=O)c1ccccc1)C2",
        (
            "Ecgonine, its esters and derivatives which are convertible to ecgonine and cocaine",
            "entry_clause",
            "un-1961/ecgonine-derivatives",
            C,
            None,
        ),
    ),
    "norcocaine": (
        "COC(=O)[C@H]1[C@@H](OC(=O)c2ccccc2)C[C@@H]2CC[C@H]1N2",
        (
            "Ecgonine, its esters and derivatives which are convertible to ecgonine and cocaine",
            "entry_clause",
            "un-1961/ecgonine-derivatives-other",
            P,
            "word_undefined",
        ),
    ),
    "naltrexone has thebacon's formula": (
        "O=C1CC[C@@]2(O)[C@H]3Cc4ccc(O)c5c4[C@@]2(CCN3CC2CC2)[C@H]1O5",
        None,
    ),
    "nalbuphine": ("Oc1ccc2C[C@H]3N(CC4CCC4)CC[C@@]45c2c1O[C@H]4[C@@H](O)CC[C@@]35O", None),
    "methylnaltrexone": ("C[N+]1(CC2CC2)CC[C@@]23c4c5ccc(O)c4O[C@H]2C(=O)CC[C@@]3(O)[C@H]1C5", None),
    "troparil has no ester of ecgonine": ("COC(=O)C1C(c2ccccc2)CC2CCC1N2C", None),
    "atropine": ("CN1[C@@H]2CC[C@H]1C[C@@H](OC(=O)C(CO)c1ccccc1)C2", None),
    "4-acetoxy-DMT: no ester clause in 1971": ("CN(C)CCc1c[nH]c2cccc(OC(C)=O)c12", None),
    "THC acetate: no ester clause in 1971": (
        "CCCCCc1cc(OC(C)=O)c2c(c1)OC(C)(C)[C@@H]1CCC(C)=C[C@@H]21",
        None,
    ),
    "GBL is no salt of GHB": ("O=C1CCCO1", None),
    "lisdexamfetamine is a prodrug": ("C[C@@H](Cc1ccccc1)NC(=O)[C@@H](N)CCCCN", None),
    "a carbamate of morphine is no ester": (morphine("OC(=O)N(C)C", "O"), None),
    "an ester of a Schedule II drug alone": (
        "COc1ccc2c3c1O[C@H]1[C@@H](OC(=O)CC)CC[C@H]4[C@@H](C2)NCC[C@@]341",
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_a_clause_reaches(screen: Callable[..., Assessment], name: str) -> None:
    smiles, expected = CASES[name]
    found = [
        (m.entry, m.basis.value, m.rule, m.certainty.value, m.reason.value if m.reason else None)
        for m in screen(smiles, instruments=UN_INSTRUMENTS).matches
        if m.captured
    ]
    assert found == ([] if expected is None else [expected])


@pytest.mark.parametrize(
    "smiles",
    [
        "C[N+]1([O-])CC[C@]23c4c5ccc(O)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5",
        "C[N+]1(C)CC[C@]23c4c5ccc(OC)c4O[C@H]2[C@@H](O)C=C[C@H]3[C@H]1C5.[I-]",
        "C[N+]1([O-])CC[C@]23c4c5ccc(OC(C)=O)c4O[C@H]2[C@@H](OC(C)=O)C=C[C@H]3[C@H]1C5",
    ],
)
def test_pentavalent_nitrogen_morphine_derivatives(screen: Callable[..., Assessment], smiles: str) -> None:
    found = screen(smiles, instruments=UN_INSTRUMENTS).matches
    assert found
    assert found[0].certainty.value == C
    assert {m.schedule for m in found} == {"I"}


def test_the_atoms_of_an_ester_are_those_of_the_group(screen: Callable[..., Assessment]) -> None:
    (match,) = screen("CC(=O)O[C@H]1C=C[C@H]2[C@H]3Cc4ccc(O)c5c4[C@@]2(CCN3C)[C@H]1O5.Cl", instruments=("UN-1961",)).matches
    assert match.atoms == (1, 2, 3, 4)
    assert "Morphine" in match.explanation


def test_a_clause_is_as_sure_as_the_weaker_text_and_cites_both(screen: Callable[..., Assessment]) -> None:
    (listed,) = screen(morphine("O", "O"), instruments=("UN-1961",)).matches
    (ester,) = screen(morphine("O", "OC(C)=O"), instruments=("UN-1961",)).matches
    assert (listed.text_status, ester.text_status) == ("read", "recalled")
    assert ester.source.startswith(listed.source)
    assert "esters" in ester.source
