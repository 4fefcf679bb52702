"""Rows 18, 19, 22, 25, 27, 30 and 31: receivers that forget, floods, clocks, rotation, old versions, restored databases."""

from __future__ import annotations

import ast
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import func, insert, select, text

from app.operations.backup import write_backup
from app.operations.restore import restore
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertRevision, Report, Subscription, Task
from app.persistence.session import Database
from app.persistence.tasks import task_values
from app.scheduler import Scheduler
from app.worker import Worker
from tests.databases import wipe
from tests.faults.node import context_of
from tests.faults.parts import (
    ROOT,
    Mould,
    Recorder,
    Scene,
    Sender,
    check,
    harmful_report,
    subscribe,
    unfinished,
    wait_for_service,
    wait_until,
)

FLOOD = 10_000
URGENT = 20


def serve(scene: Scene, nodes: Mould, recorder: Recorder) -> str:
    nodes.fork("serve", scene.url, port=scene.port, lease=3)
    wait_for_service(scene.base)
    return subscribe(scene, recorder)


def test_a_receiver_that_forgets_repairs_itself_from_the_events(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 18: it answers 200 and stores nothing; the events API gives every alert again, by number, without a gap."""
    endpoint = serve(scene, nodes, recorder)
    sender = Sender(scene.base, scene.lab, "S")
    for number in range(4):
        sender.insist(f"R-{number}")
    wait_until(lambda: not unfinished(scene.database))
    read: dict[str, Any] = {"next_after": 0}
    items: list[dict[str, Any]] = []
    while not items or read["items"]:
        path = f"{scene.base}/v1/events?after={read['next_after']}&limit=2"
        read = httpx.get(path, headers=scene.authority, timeout=20).json()
        items += read["items"]
    assert [item["seq"] for item in items] == list(range(1, len(items) + 1))
    assert {item["data"]["id"] for item in items} == {receipt.document["data"]["id"] for receipt in recorder.alerts()}
    assert check(scene.database, {endpoint: recorder}, [sender]).lost == []


def test_the_same_bundle_a_thousand_times(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 19: one report, one set of alerts, no further delivery."""
    endpoint = serve(scene, nodes, recorder)
    sender = Sender(scene.base, scene.lab, "S")
    first = sender.insist("R-1")
    with httpx.Client(headers=scene.lab | {"Idempotency-Key": "R-1"}, timeout=30) as client:
        body = harmful_report("R-1")
        answers = [client.post(f"{scene.base}/v1/reports", json=body) for _ in range(1000)]
    assert {answer.status_code for answer in answers} == {201}
    assert {answer.json()["id"] for answer in answers} == {first["id"]}
    wait_until(lambda: not unfinished(scene.database))
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert (verdict.reports, verdict.lost, verdict.duplicates) == (1, [], 0)
    assert verdict.receipts == verdict.alerts


def test_every_send_verifies_while_secrets_are_rotated_under_load(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 27: rotated again and again with sends in flight; each verifies under the newest secret or the one before."""
    endpoint = serve(scene, nodes, recorder)
    sender = Sender(scene.base, scene.lab, "S")
    sender.start(pause=0.01)
    for _ in range(6):
        time.sleep(0.3)
        path = f"{scene.base}/v1/subscriptions/{endpoint}/rotate-secret"
        made = httpx.post(path, headers=scene.authority, json={"overlap_hours": 1}, timeout=20).json()
        recorder.secrets = [made["secret"], recorder.secrets[0]]
    sender.stop()
    wait_until(lambda: not unfinished(scene.database))
    verdict = check(scene.database, {endpoint: recorder}, [sender])
    assert verdict.receipts >= 6
    assert (verdict.lost, verdict.unverified, verdict.duplicates) == ([], 0, 0), str(verdict)


def resident_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return float(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def test_ten_thousand_alerts_at_once_keep_their_order_and_their_memory(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 25: a backlog of 10,000 notices; level 4 goes first, p99 at most 5 s; the worker's memory stays bounded."""
    server = nodes.fork("serve", scene.url, port=scene.port)
    wait_for_service(scene.base)
    endpoint = subscribe(scene, recorder)
    nodes.kill(server)
    flood(scene.database, endpoint, FLOOD, level=1)
    worker = nodes.fork("worker", scene.url)
    wait_until(lambda: len(recorder.alerts()) >= 20, 60)
    before = resident_mib(worker)
    begun = time.monotonic()
    flood(scene.database, endpoint, URGENT, level=4)
    wait_until(lambda: len(levels(recorder, 4)) == URGENT, 30)
    waits = sorted(receipt.at - begun for receipt in levels(recorder, 4))
    assert waits[-1] <= 5.0, waits
    assert resident_mib(worker) - before < 80
    nodes.kill(worker)
    with scene.database.read() as session:
        left = session.scalar(select(func.count()).select_from(Task).where(Task.topic == "deliver", Task.state != "done"))
    assert left is not None
    assert left > FLOOD * 0.5  # the urgent ones did not merely come last


def levels(recorder: Recorder, level: int) -> list[Any]:
    return [receipt for receipt in recorder.alerts() if receipt.document["data"]["level"] == level]


def flood(database: Database, endpoint: str, count: int, *, level: int) -> None:
    """So many issued alerts, each with its delivery to one endpoint due now."""
    now = datetime.now(UTC)
    alerts, revisions, tasks = [], [], []
    for _ in range(count):
        alert = new_id()
        alerts.append(
            {"id": alert, "type": "industry", "dedupe_key": f"industry:{alert}", "rule": "industry/1", "level": level,
             "tlp": "GREEN", "state": "issued", "revision": 1, "received_at": now, "created_at": now, "issued_at": now,
             "updated_at": now, "country": "DE", "reviewed": True, "controlled": False, "test": False, "needs_approval": False}
        )  # fmt: skip
        revisions.append(
            {"alert_id": alert, "revision": 1, "msg_type": "Alert", "audience": "full", "reviewed": True, "level": level,
             "state": "issued", "tlp": "GREEN", "headline": "h", "short": "s", "summary": "s", "full": "f", "instruction": "i",
             "numbers": {}, "countries": ["DE"], "sent_at": now, "cap_identifier": f"{alert}.1"}
        )  # fmt: skip
        tasks.append(
            task_values(
                topic="deliver", key=f"{alert}.1:{endpoint}", lane=endpoint, priority=level, now=now, seq_no=1,
                payload={"alert": alert, "revision": 1, "subscription": endpoint}, seq_group=f"{endpoint}:{alert}",
            )
        )  # fmt: skip
    with database.write() as session:
        for model, rows in ((Alert, alerts), (AlertRevision, revisions), (Task, tasks)):
            known = {column.name for column in model.__table__.columns}
            session.execute(insert(model), [{key: value for key, value in row.items() if key in known} for row in rows])


def test_a_clock_an_hour_off_loses_no_task_and_one_off_from_the_database_stops_sending(scene: Scene) -> None:
    """Row 22. On SQLite the host's clock is the only one: after a jump back the tasks wait, and none is dead or lost."""
    context = context_of(scene.url)
    worker = Worker(context, schedule=False)
    worker._clock_checked = -1e9
    assert worker._clock_agrees()
    real = context.now
    for hours in (1, -1):
        context.now = lambda hours=hours: real() + timedelta(hours=hours)  # type: ignore[misc]
        worker._clock_checked = -1e9
        assert worker._clock_agrees() is scene.database.is_sqlite
        Scheduler(context).catch_up()
    context.now = real
    assert Scheduler(context).catch_up() == 0
    with scene.database.read() as session:
        ticks = session.scalars(select(Task.key).where(Task.topic == "tick")).all()
        assert len(ticks) == len(set(ticks))
        assert session.scalar(select(func.count()).select_from(Task).where(Task.state == "dead")) == 0
    context.structures.close()
    context.database.dispose()


def test_rows_of_the_first_version_are_worked_off_by_this_one(scene: Scene, nodes: Mould, recorder: Recorder) -> None:
    """Row 30: what a process of the first version writes, naming only the columns that it knew, this version claims and sends."""
    endpoint = serve(scene, nodes, recorder)
    source = ast.parse((ROOT / "alembic" / "versions" / "0001_the_first_tables.py").read_text())
    known = {
        column.args[0].value
        for call in ast.walk(source)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "op.create_table" and ast.unparse(call.args[0]) == "'task'"
        for column in call.args[1:]
        if isinstance(column, ast.Call) and ast.unparse(column.func) == "sa.Column" and isinstance(column.args[0], ast.Constant)
    }
    values = task_values(
        topic="ping", key="first-version", lane=f"ping:{endpoint}", priority=9, now=datetime.now(UTC),
        payload={"subscription": endpoint, "nonce": "n", "activates": False,
                 "body": json.dumps({"type": "ping", "timestamp": "t", "data": {"nonce": "n"}}, separators=(",", ":"))},
    )  # fmt: skip
    values = {name: value for name, value in values.items() if name in known and value is not None}
    columns = ", ".join(values)
    marks = ", ".join(f":{name}" for name in values)
    with scene.database.write() as session:
        bound = {name: json.dumps(value) if name == "payload" else value for name, value in values.items()}
        if scene.database.is_sqlite:
            session.execute(insert(Task.__table__).values(**values))
        else:
            session.execute(text(f"INSERT INTO task ({columns}) VALUES ({marks})"), bound)
    wait_until(lambda: any(receipt.id == f"msg_{values['id']}" for receipt in recorder.receipts))


def test_migrations_only_expand() -> None:
    """Row 30: nothing that an older process reads or writes is dropped, renamed or made compulsory."""
    forbidden = {"drop_table", "drop_column", "rename_table"}
    for path in sorted((ROOT / "alembic" / "versions").glob("*.py"))[1:]:
        upgrade = next(n for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef) and n.name == "upgrade")
        for call in (n for n in ast.walk(upgrade) if isinstance(n, ast.Call)):
            name = ast.unparse(call.func).rpartition(".")[2]
            assert name not in forbidden, f"{path.name}: {name}"
            if name == "add_column":
                column = call.args[-1]
                assert isinstance(column, ast.Call)
                words = {word.arg: ast.unparse(word.value) for word in column.keywords}
                assert words.get("nullable") != "False" or "server_default" in words, f"{path.name}: {ast.unparse(column)}"


def test_a_database_of_an_hour_ago_sends_again_under_the_same_ids(
    scene: Scene, tmp_path: Path, nodes: Mould, recorder: Recorder
) -> None:
    """Row 31: restored from a backup taken before anything was fanned out; what was sent since goes again under the same ids,
    and the feed carries another generation, so that readers begin again.
    """
    server = nodes.fork("serve", scene.url, port=scene.port)
    wait_for_service(scene.base)
    endpoint = subscribe(scene, recorder)
    nodes.kill(server)
    server = nodes.fork("serve", scene.url, port=scene.port, worker=False)
    wait_for_service(scene.base)
    sender = Sender(scene.base, scene.lab, "S")
    sender.insist("R-1")
    secret = context_of(scene.url).secret
    write_backup(scene.database, tmp_path / "backup", secret=secret, now=datetime.now(UTC))
    with scene.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Task).where(Task.topic == "deliver")) == 0
    worker = nodes.fork("worker", scene.url)
    wait_until(lambda: recorder.alerts() and not unfinished(scene.database))
    before = httpx.get(f"{scene.base}/v1/events?after=0", headers=scene.authority, timeout=20).json()
    nodes.kill(worker)
    nodes.kill(server)
    sent = {receipt.id for receipt in recorder.alerts()}
    wipe(scene.database)
    restore(scene.database, tmp_path / "backup", secret=secret, rotate=False, now=datetime.now(UTC))
    nodes.fork("serve", scene.url, port=scene.port)
    wait_for_service(scene.base)
    wait_until(lambda: not unfinished(scene.database))
    after = httpx.get(f"{scene.base}/v1/events?after=0", headers=scene.authority, timeout=20).json()
    assert sent
    assert {receipt.id for receipt in recorder.alerts()} == sent
    assert before["generation"] != after["generation"]
    assert [item["data"]["id"] for item in after["items"]] == [item["data"]["id"] for item in before["items"]]
    assert check(scene.database, {endpoint: recorder}, [sender]).lost == []
    with scene.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Report)) == 1
        assert session.scalar(select(func.count()).select_from(Subscription)) == 1
