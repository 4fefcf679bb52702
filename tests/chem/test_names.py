"""A label comes out as the right substance, the right class, or unresolved: never as a wrong one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chem.engine import Engine
from chem.names import NameTable, Outcome, fold
from chem.names_keys import derive


@pytest.fixture(scope="module")
def table() -> NameTable:
    return NameTable()


# expected parent InChIKey first blocks: PubChem compound records of the named substances
FENTANYL, HEROIN, GHB, MDMA = "PJMPHNIQZUBGLI", "GVGLGOZIDCSQPN", "SJZRECIVHVDYJC", "SHXWCVYOXRDMCX"
COCAINE, CAFFEINE, METHAMPHETAMINE, PFF = "ZPUCINDJVBIVPJ", "RYYVLZVUVIJVGH", "MYWUZJCMWCOHBA", "KXUBAVLIJFTASZ"


@pytest.mark.parametrize(
    ("label", "connectivity"),
    [
        ("Fentanyl HCl", FENTANYL),
        ("fentanyl  hydrochloride", FENTANYL),
        ("FENTANYL CITRATE", FENTANYL),
        ("Heroin Base", HEROIN),
        ("Heroin HCl", HEROIN),
        ("Heroin (Trace)", HEROIN),
        ("diamorphine", HEROIN),
        ("GHB (Wet)", GHB),
        ("sodium oxybate", GHB),
        ("MDMA HCl", MDMA),
        ("3,4-methylenedioxymethamphetamine", MDMA),
        ("Crack Cocaine", COCAINE),
        ("Cocaine Base", COCAINE),
        ("Caffeine", CAFFEINE),
        ("Methamphetamine HCl", METHAMPHETAMINE),
        ("4-FF", PFF),
        ("para fluoro fentanyl", PFF),
        ("p-fluorofentanyl", PFF),
        ("4-fluorofentanyl", PFF),
    ],
)
def test_a_definite_label_is_one_substance(table: NameTable, label: str, connectivity: str) -> None:
    found = table.resolve(label)
    assert found.outcome is Outcome.SUBSTANCE, found.reason
    key = table.inchikey_of(found.substances[0].key)
    assert key is not None
    assert key[:14] == connectivity


@pytest.mark.parametrize(
    ("label", "group"),
    [
        ("Fentanyl or Analog", "fentanyl_analogue"),
        ("Fentanyl Analogue", "fentanyl_analogue"),
        ("Benzodiazepine", "benzodiazepine_type"),
        ("2C-Family", "phenethylamine"),
        ("Opiate NOS", "other_opioid"),
        ("bath salts", "synthetic_cathinone"),
    ],
)
def test_a_class_label_is_the_class(table: NameTable, label: str, group: str) -> None:
    found = table.resolve(label)
    assert (found.outcome, found.group) == (Outcome.CLASS, group)


@pytest.mark.parametrize(
    "label",
    [
        "Uncertain Match", "No Library Match", "Sugar Uncertain", "Sugar Possibly Mannitol", "Uncertain Carbohydrate",
        "MDMA Methylene Analog", "Negative", "duster", "others", "morphine no 6mam", "possibly fentanyl", "heroin-like",
        "unknown benzo derivative of caffeine", "OPIATE IN HOSP?",
    ],
)  # fmt: skip
def test_a_doubtful_label_is_no_substance(table: NameTable, label: str) -> None:
    assert table.resolve(label).outcome is Outcome.NONE


@pytest.mark.parametrize(
    ("label", "names"),
    [
        ("Heroin/Morph/Codeine", {"Heroin", "Morphine", "Codeine"}),
        # with the stroke lost this would read methamphetamine
        ("Meth/Amphetamine", {"metamfetamine", "amfetamine"}),
        ("fentanyl and heroin", {"Fentanyl", "Heroin"}),
        ("fluorofentanyl", {"Orthofluorofentanyl", "meta-fluorofentanyl", "para-Fluorofentanyl"}),
    ],
)
def test_a_label_with_several_meanings_offers_them_all(table: NameTable, label: str, names: set[str]) -> None:
    found = table.resolve(label)
    assert found.outcome is Outcome.CANDIDATES
    assert {substance.name for substance in found.substances} == names


def test_a_near_spelling_is_offered_and_never_taken(table: NameTable) -> None:
    found = table.resolve("isotonitazen")
    assert found.outcome is Outcome.NONE
    assert [s.name.lower() for s in found.suggestions][:1] == ["isotonitazene"]


def test_cas_numbers_resolve(table: NameTable) -> None:
    assert table.resolve_cas("437-38-7").substances[0].name == "Fentanyl"
    assert table.resolve_cas("0-00-0").outcome is Outcome.NONE


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("p-fluorofentanyl", "para-Fluorofentanyl"),
        ("α-PVP", "alpha-PVP"),
        ("4'-methyl-α-PHP", "4 ′ methyl alpha PHP".replace(" ′ ", "′-").replace(" ", "-")),
        ("N,N-DMT", "n n dmt"),
        ("MDMB–4en–PINACA", "mdmb-4en-pinaca"),
    ],
)
def test_spellings_of_one_name_fold_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(
    ("one", "other"), [("meth/amphetamine", "methamphetamine"), ("(+)-x", "(-)-x"), ("2-FA", "3-FA"), ("o-xylene", "p-xylene")]
)
def test_different_names_do_not_fold_alike(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@given(st.text(max_size=60))
def test_folding_is_stable_and_resolving_never_fails(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert NameTableOnce.table.resolve(text).outcome in Outcome


class NameTableOnce:
    table = NameTable()


def test_every_shipped_name_resolves_to_its_own_substance_or_lists_it(table: NameTable) -> None:
    wrong = []
    for key, substance in table.substances.items():
        found = table.resolve(substance.name)
        keys = {table.inchikey_of(s.key) or s.key for s in found.substances}
        if (table.inchikey_of(key) or key) not in keys:
            wrong.append((substance.name, found))
    assert wrong == []


def test_the_derived_keys_are_those_of_the_engine(table: NameTable) -> None:
    """Re-proves the shipped `keys.csv` with this version of the engine."""
    assert [
        (key, inchikey, table.inchikey_of(key))
        for key, inchikey in derive(Engine.load(), table)
        if inchikey != table.inchikey_of(key)
    ] == []


def test_cutting_agents_and_foods_are_ordinary_and_drugs_are_not(table: NameTable) -> None:
    def ordinary(name: str) -> bool:
        return table.resolve(name).substances[0].key in table.ordinary

    assert all(map(ordinary, ("caffeine", "mannitol", "plain flour", "paracetamol", "polyethylene glycol", "ibuprofen")))
    assert not any(map(ordinary, ("fentanyl", "xylazine", "tramadol", "ketamine", "opium", "cocaine", "isotonitazene")))
