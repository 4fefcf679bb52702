"""Faults and promised outcomes: kills, lost leases, late commits, flapping and broken receivers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from alerts.outbox import Ended
from alerts.retry import BreakerPolicy, RetryPolicy
from alerts.values import Scope
from app.context import AppContext
from app.persistence.models import Attempt, FeedItem, Subscription, Task
from app.persistence.outbox import SqlOutbox
from app.worker import Worker

ROOT = Path(__file__).parents[3]
WORKER = textwrap.dedent(
    """
    import signal
    import sys
    from app.context import AppContext
    from app.persistence.session import Database
    from app.settings import Settings
    from app.worker import Worker

    settings = Settings(DATABASE_URL=sys.argv[1], EGRESS_ALLOW="127.0.0.1/32:*", NPS_SECRET_KEY="test key")
    context = AppContext(settings=settings, database=Database(sys.argv[1]), secret=b"k" * 32, chemistry=None)
    worker = Worker(context, schedule=False)  # the jobs of the clock are not what is killed here
    signal.signal(signal.SIGTERM, lambda *_: worker.end())
    worker.run()
    context.database.dispose()
    """
)


@pytest.fixture
def context(faults_database: Any, make_live_context: Any) -> AppContext:
    context: AppContext = make_live_context(faults_database)
    return context


def start_worker(context: Any) -> subprocess.Popen[bytes]:
    """A worker in a process of its own, over the database of the context."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, context.database.url], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )


def waiting(context: Any) -> list[str]:
    """The states of unfinished tasks, but for the evaluation that is due later."""
    unfinished = select(Task.state).where(Task.state.not_in(("done", "cancelled")), Task.topic != "evaluate")
    with context.database.read() as session:
        return list(session.scalars(unfinished))


def test_a_worker_killed_at_random_loses_nothing(
    client: TestClient, context: Any, world: Any, receivers: Any, subscribe: Any, store_report: Any, wait_for: Any
) -> None:
    """Faults 3 to 5: kill -9 in the middle of work, over and over. Every alert arrives; duplicates carry the same webhook-id."""
    receiver, worker = receivers(), Worker(context, schedule=False)
    worker.start()
    subscribe(world.key(world.org("authority")), receiver, tlp_max="AMBER")
    worker.stop()
    raised = []
    for number in range(30):
        raised += store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    kills = 6
    for kill in range(kills):
        process = start_worker(context)
        before = len(receiver.of_type())
        wait_for(lambda before=before: len(receiver.of_type()) > before or not waiting(context), 60)
        time.sleep(0.002 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
    process = start_worker(context)
    try:
        wait_for(lambda: not waiting(context), 40)
    finally:
        process.terminate()
        assert process.wait(10) == 0

    assert all(request.verified for request in receiver.of_type())
    by_alert = {request.document["data"]["id"] for request in receiver.of_type()}
    assert by_alert == set(raised)
    ids = Counter(request.headers["webhook-id"] for request in receiver.of_type())
    assert len(ids) == 30
    assert sum(ids.values()) - 30 <= 2 * kills  # at most the two that a lane has under way


def test_only_one_worker_runs_on_sqlite_and_the_next_takes_over(
    client: TestClient, context: Any, world: Any, receivers: Any, subscribe: Any, store_report: Any, wait_for: Any
) -> None:
    if not context.database.is_sqlite:
        pytest.skip("any number of workers run on PostgreSQL")
    receiver, first = receivers(), start_worker(context)
    second = None
    try:
        subscribe(world.key(world.org("authority")), receiver)
        second = Worker(context, schedule=False)
        second.start()
        store_report(world.lab, world.substance("a", group="other"), first_in=Scope.COUNTRY)
        wait_for(lambda: len(receiver.of_type()) == 1)
        with context.database.read() as session:
            owners = set(session.scalars(select(Attempt.worker)))
        assert second.owner not in owners
        first.send_signal(signal.SIGKILL)
        first.wait()
        store_report(world.lab, world.substance("b", group="other"), first_in=Scope.COUNTRY)
        wait_for(lambda: len(receiver.of_type()) == 2)
    finally:
        first.kill()
        first.wait()
        if second is not None:
            second.stop()


def test_a_worker_that_dies_after_the_answer_sends_again_with_the_same_id(
    client: TestClient,
    context: Any,
    world: Any,
    running: Worker,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
) -> None:
    """Fault 4: the 2xx came, the commit did not."""
    receiver = receivers()
    subscribe(world.key(world.org("authority")), receiver)
    running.stop()
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
    dying = Worker(context, schedule=False)
    handlers = dying.loop.handlers
    for task in iter(lambda: dying.store.claim("dying", 1, running=0), []):
        result = handlers[task[0].topic](task[0])
        if task[0].topic != "deliver":
            now = context.now()
            dying.store.finish(Ended(task=task[0], result=result, started=now, ended=now), worker="dying")
        else:
            break  # dies here
    assert len(receiver.of_type()) == 1

    heir = Worker(context, schedule=False)
    heir.start()  # holds the lock, so what the dead one had leased is free at once
    try:
        wait_for(lambda: not waiting(context))
    finally:
        heir.stop()
    one, two = receiver.of_type()
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert one.body == two.body


def test_a_flapping_receiver_gets_everything_and_holds_up_nobody(
    client: TestClient, context: Any, world: Any, receivers: Any, subscribe: Any, store_report: Any, wait_for: Any
) -> None:
    worker = Worker(
        context,
        schedule=False,
        poll_seconds=0.05,
        retry=RetryPolicy(delays=(0.05,) * 80),
        breaker=BreakerPolicy(first_probe=0.1, longest_probe=0.2, catch_up_interval=0.01),
    )
    worker.start()
    try:
        flapping, steady = receivers(), receivers()
        subscribe(world.key(world.org("authority")), flapping)
        subscribe(world.key(world.org("authority", "FR")), steady)
        calls = 0

        def behave(request: Any) -> Any:
            nonlocal calls
            calls += 1
            return (204, {}, b"") if calls % 7 == 0 else (500, {}, b"no")

        flapping.behave = behave
        raised = []
        for number in range(8):
            raised += store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
        wait_for(lambda: len(steady.of_type()) == 8)
        wait_for(lambda: not waiting(context), 60)
    finally:
        worker.stop()
    with context.database.read() as session:
        states = Counter(session.scalars(select(Task.state).where(Task.topic == "deliver")))
    assert states == {"done": 16}
    assert {request.document["data"]["id"] for request in flapping.of_type()} == set(raised)


def test_slow_receivers_hold_two_slots_of_their_own_lane(
    client: TestClient,
    context: Any,
    world: Any,
    running: Worker,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
) -> None:
    """Fault 14: the slow one keeps two of ten slots; the others hear at once."""
    slow, quick = receivers(), receivers()
    subscribe(world.key(world.org("authority")), slow)
    subscribe(world.key(world.org("authority", "FR")), quick)
    under_way, most = 0, 0
    lock = threading.Lock()

    def behave(request: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(1.0)
        with lock:
            under_way -= 1
        return 204, {}, b""

    slow.behave = behave
    for number in range(6):
        store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    wait_for(lambda: len(quick.of_type()) == 6)
    assert len(slow.of_type()) < 6
    wait_for(lambda: len(slow.of_type()) == 6)
    assert most <= 2


def test_an_unsent_revision_is_superseded_and_a_retraction_before_the_first_send_is_not_sent(
    client: TestClient, context: Any, world: Any, running: Worker, receivers: Any, subscribe: Any, store_report: Any,
    wait_for: Any, withdraw: Any,
) -> None:  # fmt: skip
    from app.notifications.service import raise_alerts, reevaluate

    receiver, headers = receivers(), world.key(world.org("authority"))
    made = subscribe(headers, receiver, tlp_max="AMBER")
    client.patch(f"/v1/subscriptions/{made['id']}", headers=headers, json={"state": "paused"})
    substance = world.substance(group="other")
    store_report(world.lab, substance, first_in=Scope.COUNTRY)
    store_report(world.lab, substance, first_in=Scope.COUNTRY, tlp="AMBER")
    with context.database.write() as session:
        facts = world.report(session, world.lab, world.substance("b", group="other"), first_in=Scope.COUNTRY)
        raise_alerts(session, facts, context.now())
    context.wake_worker()
    wait_for(lambda: not set(waiting(context)) - {"parked"})
    with context.database.write() as session:
        withdraw(session, facts.report_id)
        reevaluate(session, facts.report_id, context.now())
    context.wake_worker()
    wait_for(lambda: not set(waiting(context)) - {"parked"})
    with context.database.read() as session:
        rows = session.execute(select(Task.state, Task.last_error).where(Task.topic == "deliver").order_by(Task.id)).all()
    assert {tuple(row) for row in rows} == {
        ("cancelled", "superseded by revision 2"),
        ("parked", None),
        ("cancelled", "retracted before anything was sent"),
    }
    client.patch(f"/v1/subscriptions/{made['id']}", headers=headers, json={"state": "active"})
    (only,) = wait_for(lambda: receiver.of_type())
    assert (only.document["type"], only.document["data"]["revision"]) == ("alert.issued", 2)


@pytest.mark.parametrize("change", ["delete", "lower"])
def test_what_waits_for_an_endpoint_is_looked_at_again_before_it_is_sent(
    client: TestClient, context: Any, world: Any, running: Worker, receivers: Any, subscribe: Any, store_report: Any,
    wait_for: Any, change: str,
) -> None:  # fmt: skip
    """Fault 29: deleted, or its label lowered, while a delivery waits: cancelled with the reason, nothing leaks."""
    receiver, headers = receivers(), world.key(world.org("authority"))
    made = subscribe(headers, receiver, tlp_max="AMBER")
    path = f"/v1/subscriptions/{made['id']}"
    client.patch(path, headers=headers, json={"state": "paused"})
    store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="AMBER")
    wait_for(lambda: waiting(context) == ["parked"])
    if change == "delete":
        assert client.delete(path, headers=headers).status_code == 204
    else:
        assert client.patch(path, headers=headers, json={"tlp_max": "GREEN", "state": "active"}).json()["tlp_max"] == "GREEN"
    wait_for(lambda: waiting(context) == [])
    with context.database.read() as session:
        state, reason = session.execute(select(Task.state, Task.last_error).where(Task.topic == "deliver")).one()
    assert state == "cancelled"
    assert reason in ("the endpoint was deleted", "the endpoint no longer holds the label of this alert")
    assert receiver.of_type() == []


def test_the_feed_is_gapless_and_increasing_whatever_the_order_of_commits(context: Any, world: Any, store_report: Any) -> None:
    """Fault 24: a task with a smaller id that commits late is still claimed."""
    for number in range(6):
        store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
    with context.database.write() as session:
        held = session.scalars(select(Task.id).where(Task.topic == "publish").order_by(Task.id).limit(1)).one()
        session.execute(update(Task).where(Task.id == held).values(state="parked"))
    worker = Worker(context, schedule=False)
    worker.run_due()
    with context.database.write() as session:
        session.execute(update(Task).where(Task.id == held).values(state="ready"))
    worker.run_due()
    with context.database.read() as session:
        assert list(session.scalars(select(FeedItem.seq).order_by(FeedItem.published_at, FeedItem.seq))) == [1, 2, 3, 4, 5, 6]
        assert session.scalar(select(func.count()).select_from(FeedItem)) == 6


def test_thousand_identical_bundles_are_one_alert_and_one_delivery(
    client: TestClient, context: Any, world: Any, running: Worker, receivers: Any, subscribe: Any, wait_for: Any
) -> None:
    """Fault 19, with a hundred."""
    from app.notifications.service import raise_alerts

    receiver = receivers()
    subscribe(world.key(world.org("authority")), receiver)
    with context.database.write() as session:
        facts = world.report(session, world.lab, world.substance(group="other"), first_in=Scope.COUNTRY)
        ids = {tuple(raise_alerts(session, facts, context.now())) for _ in range(100)}
    context.wake_worker()
    assert len(ids) == 1
    wait_for(lambda: receiver.of_type())
    wait_for(lambda: not waiting(context))
    assert len(receiver.of_type()) == 1


def test_every_send_verifies_while_a_secret_is_rotated(
    client: TestClient,
    context: Any,
    world: Any,
    running: Worker,
    receivers: Any,
    subscribe: Any,
    store_report: Any,
    wait_for: Any,
) -> None:
    """Fault 27."""
    receiver, headers = receivers(), world.key(world.org("authority"))
    made = subscribe(headers, receiver)
    store_report(world.lab, world.substance("a", group="other"), first_in=Scope.COUNTRY)
    new = client.post(f"/v1/subscriptions/{made['id']}/rotate-secret", headers=headers).json()["secret"]
    store_report(world.lab, world.substance("b", group="other"), first_in=Scope.COUNTRY)
    wait_for(lambda: len(receiver.of_type()) == 2)
    receiver.secret = new
    store_report(world.lab, world.substance("c", group="other"), first_in=Scope.COUNTRY)
    wait_for(lambda: len(receiver.of_type()) == 3)
    assert [request.verified for request in receiver.of_type()] == [True, True, True]
    assert receiver.of_type()[2].headers["webhook-signature"].count("v1,") == 2
    client.post(f"/v1/subscriptions/{made['id']}/rotate-secret", headers=headers, json={"overlap_hours": 0})
    store_report(world.lab, world.substance("d", group="other"), first_in=Scope.COUNTRY)
    wait_for(lambda: len(receiver.of_type()) == 4)
    assert receiver.of_type()[3].verified is False
    with context.database.read() as session:
        stored = session.scalars(select(Subscription.secrets)).one()
    assert "whsec_" not in json.dumps(stored)


def test_postgres_workers_share_the_work_without_sending_twice(
    postgres_database: Any, make_live_context: Any, receivers: Any, wait_for: Any, make_world_of: Any
) -> None:
    """Two workers on PostgreSQL: each delivery once, the lane's limit over both."""
    context = make_live_context(postgres_database)
    world, _client, subscribe, store_report = make_world_of(context)
    workers = [Worker(context, schedule=False, concurrency=5, poll_seconds=0.05) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        receiver = receivers()
        subscribe(world.key(world.org("authority")), receiver)
        for number in range(25):
            store_report(world.lab, world.substance(f"s{number}", group="other"), first_in=Scope.COUNTRY)
            for worker in workers:
                worker.wake()
        wait_for(lambda: not waiting(context), 40)
    finally:
        for worker in workers:
            worker.stop()
    ids = Counter(request.headers["webhook-id"] for request in receiver.of_type())
    assert len(ids) == 25
    assert set(ids.values()) == {1}


def test_a_receiver_that_is_down_for_three_days_gets_everything_in_order(
    any_database: Any, make_live_context: Any, make_world_of: Any, receivers: Any, clock: Any
) -> None:
    """Fault 12: nothing is lost or dead; what waited goes in the order in which it came."""
    context = make_live_context(any_database, clock)
    world, client, _subscribe, store_report = make_world_of(context)
    worker, receiver = Worker(context, schedule=False), receivers()
    worker.store = worker.loop.store = SqlOutbox(any_database, clock=clock, database_clock=False)
    headers = world.key(world.org("authority"))
    made = client.post("/v1/subscriptions", headers=headers, json={"channel": "webhook", "url": receiver.url})
    worker.run_due()
    assert client.get(f"/v1/subscriptions/{made.json()['id']}", headers=headers).json()["state"] == "active"
    receiver.behave = lambda request: (503, {}, b"")
    raised = []
    for step in range(18):
        if step % 6 == 0:
            for _ in range(5):
                raised += store_report(world.lab, world.substance(f"s{len(raised)}", group="other"), first_in=Scope.COUNTRY)
                clock.forward(seconds=1)
        worker.run_due()
        clock.forward(hours=4)
    refused = len(receiver.of_type())
    receiver.behave = None
    for _ in range(4):
        worker.run_due()
        clock.forward(minutes=31)
    arrived = [request.document["data"]["id"] for request in receiver.of_type()[refused:]]
    assert arrived == raised
    with any_database.read() as session:
        assert set(session.scalars(select(Task.state).where(Task.topic == "deliver"))) == {"done"}
