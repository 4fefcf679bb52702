"""Before and after control: whose start counts, what is drawn around it, and why there is no chart where there is none."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from app.persistence.models import ActivityReport, Organisation
from app.substances.control import starts, window
from tests.app.web.test_charts import figures, plain, rows_of
from tests.app.web.test_substance_pages import address
from tests.factories import NOW, World, match
from tests.site import client_of, close_site, make_site, signed_in

MONTHS = window(date(2025, 10, 15), NOW)  # October 2024 to October 2026


def law(entry: str, began: str | None, *, instrument: str = "UN-1961", **more: Any) -> dict[str, Any]:
    return match(instrument, entry=entry, **more) | {"effective_from": began}


def world(made: World) -> None:
    lab, other = made.organisation("lab", "DE", name="Lab one"), made.organisation("lab", "FR", name="Lab two")
    for org in (lab, other):
        made.person(org)

    def found(name: str, began: str | None, numbers: dict[str, list[tuple[Organisation, int]]], **more: Any) -> None:
        substance = made.substance(name, matches=(law(name, began, **more),))
        for month, cells in numbers.items():
            for org, n in cells:
                for _ in range(n):
                    made.detection(org, substance, sampled_on=date.fromisoformat(f"{month}-10"), tlp="CLEAR")

    after = [month for month in MONTHS if month > "2025-10"]
    found("Startine", "2025-10-15", {m: [(lab, 1), (other, 1)] if m in after else [(lab, 4)] for m in MONTHS})
    national = {m: [(lab, 1 if m in after else 3), (other, 5)] for m in MONTHS}
    found("Landine", "2025-10-15", national, instrument="DE-NPSG")
    found("Earline", "2024-06-15", {m: [(lab, 6)] for m in window(date(2024, 6, 15), NOW)})
    found("Openine", None, {})
    found("Oldine", "1964-12-13", {"2026-05": [(lab, 5)]})
    found("Newine", "2026-09-20", {"2026-05": [(lab, 5)]})
    found("Fewine", "2026-02-20", {"2026-01": [(lab, 5)]})
    found("Laterine", "2027-01-01", {"2026-05": [(lab, 5)]})
    for month in MONTHS:
        made.session.add(
            ActivityReport(
                org_id=lab.id, country="DE", period=month, first_day=date.fromisoformat(f"{month}-01"),
                last_day=date.fromisoformat(f"{month}-28"), samples_tested=200, tlp="CLEAR", body="{}", actor="key:x",
                received_at=NOW,
            )
        )  # fmt: skip


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = make_site(tmp_path_factory.mktemp("control"), fill_world=world)
    yield made
    close_site(made)


@pytest.fixture(scope="module")
def readers(app: FastAPI) -> dict[str, TestClient]:
    return {"DE": signed_in(app, "lab.de@example.org"), "FR": signed_in(app, "lab.fr@example.org"), "": client_of(app)}


def section(client: TestClient, name: str) -> str:
    text = client.get(address(client, name)).text
    return text.partition('<section class="section" id="control"')[2].partition("</section>")[0]


def test_the_months_around_the_start_with_tests_laboratories_and_caveat(readers: dict[str, TestClient]) -> None:
    client = readers["DE"]
    (figure,) = figures(section(client, "Startine"))
    text = plain(figure)
    title = "Startine detections fell from 4.0 to 2.0 a month after UN 1961 Schedule I, as Startine (15 Oct 2025)"
    assert f"{title}; other causes are possible" in text
    assert (
        "all countries, Oct 2024 to Oct 2026: 12 months before and 12 after the month in which the provision took effect" in text
    )
    assert "Provision in force, 15 Oct 2025" in text
    assert "Laboratories that found it: 1 before, 2 after, 1 of them in both." in text
    assert "Per 1,000 tests of those that state them: 20.0 before (2,400 tests) and 5.0 after (2,400 tests)." in text
    assert "Counts reflect who tested what. A change after control need not come from it" in text
    rows = rows_of(figure)
    assert [(row[0], row[1], row[2], row[5]) for row in (rows[0], rows[12], rows[24])] == [
        ("Oct 2024", "before", "4", "200"), ("Oct 2025", "month of the start", "4", "200"), ("Oct 2026", "after", "2", "200"),
    ]  # fmt: skip
    base = f"{address(client, 'Startine')}/detections-by-before-after"
    stored = list(csv.reader(io.StringIO(client.get(f"{base}.csv").text)))
    assert [row[: len(rows[0])] for row in stored[1:]] == rows
    picture = client.get(f"{base}.svg").text
    assert title in " ".join(plain(html.unescape(picture)).split())
    assert 'stroke-dasharray="4,3"' in picture
    assert client.get(f"{base}.png").content[:4] == b"\x89PNG"


def test_the_start_of_ones_own_country_is_drawn_over_its_own_detections(readers: dict[str, TestClient]) -> None:
    (figure,) = figures(section(readers["DE"], "Landine"))
    assert "Landine detections fell from 3.0 to 1.0 a month after German NPS Act Schedule I, as Landine" in plain(figure)
    assert "Germany, Oct 2024 to Oct 2026" in plain(figure)
    for reader in ("FR", ""):
        told = section(readers[reader], "Landine")
        assert not figures(told)
        assert "there is no start to compare around" in told


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Openine", "The start of control is not on file: UN 1961 Schedule I, as Openine."),
        ("Oldine", "In force since 13 Dec 1964: UN 1961 Schedule I, as Oldine; no detection that you may see is from the 12"),
        (
            "Newine",
            "In force since 20 Sep 2026: UN 1961 Schedule I, as Newine; fewer than 3 full months with reports lie after",
        ),
        ("Laterine", "The provision takes effect on 1 Jan 2027: UN 1961 Schedule I, as Laterine."),
    ],
)
def test_without_a_chart_the_page_says_why(readers: dict[str, TestClient], name: str, why: str) -> None:
    told = section(readers["DE"], name)
    assert why in plain(told)
    assert not figures(told)
    assert readers["DE"].get(f"{address(readers['DE'], name)}/detections-by-before-after.csv").status_code == 404


def test_few_detections_are_not_compared(readers: dict[str, TestClient]) -> None:
    (figure,) = figures(section(readers["DE"], "Fewine"))
    assert "Too few Fewine detections to compare before and after UN 1961 Schedule I, as Fewine (5 in 20 months)" in plain(figure)


def test_a_masked_reader_gets_the_cells_of_the_trend_and_no_others(readers: dict[str, TestClient]) -> None:
    public = readers[""]

    def counts(name: str) -> tuple[list[tuple[str, ...]], str]:
        trend, *_, figure = figures(public.get(address(public, name)).text)
        cells = {row[0]: row[1:4] for row in rows_of(trend)}
        around = rows_of(figure)
        assert [row[2:5] for row in around] == [cells[row[0]] for row in around]
        return [tuple(row) for row in around], plain(figure)

    rows, text = counts("Startine")
    assert {row[2] for row in rows} == {"[c] masked"}
    assert "Startine by month around the start of the provision on 15 Oct 2025; some months are masked" in text
    assert "Tests done and the number of laboratories are not shown here: counts only, no rate." in text
    stored = public.get(f"{address(public, 'Startine')}/detections-by-before-after.csv").text
    assert {line.split(",")[2] for line in stored.splitlines()[1:]} == {"[c]"}
    # months before those of the trend are not drawn for it; whoever gets counts has the whole year
    rows, text = counts("Earline")
    assert (rows[0][0], len(rows)) == ("Dec 2023", 19)
    assert "6 months before and 12 after" in text
    assert "Earline detections stayed at 6.0 a month" in text
    (whole,) = figures(section(readers["DE"], "Earline"))
    assert len(rows_of(whole)) == 25


def test_a_start_counts_only_where_nothing_unknown_can_have_begun_before_it() -> None:
    known, early, late = law("A", "2020-05-01"), law("B", None) | {"not_before": "2019-01-01"}, law("C", None)
    late |= {"not_before": "2020-06-01"}
    (start,), _ = starts((late, known, law("D", "2021-01-01"), law("E", "2019-01-01", certainty="possible")), None)
    assert (start.on, start.what, start.country) == (date(2020, 5, 1), "UN 1961 Schedule I, as A", None)
    assert starts((known, early), None) == ((), "The start of control is not on file: UN 1961 Schedule I, as B.")
    assert starts((law("F", "2020-05-01", captured=False),), None)[0] == ()
    assert window(date(2026, 9, 1), NOW)[-1] == "2026-11"
