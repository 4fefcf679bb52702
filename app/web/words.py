"""What stored values are called on the pages. One place, so that a word means the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.web.places import country_name
from chem.stored import graver_elsewhere, status_with
from chem.values import INSTRUMENTS_OF_COUNTRY

KEYS = (
    ("/", "Search a substance"),
    ("?", "These keys"),
    ("g i", "Go to the inbox"),
    ("g s", "Go to the substances"),
    ("g e", "Go to explore"),
    ("u", "Up to the list, with its filter"),
    ("j k", "In a list: next and previous; arrows too"),
    ("Enter", "In a list: open"),
    ("a", "In the inbox: to the row's Acknowledge button"),
)
EFFECT_GROUPS = {
    "stimulant": "Stimulant",
    "synthetic_cannabinoid": "Synthetic cannabinoid",
    "classic_hallucinogen": "Classic hallucinogen",
    "opioid": "Opioid",
    "dissociative": "Dissociative",
    "sedative_hypnotic": "Sedative or hypnotic",
    "other": "Other effect",
    "unassigned": "Effect not assigned",
}
CHEMICAL_GROUPS = {
    "aminoindane": "Aminoindane",
    "phencyclidine_type": "Phencyclidine type",
    "phenethylamine": "Phenethylamine",
    "piperazine": "Piperazine",
    "plant_based": "Plant based",
    "synthetic_cannabinoid": "Synthetic cannabinoid",
    "semi_synthetic_cannabinoid": "Semi-synthetic cannabinoid",
    "synthetic_cathinone": "Synthetic cathinone",
    "tryptamine": "Tryptamine",
    "benzodiazepine_type": "Benzodiazepine type",
    "fentanyl_analogue": "Fentanyl analogue",
    "nitazene": "Nitazene",
    "other_opioid": "Other opioid",
    "other": "Other group",
}
LEGAL_STATUS = {
    "controlled": "Controlled",
    "possibly_controlled": "Possibly controlled",
    "not_controlled": "No match",
    "unresolved": "Not assessed",
}
CONFIDENCE = {"confirmed": "Confirmed", "probable": "Probable", "tentative": "Tentative", "screening": "Screening"}
LEVELS = {4: "Urgent", 3: "Alert", 2: "Advisory", 1: "Notice"}
ALERT_STATES = {"draft": "Draft", "issued": "Issued", "updated": "Updated", "closed": "Closed", "retracted": "Retracted"}
ALERT_TYPES = {
    "first_global": "First in the world",
    "first_region": "First in the region",
    "first_country": "First in the country",
    "re_emergence": "Re-emergence",
    "rapid_spread": "Rapid spread",
    "spike": "Spike",
    "serious_harm": "Serious harm",
    "cluster": "Cluster",
    "misrepresentation": "Sold as something else",
    "adulterant": "Harmful adulterant",
    "high_potency": "High purity",
    "new_form_or_route": "New form or route",
    "analytical": "Analytical notice",
    "control_change": "Change of control",
    "industry": "Industry notice",
}
MEASURES = {
    "provisional_control": "Provisional control",
    "permanent_control": "Permanent control",
    "public_health_announcement": "Public-health announcement",
    "none": "No measure for now",
}
USES = {
    "known": "A legitimate use is known",
    "none": "No legitimate use",
    "unknown": "Looked for, could not tell",
}
USE_KINDS = {
    "authorised_medicine": "Authorised medicine",
    "veterinary_medicine": "Veterinary medicine",
    "clinical_study": "Under clinical study",
    "research": "Scientific research",
    "reference_material": "Reference material",
    "industrial_intermediate": "Intermediate in industry",
    "industrial_product": "Industrial product",
    "other": "Another use",
}
USE_STATES = {
    "waiting": "Waits for an analyst",
    "confirmed": "Confirmed",
    "refused": "Refused",
    "withdrawn": "Withdrawn",
}
ENDPOINT_STATES = {
    "unverified": "Waits for its answer",
    "active": "Active",
    "paused": "Paused",
    "disabled": "Disabled",
}
ATTEMPTS = {
    "delivered": "delivered",
    "failed": "failed",
    "blocked": "not called",
    "late": "recorded late",
    "probe": "probed, failed",
    "cancelled": "cancelled",
}
IMPORT_STATES = {
    "draft": "Waits for you to read its mapping",
    "waiting": "Waiting",
    "running": "Running",
    "done": "Done",
    "failed": "Could not be read",
}
SUBSTANCE_EVENTS = {
    "resolve": "Label decided",
    "name": "Name added",
    "merge": "Substances merged",
    "split": "Reports given to another substance",
}
ROLES = {
    "lab": "Laboratory",
    "authority": "National authority",
    "reviewer": "Reviewer",
    "analyst": "Analyst",
    "industry": "Industry partner",
    "admin": "Administrator",
}
CAUSES = {
    "sole_cause": "Sole cause",
    "combined_cause": "Combined cause",
    "contributory": "Contributory",
    "undetermined": "Undetermined",
    "incidental": "Incidental",
}
CONTEXTS = {
    "seizure": "Seizure",
    "collected": "Collected",
    "purchase": "Purchase",
    "biological": "Biological sample",
    "production_site": "Production site",
    "wastewater": "Wastewater",
    "other": "Other",
    "unknown": "Unknown",
}
INSTRUMENTS = {
    "UN-1961": "UN 1961",
    "UN-1971": "UN 1971",
    "UN-1988": "UN 1988",
    "US-CSA": "US Controlled Substances Act",
    "UK-MDA": "UK Misuse of Drugs Act",
    "DE-NPSG": "German NPS Act",
    "CN-NPS": "China, NPS lists",
}
RESOLUTIONS = {
    "structure": "by its structure",
    "identifier": "by an identifier",
    "name": "by its name",
    "class": "a class, not one substance",
    "unresolved": "not resolved",
}
FIRST_IN = {"world": "in the world", "region": "in its region", "country": "in its country"}
TEXT_STATUS = {
    "read": "Text read",
    "recalled": "Text recalled, not read again",
    "partial": "Text read in part",
    "unknown": "Not coded",
}
REASONS = {
    "ambiguous_structure": "not all of the possible structures are caught",
    "text_uncertain": "the wording of this rule is not verified",
    "non_structural_condition": "it depends on its effect",
    "word_undefined": "the law leaves a word open",
    "date_uncertain": "the start date is not on file",
    "other_tautomer": "another tautomer would be caught",
}
MATCH_CERTAINTY = {"certain": "Certain", "possible": "Possible"}
SERIOUSNESS = {
    "death": "Death",
    "life_threatening": "Life-threatening",
    "intensive_care": "Intensive care",
    "hospital_or_emergency_treatment": "Hospital or emergency treatment",
    "disability": "Disability",
    "dependence": "Dependence",
    "congenital": "Congenital harm",
    "other_important": "Other important event",
}
CASE_ROLES = {
    "sole_cause": "sole cause",
    "combined_cause": "one cause of several",
    "contributory": "contributory",
    "incidental": "incidental",
    "undetermined": "undetermined",
}
NAME_KINDS = {
    "systematic": "Systematic",
    "common": "Common",
    "code": "Code",
    "street": "Street",
    "brand": "Brand",
    "misspelling": "Misspelling",
    "abbreviation": "Abbreviation",
}
STEREO = {
    "none": "no stereocentre",
    "absolute": "fully drawn",
    "partial": "partly drawn",
    "undefined": "not drawn",
    "racemic": "racemic",
    "unknown-single": "one isomer, which one is not known",
}
DISCLAIMER = "Information, not legal advice; the official text prevails."
HARM_UNKNOWN = "No cases reported: harm is unknown, not nil."
WHO_TESTED = "Counts reflect who tested what."

Match = Mapping[str, Any]


def instrument(code: str) -> str:
    return INSTRUMENTS.get(code, code)


def schedule(code: str) -> str:
    """`I` becomes "Schedule I"; `Table I` and other names stay."""
    return f"Schedule {code}" if code in {"I", "II", "III", "IV", "V"} else code


def basis(match: Match) -> str:
    """How the substance falls under the entry: "as ...", "under ..."."""
    entry = match["entry"]
    match match["basis"]:
        case "stereoisomer":
            return f"as a stereoisomer of {entry}"
        case "isomer":
            return f"as an isomer of {entry}"
        case "ester":
            return f"as an ester of {entry}"
        case "ether":
            return f"as an ether of {entry}"
        case "entry_clause":
            return f"under the wording of the entry {entry}"
        case "generic":
            return f"under the class rule for {entry}"
        case _:
            return f"as {entry}"


def place(match: Match) -> str:
    return f"{instrument(match['instrument'])} {schedule(match['schedule'])}, {basis(match)}"


def possibly(match: Match) -> str:
    """What stands before a provision that is not certain."""
    return "" if match["certainty"] == "certain" else "possibly "


def counting(matches: Iterable[Match]) -> list[Match]:
    """The matches that decide the status, gravest first as stored."""
    return [match for match in matches if match["captured"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class National:
    """Where the law of single countries goes beyond a status over the UN conventions: country codes in order, for what is certain
    and for what is possible. An instrument that belongs to no country known here stands by its own name.
    """

    controlled: tuple[str, ...]
    possible: tuple[str, ...]

    def __str__(self) -> str:
        parts = (("controlled in ", self.controlled), ("possibly controlled in ", self.possible))
        return "; ".join(text + ", ".join(country_name(code) for code in codes) for text, codes in parts if codes)


_COUNTRY_OF = {instrument: country for country, instruments in INSTRUMENTS_OF_COUNTRY.items() for instrument in instruments}


def national_of(legal_status: str, statuses: Mapping[str, str]) -> National | None:
    """What statuses of instruments add to `legal_status`, which is over the UN conventions; None where that is nothing."""
    found: dict[str, set[str]] = {"controlled": set(), "possibly_controlled": set()}
    for code, status in graver_elsewhere(legal_status, statuses).items():
        found[status].add(_COUNTRY_OF.get(code, code))
    controlled, possible = found["controlled"], found["possibly_controlled"] - found["controlled"]
    return National(controlled=tuple(sorted(controlled)), possible=tuple(sorted(possible))) if controlled or possible else None


def national(legal_status: str, matches: Iterable[Match]) -> National | None:
    """What a status over the UN conventions would pass over in silence; None where that is nothing."""
    counted = counting(matches)
    return national_of(
        legal_status, {m["instrument"]: status_with("not_controlled", counted, (m["instrument"],)) for m in counted}
    )


def verdict(legal_status: str, matches: Iterable[Match], *, label: str = "") -> str:
    """The status in a sentence with the provision and the reason. `label` is what an unresolved detection was called.

    Where only matches of other laws than those of the status are left, it says in which countries they count.
    """
    counted = counting(matches)
    certain = [match for match in counted if match["certainty"] == "certain"]
    possible = [match for match in counted if match["certainty"] == "possible"]
    beyond = national(legal_status, counted)
    match legal_status:
        case "controlled" if certain:
            return f"Controlled: {place(certain[0])}"
        case "possibly_controlled" if possible:
            reason = REASONS.get(possible[0]["reason"] or "", "not every condition can be decided")
            return f"Possibly controlled: {place(possible[0])}; {reason}" + (f"; {beyond}" if beyond else "")
        case "not_controlled":
            return f"No match in the UN conventions; {beyond}" if beyond else "No match in what is covered"
        case "unresolved":
            return f"Not assessed: reported as '{label}', no structure" if label else "Not assessed: no structure"
        case _:
            return LEGAL_STATUS.get(legal_status, legal_status)


def and_more(legal_status: str, matches: Iterable[Match]) -> int:
    """How many further provisions stand behind the sentence."""
    counted = counting(matches)
    if legal_status == "controlled":
        counted = [match for match in counted if match["certainty"] == "certain"]
    return max(len(counted) - 1, 0) if legal_status in {"controlled", "possibly_controlled"} else 0


def said(vocabulary: Mapping[Any, str], value: Any) -> str:
    """The word for a stored value, or the value itself with its underscores opened where a newer vocabulary wrote it."""
    return vocabulary.get(value) or str(value).replace("_", " ")


def plain(code: str) -> str:
    """A stored word without a vocabulary of its own, readable: `falsified_medicine` becomes "Falsified medicine"."""
    text = code.replace("_", " ")
    return text[:1].upper() + text[1:]


def count(number: int, one: str, many: str) -> str:
    """ "1 substance", "1,234 substances"."""
    return f"{number:,} {one if number == 1 else many}"
