"""Groups proposed by structure agree with the class that the reference data give."""

from __future__ import annotations

import csv

import pytest

from chem.catalog import DATA
from chem.engine import Engine
from chem.groups import load_groups
from chem.parsing import read_smiles
from chem.values import Structure, StructureFormat

# Class of the reference table to the chemical groups that may be proposed first.
CLASSES = {
    "synthetic cathinone": {"synthetic_cathinone"},
    "synthetic cannabinoid": {"synthetic_cannabinoid"},
    "semi-synthetic cannabinoid": {"semi_synthetic_cannabinoid"},
    "phenethylamine": {"phenethylamine"},
    "tryptamine": {"tryptamine"},
    "lysergamide": {"other"},
    "plant-based / lysergamide": {"plant_based"},
    "arylcyclohexylamine": {"phencyclidine_type"},
    "diarylethylamine": {"other"},
    "designer benzodiazepine": {"benzodiazepine_type"},
    "nitazene opioid": {"nitazene"},
    "fentanyl-type": {"fentanyl_analogue"},
    "other opioid": {"other_opioid"},
    "plant-based": {"plant_based"},
    "piperazine": {"piperazine"},
    "aminoindane": {"aminoindane"},
    "other sedative": set(),
}


def rows() -> list[dict[str, str]]:
    with (DATA / "reference" / "nps_uncontrolled.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", rows(), ids=lambda r: r["name"])
def test_the_first_proposal_is_the_class_of_the_reference_table(engine: Engine, row: dict[str, str]) -> None:
    identity = engine.identify(Structure(format=StructureFormat.SMILES, text=row["smiles"]))
    proposed = engine.groups_of(identity)
    first = {proposed[0].chemical_group} if proposed else set()
    assert first == CLASSES[row["nps_class"]], proposed


@pytest.mark.parametrize("rule", load_groups(), ids=lambda r: r.proposal.rule)
def test_hit_and_near_miss_of_every_group_rule(rule) -> None:
    hit, near_miss = read_smiles(rule.hit), read_smiles(rule.near_miss)
    assert hit is not None
    assert near_miss is not None
    assert rule.fits(hit)
    assert not rule.fits(near_miss)


# Ordinary medicines and cutting agents must not be proposed as new psychoactive substances.
ORDINARY = (
    "paracetamol",
    "caffeine",
    "lidocaine",
    "ibuprofen",
    "metformin",
    "sildenafil",
    "glucose",
    "quinine",
)


@pytest.mark.parametrize("name", ORDINARY)
def test_cutting_agents_have_no_group(engine: Engine, name: str) -> None:
    with (DATA / "reference" / "medicines_negative.csv").open(encoding="utf-8") as file:
        (smiles,) = [row["smiles"] for row in csv.DictReader(file) if row["name"] == name]
    assert engine.groups_of(engine.identify(Structure(format=StructureFormat.SMILES, text=smiles))) == ()
