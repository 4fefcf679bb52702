"""Imports, suspects, curation and help in a real Chromium: axe clean, no sideways scroll, quiet console, and the jobs they do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Visit
from tests.browser.test_report_form import no_sideways_scroll, no_violations, opened

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser test_laboratory_pages")]
ANALYST = "analyst@example.org"
PATHS = (
    "/imports", "/suspects?mz=337.2274&ppm=5", "/suspects?mz=300.0001&ppm=1", "/help", "/help/connect", "/help/fields",
    "/help/vocabularies", "/help/confidence", "/help/corrections", "/help/imports", "/docs",
)  # fmt: skip
FILE = "Labor-Nr;Datum;Form;Wirkstoff;Methode;Einsender\n" + "".join(
    f"I-{n};{3 + n % 20:02d}.11.2026;{'Pulver' if n % 7 else 'Wolke'};{'MDMA' if n % 5 else 'Purple Zorblax'};GC/MS;Zoll\n"
    for n in range(1, 40)
)


@pytest.mark.parametrize("path", PATHS)
def test_pages_are_clean(visit: Callable[..., Visit], desk: str, path: str, tmp_path: Path) -> None:
    made, page = opened(visit, desk, path)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.screenshot(path=tmp_path / f"{width}.png", full_page=True)
        no_violations(page)
        no_sideways_scroll(page)
    made.assert_quiet()


def test_a_file_is_read_mapped_imported_and_its_bad_rows_come_back(
    visit: Callable[..., Visit], desk: str, tmp_path: Path
) -> None:
    path = tmp_path / "labor.csv"
    path.write_text(FILE)
    made, page = opened(visit, desk, "/imports")
    page.get_by_label("File").set_input_files(path)
    page.get_by_role("button", name="Send file").click()
    expect(page.get_by_role("heading", name="To decide")).to_be_visible()
    expect(page.get_by_label("Mapping")).to_have_value(re.compile(r'lab_reference = "\{Labor-Nr\}"'))
    no_violations(page)
    page.get_by_role("button", name="Import the file").click()
    expect(page.locator("#progress")).to_contain_text("34 stored, 0 known already, 5 refused", timeout=30_000)
    expect(page.get_by_role("table", name="The first refused rows")).to_contain_text("Wolke")
    expect(page.get_by_role("table", name=re.compile("Labels that did not resolve"))).to_contain_text("Purple Zorblax")
    page.screenshot(path=tmp_path / "import.png", full_page=True)
    no_violations(page)
    no_sideways_scroll(page)
    address = page.url
    page.goto(f"{desk}/imports")
    page.get_by_role("link", name="labor.csv").first.click()
    assert page.url == address  # leaving and coming back shows the same job
    with page.expect_download() as download:
        page.get_by_role("link", name="Refused rows (CSV)").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 6
    made.assert_quiet()

    # the label is decided by an analyst, and its reports follow
    made, page = opened(visit, desk, "/ops/curation", email=ANALYST, width=390)
    no_violations(page)
    no_sideways_scroll(page)
    page.get_by_role("link", name="Purple Zorblax").click()
    page.get_by_role("button", name="Decide label").click()
    expect(page.locator("#summary")).to_be_focused()
    # decided by the keyboard alone
    page.get_by_label("Another substance:").focus()
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("CNC(C)C(=O)c1ccc(C)cc1")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("told by the laboratory")
    expect(page.get_by_label("Reason")).to_have_value("told by the laboratory")
    page.screenshot(path=tmp_path / "curation.png", full_page=True)
    no_violations(page)
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").filter(has_text="Purple Zorblax")).to_contain_text("told by the laboratory")
    no_violations(page)

    # two records that are one substance: first what would change, then the merge, then its undoing
    page.get_by_role("link", name="Merge two substances").click()
    page.get_by_label("Substance that goes").fill("no such thing")
    page.get_by_label("Substance that stays").fill("MDMA")
    page.get_by_role("button", name="Show what would change").click()
    expect(page.locator("#summary")).to_contain_text("'no such thing' is no substance that was reported")
    page.get_by_label("Substance that goes").fill("mephedrone")
    page.get_by_role("button", name="Show what would change").click()
    expect(page.get_by_text(re.compile("detections? goe?s? to"))).to_be_visible()
    page.screenshot(path=tmp_path / "merge.png", full_page=True)
    no_violations(page)
    no_sideways_scroll(page)
    page.get_by_role("button", name=re.compile("^Merge .+ into ")).click()
    expect(page.locator("#summary")).to_be_focused()
    page.get_by_label("Reason").fill("only to see it undone")
    page.get_by_role("button", name=re.compile("^Merge .+ into ")).click()
    event = page.get_by_role("listitem").filter(has_text="only to see it undone")
    event.locator("summary").click()
    event.get_by_label("Reason").fill("it was seen")
    event.get_by_role("button", name="Undo this decision").click()
    expect(page.get_by_role("listitem").filter(has_text="only to see it undone")).to_contain_text("Undone")


def test_a_file_that_cannot_be_read_is_said_at_its_field(visit: Callable[..., Visit], desk: str, tmp_path: Path) -> None:
    path = tmp_path / "letter.pdf"
    path.write_text("no table")
    _, page = opened(visit, desk, "/imports")
    page.get_by_label("File").set_input_files(path)
    page.get_by_role("button", name="Send file").click()
    expect(page.locator("#summary")).to_contain_text("letter.pdf: the ending is none of")
