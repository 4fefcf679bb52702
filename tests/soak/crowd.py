"""Two API processes and three workers on one PostgreSQL under load, members killed at random; escalations fall due all the while.

python -m tests.soak.crowd --minutes 5

Prints what was lost, escalations that fired twice, and how long recovery took: from a kill to the next report that is taken, and
from an acknowledged report to its first webhook. Exit status 1 where anything was lost or an escalation fired twice, where more
came twice than the killed workers can have been sending, and where a webhook came later than a lease and the time to send.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select, update

from alerts.outbox import LANE_LIMIT
from app.auth import accounts
from app.persistence import migrations
from app.persistence.models import Task
from app.persistence.session import Database
from tests.faults.parts import (
    Mould,
    Recorder,
    Scene,
    Sender,
    check,
    free_port,
    postgres_server,
    prepare,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)

APIS, WORKERS = 2, 3
FAIR_SECONDS = 75.0  # a lease, and the time to send


class Timed(Sender):
    """A sender that remembers when each report was acknowledged."""

    def post(self, reference: str, *, timeout: float = 30.0):  # type: ignore[no-untyped-def]
        before = set(self.acknowledged)
        answer = super().post(reference, timeout=timeout)
        for report in set(self.acknowledged) - before:
            TAKEN[report] = time.monotonic()
        return answer


TAKEN: dict[str, float] = {}


def make_due(database: Database, draw: random.Random) -> int:
    """Let some clocks of alerts run out now; their number."""
    with database.write() as session:
        waiting = list(session.scalars(select(Task.id).where(Task.topic == "escalate", Task.state == "ready").limit(200)))
        chosen = draw.sample(waiting, min(5, len(waiting)))
        session.execute(update(Task).where(Task.id.in_(chosen), Task.state == "ready").values(run_at=datetime.now(UTC)))
        return len(chosen)


def escalations(database: Database) -> tuple[int, int, int]:
    """Steps of escalation that fired, how many of them fired twice, and how many were first steps, each of which sends what was
    delivered once more.
    """
    with database.read() as session:
        steps = session.execute(select(Task.payload, Task.state).where(Task.topic == "escalate")).all()
    fired = Counter(
        (payload["alert"], payload["whom"], payload["level"], payload["step"]) for payload, state in steps if state == "done"
    )
    return len(fired), sum(n - 1 for n in fired.values()), sum(key[3] == 1 for key in fired)


def crowd(minutes: float, seed: int) -> bool:
    draw = random.Random(seed)
    mould, recorder = Mould(), Recorder()
    with (
        tempfile.TemporaryDirectory(prefix="nps-crowd-", ignore_cleanup_errors=True) as name,
        postgres_server(Path(name)) as server,
    ):
        database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
        migrations.upgrade(database.engine)
        scene: Scene = prepare(database)
        with database.write() as session:  # somebody to remind
            now = datetime.now(UTC)
            org = accounts.create_organisation(session, name="operator", kind="operator", country="DE", test=False, now=now)
            who = {"email": "duty@operator.example", "name": "Duty", "role": "analyst", "password": "a long password here"}
            accounts.create_person(session, org_id=org.id, now=now, **who)
        ports = [scene.port, *(free_port() for _ in range(APIS - 1))]
        apis = [mould.fork("serve", scene.url, port=port, worker=False) for port in ports]
        workers = [mould.fork("worker", scene.url) for _ in range(WORKERS)]
        for port in ports:
            wait_for_service(f"http://127.0.0.1:{port}")
        endpoint = subscribe(scene, recorder)
        senders = [Timed(f"http://127.0.0.1:{ports[n % APIS]}", scene.lab, f"S{n}") for n in range(4)]
        for sender in senders:
            sender.start(pause=0.1)
        begun, kills, killed_at, due, died = time.monotonic(), 0, list[float](), 0, 0
        while time.monotonic() - begun < minutes * 60:
            time.sleep(draw.uniform(1, 5))
            due += make_due(database, draw)
            kills += 1
            killed_at.append(time.monotonic())
            if draw.random() < APIS / (APIS + WORKERS):
                at = draw.randrange(APIS)
                mould.kill(apis[at])
                apis[at] = mould.fork("serve", scene.url, port=ports[at], worker=False)
            else:
                at = draw.randrange(WORKERS)
                died += 1
                mould.kill(workers[at])
                workers[at] = mould.fork("worker", scene.url)
        for sender in senders:
            sender.stop()
        wait_until(lambda: not unfinished(database), 240, every=0.5)
        verdict = check(database, {endpoint: recorder}, senders)
        fired, twice, first = escalations(database)
        refused = [text for sender in senders for text in sender.bad]
        mould.close()
        database.dispose()
    recorder.close()
    taken = sorted(TAKEN.values())
    pauses = sorted(next((t for t in taken if t > at), at) - at for at in killed_at)
    arrived: dict[str, float] = {}
    for receipt in recorder.alerts():
        arrived.setdefault(receipt.document["data"]["id"], receipt.at)
    delays = sorted(
        arrived[alert] - TAKEN[report]
        for sender in senders
        for report, alerts in sender.acknowledged.items()
        for alert in alerts
        if alert in arrived
    )
    print(f"{kills} kills of {APIS} API processes and {WORKERS} workers ({died}) in {minutes:.0f} min; {verdict}")
    again = max(0, verdict.duplicates - first)
    print(f"escalations: {fired} fired ({due} clocks let run out), {twice} twice; {first} sent their alert once more, as they do")
    print(f"deliveries that came twice for another reason: {again}")
    print(f"from a kill to the next report taken: median {pauses[len(pauses) // 2]:.2f} s, longest {pauses[-1]:.2f} s")
    p99 = delays[int(len(delays) * 0.99)]
    print(f"from 201 to the first webhook: median {delays[len(delays) // 2]:.2f} s, p99 {p99:.2f} s, longest {delays[-1]:.2f} s")
    for line in [*verdict.lost[:10], *refused[:5]]:
        print(f"  {line}")
    promised = not (verdict.lost or verdict.unverified or verdict.stuck or verdict.dead or refused or twice)
    return promised and again <= LANE_LIMIT * died and delays[-1] <= FAIR_SECONDS


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m tests.soak.crowd", description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--minutes", type=float, default=5.0)
    reader.add_argument("--seed", type=int, default=0)
    wish = reader.parse_args()
    return 0 if crowd(wish.minutes, wish.seed) else 1


if __name__ == "__main__":
    sys.exit(main())
