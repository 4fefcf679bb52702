"""The law as pages: every instrument and every rule can be opened, a date changes the entries, a miss names what failed."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

import pytest
from fastapi import FastAPI

from app.chemistry import Chemistry
from app.law.rescreen import rescreen
from tests.factories import NOW
from tests.site import client_of, make_site, sign_in, token_in

RULE = "de-npsg/2.1-oxindole"


@pytest.fixture
def site(tmp_path: Path, chemistry: Chemistry) -> FastAPI:
    app = make_site(tmp_path)
    app.state.context.chemistry = chemistry
    return app


def test_every_instrument_and_every_rule_opens(site: FastAPI, chemistry: Chemistry) -> None:
    client = client_of(site)
    listed = client.get("/law")
    assert listed.status_code == 200
    assert "Stored substances" not in listed.text
    for info in chemistry.engine.instruments():
        assert f"/law/instruments/{info.id}" in listed.text
        page = client.get(f"/law/instruments/{info.id}")
        assert page.status_code == 200
        assert all(text.split("(")[0].strip()[:20] in page.text.replace("&#39;", "'") for text in info.not_coded)
    for rule in {rule.id for rule in chemistry.engine.rules()}:
        page = client.get("/law/rule", params={"id": rule})
        assert page.status_code == 200, rule
        assert "<svg" in page.text
        # the examples are the own tests of one of the rule's texts, all of them
        caught, _, missed = page.text.partition("<h3>Caught</h3>")[2].partition("<h3>Near misses</h3>")
        shown = [[unescape(s) for s in re.findall(r'<p class="mono small ids">([^<]+)</p>', part)] for part in (caught, missed)]
        own = [text for text in chemistry.engine.rules() if text.id == rule]
        assert shown in [[list(text.hits), list(text.near_misses)] for text in own], rule
    assert client.get("/law/rule?id=none").status_code == 404
    assert client.get("/law/instruments/none").status_code == 404


def test_the_entries_are_those_of_the_day(site: FastAPI) -> None:
    client = client_of(site)
    assert ">2-Methyl-AP-237<" in client.get("/law/instruments/UN-1961?as_of=2026-11-24").text
    assert ">2-Methyl-AP-237<" not in client.get("/law/instruments/UN-1961?as_of=2022-01-01").text
    assert client.get("/law/instruments/UN-1961?as_of=soon").status_code == 422


def test_a_rule_says_which_condition_failed(site: FastAPI) -> None:
    client = client_of(site)
    sign_in(client, "lab.de@example.org")
    token = token_in(client.get(f"/law/rule?id={RULE}").text)
    form = {"csrf_token": token, "id": RULE}
    missed = client.post("/law/rule", data={**form, "structure": "CN1C(=O)C(=NNC(=O)c2ccccc2)c2ccccc12"})
    assert "Outside: side-chain" in missed.text
    assert "chain of 1, at least 3" in missed.text
    met = client.post("/law/rule", data={**form, "structure": "CCCCCCN1C(=O)C(=NNC(=O)c2ccccc2)c2ccccc12.Cl"})
    assert '<p class="verdict" role="status">Inside</p>' in met.text
    assert met.headers["cache-control"] == "private, no-store"
    refused = client.post("/law/rule", data={**form, "structure": "c1ccc"})
    assert refused.status_code == 422
    assert 'role="alert"' in refused.text
    assert client.post("/law/rule", data={**form, "id": "none", "structure": "C"}).status_code == 404


def test_operators_see_how_far_the_stored_substances_follow(site: FastAPI) -> None:
    client = client_of(site)
    sign_in(client, "analyst.at@example.org")
    assert "still carry an earlier version" in client.get("/law").text
    assert rescreen(site.state.context, as_of=NOW.date()) is not None
    after = client.get("/law").text
    assert "Every stored substance carries the law in use" in after
    assert "Last run" in after
