"""Instruments as dated, cited data: entries, clauses, exceptions, editions; loaded strictly.

An entry matches a substance; which stereo forms and derivatives follow from it is the clause of its
schedule.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from chem.catalog import check_keys, date_of, read_csv, read_toml, text_of
from chem.errors import DataError
from chem.values import TextStatus

_Choice = TypeVar("_Choice", bound=StrEnum)

COLUMNS = (
    "name",
    "synonyms",
    "cas",
    "schedule",
    "not_before",
    "effective_from",
    "settled_from",
    "until",
    "text_status",
    "smiles",
    "stereo",
    "designation",
    "as_is",
    "aliases",
    "iupac_name",
    "structure_source",
    "structure_check",
    "notes",
    "source",
)


class StereoScope(StrEnum):
    """Which stereo forms an entry names."""

    ANY = "any"  # its name fixes no stereo, or the listing says stereochemical variants
    DRAWN = "drawn"  # the stereoisomer drawn
    RACEMATE = "racemate"  # a racemate drawn as one enantiomer: both enantiomers and the racemate
    RACEMATE_LOOSE = "racemate_loose"  # the same, and a flat report counts
    MIXTURE = "mixture"  # a racemate whose enantiomers are listed or excepted on their own


class StereoClause(StrEnum):
    """What a schedule says of stereoisomers of its entries."""

    ALL = "all"
    DESIGNATION = "designation"  # whenever possible within the specific chemical designation
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of a schedule. Without `smiles` it stays listed and never matches; `notes` says why."""

    instrument: str
    name: str
    synonyms: tuple[str, ...]
    cas: str
    schedule: str
    not_before: date | None
    effective_from: date | None
    settled_from: date | None
    until: date | None
    text_status: TextStatus
    smiles: str
    stereo: StereoScope | None
    fixed_designation: bool
    as_is: bool
    aliases: tuple[tuple[str, str], ...]
    iupac_name: str
    structure_check: str
    notes: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clause:
    """What follows from the entries of one schedule."""

    schedule: str
    stereoisomers: StereoClause
    esters: bool
    ethers: bool
    text_status: TextStatus
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """A substance that the instrument excepts by name, with the entries it is excepted from."""

    name: str
    smiles: str
    entries: frozenset[str]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryClause:
    """Words of one entry that reach beyond its structure.

    `kind`: esters (what hydrolyses to the entry), skeleton (a pattern that only may be meant), quaternary
    (a quaternary form of one of the entries `of`).
    """

    id: str
    instrument: str
    entry: str
    kind: str
    smarts: str
    words: str
    of: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A dated state of an instrument."""

    id: str
    from_: date
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """An instrument with everything that its data says. `country` is ISO 3166-1 alpha-2, empty for a
    convention.
    """

    id: str
    title: str
    country: str
    order: tuple[str, ...]
    in_force: date
    source: str
    not_coded: tuple[str, ...]
    clauses: dict[str, Clause]
    exceptions: tuple[Exempt, ...]
    entry_clauses: tuple[EntryClause, ...]
    editions: tuple[Edition, ...]
    entries: tuple[Entry, ...]

    def edition_on(self, as_of: date) -> Edition:
        """The newest edition in force on a date; before the first, the first."""
        current = [edition for edition in self.editions if edition.from_ <= as_of]
        return current[-1] if current else self.editions[0]


def load_instrument(folder: Path) -> Instrument:
    """One instrument from its folder (`instrument.toml`, `entries.csv`). Raises: DataError."""
    file = f"{folder.name}/instrument.toml"
    table = read_toml(folder / "instrument.toml")
    check_keys(
        file,
        0,
        table,
        ("id", "title", "country", "order", "in_force", "source", "not_coded", "editions"),
        ("clauses", "exceptions", "entry_clauses"),
    )
    identifier = text_of(file, "id", table, "id")
    order = tuple(str(item) for item in table["order"])
    clauses = {name: clause_of(file, name, clause) for name, clause in table.get("clauses", {}).items()}
    editions = tuple(_edition(file, number, item) for number, item in enumerate(table["editions"], start=1))
    if not editions or list(editions) != sorted(editions, key=lambda e: e.from_):
        raise DataError(file, "editions", "at least one edition, in order of date")
    in_force = date_of(file, "in_force", table["in_force"], "in_force")
    if in_force is None:
        raise DataError(file, "in_force", "a date is needed")
    entries = _entries(folder / "entries.csv", folder.name, identifier, order)
    for schedule in order:
        if schedule not in clauses and any(e.schedule == schedule for e in entries):
            raise DataError(file, schedule, "the schedule has entries and no clause")
    return Instrument(
        id=identifier,
        title=text_of(file, "title", table, "title"),
        country=str(table["country"]),
        order=order,
        in_force=in_force,
        source=text_of(file, "source", table, "source"),
        not_coded=tuple(str(item) for item in table["not_coded"]),
        clauses=clauses,
        exceptions=tuple(_exception(file, n, e, entries) for n, e in enumerate(table.get("exceptions", []), start=1)),
        entry_clauses=tuple(
            _entry_clause(file, n, c, identifier, entries) for n, c in enumerate(table.get("entry_clauses", []), start=1)
        ),
        editions=editions,
        entries=entries,
    )


def clause_of(file: str, name: str, table: dict[str, Any]) -> Clause:
    """The clause of one schedule. Raises: DataError."""
    check_keys(file, name, table, ("stereoisomers", "text_status", "source"), ("esters", "ethers"))
    return Clause(
        schedule=name,
        stereoisomers=_choice(file, name, StereoClause, table["stereoisomers"]),
        esters=bool(table.get("esters", False)),
        ethers=bool(table.get("ethers", False)),
        text_status=_choice(file, name, TextStatus, table["text_status"]),
        source=text_of(file, name, table, "source"),
    )


def _edition(file: str, number: int, table: dict[str, Any]) -> Edition:
    check_keys(file, f"edition {number}", table, ("id", "from", "source"))
    start = date_of(file, f"edition {number}", table["from"], "from")
    if start is None:
        raise DataError(file, f"edition {number}", "a date is needed")
    return Edition(
        id=text_of(file, f"edition {number}", table, "id"),
        from_=start,
        source=text_of(file, f"edition {number}", table, "source"),
    )


def _exception(file: str, number: int, table: dict[str, Any], entries: tuple[Entry, ...]) -> Exempt:
    where = f"exception {number}"
    check_keys(file, where, table, ("name", "smiles", "entries", "source"))
    names = frozenset(str(name) for name in table["entries"])
    unknown = names - {entry.name for entry in entries}
    if unknown:
        raise DataError(file, where, f"no such entry: {', '.join(sorted(unknown))}")
    return Exempt(
        name=text_of(file, where, table, "name"),
        smiles=text_of(file, where, table, "smiles"),
        entries=names,
        source=text_of(file, where, table, "source"),
    )


def _entry_clause(file: str, number: int, table: dict[str, Any], instrument: str, entries: tuple[Entry, ...]) -> EntryClause:
    where = f"entry clause {number}"
    check_keys(file, where, table, ("id", "entry", "kind", "source"), ("smarts", "words", "of"))
    names = {entry.name for entry in entries}
    of = tuple(str(name) for name in table.get("of", []))
    missing = [name for name in (str(table["entry"]), *of) if name not in names]
    if missing:
        raise DataError(file, where, f"no such entry: {', '.join(missing)}")
    if table["kind"] not in ("esters", "skeleton", "quaternary"):
        raise DataError(file, where, "kind is esters, skeleton or quaternary")
    return EntryClause(
        id=text_of(file, where, table, "id"),
        instrument=instrument,
        entry=text_of(file, where, table, "entry"),
        kind=str(table["kind"]),
        smarts=str(table.get("smarts", "")),
        words=str(table.get("words", "")),
        of=of,
        source=text_of(file, where, table, "source"),
    )


def _choice(file: str, row: int | str, kind: type[_Choice], value: Any) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        raise DataError(file, row, f"{value!r} is none of {', '.join(kind)}") from error


def _entries(path: Path, folder: str, instrument: str, order: tuple[str, ...]) -> tuple[Entry, ...]:
    file = f"{folder}/{path.name}"
    if not path.exists():
        return ()
    entries: list[Entry] = []
    periods: dict[tuple[str, str], list[tuple[date, date, int]]] = defaultdict(list)
    for row, record in read_csv(path, COLUMNS):
        entry = entry_of(file, row, record, instrument, order)
        start = entry.not_before or entry.effective_from or date.min
        end = entry.until or date.max
        if end < start:
            raise DataError(file, row, "until lies before the first day")
        for other_start, other_end, other_row in periods[(entry.name, entry.schedule)]:
            if start <= other_end and other_start <= end:
                raise DataError(file, row, f"overlaps row {other_row} for the same entry and schedule")
        periods[(entry.name, entry.schedule)].append((start, end, row))
        entries.append(entry)
    return tuple(entries)


def entry_of(file: str, row: int | str, record: dict[str, str], instrument: str, order: tuple[str, ...]) -> Entry:
    """An entry from its columns. Raises: DataError."""
    for column in ("name", "schedule", "text_status", "structure_check", "source"):
        if not record[column]:
            raise DataError(file, row, f"{column} is empty")
    if record["schedule"] not in order:
        raise DataError(file, row, f"schedule {record['schedule']!r} is none of {', '.join(order)}")
    smiles = record["smiles"]
    if bool(smiles) != bool(record["stereo"]):
        raise DataError(file, row, "stereo is given exactly where there is a structure")
    if not smiles and not record["notes"]:
        raise DataError(file, row, "a row without structure needs a reason in notes")
    dates = {key: date_of(file, row, record[key], key) for key in ("not_before", "effective_from", "settled_from", "until")}
    if dates["not_before"] and dates["effective_from"] and dates["effective_from"] < dates["not_before"]:
        raise DataError(file, row, "effective_from lies before not_before")
    aliases = []
    for alias in filter(None, (part.strip() for part in record["aliases"].split(";"))):
        kind, _, text = alias.partition(":")
        if not text:
            raise DataError(file, row, f"alias {alias!r} must be kind:SMILES")
        aliases.append((kind, text))
    if record["designation"] not in ("", "open", "fixed") or record["as_is"] not in ("", "yes"):
        raise DataError(file, row, "designation is open or fixed, as_is is yes or empty")
    return Entry(
        instrument=instrument,
        name=record["name"],
        synonyms=tuple(filter(None, (s.strip() for s in record["synonyms"].split(";")))),
        cas=record["cas"],
        schedule=record["schedule"],
        not_before=dates["not_before"],
        effective_from=dates["effective_from"],
        settled_from=dates["settled_from"],
        until=dates["until"],
        text_status=_choice(file, row, TextStatus, record["text_status"]),
        smiles=smiles,
        stereo=_choice(file, row, StereoScope, record["stereo"]) if smiles else None,
        fixed_designation=record["designation"] == "fixed",
        as_is=record["as_is"] == "yes",
        aliases=tuple(aliases),
        iupac_name=record["iupac_name"],
        structure_check=record["structure_check"],
        notes=record["notes"],
        source=record["source"],
    )
