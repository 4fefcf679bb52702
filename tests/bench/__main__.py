"""`make bench`: every speed and memory figure as ratios taken side by side in one run.

python -m tests.bench            all
python -m tests.bench chem       one
"""

from __future__ import annotations

import platform
import sys

import rdkit

from tests.bench import chem, cluster, imports, intake, pages, screening, signals

BENCHES = {
    "chem": chem.main,
    "screening": screening.main,
    "cluster": cluster.main,
    "imports": imports.main,
    "intake": intake.main,
    "signals": signals.main,
    "pages": pages.main,
}


def main() -> None:
    wanted = sys.argv[1:] or list(BENCHES)
    print(f"Python {platform.python_version()}, RDKit {rdkit.__version__}, {platform.machine()}, {platform.system()}")
    for name in wanted:
        print(f"\n== {name}")
        BENCHES[name]()


if __name__ == "__main__":
    main()
