"""A real Chromium against a real server on loopback, watched for policy reports, console errors and foreign requests."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright
from sqlalchemy import select
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth import accounts
from app.chemistry import Chemistry
from app.context import AppContext
from app.main import create_app
from app.notifications import links
from app.notifications.raising import LIVE_STATES
from app.persistence.models import Alert, Organisation
from app.persistence.session import Database
from app.settings import Settings
from tests.conftest import NOW
from tests.databases import ready
from tests.factories import PASSWORD
from tests.site import close_site, make_site

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

LINK = "a-link-of-an-e-mail"  # the token of one that acknowledges an alert
SIGNED_IN: dict[tuple[str, str], Any] = {}  # by address and person; signing in is slow by design


@dataclass
class Visit:
    """A browser context with everything it complained about."""

    context: BrowserContext
    base: str
    console: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self) -> Page:
        page = self.context.new_page()
        page.on("console", lambda message: self.console.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self.foreign.append(request.url) if not request.url.startswith(self.base) else None)
        return page

    def sign_in(self, page: Page, email: str) -> None:
        page.goto(f"{self.base}/sign-in")
        page.get_by_label("E-mail").fill(email)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()

    def be(self, email: str) -> None:
        """Be signed in as this person, by the cookies of the first time. For tests that neither sign in nor out themselves."""
        known = SIGNED_IN.get((self.base, email))
        if known is None:
            page = self.context.new_page()
            self.sign_in(page, email)
            page.wait_for_url(f"{self.base}/")
            page.close()
            SIGNED_IN[self.base, email] = self.context.cookies()
        else:
            self.context.add_cookies(known)

    def assert_quiet(self) -> None:
        assert not self.console, self.console
        assert not self.foreign, self.foreign


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield started
    started.close()


def follow(page: Page, selector: str) -> None:
    """Follow the first link of this selector, and be there: a click returns before the page it leads to is there."""
    with page.expect_navigation():
        page.locator(selector).first.click()


class SlowLine:
    """ASGI middleware that sends a page in two pieces, as a slow line would: a test that looks before the second is found out."""

    def __init__(self, app: ASGIApp, gap: float = 0.03) -> None:
        self.app = app
        self.gap = gap  # seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        page = False

        async def in_pieces(message: Message) -> None:
            nonlocal page
            if message["type"] == "http.response.start":
                page = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/html")
            cut = message.get("body", b"").find(b"<main") if page else -1
            if cut > 0:
                await send({**message, "body": message["body"][:cut], "more_body": True})
                await asyncio.sleep(self.gap)
                message = {**message, "body": message["body"][cut:]}
            await send(message)

        await self.app(scope, receive, in_pieces)


def _serve(directory: Path) -> Iterator[str]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    app = make_site(directory, base_url=base)
    with app.state.context.database.write() as session:
        alert = session.scalars(select(Alert).where(Alert.state.in_(LIVE_STATES)).order_by(Alert.level.desc(), Alert.id)).first()
        org = session.scalars(select(Organisation).where(Organisation.kind == "authority", Organisation.country == "DE")).first()
        assert alert is not None
        assert org is not None
        links.make(session, LINK, alert_id=alert.id, org_id=org.id, email="duty@example.org", now=app.state.context.now())
    server = uvicorn.Server(uvicorn.Config(SlowLine(app), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    yield base
    server.should_exit = True
    thread.join(timeout=10)
    close_site(app)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a filled site that no test changes."""
    yield from _serve(tmp_path_factory.mktemp("site"))


@pytest.fixture
def fresh_site(tmp_path: Path) -> Iterator[str]:
    """The address of a site that the test may change."""
    yield from _serve(tmp_path)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Makes browser contexts: `visit(base, width=390, scheme="dark", script=False)`."""
    contexts = []

    def make(base: str, *, width: int = 1280, scheme: str = "light", script: bool = True) -> Visit:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,  # type: ignore[arg-type]
            java_script_enabled=script,
        )
        context.set_default_timeout(30_000)  # the first page of a substance reads the whole law
        contexts.append(context)
        return Visit(context=context, base=base)

    yield make
    for context in contexts:
        context.close()


@dataclass(frozen=True)
class Desk:
    """A whole service: its address, and the key of its laboratory."""

    base: str
    key: str


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, chemistry: Chemistry) -> Iterator[Desk]:
    """The whole service with its real chemistry and worker: a laboratory, an analyst, a reviewer and an administrator sign in."""
    folder = tmp_path_factory.mktemp("desk")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    url = f"sqlite:///{folder / 'desk.sqlite'}"
    database = Database(url)
    ready(database)
    with database.write() as session:
        for kind, role in (("lab", "lab"), ("operator", "analyst"), ("reviewer", "reviewer"), ("operator", "admin")):
            email = f"{role}@example.org"
            org = accounts.create_organisation(session, name=f"Test {kind}", kind=kind, country="DE", test=False, now=NOW)
            accounts.create_person(session, org_id=org.id, email=email, name="Test person", role=role, password=PASSWORD, now=NOW)
            if role == "lab":
                _, secret = accounts.create_key(session, org_id=org.id, role="lab", now=NOW)
    settings = Settings(DATABASE_URL=url, NPS_DATA_DIR=folder, NPS_SECRET_KEY="for tests only", NPS_BASE_URL=base)
    context = AppContext(settings=settings, database=database, secret=settings.secret(), chemistry=chemistry, now=lambda: NOW)
    app = create_app(settings, context=context, run_worker=True)
    server = uvicorn.Server(uvicorn.Config(SlowLine(app), host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.started
    yield Desk(base=base, key=secret)
    server.should_exit = True
    thread.join(timeout=30)


@pytest.fixture(scope="session")
def desk(whole: Desk) -> str:
    """The address of the whole service."""
    return whole.base
