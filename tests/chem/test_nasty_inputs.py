"""Texts that a screen will meet: each is refused with its code and a hint, or read with a remark. None
raises anything else.
"""

from __future__ import annotations

import pytest

from chem.engine import Engine
from chem.errors import StructureError
from chem.inputs import detect_format
from chem.values import Structure, StructureFormat

FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"
INCHI = "InChI=1S/C9H13N/c1-8(10)7-9-5-3-2-4-6-9/h2-6,8H,7,10H2,1H3"
MOLFILE = """
  test

  3  2  0  0  0  0            999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 C   0  0
    2.2000    1.2000    0.0000 O   0  0
  1  2  1  0
  2  3  1  0
M  END
"""
QUERY_MOLFILE = MOLFILE.replace(" 2  3  1  0", " 2  3  8  0").replace("  2  3  8  0", "  2  3  8  0")
RGROUP_MOLFILE = MOLFILE.replace("2.2000    1.2000    0.0000 O ", "2.2000    1.2000    0.0000 R#").replace(
    "M  END", "M  RGP  1   3   1\nM  END"
)
LIST_MOLFILE = MOLFILE.replace("2.2000    1.2000    0.0000 O ", "2.2000    1.2000    0.0000 L ").replace(
    "M  END", "M  ALS   3  2 F N   O   \nM  END"
)
POLYMER_MOLFILE = MOLFILE.replace("M  END", "M  STY  1   1 SRU\nM  SAL   1  1   2\nM  SBL   1  2   1   2\nM  SMT   1 n\nM  END")
EMPTY_MOLFILE = "\n  test\n\n  0  0  0  0  0  0            999 V2000\nM  END\n"

S, I, M = StructureFormat.SMILES, StructureFormat.INCHI, StructureFormat.MOLFILE  # noqa: E741
U, E, L, D = "structure-unreadable", "structure-empty", "structure-too-large", "structure-undefined"

# Field, text, code, a word of the detail.
REFUSED: list[tuple[StructureFormat, str, str, str]] = [
    (S, "", E, "white space"),
    (S, "   ", E, "white space"),
    (S, "\n\t\n", E, "white space"),
    (S, "\ufeff\u200b", E, "white space"),
    (I, "", E, "white space"),
    (M, " \n \n", E, "white space"),
    (M, EMPTY_MOLFILE, E, "no atoms"),
    (S, FENTANYL.replace("1)C1", "1)\nC1"), U, "line break"),
    (S, FENTANYL.replace("1)C1", "1) C1"), U, "white space"),
    (S, FENTANYL.replace("1)C1", "1)\tC1"), U, "white space"),
    (S, FENTANYL.replace("1)C1", "1)\u00a0C1"), U, "white space"),
    (S, FENTANYL.replace("1)C1", "1)\r\nC1"), U, "line break"),
    (S, FENTANYL + " fentanyl", U, "name"),
    (S, "\u0421CO", U, "U+0421"),
    (S, "CCO\u0421", U, "U+0421"),
    (S, "CC\u2212O", U, "U+2212"),
    (S, "C\u2013C", U, "U+2013"),
    (S, "CCO\x00", U, "U+0000"),
    (S, "CC\x1bO", U, "U+001B"),
    (S, "C\u00adC", U, "U+00AD"),
    (S, "\uff23\uff23\uff2f", U, "U+FF23"),
    (S, "CC\u0301O", U, "U+"),
    (S, "\U0001f600", U, "U+1F600"),
    (S, "c1ccc", U, "ring 1"),
    (S, "C1CC2CC1", U, "ring 2"),
    (S, "C%12CC", U, "ring 12"),
    (S, "CC(C", U, "branch"),
    (S, "CC)C", U, "branch"),
    (S, "C[C", U, "bracket"),
    (S, "CC]", U, "bracket"),
    (S, "C?C", U, "no meaning"),
    (S, "CXC", U, "name"),
    (S, "CC(C)(C)(C)C", U, "valence"),
    (S, "FC(F)(F)(F)F", U, "valence"),
    (S, "c1cccc1", U, "kekulize"),
    (S, "C==C", U, "grammar"),
    (S, "C%", U, "cut off"),
    (S, ".", U, "grammar"),
    (S, "C(", U, "branch"),
    (S, "(C)", U, "grammar"),
    (S, "C#", U, "grammar"),
    (S, "[Xx]", U, "grammar"),
    (S, "[]", U, "grammar"),
    (S, "CCO |garbage|", U, "CXSMILES"),
    (S, "CCO |", U, "white space"),
    (S, "CCO|&1:1|", U, "blank"),
    (S, "CCO |&1:1| name", U, "white space"),
    (S, "PJMPHNIQZUBGLI-UHFFFAOYSA-N", U, "InChIKey"),
    (S, "InChIKey=PJMPHNIQZUBGLI-UHFFFAOYSA-N", U, "InChIKey"),
    (S, "437-38-7", U, "CAS"),
    (S, INCHI, U, "InChI"),
    (S, INCHI.lower(), U, "InChI"),
    (S, MOLFILE, U, "molfile"),
    (S, "CC>>CO", U, "reaction"),
    (S, "CC>O>CO", U, "reaction"),
    (S, "[C,N]C", U, "SMARTS"),
    (S, "[#6]C", U, "SMARTS"),
    (S, "[!C]C", U, "SMARTS"),
    (S, "[C;H1]C", U, "SMARTS"),
    (S, "[$(CC)]", U, "SMARTS"),
    (S, "[C&H1]", U, "SMARTS"),
    (S, "fentanyl", U, "name"),
    (S, "morphine sulfate", U, "white space"),
    (S, "4-MMC", U, "name"),
    (S, "1-(4-bromo-2,5-dimethoxyphenyl)propan-2-amine", U, "name"),
    (S, "C26H28N2O2X", U, "name"),
    (S, "[R1]CC", D, "R group"),
    (S, "CC[R]", D, "R group"),
    (S, "C[R#]", D, "R group"),
    (S, "*CC", D, "place-holder"),
    (S, "[*]CC", D, "place-holder"),
    (S, "C[*:1]", D, "place-holder"),
    (S, "C~C", D, "query"),
    (S, "C1CCCCC1 |LN:0:1.3|", D, "link node"),
    (S, "CC |Sg:n:0,1:n:ht|", D, "polymer"),
    (S, "*CC |$_R1;;$|", D, "place-holder"),
    (S, "CO*.c1ccccc1 |m:2:" + ".".join(["3"] * 33) + "|", D, "attachment"),
    (S, "C" * 251, L, "251"),
    (S, "C" * 4_001, L, "characters"),
    (S, "O." * 24 + "O", L, "fragments"),
    (S, "C1CC1" * 61, L, "rings"),
    (I, "InChI=" + "C" * 8_000, L, "characters"),
    (M, "x" * 200_001, L, "characters"),
    (I, "1S/C9H13N/c1-8(10)7-9-5-3-2-4-6-9/h2-6,8H,7,10H2,1H3", U, "InChI="),
    (I, INCHI.replace("InChI", "INCHI"), U, "InChI="),
    (I, INCHI + " amphetamine", U, "white space"),
    (I, INCHI + "\namphetamine", U, "another line"),
    (I, INCHI.replace("C9H13N", "C9H15N"), U, "contradict"),
    (I, INCHI[:40], U, "contradict"),
    (I, "InChI=1S/", U, "contradict"),
    (I, "CCO", U, "InChI="),
    (I, "PJMPHNIQZUBGLI-UHFFFAOYSA-N", U, "InChIKey"),
    (M, FENTANYL, U, "counts line"),
    (M, INCHI, U, "InChI"),
    (M, "437-38-7", U, "CAS"),
    (M, MOLFILE.replace("M  END", ""), U, "M  END"),
    (M, MOLFILE.replace("V2000", ""), U, "counts line"),
    (M, MOLFILE.replace("  3  2  0", "  9  2  0"), U, "molfile"),
    (M, MOLFILE.replace(" O ", " Qq"), U, "molfile"),
    (M, MOLFILE.replace("0.0000 C ", "0.0000 \u0421 ", 1), U, "U+0421"),
    (M, QUERY_MOLFILE, D, "query"),
    (M, RGROUP_MOLFILE, D, ""),
    (M, LIST_MOLFILE, D, ""),
    (M, POLYMER_MOLFILE, D, "polymer"),
]

# Field, text, formula of the parent, codes of the remarks that must be there.
READ: list[tuple[StructureFormat, str, str, set[str]]] = [
    (S, " " + FENTANYL + "\n", "C22H28N2O", {"text-folded"}),
    (S, "\ufeff" + FENTANYL, "C22H28N2O", {"text-folded"}),
    (S, FENTANYL[:8] + "\u200b" + FENTANYL[8:], "C22H28N2O", {"text-folded"}),
    (S, FENTANYL + "\u00a0", "C22H28N2O", {"text-folded"}),
    (S, "PCP", "CH6P2", {"may-be-a-name"}),
    (S, "[CH3:1][OH:2]", "CH4O", {"atom-maps-cleared"}),
    (S, "CC[CH2]", "C3H7", {"radical"}),
    (S, "[C]", "C", {"radical"}),
    (S, "CC=[C@]=CC", "C5H8", {"stereo-not-used"}),
    (S, "C[C@@H](C)O", "C3H8O", {"stereo-not-used"}),
    (S, "CCO |&1:1|", "C2H6O", {"stereo-group-lost"}),
    (S, "C[C@H](N)Cc1ccccc1 |&1:1|", "C9H13N", set()),
    (S, "[2H]C([2H])([2H])NC(C)Cc1ccccc1", "C10H15N", {"isotopically-labelled"}),
    (S, "N[Pt](N)(Cl)Cl", "H4Cl2N2Pt", {"metal", "metal-complex"}),
    (S, "[Na+].[Cl-]", "ClNa", {"only-counter-ions"}),
    (S, "[H][H]", "H2", set()),
    (S, "[2H][2H]", "H2", {"isotopically-labelled"}),
    (S, "[He]", "He", set()),
    (S, "OC1(O)CCNCC1.Cl", "C5H11NO2", set()),
    (S, "C" * 250, "C250H502", set()),
    (S, ("C1CC1" * 60), "C180H242", set()),
    (S, "[N-]=[N+]=NCC", "C2H5N3", set()),
    (S, "N#N=NCC", "C2H5N3", set()),
    (S, "B1B2B3B4B1B2B3B4", "", {"metal"}),
    (I, INCHI, "C9H13N", set()),
    (I, "  " + INCHI + "\r\n", "C9H13N", {"text-folded"}),
    (I, INCHI + "\nAuxInfo=1/0/N:1", "C9H13N", {"auxinfo-ignored"}),
    (I, "InChI=1/C2H6O/c1-2-3/h3H,2H2,1H3", "C2H6O", {"non-standard-inchi"}),
    (M, MOLFILE, "C2H6O", set()),
    (M, MOLFILE.replace("\n", "\r\n"), "C2H6O", {"text-folded"}),
    (M, MOLFILE.replace("\n", "\r"), "C2H6O", {"text-folded"}),
    (M, MOLFILE + "$$$$\n" + MOLFILE, "C2H6O", {"first-record-only"}),
    (M, "\u00e9thanol" + MOLFILE, "C2H6O", {"text-folded"}),
]


@pytest.mark.parametrize(("form", "text", "code", "word"), REFUSED, ids=lambda v: str(v)[:24])
def test_refused_with_code_and_hint(engine: Engine, form: StructureFormat, text: str, code: str, word: str) -> None:
    with pytest.raises(StructureError) as caught:
        engine.identify(Structure(format=form, text=text))
    assert caught.value.code == code
    assert word.lower() in caught.value.detail.lower()
    assert FENTANYL not in caught.value.detail, "a refusal never repeats the structure"


@pytest.mark.parametrize(
    ("form", "text", "formula", "codes"), READ, ids=lambda v: str(sorted(v) if isinstance(v, set) else v)[:24]
)
def test_read_with_remarks(engine: Engine, form: StructureFormat, text: str, formula: str, codes: set[str]) -> None:
    identity = engine.identify(Structure(format=form, text=text))
    assert not formula or identity.formula == formula
    assert codes <= {w.code for w in identity.warnings}


@pytest.mark.parametrize(("text", "form"), [(FENTANYL, S), (INCHI, I), (MOLFILE, M), ("  " + INCHI, I), ("CCO |&1:1|", S)])
def test_a_pasted_text_is_recognised(text: str, form: StructureFormat) -> None:
    assert detect_format(text) is form


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("PJMPHNIQZUBGLI-UHFFFAOYSA-N", "InChIKey"),
        ("437-38-7", "CAS"),
        ("fentanyl", "name"),
        ("CC>>CO", "reaction"),
        ("[C,N]", "SMARTS"),
        ("[R1]C", "R group"),
        ("  ", "white space"),
    ],
)
def test_a_pasted_text_that_is_no_structure_says_where_it_belongs(text: str, word: str) -> None:
    with pytest.raises(StructureError) as caught:
        detect_format(text)
    assert word in caught.value.detail


def test_methoxybenzene_with_an_open_position_is_one_substance(engine: Engine) -> None:
    open_position = Structure(format=S, text="CO*.c1ccccc1 |m:2:3.4.5.6.7.8|")
    (only,) = engine.candidates_of(open_position)
    assert engine.identify(only).formula == "C7H8O"
    with pytest.raises(StructureError) as caught:
        engine.identify(open_position)
    assert caught.value.code == D
