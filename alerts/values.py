"""The words of alerting: facts of a report in, signals and alerts out. Frozen values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import IntEnum, StrEnum
from typing import Any


class Scope(StrEnum):
    """The widest area in which a substance was not known before."""

    WORLD = "world"
    REGION = "region"
    COUNTRY = "country"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceFacts:
    """What the rules need to know of a substance. `alertable` is false for the shipped `ordinary` list and for class labels,
    `harmful_adulterant` true for the shipped list of adulterants that alerts tell."""

    id: str
    key: str
    name: str
    chemical_group: str
    effect_group: str
    controlled: bool
    legal_status: str
    inchikey: str | None
    alertable: bool
    harmful_adulterant: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMember:
    """One candidate of an isomer set. `name` is that of the shipped table, None where it has none."""

    inchikey: str
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFacts:
    """One detection of a report. `first_in` is computed among confirmed and probable parent detections and known history."""

    detection_id: str
    position: int
    substance: SubstanceFacts | None
    label: str
    resolution: str
    relation: str
    confidence: str
    abundance: str | None
    first_in: Scope
    isomer_set: tuple[SetMember, ...] = ()  # what a method could not tell apart; empty for one substance
    legal_status: str = "unresolved"
    purity_percent: float | None = None
    purity_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """One harm case. `roles` maps the position of a detection to its role in the case."""

    case_id: str
    seriousness: str
    exposure_evidence: str | None
    country: str
    subdivision: str | None
    month: str
    roles: dict[int, str]
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldAsFacts:
    """The substance that the sample's `sold_as` means, where it means exactly one."""

    key: str
    name: str
    inchikey: str | None
    chemical_group: str
    effect_group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What was known before this report was received, by the position of its detections. Missing positions mean "nothing
    known".

    `last_seen`: the day of the latest earlier sample with the substance in the country. `form`: of this sample.
    `known_in_region`, `known_in_form`: positions whose substance was found in the region before, and there in this form; the
    latter is not asked for a form that says nothing. `adulterants`: positions of listed harmful adulterants. `seen_with`: those
    of the report's chemical groups that an adulterant was found with in the country before. `purity`: this result in per cent,
    and `earlier_purities` those of the same substance, form and basis. `known_routes`: the routes of use that were reported
    with the substance in the region before. `sets_seen_elsewhere`: positions of isomer sets that another laboratory reported
    before.
    """

    last_seen: Mapping[int, date] = field(default_factory=dict)
    known_in_region: frozenset[int] = frozenset()
    known_in_form: frozenset[int] = frozenset()
    adulterants: frozenset[int] = frozenset()
    seen_with: Mapping[int, frozenset[str]] = field(default_factory=dict)
    purity: Mapping[int, float] = field(default_factory=dict)
    earlier_purities: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    known_routes: Mapping[int, frozenset[str]] = field(default_factory=dict)
    sets_seen_elsewhere: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """One stored version of a report, as the rules without statistics see it.

    `quiet` is true where the report may raise nothing at once: imported as historical, or received more than 180 days after
    the sample. `new_laboratory` is true for the first 10 reports of a laboratory, `flagged` where an analyst flagged it.
    `first_received_at` is when the first version came, for a corrected one.
    """

    report_id: str
    org_id: str
    country: str
    region: str
    subdivision: str | None
    sampled_on: date
    month: str
    tlp: str
    received_at: datetime
    test: bool
    quiet: bool
    new_laboratory: bool
    flagged: bool
    sold_as: str | None
    detections: tuple[DetectionFacts, ...]
    cases: tuple[CaseFacts, ...]
    form: str | None = None
    sold_as_substance: SoldAsFacts | None = None
    first_received_at: datetime | None = None


class Level(IntEnum):
    """How urgent an alert is; the names are those that readers see."""

    NOTICE = 1
    ADVISORY = 2
    ALERT = 3
    URGENT = 4

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """The output of a rule: what it found, with the numbers it prints, and the level after the caps.

    `narrower` holds, widest first, the signals that stand in where another report took this one's key at the same moment. The
    keys of all of them are consumed with the first that is raised.
    """

    type: str
    rule: str
    dedupe_key: str
    level: Level
    numbers: dict[str, Any]
    substance: SubstanceFacts | None
    controlled: bool
    confidence: str
    country: str
    region: str | None
    month: str
    detection_id: str | None
    case_id: str | None = None
    seriousness: str | None = None
    other: str | None = None  # the second thing the texts name: what it was sold as, the class it came with
    form: str | None = None
    legal_status: str | None = None  # of what has no substance of its own, such as an isomer set
    narrower: tuple[Signal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """One revision of an alert, as the policies see it when they decide who hears."""

    id: str
    type: str
    level: int
    tlp: str
    country: str | None
    region: str | None
    countries: tuple[str, ...]
    substance_ids: frozenset[str]
    groups: frozenset[str]
    org_id: str | None
    test: bool
    audience: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Whoever reads or receives: an organisation acting in a role. `tlp_max` is the highest label it may hold."""

    org_id: str | None
    role: str
    country: str | None
    test: bool
    tlp_max: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What a subscriber wants to hear of. An empty set wants everything; countries and regions together name one set of areas."""

    substances: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    regions: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    min_level: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A report under an alert, with what decides who may see its id. `tlp` is at least AMBER where a harm case is meant."""

    report_id: str
    org_id: str
    country: str
    tlp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """The words of a revision. `short` has at most 160 characters."""

    headline: str
    short: str
    summary: str
    full: str
    instruction: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """One revision of an alert as one reader may see it: everything the alert JSON of the contract says."""

    id: str
    type: str
    level: int
    state: str
    reviewed: bool
    controlled: bool
    texts: Texts
    rule: str
    numbers: dict[str, Any]
    substance: dict[str, Any] | None
    evidence: tuple[str, ...]
    countries: tuple[str, ...]
    tlp: str
    issued_at: datetime | None
    revision: int
    references: tuple[dict[str, Any], ...]
    acknowledgements: tuple[dict[str, Any], ...] = field(default=())
    withheld: bool = False
