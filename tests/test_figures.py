"""The table that puts the newest figures of several runs together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.bench.figures import compare, latest


def written(folder: Path, name: str, at: str, *figures: dict[str, Any]) -> Path:
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"at": at, "commit": name[-3:], "figures": list(figures)}))
    return path


def told(bench: str, name: str, value: float, aim: str = "") -> dict[str, Any]:
    return {"bench": bench, "name": name, "value": value, "unit": "times", "aim": aim}


def test_the_table_holds_the_newest_value_of_each_figure_of_a_day_with_its_commit(tmp_path: Path) -> None:
    written(tmp_path, "20260101T0000-old", "2026-01-01T00:00:00+00:00", told("scale", "disk", 9.0))
    written(
        tmp_path, "20260103T0100-aaa", "2026-01-03T01:00:00+00:00", told("pages", "list", 4.0, "<= 2"), told("chem", "law", 3.0)
    )
    written(tmp_path, "20260103T0900-bbb", "2026-01-03T09:00:00+00:00", told("pages", "list", 1.5, "<= 2"))
    lines = latest(tmp_path).splitlines()[2:]
    assert lines == [
        "| chem | law | 3.00 | times |  |  | aaa, 2026-01-03T01:00:00+00:00 |",
        "| pages | list | 1.50 | times | <= 2 | holds | bbb, 2026-01-03T09:00:00+00:00 |",
    ]


def test_a_figure_beyond_its_aim_is_told(tmp_path: Path) -> None:
    written(
        tmp_path,
        "20260103T0100-aaa",
        "2026-01-03T01:00:00+00:00",
        told("pages", "list", 2.1, "<= 2"),
        told("scale", "rate", 0.9, ">= 0.8"),
    )
    table = latest(tmp_path)
    assert "| 2.10 | times | <= 2 | NOT MET |" in table
    assert "| 0.9 | times | >= 0.8 | holds |" in table


def test_two_commits_are_compared_figure_by_figure(tmp_path: Path) -> None:
    before = written(
        tmp_path, "20260103T0100-aaa", "2026-01-03T01:00:00+00:00", told("pages", "list", 2.0), told("pages", "gone", 5.0)
    )
    after = written(
        tmp_path, "20260103T0200-bbb", "2026-01-03T02:00:00+00:00", told("pages", "list", 3.0), told("pages", "new", 1.0)
    )
    assert compare(before, after).splitlines()[2:] == [
        "| pages | list | 2.00 | 3.00 | 1.50 |", "| pages | new | - | 1.00 | - |", "| pages | gone | 5.00 | - | - |",
    ]  # fmt: skip
