"""Stereo truths: what a name fixes, what a clause covers, what a flat drawing leaves open."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chem.values import UN_INSTRUMENTS, Assessment, Match, Stereo

LEVOMETHORPHAN = "COc1ccc2c(c1)[C@@]13CCCC[C@H]1[C@@H](C2)N(C)CC3"
DEXTROMETHORPHAN = "COc1ccc2c(c1)[C@]13CCCC[C@@H]1[C@H](C2)N(C)CC3"
C, P = "certain", "possible"
AMBIGUOUS = "ambiguous_structure"

# Structure, and every UN match as (instrument, schedule, entry, certainty, reason). Sources: the schedules'
# READMEs and the protocol's section 4.6; configurations as in the reference tables.
TRUTHS: dict[str, tuple[str, set[tuple[str, str, str, str, str | None]]]] = {
    "dextromethorphan is excepted": (DEXTROMETHORPHAN, set()),
    "dextrorphan is excepted": ("CN1CC[C@@]23CCCC[C@@H]2[C@@H]1Cc1ccc(O)cc13", set()),
    "an ester of dextrorphan goes with it": ("CN1CC[C@@]23CCCC[C@@H]2[C@@H]1Cc1ccc(OC(C)=O)cc13", set()),
    "the ethyl ether of dextrorphan goes with it": ("CN1CC[C@@]23CCCC[C@@H]2[C@@H]1Cc1ccc(OCC)cc13", set()),
    "levomethorphan": (LEVOMETHORPHAN, {("UN-1961", "I", "Levomethorphan", C, None)}),
    "racemethorphan as a racemate": (
        "COc1ccc2c(c1)[C@@]13CCCC[C@H]1[C@@H](C2)N(C)CC3 |&1:8,13,14|",
        {("UN-1961", "I", "Racemethorphan", C, None)},
    ),
    "racemethorphan as two enantiomers": (
        f"{LEVOMETHORPHAN}.{DEXTROMETHORPHAN}",
        {("UN-1961", "I", "Racemethorphan", C, None)},
    ),
    "methorphan drawn flat may be dextromethorphan": (
        "COc1ccc2c(c1)C13CCCCC1C(C2)N(C)CC3",
        {
            ("UN-1961", "I", "Levomethorphan", P, AMBIGUOUS),
            ("UN-1961", "I", "Racemethorphan", P, AMBIGUOUS),
        },
    ),
    "esketamine": ("CN[C@]1(c2ccccc2Cl)CCCCC1=O", set()),
    "cathine": ("C[C@H](N)[C@@H](O)c1ccccc1", {("UN-1971", "III", "cathine", C, None)}),
    "(-)-norpseudoephedrine is not cathine": ("C[C@@H](N)[C@H](O)c1ccccc1", set()),
    "norephedrine": ("C[C@H](N)[C@H](O)c1ccccc1", {("UN-1988", "Table I", "Norephedrine", C, None)}),
    "(1S,2R)-norephedrine is the other half of the racemate": (
        "C[C@@H](N)[C@@H](O)c1ccccc1",
        {("UN-1988", "Table I", "Norephedrine", C, None)},
    ),
    "phenylpropanolamine drawn flat": (
        "CC(N)C(O)c1ccccc1",
        {
            ("UN-1971", "III", "cathine", P, AMBIGUOUS),
            ("UN-1988", "Table I", "Norephedrine", P, AMBIGUOUS),
        },
    ),
    "amphetamine drawn flat": ("CC(N)Cc1ccccc1", {("UN-1971", "II", "amfetamine", C, None)}),
    "amphetamine racemate": ("C[C@H](N)Cc1ccccc1 |&1:1|", {("UN-1971", "II", "amfetamine", C, None)}),
    "one unknown enantiomer of amphetamine": (
        "C[C@H](N)Cc1ccccc1 |o1:1|",
        {("UN-1971", "II", "amfetamine", C, None)},
    ),
    "dexamfetamine": ("C[C@H](N)Cc1ccccc1", {("UN-1971", "II", "dexamfetamine", C, None)}),
    "levamfetamine": ("C[C@@H](N)Cc1ccccc1", {("UN-1971", "II", "levamfetamine", C, None)}),
    "metamfetamine": ("CN[C@@H](C)Cc1ccccc1", {("UN-1971", "II", "metamfetamine", C, None)}),
    "levomethamphetamine": ("CN[C@H](C)Cc1ccccc1", {("UN-1971", "II", "levomethamphetamine", C, None)}),
    "metamfetamine drawn flat": ("CNC(C)Cc1ccccc1", {("UN-1971", "II", "metamfetamine racemate", C, None)}),
    "dexmethylphenidate": (
        "COC(=O)[C@@H](c1ccccc1)[C@H]1CCCCN1",
        {("UN-1971", "II", "methylphenidate", C, None)},
    ),
    "erythro-methylphenidate": (
        "COC(=O)[C@@H](c1ccccc1)[C@@H]1CCCCN1",
        {("UN-1971", "II", "methylphenidate", C, None)},
    ),
    "delta-9-THC, other diastereomer": (
        "CCCCCc1cc(O)c2c(c1)OC(C)(C)[C@@H]1CCC(C)=C[C@H]21",
        {("UN-1971", "II", "dronabinol", C, None)},
    ),
    "delta-9-THC drawn flat": (
        "CCCCCc1cc(O)c2c(c1)OC(C)(C)C1CCC(C)=CC21",
        {("UN-1971", "II", "dronabinol", C, None)},
    ),
    "delta-8-THC drawn flat": (
        "CCCCCc1cc(O)c2c(c1)OC(C)(C)C1CC=C(C)CC21",
        {("UN-1971", "I", "tetrahydrocannabinol, delta-8 isomer", C, None)},
    ),
    "cis-4-methylaminorex": (
        "C[C@@H]1N=C(N)O[C@@H]1c1ccccc1",
        {("UN-1971", "I", "4-methylaminorex", C, None)},
    ),
    "the other cis enantiomer": (
        "C[C@H]1N=C(N)O[C@H]1c1ccccc1",
        {("UN-1971", "I", "4-methylaminorex", C, None)},
    ),
    "cis racemate": (
        "C[C@@H]1N=C(N)O[C@@H]1c1ccccc1 |&1:1,6|",
        {("UN-1971", "I", "4-methylaminorex", C, None)},
    ),
    "trans-4-methylaminorex": ("C[C@@H]1N=C(N)O[C@H]1c1ccccc1", set()),
    "4-methylaminorex drawn flat": (
        "CC1N=C(N)OC1c1ccccc1",
        {("UN-1971", "I", "4-methylaminorex", P, AMBIGUOUS)},
    ),
    "(R)-cathinone by the stereoisomer clause": (
        "C[C@@H](N)C(=O)c1ccccc1",
        {("UN-1971", "I", "cathinone", C, None)},
    ),
    "levomethadone": (
        "CCC(=O)C(C[C@@H](C)N(C)C)(c1ccccc1)c1ccccc1",
        {("UN-1961", "I", "Methadone", C, None)},
    ),
    "cocaine drawn flat": (
        "COC(=O)C1C(OC(=O)c2ccccc2)CC2CCC1N2C",
        {("UN-1961", "I", "Cocaine", P, AMBIGUOUS)},
    ),
    "levopropoxyphene": ("CCC(=O)O[C@@](Cc1ccccc1)(c1ccccc1)[C@@H](C)CN(C)C", set()),
    "(S)-lefetamine": ("CN(C)[C@@H](Cc1ccccc1)c1ccccc1", set()),
    "U-47700 drawn flat": (
        "CN(C)C1CCCCC1N(C)C(=O)c1ccc(Cl)c(Cl)c1",
        {("UN-1961", "I", "U-47700", C, None)},
    ),
}


def summary(matches: tuple[Match, ...]) -> set[tuple[str, str, str, str, str | None]]:
    return {
        (m.instrument, m.schedule, m.entry, m.certainty.value, m.reason.value if m.reason else None)
        for m in matches
        if m.captured
    }


@pytest.mark.parametrize("name", TRUTHS)
def test_stereo_truth(screen: Callable[..., Assessment], name: str) -> None:
    smiles, expected = TRUTHS[name]
    assert summary(screen(smiles, instruments=UN_INSTRUMENTS).matches) == expected


@pytest.mark.parametrize(
    ("smiles", "word"),
    [
        ("C[C@H](N)Cc1ccccc1 |&1:1|", Stereo.RACEMIC),
        ("C[C@H](N)Cc1ccccc1 |o1:1|", Stereo.UNKNOWN_SINGLE),
        ("C[C@H](N)Cc1ccccc1", Stereo.ABSOLUTE),
        ("CC(N)Cc1ccccc1", Stereo.UNDEFINED),
        ("C[C@H](N)C(O)c1ccccc1", Stereo.PARTIAL),
        ("CN(C)CCc1c[nH]c2ccccc12", Stereo.NONE),
        ("C=C[C@H]1CN2CC[C@H]1C[C@H]2[C@H](O)c1ccnc2ccc(OC)cc12", Stereo.ABSOLUTE),
    ],
)
def test_what_a_structure_says_of_its_stereochemistry(screen: Callable[..., Assessment], smiles: str, word: Stereo) -> None:
    identity = screen(smiles).identity
    assert identity is not None
    assert identity.stereo is word


def test_a_stereo_group_keeps_the_relative_configuration_whichever_enantiomer_was_drawn(
    screen: Callable[..., Assessment],
) -> None:
    one = screen("C[C@@H]1N=C(N)O[C@@H]1c1ccccc1 |&1:1,6|").identity
    other = screen("C[C@H]1N=C(N)O[C@H]1c1ccccc1 |&1:1,6|").identity
    assert one is not None
    assert other is not None
    assert one.parent_inchikey == other.parent_inchikey
    assert one.stereo_groups is not None
