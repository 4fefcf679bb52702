"""Tables that must stay true: the standard's sections and their tests, bandit's findings, the licences of dependencies."""

from __future__ import annotations

import ast
import csv
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
# what packages without a licence expression write instead
WRITTEN = {
    "MIT License": "MIT", "BSD License": "BSD-3-Clause", "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}  # fmt: skip
NOT_HERE = {"tzdata"}  # for Windows alone


def _rows(name: str) -> list[dict[str, str]]:
    with (HERE / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _tests_in(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def test_every_section_of_the_standard_has_a_test_that_exists_or_a_reason() -> None:
    rows = _rows("asvs.csv")
    chapters = {row["section"].split(".")[0] for row in rows}
    assert chapters == {f"V{n}" for n in range(1, 18)}
    assert len({row["section"] for row in rows}) == len(rows)
    known: dict[str, set[str]] = {}
    for row in rows:
        assert set(row) == {"section", "what", "tests", "reason"}, row
        assert row["tests"] or row["reason"], row["section"]
        for named in row["tests"].split():
            path, _, name = named.partition("::")
            known.setdefault(path, _tests_in(ROOT / path))
            assert name in known[path], f"{row['section']}: there is no {named}"


def test_bandit_finds_nothing_that_is_not_explained() -> None:
    command = [sys.executable, "-m", "bandit", "-q", "-r", "app", "alerts", "chem", "-f", "json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = {(item["test_id"], item["filename"]) for item in json.loads(done.stdout)["results"]}
    explained = {(row["test"], row["file"]): row["reason"] for row in _rows("bandit.csv")}
    assert all(explained.values())
    wild = {test for test, file in explained if file == "*"}
    assert not {pair for pair in found if pair not in explained and pair[0] not in wild}
    assert not {pair for pair in explained if pair not in found and pair[1] != "*"}, "explained, but no longer found"


def _licences(package: str) -> set[str]:
    told = metadata.metadata(package)
    expression = told.get("License-Expression")
    if expression:
        return set(re.split(r" (?:AND|OR) ", expression))
    short = (told.get("License") or "").strip()
    if short and len(short) < 30:
        return {WRITTEN.get(short, short)}
    classifiers = [text.rsplit(" :: ", 1)[-1] for text in told.get_all("Classifier") or () if text.startswith("License")]
    return {WRITTEN.get(text, text) for text in classifiers}


def test_every_dependency_has_a_licence_that_is_allowed() -> None:
    rows = _rows("licences.csv")
    everywhere = {row["licence"] for row in rows if row["package"] == "*"}
    single = {(row["package"], row["licence"]) for row in rows if row["package"] != "*"}
    assert all(row["why"] for row in rows)
    lines = (ROOT / "requirements" / "base.txt").read_text().splitlines()
    packages = {line.split("==")[0].split("[")[0] for line in lines if re.match(r"[A-Za-z0-9]", line)} - NOT_HERE
    assert len(packages) > 40
    refused = []
    for package in sorted(packages):
        licences = _licences(package)
        choice = " OR " in (metadata.metadata(package).get("License-Expression") or "")
        allowed = {name for name in licences if name in everywhere or (package, name) in single}
        if not allowed or (not choice and allowed != licences):
            refused.append(f"{package}: {sorted(licences) or 'says none'}")
    assert not refused, refused
    assert not {package for package, _ in single} - packages, "explained, but no longer a dependency"
