"""Request bodies: bounded before they are read, parsed as strict JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any, NoReturn

from fastapi import Depends, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.problems import Problem

MAX_BODY_BYTES = 2 * 1024 * 1024
MAX_UPLOAD_BYTES = 200 * 1024 * 1024
MAX_SCREEN_BYTES = 16 * 1024 * 1024  # 1,000 molfiles of drugs, with room
_UPLOADS = ("/v1/imports", "/imports")
_EDITIONS = "/v1/schedules/"
_SCREENS = ("/v1/screen", "/screening")


def limit_of(path: str) -> int:
    """The most bytes that a body sent to this path may have."""
    if path.startswith(_UPLOADS):
        return MAX_UPLOAD_BYTES
    return MAX_SCREEN_BYTES if path.startswith((*_SCREENS, _EDITIONS)) else MAX_BODY_BYTES


class LimitBody:
    """Refuses a body above the limit by its Content-Length, and stops reading one that grows past it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = limit_of(scope["path"])
        scope.setdefault("state", {})["body_limit"] = limit
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            if message["type"] == "http.request":
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise Problem("body-too-large", f"The body has more than {limit:,} bytes.")
            return message

        await self.app(scope, limited, send)


async def raw_body(request: Request) -> bytes:
    """The body, at most the limit of its path. Raises Problem `body-too-large` (413)."""
    limit = request.scope.get("state", {}).get("body_limit", MAX_BODY_BYTES)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise Problem("body-too-large", f"The body has {int(declared):,} bytes; at most {limit:,} are read.")
    return await request.body()


RawBody = Annotated[bytes, Depends(raw_body)]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice!r} stands twice in one object")
    return found


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN, no name twice in an object. Raises Problem `malformed-json` (400) saying what and where."""
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise Problem("malformed-json", f"The body is not UTF-8: byte {error.start}.") from error
    except json.JSONDecodeError as error:
        raise Problem(
            "malformed-json", f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error
    except (ValueError, RecursionError) as error:
        detail = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Problem("malformed-json", f"The body is not JSON: {detail}.") from error
