"""Backup and restore of a running service, on both databases and across them; erasure; the doctor."""

from __future__ import annotations

import fcntl
import json
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, OperationalError

from app.audit.seals import seal_due
from app.audit.verify import verify
from app.cli import main
from app.operations.backup import BackupError, check_file, snapshot, write_backup
from app.operations.copying import copy, standing_still
from app.operations.doctor import examine
from app.operations.erase import EraseError, erase
from app.operations.keys import fingerprint
from app.operations.restore import restore
from app.operations.rows import tables, tally_of
from app.persistence.models import (
    Alert,
    AlertRevision,
    AuditEntry,
    Detection,
    HarmCase,
    Report,
    ReportVersion,
    Subscription,
    Substance,
)
from app.persistence.rollups import differences
from app.persistence.session import Database
from app.settings import Settings
from tests.conftest import NOW, Service

SECRET = Settings(NPS_SECRET_KEY="for tests only").secret()


@pytest.fixture
def busy(service: Service, example_report: dict[str, Any]) -> Service:
    """A service with reports, a correction, alerts, endpoints, an answer and sealed minutes."""
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    wish = {"channel": "webhook", "url": "https://authority.example/hook", "tlp_max": "AMBER"}
    assert service.client.post("/v1/subscriptions", json=wish, headers=authority).status_code == 201
    for number in range(4):
        report = {**example_report, "lab_reference": f"B-{number}", "tlp": ("GREEN", "AMBER")[number % 2]}
        sent = service.client.post("/v1/reports", json=report, headers=lab)
        assert sent.status_code == 201, sent.text
    path = f"/v1/reports/{sent.json()['id']}"
    assert service.client.put(path, json={**report, "comment": "again"}, headers={**lab, "If-Match": '"1"'}).status_code == 200
    service.clock.at += timedelta(minutes=3)
    with service.context.database.write() as session:
        seal_due(session, service.clock())
        first, second = session.scalars(select(Substance).order_by(Substance.id).limit(2))
        second.merged_into = first.id  # a row that points into its own table
    return service


def _hashes(database: Database) -> dict[str, str]:
    with database.engine.connect() as connection:
        return {table.name: tally_of(connection, table).sha256 for table in tables() if table.name != "service_state"}


@pytest.fixture
def another(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[str], Database]:
    """An empty database of a kind, to restore into."""
    made: list[Database] = []

    def make(kind: str) -> Database:
        if kind == "sqlite":
            database = Database(f"sqlite:///{tmp_path / 'restored' / 'nps.sqlite'}")
        else:
            address = request.getfixturevalue("postgres_address").replace("postgresql://", "postgresql+psycopg://", 1)
            admin = Database(address)
            with admin.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("DROP DATABASE IF EXISTS restored"))
                connection.execute(text("CREATE DATABASE restored"))
            database = Database(admin.engine.url.set(database="restored").render_as_string(hide_password=False))
            admin.dispose()
        made.append(database)
        return database

    yield make
    for database in made:
        database.dispose()


@pytest.mark.parametrize("target", ["sqlite", "postgres"])
def test_a_restore_gives_the_same_hashes_of_reports_alerts_and_audit_chain(
    busy: Service, another: Callable[[str], Database], tmp_path: Path, target: str
) -> None:
    file = tmp_path / "nps.backup"
    manifest = write_backup(busy.context.database, file, secret=SECRET, now=NOW)
    assert manifest.tables["report"]["rows"] == 4
    assert file.stat().st_mode & 0o077 == 0
    before = _hashes(busy.context.database)
    restored = another(target)
    done = restore(restored, file, secret=SECRET, rotate=False, now=NOW)
    after = _hashes(restored)
    for table in ("report", "report_version", "detection", "harm_case", "alert", "alert_revision", "audit_seal", "subscription"):
        assert after[table] == before[table], table
    assert {name for name in before if before[name] != after[name]} <= {"audit_entry"}  # the restore itself is an entry
    with restored.read(patient=True) as session, busy.context.database.read(patient=True) as original:
        assert verify(session).findings == []
        assert verify(session).last == verify(original).last
        assert session.scalar(select(Substance.merged_into).where(Substance.merged_into.is_not(None))) is not None
    assert done.disabled == 0
    assert list(differences(restored)) == []
    with restored.engine.connect() as connection:
        assert connection.scalar(text("SELECT sum(n) FROM detection_cell")) == 8  # derived anew, and folded


def test_an_installation_moves_to_another_database_with_every_row(busy: Service, another: Callable[[str], Database]) -> None:
    source = busy.context.database
    before = _hashes(source)
    target = another("postgres" if source.is_sqlite else "sqlite")
    told: dict[str, str] = {}
    rows = copy(source, target, said=lambda table, tally: told.update({table: tally.sha256}))
    after = _hashes(target)
    assert after == before
    assert told == before | {"service_state": told["service_state"]}
    assert rows > 40
    with target.read(patient=True) as session:
        assert verify(session).findings == []
    with pytest.raises(BackupError, match="not empty"):
        copy(source, target)


def test_a_snapshot_may_stand_still_while_the_other_side_is_counted(
    another: Callable[[str], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than a transaction may that writes; for which the time stays as it was."""
    monkeypatch.setattr("app.persistence.session.IDLE_IN_TRANSACTION_MS", 200)
    server = another("postgres")
    with snapshot(server) as connection:
        assert connection.scalar(text("SELECT 1")) == 1
        time.sleep(0.6)
        assert connection.scalar(text("SELECT 1")) == 1
    with server.engine.connect() as connection:
        connection.scalar(text("SELECT 1"))
        time.sleep(0.6)
        with pytest.raises(DBAPIError, match="idle-in-transaction"):
            connection.scalar(text("SELECT 1"))
        connection.invalidate()


def test_an_embedded_installation_is_not_copied_while_a_service_works_on_it(
    sqlite_service: Service, another: Callable[[str], Database], tmp_path: Path
) -> None:
    database = sqlite_service.context.database
    lock = database.worker_lock
    assert lock is not None
    with lock.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="stop it first"), standing_still(database):
            pass
    impatient = Database(database.url)
    with impatient.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
        connection.rollback()
        with standing_still(database), pytest.raises(OperationalError, match="locked"):
            connection.exec_driver_sql("UPDATE organisation SET name = name")
    impatient.dispose()


def test_a_backup_of_a_service_that_is_written_to_is_one_moment(
    busy: Service, another: Callable[[str], Database], tmp_path: Path, example_report: dict[str, Any]
) -> None:
    lab = busy.key("lab", "FR")
    stop = threading.Event()
    answers: list[int] = []

    def write() -> None:
        while not stop.is_set():
            report = {**example_report, "lab_reference": f"W-{len(answers)}"}
            answers.append(busy.client.post("/v1/reports", json=report, headers=lab).status_code)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(answers) < 5:
            pass
        write_backup(busy.context.database, tmp_path / "live.backup", secret=SECRET, now=NOW)
        reached = len(answers)
        while len(answers) < reached + 3:
            pass
    finally:
        stop.set()
        writer.join()
    assert set(answers) == {201}
    restored = another("sqlite")
    restore(restored, tmp_path / "live.backup", secret=SECRET, rotate=False, now=NOW)
    with restored.read() as session:
        reports = session.scalar(select(func.count()).select_from(Report))
        versions = session.scalar(select(func.count(ReportVersion.report_id.distinct())))
        told = session.scalar(select(func.count()).select_from(AuditEntry).where(AuditEntry.door == "POST /v1/reports"))
        assert reports == versions == told
        assert reports is not None
        assert reports < len(answers) + 4


def test_another_secret_key_is_refused_unless_told_to_rotate(
    busy: Service, another: Callable[[str], Database], tmp_path: Path
) -> None:
    file = tmp_path / "nps.backup"
    write_backup(busy.context.database, file, secret=SECRET, now=NOW)
    restored = another("sqlite")
    for secret in (b"x" * 32, None):
        with pytest.raises(BackupError, match=f"fingerprint {fingerprint(SECRET)}"):
            restore(restored, file, secret=secret, rotate=False, now=NOW)
    done = restore(restored, file, secret=b"x" * 32, rotate=True, now=NOW)
    assert done.disabled == 1
    with restored.read() as session:
        (endpoint,) = session.scalars(select(Subscription))
        assert (endpoint.state, endpoint.secrets) == ("disabled", [])


def test_a_damaged_backup_a_full_database_and_a_present_file_are_refused(
    busy: Service, another: Callable[[str], Database], tmp_path: Path
) -> None:
    file = tmp_path / "nps.backup"
    write_backup(busy.context.database, file, secret=SECRET, now=NOW)
    with pytest.raises(BackupError, match="overwrites nothing"):
        write_backup(busy.context.database, file, secret=SECRET, now=NOW)
    with pytest.raises(BackupError, match="not empty"):
        restore(busy.context.database, file, secret=SECRET, rotate=False, now=NOW)

    altered = tmp_path / "altered.backup"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(altered, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b"seizure", b"collected") if name == "tables/sample.ndjson" else data)
    with pytest.raises(BackupError, match="table sample"):
        check_file(altered)
    cut = tmp_path / "cut.backup"
    cut.write_bytes(file.read_bytes()[:-200])
    restored = another("sqlite")
    with pytest.raises(BackupError, match="cannot be read as a backup"):
        restore(restored, cut, secret=SECRET, rotate=False, now=NOW)


def test_a_backup_holds_no_secret_in_clear(busy: Service, tmp_path: Path) -> None:
    file = tmp_path / "nps.backup"
    write_backup(busy.context.database, file, secret=SECRET, now=NOW)
    with zipfile.ZipFile(file) as archive:
        content = b"".join(archive.read(name) for name in archive.namelist())
    assert b"for tests only" not in content
    assert b"whsec_" not in content
    assert SECRET not in content


def test_the_command_line_backs_up_restores_and_needs_the_key(
    busy: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", busy.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    run = CliRunner().invoke(main, ["backup", str(tmp_path / "b")])
    assert run.exit_code == 0, run.output
    assert "read back and equal" in run.output
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("NPS_SECRET_KEY")
    monkeypatch.setenv("NPS_DATA_DIR", str(tmp_path / "new"))
    run = CliRunner().invoke(main, ["restore", str(tmp_path / "b")])
    assert run.exit_code == 1
    assert "--rotate-secrets" in run.output
    run = CliRunner().invoke(main, ["restore", str(tmp_path / "b"), "--rotate-secrets"])
    assert run.exit_code == 0, run.output
    assert "1 webhooks are disabled" in run.output
    run = CliRunner().invoke(main, ["audit", "verify"])
    assert run.exit_code == 0, run.output


def test_an_erased_report_leaves_a_tombstone_and_its_recipients_hear(service: Service, example_report: dict[str, Any]) -> None:
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    report = {**example_report, "comment": "free text"}
    sent = service.client.post("/v1/reports", json=report, headers={**lab, "Idempotency-Key": "k"}).json()
    database = service.context.database
    with database.read() as session:
        original = session.get_one(ReportVersion, (sent["id"], 1)).body_sha256
    with database.write() as session:
        done = erase(session, sent["id"], basis="Art. 17 GDPR, decision 4/2026", actor="cli:test", now=service.clock())
    assert done.versions[0] == original
    assert set(done.alerts) == set(sent["alerts"])
    with database.read() as session:
        version = session.get_one(ReportVersion, (sent["id"], 1))
        assert json.loads(version.body) == {
            "erased": "2026-11-24T12:00:00+00:00", "basis": "Art. 17 GDPR, decision 4/2026", "sha256": original,
        }  # fmt: skip
        for model in (Detection, HarmCase):
            assert session.scalar(select(func.count()).select_from(model)) == 0
        states = set(session.scalars(select(Alert.state)))
        assert states == {"retracted"}
        assert set(session.scalars(select(AlertRevision.msg_type).where(AlertRevision.revision == 2))) == {"Cancel"}
    with database.engine.connect() as connection:
        everything = "".join(
            "".join(line for line in _lines(connection, name)) for name in ("report", "report_version", "sample")
        )
    for content in (example_report["lab_reference"], "free text", "oxycodone", "DE-BE", "2026-11-03"):
        assert content not in everything
    alert = service.client.get(f"/v1/alerts/{sent['alerts'][0]}", headers=authority).json()
    assert alert["state"] == "retracted"
    shown = service.client.get(f"/v1/reports/{sent['id']}", headers=lab).json()
    assert (shown["state"], shown["substances"], shown["cases"]) == ("withdrawn", [], [])
    assert service.client.get("/v1/reports", headers=lab).status_code == 200
    with pytest.raises(EraseError, match="was erased"), database.write() as session:
        erase(session, sent["id"], basis="x", actor="cli:test", now=service.clock())
    with pytest.raises(EraseError, match="--basis"), database.write() as session:
        erase(session, sent["id"], basis=" ", actor="cli:test", now=service.clock())


def _lines(connection: Any, name: str) -> list[str]:
    from app.operations.rows import lines_of

    return list(lines_of(connection, next(table for table in tables() if table.name == name)))


def _fine(_: date) -> list[str]:
    return []


def _by_name(found: list[Any]) -> dict[str, Any]:
    return {finding.what: finding for finding in found}


def test_the_doctor_finds_a_healthy_installation_healthy(service: Service) -> None:
    found = examine(service.context.settings, now=NOW, schedules=_fine)
    assert [finding for finding in found if finding.fails] == []
    assert {"address", "secret key", "migrations", "durability", "audit", "worker", "schedules", "mail", "disk"} <= set(
        _by_name(found)
    )


def test_the_doctor_names_each_mend(service: Service, tmp_path: Path) -> None:
    settings = service.context.settings.model_copy(
        update={"base_url": "http://nps.example", "smtp_url": "smtp://127.0.0.1:1", "data_dir": tmp_path}
    )
    with service.context.database.engine.begin() as connection:
        connection.execute(
            text(
                "DROP TRIGGER audit_entry_no_update"
                if service.context.database.is_sqlite
                else "DROP TRIGGER audit_entry_append_only ON audit_entry"
            )
        )
    service.client.post(
        "/v1/subscriptions", json={"channel": "webhook", "url": "https://a.example/h"}, headers=service.key("authority", "DE")
    )
    other_key = settings.model_copy(update={"secret_key": "another key, as long as it should be"})
    found = _by_name(examine(other_key, now=NOW + timedelta(hours=1), schedules=lambda _: ["rule x does not hold"]))
    for what in ("address", "audit", "schedules", "mail", "stored secrets", "worker", "seals"):
        assert found[what].fails, what
        assert found[what].mend
    gone = settings.model_copy(update={"database_url": "postgresql://127.0.0.1:1/nps"})
    assert _by_name(examine(gone, now=NOW, schedules=_fine))["database"].fails


def test_the_doctor_sees_a_key_file_that_others_can_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_DATA_DIR", str(tmp_path))
    CliRunner().invoke(main, ["orgs", "list"])
    (tmp_path / "secret-key").write_text("AAAA")
    (tmp_path / "secret-key").chmod(0o644)
    run = CliRunner().invoke(main, ["doctor"])
    assert run.exit_code == 1
    assert "chmod 600" in run.output
