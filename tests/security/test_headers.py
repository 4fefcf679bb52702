"""What a browser is told with every answer: policy, framing, types, cookies, https; and what it is never told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from tests.conftest import Service
from tests.site import client_of, close_site, make_site, sign_in

PATHS = (
    "/", "/sign-in", "/substances", "/problems", "/docs", "/law", "/static/0/app.css", "/no-such-page",
    "/v1/alerts", "/v1/alerts.atom", "/v1/reports", "/v1/nothing", "/healthz", "/readyz", "/openapi.json",
    "/v1/subscriptions/x/confirm/y",
)  # fmt: skip
EXPECTED = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": ("same-origin", "no-referrer"),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
DIRECTIVES = ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")


def test_every_answer_carries_the_headers_of_the_browser(sqlite_service: Service) -> None:
    for path in PATHS:
        for accept in ("text/html", "*/*"):
            answer = sqlite_service.client.get(path, headers={"accept": accept}, follow_redirects=False)
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy, path
            assert all(directive in policy for directive in DIRECTIVES), path
            for name, value in EXPECTED.items():
                allowed = value if isinstance(value, tuple) else (value,)
                assert answer.headers.get(name) in allowed, (path, name)
            assert "server" not in answer.headers, path
            assert "x-powered-by" not in answer.headers, path
            assert answer.headers.get("content-type") or answer.status_code in (204, 303, 304), path


def test_no_other_origin_is_allowed_to_read(sqlite_service: Service) -> None:
    for path in PATHS:
        for method in ("GET", "OPTIONS"):
            answer = sqlite_service.client.request(method, path, headers={"origin": "https://evil.example"})
            assert not [name for name in answer.headers if name.startswith("access-control-")], path


@pytest.fixture
def https_site(tmp_path: Path) -> Iterator[FastAPI]:
    app = make_site(tmp_path, base_url="https://testserver")
    yield app
    close_site(app)


def test_cookies_are_httponly_same_site_and_secure_on_https(https_site: FastAPI) -> None:
    client = client_of(https_site)
    client.base_url = "https://testserver"  # type: ignore[assignment]
    seen = [client.get("/sign-in").headers["set-cookie"], sign_in(client, "lab.de@example.org").headers["set-cookie"]]
    for cookie in seen:
        for flag in ("HttpOnly", "SameSite=lax", "Secure"):
            assert flag in cookie, cookie


def test_https_is_demanded_for_a_year(https_site: FastAPI) -> None:
    client = client_of(https_site)
    client.base_url = "https://testserver"  # type: ignore[assignment]
    assert client.get("/sign-in").headers["strict-transport-security"] == "max-age=31536000"
