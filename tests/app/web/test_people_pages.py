"""Pages of endpoints, contacts, coverage, measures, notices, and the page behind a mail link."""

from __future__ import annotations

import re

from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.notifications import links
from app.persistence.models import (
    Acknowledgement,
    Alert,
    Attempt,
    Contact,
    Measure,
    Organisation,
    Subscription,
    Task,
)
from tests.factories import NOW
from tests.site import client_of, post, signed_in, token_in

NEW = "/subscriptions/new"
AUTHORITY, ANALYST, LAB = "authority.de@example.org", "analyst.at@example.org", "lab.de@example.org"


def alert_of(site: FastAPI, alert_type: str) -> str:
    with site.state.context.database.read() as session:
        return str(session.scalars(select(Alert.id).where(Alert.type == alert_type).order_by(Alert.id)).first())


def test_the_preview_says_the_number_of_the_alerts_it_lists(as_role: dict[str, TestClient]) -> None:
    client = as_role["authority"]
    for filters, total in (
        ("min_level=1&tlp_max=AMBER", 4),
        ("min_level=3", 1),
        ("min_level=1&countries=FR", 1),
        ("min_level=4", 0),
    ):
        text = client.get(f"/subscriptions/new?{filters}").text
        said = re.search(r"would have sent you (\d+|nothing)", text)
        assert said, filters
        listed = text.partition('id="preview-list"')[2].count('href="/alerts/')
        assert (said.group(1).replace("nothing", "0"), listed) == (str(total), total), filters
        shown = re.findall(r'href="(/alerts/[0-9A-Z]{26})"', text.partition('id="preview-list"')[2])
        assert all(client.get(path).status_code == 200 for path in shown)


def test_a_webhook_is_made_tried_paused_and_deleted_and_its_answer_is_inert(fresh_site: FastAPI) -> None:
    client = signed_in(fresh_site, AUTHORITY)
    wrong = post(client, NEW, NEW, step="save", channel="webhook", target="http://10.0.0.1/", countries="XX")
    assert wrong.status_code == 422
    assert "There is a problem" in wrong.text
    made = post(client, NEW, NEW, step="save", channel="webhook",
                target="https://authority.example/hook", min_level="3", countries="DE", types=["cluster", "spike"])  # fmt: skip
    assert made.status_code == 200, made.text
    assert made.headers["cache-control"] == "no-store"
    assert re.search(r"whsec_[A-Za-z0-9+/=]+", made.text)
    with fresh_site.state.context.database.read() as session:
        row = session.scalars(select(Subscription)).one()
        assert (row.filter["types"], row.filter["min_level"], row.filter["countries"]) == (["cluster", "spike"], 3, ["DE"])
    page = f"/subscriptions/{row.id}"
    assert "whsec_" not in client.get(page).text
    tried = post(client, f"{page}/test", page)
    assert tried.status_code == 303
    with fresh_site.state.context.database.write() as session:
        task = session.scalars(select(Task).where(Task.topic == "ping")).first()
        assert task is not None
        session.add(
            Attempt(
                task_id=task.id, n=1, started_at=NOW, ended_at=NOW, outcome="failed", status=500, latency_ms=3,
                resolved_ip=None, response="<script>alert(1)</script><b>no</b>", error="the receiver answered 500", worker="w",
            )
        )  # fmt: skip
    text = client.get(page).text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script>alert(1)" not in text
    assert post(client, f"{page}/resume", page).status_code == 303
    assert post(client, f"{page}/delete", page).status_code == 303
    assert "authority.example" not in client.get("/subscriptions").text
    assert signed_in(fresh_site, LAB).get(page).status_code == 404


def test_contacts_are_saved_in_their_order_and_a_fault_names_its_line(fresh_site: FastAPI) -> None:
    client = signed_in(fresh_site, AUTHORITY)
    lines = {"0-name": "B", "0-email": "b@x.example", "0-days": ["1", "2"], "0-zone": "UTC", "0-order": "2",
             "1-name": "A", "1-email": "a@x.example", "1-days": ["1"], "1-zone": "Europe/Berlin", "1-order": "1"}  # fmt: skip
    assert post(client, "/contacts", "/contacts", **lines).status_code == 303
    with fresh_site.state.context.database.read() as session:
        rows = session.scalars(select(Contact).order_by(Contact.position)).all()
        assert [(row.email, row.days) for row in rows] == [("a@x.example", "1"), ("b@x.example", "12")]
    wrong = post(client, "/contacts", "/contacts", **(lines | {"1-email": "nowhere"}))
    assert wrong.status_code == 422
    assert 'href="#0-email"' in wrong.text  # the first in the order
    assert "nowhere" in wrong.text


def test_coverage_shows_each_authority_its_own_line_and_the_operator_all(fresh_site: FastAPI) -> None:
    analyst, authority = signed_in(fresh_site, ANALYST), signed_in(fresh_site, AUTHORITY)
    spread = alert_of(fresh_site, "rapid_spread")
    text = analyst.get("/coverage").text
    assert "1 overdue" in text
    assert "Test authority DE" in text
    assert "Countries without an authority:" in text
    assert "France" in text
    authority.get(f"/alerts/{spread}")
    post(authority, f"/alerts/{spread}/acknowledge", f"/alerts/{spread}")
    text = authority.get("/coverage").text
    assert "Nothing overdue" in text
    assert "Countries without an authority" not in text
    assert signed_in(fresh_site, LAB).get("/coverage").status_code == 403
    assert "oxycodone" not in signed_in(fresh_site, "admin.at@example.org").get("/coverage").text


def test_a_mail_link_acknowledges_by_its_button_alone_and_once(fresh_site: FastAPI) -> None:
    context, alert = fresh_site.state.context, alert_of(fresh_site, "cluster")
    token = links.token_of(context.secret, "the task")
    with context.database.write() as session:
        org = session.scalars(select(Organisation).where(Organisation.kind == "authority")).one()
        links.make(session, token, alert_id=alert, org_id=org.id, email="a@x.example", now=NOW)
    scanner = client_of(fresh_site)
    for _ in range(3):
        answer = scanner.get(f"/a/{token}")
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
        assert ">Acknowledge</button>" in answer.text
        scanner.head(f"/a/{token}")
    with context.database.read() as session:
        assert not session.scalars(select(Acknowledgement)).all()
    for _ in range(2):
        assert scanner.post(f"/a/{token}").status_code == 303
    with context.database.read() as session:
        (row,) = session.scalars(select(Acknowledgement)).all()
        assert (row.kind, row.org_id, row.actor[:5]) == ("acknowledged", org.id, "link:")
    text = scanner.get(f"/a/{token}").text
    assert "Already acknowledged by Test authority DE, 12:00 UTC" in text
    assert ">Acknowledge</button>" not in text
    assert scanner.get(f"/a/{token[:-1]}x").status_code == 404
    assert scanner.post("/a/x").status_code == 404


def test_a_measure_is_recorded_and_its_public_text_is_checked(fresh_site: FastAPI) -> None:
    client, alert = signed_in(fresh_site, AUTHORITY), alert_of(fresh_site, "rapid_spread")
    page = f"/measures/new?alert={alert}"
    assert "Rapid spread" in client.get(page).text
    fields = {"alert": alert, "kind": "provisional_control", "legal_basis": "Act 1", "from": "2026-11-24", "until": "2026-12-20"}
    wrong = post(client, "/measures/new", page, **fields, public_text="It is 50 times stronger.")
    assert wrong.status_code == 422
    assert "a comparison of strength" in wrong.text
    assert post(client, "/measures/new", page, **fields, public_text="It was found in Germany.").status_code == 303
    with fresh_site.state.context.database.read() as session:
        assert session.scalars(select(Measure.kind)).all() == ["provisional_control"]
        assert session.scalars(select(Alert).where(Alert.type == "control_change")).one().tlp == "CLEAR"
    assert "Ends within 30 days" in client.get("/measures").text
    assert "Provisional control in Germany" in client.get(f"/alerts/{alert}").text
    assert signed_in(fresh_site, LAB).get("/measures/new").status_code == 403


def test_a_notice_shows_whom_it_reaches_before_it_goes(fresh_site: FastAPI) -> None:
    client = signed_in(fresh_site, ANALYST)
    fields = {"type": "analytical", "level": "2", "tlp": "GREEN", "headline": "Two labels for one substance",
              "summary": "Laboratories use two names.", "substance": "2-MMC"}  # fmt: skip
    with fresh_site.state.context.database.write() as session:
        org = session.scalars(select(Organisation).where(Organisation.kind == "authority")).one()
        session.add(
            Subscription(org_id=org.id, role="authority", channel="webhook", target="https://a.example/h", filter={},
                         tlp_max="GREEN", detail="full", state="active", secrets=[], created_at=NOW)
        )  # fmt: skip
    seen = post(client, "/alerts/new", "/alerts/new", step="preview", **fields)
    assert "1 endpoint of 1 organisation at once" in seen.text
    assert "Test authority DE" in seen.text
    with fresh_site.state.context.database.read() as session:
        before = len(session.scalars(select(Alert.id)).all())
    issued = client.post("/alerts/new", data={"csrf_token": token_in(seen.text), "step": "issue", **fields})
    assert issued.status_code == 303
    assert "Two labels for one substance" in client.get(issued.headers["location"]).text
    with fresh_site.state.context.database.read() as session:
        assert len(session.scalars(select(Alert.id)).all()) == before + 1
    unknown = post(client, "/alerts/new", "/alerts/new", step="preview", **(fields | {"substance": "no such thing"}))
    assert unknown.status_code == 422
    assert signed_in(fresh_site, LAB).get("/alerts/new").status_code == 403


def test_assessments_sightings_and_closing_show_in_the_timeline_once(fresh_site: FastAPI) -> None:
    alert = alert_of(fresh_site, "rapid_spread")
    page = f"/alerts/{alert}"
    authority, lab, analyst = (signed_in(fresh_site, email) for email in (AUTHORITY, LAB, ANALYST))
    assert post(authority, f"{page}/assess", page, note="known here").status_code == 303
    assert post(lab, f"{page}/sighting", page, note="two samples").status_code == 303
    text = authority.get(page).text
    assert "assessed" in text
    assert f'action="{page}/assess"' not in text
    assert f'action="{page}/sighting"' not in lab.get(page).text
    assert post(lab, f"{page}/assess", page).status_code == 403
    assert post(analyst, f"{page}/close", page, note="over").status_code == 303
    text = authority.get(page).text
    assert ">Closed<" in text
    assert f'action="{page}/acknowledge"' not in text
