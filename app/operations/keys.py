"""The fingerprint of the service's secret key: enough to tell two keys apart, nothing that helps to find one."""

from __future__ import annotations

import hashlib
import hmac


def fingerprint(secret: bytes) -> str:
    """16 hexadecimal characters."""
    return hmac.new(secret, b"nps key fingerprint 1", hashlib.sha256).hexdigest()[:16]
