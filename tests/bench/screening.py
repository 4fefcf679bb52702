"""`nps screen` with one worker and with two over the same distinct structures, and its peak memory at two sizes."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.chem import structures

NPS = Path(sys.executable).with_name("nps")
SIZE = 6_000


def distinct(size: int) -> list[str]:
    """So many distinct structures: shipped ones with a growing alkyl chain on them."""
    seeds = [smiles for smiles in structures() if "." not in smiles]
    found: list[str] = []
    chain = 0
    while len(found) < size:
        found += [f"{'C' * chain}.{smiles}" if chain else smiles for smiles in seeds]
        chain += 1
    return found[:size]


def run(path: Path, workers: int) -> tuple[float, float]:
    """Wall-clock seconds and the peak resident memory of any child so far, in MiB."""
    start = time.perf_counter()
    with open("/dev/null", "wb") as nowhere:
        subprocess.run(
            [NPS, "screen", path, "--workers", str(workers), "--analogues", "0"], stdout=nowhere, stderr=nowhere, check=False
        )
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.smi", Path(folder) / "large.smi"
        lines = distinct(SIZE)
        small.write_text("\n".join(lines[: SIZE // 6]) + "\n")
        large.write_text("\n".join(lines) + "\n")
        _, memory_small = run(small, 1)
        one, memory_large = run(large, 1)
        two, _ = run(large, 2)
    print(f"{SIZE} structures: 1 worker {one:.1f} s, 2 workers {two:.1f} s, ratio {one / two:.2f}")
    print(f"peak memory of the parent: {SIZE // 6} structures {memory_small:.0f} MiB, {SIZE} structures {memory_large:.0f} MiB")
