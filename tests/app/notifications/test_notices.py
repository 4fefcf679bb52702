"""Manual notices, measures, CAP documents and the Atom feed."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from starlette.testclient import TestClient

from alerts.values import Scope
from tests.factories import match

CAP = "{urn:oasis:names:tc:emergency:cap:1.2}"
ATOM = "{http://www.w3.org/2005/Atom}"
NOTICE = {"headline": "Two nitazenes share one mass", "summary": "Laboratories report both as one.", "country": "DE", "level": 2}


@pytest.fixture
def keys(world: Any) -> dict[str, dict[str, str]]:
    operator = world.org("operator")
    return {
        "analyst": world.key(operator, "analyst"),
        "second": world.key(operator, "analyst"),
        "authority": world.key(world.org("authority")),
        "foreign": world.key(world.org("authority", "FR")),
        "lab": world.key(world.lab),
    }


def test_a_notice_is_issued_once_by_whom_the_table_says(client: TestClient, world: Any, keys: Any) -> None:
    wish = NOTICE | {"substance": world.substance(status="controlled").id}
    made = client.post("/v1/alerts", headers=keys["analyst"], json=wish)
    assert made.status_code == 201, made.text
    alert = made.json()
    assert (alert["type"], alert["level"], alert["reviewed"], alert["controlled"]) == ("analytical", 2, True, True)
    assert alert["short"] == "Two nitazenes share one mass. Controlled."
    assert client.post("/v1/alerts", headers=keys["analyst"], json=wish).status_code == 409
    assert client.post("/v1/alerts", headers=keys["authority"], json=NOTICE).status_code == 201
    assert client.post("/v1/alerts", headers=keys["foreign"], json=NOTICE).status_code == 403
    assert client.post("/v1/alerts", headers=keys["lab"], json=NOTICE).status_code == 403
    assert client.post("/v1/alerts", headers=keys["analyst"], json=NOTICE | {"country": "XX"}).status_code == 422
    assert client.post("/v1/alerts", headers=keys["analyst"], json=NOTICE | {"nonsense": 1}).status_code == 422


@pytest.mark.parametrize(
    ("country", "short", "summary"),
    [
        ("DE", "Controlled.", "The substance is controlled under an instrument that applies here."),
        (
            "FR",
            "No control match.",
            "No match in what is covered: the UN conventions and the instruments on file of the country.",
        ),
        (None, "No control match.", "No match in the UN conventions; the law of single countries stands on its page."),
    ],
)
def test_a_notice_speaks_of_the_law_of_its_country(
    client: TestClient, world: Any, keys: Any, country: str | None, short: str, summary: str
) -> None:
    law = match("DE-NPSG", "Anlage 1", "phenethylamines and cathinones", basis="generic")
    wish = NOTICE | {"substance": world.substance(matches=[law]).id, "country": country}
    alert = client.post("/v1/alerts", headers=keys["analyst"], json=wish).json()
    assert alert["controlled"] is (country == "DE")
    assert alert["short"] == f"Two nitazenes share one mass. {short}"
    assert alert["summary"].endswith(summary)


def test_level_four_needs_two_different_analysts(client: TestClient, keys: Any) -> None:
    alert = client.post("/v1/alerts", headers=keys["analyst"], json=NOTICE | {"level": 4}).json()
    path = f"/v1/alerts/{alert['id']}"
    assert client.get(path, headers=keys["foreign"]).status_code == 404
    for _ in range(2):
        once = client.post(f"{path}/approve", headers=keys["analyst"]).json()
        assert (once["revision"], once["reviewed"]) == (1, False)
    twice = client.post(f"{path}/approve", headers=keys["second"]).json()
    assert (twice["revision"], twice["reviewed"]) == (2, True)
    assert client.get(path, headers=keys["foreign"]).status_code == 200


def test_industry_partners_get_their_notices_and_public_ones(client: TestClient, world: Any, keys: Any) -> None:
    partner = world.key(world.org("industry"))
    client.post("/v1/alerts", headers=keys["analyst"], json=NOTICE | {"type": "industry"})
    client.post("/v1/alerts", headers=keys["analyst"], json=NOTICE)
    assert [item["type"] for item in client.get("/v1/alerts", headers=partner).json()["items"]] == ["industry"]


def test_a_measure_is_listed_and_raises_control_change(client: TestClient, world: Any, keys: Any) -> None:
    substance = world.substance()
    wish = {"kind": "provisional_control", "substance": substance.id, "from": "2026-12-01", "legal_basis": "Order 12"}
    made = client.post("/v1/measures", headers=keys["authority"], json=wish)
    assert made.status_code == 201, made.text
    raised = client.get(f"/v1/alerts/{made.json()['raised']}").json()
    assert (raised["type"], raised["level"]) == ("control_change", 1)
    assert raised["headline"] == "N-pyrrolidino isotonitazene: provisional control in Germany from 1 December 2026"
    listed = client.get("/v1/measures", headers=keys["lab"], params={"substance": substance.id}).json()["items"]
    assert [(row["kind"], row["country"], row["from"], row["organisation"]) for row in listed] == [
        ("provisional_control", "DE", "2026-12-01", "authority DE")
    ]
    assert client.post("/v1/measures", headers=keys["lab"], json=wish).status_code == 403
    assert client.post("/v1/measures", headers=keys["authority"], json={"kind": "none"}).status_code == 422
    assert client.get("/v1/measures").status_code == 401


def test_a_cap_document_follows_the_profile(client: TestClient, world: Any, keys: Any, store_report: Any) -> None:
    (alert_id,) = store_report(world.lab, world.substance(), death=True)
    answer = client.get(f"/v1/alerts/{alert_id}.cap", headers=keys["authority"])
    assert answer.headers["content-type"] == "application/cap+xml"
    root = ET.fromstring(answer.content)

    def text(path: str) -> str | None:
        return root.findtext("/".join(CAP + part for part in path.split("/")))

    assert text("identifier") == f"{alert_id}.1"
    assert (text("status"), text("msgType"), text("scope")) == ("Actual", "Alert", "Restricted")
    assert text("restriction") == "TLP:GREEN"
    assert (text("info/category"), text("info/severity"), text("info/urgency")) == ("Health", "Severe", "Immediate")
    assert (text("info/area/areaDesc"), text("info/area/geocode/value")) == ("Germany", "DE")
    assert (text("sent") or "").endswith("-00:00")
    assert text("info/onset") == "2026-11-01T00:00:00-00:00"
    assert client.get(f"/v1/alerts/{alert_id}.cap", headers=keys["foreign"]).status_code == 404

    client.post(f"/v1/alerts/{alert_id}/approve", headers=keys["analyst"])
    root = ET.fromstring(client.get(f"/v1/alerts/{alert_id}.cap", headers=keys["authority"]).content)
    assert text("msgType") == "Update"
    assert (text("references") or "").split(",")[1] == f"{alert_id}.1"
    root = ET.fromstring(client.get(f"/v1/alerts/{alert_id}.cap", headers=keys["foreign"]).content)
    assert text("msgType") == "Alert"
    assert text("references") is None


def test_red_has_neither_cap_nor_feed(client: TestClient, world: Any, keys: Any, store_report: Any) -> None:
    (alert_id,) = store_report(world.lab, world.substance(group="other"), first_in=Scope.COUNTRY, tlp="RED")
    for name in ("lab", "authority", "analyst"):
        assert client.get(f"/v1/alerts/{alert_id}.cap", headers=keys[name]).status_code == 404
        assert alert_id not in client.get("/v1/alerts.atom", headers=keys[name]).text


def test_the_public_feed_holds_clear_alerts_and_answers_conditional_requests(
    client: TestClient, world: Any, keys: Any, store_report: Any
) -> None:
    (clear,) = store_report(world.lab, world.substance("a", group="other"), first_in=Scope.COUNTRY, tlp="CLEAR")
    (green,) = store_report(world.lab, world.substance("b", group="other"), first_in=Scope.COUNTRY, tlp="GREEN")
    answer = client.get("/v1/alerts.atom")
    feed = ET.fromstring(answer.content)
    ids = [entry.findtext(f"{ATOM}id") or "" for entry in feed.findall(f"{ATOM}entry")]
    assert [one.rpartition(":")[2] for one in ids] == [clear]
    link = feed.find(f"{ATOM}entry/{ATOM}link")
    assert link is not None
    assert link.attrib["href"].endswith(f"/v1/alerts/{clear}.cap")
    assert client.get("/v1/alerts.atom", headers={"If-None-Match": answer.headers["etag"]}).status_code == 304
    assert green in client.get("/v1/alerts.atom", headers=keys["foreign"]).text
