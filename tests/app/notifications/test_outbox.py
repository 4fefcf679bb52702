"""The contract of the outbox, the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import event, insert, select, text, update

from alerts.outbox import DONE, DeliveryLoop, Ended, Result, TaskItem
from alerts.retry import RetryPolicy
from app.auth import accounts
from app.persistence import claims, listener, locks
from app.persistence.listener import Listener, Watcher
from app.persistence.models import Attempt, Subscription, Task
from app.persistence.outbox import SqlOutbox
from app.persistence.session import Database
from app.persistence.tasks import cancel_tasks, insert_once, repair_parked, task_values
from tests.faults.parts import wait_until

SENT = Result(outcome="done", sent=True, status=200)
REFUSED = Result(outcome="failed", sent=True, status=500, error="the receiver answered 500")


class Box:
    """An outbox with a clock that the test moves, and helpers to put tasks in and look at them."""

    def __init__(self, database: Database, clock: Any) -> None:
        self.database = database
        self.clock = clock
        self.store = SqlOutbox(database, clock=clock, database_clock=False, spread=lambda: 0.5)

    def put(self, key: str, *, topic: str = "fanout", lane: str = "lane", priority: int = 1, **more: Any) -> str:
        with self.database.write() as session:
            values = task_values(topic=topic, key=key, lane=lane, priority=priority, payload={}, now=self.clock(), **more)
            assert insert_once(session, Task, values)
            return str(values["id"])

    def endpoint(self) -> str:
        with self.database.write() as session:
            org = accounts.create_organisation(session, name="A", kind="authority", country="FR", test=False, now=self.clock())
            subscription = Subscription(
                org_id=org.id, role="authority", channel="webhook", target="https://a.example", filter={}, tlp_max="GREEN",
                detail="full", state="active", secrets=[], created_at=self.clock(),
            )  # fmt: skip
            session.add(subscription)
            session.flush()
            return subscription.id

    def delivery(self, key: str, endpoint: str, **more: Any) -> str:
        return self.put(key, topic="deliver", lane=endpoint, **more)

    def claim(self, limit: int = 10, running: int = 0) -> list[TaskItem]:
        return self.store.claim("w1", limit, running=running)

    def finish(self, task: TaskItem, result: Result = SENT) -> bool:
        ended = Ended(task=task, result=result, started=self.clock(), ended=self.clock())
        return self.store.finish(ended, worker="w1")

    def task(self, task_id: str) -> Task:
        with self.database.read() as session:
            return session.scalars(select(Task).where(Task.id == task_id)).one()

    def subscription(self, endpoint: str) -> Subscription:
        with self.database.read() as session:
            return session.scalars(select(Subscription).where(Subscription.id == endpoint)).one()

    def attempts(self, task_id: str) -> list[Attempt]:
        with self.database.read() as session:
            return list(session.scalars(select(Attempt).where(Attempt.task_id == task_id).order_by(Attempt.n)))


@pytest.fixture
def box(any_database: Database, clock: Any) -> Box:
    return Box(any_database, clock)


def test_inserting_a_task_twice_is_harmless(box: Box) -> None:
    box.put("k")
    with box.database.write() as session:
        values = task_values(topic="fanout", key="k", lane="lane", priority=1, payload={}, now=box.clock())
        assert not insert_once(session, Task, values)


def test_claims_go_by_priority_then_time_and_never_twice(box: Box) -> None:
    low = box.put("low", lane="a", priority=1)
    box.clock.forward(seconds=1)
    urgent = box.put("urgent", lane="b", priority=4)
    later = box.put("later", lane="c", priority=4, run_at=box.clock() + timedelta(seconds=60))

    assert [task.id for task in box.claim()] == [urgent, low]
    assert box.claim() == []
    box.clock.forward(seconds=61)
    assert later in [task.id for task in box.claim()]


def test_a_lane_has_at_most_two_running_and_starves_no_other(box: Box) -> None:
    for number in range(300):
        box.put(f"a{number:03}", lane="a")
    other = box.put("b", lane="b")
    claimed = box.claim(limit=50)
    assert [task.lane for task in claimed].count("a") == 2
    assert other in [task.id for task in claimed]


def test_a_claim_reads_what_goes_next_and_sorts_nothing_that_waits(box: Box) -> None:
    """A claim costs the same however much waits, also where the database last counted the table when nothing did."""
    rows = [
        task_values(
            topic="fanout", key=f"k{n}", lane=f"lane {n % 40}", priority=2, payload={}, now=box.clock(), seq_group=f"g{n}",
            seq_no=1, state="done" if n < 200 else "ready",
        ) for n in range(5000)
    ]  # fmt: skip
    with box.database.write() as session:
        session.execute(insert(Task), rows[:200])
    with box.database.engine.begin() as connection:
        connection.execute(text("ANALYZE task"))
    with box.database.write() as session:
        session.execute(insert(Task), rows[200:])
    asked: list[tuple[str, Any]] = []
    event.listen(box.database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    assert len(box.claim(limit=50)) == 50
    statement, given = next(pair for pair in asked if pair[0].startswith("SELECT task.id, task.lane"))
    explain = "EXPLAIN QUERY PLAN" if box.database.is_sqlite else "EXPLAIN"
    with box.database.engine.connect() as connection:
        plan = str(connection.exec_driver_sql(f"{explain} {statement}", given).all())
    assert "ix_task_due" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


def test_a_sequence_group_goes_in_order(box: Box) -> None:
    first = box.put("1", seq_group="g", seq_no=1)
    second = box.put("2", seq_group="g", seq_no=2)
    (task,) = box.claim()
    assert task.id == first
    assert box.claim() == []
    assert box.finish(task, DONE)
    assert [task.id for task in box.claim()] == [second]


def test_a_lost_lease_leaves_the_state_to_the_new_owner(box: Box) -> None:
    task_id = box.put("k", topic="deliver", lane=box.endpoint())
    (slow,) = box.claim()
    box.clock.forward(seconds=61)
    (fast,) = box.claim()
    assert (fast.id, fast.crashes) == (task_id, 1)
    assert fast.token != slow.token

    assert not box.finish(slow)
    assert box.task(task_id).state == "leased"
    assert box.finish(fast)
    assert box.task(task_id).state == "done"
    assert sorted(attempt.outcome for attempt in box.attempts(task_id)) == ["delivered", "late"]


def test_ends_recorded_together_are_each_what_they_were(box: Box) -> None:
    endpoints = [box.endpoint() for _ in range(3)]
    lost, sent, refused = (box.delivery(f"k{n}", endpoint) for n, endpoint in enumerate(endpoints))
    inner = box.put("inner")
    claimed = {task.id: task for task in box.claim()}
    box.clock.forward(seconds=61)
    (again, *_) = [task for task in box.claim() if task.id == lost]
    box.clock.forward(seconds=-61)
    with box.database.write() as session:  # all but one hold their lease still
        for task_id in (sent, refused, inner):
            values = {"state": "leased", "lease_token": claimed[task_id].token, "crashes": 0}
            session.execute(update(Task).where(Task.id == task_id).values(**values))
    results = {lost: SENT, sent: SENT, refused: REFUSED, inner: DONE}
    ended = {
        task_id: Ended(task=claimed[task_id], result=result, started=box.clock(), ended=box.clock())
        for task_id, result in results.items()
    }
    assert box.store.finish_all([ended[lost], ended[sent], ended[inner]], worker="w1", limit=0) == ([False, True, True], [])
    assert box.store.finish(ended[refused], worker="w1")
    assert [box.task(task_id).state for task_id in results] == ["leased", "done", "ready", "done"]
    assert [[row.outcome for row in box.attempts(task_id)] for task_id in results] == [["late"], ["delivered"], ["failed"], []]
    assert (box.task(sent).attempts, box.task(refused).attempts, box.task(inner).attempts) == (1, 1, 0)
    assert [box.subscription(endpoint).failures for endpoint in endpoints] == [0, 0, 1]
    assert box.finish(again)


class Slow:
    """A store whose first record takes until others wait, and that refuses one end wherever it comes with others."""

    contended = False

    def __init__(self, bad: str = "") -> None:
        self.batches: list[list[str]] = []
        self.waiting = threading.Semaphore(0)
        self.bad = bad

    def finish(self, ended: Ended, *, worker: str) -> bool:
        return self.finish_all([ended], worker=worker, limit=0)[0][0]

    def finish_all(self, ended: list[Ended], *, worker: str, limit: int) -> tuple[list[bool], list[TaskItem]]:
        names = [one.task.id for one in ended]
        self.batches.append(names)
        if names == ["first"]:
            for _ in range(3):
                assert self.waiting.acquire(timeout=20)
            time.sleep(0.2)  # the three have spoken and now wait for this one
        if self.bad in names and len(names) > 1:
            raise RuntimeError("no")
        return [name != "lost" for name in names], []


@pytest.mark.parametrize("bad", ["", "b"])
def test_what_ends_meanwhile_is_recorded_with_one_commit_and_a_bad_one_holds_up_nobody(
    clock: Any, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Slow(bad)

    def handler(task: TaskItem) -> Result:
        if task.id != "first":
            store.waiting.release()
        return SENT

    loop = DeliveryLoop(store=cast("Any", store), handlers={"deliver": handler}, owner="w", now=clock)
    threads = []
    for name in ("first", "a", "b", "lost"):
        task = TaskItem(id=name, topic="deliver", key=name, lane=name, payload={}, attempts=0, crashes=0, token="t", probe=False)
        threads.append(threading.Thread(target=loop._execute, args=(task,)))
        threads[-1].start()
        while not store.batches:
            time.sleep(0.001)
    for thread in threads:
        thread.join(20)
    assert store.batches[0] == ["first"]
    assert sorted(store.batches[1]) == ["a", "b", "lost"]
    assert sorted(store.batches[2:]) == ([["a"], ["b"], ["lost"]] if bad else [])
    assert [record.message for record in caplog.records if record.message.startswith("late")] == [
        "late: the lease of task lost (deliver) was lost before its end was recorded"
    ]


def test_a_renewed_lease_is_kept(box: Box) -> None:
    box.put("k")
    (task,) = box.claim()
    box.clock.forward(seconds=50)
    assert box.store.renew(task)
    box.clock.forward(seconds=50)
    assert box.claim() == []
    assert box.finish(task, DONE)
    assert not box.store.renew(task)


def test_released_tasks_are_due_again_without_a_mark(box: Box) -> None:
    task_id = box.put("k")
    box.store.release(box.claim())
    (task,) = box.claim()
    assert (task.id, task.crashes, task.attempts) == (task_id, 0, 0)


def test_leases_of_a_dead_worker_can_be_taken_back_at_once(box: Box) -> None:
    task_id = box.put("k")
    box.claim()
    assert box.store.recover_owner(None) == 1
    (task,) = box.claim()
    assert (task.id, task.crashes) == (task_id, 1)


def test_a_task_that_kills_workers_runs_alone_and_then_dies_while_others_flow(box: Box) -> None:
    poison = box.put("poison", lane="p", priority=4)
    for _ in range(3):
        box.claim(limit=1)
        box.clock.forward(seconds=61)
    harmless = box.put("harmless", lane="h")
    assert [task.id for task in box.claim(running=1)] == [harmless]
    for _ in range(5):
        assert [task.id for task in box.claim(running=0)] == [poison]
        box.clock.forward(seconds=61)
    box.claim()
    assert box.task(poison).state == "dead"
    assert "poison" in (box.task(poison).last_error or "")


def test_a_service_that_dies_every_second_does_not_use_up_the_tries_of_a_task(box: Box) -> None:
    innocent = box.put("innocent", lane="p", priority=4)
    tried = 0
    for _ in range(100):
        tried += len(box.claim(running=0))
        box.store.recover_owner(None)
        box.clock.forward(seconds=1)
    assert 3 < tried < 3 + 5
    assert box.task(innocent).state in ("leased", "ready")
    box.clock.forward(seconds=61)
    (task,) = box.claim(running=0)
    assert box.finish(task, Result(outcome="done"))
    assert box.task(innocent).state == "done"


def test_retries_follow_the_table_and_end_dead_where_the_endpoint_is_healthy(box: Box) -> None:
    endpoint = box.endpoint()
    task_id = box.delivery("k", endpoint)
    waits = []
    for number in range(13):
        (task,) = box.claim()
        box.finish(task, REFUSED)
        with box.database.write() as session:  # others succeed meanwhile: the breaker stays closed
            session.execute(update(Subscription).values(failures=0, fail_since=None, breaker="closed"))
        row = box.task(task_id)
        if number < 12:
            assert row.state == "ready"
            waits.append((row.run_at - box.clock()).total_seconds())
            box.clock.at = row.run_at
    assert waits == [5, 30, 120, 600, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 86400]
    assert box.task(task_id).state == "dead"
    assert len(box.attempts(task_id)) == 13
    with box.database.read() as session:
        told = session.scalars(select(Task.payload).where(Task.topic == "tell").order_by(Task.created_at.desc())).first()
    assert told is not None
    assert told["reason"] == "dead"


def test_an_urgent_delivery_that_fails_four_times_goes_to_the_second_step_at_once(box: Box) -> None:
    endpoint = box.endpoint()
    task_id = box.delivery("k", endpoint, priority=3)
    with box.database.write() as session:
        session.execute(update(Task).values(payload={"alert": "a"}))
    for number in range(4):
        (task,) = box.claim()
        box.finish(task, REFUSED)
        with box.database.read() as session:
            steps = session.scalars(select(Task.payload).where(Task.topic == "escalate")).all()
        assert [payload["step"] for payload in steps] == ([] if number < 3 else [2])
        box.clock.at = box.task(task_id).run_at


def test_work_inside_the_service_is_never_given_up(box: Box) -> None:
    task_id = box.put("k")
    for _ in range(30):
        (task,) = box.claim()
        box.finish(task, Result(outcome="failed", error="RuntimeError"))
        row = box.task(task_id)
        assert row.state == "ready"
        assert row.run_at - box.clock() <= timedelta(minutes=10)
        box.clock.at = row.run_at


def _fail_until_open(box: Box, endpoint: str) -> None:
    while box.subscription(endpoint).breaker == "closed":
        tasks = box.claim()
        if not tasks:
            box.clock.forward(minutes=1)
        for task in tasks:
            box.finish(task, REFUSED)


def test_five_failures_open_the_breaker_probes_cost_no_attempt_and_one_success_frees_the_backlog(box: Box) -> None:
    endpoint = box.endpoint()
    ids = [box.delivery(f"{n}", endpoint) for n in range(8)]
    _fail_until_open(box, endpoint)
    states = {box.task(task_id).state for task_id in ids}
    assert states <= {"parked", "leased"}
    assert box.claim() == []

    before = sum(box.task(task_id).attempts for task_id in ids)
    waits = []
    for _ in range(9):
        probe_at = box.subscription(endpoint).probe_at
        assert probe_at is not None
        waits.append(round((probe_at - box.clock()).total_seconds()))
        box.clock.at = probe_at
        (probe,) = box.claim()
        assert probe.probe
        assert probe.id == ids[0]
        assert box.claim() == []
        box.finish(probe, REFUSED)
    assert waits == [30, 60, 120, 240, 480, 960, 1800, 1800, 1800]
    assert sum(box.task(task_id).attempts for task_id in ids) == before

    probe_at = box.subscription(endpoint).probe_at
    assert probe_at is not None
    box.clock.at = probe_at
    (probe,) = box.claim()
    box.finish(probe)
    assert box.subscription(endpoint).breaker == "closed"
    order = []
    for _ in range(20):
        box.clock.forward(seconds=0.2)
        for task in box.claim():
            order.append(task.id)
            box.finish(task)
    assert order == ids[1:]
    assert {box.task(task_id).state for task_id in ids} == {"done"}


def test_five_days_without_success_disable_the_endpoint_and_keep_its_tasks(box: Box) -> None:
    endpoint = box.endpoint()
    task_id = box.delivery("k", endpoint)
    while box.subscription(endpoint).state == "active":
        box.clock.forward(minutes=30)
        for task in box.claim():
            box.finish(task, REFUSED)
    down: datetime | None = box.subscription(endpoint).fail_since
    assert down is not None
    assert timedelta(days=5) <= box.clock() - down < timedelta(days=5, hours=1)
    assert box.task(task_id).state == "parked"
    with box.database.read() as session:
        told = session.scalars(select(Task.payload).where(Task.topic == "tell").order_by(Task.created_at)).all()
    assert [payload["reason"] for payload in told] == ["soon-disabled", "disabled"]
    box.clock.forward(days=1)
    assert [task for task in box.claim() if task.topic == "deliver"] == []


def test_gone_disables_at_once(box: Box) -> None:
    endpoint = box.endpoint()
    first, second = box.delivery("1", endpoint), box.delivery("2", endpoint)
    task = box.claim(limit=1)[0]
    box.finish(task, Result(outcome="gone", sent=True, status=410, error="the receiver answered 410"))
    assert box.subscription(endpoint).state == "disabled"
    assert (box.task(first).state, box.task(second).state) == ("parked", "parked")


def test_retry_after_lengthens_a_wait_up_to_six_hours(box: Box) -> None:
    endpoint = box.endpoint()
    task_id = box.delivery("k", endpoint)
    (task,) = box.claim()
    box.finish(task, Result(outcome="failed", sent=True, status=503, error="503", retry_after=10 * 3600))
    assert box.task(task_id).run_at - box.clock() == timedelta(hours=6)


def test_cancelling_leaves_what_is_being_sent_alone(box: Box) -> None:
    first, second = box.put("1", lane="a"), box.put("2", lane="b", run_at=box.clock() + timedelta(days=1))
    box.claim()
    with box.database.write() as session:
        assert cancel_tasks(session, [first, second], "superseded by revision 2", box.clock()) == 1
    assert (box.task(first).state, box.task(second).state) == ("leased", "cancelled")
    assert box.task(second).last_error == "superseded by revision 2"


def test_what_was_parked_in_error_is_freed(box: Box) -> None:
    endpoint = box.endpoint()
    box.delivery("k", endpoint, state="parked")
    assert box.claim() == []
    with box.database.write() as session:
        assert repair_parked(session, box.clock()) == 1
    assert len(box.claim()) == 1


def test_the_loop_survives_a_handler_that_raises(box: Box) -> None:
    task_id = box.put("k")
    calls: list[int] = []

    def handler(task: TaskItem) -> Result:
        calls.append(task.attempts)
        if len(calls) == 1:
            raise RuntimeError("no")
        return DONE

    handlers: dict[str, Callable[[TaskItem], Result]] = {"fanout": handler}
    loop = DeliveryLoop(store=box.store, handlers=handlers, owner="w", now=box.clock)
    loop.run_due()
    assert "RuntimeError: no" in (box.task(task_id).last_error or "")
    box.clock.forward(minutes=1)
    loop.run_due()
    assert box.task(task_id).state == "done"
    assert calls == [0, 1]


def test_a_store_keeps_to_the_policy_it_was_given(any_database: Database, clock: Any) -> None:
    box = Box(any_database, clock)
    box.store = SqlOutbox(any_database, clock=clock, database_clock=False, retry=RetryPolicy(delays=(1.0,)), spread=lambda: 0.5)
    task_id = box.delivery("k", box.endpoint())
    for _ in range(2):
        (task,) = box.claim()
        box.finish(task, REFUSED)
        clock.forward(seconds=1)
    assert box.task(task_id).state == "dead"


def test_a_worker_apart_hears_of_a_commit_to_the_embedded_database(tmp_path: Path) -> None:
    path = tmp_path / "seen.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (n INTEGER)")
    heard, stopping = threading.Semaphore(0), threading.Event()
    Watcher(str(path), heard.release, stopping).start()
    assert heard.acquire(timeout=20)  # as it begins to look
    other.execute("INSERT INTO t VALUES (1)")
    other.commit()
    assert heard.acquire(timeout=20)
    assert not heard.acquire(timeout=0.2)  # and not again without another commit
    stopping.set()
    other.close()


def listening(database: Database, name: str) -> Listener:
    """A connection that says a worker of this name lives."""
    found = Listener(database.url, name + claims.PRESENT, lambda: None)
    found.start()
    wait_until(lambda: found.present, 10, every=0.01)
    return found


def test_what_a_dead_worker_held_is_due_before_its_lease_ends(
    postgres_database: Database, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(postgres_database, clock)
    monkeypatch.setattr(claims, "GONE_SECONDS", 0.4)
    monkeypatch.setattr(claims, "LOOK_EVERY", timedelta(seconds=0.1))
    monkeypatch.setattr(listener, "LOOK_SECONDS", 0.05)
    one, other = (listening(postgres_database, name) for name in ("w1", "w2"))
    stores = {
        name: SqlOutbox(postgres_database, clock=clock, database_clock=False, present=lambda found=found: found.present)
        for name, found in (("w1", one), ("w2", other))
    }
    tasks = {name: box.put(f"of {name}", lane=name) for name in ("w1", "w2")}
    held = {}
    for name, store in stores.items():
        (held[name],) = store.claim(name, 1, running=0)
    suspect, unmarked = box.put("suspect", lane="s"), box.put("unmarked", lane="u")
    with postgres_database.write() as session:  # one that lost workers before, and one by a worker that no lock speaks for
        session.execute(update(Task).where(Task.id.in_((suspect, unmarked))).values(lease_until=clock() + timedelta(seconds=60)))
        session.execute(update(Task).where(Task.id == suspect).values(state="leased", lease_owner="w1+", crashes=3))
        session.execute(update(Task).where(Task.id == unmarked).values(state="leased", lease_owner="w1"))
    watching = SqlOutbox(postgres_database, clock=clock, database_clock=False)

    def look(seconds: float) -> list[TaskItem]:
        ends, found = time.monotonic() + seconds, list[TaskItem]()
        while not found and time.monotonic() < ends:
            found = watching.claim("w3", 10, running=0)
            time.sleep(0.02)
        return found

    assert look(1.0) == []  # both live
    one.stop()
    began = time.monotonic()
    (taken,) = look(10.0)
    assert (taken.id, taken.crashes) == (tasks["w1"], 1)
    assert time.monotonic() - began >= claims.GONE_SECONDS  # not at once: the connection might have come back
    assert look(1.0) == []  # nothing of the one that lives, nor what waits for the end of its lease
    ended = Ended(task=held["w1"], result=SENT, started=clock(), ended=clock())
    assert not stores["w1"].finish(ended, worker="w1")  # should it live after all: too late
    assert stores["w2"].finish(Ended(task=held["w2"], result=SENT, started=clock(), ended=clock()), worker="w2")
    other.stop()


def test_a_worker_takes_its_lock_again_where_it_was_lost(postgres_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "LOOK_SECONDS", 0.05)
    found = listening(postgres_database, "w1")
    free = text("SELECT pg_try_advisory_lock_shared(:space, hashtext('w1+'))")
    end = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid::bigint = :space AND granted "
        "AND pid <> pg_backend_pid()"
    )
    with postgres_database.engine.connect() as connection:
        assert not connection.scalar(free, {"space": locks.WORKERS})
        assert connection.scalar(end, {"space": locks.WORKERS})
        wait_until(lambda: not found.present, 10, every=0.01)
        wait_until(lambda: found.present, 10, every=0.01)
        assert not connection.scalar(free, {"space": locks.WORKERS})
    found.stop()
