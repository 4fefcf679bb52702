"""Stored structures in memory: substructure and similarity, ranked. For a disposable worker, since a query comes from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rdkit import DataStructs
from rdkit.Chem import rdSubstructLibrary
from rdkit.Chem.rdchem import Mol

from chem.errors import StructureError, StructureProblem
from chem.parsing import read_smarts, read_smiles
from chem.similarity import fingerprint

MOST_QUERY_ATOMS = 150


class Search(StrEnum):
    SUBSTRUCTURE = "substructure"
    SIMILARITY = "similarity"


class QueryForm(StrEnum):
    SMILES = "smiles"
    SMARTS = "smarts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What is looked for. `least` is the lowest similarity (Tanimoto, 0.0 to 1.0) of a similarity search."""

    search: Search
    form: QueryForm
    text: str
    least: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A stored structure with its similarity to the query; 0.0 where the query is a pattern."""

    id: str
    similarity: float


class Library:
    """Structures by id, with a pattern fingerprint each that rules most of them out before an atom is compared."""

    def __init__(self, rows: Iterable[tuple[str, str]]) -> None:
        self._ids: list[str] = []
        self._prints: list[Any] = []
        self._library = rdSubstructLibrary.SubstructLibrary(
            rdSubstructLibrary.CachedMolHolder(), rdSubstructLibrary.PatternHolder()
        )
        self.extend(rows)

    def __len__(self) -> int:
        return len(self._ids)

    def extend(self, rows: Iterable[tuple[str, str]]) -> None:
        """Take more in. Raises: StructureError for a stored SMILES that cannot be read."""
        for identifier, smiles in rows:
            mol = read_smiles(smiles)
            if mol is None:
                raise StructureError(StructureProblem.UNREADABLE, f"the stored structure of {identifier} cannot be read")
            self._ids.append(identifier)
            self._prints.append(fingerprint(mol))
            self._library.AddMol(mol)

    def find(self, query: Query) -> list[Found]:
        """Everything that fits, most similar first, then by id. Raises: StructureError for a query that cannot be read.

        A substructure fits whatever the stereochemistry; hydrogens that are not drawn are free positions.
        """
        mol = _read(query)
        pattern = query.form is QueryForm.SMARTS
        values = [0.0] * len(self) if pattern else DataStructs.BulkTanimotoSimilarity(fingerprint(mol), self._prints)
        if query.search is Search.SIMILARITY:
            positions: Iterable[int] = (place for place, value in enumerate(values) if value >= query.least)
        else:
            positions = ()
            if len(self):
                positions = self._library.GetMatches(
                    mol,
                    recursionPossible=True,
                    useChirality=False,
                    useQueryQueryMatches=False,
                    numThreads=1,
                    maxResults=len(self),
                )
        found = [Found(id=self._ids[place], similarity=round(values[place], 4)) for place in positions]
        return sorted(found, key=lambda one: (-one.similarity, one.id))


def _read(query: Query) -> Mol:
    if query.form is QueryForm.SMARTS:
        if query.search is Search.SIMILARITY:
            raise StructureError(StructureProblem.UNDEFINED, "a SMARTS has no fingerprint; similarity needs a structure")
        mol = read_smarts(query.text)
    else:
        mol = read_smiles(query.text)
    if mol is None:
        raise StructureError(StructureProblem.UNREADABLE, f"the {query.form.value.upper()} cannot be read")
    if mol.GetNumAtoms() == 0:
        raise StructureError(StructureProblem.EMPTY, "the query has no atoms")
    if mol.GetNumAtoms() > MOST_QUERY_ATOMS:
        raise StructureError(StructureProblem.TOO_LARGE, f"the query has more than {MOST_QUERY_ATOMS} atoms")
    return mol
