"""Labels decided, substances merged and split: reports, counts and alerts follow, everything can be undone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from app.persistence.models import Detection, ReportVersion
from app.worker import Worker
from tests.conftest import Service

HCL = "CNC(C)C(=O)c1ccc(C)cc1.Cl"


def report(reference: str, country: str = "DE", **substance: Any) -> dict[str, Any]:
    given = {"techniques": ["gc-ms", "nmr"], "isomers_excluded": "yes"} | substance
    return {
        "lab_reference": reference,
        "sample": {"country": country, "date_sampled": "2026-11-03", "context": "seizure", "form": "powder"},
        "substances": [given],
    }


def post(service: Service, path: str, key: dict[str, str], body: Any, status: int = 201) -> Any:
    answer = service.client.post(f"/v1/{path}", json=body, headers=key)
    assert answer.status_code == status, answer.text
    return answer.json()


def get(service: Service, path: str, key: dict[str, str]) -> Any:
    answer = service.client.get(f"/v1/{path}", headers=key)
    assert answer.status_code == 200, answer.text
    return answer.json()


def work(service: Service) -> None:
    Worker(service.context, schedule=False).run_due()


def test_a_decided_label_takes_its_reports_along_and_back(service: Service) -> None:
    lab, analyst = service.key("lab", "DE"), service.key("operator", "AT", "analyst")
    first = post(service, "reports", lab, report("A-1", name="Blue Gremlin 77"))
    assert (first["substances"][0]["resolution"], first["alerts"]) == ("unresolved", [])
    post(service, "reports", lab, report("A-2", name="blue gremlin-77"))
    queue = get(service, "curation", analyst)["items"]
    assert [(item["label"], item["reports"]) for item in queue] == [("Blue Gremlin 77", 2)]
    assert service.client.get("/v1/curation", headers=lab).status_code == 403

    body = {"substance": {"structure": {"smiles": "CCCC1(NC)CCCCC1=O"}, "name": "x"}, "reason": "told by the laboratory"}
    decided = post(service, f"curation/{queue[0]['id']}/decide", analyst, body, 200)
    assert decided["state"] == "resolved"
    work(service)
    shown = get(service, f"reports/{first['id']}", lab)
    assert (shown["version"], shown["substances"][0]["resolution"]) == (2, "name")
    assert shown["substances"][0]["substance_id"] == decided["substance_id"]
    kinds = [(a["type"], a["state"]) for a in get(service, "alerts", lab)["items"]]
    assert kinds == [("first_global", "issued")]
    with service.context.database.read() as session:
        assert session.scalars(
            select(ReportVersion.kind).where(ReportVersion.report_id == first["id"]).order_by(ReportVersion.version)
        ).all() == ["created", "curated"]
    # a report of tomorrow resolves at once, the search knows the name, the queue is empty
    later = post(service, "reports", lab, report("A-3", name="BLUE GREMLIN 77"))
    assert later["substances"][0]["substance_id"] == decided["substance_id"]
    assert get(service, "substances?q=blue gremlin 77", lab)["items"][0]["id"] == decided["substance_id"]
    assert get(service, "curation", analyst)["items"] == []
    post(service, f"curation/{queue[0]['id']}/decide", analyst, body, 409)

    event = get(service, "substance-events", analyst)["items"][0]
    post(service, f"substance-events/{event['id']}/undo", analyst, {"reason": "the laboratory was wrong"}, 200)
    work(service)
    assert get(service, f"reports/{first['id']}", lab)["substances"][0]["resolution"] == "unresolved"
    assert [(a["type"], a["state"]) for a in get(service, "alerts", lab)["items"]] == [("first_global", "retracted")]
    assert get(service, "curation", analyst)["items"][0]["label"] == "Blue Gremlin 77"
    post(service, f"substance-events/{event['id']}/undo", analyst, {"reason": "again"}, 409)


def test_a_label_can_be_a_class_or_be_left(sqlite_service: Service) -> None:
    service = sqlite_service
    lab, analyst = service.key("lab", "DE"), service.key("operator", "AT", "analyst")
    one = post(service, "reports", lab, report("A-1", name="some nitazene thing"))
    post(service, "reports", lab, report("A-2", name="white stuff seven"))
    queue = {item["label"]: item["id"] for item in get(service, "curation", analyst)["items"]}
    post(service, f"curation/{queue['some nitazene thing']}/decide", analyst, {"class": "nitazene", "reason": "a class"}, 200)
    post(service, f"curation/{queue['white stuff seven']}/decide", analyst, {"leave": True, "reason": "says nothing"}, 200)
    work(service)
    shown = get(service, f"reports/{one['id']}", lab)["substances"][0]
    assert (shown["resolution"], shown["class"]) == ("class", "nitazene")
    post(service, "reports", lab, report("A-3", name="white stuff seven"))
    assert get(service, "curation", analyst)["items"] == []
    post(service, f"curation/{queue['white stuff seven']}/decide", analyst, {"reason": "nothing said"}, 422)


def test_merging_moves_counts_and_alerts_and_can_be_undone(service: Service) -> None:
    lab, other = service.key("lab", "DE"), service.key("lab", "FR")
    authority, analyst = service.key("authority", "DE"), service.key("operator", "AT", "analyst")
    wrong = post(service, "reports", lab, report("A-1", structure={"smiles": "CCCC1(NC)CCCCC1=O"}, name="gremlinone"))
    right = post(service, "reports", other, report("B-1", "FR", structure={"smiles": "CCCC1(NCC)CCCCC1=O"}, name="gremlidone"))
    a, b = wrong["substances"][0]["substance_id"], right["substances"][0]["substance_id"]
    assert {x["type"] for x in get(service, "alerts", authority)["items"]} == {"first_global"}

    merged = post(service, f"substances/{a}/merge", analyst, {"into": b, "reason": "one compound, drawn wrongly"}, 200)
    assert merged["detections_moved"] == 1
    work(service)
    assert get(service, f"substances/{a}", lab)["id"] == b  # the old id leads to the new one
    assert any(name["name"] == "gremlinone" for name in get(service, f"substances/{b}", lab)["names"])
    assert sum(month["total"]["n"] or 0 for month in get(service, f"substances/{b}/prevalence", lab)["months"]) == 2
    states = {(x["type"], x["state"], x["substance"]["id"]) for x in get(service, "alerts", authority)["items"]}
    assert ("first_global", "retracted", a) in states  # whoever got it gets the retraction
    assert ("first_country", "issued", b) in states  # Germany is new to the substance that it turned out to be
    post(service, f"substances/{a}/merge", analyst, {"into": b, "reason": "again"}, 409)

    event = get(service, f"substance-events?substance={a}", analyst)["items"][0]
    post(service, f"substance-events/{event['id']}/undo", analyst, {"reason": "they are two"}, 200)
    work(service)
    assert get(service, f"substances/{a}", lab)["id"] == a
    with service.context.database.read() as session:
        for substance in (a, b):
            assert session.scalar(select(func.count()).select_from(Detection).where(Detection.substance_id == substance)) == 1
    assert not any(name["name"] == "gremlinone" for name in get(service, f"substances/{b}", lab)["names"])


def test_splitting_gives_chosen_reports_to_another_substance(service: Service) -> None:
    lab, analyst = service.key("lab", "DE"), service.key("operator", "AT", "analyst")
    stored = [post(service, "reports", lab, report(f"A-{n}", structure={"smiles": HCL})) for n in range(3)]
    mephedrone = stored[0]["substances"][0]["substance_id"]
    body = {"reports": [stored[0]["id"], stored[2]["id"]], "to": {"name": "3-MMC"}, "reason": "spectra read again"}
    event = post(service, f"substances/{mephedrone}/split", analyst, body, 200)
    assert event["detections_moved"] == 2
    work(service)
    names = [get(service, f"reports/{r['id']}", lab)["substances"][0]["name"] for r in stored]
    assert names[1] == get(service, f"substances/{mephedrone}", lab)["name"]
    assert names[0] == names[2] != names[1]
    post(service, f"substance-events/{event['id']}/undo", analyst, {"reason": "the first reading was right"}, 200)
    assert get(service, f"reports/{stored[0]['id']}", lab)["substances"][0]["substance_id"] == mephedrone
    post(service, f"substances/{mephedrone}/split", analyst, body | {"reports": ["0" * 26]}, 422)


def test_an_added_name_is_found_and_read(sqlite_service: Service) -> None:
    service = sqlite_service
    lab, analyst = service.key("lab", "DE"), service.key("operator", "AT", "analyst")
    waiting = post(service, "reports", lab, report("A-1", name="Purple Zorblax"))
    known = post(service, "reports", lab, report("A-2", structure={"smiles": HCL}))["substances"][0]["substance_id"]
    post(service, f"substances/{known}/names", analyst, {"name": "purple zorblax", "kind": "street", "reason": "forum"}, 201)
    work(service)
    assert get(service, f"reports/{waiting['id']}", lab)["substances"][0]["substance_id"] == known
    post(service, f"substances/{known}/names", analyst, {"name": "Purple-Zorblax", "reason": "forum"}, 409)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"substance": {"name": "no such thing at all"}, "reason": "why not"}, "/substance"),
        ({"substance": {"structure": {"smiles": "c1ccc"}}, "reason": "why not"}, "/substances/0/structure/smiles"),
        ({"substance": {"substance_id": "0" * 26}, "reason": "why not"}, "/substance_id"),
        ({"class": "sweets", "reason": "why not"}, "/class"),
        ({"leave": True}, "/reason"),
    ],
)
def test_a_decision_that_cannot_be_used_names_its_field(sqlite_service: Service, body: dict[str, Any], pointer: str) -> None:
    lab, analyst = sqlite_service.key("lab", "DE"), sqlite_service.key("operator", "AT", "analyst")
    post(sqlite_service, "reports", lab, report("A-1", name="Purple Zorblax"))
    item = get(sqlite_service, "curation", analyst)["items"][0]
    answer = post(sqlite_service, f"curation/{item['id']}/decide", analyst, body, 422)
    assert answer["errors"][0]["pointer"] == pointer
