"""Every page as a reader meets it: accessible, inside the window, quiet, by keyboard, without script and on paper."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import LINK, Visit, follow
from tests.factories import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser test_pages")]

AUTHORITY, LAB, ANALYST = "authority.de@example.org", "lab.de@example.org", "analyst.at@example.org"
REVIEWER, PARTNER = "reviewer.ch@example.org", "industry.gb@example.org"
MakeVisit = Callable[..., Visit]


def _goto(path: str) -> Callable[[Page, str], None]:
    def go(page: Page, base: str) -> None:
        page.goto(base + path)

    return go


def _follow(path: str, selector: str) -> Callable[[Page, str], None]:
    def go(page: Page, base: str) -> None:
        page.goto(base + path)
        follow(page, selector)

    return go


def _screened(page: Page, base: str) -> None:
    page.goto(base + "/screening")
    page.get_by_label("Structures", exact=True).fill("CCO " + "long-name-" * 20 + "\nc1ccc\n")
    page.get_by_role("button", name="Screen", exact=True).click()
    expect(page.get_by_role("heading", name="Results")).to_be_visible()


def _by_structure(page: Page, base: str) -> None:
    page.goto(base + "/structure-search")
    page.get_by_label("SMILES, InChI or molfile").fill("C1CCNCC1")
    page.get_by_label("Look for").select_option("substructure")
    page.get_by_role("button", name="Search", exact=True).last.click()
    expect(page.get_by_role("heading", name="Results")).to_be_visible()


def _rule_tried(page: Page, base: str) -> None:
    page.goto(base + "/law/rule?id=de-npsg/2.1-oxindole")
    page.get_by_label("SMILES").fill("CN1C(=O)C(=NNC(=O)c2ccccc2)c2ccccc12")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()


def _draft_asked(page: Page, base: str) -> None:
    page.goto(base + "/law/draft")
    page.get_by_role("button", name="Ask", exact=False).first.click()
    page.wait_for_url("**/jobs/*")


SUBSTANCE = _follow("/substances?q=4-FF", "main .row-title")


def _signal(page: Page, site: str) -> None:
    SUBSTANCE(page, site)
    page.goto(f"{page.url}/signals/DE")


def _cases(page: Page, site: str) -> None:
    SUBSTANCE(page, site)
    page.locator('a[href^="/cases?"]').first.click()
    page.wait_for_url("**/cases?*")


def _compared(page: Page, base: str) -> None:
    page.goto(base + "/priorities/compare?name=4-FF")
    page.get_by_label("Add a substance").fill("2-MMC")
    page.get_by_role("button", name="Add").click()
    expect(page.get_by_role("heading", name="Trend", exact=True)).to_be_visible()


PAGES: dict[str, tuple[str | None, Callable[[Page, str], None]]] = {
    "public overview": (None, _goto("/")),
    "sign-in": (None, _goto("/sign-in")),
    "public substances": (None, _goto("/substances")),
    "nothing found": (None, _goto("/substances?q=fentanil&group=nitazene")),
    "public substance": (None, SUBSTANCE),
    "messages": (None, _goto("/problems")),
    "message": (None, _goto("/problems/stale-version")),
    "overview": (AUTHORITY, _goto("/")),
    "substance": (AUTHORITY, SUBSTANCE),
    "unscheduled substance": (LAB, _follow("/substances?q=2-MMC", "main .row-title")),
    "weekly series": (LAB, _signal),
    "priorities": (REVIEWER, _goto("/priorities")),
    "compare": (REVIEWER, _compared),
    "family": (REVIEWER, _goto("/families/fentanyl_analogue")),
    "explore": (REVIEWER, _goto("/explore?period=36&split=country")),
    "explore, map": (LAB, _goto("/explore?view=map")),
    "explore, small maps": (LAB, _goto("/explore?view=maps&period=36")),
    "detections": (LAB, _goto("/detections?period=36")),
    "material": (LAB, _follow("/substances?q=Opium", "main .row-title")),
    "inbox": (AUTHORITY, _goto("/inbox")),
    "inbox, filtered": (AUTHORITY, _goto("/inbox?show=all&level=4")),
    "inbox, empty": (AUTHORITY, _goto("/inbox?show=acknowledged")),
    "alert": (AUTHORITY, _follow("/inbox", "[data-open]")),
    "alert to approve": (ANALYST, _follow("/inbox", "[data-open]")),
    "retracted alert": (LAB, _follow("/inbox?show=all", "[data-open] >> text=by mistake")),
    "subscriptions": (AUTHORITY, _goto("/subscriptions")),
    "new subscription": (AUTHORITY, _goto("/subscriptions/new?min_level=1&tlp_max=AMBER")),
    "contacts": (AUTHORITY, _goto("/contacts")),
    "coverage": (ANALYST, _goto("/coverage")),
    "measures": (AUTHORITY, _goto("/measures")),
    "second factor": (LAB, _goto("/account/second-factor")),
    "record a measure": (AUTHORITY, _goto("/measures/new")),
    "new notice": (ANALYST, _goto("/alerts/new")),
    "reports": (LAB, _goto("/reports")),
    "report": (LAB, _follow("/reports", "main .row-title")),
    "law": (None, _goto("/law")),
    "law, operator": (ANALYST, _goto("/law")),
    "instrument": (None, _goto("/law/instruments/DE-NPSG")),
    "class rule": (LAB, _goto("/law/rule?id=de-npsg/2.1-oxindole")),
    "class rule tried": (LAB, _rule_tried),
    "structure search": (LAB, _goto("/structure-search")),
    "found by structure": (LAB, _by_structure),
    "screening": (LAB, _goto("/screening")),
    "screened": (LAB, _screened),
    "account": (LAB, _goto("/account?saved=look")),
    "accounts": ("admin.at@example.org", _goto("/accounts")),
    "link of an e-mail": (None, _goto(f"/a/{LINK}")),
    "cases": (REVIEWER, _cases),
    "draft rule": (ANALYST, _goto("/law/draft")),
    "draft rule asked": (ANALYST, _draft_asked),
    "forbidden": (AUTHORITY, _goto("/reports")),
}
ERRORS = frozenset({"forbidden"})


LOOKS = ((1280, "light"), (390, "dark"), (1280, "dark"), (390, "light"))


@pytest.mark.parametrize(("place", "name"), list(enumerate(PAGES)), ids=list(PAGES))
def test_page_is_accessible_and_fits(site: str, visit: MakeVisit, place: int, name: str) -> None:
    """In one of the four looks, each in turn."""
    _looked_at(site, visit, name, LOOKS[place % len(LOOKS)])


@pytest.mark.parametrize("name", PAGES)
def test_page_is_accessible_in_every_look(site: str, visit: MakeVisit, name: str) -> None:
    _looked_at(site, visit, name, *LOOKS)


def _looked_at(site: str, visit: MakeVisit, name: str, *looks: tuple[int, str]) -> None:
    """axe finds nothing, the page never scrolls sideways, and nothing is refused by the policy or fetched from elsewhere."""
    email, go = PAGES[name]
    seen = visit(site)
    page = seen.open()
    if email:
        seen.be(email)
    go(page, site)
    expect(page.locator("main h1")).to_have_count(1)
    assert page.title().endswith(" - NPS Early Warning")
    for width in (1280, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{name} scrolls sideways by {overflow} px at {width} px"
        for scheme in (scheme for at, scheme in looks if at == width):
            page.evaluate("document.querySelectorAll('main details').forEach(details => { details.open = true; })")
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            results = Axe().run(page)
            assert results.violations_count == 0, f"{name}, {scheme}, {width} px:\n{results.generate_report()}"
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})  # A4
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, f"{name} on paper"
    expect(page.locator("nav.nav")).to_be_hidden()
    if name in ERRORS:
        seen.console = [text for text in seen.console if "status of 403" not in text]
    seen.assert_quiet()


def test_signing_in_by_keyboard_alone(site: str, visit: MakeVisit) -> None:
    seen = visit(site)
    page = seen.open()
    page.goto(f"{site}/sign-in?next=/inbox")
    expect(page.get_by_label("E-mail")).to_have_attribute("autocomplete", "username")
    expect(page.get_by_label("Password")).to_have_attribute("autocomplete", "current-password")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")  # 2 keys
    page.keyboard.press("Tab")
    page.keyboard.type(AUTHORITY)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")  # 5 keys beside typing
    expect(page.locator("h1")).to_have_text("Inbox")
    seen.assert_quiet()


CONTROLS = "a:visible, button:visible, input:visible, select:visible, summary:visible, textarea:visible"
FOCUSED = """(() => {
  const e = document.activeElement;
  if (e === document.body) return null;
  const style = getComputedStyle(e), box = e.getBoundingClientRect();
  return {width: style.outlineWidth, style: style.outlineStyle, what: e.outerHTML.slice(0, 120),
          left: box.left, right: box.right, top: box.top + scrollY, bottom: box.bottom + scrollY};
})()"""


@pytest.mark.parametrize(("name", "width"), [("inbox", 1280), ("explore", 390), ("substance", 1280), ("new subscription", 390)])
def test_every_control_is_reached_by_tab_in_order_with_a_visible_ring(site: str, visit: MakeVisit, name: str, width: int) -> None:
    """One after the other downwards, or to the right: never back up but into the next column."""
    email, go = PAGES[name]
    assert email
    seen = visit(site, width=width)
    page = seen.open()
    seen.sign_in(page, email)
    go(page, site)
    page.locator("body").press("Home")
    expect(page.locator("main h1")).to_have_count(1)
    controls = page.locator(CONTROLS).count()
    assert page.locator("[tabindex]:not([tabindex='0']):not([tabindex='-1'])").count() == 0
    reached, before = 0, None
    for _ in range(controls + 12):  # and the tables that can be scrolled
        page.keyboard.press("Tab")
        state = page.evaluate(FOCUSED)
        if state is None:
            break
        reached += 1
        assert (state["style"], state["width"]) == ("solid", "3px"), state["what"]
        if before is not None:
            down, right = state["bottom"] > before["top"], state["left"] >= before["right"] - 1
            assert down or right, f"{before['what']}, then {state['what']}"
        before = state
    assert reached >= controls


def test_keys_move_in_the_inbox_and_acknowledge(fresh_site: str, visit: MakeVisit) -> None:
    seen = visit(fresh_site)
    page = seen.open()
    seen.sign_in(page, AUTHORITY)
    page.goto(f"{fresh_site}/inbox")
    first, second = page.locator("[data-open]").all()
    page.keyboard.press("j")  # outside of the list a key does nothing
    expect(first).not_to_be_focused()
    first.focus()
    page.keyboard.press("j")
    expect(second).to_be_focused()
    page.keyboard.press("k")
    expect(first).to_be_focused()
    page.keyboard.press("a")
    expect(page.locator("[data-acknowledge]").first).to_be_focused()
    expect(page.get_by_text("Acknowledged by you")).to_have_count(0)  # moving there decides nothing
    page.keyboard.press("Enter")
    done = page.get_by_text("Acknowledged by you, 12:00 UTC")
    expect(done).to_be_visible()
    # focus follows when the swap has settled, a moment after the text is there
    focused = page.locator("[data-focus]", has_text="Acknowledged by you")
    expect(focused).to_be_focused()
    expect(page.locator("#count")).to_have_text("1 alert")
    expect(page.locator("[data-row]")).to_have_count(2)  # the row stays until the next load
    page.reload()
    expect(page.locator("[data-row]")).to_have_count(1)
    seen.assert_quiet()


def test_slash_goes_to_the_search(site: str, visit: MakeVisit) -> None:
    page = visit(site).open()
    page.goto(site)
    page.keyboard.press("/")
    expect(page.locator("#header-search")).to_be_focused()
    page.keyboard.type("4-FF/")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{site}/substances?q=4-FF%2F")


def test_the_filter_works_on_change_and_the_address_reproduces_the_list(site: str, visit: MakeVisit) -> None:
    seen = visit(site)
    page = seen.open()
    page.goto(f"{site}/substances")
    page.get_by_label("Chemical group").focus()
    page.get_by_label("Chemical group").select_option("fentanyl_analogue")
    expect(page.locator("#count")).to_have_text("2 substances")
    expect(page.get_by_label("Chemical group")).to_be_focused()
    assert "group=fentanyl_analogue" in page.url
    page.locator("main .row-title").first.click()
    expect(page.locator("h1")).to_have_text("para-Fluorofentanyl")
    page.go_back()
    expect(page.locator("#count")).to_have_text("2 substances")
    expect(page.get_by_label("Chemical group")).to_have_value("fentanyl_analogue")
    seen.assert_quiet()


def test_everything_works_without_script(fresh_site: str, visit: MakeVisit) -> None:
    seen = visit(fresh_site, script=False)
    page = seen.open()
    seen.sign_in(page, AUTHORITY)
    page.get_by_label("Search substance: name, CAS or InChIKey").fill("p-fluorofentanyl")
    page.get_by_role("button", name="Search").click()
    page.locator("main .row-title").click()
    page.get_by_text("Table: para-Fluorofentanyl").first.click()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    page.goto(f"{fresh_site}/inbox")
    page.get_by_role("button", name="Acknowledge").first.click()
    expect(page.get_by_text("Acknowledged by you, 12:00 UTC")).to_be_visible()
    assert "/inbox" in page.url
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("link", name="Sign in", exact=True)).to_be_visible()


def test_acknowledge_is_in_the_first_view_of_a_phone(site: str, visit: MakeVisit) -> None:
    seen = visit(site, width=390)
    page = seen.open()
    seen.sign_in(page, AUTHORITY)
    page.goto(f"{site}/inbox")
    page.locator("[data-open]").first.click()
    box = page.get_by_role("button", name="Acknowledge").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 900
    assert box["height"] >= 44


def test_only_one_drawing_shows_at_each_width(site: str, visit: MakeVisit) -> None:
    seen = visit(site)
    page = seen.open()
    SUBSTANCE(page, site)
    for width, shown, hidden in ((1280, "wide", "narrow"), (390, "narrow", "wide")):
        page.set_viewport_size({"width": width, "height": 900})
        expect(page.locator(f"#by-month .chart-{shown}")).to_be_visible()
        expect(page.locator(f"#by-month .chart-{hidden}")).to_be_hidden()


def test_dark_pages_draw_light_bars(site: str, visit: MakeVisit) -> None:
    """The same picture serves both themes: its colours come from the style sheet."""

    def bar(scheme: str) -> str:
        seen = visit(site, scheme=scheme)
        page = seen.open()
        seen.sign_in(page, AUTHORITY)
        SUBSTANCE(page, site)
        drawn = page.locator('#by-month .chart-wide [fill="var(--confirmed)"]').first
        colour: str = drawn.evaluate("bar => getComputedStyle(bar).fill")
        return colour

    assert bar("light") == "rgb(14, 53, 87)"
    assert bar("dark") == "rgb(213, 232, 250)"


@pytest.mark.parametrize("name", ["substance", "alert"])
def test_page_prints_on_paper(site: str, visit: MakeVisit, tmp_path: Path, name: str) -> None:
    email, go = PAGES[name]
    seen = visit(site)
    page = seen.open()
    assert email
    seen.sign_in(page, email)
    go(page, site)
    path = tmp_path / "page.pdf"
    page.pdf(path=str(path), format="A4")
    written = path.read_bytes()
    assert written.startswith(b"%PDF")
    if name == "alert":  # one page of A4
        assert len(re.findall(rb"/Type /Page\b", written)) == 1
    page.emulate_media(media="print")
    expect(page.locator("nav.nav")).to_be_hidden()
    expect(page.locator(".print-only")).to_be_visible()
    page.set_viewport_size({"width": 794, "height": 1123})
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


def test_the_preview_of_a_filter_is_the_list_and_a_test_tells_the_answer_as_text(fresh_site: str, visit: MakeVisit) -> None:
    seen = visit(fresh_site)
    page = seen.open()
    seen.sign_in(page, AUTHORITY)
    page.goto(f"{fresh_site}/subscriptions/new")
    page.get_by_label("Lowest level").select_option("1")
    page.get_by_label("Label up to").select_option("AMBER")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator("#preview")).to_contain_text("would have sent you 4 alerts")
    expect(page.locator("#preview-list > li")).to_have_count(4)
    page.get_by_label("https address or e-mail address").fill("https://authority.example/hook")
    page.get_by_role("button", name="Save subscription").click()
    expect(page.get_by_text("shown only now")).to_be_visible()
    page.get_by_role("button", name="Send test").click()
    expect(page.get_by_text("The test is on its way")).to_be_visible()
    _sound(page)
    page.goto(f"{fresh_site}/subscriptions")
    expect(page.get_by_text("Waits for its answer")).to_be_visible()
    seen.assert_quiet()


def _sound(page: Page) -> None:
    """Accessible and inside the window, wide and on a phone, with everything opened."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url
        page.evaluate("document.querySelectorAll('main details').forEach(details => { details.open = true; })")
        results = Axe().run(page)
        assert results.violations_count == 0, results.generate_report()


def test_a_partner_declares_a_use_and_an_analyst_confirms_it(fresh_site: str, visit: MakeVisit) -> None:
    """A phone in the dark without script declares; the analyst's desk confirms; the public reads it and not from whom."""
    partner, analyst, public = visit(fresh_site, scheme="dark", script=False), visit(fresh_site), visit(fresh_site, scheme="dark")
    page = partner.open()
    partner.sign_in(page, PARTNER)
    SUBSTANCE(page, fresh_site)
    page.get_by_role("link", name="Declare a legitimate use").click()
    page.get_by_role("button", name="Send declaration").click()
    expect(page.get_by_role("heading", name="There is a problem")).to_be_visible()
    page.get_by_label("Kind of use").select_option("clinical_study")
    page.get_by_label("Source").fill("Trial register, entry 2026-114")
    page.get_by_label("Note to the analyst").fill("sponsor's own")
    page.get_by_label("Countries").fill("DE, MT")
    page.get_by_role("button", name="Send declaration").click()
    expect(page.locator("main")).to_contain_text("Waits for an analyst")
    desk = analyst.open()
    analyst.sign_in(desk, ANALYST)
    desk.get_by_role("link", name="Legitimate uses").click()
    expect(desk.locator("#count")).to_have_text("1 declaration")
    _sound(desk)
    desk.get_by_role("button", name="Confirm the declaration of para-Fluorofentanyl").click()
    expect(desk.locator("#summary")).to_be_focused()
    desk.get_by_label("What you checked").fill("entry found")
    desk.get_by_role("button", name="Confirm the declaration of para-Fluorofentanyl").click()
    expect(desk.get_by_text("Nothing waits: every declaration is decided.")).to_be_visible()
    reader = public.open()
    SUBSTANCE(reader, fresh_site)
    section = reader.locator("#medical")
    expect(section).to_contain_text("Trial register, entry 2026-114")
    expect(section).to_contain_text("Declared by industry, confirmed by an analyst on 24 Nov 2026")
    expect(section).to_contain_text("Germany, Malta")
    expect(section).not_to_contain_text("sponsor")
    _sound(reader)
    public.sign_in(reader, PARTNER)
    for path in ("/legitimate-uses", "/legitimate-uses/new", "/help/industry"):
        reader.goto(fresh_site + path)
        _sound(reader)
    for seen in (partner, analyst, public):
        seen.console = [text for text in seen.console if "422" not in text]
        seen.assert_quiet()


def test_a_second_acknowledgement_changes_nothing(fresh_site: str, visit: MakeVisit) -> None:
    seen = visit(fresh_site)
    first, second = seen.open(), seen.open()
    seen.sign_in(first, AUTHORITY)
    for page in (first, second):
        page.goto(f"{fresh_site}/inbox")
        page.locator("[data-open]").first.click()
        expect(page.get_by_role("button", name="Acknowledge")).to_be_visible()
    for page in (first, second):  # the second window does not know yet
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_text("Acknowledged by you, 12:00 UTC")).to_be_visible()
    expect(second.get_by_text("acknowledged", exact=False).locator("xpath=ancestor-or-self::li")).to_have_count(1)
    short = second.locator(".alert-short").inner_text().removesuffix("Copy short text").removesuffix("Copy").strip()
    assert len(short) <= 160
    seen.assert_quiet()


def test_a_retracted_alert_says_so_before_its_headline(site: str, visit: MakeVisit) -> None:
    seen = visit(site)
    page = seen.open()
    seen.sign_in(page, LAB)
    PAGES["retracted alert"][1](page, site)
    above = page.evaluate(
        "(() => { const banner = document.querySelector('main .notice'); const title = document.querySelector('main h1');"
        " return Boolean(banner.compareDocumentPosition(title) & Node.DOCUMENT_POSITION_FOLLOWING)"
        " && banner.innerText.includes('etracted'); })()"
    )
    assert above


def test_values_are_read_off_a_chart_by_slider_and_by_pointing(site: str, visit: MakeVisit) -> None:
    """What is read is the row of the table, the newest month first; the mark stands over its bar in either width."""
    seen = visit(site)
    seen.be(AUTHORITY)
    page = seen.open()
    SUBSTANCE(page, site)
    figure = page.locator("#by-month")
    rows = figure.locator("details tbody tr")
    figure.get_by_role("button", name="Read values").click()
    slider = figure.get_by_role("slider", name="Month")
    expect(slider).to_be_focused()
    for key, row in (("End", 0), ("ArrowLeft", 1), ("Home", rows.count() - 1)):
        page.keyboard.press(key)
        cells = rows.nth(row).locator("th, td")
        expect(figure.locator("output")).to_contain_text(f"{cells.nth(0).text_content()}: Detections")
        expect(slider).to_have_attribute("aria-valuetext", re.compile(f"^{cells.nth(0).text_content()}: Detections "))
    page.keyboard.press("End")
    mark = figure.locator("svg.chart-wide .reading")
    bar = figure.locator('svg.chart-wide [fill="var(--confirmed)"]').last
    over, under = mark.bounding_box(), bar.bounding_box()
    assert over is not None
    assert under is not None
    assert over["x"] - 1 <= under["x"]
    assert under["x"] + under["width"] <= over["x"] + over["width"] + 1
    chart = figure.locator("svg.chart-wide").bounding_box()
    assert chart is not None
    before = figure.locator("output").text_content()
    page.mouse.move(chart["x"] + chart["width"] / 4, chart["y"] + 40)
    expect(figure.locator("output")).not_to_have_text(before or "")
    places = page.locator("#by-country")
    places.get_by_role("button", name="Read values").click()
    expect(places.locator("output")).to_contain_text(places.locator("details tbody tr th").first.text_content() or "-")
    page.set_viewport_size({"width": 390, "height": 900})
    page.keyboard.press("ArrowRight")
    expect(places.locator("svg.chart-narrow .reading")).to_have_count(1)
    assert Axe().run(page).violations_count == 0
    figure.get_by_role("button", name="Read values").click()
    expect(slider).to_be_hidden()
    seen.assert_quiet()
