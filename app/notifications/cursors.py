"""Opaque cursors of lists."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from app.problems import Problem


def encode_cursor(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None) -> str | None:
    """What `encode_cursor` was given. Raises Problem `bad-request` for anything else."""
    if cursor is None:
        return None
    try:
        return base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise Problem("bad-request", "cursor: send next_cursor of the page before, unchanged.") from error


def page(items: list[Any], last: str | None) -> dict[str, Any]:
    """A page of a list; `last` is what the next one begins after, None at the end."""
    return {"items": items, "next_cursor": encode_cursor(last) if last is not None else None}
