"""Rules that compare a report with what was known before it: return after silence, what it was sold as, company, form, content.
Pure.

Conditions, dedupe keys and levels are those of the domain guide, section 6.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date
from statistics import median
from typing import Any

from alerts.triggers import COUNTED_CONFIDENCE, OPIOID_GROUPS, capped
from alerts.values import Background, DetectionFacts, Level, ReportFacts, Signal, SubstanceFacts

SILENT_MONTHS = 12
PLAIN_FORMS = frozenset({"unknown", "other"})
GRAVER_FORMS = frozenset({"falsified_medicine", "nasal_spray", "e_liquid", "edible"})
GRAVEST_GROUPS = frozenset({"fentanyl_analogue", "nitazene"})
NOT_A_CLASS = frozenset({"other", "unassigned"})
LEAST_RESULTS = 20
HIGH_PERCENTILE = 0.95
HIGH_RATIO = 1.5


def quarter(day: date) -> str:
    """The calendar quarter of a day, as 2026-Q4."""
    return f"{day.year}-Q{(day.month + 2) // 3}"


def _months_between(earlier: date, later: date) -> int:
    """Whole months from the one day to the other."""
    return (later.year - earlier.year) * 12 + later.month - earlier.month - (later.day < earlier.day)


def _known(facts: ReportFacts) -> Iterator[tuple[DetectionFacts, SubstanceFacts]]:
    """The parent detections with an alertable substance, each substance once, in order."""
    seen: set[str] = set()
    for detection in facts.detections:
        substance = detection.substance
        if substance is None or not substance.alertable or detection.relation != "parent" or substance.id in seen:
            continue
        seen.add(substance.id)
        yield detection, substance


def _signal(
    facts: ReportFacts,
    detection: DetectionFacts,
    substance: SubstanceFacts,
    kind: str,
    key: str,
    level: Level,
    numbers: dict[str, Any],
    *,
    other: str | None = None,
    form: str | None = None,
) -> Signal:
    return Signal(
        type=kind,
        rule=f"{kind}/1",
        dedupe_key=f"{kind}:{key}",
        level=capped(level, detection.confidence),
        numbers={"month": facts.month, "confidence": detection.confidence} | numbers,
        substance=substance,
        controlled=substance.controlled,
        confidence=detection.confidence,
        country=facts.country,
        region=facts.region,
        month=facts.month,
        detection_id=detection.detection_id,
        other=other,
        form=form,
    )


def re_emergence(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """A detection after 12 silent months in the country; the month before the silence names the episode."""
    for detection, substance in _known(facts):
        last = known.last_seen.get(detection.position)
        if last is None or detection.confidence not in COUNTED_CONFIDENCE:
            continue
        silent = _months_between(last, facts.sampled_on)
        if silent >= SILENT_MONTHS:
            key = f"{substance.id}:{facts.country}:after-{last:%Y-%m}"
            numbers = {"silent_months": silent, "last_month": f"{last:%Y-%m}"}
            yield _signal(facts, detection, substance, "re_emergence", key, Level.NOTICE, numbers)


def misrepresentation(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """Sold as X, X absent, an alertable Y of another effect group primary or minor; level 4 for a fentanyl or nitazene as no
    opioid.
    """
    sold = facts.sold_as_substance
    if sold is None or sold.effect_group == "unassigned":
        return
    connectivity = sold.inchikey[:14] if sold.inchikey else None
    for detection in facts.detections:
        found = detection.substance
        if found is not None and (
            found.key == sold.key or (connectivity is not None and (found.inchikey or "")[:14] == connectivity)
        ):
            return
    opioid = sold.effect_group == "opioid" or sold.chemical_group in OPIOID_GROUPS
    for detection, substance in _known(facts):
        if detection.abundance not in ("primary", "minor") or substance.effect_group in ("unassigned", sold.effect_group):
            continue
        level = Level.URGENT if substance.chemical_group in GRAVEST_GROUPS and not opioid else Level.ADVISORY
        key = f"{sold.key}:{substance.id}:{facts.country}:{quarter(facts.sampled_on)}"
        numbers = {"sold_as": sold.name, "abundance": detection.abundance}
        yield _signal(facts, detection, substance, "misrepresentation", key, level, numbers, other=sold.name)


def adulterant(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """A listed harmful adulterant first seen with a class in a country. Also one that is on the ordinary list otherwise."""
    classes = {substance.chemical_group: None for _, substance in _known(facts) if substance.chemical_group not in NOT_A_CLASS}
    seen: set[str] = set()
    for detection in facts.detections:
        substance = detection.substance
        if substance is None or detection.position not in known.adulterants or substance.id in seen:
            continue
        seen.add(substance.id)
        for group in classes:
            if group == substance.chemical_group or group in known.seen_with.get(detection.position, frozenset()):
                continue
            key = f"{substance.id}:{group}:{facts.country}"
            numbers = {"class": group}
            yield _signal(facts, detection, substance, "adulterant", key, Level.NOTICE, numbers, other=group)


def new_form(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """The first detection of a substance in this form in a region where the substance itself is known."""
    if facts.form is None or facts.form in PLAIN_FORMS:
        return
    for detection, substance in _known(facts):
        if detection.position not in known.known_in_region or detection.position in known.known_in_form:
            continue
        level = Level.ADVISORY if facts.form in GRAVER_FORMS else Level.NOTICE
        key = f"{substance.id}:{facts.form}:{facts.region}"
        numbers = {"form": facts.form, "area": facts.region}
        yield _signal(facts, detection, substance, "new_form_or_route", key, level, numbers, form=facts.form)


def new_route(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """The first case in a region in which a substance known there was taken by this route.

    The route stands in the harm case alone, so neither the numbers nor the texts name it: who may open the case reads it there.
    """
    substances = {detection.position: (detection, substance) for detection, substance in _known(facts)}
    seen: set[tuple[str, str]] = set()
    for case in facts.cases:
        if case.route in (None, "unknown"):
            continue
        for position in sorted(case.roles):
            if position not in substances or position not in known.known_in_region:
                continue
            detection, substance = substances[position]
            if case.route in known.known_routes.get(position, frozenset()) or (substance.id, case.route) in seen:
                continue
            seen.add((substance.id, case.route))
            key = f"{substance.id}:route-{case.route}:{facts.region}"
            numbers = {"what": "route", "area": facts.region}
            signal = _signal(facts, detection, substance, "new_form_or_route", key, Level.NOTICE, numbers)
            yield replace(signal, case_id=case.case_id)


def isomer_sets(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """An isomer set that another laboratory reported before: two cannot tell the same substances apart."""
    seen: set[str] = set()
    for detection in facts.detections:
        if not detection.isomer_set or detection.relation != "parent" or detection.position not in known.sets_seen_elsewhere:
            continue
        key = set_key(member.inchikey for member in detection.isomer_set)
        if key in seen:
            continue
        seen.add(key)
        names = [member.name for member in detection.isomer_set if member.name is not None]
        yield Signal(
            type="analytical",
            rule="analytical/1",
            dedupe_key=f"analytical:{key}",
            level=capped(Level.NOTICE, detection.confidence),
            numbers={
                "month": facts.month, "confidence": detection.confidence, "laboratories": 2,
                "members": len(detection.isomer_set),
            },
            substance=None,
            controlled=detection.legal_status == "controlled",
            confidence=detection.confidence,
            country=facts.country,
            region=facts.region,
            month=facts.month,
            detection_id=detection.detection_id,
            other=" or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names or ["unnamed isomers"]),
            legal_status=detection.legal_status,
        )  # fmt: skip


def set_key(inchikeys: Iterable[str]) -> str:
    """One short text for a set of substances, whatever their order."""
    return "set-" + hashlib.sha256("\n".join(sorted(set(inchikeys))).encode()).hexdigest()[:24]


def high_potency(facts: ReportFacts, known: Background) -> Iterator[Signal]:
    """Purity above the 95th percentile of at least 20 earlier results of substance and form, and at least 1.5 times their
    median.
    """
    for detection, substance in _known(facts):
        purity = known.purity.get(detection.position)
        earlier = known.earlier_purities.get(detection.position, ())
        if purity is None or len(earlier) < LEAST_RESULTS:
            continue
        if purity > percentile(earlier, HIGH_PERCENTILE) and purity >= HIGH_RATIO * median(earlier):
            key = f"{substance.id}:{facts.country}:{quarter(facts.sampled_on)}"
            numbers = {"earlier_results": len(earlier), "above_percentile": 95}
            yield _signal(facts, detection, substance, "high_potency", key, Level.ADVISORY, numbers)


def percentile(values: tuple[float, ...], share: float) -> float:
    """The value below which this share of the values lies, by linear interpolation between neighbours (Hyndman and Fan, type
    7).
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
