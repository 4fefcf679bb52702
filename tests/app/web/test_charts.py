"""Every chart of every page: its name, its furniture, and that drawing, table and download are one and the same frame."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.sharing.masking import MASKED, NO_DATA, NOT_ASKED, counted
from app.web import charts, maps
from app.web.places import country_name
from app.web.templating import month as written_month
from tests.app.web.test_substance_pages import address
from tests.factories import World, match
from tests.site import client_of, close_site, make_site

# who, and which page; a text without a slash is a substance to look for
PAGES = (
    ("lab", "4-FF"), ("lab", "2-MMC"), ("reviewer", "437-38-7"), ("public", "4-FF"), ("public", "2-MMC"), ("industry", "4-FF"),
    ("lab", "/"), ("public", "/"), ("lab", "/explore?period=36"), ("lab", "/explore?split=country"), ("lab", "/explore?view=map"),
    ("reviewer", "/priorities"), ("reviewer", "/families/fentanyl_analogue"), ("authority", "/countries/DE"),
)  # fmt: skip


def figures(text: str) -> list[str]:
    return re.findall(r"<figure .*?</figure>", text, re.DOTALL)


def plain(markup: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))).strip()


def rows_of(figure: str) -> list[list[str]]:
    body = re.search(r"<tbody>(.*?)</tbody>", figure, re.DOTALL)
    assert body
    rows = re.findall(r"<tr>(.*?)</tr>", body.group(1), re.DOTALL)
    return [[plain(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def page_of(client: TestClient, path: str) -> str:
    return client.get(path if path.startswith("/") else address(client, path)).text


@pytest.mark.parametrize(("role", "path"), PAGES)
def test_every_chart_has_its_name_its_furniture_and_its_table(
    as_role: dict[str, TestClient], public: TestClient, role: str, path: str
) -> None:
    client = public if role == "public" else as_role[role]
    found = figures(page_of(client, path))
    assert found
    for figure in found:
        title = re.search(r'class="chart-title"[^>]*>(.*?)</h', figure, re.DOTALL)
        assert title
        written = plain(title.group(1))
        names = {html.unescape(name) for name in re.findall(r'<svg class="chart[^"]*" role="img" aria-label="([^"]+)"', figure)}
        assert len(names) == 1, written
        (name,) = names
        assert 40 < len(name) <= 300
        assert written[:150] in name
        notes = [plain(note) for note in re.findall(r"<p>(.*?)</p>", figure.partition("chart-notes")[2].partition("</div>")[0])]
        assert len(notes) == 3
        assert notes[0].startswith("Source:")
        assert len(notes[1]) > 10  # of how many
        assert "Counts reflect who tested what." in notes[2]
        assert plain(figure.partition("chart-subtitle")[2].partition("</p>")[0].partition(">")[2])
        rows = rows_of(figure)
        assert rows
        download = re.search(r'href="([^"]+\.csv[^"]*)"', figure)
        if download and "priorities.csv" not in download.group(1):  # the whole ranking, more than the chart
            stored = list(csv.reader(io.StringIO(client.get(html.unescape(download.group(1))).text)))
            heads = len(rows[0])
            short = [[re.sub(r"^(\[.\]) .*", r"\1", cell) for cell in row] for row in rows]
            numbers = [
                [cell.replace(",", "") if re.fullmatch(r"[\d,]+(\.\d+)?", cell) else cell for cell in row] for row in short
            ]
            assert [row[:heads] for row in stored[1:]] == numbers, written
            assert stored[0][heads] == "Note"
            for row, shown in zip(stored[1:], rows, strict=True):  # the words beside a shorthand are in the note
                assert row[heads] == "; ".join(sorted({cell[4:] for cell in shown if re.match(r"\[.\] ", cell)}))


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    """What the drawing function of this name is given from now on."""
    seen: list[Any] = []
    drawn: Callable[..., str] = getattr(charts, name)

    def note(rows: Any, **options: Any) -> str:
        seen.append(rows)
        return drawn(rows, **options)

    monkeypatch.setattr(charts, name, note)
    return seen


@pytest.mark.parametrize("role", ["lab", "public"])
def test_what_is_drawn_is_what_the_table_says(
    as_role: dict[str, TestClient], public: TestClient, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = public if role == "public" else as_role[role]
    months, countries = recorded(monkeypatch, "month_bars"), recorded(monkeypatch, "ranked_bars")
    coloured: list[dict[str, str]] = []
    world_map = maps.world_map

    def note(classes: dict[str, str], **options: Any) -> charts.Picture:
        coloured.append(dict(classes))
        return world_map(classes, **options)

    monkeypatch.setattr(maps, "world_map", note)
    for q in ("4-FF", "2-MMC"):
        for seen in (months, countries, coloured):
            seen.clear()
        by_id = {figure.partition('id="')[2].partition('"')[0]: rows_of(figure) for figure in figures(page_of(client, q))}
        bars = months[0]
        assert all(drawn == bars for drawn in months)  # both widths alike
        absent = {"nodata": "[x] no data", "masked": "[c] masked"}
        shown = [(written_month(b.key), absent.get(b.absence or "", f"{sum(n for _, n in b.parts):,}")) for b in reversed(bars)]
        assert shown == [(row[0], row[1]) for row in by_id["by-month"]]
        listed = [(row[0], row[2]) for row in by_id["by-country"]]
        named = [[(bar.key, bar.label) for bar in rows] for rows in countries]
        assert [pair for pair in listed if pair[1] != "0"][:15] in named
        # on the map: masked ones are dotted, a zero is white, the rest is no data
        (classes, *_) = coloured
        looks = {"[c] masked": "masked", "0": "zero"}
        by_name = {country_name(code): look for code, look in classes.items() if look != "nodata"}
        assert set(by_name) == {country for country, _ in listed}
        for country, number in listed:
            assert by_name[country] == looks.get(number, by_name[country])
            assert (by_name[country][0] == "s" and by_name[country][1:].isdigit()) == (number not in looks)


def test_every_other_drawing_has_as_many_points_as_its_table_has_rows(
    as_role: dict[str, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """First months, ranks, the front and the lines of the explorer; bars and maps are above."""
    dots, ranks, front, lines = (recorded(monkeypatch, name) for name in ("month_dots", "intervals", "pareto", "month_lines"))

    def table(path: str, id: str) -> list[list[str]]:
        (found,) = (figure for figure in figures(page_of(as_role["reviewer"], path)) if f'id="{id}"' in figure)
        return rows_of(found)

    rows = table("4-FF", "first-seen")
    assert len(rows) > 1
    assert [(country, written_month(month)) for country, month in dots[0]] == [tuple(row) for row in rows]
    rows = table("/priorities", "rank-intervals")
    assert [[name, *map(str, numbers)] for name, *numbers in ranks[0]] == [row[:4] for row in rows]
    rows = table("/priorities", "pareto")
    assert [[name, f"{x:.1f}", f"{y:.1f}"] for name, x, y, _ in front[0]] == [[*row[:2], row[2].split(" ")[0]] for row in rows]
    rows = table("/explore?period=36&split=country", "explore")
    drawn = [
        sorted((written_month(month), "[x] no data" if n is None else f"{n:,.0f}") for month, n, *_ in line.points)
        for line in lines[0]
    ]
    assert len(drawn) > 1
    assert sorted(drawn) == sorted(sorted((row[0], row[n]) for row in rows) for n in range(1, len(rows[0])))


def _filled(hidden: int) -> Callable[[World], None]:
    """A world in which one month and one country of a substance has so few detections that the public may not have the number."""

    def fill(world: World) -> None:
        lab, other = world.organisation("lab", "DE", name="Lab one"), world.organisation("lab", "FR", name="Lab two")
        world.person(lab)
        control = match(entry="Maskedine") | {"effective_from": "2026-06-15"}
        substance = world.substance("Maskedine", smiles="CNC(C)C(=O)c1ccccc1C", group="synthetic_cathinone", matches=(control,))
        found = ((lab, 3, 7), (lab, 4, 6), (lab, 5, 9), (lab, 6, 8), (other, 7, 11), (lab, 8, 12), (other, 9, hidden))
        for org, month, n in found:
            for _ in range(n):
                world.detection(org, substance, sampled_on=date(2026, month, 10), country=org.country, tlp="CLEAR")

    return fill


def test_a_hidden_number_changes_nothing_that_the_public_can_get(tmp_path: Path) -> None:
    """Two worlds that differ by a hidden count alone: pages, tables, drawings and downloads are the same, byte for byte."""
    told: list[dict[str, str]] = []
    whole: list[str] = []
    for hidden in (2, 3):
        folder = tmp_path / str(hidden)
        folder.mkdir()
        app = make_site(folder, fill_world=_filled(hidden))
        client = client_of(app)
        page = address(client, "Maskedine")
        paths = ["/", "/substances", "/substances?sort=-detections", page]
        paths += [
            f"{page}/detections-by-{which}.{kind}"
            for which in ("month", "country", "map", "before-after")
            for kind in ("csv", "svg")
        ]
        answers = {path.replace(page, "/SUBSTANCE"): client.get(path) for path in paths}
        assert {answer.status_code for answer in answers.values()} == {200}
        told.append({path: re.sub(r"[0-9A-HJKMNP-TV-Z]{26}", "ID", answer.text) for path, answer in answers.items()})
        whole.append(told[-1]["/SUBSTANCE"])
        close_site(app)
    assert "[c] masked" in whole[0]
    assert 'id="before-after"' in whole[0]
    for path in told[0]:
        assert told[0][path] == told[1][path], path


def test_the_four_absences_have_four_looks() -> None:
    cells = {"zero": counted(0), "no data": NO_DATA, "masked": MASKED, "not asked": NOT_ASKED}
    assert [cell.code for cell in cells.values()] == ["0", "[x]", "[c]", "[z]"]
    assert [cell.words for cell in cells.values()] == ["", "no data", "masked", "not asked"]
    bars = tuple(
        charts.Bar(key=f"2026-0{n}", parts=parts, absence=absence)
        for n, (parts, absence) in enumerate(
            ((((charts.CONFIRMED, 7),), None), (((charts.CONFIRMED, 0),), None), ((), "nodata"), ((), "masked")), 1
        )
    )
    drawn = charts.month_bars(bars, width=400, height=200)
    blocks = re.findall(r'<path [^>]*d="M[^"]*?v(-?[\d.]+)[^"]*" fill="url\(#(\w+)\)"', drawn)
    assert {pattern for _, pattern in blocks} == {"nodata", "masked"}
    assert len({height for height, _ in blocks}) == 1  # a fixed height that stands for no value
    assert 'id="nodata"' in charts.PATTERNS
    assert 'id="masked"' in charts.PATTERNS


def test_a_line_is_broken_where_there_are_no_data() -> None:
    values = (3.0, 4.0, None, 5.0, 6.0)
    points = tuple((f"2026-0{n}", value, value or 0.0, value or 0.0, False) for n, value in enumerate(values, 1))
    drawn = charts.month_lines((charts.Line(colour="#12436D", dashes="1,0", points=points),), width=400, height=200)
    lines = re.findall(r'<path [^>]*d="([^"]+)"[^>]*stroke="#12436D"', drawn)
    assert [line.count("L") for line in lines] == [1, 1]  # two months joined on either side, none over the gap


def test_texts_stand_in_a_drawing_as_they_were_given_and_too_long_ones_are_cut() -> None:
    names = ("2\"-<Fluoro> & 'co'", '["$rows:solid"]', "A name that is far too long for the room beside the bars", "Plain")
    bars = tuple(charts.Bar(key=name, parts=((charts.CONFIRMED, 1_000),), label="1,000") for name in names)
    drawn = charts.ranked_bars(bars, width=340, label_limit=120)
    texts = [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn)]
    cut = texts[2]
    assert texts == [names[0], names[1], cut, names[3], *["1,000"] * 4]
    assert cut.endswith("…")
    assert names[2].startswith(cut[:-1])
    assert 12 < len(cut) < 30
    assert set(re.findall(r'font-family="([^"]*)"', drawn)) == {"Arial"}
    assert len(re.findall(r'fill="#0E3557"', drawn)) == 4  # none of the rows fell together


def test_months_are_named_by_half_years() -> None:
    keys = [f"{2024 + n // 12}-{n % 12 + 1:02d}" for n in range(24)]
    bars = tuple(charts.Bar(key=key, parts=((charts.CONFIRMED, n),)) for n, key in enumerate(keys))
    drawn = charts.month_bars(bars, width=400, height=200, strip=((keys[3], 1_000),))
    said = [re.sub(r"<[^>]+>", " ", text) for text in re.findall(r"<text[^>]*>(.*?)</text>", drawn)]
    assert [text for text in said if not re.fullmatch(r"[\d,]+", text)] == ["Jan 2024 ", "Jul", "Jan 2025 ", "Jul"]
    assert {"0", "20", "1,000"} <= set(said)


def test_points_that_lie_under_one_another_are_drawn_once_and_those_of_the_front_always() -> None:
    under, over, front = ("a", 10.0, 10.0, False), ("b", 10.05, 10.05, False), ("c", 10.0, 10.0, True)
    apart = ("d", 12.0, 10.0, False)
    drawn = [charts.pareto(points, width=660, height=320) for points in ((under, over), (over,), (over, apart), (over, front))]
    assert drawn[0] == drawn[1]
    assert [svg.count("<path") - drawn[1].count("<path") for svg in drawn[2:]] == [1, 2]
