"""Lags are the medians of the rows behind them, small ones are masked for the public, and pages cost the same for any country."""

from __future__ import annotations

import csv
import io
from collections import Counter
from datetime import timedelta
from typing import Any

from sqlalchemy import event

from app.auth.permissions import Principal, Role
from app.countries.country import country_of
from app.countries.lags import PUBLIC, SHARED, quantile, spent, work_out
from app.worker import Worker
from tests.conftest import NOW, Service

CEC = "CCNC(C)C(=O)c1ccc(Cl)cc1"  # a cathinone of single countries, in no convention


def _report(n: int, country: str, days: int, tlp: str = "GREEN") -> dict[str, Any]:
    day = (NOW - timedelta(days=days)).date()
    return {
        "lab_reference": f"C-{n}",
        "sample": {"country": country, "date_sampled": day.isoformat(), "context": "seizure"},
        "substances": [{"structure": {"smiles": "CNC(C)C(=O)c1ccc(C)cc1"}, "techniques": ["gc-ms"], "schymanski_level": "2a"}],
        "date_analysed": (day + timedelta(days=2)).isoformat(),
        "tlp": tlp,
    }


def test_a_quantile_is_a_value_that_was_counted() -> None:
    assert quantile(Counter({1.0: 5, 10.0: 5}), 0.5) == 1.0
    assert quantile(Counter({1.0: 5, 10.0: 5}), 0.9) == 10.0
    assert quantile(Counter({3.0: 1}), 0.9) == 3.0
    assert [spent(0.5), spent(5), spent(96), spent(None)] == ["30 min", "5 h", "4 days", ""]


def test_the_status_in_a_country_is_by_its_own_law_too(service: Service) -> None:
    key = service.key("lab", "DE")
    for n, country in enumerate(("GB", "FR")):
        sent = _report(n, country, 5) | {
            "substances": [{"structure": {"smiles": CEC}, "techniques": ["gc-ms"], "schymanski_level": "2a"}]
        }
        assert service.client.post("/v1/reports", json=sent, headers=key).status_code == 201
    reader = Principal(
        actor="person:x", org_id="x", org_name="", kind="operator", country="AT", role=Role.ANALYST, test=False
    )  # fmt: skip
    with service.context.database.read() as session:
        for code, status in (("GB", "controlled"), ("FR", "not_controlled")):
            home = service.context.chemistry.home_of(code)
            found = country_of(session, reader, code, home=home, now=service.clock())
            assert [row.status for row in (*found.most, *found.new)] == [status] * 2, code


def test_lags_on_both_databases(service: Service) -> None:
    key = service.key("lab", "DE")
    for n, days in enumerate((4, 6, 8, 10, 30)):
        assert service.client.post("/v1/reports", json=_report(n, "DE", days, "CLEAR"), headers=key).status_code == 201
    for n, days in enumerate((2, 3)):
        assert service.client.post("/v1/reports", json=_report(n + 9, "DE", days, "GREEN"), headers=key).status_code == 201
    assert service.client.post("/v1/reports", json=_report(20, "DE", 300, "AMBER"), headers=key).status_code == 201
    french = service.key("lab", "FR")
    assert service.client.post("/v1/reports", json=_report(0, "FR", 5, "CLEAR"), headers=french).status_code == 201
    with service.context.database.read(patient=True) as session:
        found = {(row["country"], row["step"]): row for row in work_out(session, PUBLIC, NOW)}
        shared = {(row["country"], row["step"]): row for row in work_out(session, SHARED, NOW)}
    # received at noon: a sample of n days ago has waited n days and 12 hours
    assert (found["DE", "reported"]["number"], found["DE", "reported"]["median"]) == (5, 8 * 24 + 12.0)
    assert found["DE", "reported"]["p90"] == 30 * 24 + 12.0
    assert found["DE", "analysed"]["median"] == 48.0
    assert shared["DE", "reported"]["number"] == 7  # and never the AMBER one
    Worker(service.context, schedule=False).run_due()
    assert "are being worked out" in service.client.get("/lag", headers={"accept": "text/html"}).text
    Worker(service.context, schedule=False).run_due()
    page = service.client.get("/lag", headers={"accept": "text/html"}).text
    assert "8 days" in page
    assert "[c] masked" in page  # France, with one report
    rows = {(row["country"], row["step"]): row for row in csv.DictReader(io.StringIO(service.client.get("/lag.csv").text))}
    assert rows["FR", "reported"]["median_hours"] == "[c]"
    assert rows["DE", "reported"]["number"] == "5"


def test_the_lag_page_costs_the_same_for_any_number_of_reports(sqlite_service: Service) -> None:
    key = sqlite_service.key("lab", "DE")
    assert sqlite_service.client.post("/v1/reports", json=_report(0, "DE", 4, "CLEAR"), headers=key).status_code == 201
    sqlite_service.client.get("/lag", headers={"accept": "text/html"})
    Worker(sqlite_service.context, schedule=False).run_due()
    few = _queries(sqlite_service, "/lag")
    for n in range(1, 4):
        other = sqlite_service.key("lab", ("FR", "ES", "IT")[n - 1])
        body = _report(n, ("FR", "ES", "IT")[n - 1], 4, "CLEAR")
        assert sqlite_service.client.post("/v1/reports", json=body, headers=other).status_code == 201
    assert _queries(sqlite_service, "/lag") == few
    assert few <= 4


def _queries(service: Service, path: str) -> int:
    seen = []
    engine = service.context.database.engine

    def note(*arguments: Any) -> None:
        seen.append(arguments[2])

    event.listen(engine, "before_cursor_execute", note)
    try:
        assert service.client.get(path, headers={"accept": "text/html"}).status_code == 200
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return len([statement for statement in seen if statement.lstrip().upper().startswith("SELECT")])
