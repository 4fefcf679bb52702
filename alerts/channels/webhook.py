"""Signed webhooks: Standard Webhooks 1.0 over requests that keep to the rules of `alerts.channels.egress`."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets as random
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore

from alerts.channels.base import Receipt, kept
from alerts.channels.egress import AllowRule, CheckedBackend, Deadline, Resolver, parse_url, system_resolver
from alerts.errors import ChannelError, EgressRefused

TOTAL_SECONDS = 20.0
READ_LIMIT = 64 * 1024
SECRET_PREFIX = "whsec_"  # noqa: S105 - how the standard marks a secret, not one


def new_secret() -> str:
    """A signing secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(random.token_bytes(32)).decode()


def signed_headers(message_id: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """The three headers of Standard Webhooks over exactly these bytes, one signature for each live secret, newest first.

    Source: https://github.com/standard-webhooks/standard-webhooks, specification 1.0.
    """
    if "." in message_id or not secrets:
        raise ValueError("a message needs an id without a full stop and at least one secret")
    timestamp = str(int(at.timestamp()))
    content = f"{message_id}.{timestamp}.".encode() + body
    signatures = []
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
        signatures.append("v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode())
    return {"webhook-id": message_id, "webhook-timestamp": timestamp, "webhook-signature": " ".join(signatures)}


def retry_after_seconds(value: str | None, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for, from its number or its date; None where there is none or it is unreadable."""
    if value is None:
        return None
    value = value.strip()
    if value.isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())


class WebhookChannel:
    """Posts signed bodies. Redirects are never followed, proxies of the environment never used, connections never reused."""

    def __init__(
        self,
        *,
        allow: Sequence[AllowRule] = (),
        resolver: Resolver = system_resolver,
        total_seconds: float = TOTAL_SECONDS,
        user_agent: str = "nps-early-warning/1",
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._allow = tuple(allow)
        self._resolver = resolver
        self._total = total_seconds
        self._agent = user_agent
        self._ssl = ssl_context or ssl.create_default_context()

    def check(self, url: str) -> None:
        """Raises EgressRefused where the form of the URL breaks a rule. Its address is checked when it is called."""
        parse_url(url, self._allow)

    def send(self, url: str, message_id: str, body: bytes, secrets: Sequence[str], at: datetime) -> Receipt:
        """Post the bytes and give the answer of the receiver.

        Raises ChannelError for anything but a 2xx within 20 s, EgressRefused where no socket was opened.
        """
        destination = parse_url(url, self._allow)
        headers = {
            "Host": destination.host_header,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": self._agent,
            "Accept-Encoding": "identity",
            "Connection": "close",
            **signed_headers(message_id, at, body, secrets),
        }
        deadline = Deadline(self._total)
        backend = CheckedBackend(destination, deadline, allow=self._allow, resolver=self._resolver)
        request = httpcore.Request(
            "POST",
            httpcore.URL(
                scheme=destination.scheme.encode(),
                host=destination.host.encode(),
                port=destination.port,
                target=destination.target.encode(),
            ),
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            content=body,
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), self._total)},
        )
        answer = b""
        try:
            with httpcore.ConnectionPool(
                ssl_context=self._ssl, network_backend=backend, max_connections=1, max_keepalive_connections=0, http2=False
            ) as pool:
                response = pool.handle_request(request)
                try:
                    for chunk in response.iter_stream():
                        answer = (answer + chunk)[:READ_LIMIT]
                        if len(answer) >= READ_LIMIT:
                            break
                finally:
                    response.close()
        except EgressRefused:
            raise
        except ChannelError as error:
            error.resolved_ip = error.resolved_ip or backend.resolved_ip
            raise
        except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise ChannelError(f"no complete answer: {reason}", resolved_ip=backend.resolved_ip) from error
        return self._judge(response, answer, backend.resolved_ip, at)

    def _judge(self, response: httpcore.Response, answer: bytes, resolved_ip: str | None, at: datetime) -> Receipt:
        status = response.status
        if 200 <= status < 300:
            return Receipt(status=status, resolved_ip=resolved_ip, response=kept(answer), body=answer)
        retry_after = None
        if status in (429, 503):
            found = {name.lower(): value for name, value in response.headers}.get(b"retry-after")
            retry_after = retry_after_seconds(found.decode("latin-1") if found else None, at)
        follow = "; redirects are not followed" if 300 <= status < 400 else ""
        raise ChannelError(
            f"the receiver answered {status}{follow}",
            outcome="gone" if status == 410 else "failed",
            status=status,
            retry_after=retry_after,
            resolved_ip=resolved_ip,
            response=kept(answer),
        )
