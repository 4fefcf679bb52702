"""The words of alerting: facts of a report in, signals and alerts out. Frozen values only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Scope(StrEnum):
    """The widest area in which a substance was not known before."""

    WORLD = "world"
    REGION = "region"
    COUNTRY = "country"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class SubstanceFacts:
    """What the rules need to know of a substance. `alertable` is false for the shipped `ordinary` list and for class labels."""

    id: str
    key: str
    name: str
    chemical_group: str
    effect_group: str
    controlled: bool
    legal_status: str
    inchikey: str | None
    alertable: bool


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFacts:
    """One stored version of a report, as the rules without statistics see it.

    `quiet` is true where the report may raise nothing at once: imported as historical, or received more than 180 days after
    the sample. `new_laboratory` is true for the first 10 reports of a laboratory, `flagged` where an analyst flagged it.
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
