"""`nps screen` with one worker and with two over the same 100,000 distinct structures, and peak memory at two sizes.

NPS_BENCH_SIZE=20000 takes fewer. Memory is that of the whole process tree, sampled five times a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.figures import figure, growth
from tests.bench.library import structures

SIZE = int(os.environ.get("NPS_BENCH_SIZE", "100000"))
PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds by the wall clock, and the peak resident memory in MiB of the parent and of the whole tree."""

    seconds: float
    parent_mib: float
    tree_mib: float


def _tree(root: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            parents[int(entry)] = int(text.rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _resident(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_KIB / 1024
    except (OSError, IndexError):
        return 0.0


def run(path: Path, output: Path, workers: int) -> Measured:
    """One run of the command into a file."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "app.cli", "screen", str(path), "--workers", str(workers), "--output", str(output)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        parent = tree = 0.0
        ended = threading.Event()

        def sample() -> None:
            nonlocal parent, tree
            while not ended.wait(0.2):
                parent = max(parent, _resident(process.pid))
                tree = max(tree, sum(_resident(pid) for pid in _tree(process.pid)))

        sampler = threading.Thread(target=sample)
        sampler.start()
        process.wait()
        ended.set()
        sampler.join()
    return Measured(time.perf_counter() - start, parent, tree)


def main() -> None:
    """Prints the ratio and the memory, and that both runs gave the same bytes."""
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder) / "small.smi", Path(folder) / "large.smi"
        one_out, two_out = Path(folder) / "one.ndjson", Path(folder) / "two.ndjson"
        lines = structures(SIZE)
        if len(lines) < SIZE:
            raise SystemExit(f"the library has {len(lines)} structures, not {SIZE}")
        large.write_text("\n".join(lines) + "\n")
        small.write_text("\n".join(lines[: SIZE // 10]) + "\n")
        few = run(small, two_out, 2)
        two = run(large, two_out, 2)
        one = run(large, one_out, 1)
        same = one_out.read_bytes() == two_out.read_bytes()
    print(f"{SIZE:,} distinct structures: 1 worker {one.seconds:.1f} s ({SIZE / one.seconds:.0f}/s), "
          f"2 workers {two.seconds:.1f} s ({SIZE / two.seconds:.0f}/s), ratio {one.seconds / two.seconds:.2f}; "
          f"same bytes: {'yes' if same else 'NO'}")  # fmt: skip
    figure("screening", "two workers over one", one.seconds / two.seconds, "times", ">= 1.7")
    growth("screening", "two workers: structures a second", SIZE / 10 / few.seconds, SIZE / two.seconds)
    growth("screening", "peak memory of all processes", few.tree_mib, two.tree_mib, "<= 1.1")
    print(f"peak memory with 2 workers, {SIZE // 10:,} structures: parent {few.parent_mib:.0f} MiB, all {few.tree_mib:.0f} MiB; "
          f"{SIZE:,}: parent {two.parent_mib:.0f} MiB, all {two.tree_mib:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
