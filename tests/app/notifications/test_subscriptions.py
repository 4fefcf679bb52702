"""The life of an endpoint: registration, proof, changes, redelivery, end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select, update
from starlette.testclient import TestClient

from alerts.values import Scope
from app.persistence.models import Subscription, Task
from app.worker import Worker


@pytest.fixture
def worker(context: Any) -> Worker:
    return Worker(context, schedule=False)


def make(client: TestClient, headers: dict[str, str], receiver: Any, worker: Worker, **wish: Any) -> dict[str, Any]:
    made = client.post("/v1/subscriptions", headers=headers, json={"channel": "webhook", "url": receiver.url, **wish})
    assert made.status_code == 201, made.text
    receiver.secret = made.json()["secret"]
    worker.run_due()
    document: dict[str, Any] = made.json()
    return document


@pytest.mark.parametrize(
    "wish",
    [
        {"channel": "webhook"},
        {"channel": "webhook", "url": "ftp://example.org/"},
        {"channel": "webhook", "url": "https://user@example.org/"},
        {"channel": "webhook", "url": "https://example.org/#x"},
        {"channel": "webhook", "url": "https://example.org/", "address": "a@b.example"},
        {"channel": "inbox", "url": "https://example.org/"},
        {"channel": "pigeon", "url": "https://example.org/"},
        {"channel": "inbox", "filter": {"countries": ["XX"]}},
        {"channel": "inbox", "filter": {"regions": ["Atlantis"]}},
        {"channel": "inbox", "filter": {"types": ["rumour"]}},
        {"channel": "inbox", "filter": {"groups": ["sweets"]}},
        {"channel": "inbox", "filter": {"min_level": 5}},
        {"channel": "inbox", "filter": {"nonsense": 1}},
        {"channel": "inbox", "tlp_max": "PURPLE"},
    ],
)
def test_what_does_not_fit_is_refused_with_a_pointer(client: TestClient, world: Any, wish: dict[str, Any]) -> None:
    answer = client.post("/v1/subscriptions", headers=world.key(world.org("authority")), json=wish)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"][0]["pointer"]


@pytest.mark.parametrize(
    ("kind", "role", "held"),
    [
        ("lab", "lab", "GREEN"),
        ("authority", "authority", "AMBER+STRICT"),
        ("reviewer", "reviewer", "AMBER"),
        ("industry", "industry", "GREEN"),
        ("operator", "analyst", "AMBER+STRICT"),
        ("operator", "admin", "CLEAR"),
    ],
)
def test_clearance_is_cut_to_what_the_role_may_hold(client: TestClient, world: Any, kind: str, role: str, held: str) -> None:
    headers = world.key(world.org(kind), role)
    made = client.post("/v1/subscriptions", headers=headers, json={"channel": "inbox", "tlp_max": "RED"}).json()
    assert made["tlp_max"] == held
    changed = client.patch(f"/v1/subscriptions/{made['id']}", headers=headers, json={"tlp_max": "RED"}).json()
    assert changed["tlp_max"] == held


def test_a_receiver_that_does_not_echo_stays_unverified_and_hears_nothing(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    receiver, headers = receivers(), world.key(world.org("authority"))
    receiver.behave = lambda request: (200, {}, b'{"nonce": "guess"}')
    made = make(client, headers, receiver, worker)
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    assert client.get(f"/v1/subscriptions/{made['id']}", headers=headers).json()["state"] == "unverified"
    assert receiver.of_type() == []


def test_an_endpoint_belongs_to_its_organisation_alone(client: TestClient, world: Any, receivers: Any, worker: Worker) -> None:
    headers, other = world.key(world.org("authority")), world.key(world.org("authority", "FR"))
    path = f"/v1/subscriptions/{make(client, headers, receivers(), worker)['id']}"
    assert client.get(path, headers=other).status_code == 404
    assert client.patch(path, headers=other, json={"state": "paused"}).status_code == 404
    assert client.delete(path, headers=other).status_code == 404
    for action in ("test", "rotate-secret", "redeliver"):
        assert client.post(f"{path}/{action}", headers=other, json={}).status_code in (404, 422)
    assert client.get("/v1/subscriptions", headers=other).json()["items"] == []
    assert client.get("/v1/subscriptions").status_code == 401
    assert "secret" not in client.get(path, headers=headers).json()


def test_thin_is_the_subscribers_choice_and_red_is_always_thin(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    full, thin = receivers(), receivers()
    authority = world.org("authority")
    make(client, world.key(authority), full, worker, tlp_max="AMBER")
    make(client, world.key(authority), thin, worker, tlp_max="AMBER", detail="thin")
    store_report(world.lab, world.substance("a", group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    (one,), (two,) = full.of_type(), thin.of_type()
    assert one.document["data"]["headline"]
    assert set(two.document["data"]) == set(one.document["data"]) | {"withheld"}
    assert (two.document["data"]["withheld"], two.document["data"]["headline"]) == (True, None)

    store_report(world.lab, world.substance("b", group="other"), first_in=Scope.COUNTRY, tlp="RED")
    worker.run_due()
    red = full.of_type()[1].document["data"]
    assert (red["tlp"], red["withheld"], red["headline"], red["evidence"]) == ("RED", True, None, None)


def test_nothing_above_its_clearance_leaves_on_an_endpoint(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    """P7, and: the submitting laboratory hears of its AMBER report, thinly."""
    green, laboratory = receivers(), receivers()
    make(client, world.key(world.org("authority")), green, worker, tlp_max="GREEN")
    make(client, world.key(world.lab), laboratory, worker, tlp_max="GREEN")
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="AMBER")
    worker.run_due()
    assert green.of_type() == []
    (own,) = laboratory.of_type()
    assert (own.document["data"]["tlp"], own.document["data"]["withheld"]) == ("AMBER", True)


def test_filters_narrow_what_is_heard(client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any) -> None:
    wanted, other = world.substance("a", group="tryptamine"), world.substance("b", group="other")
    filters = [
        ({"groups": ["tryptamine"]}, ["a"]),
        ({"substances": [other.id]}, ["b"]),
        ({"countries": ["FR"]}, []),
        ({"countries": ["FR"], "regions": ["Europe"]}, ["a", "b"]),
        ({"types": ["serious_harm"]}, []),
        ({"min_level": 2}, []),
        ({"types": ["first_country"], "countries": ["DE"], "min_level": 1}, ["a", "b"]),
    ]
    headers = world.key(world.org("authority"))
    made = []
    for wish, _ in filters:
        receiver = receivers()
        make(client, headers, receiver, worker, filter=wish)
        made.append(receiver)
    for substance in (wanted, other):
        store_report(world.lab, substance, first_in=Scope.COUNTRY)
    worker.run_due()
    for receiver, (wish, expected) in zip(made, filters, strict=True):
        heard = sorted(request.document["data"]["substance"]["name"] for request in receiver.of_type())
        assert heard == expected, wish


def test_another_url_is_proved_first_and_then_gets_the_backlog(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    old, new, headers = receivers(), receivers(), world.key(world.org("authority"))
    made = make(client, headers, old, worker)
    new.secret = made["secret"]
    path = f"/v1/subscriptions/{made['id']}"
    assert client.patch(path, headers=headers, json={"url": new.url}).json()["state"] == "disabled"
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    assert client.get(path, headers=headers).json()["state"] == "active"
    assert old.of_type() == []
    assert len(new.of_type()) == 1
    assert client.patch(path, headers=headers, json={"url": "https://user@x.example/"}).status_code == 422


def test_redelivery_keeps_the_id_and_counts_what_it_sends(
    client: TestClient, context: Any, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    receiver, headers = receivers(), world.key(world.org("authority"))
    path = f"/v1/subscriptions/{make(client, headers, receiver, worker)['id']}/redeliver"
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    assert client.post(path, headers=headers, json={"alert": alert_id}).json() == {"redelivering": 1}
    worker.run_due()
    wish = {"from": "2020-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}
    assert client.post(path, headers=headers, json=wish).json() == {"redelivering": 1}
    worker.run_due()
    assert len({request.headers["webhook-id"] for request in receiver.of_type()}) == 1
    assert len(receiver.of_type()) == 3
    assert client.post(path, headers=headers, json={"all_dead": True}).json() == {"redelivering": 0}
    with context.database.write() as session:
        session.execute(update(Task).where(Task.topic == "deliver").values(state="dead"))
    assert client.post(path, headers=headers, json={"all_dead": True}).json() == {"redelivering": 1}
    worker.run_due()
    assert len(receiver.of_type()) == 4
    for bad in (
        {},
        {"alert": alert_id, "all_dead": True},
        {"from": "2020-01-01T00:00:00Z"},
        {"from": "2020-01-01T00:00:00", "to": "2021-01-01T00:00:00"},
    ):
        assert client.post(path, headers=headers, json=bad).status_code == 422, bad
    assert client.post(path, headers=headers, json={"alert": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}).status_code == 404


def test_an_endpoint_made_later_can_ask_for_an_earlier_alert(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    receiver, headers = receivers(), world.key(world.org("authority"))
    made = make(client, headers, receiver, worker)
    assert receiver.of_type() == []
    answer = client.post(f"/v1/subscriptions/{made['id']}/redeliver", headers=headers, json={"alert": alert_id})
    assert answer.json() == {"redelivering": 1}
    worker.run_due()
    (request,) = receiver.of_type()
    assert (request.document["type"], request.verified) == ("alert.issued", True)


def test_attempts_are_listed_and_a_dead_delivery_can_be_retried(
    client: TestClient, context: Any, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    receiver, authority = receivers(), world.org("authority")
    headers, operator, foreign = (
        world.key(authority),
        world.key(world.org("operator"), "admin"),
        world.key(world.org("authority", "FR")),
    )
    make(client, headers, receiver, worker)
    receiver.behave = lambda request: (500, {"X": "y"}, b"no \x00 room")
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    (delivery,) = client.get(f"/v1/alerts/{alert_id}/deliveries", headers=headers).json()["items"]
    assert (delivery["state"], delivery["attempts"][0]["status"], delivery["attempts"][0]["outcome"]) == ("ready", 500, "failed")
    assert delivery["attempts"][0]["resolved_ip"] == "127.0.0.1"
    assert client.get(f"/v1/alerts/{alert_id}/deliveries", headers=foreign).json()["items"] == []
    assert len(client.get(f"/v1/alerts/{alert_id}/deliveries", headers=operator).json()["items"]) == 1
    receiver.behave = None
    assert client.post(f"/v1/deliveries/{delivery['id']}/retry", headers=foreign).status_code == 404
    assert client.post(f"/v1/deliveries/{delivery['id']}/retry", headers=operator).status_code == 202
    worker.run_due()
    assert len(receiver.of_type()) == 2
    (delivery,) = client.get(f"/v1/alerts/{alert_id}/deliveries", headers=headers).json()["items"]
    assert (delivery["state"], [row["outcome"] for row in delivery["attempts"]]) == ("done", ["failed", "delivered"])


def test_a_test_organisation_alerts_nobody_but_itself(
    client: TestClient, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    tester = world.org("lab", test=True)
    own, others = receivers(), receivers()
    make(client, world.key(tester), own, worker)
    make(client, world.key(world.org("authority")), others, worker, tlp_max="AMBER")
    store_report(tester, world.substance(), first_in=Scope.WORLD)
    worker.run_due()
    assert len(own.of_type()) == 1
    assert others.of_type() == []


def test_bodies_are_stored_as_sent_and_small(
    client: TestClient, context: Any, world: Any, receivers: Any, worker: Worker, store_report: Any
) -> None:
    from app.persistence.models import Body

    receiver = receivers()
    make(client, world.key(world.org("authority")), receiver, worker)
    store_report(world.lab, world.substance("α-" + "x" * 290, group="other"), first_in=Scope.COUNTRY)
    worker.run_due()
    (request,) = receiver.of_type()
    with context.database.read() as session:
        assert session.scalars(select(Body.content)).all() == [request.body]
        stored = session.scalars(select(Subscription.secrets)).one()
    assert len(request.body) < 20 * 1024
    assert receiver.secret not in json.dumps(stored)
