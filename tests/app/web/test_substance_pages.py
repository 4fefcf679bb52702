"""The list of substances and the page of one, as roles see them."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree

import pytest
from fastapi import FastAPI
from sqlalchemy import event
from starlette.testclient import TestClient

from tests.site import client_of


def address(client: TestClient, q: str) -> str:
    found = re.findall(r'href="(/substances/[0-9A-Z]{26})"', client.get("/substances", params={"q": q}).text)
    assert found, f"nothing found for {q}"
    return str(found[0])


@pytest.mark.parametrize(
    "q",
    ["para fluoro fentanyl", "p-Fluorofentanyl", "4-FF", "4-ff ", "KXUBAVLIJFTASZ-UHFFFAOYSA-N", "kxubavlijftasz-uhfffaoysa-n"],
)
def test_any_spelling_and_the_inchikey_lead_to_one_row(public: TestClient, q: str) -> None:
    text = public.get("/substances", params={"q": q}).text
    assert re.findall(r'class="row-title" href="[^"]+">([^<]+)<', text) == ["para-Fluorofentanyl"]
    assert '<p role="status" id="count">1 substance</p>' in text


def test_a_cas_number_finds_its_substance(public: TestClient) -> None:
    assert "Fentanyl" in public.get("/substances", params={"q": "437-38-7"}).text


def test_no_name_proposes_the_nearest_spellings_and_keeps_the_text(public: TestClient) -> None:
    text = public.get("/substances", params={"q": "fentanil"}).text
    assert "No name, CAS number or InChIKey like 'fentanil'." in text
    assert "Nearest spellings:" in text
    assert 'value="fentanil"' in text


def test_an_exact_name_wins_and_the_others_are_one_link_away(public: TestClient) -> None:
    text = public.get("/substances", params={"q": "fentanyl"}).text
    assert "1 substance<" in text
    href = re.search(r'href="([^"]+match=contains[^"]*)"', text)
    assert href
    assert "2 substances<" in public.get(href.group(1).replace("&amp;", "&")).text


def test_filters_stand_in_the_address_and_can_be_removed(public: TestClient) -> None:
    text = public.get("/substances", params={"group": "fentanyl_analogue", "status": "controlled"}).text
    assert "2 substances<" in text
    assert "Remove group: Fentanyl analogue" in text
    assert 'href="/substances?status=controlled"' in text


@pytest.mark.parametrize(
    "sort", ["name", "-name", "detections", "-detections", "countries", "last", "-last", "newest", "nonsense"]
)
def test_every_order_can_be_read(public: TestClient, sort: str) -> None:
    assert "4 substances<" in public.get("/substances", params={"sort": sort}).text


def test_pages_of_the_list_follow_each_other_without_gap(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.substances.pages.LIMIT", 1)
    client = client_of(site)
    for sort in ("name", "-detections", "-last"):
        names, path = [], f"/substances?sort={sort}"
        while path:
            text = client.get(path).text
            names += re.findall(r'class="row-title" href="[^"]+">([^<]+)<', text)
            following = re.search(r'href="([^"]+)" rel="next"', text)
            path = following.group(1).replace("&amp;", "&") if following else ""
        assert sorted(names) == ["2-Methylmethcathinone", "Fentanyl", "Opium", "para-Fluorofentanyl"]


def test_a_strange_cursor_is_a_422_page(public: TestClient) -> None:
    assert public.get("/substances?cursor=xyz").status_code == 422


def test_a_substance_above_the_readers_label_is_not_found(as_role: dict[str, TestClient]) -> None:
    hidden = address(as_role["analyst"], "Amberine")
    assert as_role["other lab"].get(hidden).status_code == 200  # its own
    for role in ("lab", "authority", "industry", "admin"):
        answer = as_role[role].get(hidden)
        assert answer.status_code == 404, role
        assert "Amberine" not in answer.text
    assert as_role["lab"].get("/substances/01ABCDEFGHJKMNPQRSTVWXYZ00").text.count("There is no substance") == 1


def test_the_verdict_names_instrument_schedule_and_basis(public: TestClient, as_role: dict[str, TestClient]) -> None:
    text = public.get(address(public, "4-FF")).text
    assert "Controlled: UN 1961 Schedule I, as para-Fluorofentanyl" in text
    assert "and 1 more" in text
    assert (
        "Meets the class rule, but is named in another entry: this rule does not count." not in text
    )  # US-CSA is not covered here
    possible = as_role["lab"].get(address(as_role["lab"], "N-Pyrrolidino protonitazene")).text
    assert (
        "Possibly controlled: UN 1961 Schedule I, under the class rule for nitazenes; the wording of this rule is not" in possible
    )


def test_no_match_says_what_is_covered_and_what_is_not_and_never_legal(public: TestClient) -> None:
    text = public.get(address(public, "2-MMC")).text
    assert "No match in the UN conventions; controlled in United Kingdom" in text
    assert "No match in the UN conventions: 3 instruments, editions of 24 Nov 2026." in text
    assert ">No UN match</strong>" in text
    assert ">Controlled in GB</strong>" in text
    assert "Not covered: stereoisomers of three entries: text not read." in text
    assert "Under the law of single countries: UK Misuse of Drugs Act Class B, under the class rule for cathinones." in text
    assert "Information, not legal advice; the official text prevails." in text
    assert not re.search(r"\b(legal|not controlled)\b(?! advice| status)", re.sub(r"<[^>]+>", " ", text), re.IGNORECASE)


def key_figures(text: str) -> dict[str, tuple[str, list[str]]]:
    """What stands on top of the page: by name, the figure and the addresses of its lists."""
    block = text.partition('<dl class="key-figures')[2].partition("</dl>")[0]
    found = {}
    for name, rest in re.findall(r"<dt>([^<]+)</dt>(.*?)</div>", block, re.DOTALL):
        number = re.search(r"<dd>(.*?)</dd>", rest, re.DOTALL)
        assert number
        links = [href.replace("&amp;", "&") for href in re.findall(r'href="([^"]+)"', rest)]
        found[name] = (re.sub(r"<[^>]+>", "", number.group(1)).strip(), links)
    return found


def stated_and_listed(client: TestClient, address: str) -> tuple[str, int]:
    """The number that a list states, and how many rows it has over all its pages."""
    stated, rows = set(), 0
    while address:
        text = client.get(address).text
        stated |= set(re.findall(r'id="count">([\d,]+) ', text))
        rows += len(re.findall(r'<th scope="row"', text))
        following = re.search(r'href="([^"]+)" rel="next"', text)
        address = following.group(1).replace("&amp;", "&") if following else ""
    (number,) = stated
    return number, rows


@pytest.mark.parametrize("role", ["lab", "authority", "reviewer", "analyst"])
@pytest.mark.parametrize("q", ["4-FF", "437-38-7", "2-MMC"])
def test_every_key_figure_leads_to_a_list_as_long_as_it_says(as_role: dict[str, TestClient], role: str, q: str) -> None:
    client = as_role[role]
    figures = key_figures(client.get(address(client, q)).text)
    assert figures.pop("Rank") == ("not ranked", [])  # the ranking is looked at in tests/app/priorities
    assert len(figures) == 4
    for name, (number, links) in figures.items():
        assert links, f"{name} leads nowhere for {role}"
        assert stated_and_listed(client, links[0]) == (number, int(number.replace(",", ""))), name
    if q == "437-38-7":
        deaths, lists = figures["Deaths naming it"]
        assert deaths == "6"
        assert stated_and_listed(client, lists[1]) == ("2", 2)  # the sole cause in 2


def test_who_may_not_open_the_rows_has_no_way_to_a_list(public: TestClient, as_role: dict[str, TestClient]) -> None:
    for reader in (public, as_role["industry"], as_role["admin"]):
        for q in ("4-FF", "437-38-7", "2-MMC"):
            assert not [links for _, links in key_figures(reader.get(address(reader, q)).text).values() if links]
    # counts of cases of others are given masked: there is a number from 5 on, but no list
    other = as_role["other lab"]
    page = address(other, "437-38-7")
    assert key_figures(other.get(page).text)["Deaths naming it"] == ("6", [])
    listed = other.get(f"/cases?substance={page.rpartition('/')[2]}")
    assert "0 cases<" in listed.text
    assert "No case that you may open." in listed.text
    assert as_role["industry"].get(f"/cases?substance={page.rpartition('/')[2]}").status_code == 403
    hidden = address(as_role["analyst"], "Amberine").rpartition("/")[2]
    assert as_role["lab"].get(f"/cases?substance={hidden}").status_code == 404
    assert as_role["lab"].get(f"/detections?substance={hidden}&by=country").status_code == 404


def test_cases_are_listed_without_what_would_tell_a_person(as_role: dict[str, TestClient]) -> None:
    reviewer = as_role["reviewer"]
    page = address(reviewer, "437-38-7").rpartition("/")[2]
    text = reviewer.get(f"/cases?substance={page}&seriousness=nonsense&role=nonsense").text
    assert "6 cases<" in text
    assert re.search(r'data-label="Quarter">2026, quarter [1-4]<', text)
    assert "DE-" not in text
    assert "Test laboratory" not in text
    assert "Your report" not in text
    assert as_role["lab"].get(f"/cases?substance={page}").text.count("Your report") == 6


def test_no_case_means_that_harm_is_unknown(public: TestClient) -> None:
    assert "No cases reported: harm is unknown, not nil." in public.get(address(public, "2-MMC")).text


def _drawing(client: TestClient, q: str) -> str:
    found = re.search(r'<div class="drawing">(.*?)</div>', client.get(address(client, q)).text, re.DOTALL)
    assert found
    return found.group(1)


def test_the_drawing_marks_the_atoms_of_a_class_rule(as_role: dict[str, TestClient]) -> None:
    drawing = _drawing(as_role["lab"], "N-Pyrrolidino protonitazene")
    assert 'aria-label="Structure of N-Pyrrolidino protonitazene"' in drawing
    assert "style=" not in drawing
    assert {int(n) for n in re.findall(r'<ellipse[^>]*class="atom-(\d+) highlight"', drawing)} == {4, 5, 6, 7}  # of the match
    assert "highlight" not in _drawing(as_role["lab"], "437-38-7")  # listed: all atoms would say nothing
    assert "No structure: known by its name only." in _drawing(as_role["lab"], "Opium")


def _table(text: str, figure: str) -> list[list[str]]:
    body = re.search(rf'<figure[^>]*id="{figure}".*?<tbody>(.*?)</tbody>', text, re.DOTALL)
    assert body
    rows = re.findall(r"<tr>(.*?)</tr>", body.group(1), re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        for row in rows
    ]


@pytest.mark.parametrize("role", ["lab", "public"])
@pytest.mark.parametrize("which", ["month", "country"])
def test_drawing_table_and_csv_come_from_one_frame(
    as_role: dict[str, TestClient], public: TestClient, role: str, which: str
) -> None:
    client = public if role == "public" else as_role[role]
    page = address(client, "4-FF")
    text = client.get(page).text
    rows = _table(text, f"by-{which}")
    answer = client.get(f"{page}/detections-by-{which}.csv")
    exported = list(csv.reader(io.StringIO(answer.text)))
    assert len(exported) == len(rows) + 1
    column = exported[0].index("Detections")
    assert [row[column] for row in exported[1:]] == [row[column].split(" ")[0].replace(",", "") for row in rows]
    assert {row[-1] for row in exported[1:]} == {"synthetic demonstration data"}
    name = re.search(rf'<figure[^>]*id="by-{which}".*?role="img" aria-label="([^"]+)"', text, re.DOTALL)
    assert name
    assert 40 < len(name.group(1)) <= 300


def test_a_masked_reader_gets_no_number_by_any_way(public: TestClient, as_role: dict[str, TestClient]) -> None:
    page = address(public, "2-MMC")
    text = public.get(page).text
    assert "[c] masked" in text
    shown = {row[1] for row in _table(text, "by-month")}
    assert shown <= {"0", "[c] masked", "[x] no data"}
    for kind in ("csv", "svg"):
        answer = public.get(f"{page}/detections-by-month.{kind}").text
        assert "masked" in answer
        assert not re.search(r",[1-4],", answer)
    own = as_role["lab"].get(page).text
    assert {row[1] for row in _table(own, "by-month")} & {"1"}


def test_cases_split_by_the_part_played_show_to_whoever_may_open_them_all(as_role: dict[str, TestClient]) -> None:
    page = address(as_role["lab"], "Fentanyl")

    def cases(client: TestClient) -> str:
        return client.get(page).text.partition('id="cases"')[2].partition("</section>")[0]

    own = cases(as_role["lab"])
    row = re.findall(r'<td data-label="([^"]+)" class="num">([^<]*)</td>', own)
    assert row == [("Cases", "6"), ("Sole cause", "2"), ("Combined cause", "4"), ("Contributory", "0"), ("Undetermined", "0"),
                   ("Incidental", "0")]  # fmt: skip
    other = cases(as_role["other lab"])
    assert "Sole cause" not in other
    assert "[c] masked, as you may not open all of these cases" in other


def test_every_figure_has_its_furniture(as_role: dict[str, TestClient]) -> None:
    text = as_role["lab"].get(address(as_role["lab"], "4-FF")).text
    for figure in re.findall(r"<figure.*?</figure>", text, re.DOTALL):
        for needed in (
            "chart-title",
            "chart-subtitle",
            "Source:",
            "Counts reflect who tested what.",
            ".csv",
            ".svg",
            "<caption>",
        ):
            assert needed in figure
        assert "#" + "0E3557" not in figure.upper()  # the page's picture refers to variables
    assert "detections doubled among the 3 laboratories reporting throughout" in text


def test_the_picture_for_download_stands_alone(as_role: dict[str, TestClient]) -> None:
    page = address(as_role["lab"], "4-FF")
    answer = as_role["lab"].get(f"{page}/detections-by-month.svg")
    assert answer.headers["content-type"].startswith("image/svg+xml")
    assert answer.headers["content-disposition"] == 'attachment; filename="para-Fluorofentanyl-by-month.svg"'
    assert "var(" not in answer.text
    assert "Synthetic demonstration data" in answer.text
    assert "Counts reflect who tested what." in answer.text
    assert "Dark blue: Confirmed; Light blue: Probable; Frame: Expected, 95 %; Hatched: [x] no data" in answer.text
    ElementTree.fromstring(answer.text)
    assert "<pattern" in answer.text
    assert as_role["lab"].get(f"{page}/detections-by-nothing.svg").status_code == 404
    for which in ("month", "map"):
        pixels = as_role["lab"].get(f"{page}/detections-by-{which}.png")
        assert (pixels.headers["content-type"], pixels.content[:8]) == ("image/png", b"\x89PNG\r\n\x1a\n"), which
        assert int.from_bytes(pixels.content[16:20], "big") > 1400, which  # twice as wide as the picture


def test_the_number_of_queries_does_not_grow_with_the_data(site: FastAPI, as_role: dict[str, TestClient]) -> None:
    client = as_role["lab"]
    statements: list[str] = []
    engine = site.state.context.database.engine

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN":
            statements.append(statement)

    few, many = address(client, "2-MMC"), address(client, "4-FF")
    event.listen(engine, "before_cursor_execute", note)
    try:
        client.get(few)
        first = len(statements)
        client.get(many)
        second = len(statements) - first
        statements.clear()
        client.get("/substances")
        listed = len(statements)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    # session; substance, names, group; the cells of the page, reporting months and countries, lags; tests done; newest samples
    # and their routes, diversions, what lay beside; measures; what is not folded yet, first months; declarations of industry;
    # confidence; cases; alerts, their count; the stored rank; the demonstration mark; of the second, whose start of control is
    # on file, the months around it
    assert (first, second) == (21, 22)
    # session; rows; count; members, what is not folded yet, countries; the demonstration mark
    assert listed == 7


def test_the_weekly_series_says_what_was_expected_and_why_it_fired(as_role: dict[str, TestClient]) -> None:
    lab = as_role["lab"]
    page = address(lab, "4-FF")
    text = lab.get(f"{page}/signals/DE").text
    assert "Why it did or did not fire" in text
    assert "Tested windows that end with the current week" in text
    assert text.count('class="chart chart-') == 2
    assert "Alarms at" in text
    assert lab.get(f"{page}/signals/XX").status_code == 404
    assert lab.get("/substances/01ARZ3NDEKTSV4RRFFQ69G5FAV/signals/DE").status_code == 404


def test_the_public_reads_no_weekly_series(public: TestClient) -> None:
    answer = public.get(f"{address(public, '4-FF')}/signals/DE", follow_redirects=False)
    assert answer.status_code == 303
