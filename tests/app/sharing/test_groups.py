"""Sharing groups name the recipients of RED rows and supply routes; a label is lowered with its sender's consent alone."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.cli import main
from app.persistence.models import AlertRevision, LabelConsent
from tests.conftest import Service


@pytest.fixture
def readers(service: Service) -> dict[str, dict[str, str]]:
    return {
        "sender": service.key("lab", "DE", name="sender"),
        "lab": service.key("lab", "FR", name="lab"),
        "home": service.key("authority", "DE", name="home"),
        "abroad": service.key("authority", "FR", name="abroad"),
        "other": service.key("authority", "IT", name="other"),
        "reviewer": service.key("reviewer", "CH", name="reviewer"),
        "analyst": service.key("operator", "AT", "analyst", name="analyst"),
    }


@pytest.fixture
def group(service: Service, readers: dict[str, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> str:
    """A group of the sender, an authority abroad and a laboratory, made by command."""
    monkeypatch.setenv("DATABASE_URL", service.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    made = CliRunner().invoke(main, ["groups", "create", "--name", "Route group"])
    assert made.exit_code == 0, made.output
    for name in ("sender", "abroad", "lab"):
        added = CliRunner().invoke(main, ["groups", "add", made.output.strip(), "--org", service.org_id(name)])
        assert added.exit_code == 0, added.output
    return made.output.strip()


def _report(example: dict[str, Any], **changes: Any) -> dict[str, Any]:
    sample = {**example["sample"], "origin": "CN", "transit": ["NL"], "destination": "DE"}
    return {**example, "sample": sample, "cases": [], **changes}


def test_the_route_shows_to_the_group_by_role_and_to_no_laboratory(
    service: Service, readers: dict[str, dict[str, str]], group: str, example_report: dict[str, Any]
) -> None:
    body = _report(example_report, sharing_group=group)
    sent = service.client.post("/v1/reports", json=body, headers=readers["sender"]).json()
    shows = {}
    for name, headers in readers.items():
        shown = service.client.get(f"/v1/reports/{sent['id']}", headers=headers).json()
        shows[name] = shown["sample"]["origin"] == "CN"
        assert shown["sharing_group"] == (group if name == "sender" else None)
    assert shows == {
        "sender": True, "lab": False, "home": True, "abroad": True, "other": False, "reviewer": False, "analyst": False,
    }  # fmt: skip
    # granted to the analysts' organisation, and taken from the authority again
    run = CliRunner()
    assert run.invoke(main, ["groups", "add", group, "--org", service.org_id("analyst")]).exit_code == 0
    assert run.invoke(main, ["groups", "remove", group, "--org", service.org_id("abroad")]).exit_code == 0
    for name, expected in (("analyst", "CN"), ("abroad", None)):
        shown = service.client.get(f"/v1/reports/{sent['id']}", headers=readers[name]).json()
        assert shown["sample"]["origin"] == expected


def test_a_red_row_shows_to_the_named_recipients_alone(
    service: Service, readers: dict[str, dict[str, str]], group: str, example_report: dict[str, Any]
) -> None:
    unseen = {"structure": {"smiles": "CCC(=O)N(c1ccc(F)c(F)c1)C1CCN(CCc2ccccc2C)CC1"}, "techniques": ["gc-ms", "nmr"]}
    body = _report(example_report, tlp="RED", sharing_group=group, substances=[unseen])
    sent = service.client.post("/v1/reports", json=body, headers=readers["sender"]).json()
    substance = sent["substances"][0]["substance_id"]
    found = {
        name: (
            service.client.get(f"/v1/reports/{sent['id']}", headers=headers).status_code,
            service.client.get(f"/v1/substances/{substance}", headers=headers).status_code,
        )
        for name, headers in readers.items()
    }
    assert found.pop("sender") == found.pop("abroad") == (200, 200)
    assert found.pop("analyst")[0] == 404
    assert set(found.values()) == {(404, 404)}


def test_a_sender_names_only_a_group_that_it_is_in(
    service: Service, readers: dict[str, dict[str, str]], group: str, example_report: dict[str, Any]
) -> None:
    stranger = service.key("lab", "ES")
    for value in (group, "01JD0000000000000000000000"):
        answer = service.client.post("/v1/reports", json=_report(example_report, sharing_group=value), headers=stranger)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/sharing_group")


def test_an_alert_is_lowered_with_the_consent_of_every_stricter_sender(
    service: Service, readers: dict[str, dict[str, str]], example_report: dict[str, Any]
) -> None:
    sent = service.client.post("/v1/reports", json={**example_report, "tlp": "AMBER"}, headers=readers["sender"]).json()
    (alert, *_) = sent["alerts"]
    wish = {"tlp": "GREEN", "note": "agreed by telephone"}
    refused = service.client.post(f"/v1/alerts/{alert}/label", json=wish, headers=readers["analyst"])
    assert (refused.status_code, refused.json()["reports"]) == (409, [sent["id"]])
    # nobody but the sender consents, and to nothing stricter
    for name in ("lab", "home", "analyst"):
        answer = service.client.post(f"/v1/reports/{sent['id']}/consent", json={"tlp": "GREEN"}, headers=readers[name])
        assert answer.status_code in (403, 404), name
    raised = service.client.post(f"/v1/reports/{sent['id']}/consent", json={"tlp": "RED"}, headers=readers["sender"])
    assert raised.status_code == 422
    agreed = service.client.post(f"/v1/reports/{sent['id']}/consent", json={"tlp": "GREEN"}, headers=readers["sender"])
    assert agreed.status_code == 201
    lowered = service.client.post(f"/v1/alerts/{alert}/label", json=wish, headers=readers["analyst"])
    assert (lowered.status_code, lowered.json()["tlp"]) == (200, "GREEN")
    assert (
        service.client.post(f"/v1/alerts/{alert}/label", json={**wish, "tlp": "CLEAR"}, headers=readers["analyst"]).status_code
        == 409
    )
    assert (
        service.client.post(f"/v1/alerts/{alert}/label", json={**wish, "tlp": "AMBER"}, headers=readers["analyst"]).status_code
        == 200
    )
    with service.context.database.read() as session:
        (row,) = session.scalars(select(LabelConsent))
        assert (row.tlp, row.org_id) == ("GREEN", service.org_id("sender"))
        labels = session.scalars(
            select(AlertRevision.tlp).where(AlertRevision.alert_id == alert).order_by(AlertRevision.revision)
        )
        assert list(labels) == ["AMBER", "GREEN", "AMBER"]


def test_a_correction_that_lowers_the_label_is_recorded_as_consent(
    service: Service, readers: dict[str, dict[str, str]], example_report: dict[str, Any]
) -> None:
    sent = service.client.post("/v1/reports", json={**example_report, "tlp": "AMBER"}, headers=readers["sender"]).json()
    headers = {**readers["sender"], "If-Match": '"1"'}
    assert service.client.put(f"/v1/reports/{sent['id']}", json=example_report, headers=headers).status_code == 200
    with service.context.database.read() as session:
        (row,) = session.scalars(select(LabelConsent))
        assert (row.tlp, row.note) == ("GREEN", "by the correction")
