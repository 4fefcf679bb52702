"""What a request needs from the application: settings, database, chemistry, clock, and who is asking."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from sqlalchemy.exc import OperationalError

from app.auth import accounts
from app.auth.permissions import TABLE, Action, Principal, may
from app.auth.rates import RateLimiter
from app.notifications.secrets import SecretBox
from app.persistence import trail
from app.persistence.session import Database
from app.problems import Problem
from app.settings import Settings

log = logging.getLogger("nps.http")


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
    addresses: RateLimiter = field(init=False)
    box: SecretBox = field(init=False)
    structures: Any = field(init=False)  # an app.substances.structures.StructureIndex
    wake_worker: Callable[[], None] = field(default=lambda: None)
    demo: bool = False
    reader: Any = None  # an `app.intake.reading.Reader`, made by intake
    moving: dict[Any, Any] = field(default_factory=dict)  # by reader: when it was found, and the class that grew most
    editions: int = 0  # how many loaded editions the chemistry holds

    def __post_init__(self) -> None:
        from app.substances.structures import StructureIndex  # it needs this module

        self.rates = RateLimiter(self.settings.rate_limit)
        self.addresses = RateLimiter(self.settings.address_limit)
        self.box = SecretBox(self.secret, *self.settings.previous_secrets())
        self.database.clock = lambda: self.now()
        self.structures = StructureIndex(self.database)


async def get_context(request: Request) -> AppContext:
    """The context of the application. Asynchronous, as all that does not wait is: a plain function costs a turn of a thread."""
    context: AppContext = request.app.state.context
    trace = trail.current()
    if trace is not None and not trace.door:
        trace.door = f"{request.method} {request.scope['route'].path}"[:120]
    return context


Context = Annotated[AppContext, Depends(get_context)]


def optional_principal(request: Request, context: Context) -> Principal | None:
    """Who holds the key in the Authorization header; None without the header. A wrong key is refused, never ignored."""
    header = request.headers.get("authorization")
    if header is None:
        _spend(request, context.addresses, _address(request), "This address", context.now())
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
        _spend(request, context.addresses, _address(request), "This address", now)
        raise Problem("unauthorised", "The key is unknown, revoked or expired.", headers={"WWW-Authenticate": "Bearer"})
    principal, key = found
    trail.note_actor(principal.actor, principal.org_id)
    _spend(request, context.rates, key.id, "This key", now)
    if accounts.use_is_stale(key, now):
        try:
            with context.database.write() as session:
                accounts.note_use(session, key.id, now)
        except OperationalError as error:  # a full disk or a long lock must not refuse a read
            log.warning("the use of key %s was not noted: %s", key.id, error.orig)
    return principal


def _address(request: Request) -> str:
    return f"address:{request.client.host if request.client else 'unknown'}"


def _spend(request: Request, limiter: RateLimiter, who: str, name: str, now: datetime) -> None:
    """Count the request; the answer tells what is left. Raises Problem `rate-limited` (429) where it is too many."""
    quota = limiter.take(who, now)
    if quota is None:
        return
    if quota.refused:
        raise Problem(
            "rate-limited",
            f"{name} may make {quota.limit} requests a minute; try again in {quota.reset} s.",
            headers=quota.headers(),
        )
    trace = trail.current()
    if trace is not None:
        trace.headers.update(quota.headers())


def requires(action: Action) -> Callable[..., Awaitable[Principal]]:
    """A dependency that gives the principal of the key, or answers 401 without one and 403 where its role may not."""

    async def dependency(principal: Annotated[Principal | None, Depends(optional_principal)]) -> Principal:
        if principal is None:
            raise Problem("unauthorised", "Send Authorization: Bearer KEY.", headers={"WWW-Authenticate": "Bearer"})
        if not may(principal, action):
            if principal.role in TABLE[action]:
                raise Problem("forbidden", f"This key is cut to other rights than {action}; its owner can make one that has it.")
            roles = ", ".join(sorted(TABLE[action]))
            raise Problem("forbidden", f"A key of role {principal.role} may not do this; it is for: {roles}.")
        return principal

    dependency.action = action  # type: ignore[attr-defined]
    return dependency
