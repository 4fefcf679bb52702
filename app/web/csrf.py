"""Tokens in forms, so that another site cannot send them in a reader's name.

A signed-in person's token is kept with the sign-in. The sign-in form itself has nobody yet: its token is an HMAC over a random
cookie. Either is printed masked with fresh random bytes, so that it never looks the same twice in a compressed page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets

ANONYMOUS_COOKIE = "nps_form"
FIELD = "csrf_token"
_SIZE = 32


def anonymous_token(secret: bytes, cookie: str) -> str:
    """The token that belongs to the cookie of somebody not signed in: 64 hexadecimal characters."""
    return hmac.new(secret, b"form:" + cookie.encode(), hashlib.sha256).hexdigest()


def new_cookie() -> str:
    return secrets.token_urlsafe(24)


def new_token() -> str:
    """A token for a new sign-in: 64 hexadecimal characters."""
    return secrets.token_hex(_SIZE)


def mask(token: str) -> str:
    """The token (64 hexadecimal characters) as it is printed in a form: another text each time."""
    plain = bytes.fromhex(token)
    pad = secrets.token_bytes(len(plain))
    return base64.urlsafe_b64encode(pad + _xor(plain, pad)).decode()


def matches(sent: str, token: str) -> bool:
    """Whether what a form sent is this token, masked. Anything malformed is not."""
    try:
        raw = base64.urlsafe_b64decode(sent.encode())
    except (binascii.Error, ValueError):
        return False
    if len(raw) != 2 * _SIZE:
        return False
    return hmac.compare_digest(_xor(raw[:_SIZE], raw[_SIZE:]), bytes.fromhex(token))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=True))
