"""What every channel takes and gives."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The far end took the message. `response` is the first 2 KiB of its answer."""

    status: int | None = None
    resolved_ip: str | None = None
    response: str | None = None
    body: bytes = b""


KEPT = 2048


def kept(data: bytes) -> str:
    """The first 2 KiB of an answer as text that every database stores: no NUL, bad bytes replaced."""
    return data[:KEPT].decode("utf-8", "replace").replace("\x00", "�")
