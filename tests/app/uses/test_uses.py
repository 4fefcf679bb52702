"""The register of legitimate uses: industry declares, an analyst decides, others see what is confirmed and never by whom."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.persistence.models import AuditEntry, LegitimateUse
from app.uses.schemas import UseDoc
from tests.conftest import Service

PARTNER = "Confidential Chemicals"
DECLARED = {
    "name": "isotonitazene", "use": "known", "kind": "reference_material", "source": "Catalogue of standards 2026, item 12",
    "note": "we sell forty vials a year", "countries": ["GB", "DE"], "from": "2024-01-01",
}  # fmt: skip
NEW = "CCC(=O)N(c1ccc(F)c(F)c1)C1CCN(CCc2ccccc2C)CC1"


def post(service: Service, path: str, key: dict[str, str], body: dict[str, Any], status: int = 201, **headers: str) -> Any:
    answer = service.client.post(f"/v1/{path}", json=body, headers=key | headers)
    assert answer.status_code == status, answer.text
    return answer.json()


def listed(service: Service, key: dict[str, str], query: str = "") -> list[Any]:
    answer = service.client.get(f"/v1/legitimate-uses{query}", headers=key)
    assert answer.status_code == 200, answer.text
    found: list[Any] = answer.json()["items"]
    return found


def page_of(service: Service, substance: str) -> str:
    """The section on medical and scientific use of a substance's page, as the public reads it."""
    text = service.client.get(f"/substances/{substance}", headers={"accept": "text/html"}).text
    return text.partition('id="medical"')[2].partition("</section>")[0]


def dossier_section(service: Service, reviewer: dict[str, str], substance: str, number: int) -> str:
    answer = service.client.get(f"/v1/substances/{substance}/dossier.json", headers=reviewer)
    assert answer.status_code == 200, answer.text
    return str(next(part for part in answer.json()["sections"] if part["number"] == number))


def test_a_declaration_from_industry_to_the_dossier_and_back(service: Service) -> None:
    partner, other = service.key("industry", "GB", name=PARTNER), service.key("industry", "FR", name="Another partner")
    lab, analyst, reviewer = service.key("lab", "DE"), service.key("operator", "AT", "analyst"), service.key("reviewer", "CH")
    report = {"lab_reference": "U-1", "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure"},
              "substances": [{"name": "isotonitazene", "techniques": ["gc-ms", "nmr"]}]}  # fmt: skip
    post(service, "reports", lab, report)
    stored = post(service, "legitimate-uses", partner, DECLARED)
    assert (stored["state"], stored["organisation"], stored["countries"]) == ("waiting", PARTNER, ["DE", "GB"])
    assert set(stored) == {field.alias or name for name, field in UseDoc.model_fields.items()}
    assert (stored["from"], stored["until"], stored["decided_at"]) == ("2024-01-01", None, None)
    for key in (other, lab, reviewer):
        assert listed(service, key) == []
    assert "No declaration of industry is confirmed" in page_of(service, stored["substance"])
    assert [row["note"] for row in listed(service, analyst, "?state=waiting")] == [DECLARED["note"]]
    for key in (partner, other, lab, reviewer):
        post(service, f"legitimate-uses/{stored['id']}/confirm", key, {"note": "by itself"}, 403)
    done = post(service, f"legitimate-uses/{stored['id']}/confirm", analyst, {"note": "catalogue read"}, 200)
    assert (done["state"], done["decision_note"], done["decided_at"]) == (
        "confirmed",
        "catalogue read",
        "2026-11-24T12:00:00.000Z",
    )
    post(service, f"legitimate-uses/{stored['id']}/refuse", analyst, {"note": "changed my mind"}, 409)
    for key in (other, lab, reviewer):
        (seen,) = listed(service, key, f"?substance={stored['substance']}")
        assert (seen["name"].lower(), seen["source"], seen["own"]) == ("isotonitazene", DECLARED["source"], False)
        assert seen["organisation"] is seen["note"] is seen["decision_note"] is None
    section = page_of(service, stored["substance"])
    assert DECLARED["source"] in section
    assert "Declared by industry, confirmed by an analyst on 24 Nov 2026" in section
    assert PARTNER not in section
    assert DECLARED["note"] not in section
    service.clock.at += timedelta(days=1)
    science = dossier_section(service, reviewer, stored["substance"], 19)
    assert DECLARED["source"] in science
    assert "confirmed by an analyst on 24 Nov 2026" in science
    assert PARTNER not in science

    post(service, f"legitimate-uses/{stored['id']}/withdraw", other, {"reason": "not mine"}, 404)
    post(service, f"legitimate-uses/{stored['id']}/withdraw", partner, {"reason": "no longer sold"}, 200)
    post(service, f"legitimate-uses/{stored['id']}/withdraw", partner, {"reason": "no longer sold"}, 409)
    assert listed(service, lab) == []
    assert [row["state"] for row in listed(service, partner)] == ["withdrawn"]
    assert DECLARED["source"] not in page_of(service, stored["substance"])
    with service.context.database.read() as session:
        row = session.scalars(select(LegitimateUse)).one()
        assert (row.withdrawn_reason, row.decision_note) == ("no longer sold", "catalogue read")
        told = [entry.objects for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    verbs = [verb for objects in told for verb, tables in objects.items() if "legitimate_use" in tables]
    assert verbs == ["created", "changed", "changed"]


def test_one_open_declaration_of_a_substance_and_kind_and_the_same_request_once(service: Service) -> None:
    partner, analyst = service.key("industry", "GB"), service.key("operator", "AT", "analyst")
    first = post(service, "legitimate-uses", partner, DECLARED, **{"Idempotency-Key": "once"})
    again = post(service, "legitimate-uses", partner, DECLARED, **{"Idempotency-Key": "once"})
    assert again == first
    assert post(service, "legitimate-uses", partner, DECLARED, 409)["use"] == first["id"]
    by_id = {**DECLARED, "substance": first["substance"], "kind": "research"}
    del by_id["name"]
    second = post(service, "legitimate-uses", partner, by_id)
    none = {"cas": "14188-81-9", "use": "none", "source": "own search of trade registers"}
    third = post(service, "legitimate-uses", partner, none)
    assert third["substance"] == first["substance"]
    assert post(service, "legitimate-uses", partner, none, 409)["use"] == third["id"]
    post(service, f"legitimate-uses/{first['id']}/refuse", analyst, {"note": "the catalogue does not list it"}, 200)
    assert post(service, "legitimate-uses", partner, DECLARED)["state"] == "waiting"  # after a refusal it may be tried again
    assert [row["id"] for row in listed(service, partner, "?state=waiting")][1:] == [third["id"], second["id"]]
    page = service.client.get("/v1/legitimate-uses?limit=1", headers=partner).json()
    assert len(page["items"]) == 1
    assert listed(service, partner, f"?limit=1&cursor={page['next_cursor']}")[0]["id"] == third["id"]


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"kind": None}, "", "kind: say it for a known use"),
        ({"use": "none"}, "", "kind: say it for a known use"),
        ({"use": "perhaps"}, "/use", "not in the vocabulary"),
        ({"source": ""}, "/source", "at least 1 character"),
        ({"countries": ["XX"]}, "/countries/0", "ISO 3166-1"),
        ({"until": "2020-01-01"}, "", "until: the use ends before it begins"),
        ({"name": None}, "", "substance: give its id"),
        ({"substance": "01JD0000000000000000000000"}, "", "substance: give its id alone"),
        ({"name": None, "substance": "01JD0000000000000000000000"}, "/substance", "no substance of this id"),
        ({"name": "no such thing at all"}, "/name", "does not mean one substance"),
        ({"name": None, "structure": {"smiles": "c1ccc"}}, "/structure/smiles", "ring"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_field(sqlite_service: Service, change: dict[str, Any], pointer: str, words: str) -> None:
    body = {key: value for key, value in (DECLARED | change).items() if value is not None}
    answer = post(sqlite_service, "legitimate-uses", sqlite_service.key("industry", "GB"), body, 422)
    assert answer["errors"][0]["pointer"] == pointer, answer
    assert words.lower() in answer["errors"][0]["detail"].lower(), answer


def test_a_declaration_tells_nobody_of_a_substance_that_does_not_exist_for_them(service: Service) -> None:
    """A finding labelled AMBER of a structure that only its sender and its country know, declared by a partner who makes it."""
    lab, abroad = service.key("lab", "DE"), service.key("lab", "FR")
    partner, analyst = service.key("industry", "GB"), service.key("operator", "AT", "analyst")
    report = {"lab_reference": "U-1", "tlp": "AMBER",
              "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure"},
              "substances": [{"structure": {"smiles": NEW}, "name": "the laboratory's own word", "techniques": ["gc-ms", "nmr"]}],
              }  # fmt: skip
    post(service, "reports", lab, report)
    body = {**DECLARED, "structure": {"smiles": NEW}, "name": "PX-17"}
    stored = post(service, "legitimate-uses", partner, body)
    assert (stored["name"], stored["substance"]) == ("PX-17", None)
    post(service, f"legitimate-uses/{stored['id']}/confirm", analyst, {"note": "read"}, 200)
    assert listed(service, abroad) == []
    (seen,) = listed(service, lab)
    assert seen["name"] == "the laboratory's own word"
    assert seen["substance"]
    post(service, "legitimate-uses", partner, {**DECLARED, "name": None, "substance": seen["substance"]}, 422)


def test_what_is_said_of_a_merged_substance_shows_at_the_one_it_became(sqlite_service: Service) -> None:
    service = sqlite_service
    partner, analyst = service.key("industry", "GB"), service.key("operator", "AT", "analyst")
    authority, lab = service.key("authority", "DE"), service.key("lab", "DE")
    report = {"lab_reference": "U-1", "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure"},
              "substances": [{"name": name, "techniques": ["gc-ms", "nmr"]} for name in ("isotonitazene", "metonitazene")],
              }  # fmt: skip
    old, kept = (row["substance_id"] for row in post(service, "reports", lab, report)["substances"])
    stored = post(service, "legitimate-uses", partner, DECLARED)
    assert stored["substance"] == old
    post(service, f"legitimate-uses/{stored['id']}/confirm", analyst, {"note": "read"}, 200)
    post(service, "measures", authority, {"kind": "none", "substance": old, "legal_basis": "Act of the test, s. 1"})
    answer = service.client.post(f"/v1/substances/{old}/merge", json={"into": kept, "reason": "for the test"}, headers=analyst)
    assert answer.status_code < 300, answer.text
    (seen,) = listed(service, lab, f"?substance={kept}")
    assert (seen["id"], seen["substance"]) == (stored["id"], kept)
    text = service.client.get(f"/substances/{kept}", headers={"accept": "text/html"}).text
    assert DECLARED["source"] in text
    assert "Act of the test, s. 1" in text


def test_a_test_organisation_declares_to_itself_alone(sqlite_service: Service) -> None:
    service = sqlite_service
    partner, analyst = service.key("industry", "GB", test=True), service.key("operator", "AT", "analyst")
    stored = post(service, "legitimate-uses", partner, DECLARED)
    assert listed(service, analyst) == []
    post(service, f"legitimate-uses/{stored['id']}/confirm", analyst, {"note": "read"}, 404)
    assert [row["id"] for row in listed(service, partner)] == [stored["id"]]
