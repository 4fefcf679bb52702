"""The operator looks something up in the audit trail: each filter, page after page, as CSV, and proved."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.audit.search import ACTIONS, Asked, found, lines
from app.persistence.models import AuditEntry
from tests.conftest import Service
from tests.factories import NOW
from tests.site import client_of, close_site, make_site, signed_in, token_in

ADMIN = "admin.at@example.org"
HEAD = ["entry", "at", "action", "table", "rows", "ids", "actor", "organisation", "door", "request"]


def _entry(n: int, days: int, actor: str, door: str, objects: dict[str, Any], kind: str = "write") -> AuditEntry:
    return AuditEntry(
        id=f"01JDAAAA0000000000000000{n:02d}", at=NOW - timedelta(days=days), kind=kind, actor=actor, org_id="ORG", door=door,
        request_id=f"REQUEST{n}", objects=objects,
    )  # fmt: skip


TRAIL = (
    _entry(0, 60, "person:ANNA", "POST /v1/reports", {"created": {"report": ["OLD"], "detection": 3}}),
    _entry(1, 3, "key:LAB", "PUT /v1/reports/{report_id}", {"changed": {"report": ["OLD"]}, "created": {"alert": ["A1"]}}),
    _entry(2, 2, "key:=1+1", "GET /v1/reports", {"report": ["OLD"], "case": ["C1", "C2"]}, "read"),
    _entry(3, 1, "person:ANNA", "POST /accounts/keys", {"deleted": {"api_key": [f"K{n}" for n in range(9)]}}),
)
NAMES = {entry.request_id for entry in TRAIL}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = make_site(tmp_path_factory.mktemp("audit"))
    with made.state.context.database.write() as session:
        session.add_all(TRAIL)
    yield made
    close_site(made)


@pytest.fixture(scope="module")
def admin(app: FastAPI) -> TestClient:
    return signed_in(app, ADMIN)


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("", {1, 2, 3}),  # the last 30 days
        ("since=", {0, 1, 2, 3}),
        ("since=2026-11-21&until=2026-11-22", {1, 2}),
        ("until=2026-09-25&since=", {0}),
        ("actor=person:ANNA", {3}),
        ("actor=ANNA&since=", {0, 3}),
        ("action=read", {2}),
        ("action=created", {1}),
        ("action=deleted", {3}),
        ("table=report", {1, 2}),
        ("action=changed&table=report&since=", {1}),
        ("action=created&table=report&since=", {0}),  # not the one that made an alert and changed a report
        ("action=read&table=case", {2}),
        ("about=OLD&since=", {0, 1, 2}),
        ("about=REQUEST3", {3}),
        ("about=OL", {1, 2}),  # how an id begins
        ("about=LD", set()),  # no id begins so
        ("action=nonsense&table=nonsense", {1, 2, 3}),
    ],
)
def test_a_search_is_a_list_and_the_same_file(admin: TestClient, query: str, numbers: set[int]) -> None:
    answer = admin.get(f"/ops/audit?{query}")
    assert answer.status_code == 200
    wanted = {f"REQUEST{n}" for n in numbers}
    assert set(re.findall(r"REQUEST\d", answer.text.partition("<tbody>")[2])) == wanted
    href = re.search(r'href="(/ops/audit\.csv[^"]*)"', answer.text)
    if not numbers:
        assert "No entry matches." in answer.text
        assert href is None
        return
    assert href
    stored = list(csv.reader(io.StringIO(admin.get(href.group(1).replace("&amp;", "&")).text)))
    assert stored[0] == HEAD
    assert {row[9] for row in stored[1:]} & NAMES == wanted


def test_the_file_has_a_line_for_each_action_and_table_and_no_formula(admin: TestClient) -> None:
    rows = list(csv.reader(io.StringIO(admin.get("/ops/audit.csv?since=2026-11-21&until=2026-11-22").text)))
    told = [(row[2], row[3], row[4], row[5], row[6]) for row in rows[1:] if row[9] in NAMES]
    assert told == [
        ("read", "report", "1", "OLD", "key:=1+1"), ("read", "case", "2", "C1 C2", "key:=1+1"),
        ("changed", "report", "1", "OLD", "key:LAB"), ("created", "alert", "1", "A1", "key:LAB"),
    ]  # fmt: skip
    assert rows[1][1] == "2026-11-22T12:00:00.000000+00:00"
    text = admin.get("/ops/audit?action=deleted").text
    assert "K4 and 4 more" in text
    assert "deleted api key" in text


def test_pages_follow_each_other_without_gap_and_keep_the_search(admin: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.audit.pages.LIMIT", 1)
    seen, path = [], "/ops/audit?since=&until=2026-11-23"
    while path:
        text = admin.get(path).text
        seen += re.findall(r"REQUEST\d", text.partition("<tbody>")[2])
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = following.group(1).replace("&amp;", "&") if following else ""
    assert seen == ["REQUEST3", "REQUEST2", "REQUEST1", "REQUEST0"]


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("since=soon", "since", "From: soon is not a date like 2026-11-24."),
        ("until=2026-13-01", "until", "Until: 2026-13-01 is not a date like 2026-11-24."),
        ("since=2026-11-24&until=2026-11-23", "until", "Until: give a day that is not before the first one."),
    ],
)
def test_a_period_that_is_none_is_said_at_its_field(admin: TestClient, query: str, field: str, text: str) -> None:
    answer = admin.get(f"/ops/audit?{query}")
    assert answer.status_code == 422
    assert f'<a href="#{field}">{text}</a>' in answer.text
    assert f'id="{field}-fault">{text}<' in answer.text
    assert "No entry matches." not in answer.text  # nothing was looked for
    assert admin.get(f"/ops/audit.csv?{query}").status_code == 422


def test_the_menu_of_the_administrator_leads_there_and_nobody_else_gets_in(app: FastAPI, admin: TestClient) -> None:
    menu = admin.get("/ops/audit").text.partition('<nav class="nav"')[2].partition("</nav>")[0]
    assert re.findall(r'<a href="([^"]+)" aria-current="page"', menu) == ["/ops/audit"]
    for email in ("analyst.at", "authority.de", "lab.de", "reviewer.ch", "industry.gb"):
        client = signed_in(app, f"{email}@example.org")
        assert "/ops/audit" not in client.get("/").text
        for path in ("/ops/audit", "/ops/audit.csv"):
            assert client.get(path).status_code == 403
    assert client_of(app).get("/ops/audit.csv").status_code == 303


def test_the_trail_is_proved_on_its_page(admin: TestClient) -> None:
    proved = admin.post("/ops/audit/verify", data={"csrf_token": token_in(admin.get("/ops/audit").text)})
    assert "Every entry is what it was" in proved.text


def test_both_databases_find_the_same(service: Service, example_report: dict[str, Any]) -> None:
    lab, admin = service.key("lab", "DE"), service.key("operator", "AT", "admin")
    sent = service.client.post("/v1/reports", json=example_report, headers=lab).json()
    service.client.get(f"/v1/reports/{sent['id']}", headers=service.key("authority", "DE"))
    with service.context.database.read() as session:
        entries = list(session.scalars(select(AuditEntry)))
        told = {(line.action, line.table) for entry in entries for line in lines(entry)}
        assert {("created", "report"), ("created", "detection"), ("read", "case")} <= told
        for action, table in told | {(action, "substance") for action in ACTIONS}:
            expected = {e.id for e in entries if (action, table) in {(line.action, line.table) for line in lines(e)}}
            asked = found(session, Asked(action=action, table=table), limit=500)[0]
            assert {entry.id for entry in asked} == expected, (action, table)
    day = f"{service.clock():%Y-%m-%d}"
    listed = service.client.get(f"/v1/audit?table=case&action=read&since={day}&until={day}", headers=admin).json()["items"]
    assert [item["door"] for item in listed] == ["GET /v1/reports/{report_id}"]
    assert service.client.get("/v1/audit?table=nonsense", headers=admin).json()["errors"][0]["pointer"] == "/table"
    assert service.client.get("/v1/audit?until=2020-01-01", headers=admin).json() == {"items": [], "next_cursor": None}
