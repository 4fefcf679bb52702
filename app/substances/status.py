"""The legal status of a substance in words: what decides it, instrument by instrument, and what "no match" rests on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.substances.queries import SubstanceDetail
from app.web import words
from app.web.templating import day
from chem.stored import status_with
from chem.values import INSTRUMENT_ORDER, UN_INSTRUMENTS, Coverage


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchLine:
    """One provision in words, with what a reader needs to check it."""

    sentence: str
    explanation: str
    carve_outs: tuple[str, ...]
    dates: str
    text_status: str
    rule: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentStatus:
    name: str
    status: str
    edition: str
    matches: tuple[MatchLine, ...]
    not_coded: tuple[str, ...]


def coverage_sentence(substance: SubstanceDetail, coverage: tuple[Coverage, ...], today: date) -> str | None:
    """What "no match" rests on: the instruments compared, and what of them is not in the data."""
    if substance.legal_status != "not_controlled":
        return None
    beyond = words.national(substance.legal_status, substance.matches) is not None
    compared = [item for item in coverage if item.instrument in UN_INSTRUMENTS or not beyond]
    gaps = [text for item in compared for text in item.not_coded]
    shown = "; ".join(gaps[:2]) + (f"; and {len(gaps) - 2} more below" if len(gaps) > 2 else "")
    missing = f" Not covered: {shown}." if gaps else ""
    where = "the UN conventions" if beyond else "what is covered"
    number = words.count(len(compared), "instrument", "instruments")
    return f"No match in {where}: {number}, editions of {day(today)}.{missing}"


def national_provisions(substance: SubstanceDetail) -> tuple[str, ...]:
    """Provisions of single countries that a verdict of the UN conventions would pass over in silence, one an instrument."""
    found: dict[str, str] = {}
    for match in words.counting(substance.matches):
        if match["instrument"] not in UN_INSTRUMENTS:
            found.setdefault(match["instrument"], words.possibly(match) + words.place(match))
    return tuple(found.values())


def status_by_instrument(substance: SubstanceDetail, coverage: tuple[Coverage, ...]) -> tuple[InstrumentStatus, ...]:
    def place(item: Coverage) -> int:
        return INSTRUMENT_ORDER.index(item.instrument) if item.instrument in INSTRUMENT_ORDER else len(INSTRUMENT_ORDER)

    found = []
    for item in sorted(coverage, key=place):
        matches = [match for match in substance.matches if match["instrument"] == item.instrument]
        unread = substance.smiles is None and not matches
        status = "unresolved" if unread else status_with("not_controlled", matches, (item.instrument,))
        found.append(
            InstrumentStatus(
                name=words.instrument(item.instrument),
                status=status,
                edition=item.edition,
                matches=tuple(_match_line(match) for match in matches),
                not_coded=tuple(item.not_coded),
            )
        )
    return tuple(found)


def _match_line(match: Mapping[str, Any]) -> MatchLine:
    sentence = f"{words.schedule(match['schedule'])}, {words.basis(match)}"
    if not match["captured"]:
        elsewhere = match["captured_elsewhere"] or "another entry"
        sentence = f"Meets the class rule, but is named in {elsewhere}: this rule does not count."
    elif match["certainty"] == "possible":
        sentence = f"Possibly: {sentence}; {words.REASONS.get(match['reason'] or '', 'not every condition can be decided')}"
    if match["effective_from"]:
        dates = f"In force since {day(date.fromisoformat(match['effective_from']))}"
    elif match["not_before"]:
        dates = f"In force, start not on file, not before {day(date.fromisoformat(match['not_before']))}"
    else:
        dates = "In force, start not on file"
    return MatchLine(
        sentence=sentence,
        explanation=match["explanation"],
        carve_outs=tuple(match["carve_outs"]),
        dates=dates,
        text_status=words.said(words.TEXT_STATUS, match["text_status"]),
        rule=match["rule"],
        source=match["source"],
    )
