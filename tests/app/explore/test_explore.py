"""The explorer: filters in the address, one frame for chart, table and downloads, refusals in words, records as counted."""

from __future__ import annotations

import csv
import io
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from fastapi import FastAPI
from python_calamine import load_workbook
from sqlalchemy import TextClause, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from app.explore import pages
from app.persistence.deadline import TooLong, within
from app.persistence.models import ActivityReport, Organisation
from tests.conftest import Service
from tests.site import client_of, close_site, make_site, sign_in


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    app = make_site(tmp_path_factory.mktemp("explore"))
    yield app
    close_site(app)


@pytest.fixture(scope="module")
def lab(site: FastAPI) -> TestClient:
    client = client_of(site)
    assert sign_in(client, "lab.de@example.org").status_code == 303
    return client


def _table(html: str) -> list[list[str]]:
    body = html.split('id="explore"' if 'id="explore"' in html else 'id="map"', 1)[1]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>|\s+", " ", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


def test_each_filter_is_in_the_address_and_can_be_removed(lab: TestClient) -> None:
    page = lab.get("/explore", params={"name": "4-FF", "country": "DE", "context": "seizure", "period": "36", "group": ""})
    assert page.status_code == 303  # the name is one substance: it goes into the address
    address = page.headers["location"]
    shown = lab.get(address).text
    assert '<option value="DE" selected>' in shown
    assert '<option value="36" selected>' in shown
    removes = re.findall(r'<a href="([^"]+)">Remove ([^<]+)</a>', shown)
    assert [what for _, what in removes] == ["substance: para-Fluorofentanyl", "country: Germany", "context: Seizure"]
    for href, what in removes:
        assert f"Remove {what}" not in lab.get(href.replace("&amp;", "&")).text


def test_downloads_hold_the_rows_of_the_page_and_the_records_are_as_many_as_counted(lab: TestClient) -> None:
    query = "period=36&split=country"
    html = lab.get(f"/explore?{query}").text
    table = _table(html)
    rows = list(csv.reader(io.StringIO(lab.get(f"/explore.csv?{query}").text)))
    assert [row[:4] for row in rows[1:]] == [[cell.split()[0] if "[" in cell else cell for cell in row] for row in table[1:]]
    book = load_workbook(io.BytesIO(lab.get(f"/explore.xlsx?{query}").content))
    sheet = book.get_sheet_by_name("Data").to_python()
    assert [str(row[0]) for row in sheet[1:]] == [row[0] for row in rows[1:]]
    total = int(re.search(r'id="count">(\d+) detections', html)[1])  # type: ignore[index]
    records = re.search(r'href="(/detections[^"]+)"', html)
    assert records
    listed, address = 0, records[1].replace("&amp;", "&")
    while address:
        page = lab.get(address).text
        assert f'id="count">{total} detections' in page
        listed += page.count('data-label="Month"')
        following = re.search(r'href="([^"]+)" rel="next"', page)
        address = following[1].replace("&amp;", "&") if following else ""
    assert listed == total


def test_small_maps_share_their_classes_and_hold_the_counts_of_the_map(lab: TestClient) -> None:
    """One for each 12 months, whose counts add up to the one map's; or one for each context."""
    text = lab.get("/explore?period=36&view=maps").text
    assert text.count('class="chart chart-map"') == 3
    assert re.search(r"All substances: (from \d to 3 countries|3 countries as before), among the 3 that report throughout", text)
    assert "Dec 2023 to Nov 2024" in text
    table = [row for row in _table(text) if len(row) == 4][1:]
    whole = {row[0]: row[2] for row in _table(lab.get("/explore?period=36&view=map").text) if len(row) == 3}
    for country, *numbers in table:
        assert str(sum(int(n) for n in numbers if "[" not in n)) == whole[country], country
    longer = lab.get("/explore?period=60&view=maps").text  # nobody reported before December 2023
    assert all(row[1:3] == ["[x] no data"] * 2 for row in _table(longer) if len(row) == 6 and row[0] != "Country")
    assert "All substances were reported by 3 of 3 reporting countries" in longer
    split = lab.get("/explore?period=36&view=maps&split=context").text
    assert split.count('class="chart chart-map"') == 2
    assert re.search(r"All substances by context: Seizure has most, \d+ of \d+", split)
    by_group = lab.get("/explore?period=36&view=maps&split=group").text
    assert re.search(r"Fentanyl analogue: \d+ in \d of 3 countries", by_group)
    for kind in ("svg", "png", "csv"):
        answer = lab.get(f"/explore.{kind}?period=36&view=maps")
        assert answer.status_code == 200, kind
    assert lab.get("/explore.png?view=map").content.startswith(b"\x89PNG")


def test_a_rate_without_statements_is_refused_in_words_and_given_with_them(lab: TestClient, site: FastAPI) -> None:
    refused = lab.get("/explore?measure=rate&context=purchase").text
    assert "No rate: no laboratory in this selection has stated how many tests it did" in refused
    with site.state.context.database.write() as session:
        for org in session.query(Organisation).filter(Organisation.kind == "lab"):
            session.add(
                ActivityReport(
                    org_id=org.id, country=org.country, period="2026-10", first_day=date(2026, 10, 1),
                    last_day=date(2026, 10, 31), samples_tested=200, tlp="GREEN", test=False, body="{}", actor="key:x",
                    received_at=datetime(2026, 11, 5, tzinfo=UTC),
                )
            )  # fmt: skip
    given = lab.get("/explore?measure=rate").text
    found = int(re.search(r'<td class="num">600</td>\s*<td class="num">(\d+)</td>', given)[1])  # type: ignore[index]
    assert f"{found / 0.6:.1f} per 1,000 tests in Oct 2026" in given


def test_a_query_that_takes_too_long_is_refused_with_a_narrower_one(lab: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "SECONDS", -1.0)
    monkeypatch.setattr("app.persistence.deadline._STEPS", 1)
    page = lab.get("/explore?period=60&split=substance").text
    assert "This query is too wide to answer" in page
    assert '<a href="/explore?period=36">Ask for 36 months</a>' in page
    monkeypatch.undo()
    assert "too wide" not in lab.get("/explore?period=60&split=substance").text


def _ask(session: Session, question: TextClause) -> None:
    """Again and again, within half a second; at most for five."""
    until = time.monotonic() + 5
    with within(session, 0.5):
        while time.monotonic() < until:
            session.execute(question)


@pytest.mark.parametrize("rows", [20_000_000, 20_000])
def test_one_long_question_and_many_short_ones_end_in_the_time_allowed(service: Service, rows: int) -> None:
    assert pages.SECONDS <= 5  # and a page around it, in 6 s
    counting = text(f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT count(*) FROM n")
    began = time.monotonic()
    with service.context.database.read() as session:
        with pytest.raises(TooLong, match=r"no answer in 0\.5 s"):
            _ask(session, counting)
        assert time.monotonic() - began < 6  # the question alone takes longer
        with within(session, 30):
            assert session.scalar(text("SELECT 1")) == 1  # the session goes on
        assert session.scalar(text("SELECT 2")) == 2  # with no limit any more


@pytest.mark.parametrize("split", ["", "confidence", "context", "country", "region", "group", "substance"])
def test_nothing_found_is_said_and_not_drawn(lab: TestClient, split: str) -> None:
    query = f"group=piperazine&country=MT&split={split}"
    for more in ("", "&view=map", "&view=table", "&measure=rate"):
        page = lab.get(f"/explore?{query}{more}")
        assert page.status_code == 200
        assert "No detections match." in page.text or "No rate:" in page.text
        assert "<figure" not in page.text
        assert "Remove class: Piperazine" in page.text
    assert lab.get(f"/explore.csv?{query}").text.count("\r\n") == 25  # the months, and no series
    assert lab.get(f"/explore.svg?{query}").status_code == 200


def test_the_public_and_industry_do_not_explore(site: FastAPI) -> None:
    public, industry = client_of(site), client_of(site)
    assert public.get("/explore").status_code == 303  # to the sign-in
    assert sign_in(industry, "industry.gb@example.org").status_code == 303
    assert industry.get("/explore").status_code == 403
    assert industry.get("/detections").status_code == 403
