"""`make soak`: kill -9 of every process at random moments for as long as asked, with the full lease of 60 s.

python -m tests.soak --minutes 10                     both databases, as many kills as fit
python -m tests.soak --kills 200 --database sqlite    200 kills on one

Between rounds of kills up to `--pause` seconds pass, drawn at random: with few, processes die before they have begun, with
many they die in the midst of their work. Reports are posted all the while; at the end a secret is rotated. Exit status 1
where anything was lost, left unverified or stuck, or where duplicates exceed two for each kill.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from app.persistence import migrations
from app.persistence.session import Database
from tests.faults.parts import (
    Mould,
    Recorder,
    Scene,
    Sender,
    check,
    postgres_server,
    prepare,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)


@contextmanager
def database_of(kind: str) -> Iterator[Database]:
    with tempfile.TemporaryDirectory(prefix="nps-soak-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        if kind == "sqlite":
            database = Database(f"sqlite:///{folder / 'nps.sqlite'}")
            migrations.upgrade(database.engine)
            yield database
            database.dispose()
            return
        with postgres_server(folder) as server:
            database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
            migrations.upgrade(database.engine)
            yield database
            database.dispose()


def rotate(scene: Scene, endpoint: str, recorder: Recorder) -> bool:
    """A new secret, where the service answers just now."""
    try:
        made = httpx.post(f"{scene.base}/v1/subscriptions/{endpoint}/rotate-secret", headers=scene.authority, json={}, timeout=10)
    except httpx.TransportError:
        return False
    if made.status_code == 200:
        recorder.secrets = [made.json()["secret"], *recorder.secrets][:3]
    return made.status_code == 200


def soak(kind: str, *, kills: int, minutes: float, seed: int, pause: float) -> bool:
    """One soak; prints its counts, and gives whether every promise held."""
    draw = random.Random(seed)
    mould, recorder = Mould(), Recorder()
    with database_of(kind) as database:
        scene = prepare(database)
        server = mould.fork("serve", scene.url, port=scene.port, worker=kind == "sqlite")
        workers = [mould.fork("worker", scene.url) for _ in range(1 if kind == "sqlite" else 2)]
        wait_for_service(scene.base)
        endpoint = subscribe(scene, recorder)
        senders = [Sender(scene.base, scene.lab, f"S{number}") for number in range(2)]
        for sender in senders:
            sender.start(pause=0.1)
        begun, done = time.monotonic(), 0
        while (not kills or done < kills) and (not minutes or time.monotonic() - begun < minutes * 60):
            time.sleep(draw.random() * pause)
            if draw.random() < 0.3:
                mould.kill(server)
                done += 1
                server = mould.fork("serve", scene.url, port=scene.port, worker=kind == "sqlite")
            if draw.random() < 0.7:
                chosen = draw.randrange(len(workers))
                mould.kill(workers[chosen])
                done += 1
                workers[chosen] = mould.fork("worker", scene.url)
        spent = time.monotonic() - begun
        wait_for_service(scene.base)
        rotate(scene, endpoint, recorder)
        for sender in senders:
            sender.stop()
        wait_until(lambda: not unfinished(database), 180, every=0.5)
        verdict = check(database, {endpoint: recorder}, senders)
        refused = [text for sender in senders for text in sender.bad]
        mould.close()
    recorder.close()
    failed = sum(sender.statuses[0] for sender in senders)
    print(f"{kind}: {done} kills in {spent:.0f} s; {failed} requests without an answer, sent again; {verdict}", flush=True)
    for line in [*verdict.lost[:10], *refused[:5]]:
        print(f"  {line}")
    promised = not (verdict.lost or verdict.unverified or verdict.stuck or verdict.dead or refused)
    return promised and verdict.duplicates <= 2 * done


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.splitlines()[0] if __doc__ else "")
    reader.add_argument("--minutes", type=float, default=0.0, help="for so long on each database")
    reader.add_argument("--kills", type=int, default=0, help="stop after so many kills; 200 where nothing is given")
    reader.add_argument("--database", choices=["sqlite", "postgresql"], action="append")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--pause", type=float, default=4.0, help="the longest rest between rounds of kills, in seconds")
    wish = reader.parse_args()
    kills = wish.kills or (0 if wish.minutes else 200)
    fine = [
        soak(kind, kills=kills, minutes=wish.minutes, seed=wish.seed, pause=wish.pause)
        for kind in wish.database or ["sqlite", "postgresql"]
    ]
    return 0 if all(fine) else 1


if __name__ == "__main__":
    sys.exit(main())
