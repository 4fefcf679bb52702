"""One filled site a module; tests that change it make their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.site import client_of, close_site, make_site, sign_in


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    app = make_site(tmp_path_factory.mktemp("site"))
    yield app
    close_site(app)


@pytest.fixture
def fresh_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    """A site that the test may change."""
    app = make_site(tmp_path_factory.mktemp("fresh"))
    yield app
    close_site(app)


@pytest.fixture
def public(site: FastAPI) -> TestClient:
    return client_of(site)


@pytest.fixture(scope="module")
def as_role(site: FastAPI) -> Iterator[dict[str, TestClient]]:
    """A signed-in client for each role."""
    emails = {
        "lab": "lab.de@example.org",
        "other lab": "lab.fr@example.org",
        "authority": "authority.de@example.org",
        "reviewer": "reviewer.ch@example.org",
        "analyst": "analyst.at@example.org",
        "industry": "industry.gb@example.org",
        "admin": "admin.at@example.org",
    }
    clients = {role: client_of(site) for role in emails}
    for role, client in clients.items():
        assert sign_in(client, emails[role]).status_code == 303
    yield clients
    for client in clients.values():
        client.close()
