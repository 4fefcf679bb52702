"""Speed of chemistry as ratios to a floor (parse, canonical SMILES, InChIKey), side by side in one run.

Run: python -m tests.bench.chem, from the root. Absolute times are for orientation only.
"""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable
from datetime import date

from rdkit import Chem

from chem.catalog import DATA
from chem.engine import Engine
from chem.normalise import takes_fast_path
from chem.values import Structure, StructureFormat

ROUNDS = 7
TODAY = date(2026, 11, 24)


def structures() -> list[str]:
    """Listed substances, medicines and new substances; every third with a counter-ion."""
    found = []
    files = [
        DATA / "schedules" / "un-1961" / "entries.csv",
        DATA / "schedules" / "un-1971" / "entries.csv",
        DATA / "reference" / "medicines_negative.csv",
        DATA / "reference" / "nps_uncontrolled.csv",
    ]
    for path in files:
        with path.open(encoding="utf-8") as file:
            found += [row["smiles"] for row in csv.DictReader(file) if row["smiles"]]
    return [smiles + (".Cl" if number % 3 == 0 else "") for number, smiles in enumerate(found)]


def median_time(call: Callable[[], object]) -> float:
    """Best median of a few rounds, in microseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


def floor(smiles: str) -> None:
    """What nothing that stores an InChIKey can undercut."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.MolToSmiles(mol)
    Chem.MolToInchiKey(mol)


def main() -> None:
    """Prints medians over all structures and the ratio of totals."""
    start = time.perf_counter()
    engine = Engine.load()
    print(f"load {time.perf_counter() - start:.2f} s   {engine.version}")
    chosen = structures()[::5]
    rows = []
    for smiles in chosen:
        structure = Structure(format=StructureFormat.SMILES, text=smiles)
        rows.append(
            (
                takes_fast_path(Chem.MolFromSmiles(smiles)),
                median_time(lambda s=smiles: floor(s)),
                median_time(lambda x=structure: engine.identify(x)),
                median_time(lambda x=structure: engine.assess(x, as_of=TODAY)),
            )
        )
    for name, part in (
        ("all", rows),
        ("fast path", [r for r in rows if r[0]]),
        ("full path", [r for r in rows if not r[0]]),
    ):
        base, identity, whole = (sum(r[i] for r in part) for i in (1, 2, 3))
        middle = [statistics.median(r[i] / r[1] for r in part) for i in (2, 3)]
        print(
            f"{name:10} n={len(part):4} floor {base / len(part):6.0f} us   identity {identity / base:4.2f} "
            f"(median {middle[0]:4.2f})   identity, law and analogues "
            f"{whole / base:4.2f} "
            f"(median "
            f"{middle[1]:4.2f})"
        )


if __name__ == "__main__":
    main()
