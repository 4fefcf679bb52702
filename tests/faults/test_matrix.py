"""The table of faults is complete: 31 rows, each with tests that exist or with the reason why one machine cannot."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROWS = 31


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


def test_every_row_has_its_test_or_its_reason() -> None:
    table = tomllib.loads((TESTS / "faults" / "matrix.toml").read_text())
    assert [int(number) for number in table] == list(range(1, ROWS + 1))
    for number, row in table.items():
        assert bool(row["tests"]) is not bool(row.get("why")), f"row {number}"
        for name in row["tests"]:
            path, _, function = name.partition("::")
            assert function in functions(TESTS / path), f"row {number}: {name}"
