"""Every request has an id and a trace: on whose behalf, through which door. The id goes back as X-Request-Id."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.persistence.base import new_id
from app.persistence.trail import Trace, tracing

HEADER = "X-Request-Id"


class Traced:
    """ASGI middleware. The id is made here, never taken from the caller, so that nobody writes into the log."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        trace = Trace(request_id=new_id())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[HEADER] = trace.request_id
                for name, value in trace.headers.items():
                    headers.setdefault(name, value)
            await send(message)

        with tracing(trace):
            await self.app(scope, receive, send_with_id)
