"""Matching against listed entries: salts by the parent, stereochemistry by what the entry names, exceptions
first.

The comparison is by InChIKeys of the parent and of its possible stereoisomers, so another mobile-hydrogen
drawing of a listed substance is still that substance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rdkit import Chem
from rdkit.Chem import EnumerateStereoisomers as _stereo
from rdkit.Chem.rdchem import Mol

from chem.identity import Substance, tautomer_hash
from chem.parsing import inchikey_of
from chem.schedules import Entry, Instrument, StereoClause, StereoScope
from chem.values import Basis, Certainty, Reason, Stereo

MAX_STEREOISOMERS = 64
_enumerate: Callable[..., Iterable[Mol]] = _stereo.EnumerateStereoisomers
_options: Callable[..., Any] = _stereo.StereoEnumerationOptions
_OPEN = (Stereo.UNDEFINED, Stereo.PARTIAL, Stereo.UNKNOWN_SINGLE)


def stereoisomer_keys(mol: Mol) -> frozenset[str] | None:
    """InChIKeys of every stereoisomer that a drawing leaves open (its own, where nothing is open); None
    above the limit.
    """
    options = _options(onlyUnassigned=True, unique=True, maxIsomers=MAX_STEREOISOMERS + 1)
    keys = set()
    for count, isomer in enumerate(_enumerate(mol, options=options)):
        if count >= MAX_STEREOISOMERS:
            return None
        keys.add(inchikey_of(isomer))
    return frozenset(keys)


def mirror_image(mol: Mol) -> Mol:
    """The enantiomer of a drawing."""
    image = Chem.Mol(mol)
    for atom in image.GetAtoms():
        atom.InvertChirality()
    Chem.AssignStereochemistry(image, cleanIt=True, force=True)
    return image


class Form:
    """A structure to be compared with entries: a reported parent, or what a cut ester leaves."""

    def __init__(self, *, mol: Mol, keys: tuple[str, ...], stereo: Stereo, formula: str) -> None:
        self.mol = mol
        self.keys = keys
        self.stereo = stereo
        self.formula = formula

    @classmethod
    def of(cls, substance: Substance) -> Form:
        """The form of a reported substance."""
        identity = substance.identity
        return cls(
            mol=substance.mol,
            keys=substance.keys,
            stereo=identity.stereo,
            formula=identity.formula,
        )

    @property
    def connectivity(self) -> str:
        return self.keys[0][:14]

    @cached_property
    def isomers(self) -> frozenset[str] | None:
        """Every stereoisomer that the report may mean or contains."""
        if self.stereo in (Stereo.ABSOLUTE, Stereo.NONE) or len(self.keys) > 1:
            return frozenset(self.keys)
        return stereoisomer_keys(self.mol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """An entry with the InChIKeys it names. `alias` is the kind of another drawing, empty for the structure
    itself.
    """

    entry: Entry
    rank: tuple[int, int, int]
    alias: str
    mol: Mol
    key: str
    formula: str
    tautomer_hash: str
    cover: frozenset[str]
    pairs: frozenset[frozenset[str]]
    excepted: frozenset[str]
    clause: StereoClause

    @property
    def connectivity(self) -> str:
        return self.key[:14]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An entry that a form falls under, with how sure that is and a clause of a sentence that says why."""

    indexed: Indexed
    basis: Basis
    certainty: Certainty
    reason: Reason | None
    why: str


class ListedIndex:
    """All entries with a structure, ready for look-up. Immutable after construction."""

    def __init__(self, instruments: Sequence[Instrument], normal: Callable[[str, int, Entry], Substance]) -> None:
        self.as_they_are: dict[str, list[Indexed]] = defaultdict(list)
        self.by_connectivity: dict[str, list[Indexed]] = defaultdict(list)
        self.by_hash: dict[str, list[Indexed]] = defaultdict(list)
        self.all: list[Indexed] = []
        flats: set[str] = set()
        self.flats_of: dict[str, set[str]] = defaultdict(set)
        formulas: set[str] = set()
        for place, instrument in enumerate(instruments):
            excepted = {
                name: frozenset(
                    normal(e.smiles, 0, _dummy(instrument, e.name)).keys[0] for e in instrument.exceptions if name in e.entries
                )
                for name in {n for e in instrument.exceptions for n in e.entries}
            }
            for number, entry in enumerate(instrument.entries):
                if not entry.smiles:
                    continue
                for indexed, substance in _index(instrument, place, number, entry, normal, excepted):
                    if entry.as_is:
                        self.as_they_are[substance.identity.inchikey].append(indexed)
                    else:
                        self.by_connectivity[indexed.connectivity].append(indexed)
                        if not indexed.alias:
                            self.by_hash[indexed.tautomer_hash].append(indexed)
                        flats.add(substance.identity.flat_smiles)
                        self.flats_of[indexed.connectivity].add(substance.identity.flat_smiles)
                        formulas.add(indexed.formula)
                    self.all.append(indexed)
        self.listed_flat = frozenset(flats)
        self.formulas = frozenset(formulas)
        self.keys = frozenset(i.key for i in self.all if not i.entry.as_is)

    def hits(self, form: Form) -> list[Hit]:
        """Entries that the form itself falls under, within every instrument."""
        same = [i for i in self.by_connectivity.get(form.connectivity, ()) if i.formula == form.formula]
        found: list[Hit] = []
        for instrument in dict.fromkeys(i.entry.instrument for i in same):
            found.extend(_hits_of_instrument([i for i in same if i.entry.instrument == instrument], form))
        if not same and form.formula in self.formulas:
            found.extend(self._tautomers(form))
        return found

    def _tautomers(self, form: Form) -> list[Hit]:
        return [
            Hit(
                indexed=i,
                basis=Basis.LISTED,
                certainty=Certainty.POSSIBLE,
                reason=Reason.OTHER_TAUTOMER,
                why="is drawn as what may be another tautomer of it",
            )
            for i in self.by_hash.get(tautomer_hash(form.mol), ())
            if i.connectivity != form.connectivity and i.formula == form.formula
        ]


def _dummy(instrument: Instrument, name: str) -> Entry:
    return replace(instrument.entries[0], name=name, stereo=StereoScope.DRAWN)


def _index(
    instrument: Instrument,
    place: int,
    number: int,
    entry: Entry,
    normal: Callable[[str, int, Entry], Substance],
    excepted: dict[str, frozenset[str]],
) -> Iterable[tuple[Indexed, Substance]]:
    clause = instrument.clauses[entry.schedule].stereoisomers
    rank = (place, instrument.order.index(entry.schedule), number)
    main = normal(entry.smiles, number + 2, entry)
    pairs: set[frozenset[str]] = set()
    drawings: list[tuple[str, Substance]] = [("", main)]
    for kind, smiles in entry.aliases:
        other = normal(smiles, number + 2, entry)
        if kind == "racemate":
            pairs.add(frozenset({other.keys[0], inchikey_of(mirror_image(other.mol))}))
        else:
            drawings.append((kind, other))
    for kind, substance in drawings:
        identity = substance.identity
        yield (
            Indexed(
                entry=entry,
                rank=rank,
                alias=kind,
                mol=substance.mol,
                key=identity.parent_inchikey,
                formula=identity.formula,
                tautomer_hash=identity.tautomer_hash or tautomer_hash(substance.mol),
                cover=_cover(substance, entry.stereo),
                pairs=frozenset(pairs),
                excepted=excepted.get(entry.name, frozenset()),
                clause=clause,
            ),
            substance,
        )


def _cover(substance: Substance, scope: StereoScope | None) -> frozenset[str]:
    key = frozenset(substance.keys)
    if scope in (StereoScope.ANY, StereoScope.MIXTURE, None):
        return key
    cover = key | (stereoisomer_keys(substance.mol) or frozenset())
    if scope in (StereoScope.RACEMATE, StereoScope.RACEMATE_LOOSE):
        image = mirror_image(substance.mol)
        cover |= {inchikey_of(image)} | (stereoisomer_keys(image) or frozenset())
    return cover


def _hits_of_instrument(same: list[Indexed], form: Form) -> list[Hit]:
    excepted = frozenset[str]().union(*(i.excepted for i in same))
    if excepted and set(form.keys) <= excepted:
        return []
    # The stereoisomers that a report leaves open matter only where an entry fixes some.
    isomers = form.isomers if any(i.entry.stereo is not StereoScope.ANY for i in same) else frozenset(form.keys)
    exact = [hit for i in same if (hit := _exact(i, form, isomers)) is not None]
    if exact:
        mixtures = [hit for hit in exact if hit.indexed.entry.stereo is StereoScope.MIXTURE]
        return mixtures if mixtures and form.stereo is Stereo.RACEMIC else exact
    open_to = [i for i in same if _may_be(i, form, isomers)]
    if form.stereo in _OPEN and isomers is not None and open_to:
        covered = frozenset[str]().union(*(i.cover for i in same))
        if isomers <= covered and not isomers & excepted:
            named = [i for i in open_to if i.entry.stereo is StereoScope.MIXTURE] or open_to
            why = "leaves stereochemistry open, and every stereoisomer it may be is listed"
            return [_hit(i, Basis.LISTED, why) for i in named]
    return [hit for i in same if (hit := _by_clause(i, form, open_to)) is not None]


def _hit(indexed: Indexed, basis: Basis, why: str, reason: Reason | None = None) -> Hit:
    certainty = Certainty.CERTAIN if reason is None else Certainty.POSSIBLE
    return Hit(indexed=indexed, basis=basis, certainty=certainty, reason=reason, why=why)


def _exact(indexed: Indexed, form: Form, isomers: frozenset[str] | None) -> Hit | None:
    scope = indexed.entry.stereo
    drawn = f", drawn as its {indexed.alias}" if indexed.alias else ""
    if scope is StereoScope.ANY:
        return _hit(indexed, Basis.LISTED, f"is this substance{drawn}; the listing fixes no stereochemistry")
    if scope is StereoScope.MIXTURE:
        if form.stereo is Stereo.RACEMIC and (form.keys[0] == indexed.key or frozenset(form.keys) in indexed.pairs):
            return _hit(indexed, Basis.LISTED, "is the racemate that this entry names")
        return None
    if set(form.keys) <= indexed.cover and form.stereo not in (Stereo.UNKNOWN_SINGLE,):
        return _hit(indexed, Basis.LISTED, f"is this substance{drawn}")
    if form.stereo is Stereo.UNKNOWN_SINGLE and isomers is not None and isomers <= indexed.cover:
        return _hit(indexed, Basis.LISTED, "is one enantiomer of this substance, and the entry covers both")
    if form.stereo is Stereo.RACEMIC and isomers and isomers & indexed.cover:
        return _hit(indexed, Basis.LISTED, "is a racemate that contains the listed isomer")
    if scope is StereoScope.RACEMATE_LOOSE and form.stereo in _OPEN and _may_be(indexed, form, isomers):
        return _hit(
            indexed,
            Basis.LISTED,
            "is drawn without the stereochemistry of this racemate, which is compared without it",
        )
    return None


def _may_be(indexed: Indexed, form: Form, isomers: frozenset[str] | None) -> bool:
    if indexed.entry.stereo is StereoScope.MIXTURE:
        return form.stereo in _OPEN and indexed.key == form.keys[0]
    if form.stereo not in _OPEN:
        return False
    return isomers is None or bool(isomers & indexed.cover)


def _by_clause(indexed: Indexed, form: Form, open_to: list[Indexed]) -> Hit | None:
    fixed = indexed.entry.fixed_designation
    if indexed.clause is StereoClause.ALL and not fixed:
        if form.stereo in _OPEN:
            return _hit(
                indexed,
                Basis.LISTED,
                "leaves stereochemistry open, and the schedule covers every stereoisomer",
            )
        return _hit(indexed, Basis.STEREOISOMER, "is a stereoisomer of it, and the schedule covers its stereoisomers")
    if indexed in open_to:
        why = "leaves stereochemistry open and may be this substance or an isomer that is not listed"
        return _hit(indexed, Basis.LISTED, why, Reason.AMBIGUOUS_STRUCTURE)
    if indexed.clause is StereoClause.DESIGNATION and not fixed and form.stereo is not Stereo.NONE:
        if indexed.entry.stereo is StereoScope.MIXTURE:
            return None
        why = "is another stereoisomer, and the text leaves open which isomers its designation allows"
        return _hit(indexed, Basis.STEREOISOMER, why, Reason.WORD_UNDEFINED)
    return None
