"""Which substances the shipped list of approved medicines names."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import chem
from chem.names import fold

LIST = Path(chem.__file__).parent / "data" / "names" / "approved_medicines.csv"


@lru_cache(maxsize=1)
def _listed() -> Mapping[str, tuple[str, str]]:
    with LIST.open(encoding="utf-8", newline="") as file:
        return {fold(row["name"]): (row["name"], row["source"]) for row in csv.DictReader(file)}


def approved_medicine(names: Iterable[str]) -> str | None:
    """The name on the list and its source, where one of these names is on it; else None."""
    for name in names:
        found = _listed().get(fold(name))
        if found is not None:
            return f"{found[0]} ({found[1]})"
    return None
