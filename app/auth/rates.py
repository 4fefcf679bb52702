"""How many requests a key may make a minute, counted in this process."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class _Window:
    minute: int
    used: int


class RateLimiter:
    """A fixed window of one minute a key. `limit` 0 allows everything.

    Each API process counts for itself, so an installation of several allows as many times the limit.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._windows: dict[str, _Window] = {}
        self._lock = threading.Lock()

    def take(self, key_id: str, now: datetime) -> int | None:
        """None where the request may go on, else the seconds until it may."""
        if self.limit == 0:
            return None
        minute = int(now.timestamp()) // 60
        with self._lock:
            window = self._windows.get(key_id)
            if window is None or window.minute != minute:
                if len(self._windows) > 10_000:
                    self._windows = {k: w for k, w in self._windows.items() if w.minute == minute}
                self._windows[key_id] = _Window(minute, 1)
                return None
            if window.used >= self.limit:
                return 60 - int(now.timestamp()) % 60
            window.used += 1
            return None
