"""The words of chemistry and law. Frozen values only; importing this module loads no toolkit.

Field names are those of the public contract, so `to_json` of a value is what a client reads.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from enum import StrEnum
from typing import Any, NewType

InChIKey = NewType("InChIKey", str)
Smiles = NewType("Smiles", str)

UN_INSTRUMENTS = ("UN-1961", "UN-1971", "UN-1988")
INSTRUMENT_ORDER = (*UN_INSTRUMENTS, "US-CSA", "UK-MDA", "DE-NPSG", "CN-NPS")
INSTRUMENTS_OF_COUNTRY = {"US": ("US-CSA",), "GB": ("UK-MDA",), "DE": ("DE-NPSG",), "CN": ("CN-NPS",)}


class StructureFormat(StrEnum):
    SMILES = "smiles"
    INCHI = "inchi"
    MOLFILE = "molfile"


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """One structure as text, exactly as reported."""

    format: StructureFormat
    text: str


class Stereo(StrEnum):
    """What the structure says of its stereochemistry."""

    NONE = "none"  # no stereo centre or bond is possible
    ABSOLUTE = "absolute"
    PARTIAL = "partial"  # some centres drawn, some left open
    UNDEFINED = "undefined"
    RACEMIC = "racemic"
    UNKNOWN_SINGLE = "unknown-single"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A remark on a structure or a detection: a stable code and one sentence."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The identity layers of one structure.

    `smiles`, `inchi`, `inchikey` are as reported (salt and label included); all `parent_*`, `connectivity`,
    `formula` and `monoisotopic_mass` (unified atomic mass units) describe the parent. Atom indices
    elsewhere refer to `parent_smiles`. `removed` holds canonical SMILES of removed counter-ions and
    solvents, in order, one entry a fragment.
    """

    smiles: str
    inchi: str
    inchikey: str
    parent_smiles: str
    parent_inchi: str
    parent_inchikey: str
    isotopic_inchikey: str
    connectivity: str
    flat_smiles: str
    tautomer_hash: str | None  # a hint, never a key; None where it was not asked for
    formula: str
    monoisotopic_mass: float
    removed: tuple[str, ...]
    stereo: Stereo
    stereo_groups: str | None  # CXSMILES where enhanced stereo or atropisomerism was given
    isotopes: tuple[str, ...]  # for example "[2H]5"
    components: tuple[Identity, ...]
    warnings: tuple[Remark, ...]
    version: str


class Basis(StrEnum):
    LISTED = "listed"
    STEREOISOMER = "stereoisomer"
    ISOMER = "isomer"
    ESTER = "ester"
    ETHER = "ether"
    ENTRY_CLAUSE = "entry_clause"
    GENERIC = "generic"


class Certainty(StrEnum):
    CERTAIN = "certain"
    POSSIBLE = "possible"


class Reason(StrEnum):
    """Why a match is only possible."""

    AMBIGUOUS_STRUCTURE = "ambiguous_structure"
    TEXT_UNCERTAIN = "text_uncertain"
    NON_STRUCTURAL_CONDITION = "non_structural_condition"
    WORD_UNDEFINED = "word_undefined"
    DATE_UNCERTAIN = "date_uncertain"
    OTHER_TAUTOMER = "other_tautomer"


class TextStatus(StrEnum):
    READ = "read"
    RECALLED = "recalled"
    PARTIAL = "partial"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One entry, clause or class that a structure falls under, with the reason a reader can check.

    `details` is free of chemistry objects: for a class rule it lists position by position the fragment
    found, the limit and the verdict. `candidate` is the 0-based index where only one candidate of a set
    matches; `component` the InChIKey of the component of a mixture.
    """

    instrument: str
    schedule: str
    entry: str
    basis: Basis
    certainty: Certainty
    captured: bool
    captured_elsewhere: str | None
    reason: Reason | None
    carve_outs: tuple[str, ...]
    rule: str
    text_status: TextStatus
    explanation: str
    atoms: tuple[int, ...]
    effective_from: date | None
    not_before: date | None
    source: str
    component: str | None = None
    candidate: int | None = None
    details: tuple[dict[str, Any], ...] = ()


class LegalStatus(StrEnum):
    CONTROLLED = "controlled"
    POSSIBLY_CONTROLLED = "possibly_controlled"
    NOT_CONTROLLED = "not_controlled"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Analogue:
    """A controlled entry that looks alike. A lead for chemists, never a legal finding. Similarity 0.0 to
    1.0 (Tanimoto).
    """

    instrument: str
    entry: str
    similarity: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What of an instrument is in the data: edition, whether complete, and what is not coded."""

    instrument: str
    edition: str
    complete: bool
    not_coded: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Identity and legal status of one structure (or of a set of candidates) on a date.

    `identity` is None for a set of candidates; each candidate then has its own assessment in `candidates`.
    """

    identity: Identity | None
    matches: tuple[Match, ...]
    candidates: tuple[Assessment, ...]
    legal_status: LegalStatus
    status_by_instrument: dict[str, LegalStatus]
    analogues: tuple[Analogue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditionInfo:
    """A dated state of an instrument."""

    id: str
    valid_from: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryInfo:
    """One line of a schedule as shown to readers. Without `smiles` it never matches; `notes` says why."""

    instrument: str
    schedule: str
    name: str
    synonyms: tuple[str, ...]
    cas: str
    smiles: str
    parent_inchikey: str | None
    stereo: str | None
    as_is: bool
    not_before: date | None
    effective_from: date | None
    until: date | None
    text_status: TextStatus
    structure_check: str
    notes: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInfo:
    """A class rule as shown to readers; `hits` and `near_misses` are examples that run as tests."""

    id: str
    instrument: str
    provision: str
    schedule: str
    entry: str
    text_status: TextStatus
    reading: str
    not_before: date | None
    effective_from: date | None
    until: date | None
    source: str
    notes: str
    hits: tuple[str, ...]
    near_misses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentInfo:
    """An instrument with its editions, rules and how sure its data is. `country` is empty for a
    convention."""

    id: str
    title: str
    country: str
    source: str
    editions: tuple[EditionInfo, ...]
    schedules: tuple[str, ...]
    entries: int
    entries_with_structure: int
    entries_by_text_status: dict[str, int]
    rules: tuple[RuleInfo, ...]
    not_coded: tuple[str, ...]


class Verdict(StrEnum):
    """Three values of a class rule."""

    IN = "in"
    OUT = "out"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleTrial:
    """One rule asked about one structure: the verdict on structure alone, whether the rule captures it, and
    why (not).

    `failed` names the condition that failed in the mapping that came nearest; empty for a structural match.
    """

    rule: str
    verdict: Verdict
    captured: bool
    captured_elsewhere: str | None
    reason: Reason | None
    in_force: bool
    failed: str
    details: tuple[dict[str, Any], ...]
    atoms: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of a class rule in words. `label` is its mark in the drawing, `name` the position as trials call it."""

    label: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposedGroup:
    """A chemical group and effect group proposed by a structure rule; an analyst confirms it."""

    chemical_group: str
    effect_group: str
    rule: str
    reason: str


def to_json(value: Any) -> Any:
    """The value as plain JSON types: dataclasses to objects (same field names), dates to ISO 8601, enums to
    their text.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(v) for v in value]
    return value
