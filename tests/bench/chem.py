"""Speed of chemistry as ratios to a floor (parse, canonical SMILES, InChIKey), side by side in one run.

Run: python -m tests.bench chem, from the root. Absolute times are for orientation only.
"""

from __future__ import annotations

import csv
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from rdkit import Chem, RDLogger

from chem.catalog import DATA
from chem.engine import Engine
from chem.errors import StructureError
from chem.normalise import takes_fast_path
from chem.values import Structure, StructureFormat
from tests.approved_drugs import approved_drugs
from tests.bench.figures import figure

ROUNDS = 7
DRUGS = 300
CONTROLLED_OR_NEW = 72
SALTS = 100
SEED = 1961
TODAY = date(2026, 11, 24)


@dataclass(frozen=True, slots=True)
class Row:
    """One structure with its best times in microseconds."""

    smiles: str
    fast: bool
    floor: float
    identity: float
    whole: float
    half_rules: float
    pipeline: float | None


def controlled_or_new() -> list[str]:
    """Listed substances of two conventions, and new substances that are not listed."""
    found: list[str] = []
    for name in ("schedules/un-1961/entries.csv", "schedules/un-1971/entries.csv", "reference/nps_uncontrolled.csv"):
        with (DATA / name).open(encoding="utf-8") as file:
            found += [row["smiles"] for row in csv.DictReader(file) if row["smiles"]]
    return found


def structures() -> list[str]:
    """300 drugs: 72 controlled or new, the others approved medicines; a third are salts. The same on every machine."""
    chosen = random.Random(SEED)
    special = chosen.sample(controlled_or_new(), CONTROLLED_OR_NEW)
    special = [s + ".Cl" if number % 3 == 0 and "." not in s and "N" in s else s for number, s in enumerate(special)]
    approved = [drug.smiles for drug in approved_drugs() if usable(drug.smiles)]
    salts = [s for s in approved if "." in s]
    plain = [s for s in approved if "." not in s]
    wanted = SALTS - sum("." in s for s in special)
    return [*special, *chosen.sample(salts, wanted), *chosen.sample(plain, DRUGS - len(special) - wanted)]


def usable(smiles: str) -> bool:
    """True for what the gate lets in and is more than an ion."""
    mol = Chem.MolFromSmiles(smiles)
    return mol is not None and 3 < mol.GetNumHeavyAtoms() <= 250


def best_time(call: Callable[[], object]) -> float:
    """Best of a few rounds, in microseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times) * 1e6


def floor(smiles: str) -> None:
    """What nothing that stores an InChIKey can undercut."""
    mol = Chem.MolFromSmiles(smiles)
    Chem.MolToSmiles(mol)
    Chem.MolToInchiKey(mol)


def pipeline() -> Callable[[str], object] | None:
    """ChEMBL's structure pipeline: standardise, parent, and the same two keys; None where it is not installed."""
    try:
        from chembl_structure_pipeline import get_parent_mol, standardize_mol
    except ImportError:
        return None

    def run(smiles: str) -> object:
        mol = standardize_mol(Chem.MolFromSmiles(smiles))
        parent, _ = get_parent_mol(mol)
        return Chem.MolToSmiles(parent), Chem.MolToInchiKey(parent), Chem.MolToInchiKey(mol)

    return run


def with_half_of_the_rules(engine: Engine) -> Engine:
    """The same engine with every second class rule."""
    half = Engine.load()
    half._rules = engine._rules[::2]
    return half


def measure(engine: Engine, half: Engine, other: Callable[[str], object] | None, smiles: str) -> Row:
    """All times of one structure, taken in turn."""
    structure = Structure(format=StructureFormat.SMILES, text=smiles)
    return Row(
        smiles=smiles,
        fast=takes_fast_path(Chem.MolFromSmiles(smiles)),
        floor=best_time(lambda: floor(smiles)),
        identity=best_time(lambda: engine.identify(structure)),
        whole=best_time(lambda: engine.assess(structure, as_of=TODAY, hint=False)),
        half_rules=best_time(lambda: half.assess(structure, as_of=TODAY, hint=False)),
        pipeline=best_time(lambda: other(smiles)) if other else None,
    )


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def line(name: str, rows: list[Row]) -> str:
    """Ratios of totals, with the median of the ratios."""
    base = sum(r.floor for r in rows)
    identity, whole = sum(r.identity for r in rows) / base, sum(r.whole for r in rows) / base
    return (
        f"{name:22} {len(rows):4} {base / len(rows):8.0f} us "
        f"{identity:9.2f} (median {statistics.median(r.identity / r.floor for r in rows):4.2f})"
        f"{whole:9.2f} (median {statistics.median(r.whole / r.floor for r in rows):4.2f})"
    )


def main() -> None:
    """Prints, for a mixed set and for its parts, the ratios to the floor; then p99, rules and the comparison."""
    RDLogger.DisableLog("rdApp.*")
    start = time.perf_counter()
    engine = Engine.load()
    print(f"load {time.perf_counter() - start:.2f} s   {engine.version}")
    half, other = with_half_of_the_rules(engine), pipeline()
    rows = []
    for smiles in structures():
        try:
            engine.identify(Structure(format=StructureFormat.SMILES, text=smiles))
        except StructureError as error:
            print(f"left out: {error.problem.value}")
            continue
        rows.append(measure(engine, half, other, smiles))
    print(f"{'set':22} {'n':>4} {'floor':>11} {'identity / floor':>25} {'identity, law, analogues / floor':>24}")
    print(line("all", rows))
    print(line("fast path", [r for r in rows if r.fast]))
    print(line("full path", [r for r in rows if not r.fast]))
    print(line("salts and mixtures", [r for r in rows if "." in r.smiles]))
    p99 = percentile([r.floor for r in rows], 0.99)
    print(
        f"p99 / p99 of the floor: identity {percentile([r.identity for r in rows], 0.99) / p99:.2f}, "
        f"identity, law and analogues {percentile([r.whole for r in rows], 0.99) / p99:.2f}"
    )
    floor = sum(r.floor for r in rows)
    figure("chem", "identity over its floor", sum(r.identity for r in rows) / floor, "times", "<= 3")
    figure("chem", "identity, law and analogues over the floor", sum(r.whole for r in rows) / floor, "times", "<= 5")
    whole, halved = sum(r.whole for r in rows), sum(r.half_rules for r in rows)
    print(f"second half of the {len(engine._rules)} class rules adds {whole / halved - 1:+.1%} to the time")
    timed = [r for r in rows if r.pipeline is not None]
    if timed:
        ratio = sum(r.pipeline or 0.0 for r in timed) / sum(r.identity for r in timed)
        print(f"chembl_structure_pipeline (standardise, parent, the same keys) takes {ratio:.2f} times as long as identity")
    else:
        print("chembl_structure_pipeline is not installed: make bench installs it")


if __name__ == "__main__":
    main()
