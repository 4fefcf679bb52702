"""What the client raises: the service's own problem documents, or that it could not be reached."""

from __future__ import annotations

from typing import Any

import httpx


class ClientError(Exception):
    """Any failure of a call."""


class ServiceUnreachable(ClientError):
    """No answer after every attempt. The request may or may not have been carried out: send it again with the same key."""


class ProblemError(ClientError):
    """The service refused: its problem document (RFC 9457). `slug` is the last part of its type."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        self.status = status
        self.document = document
        self.slug = str(document.get("type", "")).rsplit("/", 1)[-1]
        self.title = str(document.get("title", ""))
        self.detail = str(document.get("detail", ""))
        self.errors: list[dict[str, str]] = list(document.get("errors", []))
        super().__init__(f"{status} {self.slug}: {self.detail}")


def problem_of(response: httpx.Response) -> ProblemError:
    """The problem of an answer; one that is no problem document is described by its status."""
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        document = {"title": response.reason_phrase, "detail": response.text[:500]}
    return ProblemError(response.status_code, document)
