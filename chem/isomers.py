"""Which substances a routine method may confuse: same formula on the same ring scaffold."""

from __future__ import annotations

from typing import Any

from rdkit.Chem.rdMolDescriptors import CalcMolFormula
from rdkit.Chem.Scaffolds import MurckoScaffold

from chem.errors import StructureError
from chem.parsing import read_smiles


def isomer_group(smiles: str) -> str | None:
    """A text that constitutional isomers on one ring scaffold share: formula and Murcko scaffold, without stereochemistry.

    None for a structure of several fragments or one that cannot be read. Source of the scaffold: Bemis and Murcko 1996,
    doi:10.1021/jm9602928.
    """
    if "." in smiles:
        return None
    try:
        mol: Any = read_smiles(smiles)
    except StructureError:
        return None
    scaffold = MurckoScaffold.MurckoScaffoldSmiles(mol=mol, includeChirality=False)
    return f"{CalcMolFormula(mol)} {scaffold}"
