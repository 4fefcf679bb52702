"""From a reported structure to its identity, with the molecules that law is asked about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rdkit.Chem.rdchem import Mol

from chem.catalog import structure_of
from chem.drawings import settled
from chem.errors import DataError, StructureError, StructureProblem
from chem.identity import Substance, reported, substances_of
from chem.listed import ListedIndex
from chem.normalise import Component, CounterIons, Normalised, has_atropisomer, normalise, settle_stereo
from chem.parsing import Parsed, candidates, inchikey_of, parse, read_smiles
from chem.schedules import Entry
from chem.values import Identity, Remark, Structure, StructureFormat


@dataclass(frozen=True, slots=True)
class Examined:
    """An identity with one substance a component; `main` is the one that the identity describes."""

    identity: Identity
    substances: tuple[Substance, ...]
    main: int


class Examiner:
    """Brings structures through the protocol. `gravity` orders the components of a mixture, gravest first."""

    def __init__(self, counterions: CounterIons, listed: ListedIndex, gravity: Callable[[Substance], tuple[Any, ...]]) -> None:
        self._counterions = counterions
        self._listed = listed
        self._gravity = gravity

    def examine(self, structure: Structure, *, hint: bool = True) -> Examined:
        """The examination of a reported structure, without the tautomer hash where no `hint` is asked for. Raises:
        StructureError.
        """
        return self.examine_parsed(parse(structure), hint=hint)

    def examine_parsed(self, parsed: Parsed, *, hint: bool = True) -> Examined:
        """The examination of a structure that passed the gate. Raises: StructureError."""
        if parsed.variable:
            raise StructureError(
                StructureProblem.UNDEFINED,
                "an attachment point is not determined: the structure is a set of candidates",
            )
        mol = settled(parsed.mol) if parsed.from_inchi else parsed.mol
        whole = reported(mol, parsed.inchi, axial=parsed.marks.axial and has_atropisomer(mol))
        # An InChI that is a listed substance stays as it was read: some drawings (sydnone imines) do not
        # survive cleaning.
        if whole.inchikey in self._listed.as_they_are or (parsed.from_inchi and whole.inchikey in self._listed.keys):
            part = Component(mol=mol, labelled=mol)
            normal = Normalised(components=(part,), removed=(), remarks=(), untouched=True)
        else:
            normal = normalise(mol, self._counterions, self._listed.listed_flat, parsed.marks)
        substances = substances_of(mol, normal, whole, parsed.remarks, hint=hint)
        substances = tuple(self._other_drawing(substance) for substance in substances)
        if len(substances) == 1:
            return Examined(substances[0].identity, substances, 0)
        return self._mixture(substances, whole.smiles, whole.inchi, whole.inchikey, normal, parsed.remarks)

    def _other_drawing(self, substance: Substance) -> Substance:
        """With a remark where a listed substance was drawn with its mobile hydrogen elsewhere: the key is
        the same.
        """
        flats = self._listed.flats_of.get(substance.identity.connectivity)
        if flats is None or substance.identity.flat_smiles in flats:
            return substance
        note = Remark(
            code="other-tautomer-drawn",
            detail="Drawn with a mobile hydrogen elsewhere than in the shipped structure; it is the same substance.",
        )
        identity = substance.identity
        return substance.with_identity(replace(identity, warnings=(*identity.warnings, note)))

    def _mixture(
        self,
        substances: tuple[Substance, ...],
        smiles: str,
        inchi: str,
        inchikey: str,
        normal: Normalised,
        remarks: tuple[Remark, ...],
    ) -> Examined:
        main = min(range(len(substances)), key=lambda n: (*self._gravity(substances[n]), n))
        chosen = substances[main].identity
        others = [s.identity.formula for number, s in enumerate(substances) if number != main]
        note = Remark(
            code="several-components",
            detail=f"A mixture: besides the substance described it holds {', '.join(others)}; each is screened.",
        )
        identity = replace(
            chosen,
            smiles=smiles,
            inchi=inchi,
            inchikey=inchikey,
            removed=normal.removed,
            components=tuple(s.identity for s in substances),
            warnings=tuple(dict.fromkeys((*remarks, *normal.remarks, *chosen.warnings, note))),
        )
        return Examined(identity, substances, main)


def shipped_substance(counterions: CounterIons, smiles: str, row: int, entry: Entry) -> Substance:
    """A listed structure through the same steps as a reported one. Raises: DataError."""
    file = f"{entry.instrument}/entries.csv"
    mol = structure_of(file, row, smiles)
    whole = reported(mol, None)
    if entry.as_is:
        part = Component(mol=mol, labelled=mol)
        normal = Normalised(components=(part,), removed=(), remarks=(), untouched=True)
    else:
        normal = normalise(mol, counterions, frozenset())
    found = substances_of(mol, normal, whole, (), hint=True)
    if len(found) != 1:
        raise DataError(file, row, "a listed structure must be one substance")
    return found[0]


def expanded(parsed: Parsed) -> tuple[Structure, ...]:
    """What a structure with a variable attachment point may be; else an empty tuple."""
    return tuple(Structure(format=StructureFormat.SMILES, text=smiles) for smiles in candidates(parsed))


def drawn_for_law(substance: Substance) -> Substance:
    """The substance in the drawing that questions of law are asked of."""
    mol = settled(substance.mol)
    return substance if mol is substance.mol else substance.drawn_as(mol)


def substance_again(identity: Identity) -> Substance:
    """The molecule of a stored identity, its other stereo forms from the groups it was drawn with.

    Raises: StructureError, where the stored text cannot be read.
    """
    mol = read_smiles(identity.parent_smiles)
    if mol is None:
        raise StructureError(StructureProblem.UNREADABLE, "the stored parent structure cannot be read")
    others: tuple[Mol, ...] = ()
    if identity.stereo_groups:
        drawn = read_smiles(identity.stereo_groups)
        if drawn is None:
            raise StructureError(StructureProblem.UNREADABLE, "the stored stereo groups cannot be read")
        others = settle_stereo(drawn)[1]
    keys = (identity.parent_inchikey, *(inchikey_of(other) for other in others))
    return Substance(identity, mol, None, keys)
