"""Tests done, totals and incidents: stored, listed to whom they concern, and never counted as detections."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from app.persistence.models import Alert, Detection
from app.substances.denominators import wilson
from tests.conftest import Service

ACTIVITY = {"period": "2026-10", "samples_tested": 400, "samples_with_nps": 31}
AGGREGATE = {
    "period": "2026-Q3", "samples_tested": 9000,
    "substances": [{"name": "isotonitazene", "detections": 12, "deaths": 1}, {"name": "no such thing at all", "detections": 3}],
}  # fmt: skip
INCIDENT = {
    "reference": "CUSTOMS-77", "kind": "seizure", "date": "2026-11-02", "origin": "CN", "destination": "DE", "transit": ["NL"],
    "mode": "post_or_parcel", "concealment": "inside toys", "quantity": {"value": 2, "unit": "kg"},
    "substances": [{"name": "metonitazene"}, {"name": "4-anilinopiperidine", "precursor": True}],
}  # fmt: skip


def post(service: Service, path: str, key: dict[str, str], body: dict[str, Any], status: int = 201, **headers: str) -> Any:
    answer = service.client.post(f"/v1/{path}", json=body, headers=key | headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def items(service: Service, path: str, key: dict[str, str]) -> list[Any]:
    answer = service.client.get(f"/v1/{path}", headers=key)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


def test_none_of_them_is_a_detection_or_raises_an_alert(service: Service) -> None:
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    post(service, "activity-reports", lab, ACTIVITY)
    stored = post(service, "aggregate-reports", authority, AGGREGATE)
    assert [row["resolution"] for row in stored["substances"]] == ["name", "unresolved"]
    assert stored["substances"][0]["substance_id"]
    post(service, "incidents", authority, INCIDENT)
    with service.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Detection)) == 0
        assert session.scalar(select(func.count()).select_from(Alert)) == 0
    listed = service.client.get("/v1/substances?q=isotonitazene", headers=lab).json()["items"]
    assert listed[0]["detections_12_months"]["n"] == 0


def test_a_second_statement_on_the_same_time_must_say_that_it_replaces(service: Service) -> None:
    lab = service.key("lab", "DE")
    first = post(service, "activity-reports", lab, ACTIVITY)
    assert first["state"] == "current"
    overlapping = post(service, "activity-reports", lab, ACTIVITY | {"period": "2026"}, 409)
    assert overlapping["statement_id"] == first["id"]
    second = post(service, "activity-reports", lab, ACTIVITY | {"samples_tested": 410, "replaces": first["id"]})
    assert post(service, "activity-reports", lab, ACTIVITY | {"replaces": first["id"]}, 409)["status"] == 409
    assert [(row["id"], row["state"]) for row in items(service, "activity-reports", lab)] == [
        (second["id"], "current"),
        (first["id"], "replaced"),
    ]
    post(service, f"activity-reports/{second['id']}/withdraw", lab, {"reason": "counted twice"}, 200)
    post(service, f"activity-reports/{second['id']}/withdraw", lab, {"reason": "counted twice"}, 409)
    post(service, "activity-reports", lab, ACTIVITY)  # the month is free again


def test_the_same_key_and_body_is_stored_once(service: Service) -> None:
    lab = service.key("lab", "DE")
    headers = {"Idempotency-Key": "once"}
    first = service.client.post("/v1/activity-reports", json=ACTIVITY, headers=lab | headers)
    again = service.client.post("/v1/activity-reports", json=ACTIVITY, headers=lab | headers)
    assert (first.status_code, again.status_code, again.headers["Idempotent-Replayed"]) == (201, 201, "true")
    assert first.json() == again.json()
    post(service, "activity-reports", lab, ACTIVITY | {"samples_tested": 1}, 422, **headers)


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("activity-reports", ACTIVITY | {"period": "2026-13"}, "/period"),
        ("activity-reports", ACTIVITY | {"period": "2027-01"}, "/period"),
        ("activity-reports", ACTIVITY | {"samples_tested": -1}, "/samples_tested"),
        ("aggregate-reports", AGGREGATE | {"substances": []}, "/substances"),
        ("aggregate-reports", AGGREGATE | {"substances": [{"cas": "1-1-1", "detections": 1}]}, "/substances/0/cas"),
        ("incidents", INCIDENT | {"kind": "gossip"}, "/kind"),
        ("incidents", INCIDENT | {"date": "2027-01-01"}, "/date"),
        ("incidents", INCIDENT | {"substances": [{"structure": {"smiles": "c1ccc"}}]}, "/substances/0/structure/smiles"),
    ],
)
def test_a_fault_is_named_by_its_field(sqlite_service: Service, path: str, body: dict[str, Any], pointer: str) -> None:
    answer = post(sqlite_service, path, sqlite_service.key("lab", "DE"), body, 422)
    assert answer["errors"][0]["pointer"] == pointer


def test_incidents_are_for_the_sender_and_its_country(sqlite_service: Service) -> None:
    service = sqlite_service
    partner, authority, other = service.key("industry", "DE"), service.key("authority", "DE"), service.key("authority", "FR")
    analyst, lab, reviewer = service.key("operator", "AT", "analyst"), service.key("lab", "DE"), service.key("reviewer", "CH")
    post(service, "incidents", partner, INCIDENT, 422)  # a seizure is not a partner's to report
    stored = post(service, "incidents", partner, INCIDENT | {"kind": "suspicious_order", "comment": "asked for cash"})
    assert [row["id"] for row in items(service, "incidents", authority)] == [stored["id"]]
    assert items(service, "incidents", authority)[0]["origin"] == "CN"
    assert items(service, "incidents", other) == []
    assert items(service, "incidents", lab) == []
    seen = items(service, "incidents", analyst)[0]
    assert (seen["origin"], seen["transit"], seen["comment"], seen["kind"]) == (None, [], None, "suspicious_order")
    assert service.client.get("/v1/incidents", headers=reviewer).status_code == 403
    assert post(service, "incidents", partner, INCIDENT | {"kind": "theft"}, 409)["statement_id"] == stored["id"]


def test_an_authority_states_figures_of_its_own_country_only(sqlite_service: Service) -> None:
    authority = sqlite_service.key("authority", "DE")
    answer = post(sqlite_service, "aggregate-reports", authority, AGGREGATE | {"country": "FR"}, 422)
    assert answer["errors"][0]["pointer"] == "/country"


def test_tests_done_become_the_denominator_of_prevalence(service: Service, example_report: dict[str, Any]) -> None:
    lab, silent = service.key("lab", "DE"), service.key("lab", "DE", name="without tests")
    post(service, "activity-reports", lab, ACTIVITY | {"period": "2026-11", "samples_tested": 200})
    post(service, "activity-reports", service.key("lab", "DE", name="a test", test=True), ACTIVITY | {"period": "2026-11"})
    stored = post(service, "reports", lab, example_report)
    post(service, "reports", silent, example_report)  # a laboratory without a statement is in no rate
    found = service.client.get(f"/v1/substances/{stored['substances'][0]['substance_id']}/prevalence", headers=lab).json()
    assert (found["tests"]["laboratories"], found["tests"]["laboratories_reporting"]) == (1, 2)
    low, high = wilson(1, 200)
    assert found["tests"]["months"] == [
        {
            "month": "2026-11", "tests": 200, "detections": 1, "per_1000": 5.0, "low": round(1000 * low, 3),
            "high": round(1000 * high, 3), "few": False,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "tests", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718)]
)
def test_wilson_is_the_interval_of_the_textbook(found: int, tests: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17, 857 (1998), table I, method 3."""
    assert tuple(round(limit, 4) for limit in wilson(found, tests)) == (low, high)
