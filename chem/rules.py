"""Class definitions as data: the strict loader of `chem/data/rules/<instrument>/*.toml`.

A rule is one dated text of one provision. Its cores are SMARTS whose atom-map numbers are the statute's
positions; every heavy atom outside the core must be allowed at the position where it hangs (a closed
reading), unless the position is open.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from rdkit import Chem
from rdkit.Chem.rdchem import Mol

from chem.catalog import check_keys, date_of, query_of, read_toml, structure_of, text_of
from chem.errors import DataError
from chem.values import Reason, TextStatus

WORDS = frozenset(
    {
        "any",
        "alkyl",
        "alkenyl",
        "alkynyl",
        "haloalkyl",
        "hydroxyalkyl",
        "alkoxyalkyl",
        "cyanoalkyl",
        "cyano",
        "cycloalkyl",
        "cycloalkylmethyl",
        "cycloalkylethyl",
        "benzyl",
        "arylalkyl",
        "phenyl",
        "ring",
        "monocycle",
        "heteromonocycle",
        "aromatic_monocycle",
        "acyl",
        "carboxy",
        "ester",
        "alkoxycarbonyl",
        "carbamoyl",
        "alkylcarbonyl",
        "ether",
        "halo",
        "hydroxy",
        "thiol",
        "amino",
        "alkylamino",
        "nitro",
        "alkoxy",
        "haloalkoxy",
        "acyloxy",
        "acetyloxy",
        "alkylthio",
        "alkylsulfonyl",
        "oxo",
        "ylidene",
        "ring_on_atom",
        "bare_ring_on_atom",
        "pyrrolidine",
        "piperidine",
        "morpholine",
        "azetidine",
        "alkylenedioxy",
        "methylenedioxy",
        "ethylenedioxy",
        "ethyleneoxy",
        "vinyleneoxy",
        "fused",
        "bare_bridge",
        "open_bridge",
        "alkyl*",
        "alkenyl*",
        "ring*",
        "template",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One permitted class of substituent, with the most carbons where the text sets a limit."""

    name: str
    carbons: int | None

    def __str__(self) -> str:
        return self.name if self.carbons is None else f"{self.name} up to C{self.carbons}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A drawn group (its first atom bonds to the core) that may carry the position's substituents."""

    name: str
    query: Mol


@dataclass(frozen=True, slots=True, kw_only=True)
class Residue:
    """A group limited by elements, chain length (ring atoms not counted) and mass in u (hydrogen
    included)."""

    elements: frozenset[int]
    chain_min: int
    chain_max: int
    mass_max: float | None
    ring_sizes: tuple[int, int] | None
    ring_on_chain_max: int | None
    no_heteroatom_first: bool
    roots: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What may hang at the atoms of one legal position."""

    name: str
    maps: frozenset[int]
    allow: tuple[Word, ...]
    undecided: tuple[Word, ...]
    need: tuple[Word, ...]
    substituents: tuple[Word, ...]
    templates: tuple[Template, ...]
    residue: Residue | None
    open: bool
    most: int | None
    least: int
    then_any_univalent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridge:
    """What may be held by two bonds, with both ends in the named positions."""

    groups: frozenset[str]
    allow: tuple[Word, ...]
    undecided: tuple[Word, ...]
    ring_sizes: tuple[int, int] | None
    most_hetero: int | None
    distinct: bool  # its ends must stand in different positions


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A substance that the text itself leaves out."""

    name: str
    connectivity: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A core query with the map number of each of its atoms (0 where the position has no name)."""

    query: Mol
    maps: tuple[int, ...]
    shut: tuple[tuple[int, int], ...]  # place and degree of each atom where a closed reading lets nothing hang

    @property
    def rings(self) -> int:
        """Independent rings of the query."""
        return self.query.GetNumBonds() - self.query.GetNumAtoms() + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One text of one class definition."""

    id: str
    instrument: str
    provision: str
    schedule: str
    entry: str
    text_status: TextStatus
    reading: str
    not_before: date | None
    effective_from: date | None
    until: date | None
    source: str
    notes: str
    gates: tuple[tuple[str, Mol], ...]
    cores: tuple[Core, ...]
    positions: tuple[Position, ...]
    bridges: tuple[Bridge, ...]
    parents: frozenset[str]
    exclude: tuple[Exclusion, ...]
    named_elsewhere: bool
    not_with: tuple[Mol, ...]
    mass_max: float | None
    elements: frozenset[int] | None
    foreign: Mol | None  # an atom of no permitted element
    least_atoms: int
    least_rings: int
    forced: Reason | None
    carve_outs: tuple[str, ...]
    hits: tuple[str, ...]
    near_misses: tuple[str, ...]


_REQUIRED = (
    "id",
    "provision",
    "schedule",
    "entry",
    "text_status",
    "reading",
    "source",
    "cores",
    "hits",
    "near_misses",
)
_OPTIONAL = (
    "not_before",
    "effective_from",
    "until",
    "notes",
    "prefilter",
    "gate",
    "linkers",
    "positions",
    "bridges",
    "parents",
    "exclude",
    "named_elsewhere",
    "not_with",
    "mass_max",
    "elements",
    "forced",
    "carve_outs",
)


def load_rules(folder: Path, instrument: str, connectivity: Any) -> tuple[Rule, ...]:
    """All rules of an instrument's folder. `connectivity` gives the first InChIKey block of a SMILES.
    Raises: DataError.
    """
    rules: list[Rule] = []
    periods: dict[str, list[tuple[date, date]]] = defaultdict(list)
    for path in sorted(folder.glob("*.toml")) if folder.exists() else ():
        file = f"{folder.name}/{path.name}"
        table = read_toml(path)
        for rule in rules_of(file, table, instrument, connectivity):
            start = rule.effective_from or rule.not_before or date.min
            end = rule.until or date.max
            if any(start <= e and s <= end for s, e in periods[rule.id]):
                raise DataError(file, rule.id, "two texts of the rule overlap in time")
            periods[rule.id].append((start, end))
            rules.append(rule)
    return tuple(rules)


def rules_of(file: str, table: dict[str, Any], instrument: str, connectivity: Any) -> list[Rule]:
    """The dated texts of one file's table. Raises: DataError."""
    check_keys(file, 0, table, ("rule",), ("templates",))
    templates = {
        name: Template(name=name, query=query_of(file, f"template {name}", str(smarts)))
        for name, smarts in table.get("templates", {}).items()
    }
    return _texts(file, table["rule"], instrument, templates, connectivity)


def _texts(
    file: str, items: list[dict[str, Any]], instrument: str, templates: dict[str, Template], connectivity: Any
) -> list[Rule]:
    """One rule for each dated text: `texts` of a rule share its definition and differ in provision, dates
    and status.
    """
    rules = []
    for item in items:
        shared = {key: value for key, value in item.items() if key != "texts"}
        for text in item.get("texts", [{}]):
            rules.append(_rule(file, {**shared, **text}, instrument, templates, connectivity))
    return rules


def _rule(file: str, item: dict[str, Any], instrument: str, templates: dict[str, Template], connectivity: Any) -> Rule:
    where = str(item.get("id", "rule without id"))
    check_keys(file, where, item, _REQUIRED, _OPTIONAL)
    positions = tuple(_position(file, where, name, table, templates) for name, table in item.get("positions", {}).items())
    names = {position.name for position in positions}
    bridges = tuple(_bridge(file, where, table, names) for table in item.get("bridges", []))
    open_maps = frozenset(number for position in positions for number in position.maps)
    cores = _cores(file, where, item["cores"], item.get("linkers", []), open_maps, item["reading"])
    used = {number for core in cores for number in core.maps}
    unknown = {number for position in positions for number in position.maps} - used
    if unknown:
        raise DataError(file, where, f"positions name atoms that no core has: {sorted(unknown)}")
    if not item["hits"] or not item["near_misses"]:
        raise DataError(file, where, "a rule needs a hit and a near miss")
    if item["reading"] not in ("closed", "open"):
        raise DataError(file, where, "reading is closed or open")
    prefilter, gate = item.get("prefilter"), item.get("gate")
    elements = None if item.get("elements") is None else frozenset(_element(file, where, e) for e in item["elements"])
    foreign = query_of(file, where, "[" + ";".join(f"!#{n}" for n in sorted(elements)) + "]") if elements else None
    return Rule(
        id=text_of(file, where, item, "id"),
        instrument=instrument,
        provision=text_of(file, where, item, "provision"),
        schedule=text_of(file, where, item, "schedule"),
        entry=text_of(file, where, item, "entry"),
        text_status=TextStatus(item["text_status"]),
        reading=item["reading"],
        not_before=date_of(file, where, item.get("not_before"), "not_before"),
        effective_from=date_of(file, where, item.get("effective_from"), "effective_from"),
        until=date_of(file, where, item.get("until"), "until"),
        source=text_of(file, where, item, "source"),
        notes=str(item.get("notes", "")),
        gates=tuple((text, query_of(file, where, text)) for text in (gate, prefilter) if text),
        cores=cores,
        positions=positions,
        bridges=bridges,
        parents=frozenset(_flat(file, where, smiles) for smiles in item.get("parents", [])),
        exclude=tuple(_exclusion(file, where, table, connectivity) for table in item.get("exclude", [])),
        named_elsewhere=bool(item.get("named_elsewhere", False)),
        not_with=tuple(query_of(file, where, smarts) for smarts in item.get("not_with", [])),
        mass_max=item.get("mass_max"),
        elements=elements,
        foreign=foreign,
        least_atoms=min(core.query.GetNumAtoms() for core in cores),
        least_rings=min(core.rings for core in cores),
        forced=Reason(item["forced"]) if "forced" in item else None,
        carve_outs=tuple(item.get("carve_outs", [])),
        hits=tuple(item["hits"]),
        near_misses=tuple(item["near_misses"]),
    )


def _flat(file: str, where: str, smiles: str) -> str:
    return Chem.MolToSmiles(structure_of(file, where, smiles), isomericSmiles=False)


def _element(file: str, where: str, symbol: str) -> int:
    try:
        return int(Chem.GetPeriodicTable().GetAtomicNumber(symbol))
    except RuntimeError as error:
        raise DataError(file, where, f"no element {symbol!r}") from error


def _cores(
    file: str, where: str, texts: list[str], linkers: list[str], open_maps: frozenset[int], reading: str
) -> tuple[Core, ...]:
    cores = []
    for text in texts:
        for full in [text.replace("{L}", linker) for linker in linkers] if "{L}" in text else [text]:
            query = query_of(file, where, full)
            maps = tuple(atom.GetAtomMapNum() for atom in query.GetAtoms())
            shut = tuple((a.GetIdx(), a.GetDegree()) for a in query.GetAtoms() if a.GetAtomMapNum() not in open_maps)
            cores.append(Core(query=query, maps=maps, shut=shut if reading == "closed" else ()))
    if not cores:
        raise DataError(file, where, "no core")
    return tuple(cores)


def _words(file: str, where: str, texts: list[str], templates: dict[str, Template]) -> tuple[Word, ...]:
    words = []
    for text in texts:
        name, _, limit = text.partition(":")
        if name not in WORDS and name not in templates:
            raise DataError(file, where, f"unknown class of substituent: {text!r}")
        words.append(Word(name=name, carbons=int(limit) if limit else None))
    return tuple(words)


def _position(file: str, where: str, name: str, table: dict[str, Any], templates: dict[str, Template]) -> Position:
    place = f"{where}, {name}"
    optional = (
        "allow", "undecided", "need", "substituents", "templates", "residue", "open", "max", "min",
        "then_any_univalent",
    )  # fmt: skip
    check_keys(file, place, table, ("maps",), optional)
    missing = [t for t in table.get("templates", []) if t not in templates]
    if missing:
        raise DataError(file, place, f"no such template: {', '.join(missing)}")
    return Position(
        name=name,
        maps=frozenset(table["maps"]),
        allow=_words(file, place, table.get("allow", []), {}),
        undecided=_words(file, place, table.get("undecided", []), {}),
        need=_words(file, place, table.get("need", []), templates),
        substituents=_words(file, place, table.get("substituents", []), {}),
        templates=tuple(templates[t] for t in table.get("templates", [])),
        residue=_residue(file, place, table["residue"]) if "residue" in table else None,
        open=bool(table.get("open", False)),
        most=table.get("max"),
        least=int(table.get("min", 0)),
        then_any_univalent=bool(table.get("then_any_univalent", False)),
    )


def _residue(file: str, where: str, table: dict[str, Any]) -> Residue:
    optional = ("chain_min", "mass_max", "ring_sizes", "ring_on_chain_max", "no_heteroatom_first", "roots")
    check_keys(file, where, table, ("elements", "chain_max"), optional)
    sizes = table.get("ring_sizes")
    return Residue(
        elements=frozenset(_element(file, where, e) for e in table["elements"]),
        chain_min=int(table.get("chain_min", 0)),
        chain_max=int(table["chain_max"]),
        mass_max=table.get("mass_max"),
        ring_sizes=(int(sizes[0]), int(sizes[1])) if sizes else None,
        ring_on_chain_max=table.get("ring_on_chain_max"),
        roots=frozenset(table.get("roots", [])),
        no_heteroatom_first=bool(table.get("no_heteroatom_first", False)),
    )


def _bridge(file: str, where: str, table: dict[str, Any], names: set[str]) -> Bridge:
    check_keys(file, where, table, ("groups",), ("allow", "undecided", "ring_sizes", "most_hetero", "distinct"))
    unknown = set(table["groups"]) - names
    if unknown:
        raise DataError(file, where, f"bridge between unknown positions: {sorted(unknown)}")
    sizes = table.get("ring_sizes")
    return Bridge(
        groups=frozenset(table["groups"]),
        allow=_words(file, where, table.get("allow", []), {}),
        undecided=_words(file, where, table.get("undecided", []), {}),
        ring_sizes=(int(sizes[0]), int(sizes[1])) if sizes else None,
        most_hetero=table.get("most_hetero"),
        distinct=bool(table.get("distinct", False)),
    )


def _exclusion(file: str, where: str, table: dict[str, Any], connectivity: Any) -> Exclusion:
    check_keys(file, where, table, ("name", "smiles", "why"))
    return Exclusion(
        name=text_of(file, where, table, "name"),
        connectivity=connectivity(structure_of(file, where, text_of(file, where, table, "smiles"))),
        why=text_of(file, where, table, "why"),
    )
