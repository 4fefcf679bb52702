"""An installation of the first version moves to this one under load, old and new processes side by side; nothing is lost.

python -m tests.soak.upgrade [--from COMMIT] [--seconds 20]

On one PostgreSQL: the old version serves and works while laboratories post; `nps migrate` of this version runs; API and worker of
this version start beside the old ones; the old ones stop. Every report that was acknowledged by either must be there, alerted and
delivered once verified. Needs the repository's history. Exit status 1 where a promise was broken.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sqlalchemy import text

from app.persistence import migrations
from app.persistence.session import Database
from tests.faults.parts import (
    ROOT,
    Recorder,
    Scene,
    Sender,
    check,
    free_port,
    postgres_server,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)

FIRST = "52d25db"  # the last commit of the first version that was taken into use


class Version:
    """The commands of one version of the service on one database."""

    def __init__(self, folder: Path, address: str) -> None:
        self._folder = folder
        self._environment = os.environ | {
            "DATABASE_URL": address, "NPS_SECRET_KEY": "for the upgrade only", "EGRESS_ALLOW": "127.0.0.1/32:*",
            "PYTHONPATH": str(folder), "NPS_DATA_DIR": str(folder / "data"),
        }  # fmt: skip

    def run(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "app.cli", *words], cwd=self._folder, env=self._environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"nps {' '.join(words)}: {done.stderr[-2000:]}")
        return done.stdout

    @contextmanager
    def going(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "app.cli", *words]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(command, cwd=self._folder, env=self._environment, stderr=said) as process,
        ):
            try:
                yield process
            except Exception:
                said.seek(0)
                print(f"nps {' '.join(words)}: {said.read()[-2000:].decode(errors='replace')}")
                raise
            finally:
                process.terminate()
                process.wait(60)


def unpack(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def key(version: Version, kind: str) -> dict[str, str]:
    org = json.loads(version.run("orgs", "create", "--name", f"{kind} DE", "--kind", kind, "--country", "DE", "--json"))
    made = json.loads(version.run("keys", "create", "--org", org["id"], "--role", kind, "--json"))
    return {"Authorization": f"Bearer {made['key']}"}


def upgrade(commit: str, seconds: float) -> bool:
    recorder = Recorder()
    with tempfile.TemporaryDirectory(prefix="nps-up-", ignore_cleanup_errors=True) as name, postgres_server(Path(name)) as server:
        (Path(name) / "old").mkdir()
        address = server.get_uri()
        old, new = Version(unpack(commit, Path(name) / "old"), address), Version(ROOT, address)
        old.run("migrate")
        database = Database(address.replace("postgresql://", "postgresql+psycopg://", 1))
        before = migrations.current(database.engine)
        old_port, new_port = free_port(), free_port()
        lab, authority = key(old, "lab"), key(old, "authority")
        scene = Scene(database, lab, authority, f"http://127.0.0.1:{old_port}", old_port)
        senders = [Sender(scene.base, lab, "OLD"), Sender(f"http://127.0.0.1:{new_port}", lab, "NEW")]
        with ExitStack() as running:
            running.enter_context(old.going("serve", "--port", str(old_port), "--no-worker"))
            wait_for_service(scene.base, 120)  # the first version cannot start two processes on an empty database at once
            old_worker = running.enter_context(old.going("worker"))
            endpoint = subscribe(scene, recorder, seconds=180)
            senders[0].start(pause=0.05)
            time.sleep(seconds)
            taken = len(senders[0].acknowledged)
            began = time.monotonic()
            new.run("migrate")
            took = time.monotonic() - began
            during = len(senders[0].acknowledged) - taken
            with new.going("serve", "--port", str(new_port), "--no-worker"), new.going("worker"):
                wait_for_service(senders[1].base, 120)
                senders[1].start(pause=0.05)
                wait_until(lambda: bool(senders[1].acknowledged), 120)
                time.sleep(seconds)
                both = [len(sender.acknowledged) for sender in senders]
                senders[0].stop()
                old_worker.terminate()
                old_worker.wait(60)
                time.sleep(seconds / 2)
                senders[1].stop()
                wait_until(lambda: not unfinished(database), 240, every=0.5)
                rollups = new.run("rollups", "verify")
        verdict = check(database, {endpoint: recorder}, senders)
        with database.engine.connect() as connection:
            versions = connection.scalar(text("SELECT count(*) FROM report_version"))
        after = migrations.current(database.engine)
        database.dispose()
    recorder.close()
    print(f"{before} -> {after} in {took:.1f} s; the old version took {taken} reports before and {during} meanwhile")
    print(f"side by side: old {both[0]}, new {both[1]}; {versions} versions of reports stored; statuses {senders[0].statuses}")
    print(f"{verdict}")
    print(rollups.strip())
    refused = [line for sender in senders for line in sender.bad]
    for line in [*verdict.lost[:10], *refused[:5]]:
        print(f"  {line}")
    return not (verdict.lost or verdict.unverified or verdict.stuck or verdict.dead or refused) and during > 0 and both[1] > 0


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m tests.soak.upgrade", description=(__doc__ or "").splitlines()[0])
    reader.add_argument("--from", dest="commit", default=FIRST)
    reader.add_argument("--seconds", type=float, default=20.0)
    wish = reader.parse_args()
    return 0 if upgrade(wish.commit, wish.seconds) else 1


if __name__ == "__main__":
    sys.exit(main())
