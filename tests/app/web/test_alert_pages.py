"""Inbox and alert: what waits for whom, acknowledging and approving, what a reader may open."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import event, select
from starlette.testclient import TestClient

from app.notifications import service
from app.persistence.models import Acknowledgement, Alert, AlertApproval, Organisation
from tests.factories import NOW, World
from tests.site import client_of, sign_in, token_in

CLUSTER = "Six deaths: tablets sold as oxycodone contained a nitazene"
SPREAD = "Rapid spread of para-fluorofentanyl"
AUTHORITY = "authority.de@example.org"


def headlines(text: str) -> list[str]:
    return re.findall(r"data-open>([^<]+)<", text)


def alert_address(client: TestClient, headline: str) -> str:
    found = re.search(rf'href="(/alerts/[0-9A-Z]{{26}})"[^>]*>{re.escape(headline)}', client.get("/inbox?show=all").text)
    assert found, f"{headline} is not in the inbox"
    return found.group(1)


def test_the_inbox_opens_on_what_waits_overdue_first(as_role: dict[str, TestClient]) -> None:
    text = as_role["authority"].get("/inbox").text
    assert headlines(text) == [SPREAD, CLUSTER]
    assert "2 alerts, 1 overdue" in text
    assert "Overdue 3 h" in text
    assert 'href="/inbox" aria-current="page">Waiting 2' in text


def test_each_role_sees_the_alerts_of_its_label(as_role: dict[str, TestClient], public: TestClient) -> None:
    def seen(role: str) -> set[str]:
        return set(headlines(as_role[role].get("/inbox?show=all").text))

    clear = {"First report of 2-MMC in Germany"}
    green = clear | {SPREAD, "2-MMC: reported by mistake"}
    assert seen("authority") == green | {CLUSTER}
    assert seen("lab") == green | {CLUSTER}  # its own report raised it
    assert seen("other lab") == green
    assert seen("reviewer") == green
    assert seen("industry") == seen("admin") == clear
    hidden = alert_address(as_role["analyst"], CLUSTER)
    for client in (public, as_role["other lab"], as_role["reviewer"], as_role["industry"]):
        answer = client.get(hidden)
        assert answer.status_code == 404
        assert "oxycodone" not in answer.text
    assert public.get(alert_address(as_role["admin"], "First report of 2-MMC in Germany")).status_code == 200


def test_filters_narrow_the_inbox_and_can_be_removed(as_role: dict[str, TestClient]) -> None:
    text = as_role["authority"].get("/inbox?show=all&level=3&type=rapid_spread&country=FR").text
    assert headlines(text) == [SPREAD]
    assert "Remove level: 3 Alert" in text
    assert "Remove country: France" in text
    assert "No alert meets these filters." in as_role["authority"].get("/inbox?show=all&country=JP").text
    assert headlines(as_role["authority"].get("/inbox?show=all&country=%25%25").text)  # nonsense is no filter


def test_acknowledging_swaps_the_row_and_takes_focus(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, AUTHORITY)
    text = client.get("/inbox").text
    alert = alert_address(client, SPREAD)
    data = {"csrf_token": token_in(text), "back": "/inbox"}
    answer = client.post(f"{alert}/acknowledge", data=data, headers={"hx-request": "true"})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert "Acknowledged by you, 12:00 UTC" in answer.text
    assert "data-focus" in answer.text
    assert "hx-swap-oob" in answer.text
    assert ">1 alert<" in answer.text
    # a second click changes nothing
    fresh_site.state.context.now.now = NOW + timedelta(hours=1)
    again = client.post(f"{alert}/acknowledge", data=data, headers={"hx-request": "true"})
    assert "Acknowledged by you, 12:00 UTC" in again.text
    with fresh_site.state.context.database.read() as session:
        assert len(session.scalars(select(Acknowledgement)).all()) == 1
    assert headlines(client.get("/inbox").text) == [CLUSTER]
    assert headlines(client.get("/inbox?show=acknowledged").text) == [SPREAD]


def test_acknowledging_without_script_leads_back_and_keeps_the_row(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, AUTHORITY)
    alert = alert_address(client, SPREAD)
    token = token_in(client.get("/inbox").text)
    answer = client.post(f"{alert}/acknowledge", data={"csrf_token": token, "back": "/inbox", "note": " seen here too "})
    assert answer.status_code == 303
    path, _, fragment = answer.headers["location"].partition("#")
    text = client.get(path).text
    assert SPREAD in headlines(text)
    assert f'id="{fragment}"' in text
    page = client.get(alert).text
    assert "Acknowledged by you, 12:00 UTC" in page
    assert "Test authority DE acknowledged" in page
    assert "seen here too" in page


def test_acknowledging_needs_the_role_the_token_and_an_alert_one_may_see(fresh_site: FastAPI) -> None:
    authority, lab = client_of(fresh_site), client_of(fresh_site)
    sign_in(authority, AUTHORITY)
    sign_in(lab, "lab.de@example.org")
    alert = alert_address(authority, SPREAD)
    assert authority.post(f"{alert}/acknowledge", data={"csrf_token": "forged"}).status_code == 403
    assert lab.post(f"{alert}/acknowledge", data={"csrf_token": token_in(lab.get("/").text)}).status_code == 403
    assert client_of(fresh_site).post(f"{alert}/acknowledge").status_code == 303
    token = token_in(authority.get("/inbox").text)
    assert authority.post("/alerts/01ABCDEFGHJKMNPQRSTVWXYZ00/acknowledge", data={"csrf_token": token}).status_code == 404
    with fresh_site.state.context.database.read() as session:
        assert not session.scalars(select(Acknowledgement)).all()


def test_an_authority_that_opens_an_alert_has_seen_it_once_and_nobody_else_has(fresh_site: FastAPI) -> None:
    for email in ("lab.de@example.org", "analyst.at@example.org"):
        client = client_of(fresh_site)
        sign_in(client, email)
        assert client.get(alert_address(client, CLUSTER)).status_code == 200
    with fresh_site.state.context.database.read() as session:
        assert not session.scalars(select(Acknowledgement)).all()
    client = client_of(fresh_site)
    sign_in(client, AUTHORITY)
    for _ in range(2):
        assert client.get(alert_address(client, CLUSTER)).status_code == 200
    with fresh_site.state.context.database.read() as session:
        assert [row.kind for row in session.scalars(select(Acknowledgement))] == ["seen"]


def test_the_alert_page_says_how_sure_why_and_by_when(as_role: dict[str, TestClient]) -> None:
    text = as_role["authority"].get(alert_address(as_role["authority"], CLUSTER)).text
    assert "Acknowledge by <time" in text
    assert "(in 2 h)" in text
    assert "Unreviewed: issued by rule, not yet checked by a person." in text
    assert "cluster/v1" in text
    for name, value in (("Observed", "6"), ("Expected", "0.4"), ("Days", "30")):
        assert f"<dt>{name}</dt><dd>{value}</dd>" in text
    assert "TLP:AMBER" in text
    assert "N-Pyrrolidino protonitazene (confirmed)" in text


def test_evidence_above_the_readers_label_is_not_even_counted(fresh_site: FastAPI) -> None:
    with fresh_site.state.context.database.write() as session:
        world = World(session)
        org = session.scalars(select(Organisation).where(Organisation.name == "Test laboratory FR")).one()
        secret = world.detection(org, None, label="Secret powder", tlp="AMBER", country="FR")
        world.alert(None, headline="Spike", alert_type="spike", evidence=(secret,))
    client = client_of(fresh_site)
    sign_in(client, AUTHORITY)
    text = client.get(alert_address(client, "Spike")).text
    assert "No single report that you may open." in text
    assert "Secret powder" not in text


def test_a_retracted_alert_says_so_before_its_headline(as_role: dict[str, TestClient]) -> None:
    text = as_role["lab"].get(alert_address(as_role["lab"], "2-MMC: reported by mistake")).text
    assert text.index("<strong>Retracted.</strong>") < text.index("<h1>")


def test_an_analyst_approves_once_and_the_count_is_shown(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, "analyst.at@example.org")
    alert = alert_address(client, CLUSTER)
    text = client.get(alert).text
    assert "0 of 2 approvals, by different persons" in text
    answer = client.post(f"{alert}/approve", data={"csrf_token": token_in(text), "note": ""})
    assert answer.status_code == 303
    text = client.get(answer.headers["location"].partition("#")[0]).text
    assert "Your approval is counted: 1 of 2." in text
    assert "Approved by you" in text
    assert f'action="{alert}/approve"' not in text
    assert client.get("/inbox").text.count("data-row") == 0
    with fresh_site.state.context.database.read() as session:
        assert len(session.scalars(select(AlertApproval)).all()) == 1
        assert service.approvals_needed(session.get_one(Alert, alert.rpartition("/")[2])) == 2


def test_approving_is_for_analysts_alone(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, AUTHORITY)
    alert = alert_address(client, CLUSTER)
    assert "Approve" not in client.get(alert).text
    assert client.post(f"{alert}/approve", data={"csrf_token": token_in(client.get("/").text)}).status_code == 403


@pytest.mark.parametrize("role", ["authority", "analyst", "lab"])
def test_the_inbox_asks_a_constant_number_of_questions(site: FastAPI, as_role: dict[str, TestClient], role: str) -> None:
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN":
            statements.append(statement)

    engine = site.state.context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        as_role[role].get("/inbox?show=all")
    finally:
        event.remove(engine, "before_cursor_execute", note)
    # session; what the endpoints hold (authority, twice); rows; their count; what waits (authority, analyst); demonstration mark
    assert len(statements) == {"authority": 7, "analyst": 5, "lab": 4}[role]
