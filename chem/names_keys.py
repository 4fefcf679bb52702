"""Writes `chem/data/names/keys.csv`: the parent InChIKey of every structure of the name table. Run after changing names or rules.

python -m chem.names_keys
"""

from __future__ import annotations

import csv
from collections.abc import Iterator

from chem.engine import Engine
from chem.names import DATA, NameTable
from chem.values import Structure, StructureFormat


def derive(engine: Engine, table: NameTable) -> Iterator[tuple[str, str]]:
    """Pairs of table key and parent InChIKey, in the order of the table. Raises StructureError for a row without an identity."""
    for key, substance in table.substances.items():
        if substance.smiles:
            structure = Structure(format=StructureFormat.SMILES, text=substance.smiles)
            yield key, engine.identify(structure).parent_inchikey


def main() -> None:
    path = DATA / "names" / "keys.csv"
    path.write_text("key,inchikey\n")
    rows = list(derive(Engine.load(), NameTable(require_keys=False)))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "inchikey"])
        writer.writerows(rows)


if __name__ == "__main__":
    main()
