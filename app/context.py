"""What a request needs from the application: settings, database, chemistry, clock, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from app.auth import accounts
from app.auth.permissions import TABLE, Action, Principal, may
from app.auth.rates import RateLimiter
from app.persistence.session import Database
from app.problems import Problem
from app.settings import Settings


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class AppContext:
    """Built once by `app.main.create_app` and kept as `app.state.context`. `chemistry` is an `app.chemistry.Chemistry`."""

    settings: Settings
    database: Database
    secret: bytes
    chemistry: Any
    now: Callable[[], datetime] = utc_now
    rates: RateLimiter = field(init=False)
    structures: Any = field(init=False)  # an app.substances.structures.StructureIndex
    wake_worker: Callable[[], None] = field(default=lambda: None)
    demo: bool = False
    editions: int = 0  # how many loaded editions the chemistry holds

    def __post_init__(self) -> None:
        from app.substances.structures import StructureIndex  # it needs this module

        self.rates = RateLimiter(self.settings.rate_limit)
        self.structures = StructureIndex(self.database)


def get_context(request: Request) -> AppContext:
    context: AppContext = request.app.state.context
    return context


Context = Annotated[AppContext, Depends(get_context)]


def optional_principal(request: Request, context: Context) -> Principal | None:
    """Who holds the key in the Authorization header; None without the header. A wrong key is refused, never ignored."""
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Problem(
            "unauthorised",
            "The Authorization header is not 'Bearer KEY'.",
            headers={"WWW-Authenticate": "Bearer"},
        )
    now = context.now()
    with context.database.read() as session:
        found = accounts.authenticate_key(session, secret.strip(), now)
    if found is None:
        raise Problem("unauthorised", "The key is unknown, revoked or expired.", headers={"WWW-Authenticate": "Bearer"})
    principal, key = found
    wait = context.rates.take(key.id, now)
    if wait is not None:
        limit = context.rates.limit
        raise Problem(
            "rate-limited",
            f"This key may make {limit} requests a minute; try again in {wait} s.",
            headers={
                "Retry-After": str(wait),
                "RateLimit-Policy": f'"minute";q={limit};w=60',
                "RateLimit": f'"minute";r=0;t={wait}',
            },
        )
    if accounts.use_is_stale(key, now):
        with context.database.write() as session:
            accounts.note_use(session, key.id, now)
    return principal


def requires(action: Action) -> Callable[..., Principal]:
    """A dependency that gives the principal of the key, or answers 401 without one and 403 where its role may not."""

    def dependency(principal: Annotated[Principal | None, Depends(optional_principal)]) -> Principal:
        if principal is None:
            raise Problem("unauthorised", "Send Authorization: Bearer KEY.", headers={"WWW-Authenticate": "Bearer"})
        if not may(principal, action):
            roles = ", ".join(sorted(TABLE[action]))
            raise Problem("forbidden", f"A key of role {principal.role} may not do this; it is for: {roles}.")
        return principal

    dependency.action = action  # type: ignore[attr-defined]
    return dependency
