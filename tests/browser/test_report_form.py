"""The report form in a real Chromium: live check, structure editor under the strict policy, faults at their fields, sending."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.factories import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser test_report_form")]
PFF = "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1.Cl"


def opened(
    visit: Callable[..., Visit], desk: str, path: str, *, email: str = "lab@example.org", **options: object
) -> tuple[Visit, Page]:
    made = visit(desk, **options)
    page = made.open()
    made.be(email)
    page.goto(f"{desk}{path}")
    return made, page


def no_violations(page: Page) -> None:
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def no_sideways_scroll(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_structure_is_identified_while_it_is_written_and_sent(
    visit: Callable[..., Visit], desk: str, tmp_path: Path, width: int, scheme: str
) -> None:
    made, page = opened(visit, desk, "/reports/new?empty=1", width=width, scheme=scheme)
    page.get_by_label("Structure").focus()
    page.keyboard.type("CCO")  # the first one reads the law
    check = page.get_by_role("region", name="Check of substance 1")
    expect(check.get_by_role("status")).to_contain_text("No match", ignore_case=True)
    page.keyboard.press("Control+A")
    with page.expect_response("**/reports/check*") as answered:
        page.keyboard.type(PFF)
    expect(check.get_by_role("status")).to_contain_text("para-Fluorofentanyl")
    assert answered.value.ok
    expect(check).to_contain_text("Controlled")
    expect(check).to_contain_text("C22H27FN2O")
    page.get_by_label("GC-MS", exact=True).check()
    expect(check).to_contain_text("exclude the isomers")
    no_violations(page)
    no_sideways_scroll(page)
    page.screenshot(path=tmp_path / f"form-{width}.png", full_page=True)

    page.get_by_role("button", name="Send report").last.click()
    expect(page.locator("#summary")).to_be_focused()
    assert page.title().startswith("Error: ")
    faults = page.locator("#summary").get_by_role("link")
    expect(faults).to_have_count(3)
    for n, label in enumerate(("Your reference", "Date of the sample", "Where the sample comes from")):
        expect(faults.filter(has_text=label)).to_have_count(1)
        field = page.locator(str(faults.nth(n).get_attribute("href")))
        faults.nth(n).click()  # each link goes to its field, which says the same
        expect(field).to_be_focused()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(page.locator(f"#{field.get_attribute('id')}-fault")).to_be_visible()
    expect(page.get_by_label("Structure")).to_have_value(PFF)
    expect(page.get_by_label("GC-MS", exact=True)).to_be_checked()
    no_violations(page)
    page.get_by_label("Your reference").fill(f"FORM-{width}")
    page.get_by_label("Date of the sample").fill("2026-11-03")
    page.get_by_label("Where the sample comes from").select_option("seizure")
    page.get_by_role("button", name="Send report").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Report FORM-{width}")
    made.console[:] = [text for text in made.console if "422" not in text]  # the refused form is reported by the browser itself
    made.assert_quiet()


def test_the_editor_and_the_text_agree_both_ways(visit: Callable[..., Visit], desk: str, tmp_path: Path) -> None:
    made, page = opened(visit, desk, "/reports/new?empty=1")
    field = page.get_by_label("Structure")
    field.fill("CCO")
    page.get_by_role("button", name="Draw it").click()
    canvas = page.locator("#editor-0")
    expect(canvas).to_be_visible()
    field.fill("CNC(C)C(=O)c1ccccc1C")
    check = page.get_by_role("region", name="Check of substance 1")
    expect(check.get_by_role("status")).to_contain_text("2-methylmethcathinone")
    page.wait_for_timeout(900)
    page.screenshot(path=tmp_path / "editor.png")
    page.mouse.wheel(0, 500)
    page.wait_for_timeout(200)
    box = canvas.bounding_box()
    assert box is not None
    assert box["height"] <= 420
    # a bond drawn into the empty lower corner changes the text
    page.mouse.move(box["x"] + 200, box["y"] + 350)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 350, steps=5)
    page.mouse.up()
    expect(field).not_to_have_value("CNC(C)C(=O)c1ccccc1C")
    assert "." in field.input_value()
    made.assert_quiet()


def test_without_script_the_form_adds_and_sends(visit: Callable[..., Visit], desk: str) -> None:
    made, page = opened(visit, desk, "/reports/new?empty=1", script=False)
    page.get_by_label("Name", exact=True).fill("ketamine")
    page.get_by_role("button", name="Add a substance").click()
    expect(page.locator("#s0_name")).to_have_value("ketamine")
    page.locator("#s1_name").fill("caffeine")
    page.get_by_label("Your reference").fill("PLAIN-1")
    page.get_by_label("Date of the sample").fill("2026-11")
    page.get_by_label("Where the sample comes from").select_option("collected")
    page.get_by_role("button", name="Send report").last.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Report PLAIN-1")
    expect(page.locator("main")).to_contain_text("ketamine", ignore_case=True)
    expect(page.locator("main")).to_contain_text("Caffeine", ignore_case=True)
    made.assert_quiet()


def test_a_reference_used_before_leads_to_that_report(visit: Callable[..., Visit], desk: str) -> None:
    _, page = opened(visit, desk, "/reports/new?empty=1")
    for _ in range(2):
        page.goto(f"{desk}/reports/new?empty=1")
        page.get_by_label("No substance was found").check()
        page.get_by_label("Your reference").fill("TWICE-1")
        page.get_by_label("Date of the sample").fill("2026")
        page.get_by_label("Where the sample comes from").select_option("unknown")
        page.get_by_role("button", name="Send report").last.click()
    page.locator("#summary").get_by_role("link", name=re.compile("used before")).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Report TWICE-1")


def test_a_draft_returns_after_the_sign_in_was_lost(visit: Callable[..., Visit], desk: str) -> None:
    """What was typed is kept with the account: the form comes back filled after signing in again."""
    _, page = opened(visit, desk, "/reports/new?empty=1")
    page.get_by_label("Structure").fill(PFF)
    page.get_by_label("Your reference").fill("LOST-1")
    expect(page.locator("#draft")).to_contain_text("Draft kept")
    page.context.clear_cookies()
    page.get_by_role("button", name="Send report").last.click()
    page.get_by_label("E-mail").fill("lab@example.org")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("New report")
    expect(page.locator("main")).to_contain_text("Your draft of")
    expect(page.get_by_label("Your reference")).to_have_value("LOST-1")
    expect(page.get_by_label("Structure")).to_have_value(PFF)
    page.get_by_role("link", name="Start with an empty form").click()
    expect(page.get_by_label("Your reference")).to_have_value("")


def test_a_check_that_is_slow_or_out_of_reach_still_lets_one_send(visit: Callable[..., Visit], desk: str) -> None:
    made, page = opened(visit, desk, "/reports/new?empty=1", width=390)
    check = page.get_by_role("region", name="Check of substance 1")
    held = []
    page.route("**/reports/check*", lambda route: held.append(route))
    page.get_by_label("Structure").fill("CCO")
    expect(check).to_have_text("Still checking; you can send anyway.")
    expect(page.locator("#announcer")).to_have_text("Still checking; you can send anyway.")
    held.pop().continue_()  # the answer comes after all, and stands instead
    expect(check.get_by_role("status")).to_contain_text("No match", ignore_case=True)
    page.unroute("**/reports/check*")
    made.context.set_offline(True)
    page.get_by_label("Structure").fill(PFF)
    expect(check).to_have_text("The check does not answer now; you can send anyway.")
    expect(page.get_by_label("Structure")).to_have_value(PFF)
    made.context.set_offline(False)
    page.route("**/reports/check*", lambda route: held.append(route))
    page.get_by_label("Your reference").fill("SLOW-1")
    page.get_by_label("Date of the sample").fill("2026-11-03")
    page.get_by_label("Where the sample comes from").select_option("seizure")
    page.get_by_role("button", name="Send report").last.click()  # while the check still waits
    expect(page.get_by_role("heading", level=1)).to_have_text("Report SLOW-1")
    # what browser and htmx write themselves of a request without a network
    made.console[:] = [text for text in made.console if "ERR_INTERNET_DISCONNECTED" not in text and not text.startswith("htmx:")]
    made.assert_quiet()
