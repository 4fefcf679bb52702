"""E-mail over SMTP submission: TLS from the start or STARTTLS, required except on loopback. One message a recipient."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from urllib.parse import parse_qs, unquote, urlsplit

from alerts.channels.base import KEPT, Receipt
from alerts.errors import ChannelError

TIMEOUT_SECONDS = 20.0
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Our own mail server, from NPS_SMTP_URL: `smtp://user:password@host:587?from=alerts@host` or `smtps://...:465`."""

    host: str
    port: int
    user: str | None
    password: str | None
    implicit_tls: bool
    sender: str


def parse_relay(url: str, *, fallback_host: str) -> Relay:
    """The relay of a setting. Raises ValueError for anything but smtp and smtps with a host."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ValueError("NPS_SMTP_URL is not smtp://user:password@host:port or smtps://...")
    wanted = parse_qs(parts.query).get("from")
    user = unquote(parts.username) if parts.username else None
    sender = wanted[0] if wanted else user if user and "@" in user else f"alerts@{fallback_host}"
    return Relay(
        host=parts.hostname,
        port=parts.port or (465 if parts.scheme == "smtps" else 587),
        user=user,
        password=unquote(parts.password) if parts.password else None,
        implicit_tls=parts.scheme == "smtps",
        sender=sender,
    )


class SmtpChannel:
    """Hands messages to our relay; done means that it accepted them."""

    def __init__(self, relay: Relay, *, ssl_context: ssl.SSLContext | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        self.relay = relay
        self._ssl = ssl_context or ssl.create_default_context()
        self._timeout = timeout

    def send(self, message: EmailMessage) -> Receipt:
        """Hand over one message. Raises ChannelError: `gone` where the relay refuses the recipient for good, else `failed`."""
        try:
            with self._connect() as server:
                refused = server.send_message(message)
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            outcome = "gone" if 500 <= code < 600 else "failed"
            raise ChannelError("the address was refused", outcome=outcome, status=code, response=_text(text)) from error
        except smtplib.SMTPResponseException as error:
            raise ChannelError("the relay refused", status=error.smtp_code, response=_text(error.smtp_error)) from error
        except (smtplib.SMTPException, OSError) as error:
            raise ChannelError(f"the relay was not reached: {error}") from error
        if refused:
            raise AssertionError("one recipient a message")
        return Receipt(status=250, response="accepted by the relay")

    def check(self) -> None:
        """Reach the relay and sign in as for a message, and send none. Raises ChannelError."""
        try:
            with self._connect() as server:
                server.noop()
        except (smtplib.SMTPException, OSError) as error:
            raise ChannelError(f"the relay was not reached: {error}") from error

    def _connect(self) -> smtplib.SMTP:
        relay = self.relay
        server: smtplib.SMTP
        if relay.implicit_tls:
            server = smtplib.SMTP_SSL(relay.host, relay.port, timeout=self._timeout, context=self._ssl)
        else:
            server = smtplib.SMTP(relay.host, relay.port, timeout=self._timeout)
            server.ehlo()
            if server.has_extn("starttls"):
                server.starttls(context=self._ssl)
                server.ehlo()
            elif relay.host not in LOOPBACK:
                server.close()
                raise ChannelError("the relay offers no STARTTLS, which is required")
        if relay.user is not None and relay.password is not None:
            server.login(relay.user, relay.password)
        return server


def _text(answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return text[:KEPT].replace("\x00", "�")
