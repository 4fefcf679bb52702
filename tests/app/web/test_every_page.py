"""Every page that links lead a role to: one heading, its title, and nothing that points to what is not there."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.site import client_of, close_site, make_site, sign_in

EMAILS = {
    "public": "", "lab": "lab.de@example.org", "authority": "authority.de@example.org", "reviewer": "reviewer.ch@example.org",
    "analyst": "analyst.at@example.org", "industry": "industry.gb@example.org", "admin": "admin.at@example.org",
}  # fmt: skip
OF_A_KIND = 2  # so many pages of one pattern are enough
# what needs the whole chemistry, which pages are tested without
ELSEWHERE = ("/suspects", "/law/rule", "/docs")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    made = make_site(tmp_path_factory.mktemp("every-page"))
    yield made
    close_site(made)


def pattern_of(address: str) -> str:
    path = re.sub(r"/[0-9A-HJKMNP-TV-Z]{26}", "/{id}", urlsplit(address).path)
    return re.sub(r"^/(help|problems|families|countries|law/instruments)/[^/]+", r"/\1/{name}", path)


def pages(client: TestClient) -> Iterator[tuple[str, str]]:
    """The address and text of each page, from the overview on."""
    waiting, seen, known = ["/"], Counter[str](), set[str]()
    while waiting:
        address = waiting.pop(0)
        kind = pattern_of(address)
        if address in known or seen[kind] >= OF_A_KIND:
            continue
        known.add(address)
        answer = client.get(address)
        if not answer.headers.get("content-type", "").startswith("text/html"):
            continue
        assert answer.status_code == 200, f"{address}: {answer.status_code}"
        seen[kind] += 1
        yield address, answer.text
        for href in re.findall(r'<a [^>]*href="([^"#]+)', answer.text):
            parts = urlsplit(html.unescape(href))
            one = parts.path + (f"?{parts.query}" if parts.query else "")
            if not parts.netloc and one.startswith("/") and not one.startswith(("/static/", *ELSEWHERE)):
                waiting.append(one)


@pytest.mark.parametrize("role", EMAILS)
def test_every_page_of_a_role_is_whole(app: FastAPI, role: str) -> None:
    client = client_of(app)
    if EMAILS[role]:
        assert sign_in(client, EMAILS[role]).status_code == 303
    found = 0
    for address, text in pages(client):
        found += 1
        assert text.startswith("<!doctype html>"), address
        assert len(re.findall(r"<main[ >]", text)) == 1, address
        (heading,) = re.findall(r"<h1[^>]*>(.*?)</h1>", text, re.DOTALL)
        (title,) = re.findall(r"<title>(.*?)</title>", text)
        assert title == f"{heading.strip()} - NPS Early Warning", address
        ids = re.findall(r'\sid="([^"]+)"', text)
        assert not [one for one, n in Counter(ids).items() if n > 1], address
        named = re.findall(r'\saria-(?:labelledby|describedby|controls)="([^"]+)"', text)
        wanted = {one for names in named for one in names.split()} | set(re.findall(r'<label [^>]*for="([^"]+)"', text))
        wanted |= set(re.findall(r'href="#([^"]+)"', text))
        assert wanted <= set(ids), f"{address}: {wanted - set(ids)}"
    assert found > 12
