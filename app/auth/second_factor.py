"""The second factor of a sign-in: codes of an authenticator (TOTP, RFC 6238: 6 digits, 30 s, SHA-1) and recovery codes.

The shared secret is stored encrypted, recovery codes as hashes. A code works once: the step it belongs to is kept.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from app.auth.tokens import hash_token
from app.notifications.secrets import SecretBox
from app.persistence.models import Person

STEP_SECONDS = 30
DRIFT_STEPS = 1  # a clock may be off by one step either way
RECOVERY_CODES = 10
ISSUER = "NPS Early Warning"
TICKET_SECONDS = 300


def _totp(secret: bytes) -> TOTP:
    return TOTP(secret, 6, SHA1(), STEP_SECONDS)  # noqa: S303 - what RFC 6238 and every authenticator use


def begin(person: Person, box: SecretBox) -> None:
    """Give the person a new secret, which counts once a code of it was entered."""
    person.totp_secret = box.seal(base64.b32encode(secrets.token_bytes(20)).decode())
    person.totp_since = None
    person.totp_step = None
    person.recovery = None


def shown_secret(person: Person, box: SecretBox) -> str:
    """The secret in base 32, in groups of four, to be typed into an authenticator."""
    text = _text(person, box)
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4))


def address_of(person: Person, box: SecretBox) -> str:
    """The otpauth address that an authenticator on the same device opens."""
    return _totp(base64.b32decode(_text(person, box))).get_provisioning_uri(person.email, ISSUER)


def _text(person: Person, box: SecretBox) -> str:
    if person.totp_secret is None:
        raise ValueError("this person has no second factor")
    return box.open(person.totp_secret)


def accepts(person: Person, box: SecretBox, code: str, now: datetime) -> bool:
    """Whether the code is right now and was not used before; noted as used where it is. A recovery code is spent."""
    code = code.replace(" ", "").replace("-", "").strip()
    if code.isascii() and code.isdigit() and len(code) == 6:
        return _accepts_code(person, box, code, now)
    return person.totp_since is not None and _spend_recovery(person, code.lower())


def _accepts_code(person: Person, box: SecretBox, code: str, now: datetime) -> bool:
    totp = _totp(base64.b32decode(_text(person, box)))
    current = int(now.timestamp()) // STEP_SECONDS
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        try:
            totp.verify(code.encode(), step * STEP_SECONDS)
        except InvalidToken:
            continue
        if person.totp_step is not None and step <= person.totp_step:
            return False
        person.totp_step = step
        return True
    return False


def _spend_recovery(person: Person, code: str) -> bool:
    wanted = hash_token(code)
    kept = list(person.recovery or ())
    for value in kept:
        if hmac.compare_digest(value, wanted):
            person.recovery = [other for other in kept if other != value]
            return True
    return False


def confirm(person: Person, box: SecretBox, code: str, now: datetime) -> tuple[str, ...] | None:
    """Make the second factor count where the code is right; gives the recovery codes, shown this once. None for a wrong code."""
    if person.totp_secret is None or not _accepts_code(person, box, code.replace(" ", "")[:6], now):
        return None
    codes = tuple(secrets.token_hex(5) for _ in range(RECOVERY_CODES))
    person.totp_since = now
    person.recovery = [hash_token(value) for value in codes]
    return tuple(f"{value[:5]}-{value[5:]}" for value in codes)


def remove(person: Person) -> None:
    person.totp_secret = person.totp_since = person.totp_step = person.recovery = None


def ticket_for(person_id: str, secret: bytes, now: datetime) -> str:
    """Proof that the password was right, for five minutes: what stands between the two steps of a sign-in."""
    until = int(now.timestamp()) + TICKET_SECONDS
    return f"{person_id}.{until}.{_sign(secret, person_id, until)}"


def holder_of(ticket: str, secret: bytes, now: datetime) -> str | None:
    """Whose ticket it is; None where it was forged or ran out."""
    person_id, _, rest = ticket.partition(".")
    until, _, signature = rest.partition(".")
    if not until.isdigit() or len(until) > 12 or int(until) < now.timestamp():
        return None
    if not hmac.compare_digest(signature.encode(), _sign(secret, person_id, int(until)).encode()):
        return None
    return person_id


def _sign(secret: bytes, person_id: str, until: int) -> str:
    return hmac.new(secret, f"second factor:{person_id}:{until}".encode(), "sha256").hexdigest()
