"""The rules for every request that leaves the service: which URLs, which addresses, how long, how much.

The blocked networks are an explicit list: library notions of "global" let translated and multicast addresses through. A name is
resolved, every address checked, and the connection made to a checked address, at each attempt; server name, certificate check
and Host keep the name. One deadline on the wall clock bounds the whole exchange.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import quote, urlsplit

import httpcore
import idna

from alerts.errors import ChannelError, EgressRefused

Address = IPv4Address | IPv6Address
AllowRule = tuple[IPv4Network | IPv6Network, int | None]
Resolver = Callable[[str, int], Sequence[str]]

MAX_URL = 2048
MAX_HOST = 253
PORTS = frozenset({443, 8443})
RESOLVE_SECONDS = 3.0
CONNECT_SECONDS = 5.0

BLOCKED = tuple(
    ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "::/96", "::1/128", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A URL that passed the rules of form. `host` is ASCII (IDNA) or an address literal without brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.scheme == "https" else 80
        return host if self.port == default else f"{host}:{self.port}"


def parse_url(url: str, allow: Sequence[AllowRule] = ()) -> Destination:
    """The destination a URL names. Raises EgressRefused with the rule that it breaks.

    Only https on port 443 or 8443, no user info, no fragment, at most 2,048 characters. Where the operator allows networks,
    http and other ports pass here if some rule has the port; the address decides when the connection is made.
    """
    if len(url) > MAX_URL:
        raise EgressRefused(f"the URL is longer than {MAX_URL} characters")
    if any(c <= " " or c == "\x7f" or c == "\\" for c in url):
        raise EgressRefused("the URL holds white space, a control character or a backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
    except ValueError as error:
        raise EgressRefused(f"the URL cannot be read: {error}") from error
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise EgressRefused("the URL holds user info")
    if parts.fragment or url.endswith("#"):
        raise EgressRefused("the URL holds a fragment")
    if parts.scheme not in ("https", "http"):
        raise EgressRefused("only https URLs are called")
    if not host or "%" in host:
        raise EgressRefused("the URL has no usable host")
    if ":" not in host and not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode("ascii")
        except idna.IDNAError as error:
            raise EgressRefused(f"the host is no internationalised name: {error}") from error
    if len(host) > MAX_HOST:
        raise EgressRefused(f"the host is longer than {MAX_HOST} characters")
    actual = port if port is not None else (443 if parts.scheme == "https" else 80)
    ordinary = parts.scheme == "https" and actual in PORTS
    if not ordinary and not any(rule_port in (None, actual) for _, rule_port in allow):
        raise EgressRefused("only https on port 443 or 8443 is called")
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=-._~") + (
        f"?{quote(parts.query, safe='/%:@!$&()*+,;=-._~?')}" if parts.query else ""
    )
    return Destination(scheme=parts.scheme, host=host, port=actual, target=target)


def unwrapped(text: str) -> Address:
    """The address, with IPv4 taken out of an IPv4-mapped IPv6 one."""
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_allowed(address: Address, port: int, allow: Iterable[AllowRule]) -> bool:
    """Whether the operator's EGRESS_ALLOW names this address and port."""
    return any(
        address.version == network.version and address in network and rule_port in (None, port) for network, rule_port in allow
    )


def is_blocked(address: Address) -> bool:
    return any(address.version == network.version and address in network for network in BLOCKED)


def check_addresses(destination: Destination, addresses: Sequence[str], allow: Sequence[AllowRule] = ()) -> list[str]:
    """The addresses to connect to, in the order given. One that is refused refuses the whole set.

    Raises EgressRefused.
    """
    if not addresses:
        raise ChannelError(f"{destination.host} has no address")
    ordinary = destination.scheme == "https" and destination.port in PORTS
    for text in addresses:
        address = unwrapped(text)
        if is_allowed(address, destination.port, allow):
            continue
        if is_blocked(address):
            raise EgressRefused(f"{destination.host} resolves to the blocked address {address}", resolved_ip=str(address))
        if not ordinary:
            raise EgressRefused("only https on port 443 or 8443 is called", resolved_ip=str(address))
    return [str(unwrapped(text)) for text in addresses]


def system_resolver(host: str, port: int) -> list[str]:
    """The addresses of a name from the system's resolver, without repeats. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


def resolve(host: str, port: int, resolver: Resolver, seconds: float) -> list[str]:
    """What the resolver says within so many seconds. Raises ChannelError on failure or silence.

    The system's resolver knows no deadline, so it runs in a thread of its own, which is left behind where it hangs.
    """
    answer: list[str] = []
    problems: list[Exception] = []

    def ask() -> None:
        try:
            answer.extend(resolver(host, port))
        except (OSError, UnicodeError) as error:
            problems.append(error)

    thread = threading.Thread(target=ask, name="nps-resolve", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise ChannelError(f"{host} was not resolved within {seconds:.0f} s")
    if problems:
        raise ChannelError(f"{host} cannot be resolved: {problems[0]}") from problems[0]
    return answer


class Deadline:
    """A moment on the monotonic clock by which everything must be over."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self, at_most: float | None = None) -> float:
        """Seconds left, at most so many. Raises httpcore.TimeoutException where none are."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise httpcore.TimeoutException(f"not over within {self._seconds:.0f} s")
        return left if at_most is None else min(left, at_most)


class _Stream(httpcore.NetworkStream):
    """A socket on which every operation ends with the deadline of the whole exchange, whatever timeout it was given."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        self._sock.settimeout(self._deadline.left(timeout))
        try:
            return self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._sock.settimeout(self._deadline.left(timeout))
        try:
            self._sock.sendall(buffer)
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        self._sock.settimeout(self._deadline.left(timeout))
        try:
            return _Stream(ssl_context.wrap_socket(self._sock, server_hostname=server_hostname), self._deadline)
        except TimeoutError as error:
            self._sock.close()
            raise httpcore.ConnectTimeout(str(error)) from error
        except (OSError, ValueError) as error:
            self._sock.close()
            raise httpcore.ConnectError(f"TLS: {error}") from error

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable":
            return False  # connections are never reused
        if info == "ssl_object":
            return self._sock if isinstance(self._sock, ssl.SSLSocket) else None
        return None


class CheckedBackend(httpcore.NetworkBackend):
    """Resolves, checks and connects to what was checked. `resolved_ip` says which address was used or refused."""

    def __init__(
        self,
        destination: Destination,
        deadline: Deadline,
        *,
        allow: Sequence[AllowRule] = (),
        resolver: Resolver = system_resolver,
    ) -> None:
        self._destination = destination
        self._deadline = deadline
        self._allow = allow
        self._resolver = resolver
        self.resolved_ip: str | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        addresses = resolve(host, port, self._resolver, self._deadline.left(RESOLVE_SECONDS))
        checked = check_addresses(self._destination, addresses, self._allow)
        problem: OSError | None = None
        for address in checked:
            self.resolved_ip = address
            try:
                sock = socket.create_connection((address, port), timeout=self._deadline.left(CONNECT_SECONDS))
            except OSError as error:
                problem = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return _Stream(sock, self._deadline)
        raise httpcore.ConnectError(f"no connection: {problem}") from problem

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise EgressRefused("a local socket is never called")

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError("connections are made once, without waiting")
