"""Order, gravity and status of matches: what a set of matches, and a set of candidates, amounts to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from chem.values import INSTRUMENT_ORDER, Analogue, Assessment, Certainty, LegalStatus, Match, Reason

_SCHEDULE_ORDER = {
    "UN-1961": ("IV", "I", "II", "III"),
    "UN-1971": ("I", "II", "III", "IV"),
    "UN-1988": ("Table I", "Table II"),
}


def order_of(match: Match) -> tuple[int, int, int, int, str, str]:
    """Sort key of the contract: captured first, certain before possible, then instruments, then gravity."""
    known = match.instrument in INSTRUMENT_ORDER
    place = INSTRUMENT_ORDER.index(match.instrument) if known else len(INSTRUMENT_ORDER)
    schedules = _SCHEDULE_ORDER.get(match.instrument, ())
    gravity = schedules.index(match.schedule) if match.schedule in schedules else len(schedules)
    return (
        0 if match.captured else 1,
        0 if match.certainty is Certainty.CERTAIN else 1,
        place,
        gravity,
        match.instrument if not known else "",
        match.entry,
    )


def in_order(matches: Iterable[Match]) -> tuple[Match, ...]:
    """Matches in the contract's order, repeats left out."""
    unique: dict[tuple[object, ...], Match] = {}
    for match in sorted(matches, key=order_of):
        key = (match.instrument, match.schedule, match.entry, match.rule, match.component, match.candidate)
        unique.setdefault(key, match)
    return tuple(unique.values())


def status_of(matches: Iterable[Match]) -> LegalStatus:
    """The gravest captured certain match decides; a captured possible one leaves it possible."""
    captured = [match for match in matches if match.captured]
    if any(match.certainty is Certainty.CERTAIN for match in captured):
        return LegalStatus.CONTROLLED
    return LegalStatus.POSSIBLY_CONTROLLED if captured else LegalStatus.NOT_CONTROLLED


def status_of_set(statuses: Sequence[LegalStatus]) -> LegalStatus:
    """The status of a set of candidates: what all agree on, else possible."""
    if not statuses:
        return LegalStatus.UNRESOLVED
    if all(status is statuses[0] for status in statuses):
        return statuses[0]
    if all(status is LegalStatus.NOT_CONTROLLED for status in statuses):
        return LegalStatus.NOT_CONTROLLED
    return LegalStatus.POSSIBLY_CONTROLLED


def assessment_of_set(assessments: list[Assessment], analogues: int) -> Assessment:
    """A set of candidates as one assessment: a match is certain only where every candidate has it so."""
    places: dict[tuple[str, str, str, str], list[tuple[int, Match]]] = {}
    for number, assessment in enumerate(assessments):
        for match in assessment.matches:
            key = (match.instrument, match.schedule, match.entry, match.rule)
            places.setdefault(key, []).append((number, match))
    matches: list[Match] = []
    for found in places.values():
        holders = {number for number, _ in found}
        number, first = found[0]
        sure = len(holders) == len(assessments) and all(m.certainty is Certainty.CERTAIN for _, m in found)
        captured = any(m.captured for _, m in found)
        matches.append(
            replace(
                first,
                certainty=Certainty.CERTAIN if sure else Certainty.POSSIBLE,
                reason=None if sure else first.reason or Reason.AMBIGUOUS_STRUCTURE,
                captured=captured,
                candidate=number if len(holders) == 1 else None,
            )
        )
    names = list(assessments[0].status_by_instrument)
    best: dict[tuple[str, str], Analogue] = {}
    for assessment in assessments:
        for analogue in assessment.analogues:
            name = (analogue.instrument, analogue.entry)
            if name not in best or best[name].similarity < analogue.similarity:
                best[name] = analogue
    return Assessment(
        identity=None,
        matches=in_order(matches),
        candidates=tuple(assessments),
        legal_status=status_of_set([a.legal_status for a in assessments]),
        status_by_instrument={n: status_of_set([a.status_by_instrument[n] for a in assessments]) for n in names},
        analogues=tuple(sorted(best.values(), key=lambda a: (-a.similarity, a.entry))[:analogues]),
    )
