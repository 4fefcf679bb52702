"""From a stored report to a verified webhook, with real receivers."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import select
from starlette.testclient import TestClient

from alerts.values import Scope
from app.notifications import service
from app.persistence.models import FeedItem, Task
from app.persistence.tasks import insert_once, task_values
from app.worker import Worker


def test_a_first_detection_reaches_a_subscriber_signed(
    client: TestClient,
    context: Any,
    world: Any,
    running: Any,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
    withdraw: Any,
) -> None:
    lab, authority = world.org("lab"), world.org("authority", "FR")
    receiver = receivers()
    subscribe(world.key(authority), receiver, tlp_max="AMBER")
    started = time.monotonic()

    raised = store_report(lab, world.substance(group="synthetic_cathinone"), first_in=Scope.WORLD)

    (request,) = wait_for(lambda: receiver.of_type())
    assert request.at - started < 2.0
    assert request.verified
    assert request.document["type"] == "alert.issued"
    assert request.document["data"]["id"] == raised[0]
    assert request.document["data"]["type"] == "first_global"
    assert request.document["data"]["level"] == 2
    assert request.headers["webhook-id"].startswith("msg_")


def test_level_three_reaches_the_country_first_and_the_others_after_approval(
    client: TestClient,
    context: Any,
    world: Any,
    running: Any,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
    withdraw: Any,
) -> None:
    lab, german, french, operator = world.org("lab"), world.org("authority"), world.org("authority", "FR"), world.org("operator")
    at_home, abroad, at_lab = receivers(), receivers(), receivers()
    subscribe(world.key(german), at_home, tlp_max="AMBER")
    subscribe(world.key(french), abroad, tlp_max="AMBER")
    subscribe(world.key(lab), at_lab)

    (alert_id,) = store_report(lab, world.substance(), first_in=Scope.REGION)

    first = wait_for(lambda: at_home.of_type())[0].document
    wait_for(lambda: at_lab.of_type())
    assert (first["type"], first["data"]["level"], first["data"]["reviewed"]) == ("alert.issued", 3, False)
    assert abroad.of_type() == []
    assert client.get(f"/v1/alerts/{alert_id}", headers=world.key(french)).status_code == 404
    assert client.get(f"/v1/alerts/{alert_id}", headers=world.key(german)).json()["reviewed"] is False

    approved = client.post(f"/v1/alerts/{alert_id}/approve", headers=world.key(operator))
    assert approved.status_code == 200
    assert (approved.json()["reviewed"], approved.json()["revision"]) == (True, 2)

    assert wait_for(lambda: abroad.of_type())[0].document["type"] == "alert.issued"
    assert abroad.of_type()[0].document["data"]["references"] == []
    second = wait_for(lambda: at_home.of_type()[1:])[0].document
    assert second["type"] == "alert.updated"
    assert [r["revision"] for r in second["data"]["references"]] == [1]
    assert client.get(f"/v1/alerts/{alert_id}", headers=world.key(french)).json()["revision"] == 2
    assert client.post(f"/v1/alerts/{alert_id}/approve", headers=world.key(operator)).status_code in (200, 409)


def test_withdrawing_the_only_report_retracts_where_it_went_out(
    client: TestClient,
    context: Any,
    world: Any,
    running: Any,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
    withdraw: Any,
) -> None:
    lab, authority = world.org("lab"), world.org("authority")
    receiver, substance = receivers(), world.substance(group="other")
    subscribe(world.key(authority), receiver, tlp_max="AMBER")
    with context.database.write() as session:
        facts = world.report(session, lab, substance, first_in=Scope.COUNTRY)
        (alert_id,) = service.raise_alerts(session, facts, context.now())
    context.wake_worker()
    wait_for(lambda: receiver.of_type())

    with context.database.write() as session:
        withdraw(session, facts.report_id)
        assert service.reevaluate(session, facts.report_id, context.now()) == [alert_id]
    context.wake_worker()

    retraction = wait_for(lambda: receiver.of_type()[1:])[0].document
    assert retraction["type"] == "alert.retracted"
    assert retraction["data"]["state"] == "retracted"
    assert retraction["data"]["headline"].startswith("Retracted: ")
    again = store_report(lab, substance, first_in=Scope.COUNTRY)
    assert again != [alert_id]
    assert len(again) == 1


def test_a_flood_is_fanned_out_and_published_together_and_a_bad_task_alone(
    client: TestClient, context: Any, world: Any, receivers: Any, subscribe: Any, store_report: Any
) -> None:
    """Tasks of a lane that are due go along in one transaction; one that cannot be done holds up none of them."""
    receiver, worker = receivers(), Worker(context, schedule=False)
    worker.start()
    subscribe(world.key(world.org("authority")), receiver, tlp_max="AMBER")
    worker.stop()
    raised = []
    for number in range(12):
        raised += store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    with context.database.write() as session:  # names no alert
        bad = {"alert": "01JD0000000000000000000000", "revision": 1}
        values = task_values(topic="fanout", key="bad.1", lane="fanout", priority=1, payload=bad, now=context.now())
        insert_once(session, Task, values)
    busy = Worker(context, schedule=False)

    worked = busy.run_due()

    with context.database.read() as session:
        states = {row.key: row.state for row in session.execute(select(Task.key, Task.state).where(Task.topic == "fanout"))}
        feed = session.execute(select(FeedItem.seq, FeedItem.alert_id).order_by(FeedItem.seq)).all()
    assert states.pop("bad.1") == "ready"
    assert set(states.values()) == {"done"}
    assert sorted(alert for _, alert in feed) == sorted(raised)
    assert [seq for seq, _ in feed] == list(range(1, len(raised) + 1))
    assert {request.document["data"]["id"] for request in receiver.of_type()} == set(raised)
    assert len(receiver.of_type()) == len(raised)
    # a delivery each; publishing in one go; fanning out one by one at the most, beside the bad task
    assert len(raised) + 2 <= worked <= 2 * len(raised) + 4


def test_alerts_go_along_with_the_one_that_was_claimed(context: Any, world: Any, store_report: Any) -> None:
    for number in range(12):
        store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    worked = Worker(context, schedule=False).run_due()
    assert worked <= 4  # fanned out, published, and the evaluation that is due
