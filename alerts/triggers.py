"""First detections and serious harm: the two rules that look at nothing but the report. Pure.

Conditions, dedupe keys, levels and caps are those of the domain guide, section 6.2. `Signal.numbers` is read by everyone who
may read the alert, so it holds nothing that only the harm case says, apart from its seriousness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alerts.values import CaseFacts, DetectionFacts, Level, ReportFacts, Scope, Signal, SubstanceFacts

OPIOID_GROUPS = frozenset({"fentanyl_analogue", "nitazene", "other_opioid"})
COUNTED_CONFIDENCE = frozenset({"confirmed", "probable"})
CAUSAL_ROLES = frozenset({"sole_cause", "combined_cause", "contributory"})
GRAVE_WITHOUT_DEATH = frozenset({"life_threatening", "intensive_care"})
HARD_EXPOSURE = frozenset({"biological", "own_product"})

_SCOPES = (Scope.WORLD, Scope.REGION, Scope.COUNTRY)
_FIRST_TYPE = {Scope.WORLD: "first_global", Scope.REGION: "first_region", Scope.COUNTRY: "first_country"}


def capped(level: Level, confidence: str, *, laboratories: int = 1) -> Level:
    """The level that evidence of this confidence may carry: screening at most 1, tentative at most 2 unless two laboratories
    agree.
    """
    if confidence == "screening":
        return min(level, Level.NOTICE)
    if confidence == "tentative" and laboratories < 2:
        return min(level, Level.ADVISORY)
    return level


def first_detections(facts: ReportFacts) -> Iterator[Signal]:
    """`first_global`, `first_region` or `first_country` for each substance that is new in scope; only the widest of a report."""
    seen: set[str] = set()
    for detection in facts.detections:
        substance = detection.substance
        if (
            substance is None
            or not substance.alertable
            or detection.relation != "parent"
            or detection.confidence not in COUNTED_CONFIDENCE
            or detection.first_in is Scope.NONE
            or substance.id in seen
        ):
            continue
        seen.add(substance.id)
        widest, *narrower = (_first(facts, detection, substance, scope) for scope in _SCOPES[_SCOPES.index(detection.first_in) :])
        yield replace(widest, narrower=tuple(narrower))


def _first(facts: ReportFacts, detection: DetectionFacts, substance: SubstanceFacts, scope: Scope) -> Signal:
    area = {Scope.WORLD: "world", Scope.REGION: facts.region, Scope.COUNTRY: facts.country}[scope]
    opioid = substance.chemical_group in OPIOID_GROUPS
    level = Level((2 if opioid else 1) + (1 if scope is not Scope.COUNTRY else 0))
    kind = _FIRST_TYPE[scope]
    return Signal(
        type=kind,
        rule=f"{kind}/1",
        dedupe_key=f"{kind}:{substance.id}:{area}",
        level=capped(level, detection.confidence),
        numbers={
            "area": area,
            "confidence": detection.confidence,
            "detections": 1,
            "earlier_detections": 0,
            "month": facts.month,
        },
        substance=substance,
        controlled=substance.controlled,
        confidence=detection.confidence,
        country=facts.country,
        region=facts.region,
        month=facts.month,
        detection_id=detection.detection_id,
    )


def detection_signal(facts: ReportFacts, scope: Scope) -> Signal:
    """The first-detection signal of this scope for the report's first detection, whatever came before it in time.

    For the detection that becomes the first when an earlier one is withdrawn. Its substance must be known.
    """
    detection = facts.detections[0]
    assert detection.substance is not None
    return _first(facts, detection, detection.substance, scope)


def serious_harm(facts: ReportFacts) -> Iterator[Signal]:
    """One signal for each grave case and each substance in it, also where the substance is not identified yet.

    Fires on a death in which the substance had a causal role, and on a life-threatening or intensive-care case in which it was
    not incidental, where the exposure was shown in the body or in the person's own product.
    """
    detections = {detection.position: detection for detection in facts.detections}
    for case in facts.cases:
        if case.exposure_evidence not in HARD_EXPOSURE:
            continue
        seen: set[str] = set()
        for position, role in sorted(case.roles.items()):
            detection = detections.get(position)
            if detection is None or detection.relation != "parent" or not _grave(case, role):
                continue
            substance = detection.substance
            if substance is not None and not substance.alertable and detection.resolution != "class":
                continue
            subject = substance.id if substance is not None else f"unidentified-{position}"
            if subject in seen:
                continue
            seen.add(subject)
            yield Signal(
                type="serious_harm",
                rule="serious_harm/1",
                dedupe_key=f"serious_harm:{case.case_id}:{subject}",
                level=capped(Level.ALERT, detection.confidence),
                numbers={"seriousness": case.seriousness, "events": 1, "confidence": detection.confidence, "month": case.month},
                substance=substance,
                controlled=substance is not None and substance.controlled,
                confidence=detection.confidence,
                country=case.country,
                region=facts.region if case.country == facts.country else None,
                month=case.month,
                detection_id=detection.detection_id,
                case_id=case.case_id,
                seriousness=case.seriousness,
            )


def _grave(case: CaseFacts, role: str) -> bool:
    if case.seriousness == "death":
        return role in CAUSAL_ROLES
    return case.seriousness in GRAVE_WITHOUT_DEATH and role != "incidental"
