"""What the public can reach by links alone: nothing that would tell of a small count, a sample, a sender or a place."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from alerts.wording import not_neutral
from app.persistence.models import Report, Sample
from tests.factories import World
from tests.site import client_of, close_site, fill, make_site

# of a report that is CLEAR: whatever the label, none of it is for the public
SECRETS = (
    "DE-BE", "Neukirch", "Laboratory of the Alps", "laboratory-of-the-alps", "41.37", "8.642", "EUR", "99.95", "Blue Dolphin",
    "T-0", "12.481", "left pocket", "ng/mL",
)  # fmt: skip
MOST = 200


def world(made: World) -> None:
    fill(made)
    sender = made.organisation("lab", "AT", name="Laboratory of the Alps")
    substance = made.substance("Publicine", smiles="CNC(C)C(=O)c1ccccc1CC", group="synthetic_cathinone")
    for n in range(13):
        found = made.detection(sender, substance, tlp="CLEAR", country="AT" if n < 10 else "DE", context="biological")
        found.purity_percent, found.purity_as = 41.37, "base"
        found.concentration = {"value": 8.642, "unit": "ng/mL"}
        sample = made.session.query(Sample).filter(Sample.report_id == found.report_id).one()
        sample.subdivision, sample.sold_as, sample.matrix = "DE-BE", "Blue Dolphin", "blood_peripheral"
        sample.quantity_value, sample.quantity_unit = 12.481, "g"
        report = made.session.get_one(Report, found.report_id)
        report.answer = {**report.answer, "comment": "found in the left pocket", "price": "99.95 EUR", "town": "Neukirch"}
    made.case(found, seriousness="death", tlp="CLEAR")
    made.alert(substance, headline="Publicine was found in Austria", level=2, tlp="CLEAR", countries=("AT",), evidence=(found,))


@pytest.fixture(scope="module")
def reached(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Every page, table and picture that links lead to, by its address."""
    app = make_site(tmp_path_factory.mktemp("public"), fill_world=world)
    yield _crawl(client_of(app))
    close_site(app)


def _crawl(client: TestClient) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = ["/", "/substances", "/substances?sort=-detections"]
    while waiting:
        address = waiting.pop(0)
        if address in found or len(found) >= MOST:
            continue
        answer = client.get(address)
        found[address] = answer.text if answer.status_code == 200 else ""
        for href in re.findall(r'href="([^"#]+)', found[address]):
            parts = urlsplit(html.unescape(href))
            one = parts.path + (f"?{parts.query}" if parts.query else "")
            if not parts.netloc and one.startswith("/") and not one.startswith(("/static/", "/law/rule", "/sign-in")):
                waiting.append(one)
    return found


def test_links_lead_the_public_to_the_substance_its_tables_and_its_alert(reached: dict[str, str]) -> None:
    (page,) = (a for a, text in reached.items() if re.fullmatch(r"/substances/\w{26}", a) and "<h1>Publicine</h1>" in text)
    for which in ("month", "country", "map"):
        assert reached[f"{page}/detections-by-{which}.csv"]
        assert reached[f"{page}/detections-by-{which}.svg"].startswith("<svg")
    assert [a for a, text in reached.items() if a.startswith("/alerts/") and "<h1>Publicine was found in Austria</h1>" in text]
    assert 40 < len(reached) < MOST


def test_no_page_of_the_public_tells_of_sample_sender_or_place(reached: dict[str, str]) -> None:
    data = {address: text for address, text in reached.items() if not address.startswith(("/docs", "/help", "/law", "/problems"))}
    assert len(data) > 30
    assert not [f"{secret} in {address}" for address, text in data.items() for secret in SECRETS if secret in text]


def test_no_count_from_1_to_4_is_in_any_table_of_the_public(reached: dict[str, str]) -> None:
    cells = masked = 0
    for address, text in reached.items():
        if not address.startswith(("/substances/", "/?")) or ".svg" in address:
            continue
        for figure in re.findall(r"<figure .*?</figure>", text, re.DOTALL):
            masked += figure.count("[c] masked")
            for cell in re.findall(r'<td class="num">(?:<[^>]+>)*([^<]+)', figure):
                cells += 1
                assert cell.strip() not in {"1", "2", "3", "4"}, address
        if ".csv" in address:
            for row in text.splitlines()[1:]:
                assert not re.search(r",[1-4],", row), (address, row)
    assert cells > 100
    assert masked > 3


def test_the_words_of_the_do_not_list_are_absent(reached: dict[str, str]) -> None:
    for address, text in reached.items():
        if not address.startswith(("/substances", "/alerts")) and address != "/":
            continue
        main = re.search(r"<main.*?</main>", text, re.DOTALL)
        if main:
            words = html.unescape(re.sub(r"<[^>]+>", " ", main.group()))
            assert not not_neutral(words), address
