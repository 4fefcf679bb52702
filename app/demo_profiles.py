"""What the demonstration's world is made of: countries and laboratories, classes of substances, how each is found and reported.

Everything here is invented to look plausible. No figure describes a real country, laboratory or year.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Country:
    """A country with its share of all reports, its number of laboratories, and subdivisions used where it gives any."""

    code: str
    weight: float
    laboratories: int
    subdivisions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassProfile:
    """How substances of a class appear.

    `weight` is the share of detections, `peak` the month (1 to 12) with most of them and `swing` how much more (0.3: 30 %).
    `contexts`, `forms` and `sold_as` are chosen with equal chance, so a value that stands twice is twice as frequent. `harm` is
    the chance of a case with a sample, `death` that such a case is a death. Purity in percent, lowest and highest.
    """

    weight: float
    peak: int
    swing: float
    contexts: tuple[tuple[str, str | None], ...]
    forms: tuple[str, ...]
    sold_as: tuple[str, ...]
    routes: tuple[str, ...]
    toxidrome: str
    harm: float
    death: float
    purity: tuple[float, float]


COUNTRIES = (
    Country(code="DE", weight=9, laboratories=3, subdivisions=("DE-BE", "DE-HH", "DE-NW", "DE-BY")),
    Country(code="FR", weight=7, laboratories=2),
    Country(code="GB", weight=9, laboratories=3, subdivisions=("GB-ENG", "GB-SCT", "GB-WLS")),
    Country(code="ES", weight=6, laboratories=2),
    Country(code="NL", weight=7, laboratories=2),
    Country(code="SE", weight=5, laboratories=1),
    Country(code="PL", weight=5, laboratories=2),
    Country(code="IT", weight=4, laboratories=1),
    Country(code="AT", weight=4, laboratories=1),
    Country(code="CH", weight=4, laboratories=1),
    Country(code="BE", weight=4, laboratories=1),
    Country(code="FI", weight=3, laboratories=1),
    Country(code="NO", weight=3, laboratories=1),
    Country(code="DK", weight=3, laboratories=1),
    Country(code="IE", weight=3, laboratories=1),
    Country(code="PT", weight=3, laboratories=1),
    Country(code="CZ", weight=3, laboratories=1),
    Country(code="HU", weight=3, laboratories=1),
    Country(code="SI", weight=2, laboratories=1),
    Country(code="EE", weight=3, laboratories=1),
    Country(code="LV", weight=3, laboratories=1),
    Country(code="LT", weight=2, laboratories=1),
    Country(code="GR", weight=2, laboratories=1),
    Country(code="RO", weight=2, laboratories=1),
    Country(code="MT", weight=1, laboratories=1),
    Country(code="US", weight=12, laboratories=3, subdivisions=("US-CA", "US-NY", "US-OH", "US-FL")),
    Country(code="CA", weight=9, laboratories=2, subdivisions=("CA-BC", "CA-ON", "CA-AB")),
    Country(code="MX", weight=2, laboratories=1),
    Country(code="BR", weight=4, laboratories=1),
    Country(code="CL", weight=2, laboratories=1),
    Country(code="CO", weight=2, laboratories=1),
    Country(code="AR", weight=2, laboratories=1),
    Country(code="AU", weight=6, laboratories=2, subdivisions=("AU-NSW", "AU-VIC", "AU-QLD")),
    Country(code="NZ", weight=3, laboratories=1),
    Country(code="JP", weight=3, laboratories=1),
    Country(code="KR", weight=2, laboratories=1),
    Country(code="SG", weight=2, laboratories=1),
    Country(code="TH", weight=2, laboratories=1),
    Country(code="ZA", weight=2, laboratories=1),
    Country(code="IL", weight=2, laboratories=1),
)

_POLICE = ("seizure", "police")
_CUSTOMS = ("seizure", "customs")
_POSTAL = ("seizure", "postal")
_PRISON = ("seizure", "prison")
_CHECKING = ("collected", "drug_checking")
_EVENT = ("collected", "event")
_ONLINE = ("purchase", "online_clearnet")
_CLINICAL = ("biological", "clinical")
_POST_MORTEM = ("biological", "post_mortem")
_DRIVING = ("biological", "impaired_driving")

CLASSES: dict[str, ClassProfile] = {
    "cathinone": ClassProfile(
        weight=22, peak=7, swing=0.35, contexts=(_POLICE, _POLICE, _CUSTOMS, _POSTAL, _CHECKING, _CHECKING, _EVENT, _CLINICAL),
        forms=("crystal", "crystal", "powder", "powder", "tablet"), sold_as=("MDMA", "mephedrone", "3-MMC", "cocaine"),
        routes=("nasal", "nasal", "oral", "intravenous"), toxidrome="sympathomimetic", harm=0.03, death=0.12, purity=(35, 98),
    ),
    "phenethylamine": ClassProfile(
        weight=12, peak=8, swing=0.5, contexts=(_CHECKING, _EVENT, _POLICE, _POSTAL, _ONLINE),
        forms=("powder", "tablet", "blotter", "crystal"), sold_as=("2C-B", "LSD", "MDMA"),
        routes=("oral", "oral", "sublingual"), toxidrome="serotonergic", harm=0.02, death=0.1, purity=(5, 95),
    ),
    "cannabinoid": ClassProfile(
        weight=17, peak=11, swing=0.2, contexts=(_POLICE, _PRISON, _PRISON, _POSTAL, _CLINICAL, _CUSTOMS),
        forms=("herbal_sprayed", "herbal_sprayed", "infused_paper", "e_liquid", "powder"), sold_as=("THC", "cannabis", "spice"),
        routes=("smoked", "smoked", "vaporised"), toxidrome="cannabinoid", harm=0.04, death=0.15, purity=(0.5, 12),
    ),
    "benzodiazepine": ClassProfile(
        weight=13, peak=2, swing=0.1, contexts=(_POLICE, _CUSTOMS, _POSTAL, _POST_MORTEM, _DRIVING, _CHECKING),
        forms=("tablet", "tablet", "falsified_medicine", "powder"), sold_as=("diazepam", "alprazolam", "alprazolam"),
        routes=("oral",), toxidrome="sedative", harm=0.04, death=0.35, purity=(0.5, 3),
    ),
    "dissociative": ClassProfile(
        weight=8, peak=8, swing=0.3, contexts=(_CHECKING, _POLICE, _POSTAL, _CUSTOMS, _DRIVING),
        forms=("powder", "crystal", "powder"), sold_as=("ketamine", "ketamine"), routes=("nasal", "nasal", "intramuscular"),
        toxidrome="dissociative", harm=0.03, death=0.1, purity=(60, 98),
    ),
    "tryptamine": ClassProfile(
        weight=6, peak=9, swing=0.4, contexts=(_CHECKING, _POSTAL, _ONLINE, _EVENT), forms=("powder", "blotter", "edible"),
        sold_as=("psilocybin", "DMT", "LSD"), routes=("oral", "vaporised"), toxidrome="hallucinogenic", harm=0.01, death=0.05,
        purity=(70, 99),
    ),
    "fentanyl": ClassProfile(
        weight=11, peak=1, swing=0.15, contexts=(_POLICE, _POLICE, _CHECKING, _POST_MORTEM, _POST_MORTEM, _CUSTOMS),
        forms=("powder", "powder", "falsified_medicine", "residue"), sold_as=("heroin", "heroin", "oxycodone", "down"),
        routes=("intravenous", "smoked", "nasal"), toxidrome="opioid", harm=0.09, death=0.55, purity=(0.5, 12),
    ),
    "nitazene": ClassProfile(
        weight=7, peak=12, swing=0.1, contexts=(_POLICE, _POST_MORTEM, _POST_MORTEM, _CLINICAL, _CHECKING, _POSTAL),
        forms=("powder", "falsified_medicine", "falsified_medicine", "tablet", "nasal_spray"),
        sold_as=("oxycodone", "heroin", "alprazolam"), routes=("oral", "intravenous", "nasal"), toxidrome="opioid",
        harm=0.12, death=0.6, purity=(0.3, 6),
    ),
    "other": ClassProfile(
        weight=4, peak=5, swing=0.1, contexts=(_POSTAL, _ONLINE, _CUSTOMS, _CHECKING), forms=("powder", "plant", "liquid"),
        sold_as=("research chemical",), routes=("oral",), toxidrome="mixed", harm=0.01, death=0.1, purity=(20, 95),
    ),
}  # fmt: skip

# classes of the shipped reference list
CLASS_OF = {
    "synthetic cathinone": "cathinone",
    "phenethylamine": "phenethylamine",
    "aminoindane": "phenethylamine",
    "piperazine": "phenethylamine",
    "synthetic cannabinoid": "cannabinoid",
    "semi-synthetic cannabinoid": "cannabinoid",
    "designer benzodiazepine": "benzodiazepine",
    "other sedative": "benzodiazepine",
    "arylcyclohexylamine": "dissociative",
    "diarylethylamine": "dissociative",
    "tryptamine": "tryptamine",
    "lysergamide": "tryptamine",
    "plant-based / lysergamide": "tryptamine",
    "nitazene opioid": "nitazene",
    "fentanyl-type": "fentanyl",
    "other opioid": "fentanyl",
    "plant-based": "other",
}

# scheduled substances that still circulate, by the name of their entry
FROM_SCHEDULES = {
    "fentanyl": (
        "Fentanyl", "Acetylfentanyl", "Furanylfentanyl", "Carfentanil", "para-Fluorofentanyl", "Orthofluorofentanyl",
        "Valerylfentanyl", "Cyclopropylfentanyl", "Methoxyacetylfentanyl", "Brorphine", "U-47700", "2-Methyl-AP-237",
    ),
    "nitazene": (
        "Protonitazene", "Metonitazene", "Isotonitazene", "Etonitazepyne", "N-Pyrrolidino protonitazene",
        "N-Pyrrolidino metonitazene", "N-Pyrrolidino isotonitazene", "N-Desethyl isotonitazene", "N-Desethyl etonitazene",
        "Etonitazepipne", "Butonitazene",
    ),
    "cathinone": ("mephedrone", "methylone", "eutylone", "3-methylmethcathinone", "3-chloromethcathinone", "4-CMC",
                  "alpha-PVP", "alpha-PHP", "N-ethylhexedrone", "dipentylone"),
    "cannabinoid": ("MDMB-4en-PINACA", "ADB-BUTINACA", "5F-MDMB-PICA", "4F-MDMB-BINACA", "hexahydrocannabinol",
                    "AB-FUBINACA"),
    "benzodiazepine": ("bromazolam", "etizolam", "flualprazolam", "clonazolam", "flubromazolam"),
    "dissociative": ("methoxetamine", "3-methoxyphencyclidine", "2-fluorodeschloroketamine"),
    "phenethylamine": ("25B-NBOMe", "25C-NBOMe", "4-fluoroamphetamine"),
}  # fmt: skip

# the class that emerges: months before now in which each of its substances first appears, the earliest first
NITAZENE_ARRIVALS = {
    "Isotonitazene": 34,
    "Metonitazene": 31,
    "Protonitazene": 24,
    "Butonitazene": 22,
    "Etonitazepyne": 20,
    "N-Pyrrolidino protonitazene": 16,
    "N-Pyrrolidino metonitazene": 14,
    "N-Desethyl isotonitazene": 13,
    "N-Desethyl etonitazene": 10,
    "Etonitazepipne": 9,
    "flunitazene": 18,
    "metodesnitazene": 15,
    "N-desethyl protonitazene": 8,
    "N-Pyrrolidino isotonitazene": 6,
    "methylenedioxynitazene": 4,
    "ethyleneoxynitazene": 2,
}

# found beside others, from the shipped list of medicines and cutting agents
CUTTING_AGENTS = ("caffeine", "paracetamol", "lidocaine", "phenacetin", "levamisole", "mannitol")
OPIOID_CUTS = ("xylazine", "medetomidine", "caffeine", "paracetamol")

# groups of isomers that a method without a standard cannot tell apart
ISOMER_SETS = (
    ("2-methylmethcathinone", "3-methylmethcathinone", "mephedrone"),
    ("2-chloromethcathinone", "3-chloromethcathinone", "4-CMC"),
    ("Orthofluorofentanyl", "para-Fluorofentanyl"),
)

CLASS_LABELS = ("Fentanyl or Analog", "No Library Match", "Synthetic cannabinoid, not identified")
