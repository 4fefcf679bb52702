"""A laboratory's report over HTTP, on both databases."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.persistence.models import Alert, Detection, HarmCase, Report, ReportVersion, Sample, Task
from tests.conftest import NOW, Service

JSON = dict[str, Any]


def rows(service: Service, model: type) -> int:
    with service.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def send(service: Service, key: dict[str, str], body: JSON, **headers: str) -> Any:
    return service.client.post("/v1/reports", json=body, headers=key | headers)


def test_the_example_of_the_contract(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    answer = send(service, lab, example_report)
    assert answer.status_code == 201
    body = answer.json()
    assert body["version"] == 1
    assert answer.headers["etag"] == '"1"'
    fluorofentanyl, xylazine = body["substances"]
    assert fluorofentanyl["legal_status"] == "controlled"
    assert [(m["instrument"], m["schedule"]) for m in fluorofentanyl["matches"]][:2] == [("UN-1961", "IV"), ("UN-1961", "I")]
    assert fluorofentanyl["resolution"] == "structure"
    assert fluorofentanyl["confidence"] == "confirmed"
    assert fluorofentanyl["first_in"] == "region"  # shipped data know it, so it is not new to the world
    assert fluorofentanyl["identity"]["removed"] == ["Cl"]
    assert (xylazine["resolution"], xylazine["confidence"]) == ("identifier", "probable")
    assert xylazine["legal_status"] == "not_controlled"
    with service.context.database.read() as session:
        alerts = session.scalars(select(Alert).order_by(Alert.type, Alert.level)).all()
        assert {(a.type, a.level, a.controlled) for a in alerts} == {
            ("first_region", 3, True), ("first_region", 2, False), ("serious_harm", 3, True), ("adulterant", 1, False),
        }  # fmt: skip
        assert sorted(body["alerts"]) == sorted(a.id for a in alerts)
        assert session.scalar(select(func.count()).select_from(Task).where(Task.topic == "fanout")) == 4
        assert session.scalars(select(HarmCase.tlp)).all() == ["AMBER"]


def test_the_same_key_and_body_store_and_alert_once(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    first = send(service, lab, example_report, **{"Idempotency-Key": "one"})
    again = send(service, lab, example_report, **{"Idempotency-Key": "one"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert (rows(service, Report), rows(service, Alert), rows(service, Detection)) == (1, 4, 2)
    other = send(service, lab, example_report | {"tlp": "CLEAR"}, **{"Idempotency-Key": "one"})
    assert other.status_code == 422
    assert other.json()["type"].endswith("/problems/idempotency-key-reused")


def test_idempotency_keys_belong_to_their_organisation(service: Service, example_report: JSON) -> None:
    one, two = service.key("lab", "DE", name="A"), service.key("lab", "DE", name="B")
    answers = [send(service, key, example_report, **{"Idempotency-Key": "same"}) for key in (one, two)]
    assert [a.status_code for a in answers] == [201, 201]
    assert answers[0].json()["id"] != answers[1].json()["id"]


def test_a_reference_is_used_once(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    stored = send(service, lab, example_report).json()
    second = send(service, lab, example_report)
    assert second.status_code == 409
    assert second.json()["report_id"] == stored["id"]
    assert send(service, service.key("lab", "FR"), example_report).status_code == 201


def test_a_dry_run_answers_in_full_and_stores_nothing(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    answer = service.client.post("/v1/reports?dry_run=true", json=example_report, headers=lab)
    assert answer.status_code == 200
    assert answer.json()["substances"][0]["legal_status"] == "controlled"
    assert (rows(service, Report), rows(service, Alert), rows(service, Sample)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda r: r.update(colour="red"), "/colour"),
        (lambda r: r["sample"].update(context="raid"), "/sample/context"),
        (lambda r: r["sample"].update(country="Germany"), "/sample/country"),
        (lambda r: r["sample"].update(country="de"), "/sample/country"),
        (lambda r: r["sample"].update(subdivision="FR-75"), "/sample"),
        (lambda r: r["sample"].update(context_detail="shop"), "/sample"),
        (lambda r: r["sample"].update(date_sampled="2027-01-01"), "/sample/date_sampled"),
        (lambda r: r["sample"].update(date_sampled="2026-02-30"), "/sample/date_sampled"),
        (lambda r: r["sample"].update(date_sampled="3.11.2026"), "/sample/date_sampled"),
        (lambda r: r["sample"].update(quantity={"value": -1, "unit": "g"}), "/sample/quantity/value"),
        (lambda r: r["sample"].update(quantity={"value": 1, "unit": "stone"}), "/sample/quantity/unit"),
        (lambda r: r.update(date_analysed="2026-10-01"), "/date_analysed"),
        (lambda r: r.update(substances=[]), ""),
        (lambda r: r.update(outcome="none_detected"), ""),
        (lambda r: r.update(lab_reference=""), "/lab_reference"),
        (lambda r: r.update(tlp="WHITE"), "/tlp"),
        (lambda r: r["substances"][0].update(techniques=["tarot"]), "/substances/0/techniques"),
        (lambda r: r["substances"][0].update(purity_percent=101), "/substances/0/purity_percent"),
        (lambda r: r["substances"][0].update(structure={}), "/substances/0/structure"),
        (lambda r: r["substances"][0].update(structure={"smiles": "C", "inchi": "x"}), "/substances/0/structure"),
        (lambda r: r["substances"][1].update(cas="7361-61-8"), "/substances/1/cas"),
        (lambda r: r["substances"].__setitem__(1, {"abundance": "minor"}), "/substances/1"),
        (lambda r: r["cases"][0].update(seriousness="sad"), "/cases/0/seriousness"),
        (lambda r: r["cases"][0].update(patient="A. B."), "/cases/0/patient"),
        (lambda r: r["cases"][0].update(substances=[{"index": 9, "role": "incidental"}]), ""),
        (lambda r: r["cases"][0].update(icd=["Z99"]), "/cases/0/icd"),
        (lambda r: r["substances"][0].update(structure={"smiles": "c1ccc"}), "/substances/0/structure/smiles"),
        (lambda r: r["substances"][0].update(structure={"smiles": ""}), "/substances/0/structure/smiles"),
        (lambda r: r["substances"][0].update(structure={"smiles": "C" * 300}), "/substances/0/structure/smiles"),
        (lambda r: r["substances"][0].update(structure={"smiles": "CC\nO"}), "/substances/0/structure/smiles"),
        (lambda r: r["substances"][0].update(structure={"molfile": "no molfile"}), "/substances/0/structure/molfile"),
    ],
)
def test_bad_input_names_the_field_and_stores_nothing(
    sqlite_service: Service, example_report: JSON, change: Callable[[JSON], None], pointer: str
) -> None:
    service = sqlite_service
    lab = service.key("lab", "DE")
    change(example_report)
    answer = send(service, lab, example_report)
    assert answer.status_code == 422, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == 422
    assert pointer in [error["pointer"] for error in problem["errors"]]
    assert all(error["detail"] for error in problem["errors"])
    assert (rows(service, Report), rows(service, Alert), rows(service, ReportVersion)) == (0, 0, 0)


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        (b'{"lab_reference": ', 400, "malformed-json"),
        (b'{"a": 1, "a": 2}', 400, "malformed-json"),
        (b'{"a": NaN}', 400, "malformed-json"),
        (b"\xff\xfe{}", 400, "malformed-json"),
        (b"[" * 100_000, 400, "malformed-json"),
        (b"", 400, "malformed-json"),
        (b"[]", 422, "validation"),
        (b"null", 422, "validation"),
        (b" " * 3_000_000, 413, "body-too-large"),
    ],
)
def test_bodies_that_are_no_report(sqlite_service: Service, body: bytes, status: int, slug: str) -> None:
    lab = sqlite_service.key("lab", "DE")
    answer = sqlite_service.client.post("/v1/reports", content=body, headers=lab | {"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["type"].endswith(f"/problems/{slug}")
    assert rows(sqlite_service, Report) == 0


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nps_unknown"}, 401),
        ({"Authorization": "Basic abc"}, 401),
        ({"Authorization": "Bearer"}, 401),
    ],
)
def test_wrong_keys(sqlite_service: Service, example_report: JSON, headers: dict[str, str], status: int) -> None:
    answer = send(sqlite_service, headers, example_report)
    assert answer.status_code == status
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("kind", "role"), [("authority", "authority"), ("reviewer", "reviewer"), ("industry", "industry"), ("operator", "analyst")]
)
def test_only_laboratories_report(sqlite_service: Service, example_report: JSON, kind: str, role: str) -> None:
    assert send(sqlite_service, sqlite_service.key(kind, "DE", role), example_report).status_code == 403


@pytest.mark.parametrize(
    ("name", "resolution", "group"),
    [
        ("Fentanyl or Analog", "class", "fentanyl_analogue"),
        ("No Library Match", "unresolved", None),
        ("Heroin/Morph/Codeine", "unresolved", None),
        ("zzz-not-a-name", "unresolved", None),
        ("Heroin Base", "name", None),
        ("Opium", "name", None),
    ],
)
def test_names_without_a_structure(
    sqlite_service: Service, example_report: JSON, name: str, resolution: str, group: str | None
) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["substances"] = [{"name": name, "techniques": ["gc-ms"]}]
    example_report["cases"] = []
    answer = send(sqlite_service, lab, example_report)
    assert answer.status_code == 201
    substance = answer.json()["substances"][0]
    assert (substance["resolution"], substance["class"]) == (resolution, group)
    assert substance["reported_name"] == name
    if resolution in ("class", "unresolved"):
        assert answer.json()["alerts"] == []
        assert substance["legal_status"] == "unresolved"
    if name == "Heroin/Morph/Codeine":
        assert {c["name"] for c in substance["candidates"]} == {"Heroin", "Morphine", "Codeine"}
    if name == "Opium":
        assert substance["legal_status"] == "controlled"


def test_an_undefined_structure_is_kept_as_unresolved(sqlite_service: Service, example_report: JSON) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["substances"] = [{"structure": {"smiles": "*c1ccccc1"}, "techniques": ["gc-ms"]}]
    example_report["cases"] = []
    answer = send(sqlite_service, lab, example_report)
    assert answer.status_code == 201
    substance = answer.json()["substances"][0]
    assert substance["resolution"] == "unresolved"
    assert "structure-undefined" in [w["code"] for w in substance["warnings"]]


def test_a_structure_wins_over_a_name_that_disagrees(sqlite_service: Service, example_report: JSON) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["substances"][0]["name"] = "caffeine"
    substance = send(sqlite_service, lab, example_report).json()["substances"][0]
    assert substance["name"] == "para-Fluorofentanyl"
    assert "name-disagrees" in [w["code"] for w in substance["warnings"]]


def test_a_set_of_isomers_is_counted_as_the_set(sqlite_service: Service, example_report: JSON) -> None:
    lab = sqlite_service.key("lab", "DE")
    iso = "CCN(CC)CCn1c(Cc2ccc(OC(C)C)cc2)nc2cc([N+](=O)[O-])ccc12"
    proto = "CCCOc1ccc(Cc2nc3cc([N+](=O)[O-])ccc3n2CCN(CC)CC)cc1"
    example_report["substances"] = [
        {
            "structure": {"candidates": [{"smiles": iso}, {"smiles": proto}]},
            "name": "isotonitazene or protonitazene",
            "techniques": ["gc-ms"],
        }
    ]
    example_report["cases"] = []
    body = send(sqlite_service, lab, example_report).json()
    substance = body["substances"][0]
    assert {c["name"] for c in substance["candidates"]} == {"Isotonitazene", "Protonitazene"}
    assert substance["legal_status"] == "controlled"  # both are listed
    assert substance["confidence"] == "probable"
    assert body["alerts"] == []  # a set never triggers a first for a member
    assert rows(sqlite_service, Detection) == 1


@pytest.mark.parametrize("name", ["caffeine", "mannitol", "plain flour", "paracetamol"])
def test_ordinary_substances_raise_nothing(sqlite_service: Service, example_report: JSON, name: str) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["substances"] = [
        {"name": name, "techniques": ["gc-ms"], "reference_material": "certified", "isomers_excluded": "yes"}
    ]
    example_report["cases"] = []
    answer = send(sqlite_service, lab, example_report)
    assert (answer.status_code, answer.json()["alerts"]) == (201, [])


def test_an_old_sample_is_counted_and_raises_nothing(sqlite_service: Service, example_report: JSON) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["sample"]["date_sampled"] = "2025-03"
    assert send(sqlite_service, lab, example_report).json()["alerts"] == []
    assert rows(sqlite_service, Detection) == 2


def test_firsts_narrow_down(service: Service, example_report: JSON) -> None:
    example_report["cases"] = []

    def first(key: dict[str, str], country: str, reference: str) -> str:
        body = copy.deepcopy(example_report)
        body["lab_reference"] = reference
        body["sample"].update(country=country, subdivision=None)
        return send(service, key, body).json()["substances"][0]["first_in"]

    german, french, american = (service.key("lab", country) for country in ("DE", "FR", "US"))
    assert first(german, "DE", "1") == "region"
    assert first(german, "DE", "2") == "none"
    assert first(french, "FR", "3") == "country"
    assert first(american, "US", "4") == "region"


def test_a_new_structure_is_the_first_in_the_world(sqlite_service: Service, example_report: JSON) -> None:
    lab = sqlite_service.key("lab", "DE")
    example_report["substances"] = [
        {"structure": {"smiles": "CC(C)CCCCCCCCNC(=O)c1ccc2occc2c1"}, "techniques": ["gc-ms", "nmr"], "isomers_excluded": "yes"}
    ]
    example_report["cases"] = []
    body = send(sqlite_service, lab, example_report).json()
    assert body["substances"][0]["first_in"] == "world"
    with sqlite_service.context.database.read() as session:
        assert session.scalars(select(Alert.type)).all() == ["first_global"]


def test_a_test_organisation_gets_the_same_answer_and_tells_nobody(service: Service, example_report: JSON) -> None:
    test_lab = service.key("lab", "DE", test=True, name="test")
    answer = send(service, test_lab, example_report).json()
    assert len(answer["alerts"]) == 4
    authority = service.key("authority", "DE")
    listed = service.client.get("/v1/alerts", headers=authority).json()["items"]
    assert listed == []
    real = send(service, service.key("lab", "DE"), example_report).json()
    assert real["substances"][0]["first_in"] == "region"


def test_who_reads_a_report(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE", name="sender")
    report_id = send(service, lab, example_report).json()["id"]
    path = f"/v1/reports/{report_id}"

    def read(key: dict[str, str]) -> Any:
        return service.client.get(path, headers=key)

    own = read(lab).json()
    assert own["lab_reference"] == "2026-0117-A"
    assert own["cases"][0]["age_band"] == "25-34"
    home = read(service.key("authority", "DE")).json()
    assert (home["laboratory"], home["sample"]["subdivision"], len(home["cases"])) == ("sender", "DE-BE", 1)
    for other in (service.key("authority", "FR"), service.key("lab", "FR")):
        seen = read(other).json()
        assert seen["laboratory"] is None
        assert seen["lab_reference"] is None
        assert seen["sample"]["date_sampled"] == "2026-11"
        assert seen["sample"]["subdivision"] is None
        assert seen["sample"]["sold_as"] is None
        assert seen["cases"] == []
    reviewer = read(service.key("reviewer", "CH")).json()
    assert reviewer["cases"][0]["month"] == "2026-Q4"
    assert reviewer["cases"][0]["age_band"] == "18-44"
    assert read(service.key("industry", "DE")).status_code == 403
    assert read({}).status_code == 401


def test_a_stricter_label_hides_the_report(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    report_id = send(service, lab, example_report | {"tlp": "RED"}).json()["id"]
    for kind, country, role in (
        ("authority", "DE", "authority"), ("authority", "FR", "authority"), ("lab", "FR", "lab"), ("reviewer", "CH", "reviewer"),
        ("operator", "AT", "analyst"),
    ):  # fmt: skip
        assert service.client.get(f"/v1/reports/{report_id}", headers=service.key(kind, country, role)).status_code == 404
    assert service.client.get(f"/v1/reports/{report_id}", headers=lab).status_code == 200


def test_correction_and_withdrawal(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    stored = send(service, lab, example_report).json()
    path = f"/v1/reports/{stored['id']}"
    changed = copy.deepcopy(example_report)
    changed["substances"][0]["structure"] = {"smiles": "CCC(=O)N(c1ccccc1F)C1CCN(CCc2ccccc2)CC1.Cl"}
    changed["substances"][0]["name"] = "ortho-fluorofentanyl"
    assert service.client.put(path, json=changed, headers=lab).status_code == 428
    assert service.client.put(path, json=changed, headers=lab | {"If-Match": '"7"'}).status_code == 412
    service.clock.at = NOW + timedelta(hours=1)
    corrected = service.client.put(path, json=changed, headers=lab | {"If-Match": '"1"'})
    assert corrected.status_code == 200
    assert corrected.headers["etag"] == '"2"'
    assert corrected.json()["substances"][0]["name"] == "Orthofluorofentanyl"
    with service.context.database.read() as session:
        assert session.scalars(select(ReportVersion.kind).order_by(ReportVersion.version)).all() == ["created", "corrected"]
        first = session.get(ReportVersion, (stored["id"], 1))
        assert first is not None
        assert "para-fluorofentanyl" in first.body
        states = dict(session.execute(select(Alert.dedupe_key, Alert.state)).all())
    assert sum(state == "retracted" for state in states.values()) >= 1
    gone = service.client.post(f"{path}/withdraw", json={"reason": "wrong sample"}, headers=lab)
    assert (gone.status_code, gone.json()["state"]) == (200, "withdrawn")
    with service.context.database.read() as session:
        assert set(session.scalars(select(Alert.state))) == {"retracted"}
    assert service.client.post(f"{path}/withdraw", json={"reason": "again"}, headers=lab).status_code == 409
    other = service.key("lab", "DE", name="other")
    assert service.client.post(f"{path}/withdraw", json={"reason": "not mine"}, headers=other).status_code == 404


def test_lists_page_by_cursor(service: Service, example_report: JSON) -> None:
    lab = service.key("lab", "DE")
    sent = []
    for number in range(5):
        body = copy.deepcopy(example_report) | {"lab_reference": str(number), "cases": []}
        sent.append(send(service, lab, body).json()["id"])
    seen: list[str] = []
    cursor = None
    while True:
        page = service.client.get("/v1/reports", params={"limit": 2} | ({"cursor": cursor} if cursor else {}), headers=lab).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == sent[::-1]
