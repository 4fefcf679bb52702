"""Status over time: what the provisions say of a substance on a day, and the days on which that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any

from app.intake.queries import un_status
from app.web import words
from app.web.templating import day as written_day
from chem.engine import Engine
from chem.errors import ChemError
from chem.values import Assessment, Structure, StructureFormat, to_json

ANALOGUES = 5
EARLIEST = date(1961, 3, 30)  # the Single Convention


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A day and what began on it. `known`: the day is that of entry into force, else the earliest it can have been."""

    on: date | None
    known: bool
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDay:
    """The verdict on a day, and a line for each instrument."""

    day: date
    status: str
    verdict: str
    lines: tuple[tuple[str, str, str], ...]


@lru_cache(maxsize=2048)
def assessed(engine: Engine, smiles: str, day: date) -> Assessment | None:
    """What the law says of a structure on a day, with the nearest controlled entries; None where it cannot be read."""
    try:
        return engine.assess(Structure(format=StructureFormat.SMILES, text=smiles), as_of=day, analogues=ANALOGUES)
    except ChemError:
        return None


def changes(matches: Sequence[Mapping[str, Any]]) -> tuple[Change, ...]:
    """The provisions that count, oldest first; one without any date stands first."""
    found = set()
    for match in words.counting(matches):
        began, earliest = match["effective_from"], match["not_before"]
        on = date.fromisoformat(began or earliest) if began or earliest else None
        text = words.possibly(match) + words.place(match)
        found.add((on or EARLIEST, on is not None and bool(began), on is None, text))
    return tuple(
        Change(on=None if undated else on, known=known, text=text[:1].upper() + text[1:])
        for on, known, undated, text in sorted(found)
    )


def on_day(engine: Engine, smiles: str | None, name: str, day: date) -> OnDay | None:
    """The verdict on a day by the editions of that day; None without a structure that can be read."""
    told = assessed(engine, smiles, day) if smiles else None
    if told is None:
        return None
    matches = [to_json(match) for match in told.matches]
    status = un_status(told).value
    lines = []
    for instrument, found in told.status_by_instrument.items():
        counting = [match for match in words.counting(matches) if match["instrument"] == instrument]
        texts = dict.fromkeys(f"{words.possibly(m)}{words.schedule(m['schedule'])}, {words.basis(m)}" for m in counting)
        text = "; ".join(texts) or "no match"
        lines.append((words.instrument(instrument), found.value, text))
    return OnDay(day=day, status=status, verdict=words.verdict(status, matches, label=name), lines=tuple(lines))


def parse_day(text: str, today: date) -> date | None:
    """The day of an address; None for what is none, or lies in the future."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if EARLIEST <= day <= today else None


def said(change: Change) -> str:
    """The date in words, as sure as it is."""
    if change.on is None:
        return "Start not on file"
    return written_day(change.on) if change.known else f"Start not on file, not before {written_day(change.on)}"
