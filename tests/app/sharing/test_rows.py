"""One rule for rows: a list, a count and the evidence of an alert agree for every label, sender, country and reader."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.policies import evidence_for
from alerts.values import Evidence
from app.auth.permissions import TLP_ORDER, Action, Principal, Role, may
from app.notifications.queries import reader_of
from app.persistence.models import Detection, HarmCase, Organisation, Report
from app.persistence.session import Database
from app.sharing.rows import counted_cases, readable_cases, readable_detections, readable_reports
from tests.conftest import Service
from tests.databases import ready
from tests.factories import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'rows.sqlite'}", pool_size=2)
    ready(database)
    with Session(database.engine) as session:
        yield World(session)
    database.dispose()


def _reader(org: Organisation, role: Role) -> Principal:
    return Principal(
        actor="key:x", org_id=org.id, org_name=org.name, kind=org.kind, country=org.country, role=role, test=org.test
    )


def test_lists_counts_and_evidence_agree_on_every_row(world: World) -> None:
    senders = [
        world.organisation("lab", "DE", name="lab DE"),
        world.organisation("lab", "FR", name="lab FR"),
        world.organisation("lab", "DE", name="test lab DE", test=True),
    ]
    readers = [_reader(org, Role.LAB) for org in senders]
    for kind, country, role in (
        ("authority", "DE", Role.AUTHORITY), ("authority", "FR", Role.AUTHORITY), ("reviewer", "CH", Role.REVIEWER),
        ("operator", "AT", Role.ANALYST), ("operator", "AT", Role.ADMIN), ("industry", "GB", Role.INDUSTRY),
    ):  # fmt: skip
        readers.append(_reader(world.organisation(kind, country, name=f"{role} {country}"), role))
    substance = world.substance("Anything")
    for sender, label in product(senders, TLP_ORDER):
        world.detection(sender, substance, tlp=label, country=sender.country)
    session = world.session
    reports = {report.id: report for report in session.scalars(select(Report))}
    assert len(reports) == 15
    for reader in readers:
        listed = set(session.scalars(select(Report.id).where(readable_reports(reader))))
        counted = set(session.scalars(select(Detection.report_id).where(readable_detections(reader))))
        real = {i for i in counted if not session.get_one(Organisation, reports[i].org_id).test}
        cited = set(
            evidence_for(
                (Evidence(report_id=r.id, org_id=r.org_id, country=r.country, tlp=r.tlp) for r in reports.values()),
                reader_of(reader),
            )
        )
        if may(reader, Action.REPORT_READ):
            assert listed == counted, reader
            assert {i for i in cited if not session.get_one(Organisation, reports[i].org_id).test} == real, reader
        else:
            assert listed == set(), reader
            assert {reports[i].tlp for i in counted} == {"CLEAR"}, reader
        foreign_red = {i for i in counted if reports[i].tlp == "RED" and reports[i].org_id != reader.org_id}
        assert not foreign_red, reader


def test_red_and_strict_rows_by_the_table_of_the_domain_guide(world: World) -> None:
    lab = world.organisation("lab", "DE", name="lab")
    for label in TLP_ORDER:
        world.detection(lab, world.substance(f"S {label}"), tlp=label)
    expected = {
        ("authority", "DE", Role.AUTHORITY): {"CLEAR", "GREEN", "AMBER", "AMBER+STRICT"},
        ("authority", "FR", Role.AUTHORITY): {"CLEAR", "GREEN"},
        ("reviewer", "CH", Role.REVIEWER): {"CLEAR", "GREEN", "AMBER"},
        ("operator", "AT", Role.ANALYST): {"CLEAR", "GREEN", "AMBER", "AMBER+STRICT"},
        ("lab", "FR", Role.LAB): {"CLEAR", "GREEN"},
        ("industry", "GB", Role.INDUSTRY): set(),
        ("operator", "AT", Role.ADMIN): set(),
    }
    for (kind, country, role), labels in expected.items():
        reader = _reader(world.organisation(kind, country, name=f"{role}{country}"), role)
        assert set(world.session.scalars(select(Report.tlp).where(readable_reports(reader)))) == labels, role
    own = _reader(lab, Role.LAB)
    assert set(world.session.scalars(select(Report.tlp).where(readable_reports(own)))) == set(TLP_ORDER)


def test_cases_open_to_sender_home_authority_reviewer_and_analyst_alone(world: World) -> None:
    lab, small = world.organisation("lab", "DE", name="lab"), world.organisation("lab", "MT", name="small")
    fentanyl = world.substance("Fentanyl")
    for org in (lab, small):
        world.case(world.detection(org, fentanyl, country=org.country, context="biological"))
    expected = {
        ("authority", "DE", Role.AUTHORITY): {"DE"}, ("authority", "FR", Role.AUTHORITY): set(),
        ("reviewer", "CH", Role.REVIEWER): {"DE"}, ("operator", "AT", Role.ANALYST): {"DE", "MT"},
        ("lab", "FR", Role.LAB): set(), ("industry", "GB", Role.INDUSTRY): set(), ("operator", "AT", Role.ADMIN): set(),
    }  # fmt: skip
    for (kind, country, role), open_in in expected.items():
        reader = _reader(world.organisation(kind, country, name=f"{role}{country}"), role)
        assert set(world.session.scalars(select(HarmCase.country).where(readable_cases(reader)))) == open_in, role
        # masked or not, AMBER cases enter everybody's counts
        assert set(world.session.scalars(select(HarmCase.country).where(counted_cases(reader)))) == {"DE", "MT"}, role


def test_a_report_lists_the_rows_of_its_newest_version_and_is_gone_for_others_once_withdrawn(
    sqlite_service: Service, example_report: dict[str, Any]
) -> None:
    service = sqlite_service
    lab, authority = service.key("lab", "DE"), service.key("authority", "DE")
    analyst = service.key("operator", "AT", "analyst")
    sent = service.client.post("/v1/reports", json=example_report, headers=lab).json()
    path = f"/v1/reports/{sent['id']}"
    corrected = {**example_report, "substances": example_report["substances"][1:], "cases": []}
    answer = service.client.put(path, json=corrected, headers={**lab, "If-Match": '"1"'})
    assert answer.status_code == 200, answer.text
    for reader in (lab, authority, analyst):
        shown = service.client.get(path, headers=reader).json()
        assert [s["name"] for s in shown["substances"]] == ["xylazine"]
        assert shown["cases"] == []
    assert service.client.post(f"{path}/withdraw", json={"reason": "wrong sample"}, headers=lab).status_code == 200
    own = service.client.get(path, headers=lab).json()
    assert (own["state"], [s["name"] for s in own["substances"]], own["cases"]) == ("withdrawn", ["xylazine"], [])
    for reader in (authority, analyst):
        assert service.client.get(path, headers=reader).status_code == 404
        assert service.client.get("/v1/reports", headers=reader).json()["items"] == []


def test_the_supply_route_shows_to_the_sender_and_its_authority_alone(
    sqlite_service: Service, example_report: dict[str, Any]
) -> None:
    service = sqlite_service
    sample = {**example_report["sample"], "origin": "CN", "transit": ["NL"], "destination": "DE"}
    sent = service.client.post(
        "/v1/reports", json={**example_report, "sample": sample}, headers=(lab := service.key("lab", "DE"))
    ).json()
    route = {}
    for name, headers in {
        "sender": lab, "authority": service.key("authority", "DE"), "abroad": service.key("authority", "FR"),
        "reviewer": service.key("reviewer", "CH"), "analyst": service.key("operator", "AT", "analyst"),
    }.items():  # fmt: skip
        shown = service.client.get(f"/v1/reports/{sent['id']}", headers=headers).json()["sample"]
        route[name] = (shown["origin"], shown["transit"], shown["destination"])
    full, nothing = ("CN", ["NL"], "DE"), (None, [], None)
    assert route == {"sender": full, "authority": full, "abroad": nothing, "reviewer": nothing, "analyst": nothing}
