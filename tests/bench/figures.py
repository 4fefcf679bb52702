"""The figures of a run: told as they come, in one table at the end, and as JSON to compare two commits."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy
import rdkit
import sqlalchemy

ROOT = Path(__file__).resolve().parents[2]
RECENT = timedelta(days=1)  # what one table puts together


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number. `aim` is a bound with its direction, for example `>= 0.25`."""

    bench: str
    name: str
    value: float
    unit: str = ""
    aim: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the aim is met; None where there is none."""
        if not self.aim:
            return None
        direction, bound = self.aim.split()
        return self.value >= float(bound) if direction == ">=" else self.value <= float(bound)

    @property
    def verdict(self) -> str:
        return {None: "", True: "holds", False: "NOT MET"}[self.holds]


FOUND: list[Figure] = []


def figure(bench: str, name: str, value: float, unit: str = "", aim: str = "") -> None:
    """Tell a figure and keep it for the table. Ratios have no unit."""
    found = Figure(bench=bench, name=name, value=float(value), unit=unit, aim=aim)
    FOUND.append(found)
    print(f"  {name}: {number(value)} {unit}".rstrip() + (f" (aim {aim}: {found.verdict})" if aim else ""), flush=True)


def growth(bench: str, name: str, small: float, large: float, aim: str = "") -> None:
    """How a figure changed from a size to ten times the size."""
    figure(bench, f"{name}, at 10 times the data", large / small, "times", aim)


def number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}" if abs(value) < 1 else f"{value:.2f}"


def table(figures: list[Figure]) -> str:
    """All figures as a table in Markdown."""
    lines = ["| bench | figure | value | unit | aim | |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {f.bench} | {f.name} | {number(f.value)} | {f.unit} | {f.aim} | {f.verdict} |" for f in figures]
    return "\n".join(lines)


def latest(folder: Path) -> str:
    """One table of the newest value of each figure, from the runs of the `RECENT` before the last one, bench by bench; each with
    the commit and the time of its run.
    """
    runs = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]  # their names begin with the time
    newest: dict[tuple[str, str], tuple[Figure, str]] = {}
    for run in runs:
        if datetime.fromisoformat(runs[-1]["at"]) - datetime.fromisoformat(run["at"]) > RECENT:
            continue
        for found in (Figure(**given) for given in run["figures"]):
            newest[found.bench, found.name] = (found, f"{run['commit']}, {run['at']}")
    lines = ["| bench | figure | value | unit | aim | | commit, time |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for found, when in sorted(newest.values(), key=lambda pair: pair[0].bench):
        cells = (found.bench, found.name, number(found.value), found.unit, found.aim, found.verdict, when)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / 2**20
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_gib": round(memory, 1), "system": platform.platform()}


def versions() -> dict[str, str]:
    return {
        "python": platform.python_version(), "rdkit": rdkit.__version__, "sqlalchemy": sqlalchemy.__version__,
        "numpy": numpy.__version__, "sqlite": sqlite3.sqlite_version,
    }  # fmt: skip


def write(folder: Path) -> Path:
    """Write the run's figures; the file."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    now = datetime.now(UTC)
    document = {
        "at": now.isoformat(timespec="seconds"), "commit": commit.stdout.strip(), "machine": machine(), "versions": versions(),
        "figures": [asdict(found) for found in FOUND],
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{now:%Y%m%dT%H%M%S}-{commit.stdout.strip() or 'unknown'}.json"
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def compare(before: Path, after: Path) -> str:
    """Two runs side by side, with the second over the first."""
    old, new = (json.loads(path.read_text()) for path in (before, after))
    earlier, later = ({(f["bench"], f["name"]): f["value"] for f in run["figures"]} for run in (old, new))
    lines = [f"| bench | figure | {old['commit']} | {new['commit']} | ratio |", "| --- | --- | --- | --- | --- |"]
    for bench, name in {**later, **earlier}:  # those that only the first has come last
        a, b = earlier.get((bench, name)), later.get((bench, name))
        shown = ["-" if value is None else number(value) for value in (a, b)]
        lines.append(f"| {bench} | {name} | {' | '.join(shown)} | {f'{b / a:.2f}' if a and b is not None else '-'} |")
    return "\n".join(lines)
