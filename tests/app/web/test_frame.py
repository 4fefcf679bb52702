"""The frame around every page: policy, files, titles, banner, problems."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from app.problems import KINDS
from app.web import static
from app.web.security import CONTENT_SECURITY_POLICY
from tests.site import client_of, close_site, make_site

TEMPLATES = Path(__file__).resolve().parents[3] / "app" / "templates"


def test_the_policy_allows_nothing_inline(public: TestClient) -> None:
    answer = public.get("/")
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "nonce" not in CONTENT_SECURITY_POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("template", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.name)
def test_no_template_holds_inline_style_script_or_a_foreign_address(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"\sstyle=|<style|\son\w+=|javascript:|https?://", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "|safe" not in text.replace(" ", "")


def test_static_files_carry_their_hash_and_live_a_year(public: TestClient) -> None:
    address = static.static_url("app.css")
    answer = public.get(address)
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert public.get(address, headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    assert "immutable" not in public.get("/static/000000000000/app.css").headers["cache-control"]
    assert public.get("/static/000000000000/%2e%2e/%2e%2e/main.py").status_code == 404
    with pytest.raises(KeyError):
        static.static_url("nothing.css")


def test_vendored_files_are_the_ones_named_beside_them() -> None:
    folder = static.ROOT / "vendor"
    rows = re.findall(r"\| `([^`]+)` \|.*`([0-9a-f]{64})`", (folder / "README.md").read_text())
    assert rows
    for name, digest in rows:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_first_view_fits_the_budget() -> None:
    files = static.manifest()
    assert len(files["app.css"].compressed or b"") < 20_000
    assert sum(len(files[name].compressed or b"") for name in ("vendor/htmx.min.js", "app.js")) < 30_000


@pytest.mark.parametrize("path", ["/", "/substances", "/sign-in", "/problems", "/problems/not-found", "/nowhere"])
def test_every_page_has_one_heading_its_title_and_the_banner(public: TestClient, path: str) -> None:
    text = public.get(path).text
    headings = re.findall(r"<h1>(.*?)</h1>", text)
    assert len(headings) == 1
    assert re.search(rf"<title>(Error: )?{re.escape(headings[0])} - NPS Early Warning</title>", text)
    assert "Demonstration data:" in text
    assert 'href="#main"' in text


def test_without_the_mark_there_is_no_banner(tmp_path: Path) -> None:
    app = make_site(tmp_path, demo=False, fill_world=lambda world: None)
    client = client_of(app)
    for path in ("/", "/substances"):
        assert "Demonstration data" not in client.get(path).text
    app.state.context.demo = True
    assert "Demonstration data" in client.get("/").text
    close_site(app)


@pytest.mark.parametrize("slug", sorted(KINDS))
def test_every_problem_has_a_page_at_its_address(public: TestClient, slug: str) -> None:
    answer = public.get(f"/problems/{slug}")
    assert answer.status_code == 200
    assert KINDS[slug].title.replace("'", "&#39;") in answer.text


def test_a_browser_gets_a_page_and_a_program_a_document(public: TestClient) -> None:
    page = public.get("/nowhere")
    assert page.status_code == 404
    assert "<h1>Page not found</h1>" in page.text
    document = public.get("/nowhere", headers={"accept": "application/json"})
    assert document.headers["content-type"] == "application/problem+json"


def test_an_unexpected_error_shows_a_reference_and_nothing_else(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("app.substances.pages.search_substances", fail)
    answer = client_of(site).get("/substances")
    assert answer.status_code == 500
    assert "Something went wrong here" in answer.text
    assert re.search(r"Reference: <span class=\"mono\">[0-9a-f]{12}</span>", answer.text)
    assert "secret detail" not in answer.text
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


def test_a_database_that_does_not_answer_gets_a_503_page(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("locked"))

    monkeypatch.setattr("app.substances.pages.search_substances", fail)
    monkeypatch.setattr("app.web.frame.is_demonstration", fail)
    answer = client_of(site).get("/substances")
    assert answer.status_code == 503
    assert "The service cannot answer now" in answer.text
    assert answer.headers["retry-after"]


def test_a_failing_card_leaves_the_others(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("locked"))

    monkeypatch.setattr("app.web.overview.newest_substances", fail)
    answer = client_of(site).get("/")
    assert answer.status_code == 200
    assert "The newest substances could not be loaded" in answer.text
    assert "First report of 2-MMC in Germany" in answer.text


def test_what_waits_stands_first_with_the_time_it_is_due(as_role: dict[str, TestClient]) -> None:
    text = as_role["authority"].get("/").text
    main = text.partition("<main")[2]
    region = re.search(r'<section class="card" aria-labelledby="h-waiting">(.*?)</section>', main, re.DOTALL)
    assert region
    assert main.index(region.group()) < main.index('aria-labelledby="h-alerts"')
    assert re.search(r'<h2 id="h-waiting">Waits for you \(2\)</h2>', region.group(1))
    rows = re.findall(r"<li>(.*?)</li>", region.group(1), re.DOTALL)
    assert "Rapid spread of para-fluorofentanyl" in rows[0]  # due first: overdue already
    assert "Overdue by 3 h" in rows[0]
    assert "Six deaths" in rows[1]
    assert re.search(r'Due <time datetime="2026-11-24T14:00:00\+00:00">24 Nov 2026, 14:00 UTC</time>, in 2 h', rows[1])


def test_signed_in_pages_are_kept_nowhere(as_role: dict[str, TestClient], public: TestClient) -> None:
    assert as_role["lab"].get("/").headers["cache-control"] == "private, no-store"
    assert "no-store" not in public.get("/").headers["cache-control"]


@pytest.mark.parametrize(("path", "current"), [("/ops/curation", "Curation"), ("/ops", "Operations"), ("/", "Overview")])
def test_one_area_of_the_menu_is_current(as_role: dict[str, TestClient], path: str, current: str) -> None:
    menu = as_role["analyst"].get(path).text.partition('<nav class="nav"')[2].partition("</nav>")[0]
    assert re.findall(r'aria-current="page"[^>]*>([^<]+)', menu) == [current]


def test_every_field_of_a_form_says_its_type() -> None:
    """Without one it gets neither its width nor its colours."""
    for path in sorted(TEMPLATES.rglob("*.html")):
        assert not re.search(r"<input (?![^>]*type=)", path.read_text(encoding="utf-8")), path
