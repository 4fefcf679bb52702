"""Amide rather than imidic acid, amidine with the double bond in the ring: one drawing for questions of
law.

Not part of identity: InChI keys fold these mobile hydrogens anyway. But a statute's carboxamide must be
found whichever way it was drawn, and RDKit reads many InChIs of amides as imidic acids. Atom numbers stay.
"""

from __future__ import annotations

from rdkit import Chem
from rdkit.Chem.rdchem import Mol

from chem.catalog import query_of

_HERE = "chem/drawings.py"
_MAYBE = query_of(_HERE, 0, "[$([#7X2]~[#6]-[OX2H]),$([NX3;H1;R]-[CX3;R]=[NX2;H1;!R])]")
_IMIDIC = query_of(_HERE, 0, "[NX2;!$(N-[#8]);!$(N-[#7;!$(N=[#6])]):1]=[#6:2]-[OX2H:3]")
_IMINO = query_of(_HERE, 0, "[NX3;H1;R:1]-[CX3;R:2]=[NX2;H1;!R:3]")


def settled(mol: Mol) -> Mol:
    """The molecule with imidic acids as amides and exocyclic ring imines as amines; itself where there are
    none.
    """
    if not mol.HasSubstructMatch(_MAYBE):
        return mol
    result = Chem.RWMol(mol)
    try:
        Chem.Kekulize(result, clearAromaticFlags=True)
        for _ in range(mol.GetNumAtoms()):
            match = result.GetSubstructMatch(_IMIDIC)
            if match:
                nitrogen, carbon, oxygen = match
                _move(result, nitrogen, carbon, oxygen)
                continue
            match = result.GetSubstructMatch(_IMINO)
            if not match:
                break
            ring, carbon, outer = match
            _move(result, outer, carbon, ring)
        Chem.SanitizeMol(result)
        Chem.AssignStereochemistry(result, cleanIt=True, force=True)
    except (Chem.KekulizeException, Chem.AtomValenceException, Chem.AtomKekulizeException):
        return mol
    return result.GetMol()


def _move(mol: Chem.RWMol, gains: int, centre: int, loses: int) -> None:
    """Moves one hydrogen from `loses` to `gains` across `centre`, and the double bond the other way."""
    mol.GetBondBetweenAtoms(gains, centre).SetBondType(Chem.BondType.SINGLE)
    mol.GetBondBetweenAtoms(gains, centre).SetStereo(Chem.BondStereo.STEREONONE)
    mol.GetBondBetweenAtoms(centre, loses).SetBondType(Chem.BondType.DOUBLE)
    for index, change in ((gains, 1), (loses, -1)):
        atom = mol.GetAtomWithIdx(index)
        if atom.GetNoImplicit() or atom.GetNumExplicitHs():
            atom.SetNumExplicitHs(max(0, atom.GetNumExplicitHs() + change))
    mol.UpdatePropertyCache(strict=False)
