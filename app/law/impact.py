"""What a draft rule would catch: the reference sets and the stored substances asked, medicines hit by mistake listed first.

A draft is an edition's document (`nps schedules diff`, the API's editions) with at least one rule. Nothing of it is kept as law.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

import chem
from app.law.loaded import EditionError, Prepared, prepare
from app.persistence.models import Substance
from chem.engine import Engine
from chem.errors import StructureError
from chem.names import NameTable
from chem.values import Structure, StructureFormat

MEDICINES = Path(chem.__file__).parent / "data" / "names" / "approved_medicines.csv"
SETS = {
    "medicines": "Approved medicines shipped with the service",
    "names": "Substances named in the shipped schedules and reference lists",
    "stored": "Substances reported to this installation",
}
MOST_LISTED = 500
TELL_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A structure that a draft rule catches or may catch. `before`: how the instrument, as it is, stands to it."""

    name: str
    rule: str
    certainty: str
    captured: bool
    elsewhere: str | None
    before: str
    link: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """One set: how many were asked, could not be read, are hit, and the first of the hits."""

    id: str
    title: str
    asked: int
    unreadable: int
    caught: int
    listed: tuple[Hit, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    instrument: str
    edition: str
    rules: tuple[str, ...]
    as_of: str
    version: str
    sets: tuple[SetResult, ...]

    def document(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """A structure of a set."""

    name: str
    smiles: str
    link: str | None = None


def checked(session: Session, document: Any) -> Prepared:
    """The draft, checked as an edition would be. Raises EditionError, also where it holds no rule."""
    prepared = prepare(session, document)
    if not prepared.document.get("rule"):
        raise EditionError("rule: a draft needs at least one rule")
    return prepared


def begins(prepared: Prepared) -> date:
    """The first day on which all its rules bind."""
    return date.fromisoformat(
        max(str(rule.get("effective_from") or rule.get("not_before")) for rule in prepared.document["rule"])
    )


def impact(stored: Sequence[Asked], before: Engine, prepared: Prepared, told: Callable[[int, int], None]) -> Impact:
    """The draft against every set, `stored` among them. `told` hears how many of how many structures were asked."""
    sets: dict[str, Sequence[Asked]] = {"medicines": list(_medicines()), "names": list(_named()), "stored": stored}
    total = sum(len(asked) for asked in sets.values())
    day = begins(prepared)
    rules = tuple(str(rule["id"]) for rule in prepared.document["rule"])
    instrument = str(prepared.document["instrument"])
    known = instrument in {info.id for info in before.instruments()}
    done = 0
    results = []
    for key, asked in sets.items():
        hits: list[Hit] = []
        unreadable = 0
        for one in asked:
            done += 1
            if done % TELL_EVERY == 0:
                told(done, total)
            structure = Structure(format=StructureFormat.SMILES, text=one.smiles)
            try:
                hits += _hits(before if known else None, prepared.engine, structure, instrument, rules, day, one)
            except StructureError:
                unreadable += 1
        hits.sort(key=lambda hit: (not hit.captured, hit.certainty, hit.name.lower()))
        results.append(
            SetResult(
                id=key, title=SETS[key], asked=len(asked), unreadable=unreadable, caught=sum(hit.captured for hit in hits),
                listed=tuple(hits[:MOST_LISTED]),
            )
        )  # fmt: skip
    told(total, total)
    return Impact(
        instrument=instrument, edition=str(prepared.document["edition"]["id"]), rules=rules, as_of=day.isoformat(),
        version=prepared.engine.version, sets=tuple(results),
    )  # fmt: skip


def _hits(
    before: Engine | None, after: Engine, structure: Structure, instrument: str, rules: tuple[str, ...], day: date, one: Asked
) -> list[Hit]:
    found = after.assess(structure, as_of=day, instruments=(instrument,), analogues=0, hint=False)
    matches = [match for match in found.matches if match.rule in rules]
    if not matches:
        return []
    was = "new instrument"
    if before is not None:
        was = before.assess(structure, as_of=day, instruments=(instrument,), analogues=0, hint=False).status_by_instrument[
            instrument
        ]
    return [
        Hit(
            name=one.name, rule=match.rule, certainty=match.certainty.value, captured=match.captured,
            elsewhere=match.captured_elsewhere, before=str(was), link=one.link,
        )
        for match in matches
    ]  # fmt: skip


def _medicines() -> Iterator[Asked]:
    with MEDICINES.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Asked(row["name"], row["smiles"])


def _named() -> Iterator[Asked]:
    for substance in NameTable().substances.values():
        if substance.smiles and substance.origin != "medicine":
            yield Asked(substance.name, substance.smiles)


def stored_in(session: Session) -> list[Asked]:
    """The substances that were reported here and are in no other set, by name."""
    rows = session.execute(
        select(Substance.id, Substance.name, Substance.smiles)
        .where(Substance.merged_into.is_(None), Substance.smiles.is_not(None), Substance.shipped.is_(False))
        .order_by(Substance.name)
    )
    return [Asked(name, str(smiles), f"/substances/{key}") for key, name, smiles in rows]
