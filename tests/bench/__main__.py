"""`make bench`: every speed and memory figure as ratios taken side by side in one run.

python -m tests.bench                       all, then one table, and JSON under build/bench
python -m tests.bench chem intake           some
python -m tests.bench --compare A.json B.json
python -m tests.bench --latest              one table of the newest run of each, for who runs them one by one
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from tests.bench import figures

BENCHES = ("chem", "screening", "cluster", "imports", "intake", "signals", "delivery", "pages", "scale")


def main() -> None:
    wanted = sys.argv[1:]
    if wanted[:1] == ["--compare"]:
        print(figures.compare(Path(wanted[1]), Path(wanted[2])))
        return
    if wanted == ["--latest"]:
        print(figures.latest(figures.ROOT / "build" / "bench"))
        return
    machine, versions = figures.machine(), figures.versions()
    print(", ".join(f"{name} {value}" for name, value in (machine | versions).items()))
    for name in wanted or BENCHES:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").main()
    if figures.FOUND:
        print(f"\n{figures.table(figures.FOUND)}")
        print(f"\nwritten to {figures.write(figures.ROOT / 'build' / 'bench')}")


if __name__ == "__main__":
    main()
