"""Slowing down those who guess passwords, by address and by e-mail, known or not.

Kept in the memory of the process: a restart forgets it, and each of several processes counts for itself. That is enough to make
guessing hopeless next to the cost of argon2, and no attempt is ever written down.
"""

from __future__ import annotations

import threading
from collections import deque
from datetime import datetime, timedelta

PER_EMAIL = 8
PER_ADDRESS = 40
WINDOW = timedelta(minutes=15)
MOST_KEYS = 20_000


class SignInThrottle:
    """Counts failures in a sliding window. Thread-safe."""

    def __init__(self, *, per_email: int = PER_EMAIL, per_address: int = PER_ADDRESS, window: timedelta = WINDOW) -> None:
        self._limits = {"email": per_email, "address": per_address}
        self._window = window
        self._failures: dict[tuple[str, str], deque[datetime]] = {}
        self._lock = threading.Lock()

    def wait(self, *, email: str, address: str, now: datetime) -> timedelta | None:
        """How long this e-mail or address has to wait; None where it may try now."""
        with self._lock:
            waits = [
                failures[0] + self._window - now
                for key in (("email", _fold(email)), ("address", address))
                if len(failures := self._recent(key, now)) >= self._limits[key[0]]
            ]
        return max(waits, default=None)

    def failed(self, *, email: str, address: str, now: datetime) -> None:
        with self._lock:
            for key in (("email", _fold(email)), ("address", address)):
                self._recent(key, now).append(now)
            if len(self._failures) > MOST_KEYS:
                self._forget(now)

    def succeeded(self, *, email: str) -> None:
        """A right password clears the count of its e-mail; that of the address stays."""
        with self._lock:
            self._failures.pop(("email", _fold(email)), None)

    def _recent(self, key: tuple[str, str], now: datetime) -> deque[datetime]:
        failures = self._failures.setdefault(key, deque(maxlen=max(self._limits.values())))
        while failures and failures[0] <= now - self._window:
            failures.popleft()
        return failures

    def _forget(self, now: datetime) -> None:
        for key in [key for key, failures in self._failures.items() if not failures or failures[-1] <= now - self._window]:
            del self._failures[key]


def _fold(email: str) -> str:
    return email.strip().lower()[:254]
