"""What only a browser shows of the acceptance list of the desk: what keys do, what a reload keeps, where a figure leads."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, follow

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser test_acceptance")]

AUTHORITY, ANALYST, REVIEWER = "authority.de@example.org", "analyst.at@example.org", "reviewer.ch@example.org"
MakeVisit = Callable[..., Visit]
# the order in which a substance's page answers; other headings may stand between
STATED = (
    "Status over time", "Trend", "Map and first seen", "Forms, purity, route, found with", "Cases", "Medical and scientific use",
    "Analogues", "Alerts and measures", "Before and after control",
)  # fmt: skip


def opened(visit: MakeVisit, site: str, email: str, path: str, **options: Any) -> tuple[Visit, Page]:
    seen = visit(site, **options)
    page = seen.open()
    seen.be(email)
    page.goto(site + path)
    return seen, page


def sound(page: Page) -> None:
    """Accessible, and inside the window, wide and on a phone."""
    expect(page.locator("main h1")).to_have_count(1)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url
        found = Axe().run(page)
        assert found.violations_count == 0, f"{page.url}\n{found.generate_report()}"
    page.set_viewport_size({"width": 1280, "height": 900})


def test_single_keys_can_be_switched_off_in_the_account(fresh_site: str, visit: MakeVisit) -> None:
    seen, page = opened(visit, fresh_site, AUTHORITY, "/account")

    def choose(state: str) -> None:
        page.goto(f"{fresh_site}/account")
        page.get_by_role("group", name="Single-key shortcuts").get_by_label(state, exact=True).check()
        page.get_by_role("button", name="Save look and keys").click()
        expect(page.get_by_role("status").filter(has_text="Saved.")).to_be_visible()
        page.goto(f"{fresh_site}/inbox")

    choose("Off")
    first, second = page.locator("[data-open]").all()
    expect(page.get_by_text("Keys in the list")).to_have_count(0)
    first.focus()
    for key in ("j", "a", "/"):
        page.keyboard.press(key)
        expect(first).to_be_focused()
    page.keyboard.press("ArrowDown")  # no character: it stays
    expect(second).to_be_focused()
    choose("On")
    page.locator("[data-open]").first.focus()
    page.keyboard.press("j")
    expect(page.locator("[data-open]").nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("Six deaths")
    seen.assert_quiet()


def test_keys_tell_themselves_and_go_to_the_pages(site: str, visit: MakeVisit) -> None:
    seen, page = opened(visit, site, AUTHORITY, "/substances?q=fentanyl&contains=1")
    listed = page.url
    page.keyboard.press("?")
    told = page.get_by_role("dialog", name="Keys")
    expect(told.get_by_role("button", name="Close")).to_be_focused()
    assert Axe().run(page).violations_count == 0
    page.keyboard.press("u")  # nothing acts behind the dialog
    page.keyboard.press("Escape")
    expect(told).to_be_hidden()
    assert page.url == listed
    follow(page, "main .row-title")
    with page.expect_navigation():
        page.keyboard.press("u")
    expect(page).to_have_url(listed)
    for key, path in (("e", "/explore"), ("i", "/inbox"), ("s", "/substances")):
        page.keyboard.press("g")
        with page.expect_navigation():
            page.keyboard.press(key)
        expect(page).to_have_url(site + path)
    page.keyboard.press("e")  # without its g
    page.keyboard.press("/")
    page.keyboard.type("?gi")  # in a field keys are letters
    expect(page.get_by_role("searchbox", name="Search substance")).to_have_value("?gi")
    expect(page).to_have_url(f"{site}/substances")
    page.get_by_role("button", name="Keys").click()
    expect(told).to_be_visible()
    seen.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_substance_page_opens_what_its_figures_count(site: str, visit: MakeVisit, tmp_path: Path, scheme: str) -> None:
    seen, page = opened(visit, site, ANALYST, "/priorities", scheme=scheme)  # which makes the ranking, where there is none yet
    page.goto(f"{site}/substances?q=437-38-7")
    page.locator("main .row-title").click()
    expect(page.locator("h1")).to_have_text("Fentanyl")
    headings = page.locator("main h2").all_inner_texts()
    assert [text for text in headings if text in STATED] == list(STATED)
    places = [str(link.get_attribute("href")) for link in page.locator("nav.contents a").all()]
    assert places == [f"#{section.get_attribute('id')}" for section in page.locator("main section[id]").all()]
    facts = page.locator(".key-figures > div")
    expect(facts).to_have_count(5)
    expect(facts.last).to_contain_text(re.compile(r"Rank of those controlled[12]of 2; in 450 of 500 draws .*\. Data grade [A-D]"))
    rank = facts.last.get_by_role("link").inner_text()
    facts.last.get_by_role("link").click()
    expect(page.locator("tr:target")).to_be_in_viewport()
    expect(page.locator("tr:target")).to_contain_text(re.compile(rf"^\s*{rank}\s.*Fentanyl", re.DOTALL))
    page.go_back()
    for n in range(4):
        name, shown = facts.nth(n).locator("dt").inner_text(), facts.nth(n).locator("dd").first
        number = shown.inner_text()
        shown.get_by_role("link").click()
        expect(page.locator("#count")).to_contain_text(re.compile(rf"^{number} "))
        expect(page.locator("main tbody tr")).to_have_count(int(number))
        if name.startswith(("Countries", "Deaths")):  # the list of detections is among the pages of test_pages
            sound(page)
            page.screenshot(path=tmp_path / f"{scheme}-{name.split(',')[0]}.png")
        page.go_back()
    page.screenshot(path=tmp_path / f"{scheme}-substance.png")
    seen.assert_quiet()


def test_the_status_on_a_day_follows_the_two_dates_of_the_entry(site: str, visit: MakeVisit) -> None:
    """The start is not on file: before the earliest day no match, then possibly, and certainly once long enough ago."""
    seen, page = opened(visit, site, ANALYST, "/substances?q=N-Pyrrolidino protonitazene")
    page.locator("main .row-title").click()
    told = page.locator("#status").get_by_role("status")
    field = page.get_by_label(re.compile("What was it on this day"))
    for day, verdict in (
        ("2025-03-11", "On 11 Mar 2025: No match in the UN conventions; possibly controlled in "),
        ("2025-03-12", "On 12 Mar 2025: Possibly controlled: UN 1961 Schedule I, as N-Pyrrolidino protonitazene; the start date"),
        ("2026-11-24", "Today, 24 Nov 2026: Controlled: UN 1961 Schedule I, as N-Pyrrolidino protonitazene"),
    ):
        field.fill(day)
        page.get_by_role("button", name="Show", exact=True).click()
        expect(told).to_contain_text(verdict)
        expect(told.get_by_text("UK Misuse of Drugs Act")).to_have_text(
            "UK Misuse of Drugs Act: possibly Class A, under the class rule for nitazenes"
        )
        expect(field).to_have_value(day)
        assert f"as_of={day}" in page.url
    field.fill("2027-01-01")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("#status .notice").first).to_have_text("'2027-01-01' is no day up to today: shown is today.")
    seen.assert_quiet()


def test_the_explorer_keeps_its_filters_and_downloads_what_it_shows(site: str, visit: MakeVisit) -> None:
    seen, page = opened(visit, site, REVIEWER, "/explore")
    chosen = {
        "Chemical group": "fentanyl_analogue", "Country": "DE", "Region": "Europe", "Period": "36", "Context": "seizure",
        "Split by": "substance", "Measure": "",
    }  # fmt: skip
    form = page.get_by_role("search", name="Filter detections")
    for label, value in chosen.items():
        form.get_by_label(label, exact=True).select_option(value)
    form.get_by_label("Probable").uncheck()
    form.get_by_role("button", name="Apply").click()
    page.reload()
    for label, value in chosen.items():
        expect(form.get_by_label(label, exact=True)).to_have_value(value)
    expect(form.get_by_label("Probable")).not_to_be_checked()
    expect(form.get_by_label("Confirmed")).to_be_checked()
    page.get_by_role("link", name="Table", exact=True).click()
    rows = page.locator("#explore tbody tr")
    expect(rows).to_have_count(36)
    shown = [[cell.split()[0] if cell.startswith("[") else cell for cell in row.locator("th, td").all_inner_texts()]
             for row in rows.all()]  # fmt: skip
    assert sum(int(row[1]) for row in shown if row[1].isdigit()) > 0
    with page.expect_download() as got:
        page.get_by_role("link", name="Data (CSV)").click()
    stored = list(csv.reader(Path(got.value.path()).read_text(encoding="utf-8").splitlines()))
    assert [row[: len(shown[0])] for row in stored[1:]] == shown
    # a rate without tests is refused in words, with a way on
    form.get_by_label("Measure", exact=True).select_option("rate")
    form.get_by_role("button", name="Apply").click()
    expect(page.locator(".explore-result")).to_contain_text("No rate: no laboratory in this selection has stated")
    page.get_by_role("link", name="Show counts").click()
    expect(form.get_by_label("Country", exact=True)).to_have_value("DE")
    expect(page.locator("#explore tbody tr")).to_have_count(36)
    # nothing matches: the filters are the way out
    form.get_by_label("Country", exact=True).select_option("MT")
    form.get_by_label("Chemical group", exact=True).select_option("piperazine")
    form.get_by_role("button", name="Apply").click()
    expect(page.locator(".explore-result")).to_contain_text("No detections match.")
    page.locator(".explore-result").get_by_role("link", name="Remove class: Piperazine").click()
    expect(form.get_by_label("Chemical group", exact=True)).to_have_value("")
    expect(form.get_by_label("Country", exact=True)).to_have_value("MT")
    seen.assert_quiet()


def test_weights_are_typed_and_the_address_repeats_the_ranking(site: str, visit: MakeVisit) -> None:
    seen, page = opened(visit, site, REVIEWER, "/priorities")
    page.get_by_label("Prevalence", exact=True).focus()
    for value in ("10", "20", "70"):
        page.keyboard.press("Control+A")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.type") == "range":
            page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # on the button
    expect(page.locator("form.card")).to_contain_text("Used as 10 %, 20 % and 70 % of their sum: together 100 %.")
    for name, value in (("Prevalence", "10"), ("Persistence", "20"), ("Harm", "70")):
        expect(page.get_by_label(name, exact=True)).to_have_value(value)
    assert re.search(r"snapshot=\w{26}&prevalence=10&persistence=20&harm=70", page.url)
    ranked = page.locator("main table tbody tr").all_inner_texts()
    again = seen.open()
    again.goto(page.url)
    assert again.locator("main table tbody tr").all_inner_texts() == ranked
    seen.assert_quiet()
