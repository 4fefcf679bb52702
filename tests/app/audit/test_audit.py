"""The audit log: what enters it, what does not, and that nobody alters it unseen."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from app.audit.seals import seal_due
from app.audit.verify import verify
from app.auth.doors import DOORS
from app.cli import main
from app.persistence.models import AuditEntry, AuditSeal
from app.scheduler import insert_tick
from app.worker import Worker
from tests.conftest import Service


def _entries(service: Service, **where: Any) -> list[AuditEntry]:
    with service.context.database.read() as session:
        query = select(AuditEntry).order_by(AuditEntry.id)
        for column, value in where.items():
            query = query.where(getattr(AuditEntry, column) == value)
        return list(session.scalars(query))


def _seal(service: Service) -> int:
    with service.context.database.write() as session:
        return seal_due(session, service.clock())


def _tamper(service: Service, *statements: str) -> None:
    """What somebody with the database in hand can do: take the triggers away and change rows."""
    with service.context.database.engine.begin() as connection:
        for table in ("audit_entry", "audit_seal"):
            if service.context.database.is_sqlite:
                for verb in ("update", "delete"):
                    connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_no_{verb}"))
            else:
                connection.execute(text(f"DROP TRIGGER IF EXISTS {table}_append_only ON {table}"))
        for statement in statements:
            connection.exec_driver_sql(statement)


def _copy(entry: AuditEntry, new: str) -> str:
    columns = "at, kind, actor, org_id, door, request_id, objects"
    return f"INSERT INTO audit_entry (id, {columns}) SELECT '{new}', {columns} FROM audit_entry WHERE id = '{entry.id}'"


@pytest.fixture
def busy(service: Service, example_report: dict[str, Any]) -> Service:
    """Five minutes with reports, all sealed: two in the first minute, one in each other."""
    lab = service.key("lab", "DE")
    for number in range(6):
        sent = service.client.post("/v1/reports", json={**example_report, "lab_reference": f"A-{number}"}, headers=lab)
        assert sent.status_code == 201
        service.clock.at += timedelta(minutes=min(number, 1))
    service.clock.at += timedelta(minutes=2)
    assert _seal(service) >= 5
    return service


def test_a_report_is_one_entry_in_its_own_transaction_with_ids_and_no_content(
    service: Service, example_report: dict[str, Any]
) -> None:
    lab = service.key("lab", "DE", name="lab")
    sent = service.client.post("/v1/reports", json=example_report, headers=lab)
    (entry,) = _entries(service, door="POST /v1/reports")
    assert entry.kind == "write"
    assert entry.actor.startswith("key:")
    assert entry.org_id == service.org_id("lab")
    assert entry.request_id == sent.headers["x-request-id"]
    assert entry.at == service.clock()
    assert entry.objects["created"]["report"] == [sent.json()["id"]]
    assert set(sent.json()["alerts"]) <= set(entry.objects["created"]["alert"])
    assert entry.objects["created"]["detection"] == 2
    assert entry.objects["created"]["harm_case"] == 1
    told = json.dumps(entry.objects)
    for secret in ("fluorofentanyl", "CCC(=O)", example_report["lab_reference"], "oxycodone"):
        assert secret not in told


def test_a_refused_or_dry_report_leaves_no_entry(service: Service, example_report: dict[str, Any]) -> None:
    lab = service.key("lab", "DE")
    assert service.client.post("/v1/reports?dry_run=true", json=example_report, headers=lab).status_code == 200
    assert service.client.post("/v1/reports", json={**example_report, "tlp": "PINK"}, headers=lab).status_code == 422
    assert _entries(service, door="POST /v1/reports") == []


def test_every_read_of_a_case_or_an_amber_row_is_told(service: Service, example_report: dict[str, Any]) -> None:
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    reviewer, abroad = service.key("reviewer", "CH"), service.key("authority", "FR")
    amber = service.client.post("/v1/reports", json={**example_report, "tlp": "AMBER", "cases": []}, headers=lab).json()
    case = service.client.post("/v1/reports", json={**example_report, "lab_reference": "B"}, headers=lab).json()
    plain = service.client.post("/v1/reports", json={**example_report, "lab_reference": "C", "cases": []}, headers=lab).json()

    for headers in (authority, reviewer):
        before = len(_entries(service, kind="read"))
        for report in (amber, case, plain):
            assert service.client.get(f"/v1/reports/{report['id']}", headers=headers).status_code == 200
        read = _entries(service, kind="read")[before:]
        assert [entry.objects.get("report") for entry in read] == [[amber["id"]], None]
        assert len(read[1].objects["case"]) == 1
        assert {entry.door for entry in read} == {"GET /v1/reports/{report_id}"}
    listed = service.client.get("/v1/reports", headers=authority)
    (entry,) = _entries(service, request_id=listed.headers["x-request-id"])
    assert (entry.objects["report"], len(entry.objects["case"])) == ([amber["id"]], 1)

    before = len(_entries(service, kind="read"))
    assert service.client.get(f"/v1/reports/{amber['id']}", headers=abroad).status_code == 404
    assert service.client.get(f"/v1/reports/{plain['id']}", headers=abroad).status_code == 200
    assert len(_entries(service, kind="read")) == before


def test_screening_and_the_use_of_a_key_leave_no_entry(sqlite_service: Service) -> None:
    industry = sqlite_service.key("industry", "GB")
    before = len(_entries(sqlite_service))
    body = {"structures": [{"name": "secret-1", "smiles": "CNC(C)C(=O)c1ccccc1"}]}
    assert sqlite_service.client.post("/v1/screen", json=body, headers=industry).status_code == 200
    assert len(_entries(sqlite_service)) == before


def test_every_door_noted_is_a_door_of_the_table(busy: Service) -> None:
    doors = {entry.door for entry in _entries(busy)} - {""}
    assert doors
    assert doors <= set(DOORS)


def test_the_trail_refuses_update_and_delete(busy: Service) -> None:
    for statement in (
        "UPDATE audit_entry SET actor = 'nobody'", "DELETE FROM audit_entry", "DELETE FROM audit_seal",
        "UPDATE audit_seal SET sha256 = 'x'",
    ):  # fmt: skip
        with pytest.raises(DBAPIError, match="only ever added to"), busy.context.database.engine.begin() as connection:
            connection.execute(text(statement))


def test_an_untouched_trail_verifies_and_a_noted_seal_stays_in_it(busy: Service) -> None:
    with busy.context.database.read(patient=True) as session:
        found = verify(session)
        assert (found.findings, found.unsealed) == ([], 0)
        assert found.entries >= 6
        assert verify(session, known=[found.last]).findings == []
        assert verify(session, known=["f" * 64]).findings == [f"seal {'f' * 64} was noted down and is not in the chain"]


@pytest.mark.parametrize("how", ["changed", "removed", "inserted", "reordered", "moved", "seal removed", "seal rewritten"])
def test_verify_names_what_was_altered(busy: Service, how: str) -> None:
    entry, other = _entries(busy, door="POST /v1/reports")[2:4]
    with busy.context.database.read() as session:
        wide = next(seal for seal in session.scalars(select(AuditSeal)) if len(seal.entries) > 1)
    swapped = json.dumps(list(reversed(wide.entries)))
    statement, expected = {
        "changed": (f"UPDATE audit_entry SET actor = 'key:x' WHERE id = '{entry.id}'", f"entry {entry.id} of"),
        "removed": (f"DELETE FROM audit_entry WHERE id = '{entry.id}'", f"entry {entry.id} of"),
        "inserted": (_copy(entry, "01JD00000000000000000000XX"), "entry 01JD00000000000000000000XX of"),
        "reordered": (f"UPDATE audit_seal SET entries = '{swapped}' WHERE seq = {wide.seq}", "were reordered"),
        "moved": (
            f"UPDATE audit_entry SET at = (SELECT at FROM audit_entry WHERE id = '{other.id}') WHERE id = '{entry.id}'",
            f"entry {entry.id} of",
        ),
        "seal removed": ("DELETE FROM audit_seal WHERE seq = 3", "seals 3 to 3 were removed"),
        "seal rewritten": (f"UPDATE audit_seal SET sha256 = '{'0' * 63}1' WHERE seq = 3", "seal 3 of"),
    }[how]
    _tamper(busy, statement)
    with busy.context.database.read(patient=True) as session:
        findings = verify(session).findings
    assert any(expected in finding for finding in findings), findings


def test_what_commits_late_is_sealed_in_a_following_seal(busy: Service) -> None:
    entry = _entries(busy, door="POST /v1/reports")[5]
    with busy.context.database.engine.begin() as connection:
        connection.exec_driver_sql(_copy(entry, "01JD00000000000000000000LA"))
    busy.clock.at += timedelta(minutes=1)
    assert _seal(busy) == 1
    with busy.context.database.read(patient=True) as session:
        assert verify(session).findings == []
    assert _seal(busy) == 0


def test_the_minutes_tick_seals_through_the_worker(service: Service, example_report: dict[str, Any]) -> None:
    service.client.post("/v1/reports", json=example_report, headers=service.key("lab", "DE"))
    service.clock.at += timedelta(minutes=3)
    with service.context.database.write() as session:
        insert_tick(session, "seal", service.clock().replace(second=0), service.clock())
    Worker(service.context, schedule=False).run_due()
    with service.context.database.read(patient=True) as session:
        found = verify(session)
    assert (found.seals > 0, found.findings) == (True, [])


def test_the_command_line_verifies_exports_and_says_what_was_changed(busy: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", busy.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    run = CliRunner().invoke(main, ["audit", "verify"])
    assert run.exit_code == 0, run.output
    assert "nothing was altered" in run.output
    exported = CliRunner().invoke(main, ["audit", "export"])
    lines = [json.loads(line) for line in exported.output.splitlines()]
    assert lines[0]["format"] == "nps-audit-1"
    entries = [line["entry"] for line in lines if "entry" in line]
    seals = [line["seal"] for line in lines if "seal" in line]
    assert (len(entries), len(seals) >= 5) == (len(_entries(busy)), True)

    # an inspector computes the chain from the export and its first line alone
    def digest(entry: dict[str, Any]) -> str:
        document = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(document.encode()).hexdigest()

    digests = {entry["id"]: digest(entry) for entry in entries}
    for seal in seals:
        lines_ = "\n".join((seal["previous"], str(seal["seq"]), seal["minute"], *(digests[i] for i in seal["entries"])))
        assert hashlib.sha256(lines_.encode()).hexdigest() == seal["sha256"]

    altered = _entries(busy, door="POST /v1/reports")[1]
    _tamper(busy, f"UPDATE audit_entry SET org_id = NULL WHERE id = '{altered.id}'")
    run = CliRunner().invoke(main, ["audit", "verify"])
    assert run.exit_code == 1
    assert f"entry {altered.id} of" in run.output


def test_the_operator_pages_through_the_log_and_narrows_it(busy: Service) -> None:
    admin = busy.key("operator", "AT", "admin")
    seen: list[str] = []
    cursor = None
    while True:
        page = busy.client.get("/v1/audit", params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=admin).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sorted((entry.id for entry in _entries(busy)), reverse=True)
    lab = _entries(busy, door="POST /v1/reports")[0]
    narrowed = busy.client.get("/v1/audit", params={"actor": lab.actor, "limit": 500}, headers=admin).json()["items"]
    assert {item["actor"] for item in narrowed} == {lab.actor}
    assert busy.client.get("/v1/audit", headers=busy.key("operator", "AT", "analyst")).status_code == 403


def test_a_read_of_an_amber_incident_or_statement_is_told_too(service: Service) -> None:
    sender, authority = service.key("lab", "DE"), service.key("authority", "DE")
    incident = {"reference": "C-1", "kind": "seizure", "date": "2026-11-02", "tlp": "AMBER", "substances": [{"name": "fentanyl"}]}
    activity = {"period": "2026-10", "samples_tested": 40, "tlp": "AMBER"}
    ids = {}
    for path, table, body in (("incidents", "incident", incident), ("activity-reports", "activity_report", activity)):
        sent = service.client.post(f"/v1/{path}", json=body, headers=sender)
        assert sent.status_code == 201, sent.text
        ids[table] = sent.json()["id"]
        listed = service.client.get(f"/v1/{path}", headers=authority)
        assert [row["id"] for row in listed.json()["items"]] == [ids[table]]
        (entry,) = _entries(service, request_id=listed.headers["x-request-id"])
        assert (entry.kind, entry.objects[table]) == ("read", [ids[table]])
