"""The page of priorities: weights, ranks that cannot be told apart, unknown harm, and what is under control apart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.app.web.test_substance_pages import address, key_figures
from tests.factories import NOW, World
from tests.site import client_of, close_site, fill, make_site, signed_in

KNOWN, UNKNOWN = 4, 8


def world(made: World) -> None:
    fill(made)
    labs = [made.organisations[f"Test laboratory {country}"] for country in ("DE", "FR", "MT")]
    for n in range(KNOWN + UNKNOWN):
        substance = made.substance(f"Rankine {n}", group="synthetic_cathinone")
        for k in range(3 + 2 * n):
            day = (NOW - timedelta(days=25 * k % 340 + 20)).date()
            found = made.detection(labs[k % 3], substance, sampled_on=day, country=("DE", "FR", "MT")[(k + n) % 3])
        if n < KNOWN:
            made.case(found, role="sole_cause" if n else "incidental")
    made.detection(labs[0], made.substance("Cutting agent", ordinary=True))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = make_site(tmp_path_factory.mktemp("priorities"), fill_world=world)
    yield made
    close_site(made)


@pytest.fixture(scope="module")
def reviewer(app: FastAPI) -> TestClient:
    return signed_in(app, "reviewer.ch@example.org")


def main_of(text: str) -> str:
    found = re.search(r"<main.*?</main>", text, re.DOTALL)
    assert found
    return found.group()


def table(text: str, caption: str) -> list[list[str]]:
    """The rows of the ranking's table with this caption, as texts."""
    body = text.partition(f"<caption>{caption}")[2].partition("</table>")[0].partition("<tbody>")[2]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    return [
        [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S)
        ]
        for row in rows
    ]


FREE, BOUND = "Substances not under", "Substances under the 1961 or 1971 Convention"


def test_the_same_address_gives_the_same_bytes_and_the_sum_of_the_weights(reviewer: TestClient) -> None:
    address = "/priorities?prevalence=1&persistence=1&harm=2"
    assert "Used as 35 %, 25 % and 40 % of their sum: together 100 %." in reviewer.get("/priorities").text
    first, second = reviewer.get(address).text, reviewer.get(address).text
    assert main_of(first) == main_of(second)  # around it stands the form token, which differs each time
    assert "Used as 25 %, 25 % and 50 % of their sum: together 100 %." in first
    href = re.search(r'href="(/priorities\.csv[^"]+)"', first)
    assert href
    assert "prevalence=1&amp;persistence=1&amp;harm=2" in href.group(1)
    stored = [reviewer.get(href.group(1).replace("&amp;", "&")).content for _ in range(2)]
    assert stored[0] == stored[1]
    assert table(first, FREE) != table(reviewer.get("/priorities").text, FREE)


def test_each_row_says_what_it_cannot_be_told_apart_from(reviewer: TestClient) -> None:
    rows = table(reviewer.get("/priorities").text, FREE)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) >= 10  # the first ten are in the page itself
    apart = 0
    for rank, interval, *_ in rows:
        found = re.fullmatch(r"(\d+) to (\d+)(?: Not told apart from ranks (\d+) to (\d+))?", interval)
        assert found, interval
        low, high = int(found[1]), int(found[2])
        assert low <= int(rank) <= high
        if high > low:
            assert (found[3], found[4]) == (found[1], found[2])
            apart += 1
        else:
            assert found[3] is None
    assert apart > 3


def test_unknown_harm_is_a_range_from_nothing_and_ranks_by_its_low_end(reviewer: TestClient) -> None:
    rows = table(reviewer.get("/priorities").text, FREE)
    unknown = {row[2]: row for row in rows if row[5].endswith("unknown")}
    assert len([name for name in unknown if name.startswith("Rankine")]) == UNKNOWN
    for row in unknown.values():
        assert re.fullmatch(r"0\.0 to \d+\.\d unknown", row[5])
        low, high = (float(part) for part in row[6].split(" to "))
        assert low < high
    known = [row for row in rows if row[2] not in unknown]
    assert len([row for row in known if row[2].startswith("Rankine")]) == KNOWN
    assert all(re.fullmatch(r"\d+\.\d", row[5]) and re.fullmatch(r"\d+\.\d", row[6]) for row in known)
    lows = [float(row[6].split(" to ")[0]) for row in rows]
    assert lows == sorted(lows, reverse=True)


def test_what_is_under_control_is_ranked_in_a_table_of_its_own(reviewer: TestClient) -> None:
    text = reviewer.get("/priorities").text
    free, bound = ({re.sub(r" Exceeded by none$", "", row[2]) for row in table(text, caption)} for caption in (FREE, BOUND))
    assert bound == {"Fentanyl", "para-Fluorofentanyl"}
    assert not free & bound
    assert {"2-Methylmethcathinone", "Rankine 0"} <= free
    assert [int(row[0]) for row in table(text, BOUND)] == [1, 2]


def rank_on(text: str) -> tuple[str, str, str]:
    """The key figure of the rank on a substance's page: its name, the figure and the note."""
    found = re.search(r"<dt>(Rank[^<]*)</dt><dd>(.*?)</dd><dd class=\"note\">([^<]*)</dd>", text, re.DOTALL)
    assert found
    return found[1], re.sub(r"<[^>]+>", "", found[2]), found[3]


def test_a_page_tells_the_stored_rank_and_leads_to_its_row(reviewer: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    text = reviewer.get("/priorities").text
    text = text.replace(' <strong class="badge state">Exceeded by none</strong>', "")
    tables = {"Rank": table(text, FREE), "Rank of those controlled": table(text, BOUND)}
    monkeypatch.setattr("app.priorities.pages.SHOWN", 2)  # a row beyond the first ones is on the page that the rank leads to
    with monkeypatch.context() as patch:
        patch.setattr("app.priorities.snapshots._RANKINGS", {})
        patch.setattr("app.priorities.snapshots.placed", None)  # whoever ranks anything fails
        pages = {row[2]: reviewer.get(address(reviewer, row[2])).text for rows in tables.values() for row in (rows[0], rows[-1])}
    for name, rows in tables.items():
        for rank, interval, substance, *rest in (rows[0], rows[-1]):
            low, high = re.match(r"(\d+) to (\d+)", interval).groups()  # type: ignore[union-attr]
            between = f"between {low} and {high}" if low != high else "the same"
            note = f"of {len(rows)}; in 450 of 500 draws {between}. Data grade {rest[4]}"
            assert rank_on(pages[substance]) == (name, rank, note)
            (href,) = key_figures(pages[substance])[name][1]
            where, _, anchor = href.partition("#")
            answer = reviewer.get(where).text
            row = answer.partition(f'<tr id="{anchor}">')[2].partition("</tr>")[0]
            assert re.search(rf'<td class="num">{rank}</td>.*>{re.escape(substance)}</a>', row, re.DOTALL)
            shown = len(table(answer, FREE))
            assert (f"{len(rows) - shown} more in the CSV." in answer) == (name == "Rank")


def test_a_page_says_why_a_substance_has_no_rank(reviewer: TestClient) -> None:
    reviewer.get("/priorities")
    no_rows = "no confirmed or probable detection up to 23 Nov 2026 in the rows that the ranking rests on"
    for name, why in (("Opium", no_rows), ("Cutting agent", "an ordinary substance here")):
        assert rank_on(reviewer.get(address(reviewer, name)).text) == ("Rank", "not ranked", why)


def test_a_rank_is_told_to_whoever_may_read_the_ranking_of_its_own_rows(app: FastAPI, reviewer: TestClient) -> None:
    """Before a snapshot there is none; a laboratory's rests on other rows than a reviewer's; the rest is told nothing."""
    lab, partner, public = signed_in(app, "lab.de@example.org"), signed_in(app, "industry.gb@example.org"), client_of(app)
    page = address(reviewer, "Rankine 3")
    assert rank_on(lab.get(page).text) == ("Rank", "not ranked", "the first ranking is made in the night")
    ranks = {}
    for who, client in (("reviewer", reviewer), ("lab", lab)):
        rows = {re.sub(" Exceeded by none$", "", row[2]): row for row in table(client.get("/priorities").text, FREE)}
        ranks[who] = rank_on(client.get(page).text)[1]
        assert ranks[who] == rows["Rankine 3"][0]
    assert ranks["lab"] != ranks["reviewer"]  # harm cases are AMBER
    for client in (partner, public):
        assert client.get("/priorities").status_code in (303, 403)
        assert not [name for name in key_figures(client.get(page).text) if name.startswith("Rank")]
