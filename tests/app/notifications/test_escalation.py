"""Clocks of levels 3 and 4: who is told when nobody answers."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from alerts.values import Scope
from app.auth import accounts
from app.context import AppContext
from app.persistence.models import Task
from app.worker import Worker


@pytest.fixture
def context(sqlite_database: Any, make_live_context: Any, clock: Any) -> AppContext:
    context: AppContext = make_live_context(sqlite_database, clock)
    return context


def person(context: Any, org: Any, email: str) -> None:
    role = "analyst" if org.kind == "operator" else org.kind
    with context.database.write() as session:
        accounts.create_person(
            session, org_id=org.id, email=email, name=email, role=role, password="a long password", now=context.now()
        )


def tasks(context: Any, topic: str, state: str | None = None) -> list[Task]:
    with context.database.read() as session:
        query = select(Task).where(Task.topic == topic).order_by(Task.created_at, Task.id)
        return [task for task in session.scalars(query) if state is None or task.state == state]


def test_silence_climbs_the_steps_once_each_and_stops_at_the_answer(
    client: TestClient, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    authority, operator = world.org("authority"), world.org("operator")
    for email in ("first@a.example", "second@a.example"):
        person(context, authority, email)
    person(context, operator, "duty@o.example")
    worker = Worker(context, schedule=False)
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    worker.run_due()
    clock.forward(hours=23)
    worker.run_due()
    assert tasks(context, "remind") == []
    clock.forward(hours=1, minutes=1)
    for _ in range(3):
        worker.run_due()
    told = [task.key.removeprefix(f"{alert_id}:") for task in tasks(context, "remind")]
    assert len(told) == 2  # the first person of the authority; the operator, as nobody decided
    clock.forward(hours=2, minutes=1)
    worker.run_due()
    assert len(tasks(context, "remind")) == 4
    line = client.get(f"/v1/alerts/{alert_id}/coverage", headers=world.key(operator)).json()["authorities"][0]
    assert (line["organisation"], line["overdue"], line["acknowledged_at"]) == ("authority DE", True, None)

    assert client.post(f"/v1/alerts/{alert_id}/acknowledge", headers=world.key(authority)).status_code == 200
    clock.forward(hours=48)
    worker.run_due()
    assert len(tasks(context, "remind")) == 4
    assert [task.state for task in tasks(context, "escalate")].count("cancelled") == 1
    line = client.get(f"/v1/alerts/{alert_id}/coverage", headers=world.key(authority)).json()["authorities"][0]
    assert (line["overdue"], line["acknowledged_at"] is not None) == (False, True)


def test_a_country_without_an_authority_is_told_to_the_operator_at_once(
    client: TestClient, context: Any, world: Any, store_report: Any
) -> None:
    operator = world.org("operator")
    person(context, operator, "duty@o.example")
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    (reminder,) = tasks(context, "remind")
    assert "no-authority" in reminder.key
    answer = client.get(f"/v1/alerts/{alert_id}/coverage", headers=world.key(operator)).json()
    assert answer["countries_without_authority"] == ["DE"]


def test_a_decision_in_time_and_a_retraction_stop_the_clock(
    client: TestClient, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    operator = world.org("operator")
    world.org("authority")
    person(context, operator, "duty@o.example")
    worker = Worker(context, schedule=False)
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    worker.run_due()
    assert client.post(f"/v1/alerts/{alert_id}/approve", headers=world.key(operator)).status_code == 200
    clock.forward(hours=25)
    worker.run_due()
    decide = next(task for task in tasks(context, "escalate") if ":decide:" in task.key)
    assert (decide.state, decide.last_error) == ("cancelled", "answered in time")


def test_levels_one_and_two_have_no_clock(context: Any, world: Any, store_report: Any) -> None:
    store_report(world.lab, world.substance(group="other"), first_in=Scope.REGION)
    Worker(context, schedule=False).run_due()
    assert tasks(context, "escalate") == []
