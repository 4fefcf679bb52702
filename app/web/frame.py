"""What every page shows around its content: who reads, where they are, and whether the data are synthetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version

from fastapi import Request
from sqlalchemy.orm import Session

from app.auth.permissions import Action, may
from app.auth.sessions import Viewer
from app.context import AppContext
from app.persistence.models import ServiceState
from app.web import words

SERVICE = "NPS Early Warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crumb:
    """A step of the breadcrumb; the last one, the page itself, is the title and has no address."""

    text: str
    href: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NavItem:
    text: str
    href: str
    current: bool
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """The base context of every template. `title` is the page's only h1; `error` starts the window title with "Error: "."""

    title: str
    path: str
    crumbs: tuple[Crumb, ...]
    viewer: Viewer | None
    role: str
    nav: tuple[NavItem, ...]
    theme: str
    shortcuts: bool
    demo: bool
    now: datetime
    version: str
    error: bool = False
    partial: bool = False

    @property
    def window_title(self) -> str:
        return f"{'Error: ' if self.error else ''}{self.title} - {SERVICE}"


@lru_cache(maxsize=1)
def service_version() -> str:
    return version("nps-early-warning")


def is_demonstration(session: Session) -> bool:
    """Whether the installation is marked as holding synthetic data."""
    return session.get(ServiceState, "demo") is not None


def build_frame(
    request: Request,
    context: AppContext,
    session: Session | None,
    viewer: Viewer | None,
    *,
    title: str,
    crumbs: tuple[Crumb, ...] = (),
    waiting: int | None = None,
    error: bool = False,
) -> Frame:
    """The frame of one answer. Without a session (the database does not answer) the banner follows the application's own mark."""
    path = request.url.path
    return Frame(
        title=title,
        path=path,
        crumbs=crumbs,
        viewer=viewer,
        role=words.ROLES[viewer.principal.role] if viewer else "",
        nav=tuple(_nav(viewer, path, waiting)),
        theme=viewer.theme if viewer else "system",
        shortcuts=viewer.shortcuts if viewer else True,
        demo=context.demo or (session is not None and is_demonstration(session)),
        now=context.now(),
        version=service_version(),
        error=error,
        partial=request.headers.get("hx-request") == "true",
    )


def _nav(viewer: Viewer | None, path: str, waiting: int | None) -> list[NavItem]:
    def item(text: str, href: str, count: int | None = None) -> NavItem:
        current = path == href or (href != "/" and path.startswith(href + "/"))
        return NavItem(text=text, href=href, current=current, count=count)

    items = [item("Overview", "/"), item("Substances", "/substances")]
    if viewer is not None and may(viewer.principal, Action.COUNTS_READ):
        items.append(item("Explore", "/explore"))
        items.append(item("Priorities", "/priorities"))
        items.append(item("Dossiers", "/dossiers"))
    if viewer is not None:
        inbox = item("Inbox", "/inbox", waiting)
        if path.startswith("/alerts/"):
            inbox = NavItem(text="Inbox", href="/inbox", current=True, count=waiting)
        items.append(inbox)
        items.append(item("Subscriptions", "/subscriptions"))
        if may(viewer.principal, Action.DELIVERY_READ):
            items.append(item("Coverage", "/coverage"))
        items.append(item("Measures", "/measures"))
        if may(viewer.principal, Action.USE_DECLARE) or may(viewer.principal, Action.USE_DECIDE):
            items.append(item("Legitimate uses", "/legitimate-uses"))
        items.append(item("Screening", "/screening"))
        if may(viewer.principal, Action.REPORT_SEND):
            items.append(item("My reports", "/reports"))
        if viewer.principal.role == "authority":
            items.append(item("My country", f"/countries/{viewer.principal.country}"))
        if may(viewer.principal, Action.OPERATE):
            items.append(item("Operations", "/ops"))
        if may(viewer.principal, Action.AUDIT_READ):
            items.append(item("Audit trail", "/ops/audit"))
        if may(viewer.principal, Action.CURATE):
            items.append(item("Curation", "/ops/curation"))
        if may(viewer.principal, Action.ACCOUNTS):
            items.append(item("Accounts", "/accounts"))
    return _one_current(items)


def _one_current(items: list[NavItem]) -> list[NavItem]:
    """Where one area lies inside another, only the inner one is current."""
    inner = max((len(one.href) for one in items if one.current), default=0)
    return [replace(one, current=one.current and len(one.href) == inner) for one in items]
