"""Dossiers: every number opens as many records as it says, gaps are said, and nobody reads more than their rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import typst
from PIL import Image
from sqlalchemy import text
from starlette.testclient import TestClient

from app.auth.permissions import Principal, Role
from app.chemistry import Chemistry
from app.context import AppContext
from app.dossiers import forms, keeping
from app.dossiers.values import Facts, Table
from app.dossiers.views import View
from app.main import create_app
from app.persistence.session import Database
from app.settings import Settings
from app.worker import Worker
from tests.conftest import Clock, Service
from tests.databases import ready

SMILES = "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1"
XYLAZINE = "Cc1cccc(C)c1NC1=NCCCS1"


def _report(n: int, country: str, *, tlp: str = "GREEN", case: dict[str, Any] | None = None, **sample: Any) -> dict[str, Any]:
    return {
        "lab_reference": f"D-{n}",
        "sample": {"country": country, "date_sampled": f"2026-{1 + n % 10:02d}-03", "context": "seizure", "form": "powder",
                   "quantity": {"value": 10.0 + n, "unit": "g", "basis": "net"}, **sample},
        "substances": [
            {"structure": {"smiles": SMILES}, "techniques": ["gc-ms", "nmr"], "schymanski_level": "1", "purity_percent": 3.0 + n,
             "purity_as": "base", "reference_material": "certified", "isomers_excluded": "yes"},
            *([{"structure": {"smiles": XYLAZINE}, "techniques": ["gc-ms"]}] if n % 2 else []),
        ],
        "cases": [case] if case else [],
        "tlp": tlp,
    }  # fmt: skip


DEATH = {
    "seriousness": "death",
    "role": "sole_cause",
    "exposure_evidence": "biological",
    "route": "intravenous",
    "age_band": "25-34",
}


@pytest.fixture(scope="module")
def world(chemistry: Chemistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Nine reports: seven GREEN of two countries, one AMBER of Malta with a death, one AMBER of Germany with a death."""
    folder = tmp_path_factory.mktemp("dossiers")
    database = Database(f"sqlite:///{folder / 'nps.sqlite'}")
    ready(database)
    settings = Settings(DATABASE_URL=database.url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for tests only")
    clock = Clock()
    context = AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=chemistry, now=clock)
    with TestClient(create_app(settings, context=context), raise_server_exceptions=False) as client:
        yield _filled(Service(client, context, clock))


def _filled(sqlite_service: Service) -> dict[str, Any]:
    keys = {country: sqlite_service.key("lab", country) for country in ("DE", "FR", "MT")}
    sent = []
    for n in range(7):
        sent.append((keys["DE" if n % 2 else "FR"], _report(n, "DE" if n % 2 else "FR")))
    sent.append((keys["MT"], _report(7, "MT", tlp="AMBER", case=DEATH)))
    sent.append((keys["DE"], _report(8, "DE", tlp="AMBER", case=DEATH, context="biological")))
    answers = []
    for key, body in sent:
        answer = sqlite_service.client.post("/v1/reports", json=body, headers=key)
        assert answer.status_code == 201, answer.text
        answers.append(answer.json())
    sqlite_service.clock.at += timedelta(days=1)
    return {
        "service": sqlite_service, "substance": answers[0]["substances"][0]["substance_id"], "keys": keys, "answers": answers,
        "reviewer": sqlite_service.key("reviewer", "CH"), "authority": sqlite_service.key("authority", "DE"),
        "analyst": sqlite_service.key("operator", "AT", "analyst"),
    }  # fmt: skip


def _dossier(world: dict[str, Any], who: str) -> dict[str, Any]:
    answer = world["service"].client.get(f"/v1/substances/{world['substance']}/dossier.json", headers=world[who])
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _cells(document: dict[str, Any]) -> dict[str, str]:
    """What is printed for each figure."""
    found = {}
    for section in document["sections"]:
        for block in section["blocks"]:
            rows = [[value] for _, value in block["rows"]] if block["block"] == "facts" else block.get("rows", [])
            for row in rows:
                found.update({value["figure"]: value["text"] for value in row if "figure" in value})
    return found


def test_every_number_opens_as_many_records_as_it_says(world: dict[str, Any]) -> None:
    document = _dossier(world, "reviewer")
    shown = _cells(document)
    assert len(shown) > 40
    assert set(shown) <= set(document["figures"])
    for key, printed in shown.items():
        listed = []
        cursor: int | None = 0
        while cursor is not None:
            page = world["service"].client.get(
                f"/v1/dossiers/{document['id']}/records", params={"figure": key, "cursor": cursor}, headers=world["reviewer"]
            )
            assert page.status_code == 200, key
            listed += page.json()["items"]
            cursor = page.json()["next_cursor"]
        assert len(listed) == page.json()["total"]
        assert not any(item["gone"] for item in listed)
        if key != "16.mass":  # a sum, with the number of its samples behind it
            assert printed == f"{len(listed):,}", key
    assert shown["16.mass"] == f"{sum(10.0 + n for n in range(8)):.1f} g in 8 samples"


def test_the_numbers_are_those_of_the_tables(world: dict[str, Any]) -> None:
    """Counted again by SQL of its own."""
    shown = _cells(_dossier(world, "reviewer"))
    base = f"""FROM detection d JOIN sample s ON s.report_id = d.report_id WHERE d.substance_id = '{world["substance"]}'
        AND d.counted AND d.relation = 'parent' AND d.confidence IN ('confirmed', 'probable')"""
    with world["service"].context.database.engine.connect() as connection:

        def count(more: str = "", what: str = "*") -> str:
            return str(connection.execute(text(f"SELECT count({what}) {base} {more}")).scalar())

        assert shown["13.all"] == count() == "9"
        assert shown["13.country"] == count(what="DISTINCT d.country") == "3"
        assert shown["13.country.DE"] == count("AND d.country = 'DE'")
        assert shown["13.month.2026-03"] == count("AND d.month = '2026-03'")
        assert shown["13.context.biological"] == count("AND d.context = 'biological'") == "1"
        assert shown["16.seizures"] == count("AND d.context = 'seizure'")
        joined = base.replace("WHERE", "JOIN detection o ON o.report_id = d.report_id WHERE")
        beside = connection.execute(text(f"SELECT count(DISTINCT d.id) {joined} AND o.id != d.id")).scalar()
        assert shown["13.with.1"] == str(beside)
        cases = "SELECT count(*) FROM harm_case WHERE counted AND seriousness = 'death' AND country NOT IN ('MT')"
        assert shown["6.deaths"] == str(connection.execute(text(cases)).scalar()) == "1"


def test_it_has_the_nineteen_headings_and_says_its_gaps(world: dict[str, Any]) -> None:
    document = _dossier(world, "reviewer")
    sections = {section["number"]: section for section in document["sections"]}
    assert sorted(sections) == list(range(1, 21))
    for number in (7, 8, 9, 10, 15, 19):
        assert sections[number]["fill"] == "literature"
        assert any(block["block"] == "gap" and block["text"] == "No data in the service" for block in sections[number]["blocks"])
    assert sections[5]["fill"] == "empty"
    assert document["snapshot"]["cutoff"] == "2026-11-24"
    assert len(document["snapshot"]["digest"]) == 64
    charts = [block for section in document["sections"] for block in section["blocks"] if block["block"] == "chart"]
    assert len(charts) >= 3
    assert all("<svg" in chart["svg"] and "<path" in chart["svg"] for chart in charts)


def test_a_control_entry_that_is_not_certain_says_possibly(world: dict[str, Any]) -> None:
    document = _dossier(world, "reviewer")
    (annex,) = (section for section in document["sections"] if section["number"] == 20)
    (table,) = (block for block in annex["blocks"] if block["block"] == "table")
    entries = {row[0]["text"]: row[1]["text"] for row in table["rows"]}
    assert entries["United Kingdom"] == "UK Misuse of Drugs Act Class A, under the class rule for fentanyls"
    assert entries["Germany"].startswith("possibly German NPS Act")


def test_nobody_opens_a_dossier_of_rows_they_may_not_read(world: dict[str, Any]) -> None:
    client = world["service"].client
    full, shared = _dossier(world, "reviewer"), _dossier(world, "authority")
    for who in ("reviewer", "analyst"):
        for document in (full, shared):
            assert client.get(f"/v1/dossiers/{document['id']}.json", headers=world[who]).status_code == 200
    for key in (world["authority"], world["keys"]["DE"], world["keys"]["FR"]):
        assert client.get(f"/v1/dossiers/{shared['id']}.json", headers=key).status_code == 200
        assert client.get(f"/v1/dossiers/{full['id']}.json", headers=key).status_code == 404
        assert client.get(f"/v1/dossiers/{full['id']}/records?figure=6.deaths", headers=key).status_code == 404
        assert full["id"] not in client.get("/v1/dossiers", headers=key).text
    told = json.dumps(shared)
    assert _cells(shared)["13.all"] == "7"
    assert "Malta" not in told  # not even as a country that reported: its only row is AMBER
    assert "harm is unknown" in told or "[c]" in told
    assert not any(key.startswith(("6.", "14.deaths")) for key in shared["figures"])
    # the reviewer's list of deaths holds the German one, de-identified, and never the Maltese one
    deaths = client.get(f"/v1/dossiers/{full['id']}/records?figure=6.deaths", headers=world["reviewer"]).json()["items"]
    assert [(row["country"], row["age"], row["quarter"]) for row in deaths] == [("Germany", "18-44", "2026, quarter 3")]


def test_the_worker_makes_it_and_it_can_be_taken_away(world: dict[str, Any]) -> None:
    """As a family: by the task, then as PDF and as one HTML file."""
    service: Service = world["service"]
    me = Principal(
        actor="key:test",
        org_id=service.org_id("reviewer CH"),
        org_name="",
        kind="reviewer",
        country="CH",
        role=Role.REVIEWER,
        test=False,
    )
    snapshot = keeping.snapshot_of_view(service.context, View.REVIEWER)
    with service.context.database.write() as session:
        begun = keeping.begin(session, service.context, me, View.REVIEWER, "family", "fentanyl_analogue", snapshot)
        assert keeping.begin(session, service.context, me, View.REVIEWER, "family", "fentanyl_analogue", snapshot) == begun
    assert service.client.get(f"/v1/dossiers/{begun}.pdf", headers=world["reviewer"]).status_code == 409
    Worker(service.context, schedule=False).run_due()
    pdf = service.client.get(f"/v1/dossiers/{begun}.pdf", headers=world["reviewer"])
    assert pdf.status_code == 200
    assert pdf.content.startswith(b"%PDF")
    page = service.client.get(f"/v1/dossiers/{begun}.html", headers=world["reviewer"]).text
    assert page.count("<section ") == 20
    assert "<script" not in page
    assert f"/dossiers/{begun}/records?figure=1.members" in page
    with service.context.database.read() as session:
        row = keeping.open_dossier(session, me, begun, whole=True)
        assert row is not None
        document = keeping.document_in(row)
        figures = keeping.figures_in(row)
        # on paper nothing runs into the margins of 20 mm, and so off the page, and every heading is there
        whole = forms.Whole(row=row, document=document, notes=(), base="http://x", records={})
        pages = typst.compile(
            forms.TEMPLATE.read_bytes(), format="png", ppi=36, sys_inputs={"dossier": json.dumps(forms._content(whole))}
        )
    assert isinstance(pages, list)
    assert len(pages) > 3
    margin = round(18 / 25.4 * 36)
    for content in pages:
        picture = Image.open(io.BytesIO(content)).convert("L")
        width, height = picture.size
        for side in ((0, 0, margin, height), (width - margin, 0, width, height)):
            assert picture.crop(side).getextrema() == (255, 255)
    printed = [v for s in document.sections for b in s.blocks if isinstance(b, Facts | Table) for v in _values(b) if v.figure]
    assert all(v.figure in figures for v in printed)


def test_a_record_withdrawn_since_is_said_to_be_gone(world: dict[str, Any]) -> None:
    client = world["service"].client
    document = _dossier(world, "reviewer")
    first = world["answers"][1]["id"]
    assert client.post(f"/v1/reports/{first}/withdraw", json={"reason": "mix-up"}, headers=world["keys"]["DE"]).status_code == 200
    page = client.get(f"/v1/dossiers/{document['id']}/records?figure=13.all", headers=world["reviewer"]).json()
    assert page["total"] == 9
    assert [set(row) for row in page["items"] if row["gone"]] == [{"id", "gone"}]
    again = client.get(f"/v1/dossiers/{document['id']}.json", headers=world["reviewer"]).json()
    assert again["digest"] == document["digest"]
    assert _cells(again)["13.all"] == "9"


def _values(block: Facts | Table) -> list[Any]:
    return [v for _, v in block.rows] if isinstance(block, Facts) else [v for row in block.rows for v in row]
