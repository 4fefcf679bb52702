"""Who may see which alert, in which revision and detail: the same answer from list, detail, feed and webhook."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from alerts.values import Scope
from app.worker import Worker

ROLES = ("public", "lab", "other_lab", "authority", "foreign", "reviewer", "analyst", "industry", "admin", "test_authority")


@pytest.fixture
def people(world: Any) -> dict[str, dict[str, str]]:
    """Headers of one key of each kind; `lab` is the submitting laboratory, in Germany like `authority`."""
    operator = world.org("operator")
    return {
        "public": {},
        "lab": world.key(world.lab),
        "other_lab": world.key(world.org("lab", name="another")),
        "authority": world.key(world.org("authority")),
        "foreign": world.key(world.org("authority", "FR")),
        "reviewer": world.key(world.org("reviewer", "CH")),
        "analyst": world.key(operator, "analyst"),
        "industry": world.key(world.org("industry")),
        "admin": world.key(operator, "admin"),
        "test_authority": world.key(world.org("authority", test=True)),
    }


@pytest.fixture
def drained(context: Any) -> Any:
    """Works off everything that is due, in this thread."""
    worker = Worker(context, schedule=False)
    return worker.run_due


def seen_by(client: TestClient, people: dict[str, dict[str, str]], alert_id: str) -> set[str]:
    """The kinds of reader to whom the alert exists. Fails where list, detail and feed disagree."""
    found = set()
    for name, headers in people.items():
        detail = client.get(f"/v1/alerts/{alert_id}", headers=headers).status_code
        listed = alert_id in [item["id"] for item in client.get("/v1/alerts", headers=headers).json()["items"]]
        fed = alert_id in [item["data"]["id"] for item in client.get("/v1/events?after=0", headers=headers).json()["items"]]
        assert (detail == 200) == listed == fed, name
        assert detail in (200, 404)
        if listed:
            found.add(name)
    return found


@pytest.mark.parametrize(
    ("tlp", "group", "expected"),
    [
        ("CLEAR", "other", set(ROLES) - {"test_authority"}),
        ("GREEN", "other", {"lab", "other_lab", "authority", "foreign", "reviewer", "analyst"}),
        ("AMBER", "other", {"lab", "authority", "reviewer", "analyst"}),
        ("AMBER+STRICT", "other", {"lab", "authority", "analyst"}),
        ("RED", "other", {"lab", "authority", "analyst"}),
        ("CLEAR", "nitazene", {"lab", "authority", "analyst"}),  # level 3: nobody else before approval
        ("GREEN", "nitazene", {"lab", "authority", "analyst"}),
    ],
)
def test_an_alert_exists_for_whom_the_table_says(
    client: TestClient, world: Any, people: Any, store_report: Any, drained: Any, tlp: str, group: str, expected: set[str]
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group=group), first_in=Scope.REGION, tlp=tlp)
    drained()
    assert seen_by(client, people, alert_id) == expected


def test_alerts_of_a_test_organisation_are_for_itself_alone(
    client: TestClient, world: Any, people: Any, store_report: Any, drained: Any
) -> None:
    tester = world.org("lab", test=True)
    people["tester"] = world.key(tester)
    (alert_id,) = store_report(tester, world.substance(group="other"), first_in=Scope.REGION, tlp="CLEAR")
    drained()
    assert seen_by(client, people, alert_id) == {"tester"}


def test_approval_opens_the_alert_in_its_new_revision(
    client: TestClient, world: Any, people: Any, store_report: Any, drained: Any
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION, tlp="GREEN")
    for name in set(ROLES) - {"analyst", "public"}:
        assert client.post(f"/v1/alerts/{alert_id}/approve", headers=people[name]).status_code == 403
    assert client.post(f"/v1/alerts/{alert_id}/approve").status_code == 401
    assert client.post(f"/v1/alerts/{alert_id}/approve", headers=people["analyst"]).status_code == 200
    drained()
    assert seen_by(client, people, alert_id) == {"lab", "other_lab", "authority", "foreign", "reviewer", "analyst"}
    abroad = client.get(f"/v1/alerts/{alert_id}", headers=people["foreign"]).json()
    at_home = client.get(f"/v1/alerts/{alert_id}", headers=people["authority"]).json()
    assert (abroad["revision"], abroad["references"]) == (2, [])
    assert [row["revision"] for row in at_home["references"]] == [1]
    types = [e["type"] for e in client.get("/v1/events", headers=people["authority"]).json()["items"]]
    assert types == ["alert.issued", "alert.updated"]
    assert [e["type"] for e in client.get("/v1/events", headers=people["foreign"]).json()["items"]] == ["alert.issued"]


def test_a_raised_label_hides_earlier_revisions_too(
    client: TestClient, world: Any, people: Any, store_report: Any, drained: Any
) -> None:
    substance = world.substance(group="other")
    (alert_id,) = store_report(world.lab, substance, first_in=Scope.COUNTRY, tlp="CLEAR")
    store_report(world.lab, substance, first_in=Scope.COUNTRY, tlp="AMBER")
    drained()
    assert seen_by(client, people, alert_id) == {"lab", "authority", "reviewer", "analyst"}


def test_an_authority_abroad_sees_amber_once_an_endpoint_of_it_holds_amber(
    client: TestClient, world: Any, people: Any, store_report: Any
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="AMBER")
    assert client.get(f"/v1/alerts/{alert_id}", headers=people["foreign"]).status_code == 404
    made = client.post("/v1/subscriptions", headers=people["foreign"], json={"channel": "inbox", "tlp_max": "AMBER"})
    assert (made.status_code, made.json()["state"], made.json()["tlp_max"]) == (201, "active", "AMBER")
    assert client.get(f"/v1/alerts/{alert_id}", headers=people["foreign"]).status_code == 200


def test_red_shows_nothing_but_that_it_exists(client: TestClient, world: Any, people: Any, store_report: Any) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="RED")
    own = client.get(f"/v1/alerts/{alert_id}", headers=people["lab"]).json()
    assert own["headline"]
    assert "withheld" not in own
    for name in ("authority", "analyst"):
        thin = client.get(f"/v1/alerts/{alert_id}", headers=people[name]).json()
        assert thin["withheld"] is True
        assert set(thin) == set(own) | {"withheld"}
        for key in ("headline", "short", "summary", "full", "instruction", "rule", "substance", "evidence", "countries"):
            assert thin[key] is None


def test_evidence_is_listed_to_those_who_may_open_it(client: TestClient, world: Any, people: Any, store_report: Any) -> None:
    """A serious-harm alert on a GREEN report is GREEN; the harm case under it is AMBER."""
    (alert_id,) = store_report(world.lab, world.substance(), death=True, tlp="GREEN")
    client.post(f"/v1/alerts/{alert_id}/approve", headers=people["analyst"])
    counts = {
        name: len(client.get(f"/v1/alerts/{alert_id}", headers=people[name]).json()["evidence"])
        for name in ("lab", "other_lab", "authority", "foreign", "reviewer", "analyst")
    }
    assert counts == {"lab": 1, "other_lab": 0, "authority": 1, "foreign": 0, "reviewer": 1, "analyst": 1}


def test_texts_are_written_from_country_month_substance_seriousness_and_count_alone(
    client: TestClient, world: Any, people: Any, store_report: Any
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(status="controlled"), death=True)
    alert = client.get(f"/v1/alerts/{alert_id}", headers=people["authority"]).json()
    assert alert["headline"] == "A death in which N-pyrrolidino isotonitazene was detected: Germany, November 2026"
    assert len(alert["short"]) <= 160
    assert alert["short"].endswith("Controlled.")
    assert alert["controlled"] is True
    assert "combined_cause" not in str(alert["rule"])
    assert "biological" not in str(alert)
    assert (alert["level"], alert["level_name"], alert["type"]) == (3, "alert", "serious_harm")


def test_answers_are_stored_once_and_shown_as_far_as_the_reader_may(
    client: TestClient, world: Any, people: Any, store_report: Any
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="CLEAR")
    for _ in range(2):
        answer = client.post(f"/v1/alerts/{alert_id}/acknowledge", headers=people["authority"], json={"note": "in hand"})
        assert (answer.status_code, answer.json()["kind"]) == (200, "acknowledged")
    assert client.post(f"/v1/alerts/{alert_id}/sightings", headers=people["other_lab"]).status_code == 200
    assert client.post(f"/v1/alerts/{alert_id}/assess", headers=people["other_lab"]).status_code == 403
    assert client.post(f"/v1/alerts/{alert_id}/acknowledge", headers=people["analyst"]).status_code == 403

    shown = client.get(f"/v1/alerts/{alert_id}", headers=people["foreign"]).json()["acknowledgements"]
    assert [(row["kind"], row["organisation"], row["note"]) for row in shown] == [
        ("acknowledged", "authority DE", None),
        ("sighting", None, None),
    ]
    assert client.get(f"/v1/alerts/{alert_id}").json()["acknowledgements"] == []
    analyst = client.get(f"/v1/alerts/{alert_id}", headers=people["analyst"]).json()["acknowledgements"]
    assert [(row["organisation"], row["note"]) for row in analyst] == [("authority DE", "in hand"), ("another", None)]


def test_an_alert_one_may_not_see_answers_404_everywhere(client: TestClient, world: Any, people: Any, store_report: Any) -> None:
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    for path in ("acknowledge", "assess", "sightings"):
        assert client.post(f"/v1/alerts/{alert_id}/{path}", headers=people["foreign"]).status_code == 404
    assert client.get(f"/v1/alerts/{alert_id}/deliveries", headers=people["foreign"]).status_code == 404


def test_lists_are_narrowed_and_paged(client: TestClient, world: Any, people: Any, store_report: Any) -> None:
    for number in range(5):
        store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY, tlp="CLEAR")
    seen: list[str] = []
    cursor = None
    while True:
        page = client.get("/v1/alerts", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    assert seen == sorted(seen, reverse=True)
    assert client.get("/v1/alerts?min_level=2").json()["items"] == []
    assert len(client.get("/v1/alerts?type=first_country&country=DE&region=Europe").json()["items"]) == 5
    assert client.get("/v1/alerts?country=FR").json()["items"] == []
    assert client.get("/v1/alerts?cursor=%C3%A9").status_code == 400
