"""From a name, a label or a CAS number to the substance it means, or to the honest answer that it means none.

The table is built from the shipped schedules, the reference lists, a list of approved medicines and hand-made tables of labels
(`chem/data/names`). A label resolves only where every reading of it leads to one structure. Several structures are all
returned; words of doubt ("uncertain", "possibly", "or analog") never resolve to a substance.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rapidfuzz import fuzz, process

from chem.errors import DataError

DATA = Path(__file__).resolve().parent / "data"

_GREEK = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ω": "omega",
    "Δ": "delta", "Α": "alpha", "Β": "beta", "Ω": "omega", "µ": "mu", "μ": "mu",
}  # fmt: skip
_DASHES = dict.fromkeys(map(ord, "‐‑‒–—―−﹣－"), "-")
_PRIMES = dict.fromkeys(map(ord, "’‘′ʹʼ`´"), "'")
_POSITIONS = (("para-", "p-"), ("ortho-", "o-"), ("meta-", "m-"))
_DOUBT = frozenset(
    [
        "uncertain",
        "possibly",
        "possible",
        "probable",
        "probably",
        "maybe",
        "unknown",
        "unidentified",
        "inconclusive",
        "analog",
        "analogs",
        "analogue",
        "analogues",
        "derivative",
        "derivatives",
        "family",
        "like",
        "class",
        "type",
        "nos",
        "not",
        "no",
        "negative",
        "or",
        "related",
        "similar",
        "suspected",
        "isomer",
        "isomers",
    ]
)
_QUALIFIERS = re.compile(r"\((?:wet|trace|traces|dry|oil|oily|solution|liquid|crystal|minor|major|residue|low|high)\)")


def fold(name: str) -> str:
    """The form in which names are compared: lower case letters and digits only.

    Greek letters become words, `p-`, `o-`, `m-` become `para`, `ortho`, `meta`, primes become the word `prime`, signs of rotation
    become `plus`, `minus`, `racemic`. Accents are dropped. Two names that fold alike are one name to the table.
    """
    text = unicodedata.normalize("NFKC", name).translate(_DASHES).translate(_PRIMES)
    text = "".join(_GREEK.get(character, character) for character in text).lower()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = re.sub(r"\((?:±|\+/-|\+-|rac)\)", " racemic ", text).replace("±", " racemic ")
    text = text.replace("(+)", " plus ").replace("(-)", " minus ")
    text = re.sub(r"[/&]|(?<=\w)\s*\+\s*(?=\w)", " slash ", text)  # "meth/amphetamine" is not "methamphetamine"
    text = re.sub(r"(?<=[0-9a-z])''", " doubleprime ", text)
    text = re.sub(r"(?<=[0-9a-z])'(?=[-,\s)]|$)", " prime ", text)
    for long, short in _POSITIONS:
        text = re.sub(rf"(?<![a-z0-9]){short}(?=[a-z(])", long, text)
    return re.sub(r"[^a-z0-9]", "", text)


def tokens(label: str) -> list[str]:
    """The words of a label, folded to lower case, punctuation taken away."""
    text = unicodedata.normalize("NFKC", label).lower()
    return re.findall(r"[a-z0-9?]+", text)


class NameKind(StrEnum):
    SYSTEMATIC = "systematic"
    COMMON = "common"
    CODE = "code"
    STREET = "street"
    BRAND = "brand"
    MISSPELLING = "misspelling"
    ABBREVIATION = "abbreviation"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedSubstance:
    """A substance that a name can mean. Without `smiles` it is a material (flour, opium) and `key` is its folded name."""

    key: str  # flat first name, folded: identity inside the table only
    name: str
    smiles: str | None
    cas: str | None
    group: str
    source: str
    origin: str  # schedule | reference | extra | medicine | material
    listed_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One name of a substance, with where it comes from."""

    name: str
    folded: str
    kind: NameKind
    source: str


class Outcome(StrEnum):
    SUBSTANCE = "substance"
    CANDIDATES = "candidates"
    CLASS = "class"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A near spelling, offered and never taken. Score 0 to 100."""

    name: str
    score: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolution:
    """What a label means. One substance for `SUBSTANCE`, several for `CANDIDATES`, a group code for `CLASS`, else nothing."""

    outcome: Outcome
    substances: tuple[NamedSubstance, ...] = ()
    group: str | None = None
    reason: str = ""
    suggestions: tuple[Suggestion, ...] = ()


def _rows(path: Path, required: Iterable[str]) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        missing = set(required) - set(reader.fieldnames or ())
        if missing:
            raise DataError(path.name, 1, f"columns missing: {', '.join(sorted(missing))}")
        for number, row in enumerate(reader, start=2):
            if None in row or None in row.values():
                raise DataError(path.name, number, "the number of fields differs from the header")
            yield number, {key: value.strip() for key, value in row.items()}


def _guess_kind(name: str) -> NameKind:
    if re.search(r"\d", name) and re.search(r"[A-Z]", name) and len(name) <= 16:
        return NameKind.CODE
    return NameKind.SYSTEMATIC if re.search(r"\d,\d|\[|\(.*-.*\)-", name) else NameKind.COMMON


class NameTable:
    """All shipped names. Immutable once built; `extra` names of an installation are laid over it by `with_names`."""

    def __init__(self, data: Path = DATA, *, require_keys: bool = True) -> None:
        self._data = data
        self._require_keys = require_keys
        self.substances: dict[str, NamedSubstance] = {}
        self._names: dict[str, dict[str, Name]] = defaultdict(dict)  # folded -> key -> Name
        self._by_cas: dict[str, set[str]] = defaultdict(set)
        self._labels: dict[str, tuple[str, ...]] = {}
        self._classes: dict[str, str] = {}
        self._salt_words: list[tuple[str, ...]] = []
        self._anywhere: set[str] = set()
        self.ordinary: dict[str, str] = {}  # substance key -> reason
        self.harmful_adulterants: dict[str, str] = {}
        self._load()
        self._names_of_owner: dict[str, list[Name]] = defaultdict(list)
        for by_key in self._names.values():
            for owner, name in by_key.items():
                self._names_of_owner[owner].append(name)
        self._spellings = {n.name.lower(): key for by_key in self._names.values() for key, n in by_key.items() if len(n.name) > 3}

    # -- building -------------------------------------------------------------------------------------------------------

    def _add(self, substance: NamedSubstance, names: Iterable[tuple[str, NameKind]]) -> None:
        self.substances.setdefault(substance.key, substance)
        if substance.cas:
            self._by_cas[substance.cas].add(substance.key)
        for name, kind in names:
            folded = fold(name)
            if folded:
                self._names[folded].setdefault(substance.key, Name(name=name, folded=folded, kind=kind, source=substance.source))

    def _add_row(self, path: Path, number: int, row: dict[str, str], *, origin: str, source: str, group: str = "") -> None:
        key = fold(row["name"])
        if not key:
            raise DataError(path.name, number, "the name is empty")
        synonyms = [s.strip() for s in row.get("synonyms", "").split(";") if s.strip()]
        known = self._same_structure(row.get("smiles") or None, key)
        substance = NamedSubstance(
            key=known or key,
            name=row["name"],
            smiles=row.get("smiles") or None,
            cas=row.get("cas") or None,
            group=group,
            source=source,
            origin=origin,
            listed_as=row.get("listed_as") or None,
        )
        names = [(row["name"], _guess_kind(row["name"])), *((s, _guess_kind(s)) for s in synonyms)]
        if row.get("iupac_name"):
            names.append((row["iupac_name"], NameKind.SYSTEMATIC))
        self._add(substance, names)

    def _same_structure(self, smiles: str | None, key: str) -> str | None:
        """The key of a substance already in the table under this name or with this very SMILES."""
        if smiles is None:
            return None
        return self._by_smiles.setdefault(smiles, key)

    def _load(self) -> None:
        self._by_smiles: dict[str, str] = {}
        # the conventions first: where a structure has several rows, theirs speaks for it
        paths = (self._data / "schedules").glob("*/entries.csv")
        for folder in sorted(paths, key=lambda path: (not path.parent.name.startswith("un-"), path)):
            for number, row in _rows(folder, ("name", "synonyms", "cas", "smiles", "source")):
                if row["smiles"]:
                    self._add_row(folder, number, row, origin="schedule", source=row["source"])
        for path in sorted((self._data / "reference").glob("*.csv")):
            for number, row in _rows(path, ("name", "synonyms", "cas", "smiles", "nps_class")):
                self._add_row(path, number, row, origin="reference", source=f"reference list {path.stem}", group=row["nps_class"])
        names = self._data / "names"
        path = names / "substances_extra.csv"
        for number, row in _rows(path, ("name", "synonyms", "cas", "smiles", "group", "source")):
            if fold(row["name"]) not in self._names:
                self._add_row(path, number, row, origin="extra", source=row["source"], group=row["group"])
        path = names / "materials.csv"
        for number, row in _rows(path, ("name", "synonyms", "category", "listed_as", "source")):
            self._add_row(path, number, row, origin="material", source=row["source"], group=row["category"])
        path = names / "approved_medicines.csv"
        for number, row in _rows(path, ("name", "smiles", "source")):
            if fold(row["name"]) not in self._names:
                self._add_row(path, number, row, origin="medicine", source=row["source"], group="approved medicine")
        for number, row in _rows(names / "classes.csv", ("label", "class", "note")):
            self._classes[self._fresh(names / "classes.csv", number, row["label"], self._classes)] = row["class"]
        path = names / "labels.csv"
        for number, row in _rows(path, ("label", "means", "kind", "note")):
            folded = self._fresh(path, number, row["label"], self._labels)
            keys = []
            for meant in filter(None, (m.strip() for m in row["means"].split("|"))):
                found = self._names.get(fold(meant))
                if not found or len(found) != 1:
                    raise DataError(path.name, number, f"{meant!r} names {len(found or ())} substances of the table, not one")
                keys.append(next(iter(found)))
            self._labels[folded] = tuple(keys)
            if len(keys) == 1 and row["kind"] != "none":
                kind = NameKind(row["kind"])
                self._names[folded].setdefault(
                    keys[0], Name(name=row["label"], folded=folded, kind=kind, source="label table of this service")
                )
        for _, row in _rows(names / "salts.csv", ("word", "place")):
            if row["place"] == "any":
                self._anywhere.add(row["word"])
            else:
                self._salt_words.append(tuple(row["word"].split()))
        self._salt_words.sort(key=len, reverse=True)
        self._load_lists(names)
        self._load_keys(names)

    def _load_keys(self, names: Path) -> None:
        """Parent InChIKeys of the table's structures: derived by the engine, kept as a file; a look-up needs no toolkit."""
        path = names / "keys.csv"
        self._inchikeys: dict[str, str] = {}
        self._by_inchikey: dict[str, str] = {}
        self._keys_of: dict[str, frozenset[str]] = {}
        for number, row in _rows(path, ("key", "inchikey")):
            if row["key"] not in self.substances:
                raise DataError(path.name, number, f"{row['key']!r} is no substance of the table")
            self._inchikeys[row["key"]] = row["inchikey"]
            self._by_inchikey.setdefault(row["inchikey"], row["key"])
            self._keys_of[row["inchikey"]] = self._keys_of.get(row["inchikey"], frozenset()) | {row["key"]}
        missing = [k for k, s in self.substances.items() if s.smiles and k not in self._inchikeys]
        if missing and self._require_keys:
            raise DataError(path.name, 1, f"no key for {', '.join(missing[:5])}; run python -m chem.names_keys")

    def _fresh(self, path: Path, number: int, label: str, into: Collection[str]) -> str:
        folded = fold(label)
        if not folded or folded in into:
            raise DataError(path.name, number, f"label {label!r} is empty or given twice")
        return folded

    def _load_lists(self, names: Path) -> None:
        abused = set()
        path = names / "medicines_with_abuse.csv"
        for number, row in _rows(path, ("name", "source")):
            abused.add(self._only(path, number, row["name"]))
        scheduled = {s.smiles for s in self.substances.values() if s.origin == "schedule"}
        for key, substance in self.substances.items():
            if substance.origin == "medicine" and key not in abused and substance.smiles not in scheduled:
                self.ordinary[key] = f"approved medicine without known abuse ({substance.source})"
            if substance.origin == "material" and substance.group != "plant material":
                self.ordinary[key] = substance.group
        path = names / "ordinary.csv"
        for number, row in _rows(path, ("name", "reason", "source")):
            key = self._only(path, number, row["name"])
            if key in abused:
                raise DataError(path.name, number, f"{row['name']} is also on the list of medicines with abuse")
            self.ordinary[key] = f"{row['reason']} ({row['source']})"
        path = names / "harmful_adulterants.csv"
        for number, row in _rows(path, ("name", "reason", "source")):
            self.harmful_adulterants[self._only(path, number, row["name"])] = f"{row['reason']} ({row['source']})"

    def _only(self, path: Path, number: int, name: str) -> str:
        found = self._names.get(fold(name), {})
        if len(found) != 1:
            raise DataError(path.name, number, f"{name!r} names {len(found)} substances of the table, not one")
        return next(iter(found))

    # -- asking ---------------------------------------------------------------------------------------------------------

    def names_of(self, key: str) -> tuple[Name, ...]:
        """Every name of a substance, also those of rows that turned out to be the same structure, ordered by folded form."""
        found: dict[str, Name] = {}
        for owner in self._same_key(key):
            for name in self._names_of_owner.get(owner, ()):
                # several rows of one structure may give a name: the one that the table met first speaks
                first = next(n for k, n in self._names[name.folded].items() if k in self._same_key(key))
                found[name.folded] = first
        return tuple(found[folded] for folded in sorted(found))

    def _same_key(self, key: str) -> frozenset[str]:
        inchikey = self._inchikeys.get(key)
        return self._keys_of.get(inchikey, frozenset()) | {key} if inchikey else frozenset({key})

    def inchikey_of(self, key: str) -> str | None:
        """The parent InChIKey of a substance of the table; None for a material."""
        return self._inchikeys.get(key)

    def by_inchikey(self, inchikey: str) -> NamedSubstance | None:
        """The substance with this parent InChIKey. Where several rows share it, the schedule's row, else the first."""
        key = self._by_inchikey.get(inchikey)
        return None if key is None else self.substances[key]

    def resolve_cas(self, cas: str) -> Resolution:
        """The substance of a CAS registry number; several where the number is given to several structures of the table."""
        found = tuple(self.substances[key] for key in sorted(self._by_cas.get(cas.strip(), ())))
        return self._answer(found, f"CAS {cas} is in no table")

    def resolve(self, label: str) -> Resolution:
        """What a label of a laboratory means.

        Tried in turn, the first answer stands: the label as a whole; without a remark on the state of the sample such as
        "(wet)"; without salt words at its end. Doubt in words, or several names in one label, gives no substance.
        """
        stripped = _QUALIFIERS.sub(" ", label.lower()).strip()
        forms = [label, stripped] if stripped != label.lower() else [label]
        for form in forms:
            answer = self._exact(form)
            if answer is not None:
                return answer
        if _DOUBT & set(tokens(stripped)):
            return self._unresolved(label, "the label says that it is not certain", suggest=False)
        several = [part for part in re.split(r"\s*(?:/|\+|&|;|\band\b)\s*", stripped) if part]
        if len(several) > 1:
            parts = [self.resolve(part) for part in several]
            if all(part.outcome is Outcome.SUBSTANCE for part in parts):
                unique = {part.substances[0].key: part.substances[0] for part in parts}
                return Resolution(
                    outcome=Outcome.CANDIDATES, substances=tuple(unique.values()), reason="the label names several substances"
                )
        for form in self._without_salt(stripped):
            answer = self._exact(form)
            if answer is not None and answer.outcome is not Outcome.NONE:
                return answer
        return self._unresolved(label, "no table has this name", suggest=True)

    def alternatives(self, label: str) -> tuple[NamedSubstance, ...]:
        """The substances of a label such as "isotonitazene or protonitazene": each part means exactly one with a structure.

        Empty for any other label; what says "or analog" names no alternatives.
        """
        parts = [part for part in re.split(r"\s+or\s+|\s*,\s+(?:or\s+)?", label.strip(), flags=re.IGNORECASE) if part]
        if len(parts) < 2 or not re.search(r"\sor\s", label, re.IGNORECASE):
            return ()
        unique: dict[str, NamedSubstance] = {}
        for part in parts:
            found = self.resolve(part)
            if found.outcome is not Outcome.SUBSTANCE or found.substances[0].smiles is None:
                return ()
            unique.setdefault(found.substances[0].key, found.substances[0])
        return tuple(unique.values()) if len(unique) > 1 else ()

    def _exact(self, form: str) -> Resolution | None:
        folded = fold(form)
        if folded in self._labels:
            keys = self._labels[folded]
            return self._answer(tuple(self.substances[k] for k in keys), "the label names no single substance")
        if folded in self._classes:
            return Resolution(outcome=Outcome.CLASS, group=self._classes[folded], reason="the label names a class")
        if folded in self._names:
            keys = tuple(sorted(self._names[folded]))
            primary = [k for k in keys if k == folded or fold(self.substances[k].name) == folded]
            # a first name beats the same word used as somebody else's synonym
            return self._answer(tuple(self.substances[k] for k in (primary if len(primary) == 1 else keys)), "")
        return None

    def _answer(self, found: tuple[NamedSubstance, ...], otherwise: str) -> Resolution:
        # rows of one structure are one substance; the first row, a schedule's where there is one, speaks for it
        unique = {self._inchikeys.get(s.key, s.key): s for s in reversed(found)}
        found = tuple(s for s in found if s in unique.values())
        if len(found) == 1:
            return Resolution(outcome=Outcome.SUBSTANCE, substances=found)
        if found:
            return Resolution(outcome=Outcome.CANDIDATES, substances=found, reason="the name has several meanings")
        return Resolution(outcome=Outcome.NONE, reason=otherwise)

    def _without_salt(self, label: str) -> Iterator[str]:
        """The label without the salt words at its end, one more taken away each time; then in brackets, then anywhere words."""
        words = re.sub(r"[()]", " ", label).split()
        words = [w for w in words if w not in self._anywhere]
        if words:
            yield " ".join(words)
        while len(words) > 1:
            for salt in self._salt_words:
                if len(words) > len(salt) and tuple(w.strip(".,") for w in words[-len(salt) :]) == salt:
                    words = words[: -len(salt)]
                    yield " ".join(words)
                    break
            else:
                return

    def _unresolved(self, label: str, reason: str, *, suggest: bool) -> Resolution:
        suggestions: tuple[Suggestion, ...] = ()
        if suggest and len(label) > 3:
            close = process.extract(label.lower(), self._spellings.keys(), scorer=fuzz.ratio, limit=3, score_cutoff=80)
            suggestions = tuple(Suggestion(name=name, score=round(score)) for name, score, _ in close)
        return Resolution(outcome=Outcome.NONE, reason=reason, suggestions=suggestions)
