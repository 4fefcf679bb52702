"""Editions that an operator adds to the shipped law: what comes in, what ends, from which day, by which source.

An edition is a document (TOML or JSON; `EDITION_FORMAT` describes it). It never changes what held before its first day, so that
an answer for an older date stays what it was. Reading is as strict as that of the shipped files: unknown keys, overlaps, missing
sources and unreadable structures are refused with the place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from chem.catalog import check_keys, date_of, structure_of, text_of
from chem.errors import DataError
from chem.rules import Rule, rules_of
from chem.schedules import COLUMNS, Edition, Entry, Instrument, clause_of, entry_of

EDITION_FORMAT = """An edition of an instrument.

instrument   id, for example "UN-1961"
edition      {id, from, source}: its name, first day (YYYY-MM-DD) and where the decision is published
add          list of entries: name, schedule, text_status (read, recalled, partial, unknown), source; smiles or, without one,
             notes; as needed synonyms, cas, not_before (default: the edition's first day), effective_from, settled_from, until,
             stereo (any, drawn, racemate, racemate_loose, mixture; default any), designation, as_is, aliases, iupac_name,
             structure_check
end          list of {name, schedule, until, source}: entries that end; until is their last day, not before the eve of the edition
rule         list of class rules in the form of the shipped ones, in force from the edition's first day or later
templates    patterns that these rules name
end_rule     list of {id, until, source}
not_coded    {add, remove}: sentences of what the edition holds and the data does not, and of what is now coded
new          for an instrument not known here: {title, country, order, source, clauses}; clauses as in a shipped instrument.toml
"""
_KEYS = ("instrument", "edition")
_OPTIONAL = ("add", "end", "rule", "templates", "end_rule", "not_coded", "new")
MOST_ROWS = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """The law with an edition in it: the instrument and all of its rules."""

    instrument: Instrument
    rules: tuple[Rule, ...]


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document with its dates as texts, as it is stored and hashed."""
    found: dict[str, Any] = json.loads(json.dumps(document, default=lambda value: value.isoformat(), ensure_ascii=False))
    return found


def content_hash(documents: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 in hexadecimal over the documents in their order."""
    text = json.dumps([plain(document) for document in documents], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def amend(document: Any, known: Instrument | None, rules: Sequence[Rule], connectivity: Any) -> Amended:
    """The instrument with this edition. `rules` are those of the instrument so far. Raises: DataError with the place."""
    if not isinstance(document, Mapping):
        raise DataError("edition", 0, "an edition is an object of keys and values")
    check_keys("edition", 0, document, _KEYS, _OPTIONAL)
    identifier = text_of("edition", "instrument", document, "instrument")
    file = f"edition of {identifier}"
    edition = _edition(file, document["edition"])
    instrument = _opened(file, identifier, known, document, edition)
    if any(other.id == edition.id for other in instrument.editions if known is not None):
        raise DataError(file, "edition", f"there is an edition {edition.id!r} already")
    if known is not None and edition.from_ < instrument.editions[-1].from_:
        newest = instrument.editions[-1]
        raise DataError(file, "edition", f"from lies before that of the newest edition, {newest.id} ({newest.from_})")
    entries = list(instrument.entries)
    for number, item in enumerate(_list(file, document, "end"), start=1):
        _end(file, number, item, entries, edition)
    for number, item in enumerate(_list(file, document, "add"), start=1):
        _add(file, number, item, entries, instrument, edition)
    kept = _rules(file, document, list(rules), identifier, edition, connectivity)
    for schedule in {entry.schedule for entry in entries} - set(instrument.clauses):
        raise DataError(file, schedule, "the schedule has entries and no clause")
    return Amended(
        instrument=replace(
            instrument,
            entries=tuple(entries),
            not_coded=_not_coded(file, document.get("not_coded", {}), instrument.not_coded),
            editions=(*instrument.editions, edition) if known is not None else (edition,),
        ),
        rules=kept,
    )


def boundaries(document: Mapping[str, Any]) -> tuple[date, ...]:
    """The days on which something of this edition begins to bind or has ended, in order."""
    found = {date.fromisoformat(str(document["edition"]["from"]))}
    for item in (*document.get("add", ()), *document.get("rule", ())):
        for key in ("not_before", "effective_from", "settled_from"):
            if item.get(key):
                found.add(date.fromisoformat(str(item[key])))
    for item in (*document.get("add", ()), *document.get("end", ()), *document.get("rule", ()), *document.get("end_rule", ())):
        if item.get("until"):
            found.add(date.fromisoformat(str(item["until"])) + timedelta(days=1))
    return tuple(sorted(found))


def _list(file: str, document: Mapping[str, Any], key: str) -> list[Any]:
    items = document.get(key, [])
    if not isinstance(items, list) or len(items) > MOST_ROWS:
        raise DataError(file, key, f"a list of at most {MOST_ROWS:,} is expected")
    return items


def _table(file: str, where: str, item: Any) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise DataError(file, where, "an object of keys and values is expected")
    return item


def _edition(file: str, item: Any) -> Edition:
    table = _table(file, "edition", item)
    check_keys(file, "edition", table, ("id", "from", "source"))
    start = date_of(file, "edition", table["from"], "from")
    if start is None:
        raise DataError(file, "edition", "from: a date is needed")
    identifier = text_of(file, "edition", table, "id")
    if len(identifier) > 40:
        raise DataError(file, "edition", "id has more than 40 characters")
    return Edition(id=identifier, from_=start, source=text_of(file, "edition", table, "source"))


def _opened(file: str, identifier: str, known: Instrument | None, document: Mapping[str, Any], edition: Edition) -> Instrument:
    if known is not None:
        if "new" in document:
            raise DataError(file, "new", f"{identifier} is known here; leave `new` out")
        return known
    if "new" not in document:
        raise DataError(file, "instrument", f"there is no instrument {identifier!r}; describe it under `new`")
    if len(identifier) > 20:
        raise DataError(file, "instrument", "the id has more than 20 characters")
    table = _table(file, "new", document["new"])
    check_keys(file, "new", table, ("title", "country", "order", "source", "clauses"))
    clauses = _table(file, "new", table["clauses"])
    return Instrument(
        id=identifier,
        title=text_of(file, "new", table, "title"),
        country=str(table["country"]),
        order=tuple(str(name) for name in table["order"]),
        in_force=edition.from_,
        source=text_of(file, "new", table, "source"),
        not_coded=(),
        clauses={name: clause_of(file, name, dict(_table(file, name, clause))) for name, clause in clauses.items()},
        exceptions=(),
        entry_clauses=(),
        editions=(edition,),
        entries=(),
    )


def _period(entry: Entry) -> tuple[date, date]:
    return entry.not_before or entry.effective_from or date.min, entry.until or date.max


def _end(file: str, number: int, item: Any, entries: list[Entry], edition: Edition) -> None:
    where = f"end {number}"
    table = _table(file, where, item)
    check_keys(file, where, table, ("name", "schedule", "until", "source"))
    until = _last_day(file, where, table, edition)
    name, schedule = text_of(file, where, table, "name"), text_of(file, where, table, "schedule")
    source = text_of(file, where, table, "source")
    place = next(
        (
            index
            for index, entry in enumerate(entries)
            if (entry.name, entry.schedule) == (name, schedule) and _period(entry)[0] <= until < _period(entry)[1]
        ),
        None,
    )
    if place is None:
        raise DataError(file, where, f"{name!r} is not in schedule {schedule} on {until}")
    entries[place] = replace(entries[place], until=until, source=f"{entries[place].source}; ended by {source}")


def _last_day(file: str, where: str, table: Mapping[str, Any], edition: Edition) -> date:
    until = date_of(file, where, table["until"], "until")
    if until is None:
        raise DataError(file, where, "until: a date is needed")
    if until < edition.from_ - timedelta(days=1):
        raise DataError(file, where, f"until lies before the eve of the edition ({edition.from_}): the past stays as it was")
    return until


def _add(file: str, number: int, item: Any, entries: list[Entry], instrument: Instrument, edition: Edition) -> None:
    where = f"add {number}"
    table = _table(file, where, item)
    check_keys(file, where, table, ("name", "schedule", "text_status", "source"), COLUMNS)
    for key, value in table.items():
        if not isinstance(value, str | date):
            raise DataError(file, where, f"{key} must be a text")
    record = {column: str(table.get(column, "")).strip() for column in COLUMNS}
    record["not_before"] = record["not_before"] or record["effective_from"] or edition.from_.isoformat()
    record["structure_check"] = record["structure_check"] or "given with the edition"
    if record["smiles"]:
        record["stereo"] = record["stereo"] or "any"
        structure_of(file, where, record["smiles"])
        if "." in record["smiles"] and record["as_is"] != "yes":
            raise DataError(file, where, "a listed structure must be one substance, drawn without counter-ion")
    entry = entry_of(file, where, record, instrument.id, instrument.order)
    start, end = _period(entry)
    if start < edition.from_:
        raise DataError(file, where, f"it begins before the edition ({edition.from_}): the past stays as it was")
    if end < start:
        raise DataError(file, where, "until lies before the first day")
    for other in entries:
        first, last = _period(other)
        if (other.name, other.schedule) == (entry.name, entry.schedule) and start <= last and first <= end:
            raise DataError(file, where, f"{entry.name!r} stands in schedule {entry.schedule} already from {first} on")
    entries.append(entry)


def _rules(
    file: str, document: Mapping[str, Any], rules: list[Rule], instrument: str, edition: Edition, connectivity: Any
) -> tuple[Rule, ...]:
    for number, item in enumerate(_list(file, document, "end_rule"), start=1):
        where = f"end_rule {number}"
        table = _table(file, where, item)
        check_keys(file, where, table, ("id", "until", "source"))
        until = _last_day(file, where, table, edition)
        identifier = text_of(file, where, table, "id")
        place = next((i for i, r in enumerate(rules) if r.id == identifier and (r.until is None or r.until > until)), None)
        if place is None:
            raise DataError(file, where, f"no text of a rule {identifier!r} is in force on {until}")
        source = text_of(file, where, table, "source")
        rules[place] = replace(rules[place], until=until, source=f"{rules[place].source}; ended by {source}")
    texts = _list(file, document, "rule")
    if not texts:
        return tuple(rules)
    try:
        added = rules_of(file, {"rule": texts, "templates": document.get("templates", {})}, instrument, connectivity)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # a shipped file never has these; an operator's may
        raise DataError(file, "rule", f"not in the form of a class rule: {error}") from error
    for rule in added:
        start = rule.effective_from or rule.not_before
        if start is None or start < edition.from_ or (rule.not_before or start) < edition.from_:
            raise DataError(file, rule.id, f"a rule begins with the edition ({edition.from_}) or later")
        for other in rules:
            if other.id == rule.id and (other.until is None or other.until >= start):
                raise DataError(file, rule.id, "an earlier text of the rule has not ended; end it with `end_rule`")
    return (*rules, *added)


def _not_coded(file: str, item: Any, before: tuple[str, ...]) -> tuple[str, ...]:
    table = _table(file, "not_coded", item)
    check_keys(file, "not_coded", table, (), ("add", "remove"))
    gone = [str(text) for text in table.get("remove", [])]
    missing = [text for text in gone if text not in before]
    if missing:
        raise DataError(file, "not_coded", f"there is no such sentence: {missing[0]}")
    return (*(text for text in before if text not in gone), *(str(text) for text in table.get("add", [])))
