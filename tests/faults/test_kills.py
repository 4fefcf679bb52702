"""Rows 1 to 5 and 26: kill -9 and SIGSTOP of real processes at named and at random moments."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from alerts.outbox import LEASE_SECONDS
from app.persistence.models import Alert, Attempt, Report, Task
from tests.faults.parts import (
    Mould,
    Recorder,
    Scene,
    Sender,
    alive,
    check,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)

ROUNDS = 8
LEASE = 3


def count(scene: Scene, model: type[Report | Alert]) -> int:
    with scene.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def subscribed_without_worker(scene: Scene, nodes: Mould, recorder: Recorder) -> str:
    """The id of a confirmed endpoint, for which an API without a worker takes reports."""
    server = nodes.fork("serve", scene.url, port=scene.port)
    wait_for_service(scene.base)
    endpoint = subscribe(scene, recorder)
    nodes.kill(server)
    nodes.fork("serve", scene.url, port=scene.port, worker=False)
    wait_for_service(scene.base)
    return endpoint


@pytest.mark.parametrize("moment", ["before-commit", "after-commit"])
def test_an_api_killed_at_its_commit(scene: Scene, nodes: Mould, recorder: Recorder, moment: str) -> None:
    """Rows 1 and 2: no 2xx is heard; the retry with the same key makes one report, or replays the one that is stored."""
    first = nodes.fork("serve", scene.url, port=scene.port)
    wait_for_service(scene.base)
    endpoint = subscribe(scene, recorder)
    nodes.kill(first)
    dying = nodes.fork("serve", scene.url, port=scene.port, die=moment, worker=False)
    wait_for_service(scene.base)
    sender = Sender(scene.base, scene.lab, moment)
    assert sender.post("R-1") is None
    wait_until(lambda: not alive(dying), 10)
    stored = count(scene, Report)
    assert (stored, count(scene, Alert) > 0) == ((0, False) if moment == "before-commit" else (1, True))

    nodes.fork("serve", scene.url, port=scene.port, lease=LEASE)
    wait_for_service(scene.base)
    answer = sender.post("R-1")
    assert answer is not None
    assert answer.status_code == 201
    assert (answer.headers.get("idempotent-replayed") == "true") is (moment == "after-commit")
    assert count(scene, Report) == 1
    wait_until(lambda: recorder.alerts() and not unfinished(scene.database), 40)
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert (verdict.lost, verdict.unverified, verdict.duplicates, verdict.stuck) == ([], 0, 0, 0), str(verdict)


@pytest.mark.parametrize("moment", ["before-send", "after-send"])
def test_a_worker_killed_around_its_request(scene: Scene, nodes: Mould, recorder: Recorder, moment: str) -> None:
    """Rows 3 and 4: before the request leaves, no duplicate; after the 2xx, one more with the same webhook-id."""
    endpoint = subscribed_without_worker(scene, nodes, recorder)
    sender = Sender(scene.base, scene.lab, moment)
    sender.insist("R-1")
    with scene.database.write() as session:  # one delivery, so that one kill can cost one duplicate
        keep = session.scalars(select(Alert.id).where(Alert.type == "serious_harm")).one()
        session.execute(update(Task).where(Task.topic == "fanout", ~Task.key.startswith(keep)).values(priority=0, run_at=later()))
    dying = nodes.fork("worker", scene.url, die=moment, lease=LEASE)
    wait_until(lambda: not alive(dying), 30)
    assert len(recorder.alerts()) == (1 if moment == "after-send" else 0)
    with scene.database.write() as session:
        session.execute(update(Task).where(Task.topic == "fanout", Task.state == "ready").values(run_at=datetime.now(UTC)))

    nodes.fork("worker", scene.url, lease=LEASE)
    wait_until(lambda: not unfinished(scene.database), 60)
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert (verdict.lost, verdict.unverified, verdict.stuck) == ([], 0, 0), str(verdict)
    assert verdict.duplicates == (1 if moment == "after-send" else 0)


def test_the_death_of_a_worker_is_noticed_before_its_leases_end(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """On SQLite by the lock on the file, on PostgreSQL by the lock on the worker's name."""
    endpoint = subscribed_without_worker(scene, nodes, recorder)
    dying = nodes.fork("worker", scene.url, die="before-send")  # its leases last a minute
    sender = Sender(scene.base, scene.lab, "K")
    sender.insist("K-1")
    wait_until(lambda: not alive(dying), 30)
    died = time.monotonic()
    assert recorder.alerts() == []
    nodes.fork("worker", scene.url)
    wait_until(lambda: not unfinished(scene.database), LEASE_SECONDS, every=0.2)
    assert time.monotonic() - died < LEASE_SECONDS / 2
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert (verdict.lost, verdict.unverified, verdict.duplicates, verdict.stuck) == ([], 0, 0, 0), str(verdict)


def later() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


def test_every_process_killed_at_random_moments(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 5, with fewer rounds than the soak: nothing lost, nothing stuck, duplicates within what a kill can cost."""
    draw = random.Random(5)
    server = nodes.fork("serve", scene.url, port=scene.port, lease=LEASE)
    worker = nodes.fork("worker", scene.url, lease=LEASE)
    wait_for_service(scene.base)
    endpoint = subscribe(scene, recorder)
    senders = [Sender(scene.base, scene.lab, f"S{number}") for number in range(2)]
    for sender in senders:
        sender.start(pause=0.02)
    kills = 0
    for _ in range(ROUNDS):
        time.sleep(0.2 + draw.random())
        for pid in {"server": [server], "worker": [worker], "all": [server, worker]}[draw.choice(("server", "worker", "all"))]:
            nodes.kill(pid)
            kills += 1
        if not alive(server):
            server = nodes.fork("serve", scene.url, port=scene.port, lease=LEASE)
            wait_for_service(scene.base)
        if not alive(worker):
            worker = nodes.fork("worker", scene.url, lease=LEASE)
    for sender in senders:
        sender.stop()
    wait_until(lambda: not unfinished(scene.database), 90, every=0.2)
    verdict = check(scene.database, {endpoint: recorder}, senders)
    print(f"{kills} kills; {verdict}")
    assert [sender.bad for sender in senders] == [[], []]
    assert verdict.reports >= ROUNDS
    assert (verdict.lost, verdict.unverified, verdict.stuck, verdict.dead) == ([], 0, 0, 0), str(verdict)
    assert verdict.duplicates <= 2 * kills, str(verdict)


def test_a_worker_stopped_past_its_lease_and_resumed(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 26: its attempt is kept as late, the state is the new owner's. On SQLite no other may work meanwhile: it resumes."""
    endpoint = subscribed_without_worker(scene, nodes, recorder)
    sender = Sender(scene.base, scene.lab, "S")
    held: list[float] = []

    def slow(receipt: object) -> int:
        if not held:
            held.append(time.monotonic())
            time.sleep(1.0)
        return 204

    recorder.answer = slow
    sleeper = nodes.fork("worker", scene.url, lease=2)
    sender.insist("R-1")
    wait_until(lambda: held, 30)
    nodes.kill(sleeper, signal.SIGSTOP)
    heir = nodes.fork("worker", scene.url, lease=2)
    if scene.database.is_sqlite:
        time.sleep(3)
        nodes.kill(sleeper, signal.SIGCONT)
    else:
        wait_until(lambda: not unfinished(scene.database), 40)
        nodes.kill(sleeper, signal.SIGCONT)
        with_late = wait_until(lambda: Counter(outcomes(scene)).get("late"), 20)
        assert with_late >= 1
    wait_until(lambda: not unfinished(scene.database), 40)
    assert heir in nodes.pids
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert (verdict.lost, verdict.unverified, verdict.stuck) == ([], 0, 0), str(verdict)
    # the lease of 2 s is far shorter here than the 15 s after which the server takes a standing transaction's lock away
    assert verdict.duplicates <= 2 * verdict.deliveries
    with scene.database.read() as session:
        assert set(session.scalars(select(Task.state).where(Task.topic == "deliver"))) == {"done"}


def outcomes(scene: Scene) -> list[str]:
    with scene.database.read() as session:
        return list(session.scalars(select(Attempt.outcome)))
