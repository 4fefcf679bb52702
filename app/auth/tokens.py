"""Keys and session tokens: made once, shown once, stored as hashes."""

from __future__ import annotations

import hashlib
import secrets

KEY_PREFIX = "nps_"


def new_key() -> str:
    """A new API key: `nps_` and 43 URL-safe characters (256 random bits)."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """SHA-256 in hexadecimal. The tokens hold 256 random bits, so a fast hash without salt gives nothing away."""
    return hashlib.sha256(token.encode()).hexdigest()
