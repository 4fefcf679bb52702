"""The desk in a real Chromium: a dossier made while one waits, its records, and the pages of countries, operators and exports."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Desk, Visit

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser test_desk")]
NITAZENE = "CCOc1ccc(Cc2nc3cc([N+](=O)[O-])ccc3n2CCN(CC)CC)cc1"


def _report(n: int) -> dict[str, Any]:
    return {
        "lab_reference": f"DESK-{n}",
        "sample": {"country": "DE", "date_sampled": f"2026-{5 + n:02d}-03", "context": "seizure", "form": "powder"},
        "substances": [{"structure": {"smiles": NITAZENE}, "techniques": ["gc-ms", "nmr"], "schymanski_level": "1",
                        "reference_material": "certified", "isomers_excluded": "yes"}],
        "cases": [{"seriousness": "death", "role": "sole_cause", "exposure_evidence": "biological"}] if n == 0 else [],
    }  # fmt: skip


def _open(visit: Callable[..., Visit], desk: str, role: str, path: str, **options: Any) -> tuple[Visit, Page]:
    made = visit(desk, **options)
    page = made.open()
    made.sign_in(page, f"{role}@example.org")
    page.wait_for_url(f"{desk}/")
    page.goto(desk + path)
    return made, page


def _sound(page: Page) -> None:
    """Accessible and inside the window, wide and on a phone."""
    expect(page.locator("main h1")).to_have_count(1)
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), page.url
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_dossier_is_made_without_reload_and_every_figure_opens_its_list(visit: Callable[..., Visit], whole: Desk) -> None:
    for n in range(3):
        sent = httpx.post(
            f"{whole.base}/v1/reports", json=_report(n), headers={"Authorization": f"Bearer {whole.key}"}, timeout=60
        )
        assert sent.status_code == 201, sent.text
    made, page = _open(visit, whole.base, "reviewer", "/dossiers")
    page.get_by_role("button", name="Build dossier").click()
    expect(page.locator("#summary")).to_be_focused()
    page.get_by_label("Substance", exact=True).fill("etonitazene")
    page.get_by_role("button", name="Build dossier").click()
    expect(page.get_by_role("heading", level=2, name="1 Substance identification")).to_be_visible(timeout=90_000)
    headings = page.locator(".dossier-section > h2")
    expect(headings).to_have_count(20)
    empty = page.locator("#s7")
    expect(empty).to_contain_text("No data in the service. Would fill it:")
    for section, name, number in (("13", "Detections, confirmed and probable, whole history", 3), ("6", "Deaths naming it", 1)):
        row = page.locator(f"#s{section} .facts > div").filter(has_text=name)
        expect(row.get_by_role("link")).to_have_text(str(number))
        row.get_by_role("link").click()
        expect(page.locator("main tbody tr")).to_have_count(number)
        page.go_back()
    _sound(page)
    page.get_by_label("Remark").fill("Compare with the family.")
    page.get_by_role("button", name="Add remark").click()
    expect(page.locator("main")).to_contain_text("Compare with the family.")
    with page.expect_download() as got:
        page.get_by_role("link", name="PDF").click()
    assert got.value.suggested_filename.endswith(".pdf")
    made.console[:] = [text for text in made.console if "422" not in text]
    made.assert_quiet()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_of_the_desk_are_accessible_and_fit(visit: Callable[..., Visit], desk: str, scheme: str) -> None:
    pages = {
        "reviewer": ("/dossiers", "/packages", "/lag", "/countries/DE"),
        "analyst": ("/ops", "/law/draft", "/law/instruments/UN-1961/changes", "/law/rule?id=us-csa/fentanyl-related"),
        "admin": ("/ops/audit",),
    }
    for role, paths in pages.items():
        made, page = _open(visit, desk, role, paths[0], scheme=scheme)
        for path in paths:
            page.goto(desk + path)
            _sound(page)
        made.assert_quiet()


def test_a_near_miss_names_the_failed_condition_and_a_hit_lights_atoms(visit: Callable[..., Visit], desk: str) -> None:
    _, page = _open(visit, desk, "lab", "/law/rule?id=us-csa/fentanyl-related")
    page.get_by_label("SMILES").fill("CCCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_role("status").filter(has_text="Inside")).to_be_visible()
    assert page.locator(".drawing-narrow .highlight").count() > 5
    page.get_by_label("SMILES").fill("CCC(=O)N(c1ccccc1)C1CCN(CCN)CC1")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator("main")).to_contain_text(re.compile(r"Condition \d+ \(R\d\) failed"))
