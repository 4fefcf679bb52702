"""The suspect list: ions of known mass, searches within the tolerance, nothing that the reader may not see."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from app.substances.suspects import ADDUCTS, window
from tests.conftest import Service

HIDDEN = "CCCC1(NC)CCCCC1=O"


def ask(service: Service, key: dict[str, str], query: str = "", status: int = 200) -> Any:
    answer = service.client.get(f"/v1/suspects?{query}", headers=key)
    assert answer.status_code == status, answer.text
    return answer.json() if "csv" not in query else answer.text


def test_fentanyl_has_the_ions_of_its_formula(sqlite_service: Service) -> None:
    """C22H28N2O weighs 336.2202 u by the masses of its atoms: [M+H]+ 337.2274, [M+Na]+ 359.2094, [M-H]- 335.2129."""
    key = sqlite_service.key("industry", "DE")
    found = ask(sqlite_service, key, "mz=337.2274&adduct=[M%2BH]%2B&ppm=3")["items"]
    fentanyl = next(s for s in found if s["name"] == "Fentanyl")
    assert (fentanyl["formula"], fentanyl["adduct"], fentanyl["id"]) == ("C22H28N2O", "[M+H]+", None)
    assert abs(fentanyl["ppm"]) < 0.5
    assert [round(mz, 4) for mz in fentanyl["ions"].values()] == [337.2274, 359.2094, 335.2129]
    assert all(abs(s["ppm"]) <= 3 for s in found)
    errors = [abs(s["ppm"]) for s in found]
    assert errors == sorted(errors)
    assert fentanyl["legal_status"] == "controlled"


@pytest.mark.parametrize("adduct", ADDUCTS)
def test_the_window_is_of_the_computed_mz(adduct: str) -> None:
    low, high = window(300.0, adduct, 10)
    for edge in (low, high):
        computed = edge + ADDUCTS[adduct]
        assert abs(abs(300.0 - computed) / computed * 1e6 - 10) < 1e-6
    assert low < 300.0 - ADDUCTS[adduct] < high


def test_what_a_reader_may_not_see_is_not_listed(service: Service, example_report: dict[str, Any]) -> None:
    lab, other = service.key("lab", "DE"), service.key("lab", "FR")
    example_report["substances"] = [{"structure": {"smiles": HIDDEN}, "name": "gremlinone", "techniques": ["gc-ms"]}]
    example_report |= {"tlp": "AMBER", "cases": []}
    answer = service.client.post("/v1/reports", json=example_report, headers=lab)
    assert answer.status_code == 201, answer.text
    mz = answer.json()["substances"][0]["identity"]["monoisotopic_mass"] + ADDUCTS["[M+H]+"]
    assert "gremlinone" in {s["name"] for s in ask(service, lab, f"mz={mz}")["items"]}
    assert "gremlinone" not in {s["name"] for s in ask(service, other, f"mz={mz}")["items"]}
    assert "gremlinone" not in ask(service, other, "format=csv")


def test_the_list_is_whole_as_csv_and_pages_as_json(sqlite_service: Service) -> None:
    key = sqlite_service.key("lab", "DE")
    rows = list(csv.DictReader(io.StringIO(ask(sqlite_service, key, "format=csv"))))
    assert len(rows) > 500
    assert all(len(row["[M+H]+"].split(".")[1]) == 5 for row in rows)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(sqlite_service, key, f"limit=300&cursor={cursor}")
        seen += [s["inchikey"] for s in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [row["inchikey"] for row in rows] == sorted(set(seen))


@pytest.mark.parametrize("query", ["mz=5", "mz=300&adduct=[M%2BK]%2B", "mz=300&ppm=0", "group=sweets", "format=xls"])
def test_a_search_that_cannot_be_is_refused(sqlite_service: Service, query: str) -> None:
    answer = sqlite_service.client.get(f"/v1/suspects?{query}", headers=sqlite_service.key("lab", "DE"))
    assert answer.status_code == 422
    assert answer.json()["errors"]
