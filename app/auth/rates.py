"""How many requests a key or an address may make a minute, counted in this process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

MOST_WINDOWS = 10_000


@dataclass(slots=True)
class _Window:
    minute: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """What is left after a request: `remaining` of `limit`, anew in `reset` seconds. `refused`: this one is too many."""

    limit: int
    remaining: int
    reset: int
    refused: bool

    def headers(self) -> dict[str, str]:
        """RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After where it is refused."""
        found = {
            "RateLimit-Policy": f'"minute";q={self.limit};w=60',
            "RateLimit": f'"minute";r={self.remaining};t={self.reset}',
        }
        return found | ({"Retry-After": str(self.reset)} if self.refused else {})


class RateLimiter:
    """A fixed window of one minute for each who asks. `limit` 0 allows everything.

    Each API process counts for itself, so an installation of several allows as many times the limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def take(self, who: str, now: datetime) -> Quota | None:
        """Count a request; None where there is no limit."""
        if self.limit == 0:
            return None
        second = int(now.timestamp())
        minute = second // 60
        with self._lock:
            window = self._windows.get(who)
            if window is None or window.minute != minute:
                if len(self._windows) > MOST_WINDOWS:
                    self._windows = {k: w for k, w in self._windows.items() if w.minute == minute}
                window = self._windows[who] = _Window(minute, 0)
            refused = window.used >= self.limit
            if not refused:
                window.used += 1
            return Quota(limit=self.limit, remaining=self.limit - window.used, reset=60 - second % 60, refused=refused)
