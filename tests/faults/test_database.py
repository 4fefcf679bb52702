"""Rows 6, 7 and 9 to 11: power cuts, restarts, unknown commits, full disks and long locks."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError

from app.persistence import migrations
from app.persistence.models import Alert, Report, Task
from app.persistence.session import Database
from tests.databases import ready
from tests.faults.disk import Disk, sqlite_library, watched
from tests.faults.parts import (
    Mould,
    Recorder,
    Sender,
    check,
    control_postgres,
    harmful_report,
    postgres_server,
    prepare,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)


def post(service: Any, headers: dict[str, str], reference: str) -> Any:
    return service.client.post(
        "/v1/reports", headers=headers | {"Idempotency-Key": reference}, json=harmful_report(reference) | {"tlp": "GREEN"}
    )


@pytest.fixture
def library() -> Any:
    found = sqlite_library()
    if found is None:
        pytest.skip("this interpreter carries SQLite inside itself, so its system calls cannot be replaced")
    return found


@pytest.fixture
def disk(library: Any, tmp_path: Path) -> Iterator[Disk]:
    ready(Database(f"sqlite:///{tmp_path / 'nps.sqlite'}"))
    with watched(tmp_path, library) as disk:
        yield disk


def test_a_power_cut_at_any_moment_loses_no_acknowledged_report(
    disk: Disk, make_service: Callable[[str], Any], tmp_path: Path
) -> None:
    """Row 6: un-synced sectors are dropped at random; what was acknowledged is there and the file is whole."""
    service = make_service(f"sqlite:///{tmp_path / 'nps.sqlite'}")
    service.clock.at = datetime.now(UTC)
    headers = service.key("lab", "DE")
    begun = len(disk.events)
    for number in range(12):
        answer = post(service, headers, f"R-{number}")
        assert answer.status_code == 201, answer.text
        disk.mark(answer.json()["id"])
    assert sum(kind == "fsync" for kind, *_ in disk.events[begun:]) >= 12
    draw = random.Random(6)
    promised = 0
    for cut in range(25):
        target = tmp_path / f"cut-{cut}"
        target.mkdir()
        acknowledged = disk.after_power_cut(draw.randint(begun, len(disk.events)), target, draw)
        promised += len(acknowledged)
        found = sqlite3.connect(target / "nps.sqlite")
        assert found.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        stored = {row[0] for row in found.execute("SELECT id FROM report")}
        assert set(acknowledged) <= stored
        orphans = "SELECT count(*) FROM alert WHERE id NOT IN (SELECT substr(key, 1, 26) FROM task WHERE topic = 'fanout')"
        assert found.execute(orphans).fetchone() == (0,)
        found.close()
    assert promised > 50


def test_a_disk_that_drops_synced_writes_would_be_noticed(disk: Disk, make_service: Callable[[str], Any], tmp_path: Path) -> None:
    """Row 6, the other way round: were the syncs not made, the same check fails."""
    service = make_service(f"sqlite:///{tmp_path / 'nps.sqlite'}")
    service.clock.at = datetime.now(UTC)
    headers = service.key("lab", "DE")
    begun = len(disk.events)
    for number in range(3):
        disk.mark(post(service, headers, f"R-{number}").json()["id"])
    disk.events = [event for place, event in enumerate(disk.events) if place < begun or event[0] != "fsync"]
    target = tmp_path / "cut"
    target.mkdir()
    acknowledged = disk.after_power_cut(len(disk.events), target, random.Random(1))
    found = sqlite3.connect(target / "nps.sqlite")
    stored = {row[0] for row in found.execute("SELECT id FROM report")}
    found.close()
    assert not set(acknowledged) <= stored


def test_a_full_disk_refuses_writes_answers_reads_and_goes_on_by_itself(
    disk: Disk, make_service: Callable[[str], Any], tmp_path: Path
) -> None:
    """Row 10: every write fails with ENOSPC at the system call."""
    service = make_service(f"sqlite:///{tmp_path / 'nps.sqlite'}")
    service.clock.at = datetime.now(UTC)
    headers = service.key("lab", "DE")
    first = post(service, headers, "R-1")
    assert first.status_code == 201
    disk.full = True
    refused = post(service, headers, "R-2")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert refused.json()["type"].endswith("/problems/unavailable")
    assert disk.refused > 0
    for path in ("/v1/alerts", "/v1/substances", f"/v1/alerts/{first.json()['alerts'][0]}", "/v1/events?after=0"):
        assert service.client.get(path, headers=headers).status_code == 200, path
    # whoever reads a case is written down; what cannot be written down is not shown
    assert service.client.get(f"/v1/reports/{first.json()['id']}", headers=headers).status_code == 503
    disk.full = False
    assert post(service, headers, "R-2").status_code == 201
    with service.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == 2
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_of_unknown_outcome_is_harmless_to_repeat(service: Any, committed: bool) -> None:
    """Row 9: the connection drops at COMMIT, before or after the database has done it."""
    service.clock.at = datetime.now(UTC)
    headers = service.key("lab", "DE")
    engine = service.context.database.engine
    commit = engine.dialect.do_commit

    @event.listens_for(engine, "before_cursor_execute")
    def note(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO report "):
            connection.info["report"] = True

    def dropped(connection: Any) -> None:
        if connection.info.pop("report", False):
            engine.dialect.do_commit = commit
            if committed:
                commit(connection)
            raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))
        commit(connection)

    engine.dialect.do_commit = dropped
    assert post(service, headers, "R-1").status_code == 503
    again = post(service, headers, "R-1")
    assert again.status_code == 201
    assert (again.headers.get("idempotent-replayed") == "true") is committed
    with service.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == 1
        kinds = session.scalars(select(Alert.type)).all()
        assert len(kinds) == len(set(kinds))
        fanouts = session.scalars(select(Task.key).where(Task.topic == "fanout")).all()
        assert len(fanouts) == len(kinds)


def test_a_lock_held_too_long_is_a_503_and_a_long_reader_is_not(
    make_service: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 11. The patience of 10 s is cut to one here."""
    monkeypatch.setattr("app.persistence.session.BUSY_TIMEOUT_MS", 1000)
    path = tmp_path / "nps.sqlite"
    service = make_service(f"sqlite:///{path}")
    service.clock.at = datetime.now(UTC)
    headers = service.key("lab", "DE")
    assert post(service, headers, "R-0").status_code == 201
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM report").fetchone()
    assert post(service, headers, "R-1").status_code == 201  # a backup reads as long as it likes
    reader.execute("COMMIT")
    reader.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    answer = post(service, headers, "R-2")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert 0.9 < time.monotonic() - started < 8
    reader.execute("ROLLBACK")
    assert post(service, headers, "R-2").status_code == 201
    reader.close()
    with service.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == 3


def test_the_patience_is_ten_seconds() -> None:
    from app.persistence.session import BUSY_TIMEOUT_MS

    assert BUSY_TIMEOUT_MS == 10_000


def test_postgresql_restarted_during_load(nodes: Mould, recorder: Recorder, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Row 7: stopped at once, as by a crash, in the middle of reports and deliveries; 503 meanwhile, recovery unaided."""
    import tempfile

    with (
        tempfile.TemporaryDirectory(prefix="nps-pg-", ignore_cleanup_errors=True) as folder,
        postgres_server(Path(folder)) as server,
    ):
        database = Database(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
        migrations.upgrade(database.engine)
        scene = prepare(database)
        nodes.fork("serve", scene.url, port=scene.port, worker=False, lease=5)
        workers = [nodes.fork("worker", scene.url, lease=5) for _ in range(2)]
        wait_for_service(scene.base)
        endpoint = subscribe(scene, recorder)
        sender = Sender(scene.base, scene.lab, "S")
        sender.start(pause=0.02)
        for _ in range(2):
            time.sleep(1.0)
            control_postgres(server, "-m", "immediate", "stop")
            down = sender.statuses[503]
            wait_until(lambda down=down: sender.statuses[503] > down, 15)
            control_postgres(server, "-l", str(server.log), "-o", f'-h "" -k {socket_folder(server)}', "start")
            before = len(sender.acknowledged)
            wait_until(lambda before=before: len(sender.acknowledged) > before, 30)
        sender.stop()
        wait_until(lambda: not unfinished(database), 60, every=0.2)
        verdict = check(database, {endpoint: recorder}, [sender])
        for pid in workers:
            nodes.kill(pid)
        for pid in list(nodes.pids):
            nodes.kill(pid)
        database.dispose()
    assert sender.bad == []
    assert verdict.reports > 5
    assert (verdict.lost, verdict.unverified, verdict.stuck, verdict.dead) == ([], 0, 0, 0), str(verdict)


def socket_folder(server: Any) -> str:
    return str(server.get_postmaster_info().socket_dir)
