"""Links that acknowledge, contacts, limits, closing, reminders of measures, silence, retention, previews."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from alerts.values import Scope
from app.auth.tokens import hash_token
from app.context import AppContext
from app.notifications import links
from app.notifications.contacts import Recipient, duty_officers, recipients
from app.notifications.mailing import notices_heard
from app.notifications.reminders import remind_of_measures
from app.notifications.retention import forget_deliveries
from app.notifications.telling import tell_of_silence
from app.persistence.models import (
    AcknowledgeLink,
    Acknowledgement,
    Alert,
    Attempt,
    DeliveryCount,
    Organisation,
    Person,
    Subscription,
    Task,
)
from app.worker import Worker


@pytest.fixture
def context(sqlite_database: Any, make_live_context: Any, clock: Any) -> AppContext:
    context: AppContext = make_live_context(sqlite_database, clock)
    return context


def tasks(context: Any, topic: str) -> list[Task]:
    with context.database.read() as session:
        return list(session.scalars(select(Task).where(Task.topic == topic).order_by(Task.id)))


def contact(email: str, **more: Any) -> dict[str, Any]:
    return {"name": email, "email": email, **more}


def email_endpoint(context: Any, org: Any, **more: Any) -> Subscription:
    values: dict[str, Any] = {
        "org_id": org.id, "role": org.kind, "channel": "email", "target": "desk@authority.example", "filter": {},
        "tlp_max": "AMBER", "detail": "full", "state": "active", "secrets": [], "created_at": context.now(),
    }  # fmt: skip
    with context.database.write() as session:
        subscription = Subscription(**(values | more))
        session.add(subscription)
    return subscription


def test_a_link_acknowledges_once_and_following_it_changes_nothing(
    client: TestClient, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    authority = world.org("authority")
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    token = links.token_of(context.secret, "task-1")
    assert token == links.token_of(context.secret, "task-1") != links.token_of(context.secret, "task-2")
    with context.database.write() as session:
        links.make(session, token, alert_id=alert_id, org_id=authority.id, email="a@x.example", now=clock())
        links.make(session, token, alert_id=alert_id, org_id=authority.id, email="a@x.example", now=clock())
        assert session.get_one(AcknowledgeLink, hash_token(token)).used_at is None
    for _ in range(3):
        with context.database.read() as session:
            found = links.find(session, token, clock())
        assert found is not None
        assert (found.open, found.answer) == (True, None)
    clock.forward(hours=1)
    answered = None
    for _ in range(2):
        with context.database.write() as session:
            found = links.use(session, token, clock())
        assert found is not None
        assert found.answer is not None
        answered = answered or found.answer.at
        assert (found.open, found.answer.at) == (False, answered)
        clock.forward(hours=1)
    with context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Acknowledgement)) == 1
        assert links.find(session, "no such token", clock()) is None
        assert links.find(session, token, clock() + timedelta(days=31)) is None
    assert {task.state for task in tasks(context, "escalate") if authority.id in task.key} == {"cancelled"}


def test_the_roster_decides_who_is_told_at_which_step(
    client: TestClient, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    authority, operator = world.org("authority"), world.org("operator")
    headers = world.key(authority)
    wish = [
        contact("first@a.example", **{"from": "20:00", "to": "23:00", "deputy": "deputy@a.example"}),
        contact("second@a.example"),
        contact("left@a.example", until="2026-11-01"),
    ]
    stored = client.put("/v1/contacts", headers=headers, json={"contacts": wish})
    assert stored.status_code == 200, stored.text
    assert [line["on_duty"] for line in stored.json()["contacts"]] == [False, True, True]
    assert client.get("/v1/contacts", headers=headers).json() == stored.json()
    client.put("/v1/contacts", headers=world.key(operator), json={"contacts": [contact("duty@o.example")]})
    with context.database.read() as session:
        assert recipients(session, authority.id, clock(), step=1) == [Recipient(email="deputy@a.example", org_id=authority.id)]
        assert [one.email for one in recipients(session, authority.id, clock(), step=2)] == ["second@a.example"]
        assert [one.email for one in duty_officers(session, clock())] == ["duty@o.example"]
    store_report(world.lab, world.substance(), first_in=Scope.REGION)
    worker = Worker(context, schedule=False)
    worker.run_due()
    told = []
    for hours in (24.1, 2.1, 2.1):
        clock.forward(hours=hours)
        for _ in range(3):
            worker.run_due()
        told.append({task.payload["to"] for task in tasks(context, "remind")})
    assert told[0] == {"deputy@a.example", "duty@o.example"}  # the operator: nobody decided either
    assert told[1] - told[0] == {"second@a.example"}
    with context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Person)) == 0


@pytest.mark.parametrize(
    "change",
    [{"email": "not an address"}, {"days": "8"}, {"zone": "Mars/Base"}, {"from": "08:00"}, {"from": "8", "to": "17:00"}],
)
def test_a_contact_that_nobody_could_be_told_by_is_refused(client: TestClient, world: Any, change: dict[str, Any]) -> None:
    answer = client.put(
        "/v1/contacts", headers=world.key(world.org("authority")), json={"contacts": [contact("a@x.example") | change]}
    )
    assert answer.status_code == 422


def test_a_daily_limit_leaves_levels_one_and_two_to_the_digest_and_holds_up_no_level_three(
    context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    authority = world.org("authority")
    endpoint = email_endpoint(context, authority, daily_limit=1)
    worker = Worker(context, schedule=False)
    raised = []
    for name in ("a", "b", "c"):  # level 2
        raised += store_report(world.lab, world.substance(name, group="other"), first_in=Scope.REGION)
    urgent = store_report(world.lab, world.substance("d"), first_in=Scope.REGION)
    worker.run_due()
    sent = {task.payload["alert"] for task in tasks(context, "deliver")}
    assert sent == {raised[0], *urgent}
    clock.forward(days=1)
    with context.database.read() as session:
        org = session.get_one(Organisation, authority.id)
        digest = notices_heard(session, endpoint, org, clock() - timedelta(days=7), clock())
    assert {view.id for view in digest} == set(raised[1:])


def test_the_preview_is_the_list_of_what_would_have_been_sent(
    client: TestClient, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    clock.forward(days=-40)
    store_report(world.lab, world.substance("old", group="other"), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    clock.forward(days=40)
    level_1 = store_report(world.lab, world.substance("one", group="other"), first_in=Scope.COUNTRY)
    level_2 = store_report(world.lab, world.substance("two", group="other"), first_in=Scope.REGION)
    level_3 = store_report(world.lab, world.substance("three"), first_in=Scope.REGION)
    amber = store_report(world.lab, world.substance("amber", group="other"), first_in=Scope.REGION, tlp="AMBER")
    headers = world.key(world.org("authority"))

    def preview(**wish: Any) -> dict[str, Any]:
        answer = client.post("/v1/subscriptions/preview", headers=headers, json=wish)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["total"] == len(found["alerts"]) == sum(found["by_level"].values())
        return found

    assert set(preview()["alerts"]) == {*level_1, *level_2, *level_3}
    assert set(preview(tlp_max="AMBER")["alerts"]) == {*level_1, *level_2, *level_3, *amber}
    assert preview(filter={"min_level": 2})["by_level"] == {"2": 1, "3": 1}
    assert preview(filter={"groups": ["nitazene"]})["alerts"] == level_3
    assert preview(filter={"countries": ["FR"]})["total"] == 0
    # what it says would have been sent is what a new endpoint with that filter is sent
    email_endpoint(context, world.org("authority", name="second"), filter={"min_level": 2}, tlp_max="GREEN")
    Worker(context, schedule=False).run_due()
    assert {task.payload["alert"] for task in tasks(context, "deliver")} == {*level_2, *level_3}


def test_closing_an_alert_is_its_last_revision_and_stops_its_clocks(
    client: TestClient, context: Any, world: Any, store_report: Any
) -> None:
    operator, authority = world.org("operator"), world.org("authority")
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    answer = client.post(f"/v1/alerts/{alert_id}/close", headers=world.key(operator), json={"note": "no further finds"})
    assert (answer.status_code, answer.json()["state"], answer.json()["revision"]) == (200, "closed", 2)
    Worker(context, schedule=False).run_due()
    assert {task.state for task in tasks(context, "escalate")} == {"cancelled"}
    again = client.post(f"/v1/alerts/{alert_id}/close", headers=world.key(operator), json={"note": "again"})
    assert again.status_code == 409
    assert client.post(f"/v1/alerts/{alert_id}/close", headers=world.key(authority), json={"note": "x"}).status_code == 403


def test_a_measure_is_recalled_once_thirty_days_before_it_ends(client: TestClient, context: Any, world: Any, clock: Any) -> None:
    authority, substance = world.org("authority"), world.substance()
    headers = world.key(authority)
    client.put("/v1/contacts", headers=headers, json={"contacts": [contact("law@a.example")]})
    wish = {"kind": "provisional_control", "substance": substance.id, "from": "2026-11-24", "until": "2027-01-31"}
    assert client.post("/v1/measures", headers=headers, json=wish).status_code == 201

    def recalled() -> int:
        with context.database.write() as session:
            return remind_of_measures(session, clock())

    assert recalled() == 0
    clock.at = clock.at.replace(year=2027, month=1, day=1)
    assert (recalled(), recalled()) == (1, 0)
    (task,) = tasks(context, "remind")
    assert (task.payload["to"], task.payload["until"]) == ("law@a.example", "2027-01-31")


@pytest.mark.parametrize("text", ["It is 50 times stronger than heroin.", "A killer drug."])
def test_a_public_text_that_is_not_neutral_is_refused_with_the_words(client: TestClient, world: Any, text: str) -> None:
    headers, substance = world.key(world.org("authority")), world.substance()
    answer = client.post(
        "/v1/measures",
        headers=headers,
        json={"kind": "public_health_announcement", "substance": substance.id, "public_text": text},
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/public_text"
    clear = {"headline": text, "summary": text, "tlp": "CLEAR", "country": "DE"}
    assert client.post("/v1/alerts", headers=headers, json=clear).status_code == 422


def test_an_endpoint_that_heard_nothing_for_a_week_is_told_to_the_operator_once_a_week(
    context: Any, world: Any, clock: Any
) -> None:
    world.org("operator")
    endpoint = email_endpoint(context, world.org("authority"), channel="webhook", target="https://a.example/hook")

    def told() -> int:
        with context.database.write() as session:
            return tell_of_silence(session, clock())

    assert told() == 0
    clock.forward(days=9)
    assert (told(), told()) == (1, 0)
    with context.database.write() as session:
        session.execute(update(Subscription).where(Subscription.id == endpoint.id).values(last_success_at=clock()))
    clock.forward(days=7)
    assert told() == 0
    clock.forward(days=2)
    assert told() == 1


def test_deliveries_become_counts_after_thirteen_months(context: Any, world: Any, store_report: Any, clock: Any) -> None:
    email_endpoint(context, world.org("authority"))
    for name in ("a", "b"):
        store_report(world.lab, world.substance(name), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    with context.database.write() as session:
        for task in session.scalars(select(Task).where(Task.topic == "deliver")):
            task.state, task.done_at = "done", clock()
            session.add(
                Attempt(
                    task_id=task.id, n=1, started_at=clock(), ended_at=clock(), outcome="delivered", status=250, latency_ms=3,
                    worker="w",
                )
            )  # fmt: skip

    def forget() -> int:
        with context.database.write() as session:
            return forget_deliveries(session, clock())

    clock.forward(days=390)
    assert forget() == 0
    clock.forward(days=10)
    assert (forget(), forget()) == (2, 0)
    with context.database.read() as session:
        (count,) = session.scalars(select(DeliveryCount)).all()
        assert (count.month, count.channel, count.state, count.deliveries, count.attempts) == ("2026-11", "email", "done", 2, 2)
        assert session.scalar(select(func.count()).select_from(Task).where(Task.topic == "deliver")) == 0
        assert session.scalar(select(func.count()).select_from(Attempt)) == 0
        assert session.scalar(select(func.count()).select_from(Alert)) == 2
