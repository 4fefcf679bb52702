"""Identity layers of a normalised structure: what the rest of the service stores, compares and shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import rdkit
from rdkit import Chem
from rdkit.Chem import rdMolDescriptors, rdMolHash
from rdkit.Chem.rdchem import Mol

from chem.errors import StructureError, StructureProblem
from chem.normalise import NORMALISATION_VERSION, Component, Normalised, read_order, written
from chem.parsing import inchi_of, inchikey_of, key_of_inchi
from chem.values import Identity, Remark, Stereo

IDENTITY_VERSION = f"{NORMALISATION_VERSION}+rdkit{rdkit.__version__}"

exact_mass: Callable[[Mol], float] = rdMolDescriptors.CalcExactMolWt
average_mass: Callable[[Mol], float] = rdMolDescriptors._CalcMolWt


class Substance:
    """An identity with the molecule it describes; atoms are numbered as in `identity.parent_smiles`.

    `keys` are the parent InChIKeys that the structure may stand for: one, or several for a stereo group of
    several centres. The numbered molecule is made when law first asks for it.
    """

    def __init__(self, identity: Identity, source: Mol, order: str | None, keys: tuple[str, ...]) -> None:
        self.identity = identity
        self.keys = keys
        self._source = source
        self._order = order

    @cached_property
    def mol(self) -> Mol:
        """The parent molecule, numbered as its SMILES."""
        return self._source if self._order is None else Chem.RenumberAtoms(self._source, read_order(self._order))

    def with_identity(self, identity: Identity) -> Substance:
        """The same molecule under another identity record."""
        return Substance(identity, self._source, self._order, self.keys)

    def drawn_as(self, mol: Mol) -> Substance:
        """The same substance in another drawing with the same atom numbers."""
        return Substance(self.identity, mol, None, self.keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """The layers of a structure exactly as reported, salt and label included; `order` is that of the
    SMILES' atoms as RDKit writes it, empty for a CXSMILES.
    """

    order: str
    smiles: str
    inchi: str
    inchikey: str


def reported(mol: Mol, inchi: str | None, *, axial: bool = False) -> Reported:
    """Layer 0. `inchi` is the text of a standard InChI where that was reported: then it is not computed
    again.

    Raises: StructureError (unreadable) where no InChI can be made.
    """
    grouped = axial or len(mol.GetStereoGroups()) > 0
    smiles, order = (Chem.MolToCXSmiles(mol), "") if grouped else written(mol)
    text = inchi or inchi_of(mol)
    if not text:
        raise StructureError(StructureProblem.UNREADABLE, "no InChI can be made of the structure")
    return Reported(order=order, smiles=smiles, inchi=text, inchikey=key_of_inchi(text))


def substance_of(
    part: Component, whole: Reported, remarks: tuple[Remark, ...], removed: tuple[str, ...], *, same: bool, hint: bool
) -> Substance:
    """The layers of one component. `same` says that the component is the reported molecule itself,
    unchanged; `hint` asks for the tautomer hash too.
    """
    if same and whole.order:
        parent_smiles, order = whole.smiles, whole.order
    elif part.written is not None:
        parent_smiles, order = part.written
    else:
        parent_smiles, order = written(part.mol)
    mol = part.mol
    # One canonical SMILES is one structure, so its InChI need not be made twice.
    same_text = same or (part.groups is None and not part.others and parent_smiles == whole.smiles)
    inchi = whole.inchi if same_text else inchi_of(part.mol)
    key = whole.inchikey if same_text else key_of_inchi(inchi)
    notes = [*remarks, *part.remarks]
    if not key:
        raise StructureError(StructureProblem.UNREADABLE, "no InChI can be made of the parent structure")
    stereo = stereo_of(mol, part.stereo_word)
    flat = parent_smiles
    if "@" in parent_smiles or "/" in parent_smiles or "\\" in parent_smiles:
        flat = part.flat or Chem.MolToSmiles(mol, isomericSmiles=False)
    keys = (key, *(inchikey_of(other) for other in part.others))
    identity = Identity(
        smiles=whole.smiles,
        inchi=whole.inchi,
        inchikey=whole.inchikey,
        parent_smiles=parent_smiles,
        parent_inchi=inchi,
        parent_inchikey=key,
        isotopic_inchikey=inchikey_of(part.labelled) if part.isotopes else key,
        connectivity=key[:14],
        flat_smiles=flat,
        tautomer_hash=tautomer_hash(mol) if hint else None,
        formula=rdMolDescriptors.CalcMolFormula(mol),
        monoisotopic_mass=round(exact_mass(mol), 5),
        removed=removed,
        stereo=stereo,
        stereo_groups=part.groups,
        isotopes=part.isotopes,
        components=(),
        warnings=tuple(dict.fromkeys(notes)),
        version=IDENTITY_VERSION,
    )
    return Substance(identity, mol, order, keys)


def tautomer_hash(mol: Mol) -> str:
    """RDKit's HetAtomTautomerv2 hash of a molecule without its stereochemistry: a hint that two may be tautomers."""
    flat = Chem.Mol(mol)
    Chem.RemoveStereochemistry(flat)
    return str(rdMolHash.MolHash(flat, rdMolHash.HashFunction.HetAtomTautomerv2))


def substances_of(
    mol: Mol, normal: Normalised, whole: Reported, remarks: tuple[Remark, ...], *, hint: bool
) -> tuple[Substance, ...]:
    """One substance a component, in the order of the normalisation. `remarks` are those of the reader."""
    notes = (*remarks, *normal.remarks)
    if len(normal.components) == 1:
        same = normal.untouched
        return (substance_of(normal.components[0], whole, notes, normal.removed, same=same, hint=hint),)
    found = []
    for part in normal.components:
        own = reported(part.labelled, None)
        found.append(substance_of(part, own, (), (), same=False, hint=hint))
    return tuple(found)


def stereo_of(mol: Mol, word: str | None) -> Stereo:
    """What the structure says of its stereochemistry; a stereo group's word comes first.

    Trivalent nitrogen counts only where it was drawn with a configuration: bridgehead nitrogen follows its
    ring.
    """
    if word is not None:
        return Stereo(word)
    drawn = left_open = 0
    elements = Chem.FindPotentialStereo(mol)
    for number in range(len(elements)):  # an iterator over RDKit's vectors ends by a costly exception
        element = elements[number]
        if element.specified == Chem.StereoSpecified.Specified:
            drawn += 1
        elif element.type == Chem.StereoType.Atom_Tetrahedral and (mol.GetAtomWithIdx(element.centeredOn).GetAtomicNum() == 7):
            continue
        else:
            left_open += 1
    if not drawn and not left_open:
        return Stereo.NONE
    if not left_open:
        return Stereo.ABSOLUTE
    return Stereo.PARTIAL if drawn else Stereo.UNDEFINED
