"""Packages are as their own dictionary says, cite their snapshot, repeat themselves, and hold no row of a stricter label."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.imports.readers import read_rows
from app.packages.tables import ANNUAL, PACKAGES, check
from tests.conftest import Service

SMILES = {"fentanyl": "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1", "mephedrone": "CNC(C)C(=O)c1ccc(C)cc1", "bmk": "CC(=O)Cc1ccccc1"}


def _report(n: int, country: str, smiles: str, tlp: str) -> dict[str, Any]:
    return {
        "lab_reference": f"P-{n}",
        "sample": {"country": country, "date_sampled": f"2026-0{1 + n % 9}-03", "context": "seizure"},
        "substances": [{"structure": {"smiles": smiles}, "techniques": ["gc-ms", "nmr"], "schymanski_level": "1",
                        "reference_material": "certified", "isomers_excluded": "yes"}],
        "cases": [{"seriousness": "death", "role": "sole_cause", "exposure_evidence": "biological"}] if tlp == "AMBER" else [],
        "tlp": tlp,
    }  # fmt: skip


@pytest.fixture
def world(sqlite_service: Service) -> Service:
    """Four GREEN findings of Germany and France, and one AMBER death of France."""
    labs = {country: sqlite_service.key("lab", country) for country in ("DE", "FR")}
    sent = [("DE", "fentanyl", "GREEN"), ("DE", "mephedrone", "GREEN"), ("DE", "bmk", "GREEN"), ("FR", "fentanyl", "GREEN"),
            ("FR", "mephedrone", "AMBER")]  # fmt: skip
    for n, (country, name, tlp) in enumerate(sent):
        answer = sqlite_service.client.post("/v1/reports", json=_report(n, country, SMILES[name], tlp), headers=labs[country])
        assert answer.status_code == 201, answer.text
    sqlite_service.clock.at += timedelta(days=1)
    return sqlite_service


def _opened(service: Service, key: dict[str, str], package: str, query: str = "") -> zipfile.ZipFile:
    answer = service.client.get(f"/v1/packages/{package}.zip{query}", headers=key)
    assert answer.status_code == 200, answer.text
    return zipfile.ZipFile(io.BytesIO(answer.content))


def test_every_package_is_as_its_dictionary_says(world: Service, tmp_path: Path) -> None:
    reviewer = world.key("reviewer", "CH")
    documented = {row["id"]: row["columns"] for row in world.client.get("/v1/packages", headers=reviewer).json()["items"]}
    sizes = {}
    for name, package in PACKAGES.items():
        archive = _opened(world, reviewer, name)
        header, *rows = csv.reader(io.StringIO(archive.read("data.csv").decode()))
        assert check(package.columns, header, rows) == []
        assert [column["name"] for column in documented[name]] == header
        dictionary = list(csv.DictReader(io.StringIO(archive.read("columns.csv").decode())))
        assert [row["column"] for row in dictionary] == header
        assert all(row["meaning"] for row in dictionary)
        as_json = json.loads(archive.read("data.json"))
        assert [[str(value) for value in row.values()] for row in as_json["rows"]] == rows
        (tmp_path / "data.xlsx").write_bytes(archive.read("data.xlsx"))
        sheet = [[str(row.cells.get(column) or "") for column in header] for row in read_rows(tmp_path / "data.xlsx", "xlsx")]
        assert sheet == rows
        text = archive.read("README.txt").decode()
        assert as_json["snapshot"]["id"] in text
        assert as_json["snapshot"]["sha256"] in text
        sizes[name] = len(rows)
    assert sizes == {"annual": 5, "handover": 5, "ats": 2, "opioids": 2, "precursors": 1}
    again = _opened(world, reviewer, "annual")
    assert again.read("data.csv") == _opened(world, reviewer, "annual").read("data.csv")


def test_a_package_holds_no_row_of_a_stricter_label(world: Service) -> None:
    for key in (world.key("authority", "DE"), world.key("lab", "GB")):
        archive = _opened(world, key, "annual")
        rows = json.loads(archive.read("data.json"))["rows"]
        assert {(row["country"], row["chemical_group"]) for row in rows} == {
            ("DE", "fentanyl_analogue"), ("DE", "synthetic_cathinone"), ("DE", "other"), ("FR", "fentanyl_analogue"),
        }  # fmt: skip
    cut = json.loads(_opened(world, world.key("reviewer", "CH"), "annual", "?country=FR&year=2026").read("data.json"))["rows"]
    assert {row["country"] for row in cut} == {"FR"}
    assert len(cut) == 2
    assert world.client.get("/v1/packages/none.zip", headers=world.key("reviewer", "CH")).status_code == 404
    assert world.client.get("/v1/packages/annual.zip", headers=world.key("industry", "GB")).status_code == 403


def test_the_check_finds_what_is_wrong() -> None:
    good = ["2026", "DE", "x", "id", "", "", "other", "opioid", "no", "", "1", "0", "1", "1"]
    header = [column.name for column in ANNUAL]
    assert check(ANNUAL, header, [good]) == []
    assert check(ANNUAL, header, [[*good[:1], "Germany", *good[2:]]]) == ["row 1, country: 'Germany' is no country"]
    assert check(ANNUAL, header[1:], [good]) != []
    assert check(ANNUAL, header, [good[:-1]]) == ["row 1 has 13 cells"]
