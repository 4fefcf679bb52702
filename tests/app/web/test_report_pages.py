"""A laboratory's own reports: everything it sent, nothing of anybody else."""

from __future__ import annotations

import re

from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.persistence.models import Detection, Report, ReportVersion
from tests.factories import NOW
from tests.site import client_of, sign_in


def first_report(client: TestClient) -> str:
    found = re.search(r'href="(/reports/[0-9A-Z]{26})"', client.get("/reports").text)
    assert found
    return found.group(1)


def test_the_list_holds_the_laboratorys_own_reports_alone(site: FastAPI, as_role: dict[str, TestClient]) -> None:
    seen: list[str] = []
    path = "/reports"
    while path:
        text = as_role["lab"].get(path).text
        seen += re.findall(r'href="/reports/([0-9A-Z]{26})"', text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = following.group(1) if following else ""
    with site.state.context.database.read() as session:
        own = session.scalars(select(Report.id).where(Report.organisation.has(name="Test laboratory DE"))).all()
    assert sorted(seen) == sorted(own)
    assert f"{len(own)} reports" in as_role["lab"].get("/reports").text


def test_a_report_says_how_it_was_understood(as_role: dict[str, TestClient]) -> None:
    text = as_role["lab"].get(first_report(as_role["lab"])).text
    for needed in (
        "Fentanyl",
        "Controlled: UN 1961 Schedule I, as Fentanyl",
        "by its structure",
        "Confirmed",
        "Version 1, created",
    ):
        assert needed in text
    assert "Death, " in text


def test_reports_of_others_do_not_exist(as_role: dict[str, TestClient]) -> None:
    other = first_report(as_role["other lab"])
    answer = as_role["lab"].get(other)
    assert answer.status_code == 404
    assert "There is no report with this address among your own." in answer.text


def test_other_roles_are_told_in_words(as_role: dict[str, TestClient], public: TestClient) -> None:
    for role in ("authority", "reviewer", "analyst", "industry", "admin"):
        answer = as_role[role].get("/reports")
        assert answer.status_code == 403
        assert "This page is not for your role" in answer.text
        assert "My reports" not in as_role[role].get("/").text
    assert public.get("/reports").headers["location"] == "/sign-in?next=/reports"


def test_a_corrected_report_shows_its_newest_rows_and_a_withdrawn_one_its_last(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, "lab.de@example.org")
    page = first_report(client)
    report_id = page.rpartition("/")[2]
    with fresh_site.state.context.database.write() as session:
        report = session.get_one(Report, report_id)
        old = session.scalars(select(Detection).where(Detection.report_id == report_id)).one()
        values = {c.key: getattr(old, c.key) for c in Detection.__table__.columns if c.key != "id"}
        old.counted = False
        session.add(Detection(**(values | {"report_version": 2, "reported_name": "Corrected name", "substance_id": None})))
        report.version = 2
    text = client.get(page).text
    assert text.count("Corrected name") >= 1
    assert "Controlled: UN 1961 Schedule I, as Fentanyl" in text
    with fresh_site.state.context.database.write() as session:
        report = session.get_one(Report, report_id)
        report.version, report.state = 3, "withdrawn"
        session.add(
            ReportVersion(
                report_id=report_id, version=3, kind="withdrawn", body="", body_sha256="0" * 64, reason="Reported twice.",
                actor="key:test", created_at=NOW,
            )
        )  # fmt: skip
    text = client.get(page).text
    assert "<strong>Withdrawn.</strong>" in text
    assert "Reported twice." in text
    assert "Corrected name" in text
