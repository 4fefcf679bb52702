"""Ticks: one task a nominal time, whoever inserts it; what was missed is inserted at start."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select

from alerts.values import Scope
from app.context import AppContext
from app.persistence.models import IdempotencyRecord, Task
from app.scheduler import JOBS, Job, Scheduler, housekeeping, insert_tick, nominal_times
from app.worker import Worker, holding

MONDAY = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


@pytest.fixture
def context(sqlite_database: Any, make_live_context: Any, clock: Any) -> AppContext:
    context: AppContext = make_live_context(sqlite_database, clock)
    return context


def job(name: str) -> Job:
    return next(one for one in JOBS if one.name == name)


def test_nominal_times_lie_in_the_half_open_span() -> None:
    assert nominal_times(job("heartbeat"), MONDAY - timedelta(days=7), MONDAY) == [MONDAY]
    assert nominal_times(job("heartbeat"), MONDAY, MONDAY + timedelta(days=6)) == []
    assert len(nominal_times(job("housekeeping"), MONDAY, MONDAY + timedelta(hours=3))) == 3


def test_two_schedulers_insert_one_task_a_nominal_time(context: Any, clock: Any) -> None:
    with context.database.write() as session:
        assert insert_tick(session, "heartbeat", MONDAY, clock())
        assert not insert_tick(session, "heartbeat", MONDAY, clock())


def test_what_was_missed_is_inserted_at_start_and_no_further_back_than_two_days(context: Any, clock: Any) -> None:
    clock.at = MONDAY - timedelta(days=10)
    with context.database.write() as session:
        insert_tick(session, "housekeeping", clock(), clock())
    clock.at = MONDAY + timedelta(hours=3)
    first, second = Scheduler(context), Scheduler(context)
    inserted = first.catch_up()
    assert second.catch_up() == 0
    with context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Task)) == inserted + 1
        keys = session.scalars(select(Task.key)).all()
    assert "heartbeat:2026-11-23T06:00" in keys
    assert inserted == 48 + 2 + 2 + 2 + 1  # housekeeping, evaluation and snapshot of two days, heartbeat and digest, one seal


def test_a_new_installation_has_missed_nothing(context: Any) -> None:
    assert Scheduler(context).catch_up() == 0


def test_heartbeats_are_signed_and_sent_once(client: Any, context: Any, world: Any, receivers: Any, clock: Any) -> None:
    clock.at = datetime.now(UTC)
    worker, receiver = Worker(context, schedule=False), receivers()
    made = client.post(
        "/v1/subscriptions", headers=world.key(world.org("authority")), json={"channel": "webhook", "url": receiver.url}
    ).json()
    receiver.secret = made["secret"]
    worker.run_due()
    for _ in range(2):
        with context.database.write() as session:
            insert_tick(session, "heartbeat", MONDAY, clock())
        worker.run_due()
    (beat,) = receiver.of_type("heartbeat")
    assert beat.verified


def test_housekeeping_drops_kept_answers_after_72_hours_and_leaves_deliveries(
    client: Any, context: Any, world: Any, store_report: Any, clock: Any
) -> None:
    org = world.org("lab")
    with context.database.write() as session:
        for hours in (71, 73):
            session.add(
                IdempotencyRecord(
                    org_id=org.id, path="/v1/reports", key=str(hours), body_digest="", status=201, answer="",
                    created_at=clock() - timedelta(hours=hours),
                )
            )  # fmt: skip
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    Worker(context, schedule=False).run_due()
    clock.forward(days=15)
    with context.database.write() as session:
        session.add(
            IdempotencyRecord(
                org_id=org.id, path="/v1/reports", key="new", body_digest="", status=201, answer="", created_at=clock()
            )
        )
    with context.database.write() as session:
        housekeeping(session, clock())
    with context.database.read() as session:
        assert session.scalars(select(IdempotencyRecord.key)).all() == ["new"]
        assert session.scalars(select(Task.topic)).all() == ["evaluate"]


def test_nominal_times_know_no_summer_time() -> None:
    """They are in UTC: none is left out or doubled where clocks of a country change (25 October 2026, 28 March 2027)."""
    hourly = next(job for job in JOBS if job.name == "housekeeping")
    for day in (datetime(2026, 10, 25, tzinfo=UTC), datetime(2027, 3, 28, tzinfo=UTC)):
        times = nominal_times(hourly, day - timedelta(minutes=1), day + timedelta(hours=24))
        assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(hours=1)] * 23


@pytest.mark.parametrize("refused_at", [None, 2])
def test_a_long_step_keeps_the_lease_of_its_task_until_it_is_lost_or_the_step_ends(refused_at: int | None) -> None:
    asked: list[str] = []
    thrice, over = threading.Event(), threading.Event()

    def renew(task: Any) -> bool:
        asked.append(task)
        if len(asked) == 3:
            thrice.set()
        return len(asked) != refused_at

    def step(task: Any) -> Any:
        assert thrice.wait(0.5 if refused_at else 20) is (refused_at is None)
        over.set()
        return task

    assert holding(renew, step, every=0.01)("the task") == "the task"  # type: ignore[arg-type,comparison-overlap]
    assert over.is_set()
    assert set(asked) == {"the task"}
    number = len(asked)
    assert number == refused_at or refused_at is None
    time.sleep(0.05)
    assert len(asked) == number  # nothing is renewed after the end
