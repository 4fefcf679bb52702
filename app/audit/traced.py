"""Every request has an id and a trace: on whose behalf, through which door. The id goes back as X-Request-Id.

What it took is counted by route, and one line of the log tells it.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observability.logs import ACCESS
from app.observability.metrics import REQUEST_SECONDS, REQUESTS
from app.persistence.base import new_id
from app.persistence.trail import Trace, tracing

HEADER = "X-Request-Id"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Traced:
    """ASGI middleware. The id is made here, never taken from the caller, so that nobody writes into the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = Trace(request_id=new_id())
        began, status = time.perf_counter(), 500

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = trace.request_id
                for name, value in trace.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        with tracing(trace):
            try:
                await self.app(scope, receive, send_with_id)
            finally:
                _count(scope, trace, status, time.perf_counter() - began)


def _count(scope: Scope, trace: Trace, status: int, seconds: float) -> None:
    """Count and tell a request by its route: a path may hold a secret."""
    path = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in METHODS else "OTHER"
    route = f"{method} {path}"
    REQUESTS.labels(method, path, str(status)).inc()
    REQUEST_SECONDS.labels(route).observe(seconds)
    if ACCESS.isEnabledFor(logging.INFO):
        told = {"status": status, "ms": round(1000 * seconds, 1), **trace.told}
        ACCESS.info("%s %d", route, status, extra=told)
