"""Over 300 hostile URLs against traps that really listen: nobody connects, by whatever spelling or answer of a resolver."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest

from alerts.channels.webhook import WebhookChannel, new_secret
from alerts.errors import ChannelError

LOOPBACKS = ("127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254")


class Traps:
    """Listeners on every address of the machine, one port; `reached` counts who connects."""

    def __init__(self) -> None:
        self.reached: list[Any] = []
        self._stop = threading.Event()
        first = socket.create_server(("0.0.0.0", 0))
        self.port: int = first.getsockname()[1]
        self._sockets = [first]
        if socket.has_ipv6:
            six = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                six.bind(("::", self.port))
                six.listen()
                self._sockets.append(six)
            except OSError:
                six.close()
        self._threads = [threading.Thread(target=self._listen, args=(one,), daemon=True) for one in self._sockets]
        for one in self._sockets:
            one.settimeout(0.05)
        for thread in self._threads:
            thread.start()

    def _listen(self, server: socket.socket) -> None:
        while not self._stop.is_set():
            try:
                connection, peer = server.accept()
            except TimeoutError:
                continue
            self.reached.append(peer)
            connection.close()

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for one in self._sockets:
            one.close()


@pytest.fixture
def traps() -> Iterator[Traps]:
    traps = Traps()
    yield traps
    traps.close()


def spellings(address: str) -> list[str]:
    """Ways to write an IPv4 address that some library reads as it."""
    a, b, c, d = (int(part) for part in address.split("."))
    number = (a << 24) | (b << 16) | (c << 8) | d
    low = (b << 16) | (c << 8) | d
    return [
        address, f"{address}.", str(number), hex(number), f"0{number:o}", f"{a}.{low}", f"{a}.{b}.{(c << 8) | d}",
        f"0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}", f"0{a:o}.0{b:o}.0{c:o}.0{d:o}", f"0x{a:02x}{b:02x}{c:02x}{d:02x}",
        f"{a}.{b}.{c}.0x{d:x}", f"00000{a:o}.{b}.{c}.{d}", f"[::ffff:{address}]", f"[::ffff:{a:02x}{b:02x}:{c:02x}{d:02x}]",
        f"[0:0:0:0:0:ffff:{address}]", f"[::{address}]", f"[64:ff9b::{address}]", f"[64:ff9b:1::{address}]",
        f"[2002:{a:02x}{b:02x}:{c:02x}{d:02x}::]", f"[2001::{a:02x}{b:02x}:{c:02x}{d:02x}]",
        address.replace(".", "\u3002"), address.replace(".", "\uff0e"), address.replace("1", "\u2460"),
        "".join(chr(0xFF10 + int(c)) if c.isdigit() else c for c in address),
    ]  # fmt: skip


INNER = ("127.0.0.1", "127.0.0.2", "10.0.0.1", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0")
NAMES = (
    "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]", "[fe80::1]", "[fd00::1]", "[fec0::1]", "[ff02::1]", "0", "127.1", "127.0.1",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    "loc\u00adalhost", "\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54",
)  # fmt: skip


def hostile_urls(port: int) -> list[str]:
    hosts = [*itertools.chain.from_iterable(spellings(address) for address in INNER), *NAMES]
    urls = [f"https://{host}:8443/" for host in hosts] + [f"http://{host}:{port}/" for host in hosts]
    for host in ("127.0.0.1", "localhost", "[::1]"):
        urls += [
            f"https://public.example@{host}:{port}/", f"https://{host}:{port}#@public.example/", f"https://{host}:{port}\\@public.example/",
            f"https://user:pass@{host}:{port}/", f"https://public.example:443@{host}:{port}/", f"//{host}:{port}/",
            f"https://{host}:{port}/?u=https://public.example", f"HTTPS://{host}:{port}/", f"https:/{host}:{port}/",
            f"https:\\\\{host}:{port}/", f"http:{host}:{port}", f"ftp://{host}:{port}/", f"gopher://{host}:{port}/_POST",
            f"dict://{host}:{port}/", f"file://{host}:{port}/etc/passwd", f"https://{host}:{port}\t/", f"https://{host}\r\n:{port}/",
            f"https://{host}:0{port}/", f"https://{host}:+{port}/", f"https://{host}: {port}/", f"https://{host}%00:{port}/",
            f"https://{host}%2f:{port}/", f"https://{host}:{port}%20/", f"unix://{host}:{port}", f"ws://{host}:{port}/",
        ]  # fmt: skip
    return urls


def test_no_hostile_url_reaches_the_trap(traps: Traps) -> None:
    """By the system's resolver, with nothing allowed and with the trap's port allowed for another network."""
    urls = hostile_urls(traps.port)
    assert len(set(urls)) >= 300
    channels = [WebhookChannel(total_seconds=2), WebhookChannel(allow=((ip_network("192.0.2.7/32"), None),), total_seconds=2)]
    body, secret, now = b"{}", [new_secret()], datetime.now(UTC)
    for url, channel in itertools.product(urls, channels):
        with pytest.raises(ChannelError) as refused:
            channel.send(url, "msg_1", body, secret, now)
        assert "no connection" not in refused.value.message, url  # nor was one tried where nobody listens
    assert traps.reached == []


@pytest.mark.parametrize("first", ["93.184.215.14", "2606:4700::1111"])
def test_no_answer_of_a_resolver_leads_to_the_trap(traps: Traps, first: str) -> None:
    """A name that rebinds, alone and beside a public address, in each blocked spelling that a resolver can give."""
    inner = [
        *LOOPBACKS,
        "::1",
        "::",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
    ]
    channel_options: dict[str, Any] = {"allow": ((ip_network("192.0.2.7/32"), None),), "total_seconds": 2}
    for address in inner:
        for answer in ([address], [first, address], [address, first]):
            channel = WebhookChannel(resolver=lambda host, port, answer=answer: answer, **channel_options)
            with pytest.raises(ChannelError) as refused:
                channel.send(f"http://rebind.example:{traps.port}/", "msg_1", b"{}", [new_secret()], datetime.now(UTC))
            assert refused.value.outcome == "blocked"
    assert traps.reached == []


def test_the_trap_would_notice(traps: Traps) -> None:
    """The same request with loopback allowed does connect."""
    channel = WebhookChannel(allow=((ip_network("127.0.0.0/8"), None),), total_seconds=2)
    with pytest.raises(ChannelError):
        channel.send(f"http://127.0.0.1:{traps.port}/", "msg_1", b"{}", [new_secret()], datetime.now(UTC))
    assert len(traps.reached) == 1
