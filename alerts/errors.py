"""Why a message could not be handed over, in terms that decide what happens next."""

from __future__ import annotations


class ChannelError(Exception):
    """A destination did not take the message.

    `outcome` is `failed` (the far end or the way to it), `blocked` (our own rules refused, no socket was opened) or `gone` (the
    destination says for ever that it is not there). `retry_after` is in seconds, as the far end asked.
    """

    def __init__(
        self,
        message: str,
        *,
        outcome: str = "failed",
        status: int | None = None,
        retry_after: float | None = None,
        resolved_ip: str | None = None,
        response: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.outcome = outcome
        self.status = status
        self.retry_after = retry_after
        self.resolved_ip = resolved_ip
        self.response = response


class EgressRefused(ChannelError):
    """An address or URL outside the rules for outgoing requests. No socket was opened to it."""

    def __init__(self, message: str, *, resolved_ip: str | None = None) -> None:
        super().__init__(message, outcome="blocked", resolved_ip=resolved_ip)
