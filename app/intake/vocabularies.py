"""The controlled vocabularies of a report (domain guide, section 4), versioned as one.

`unknown` is a value; an absent field means "not asked".
"""

from __future__ import annotations

VOCABULARY_VERSION = "2026-11.2"

CONTEXTS: dict[str, tuple[str, ...]] = {
    "seizure": ("police", "customs", "postal", "border", "prison", "other_law_enforcement"),
    "collected": ("drug_checking", "amnesty_bin", "found", "patient_owned", "health_service", "event"),
    "purchase": ("online_clearnet", "online_darknet", "social_media", "shop", "street_test_purchase"),
    "biological": (
        "post_mortem",
        "clinical",
        "impaired_driving",
        "facilitated_crime",
        "custody",
        "workplace",
        "other",
    ),
    "production_site": ("laboratory", "storage", "dump"),
    "wastewater": (),
    "other": (),
    "unknown": (),
}
MATRICES = (
    "blood_peripheral", "blood_cardiac", "blood_unspecified", "serum", "plasma", "urine", "vitreous", "oral_fluid", "hair",
    "liver", "gastric", "dried_blood_spot", "other",
)  # fmt: skip
FORMS = (
    "powder", "crystal", "tablet", "capsule", "liquid", "e_liquid", "herbal_sprayed", "plant", "resin", "blotter",
    "infused_paper", "edible", "nasal_spray", "patch", "residue", "falsified_medicine", "other", "unknown",
)  # fmt: skip
UNITS = ("kg", "g", "mg", "L", "mL", "{tablet}", "{unit}")
BASES = ("net", "gross", "estimate")
CONCENTRATION_UNITS = ("ng/mL", "ng/g")
PURITY_AS = ("base", "salt")
RELATIONS = ("parent", "metabolite", "impurity", "artefact", "internal_standard")
ABUNDANCES = ("primary", "minor", "trace")
SCHYMANSKI = ("1", "2a", "2b", "2", "3", "4", "5")
REFERENCE_MATERIALS = ("certified", "in_house", "other_lab_data", "library_only", "none")
ISOMERS_EXCLUDED = ("yes", "no", "na")
ROUTES = (
    "oral", "nasal", "smoked", "vaporised", "intravenous", "intramuscular", "subcutaneous", "sublingual", "rectal",
    "transdermal", "unknown",
)  # fmt: skip
SERIOUSNESS = (
    "death", "life_threatening", "intensive_care", "hospital_or_emergency_treatment", "disability", "dependence",
    "congenital", "other_important",
)  # fmt: skip
ROLES = ("sole_cause", "combined_cause", "contributory", "incidental", "undetermined")
EXPOSURE_EVIDENCE = ("biological", "own_product", "same_batch", "self_report")
INTENTS = ("recreational", "unknowing", "self_harm", "self_treatment", "assault", "unknown")
OUTCOMES = ("recovered", "recovering", "sequelae", "died", "unknown")
TOXIDROMES = (
    "opioid", "sympathomimetic", "serotonergic", "sedative", "hallucinogenic", "dissociative", "cannabinoid",
    "anticholinergic", "mixed",
)  # fmt: skip
AGE_BANDS = ("0-9", "10-17", "18-24", "25-34", "35-44", "45-54", "55-64", "65+", "unknown")
SEXES = ("female", "male", "other", "unknown")
NALOXONE = ("given", "not_given", "unknown")
INCIDENT_KINDS = ("seizure", "stopped_shipment", "suspicious_order", "diversion", "theft", "illicit_lab")
INDUSTRY_INCIDENT_KINDS = ("suspicious_order", "theft", "stopped_shipment")
TRANSPORT_MODES = ("post_or_parcel", "air_cargo", "air_passenger", "sea", "road", "rail", "person", "other", "unknown")
SALE_CHANNELS = ("wholesale", "retail", "online_clearnet", "online_darknet", "social_media", "street", "other", "unknown")
TLP = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")
CONFIDENCE = ("confirmed", "probable", "tentative", "screening")
EFFECT_GROUPS = (
    "stimulant", "synthetic_cannabinoid", "classic_hallucinogen", "opioid", "dissociative", "sedative_hypnotic", "other",
    "unassigned",
)  # fmt: skip
CHEMICAL_GROUPS = (
    "aminoindane", "phencyclidine_type", "phenethylamine", "piperazine", "plant_based", "synthetic_cannabinoid",
    "semi_synthetic_cannabinoid", "synthetic_cathinone", "tryptamine", "benzodiazepine_type", "fentanyl_analogue", "nitazene",
    "other_opioid", "other",
)  # fmt: skip
ICD_10 = frozenset(
    {"T40.4", "T40.6", "T40.7", "T40.9", "T42.4", "T43.6", "T43.8", "T43.9"}
    | {"X41", "X42", "X61", "X62", "Y11", "Y12"}
    | {f"F{number}" for number in range(11, 20)}
)
ICD_11 = frozenset(["6C42", "6C43", "6C44", "6C46", "6C47", "6C49", "6C4D", "6C4E", "6C4F", "6C4G", "NE60"])

CATEGORY_A = frozenset({"ftir", "ms", "hrms", "msms", "nmr", "raman", "xrd"})
CATEGORY_B = frozenset({"gc", "lc", "ce", "ims", "tlc", "sfc", "microcrystal", "uv_vis_full", "macro_micro_plant"})
CATEGORY_C = frozenset({"colour_test", "immunoassay", "fluorescence", "melting_point", "pharmaceutical_identifier", "test_strip"})
TECHNIQUES = CATEGORY_A | CATEGORY_B | CATEGORY_C
COMBINED: dict[str, tuple[str, ...]] = {
    "gc-ms": ("gc", "ms"),
    "gc-msms": ("gc", "msms"),
    "gc-hrms": ("gc", "hrms"),
    "lc-ms": ("lc", "ms"),
    "lc-msms": ("lc", "msms"),
    "lc-hrms": ("lc", "hrms"),
    "lc-qtof": ("lc", "hrms"),
    "lc-orbitrap": ("lc", "hrms"),
    "gc-ftir": ("gc", "ftir"),
    "ce-ms": ("ce", "ms"),
    "gc-fid": ("gc",),
    "lc-dad": ("lc", "uv_vis_full"),
}


def vocabularies() -> dict[str, object]:
    """Every list as JSON, as `GET /v1/vocabularies` answers it."""
    return {
        "version": VOCABULARY_VERSION,
        "context": {context: list(details) for context, details in CONTEXTS.items()},
        "matrix": list(MATRICES),
        "form": list(FORMS),
        "quantity_unit": list(UNITS),
        "quantity_basis": list(BASES),
        "concentration_unit": list(CONCENTRATION_UNITS),
        "purity_as": list(PURITY_AS),
        "relation": list(RELATIONS),
        "abundance": list(ABUNDANCES),
        "technique": {"A": sorted(CATEGORY_A), "B": sorted(CATEGORY_B), "C": sorted(CATEGORY_C)},
        "technique_combined": {name: list(parts) for name, parts in COMBINED.items()},
        "schymanski_level": list(SCHYMANSKI),
        "reference_material": list(REFERENCE_MATERIALS),
        "isomers_excluded": list(ISOMERS_EXCLUDED),
        "confidence": list(CONFIDENCE),
        "route": list(ROUTES),
        "seriousness": list(SERIOUSNESS),
        "role": list(ROLES),
        "exposure_evidence": list(EXPOSURE_EVIDENCE),
        "intent": list(INTENTS),
        "outcome": list(OUTCOMES),
        "toxidrome": list(TOXIDROMES),
        "age_band": list(AGE_BANDS),
        "sex": list(SEXES),
        "naloxone": list(NALOXONE),
        "icd_10": sorted(ICD_10),
        "icd_11": sorted(ICD_11),
        "tlp": list(TLP),
        "incident_kind": list(INCIDENT_KINDS),
        "incident_kind_industry": list(INDUSTRY_INCIDENT_KINDS),
        "transport_mode": list(TRANSPORT_MODES),
        "sale_channel": list(SALE_CHANNELS),
        "chemical_group": list(CHEMICAL_GROUPS),
        "effect_group": list(EFFECT_GROUPS),
    }
