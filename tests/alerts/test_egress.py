"""Rules for outgoing requests: which URLs, which addresses, and what a hostile receiver can do."""

from __future__ import annotations

import base64
import gzip
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from alerts.channels.egress import BLOCKED, check_addresses, is_blocked, parse_url, unwrapped
from alerts.channels.webhook import READ_LIMIT, WebhookChannel, new_secret, retry_after_seconds, signed_headers
from alerts.errors import ChannelError, EgressRefused

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
LOOPBACK = ((ip_network("127.0.0.1/32"), None),)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def send(channel: WebhookChannel, url: str, body: bytes = b"{}") -> Any:
    return channel.send(url, "msg_1", body, [SECRET], datetime.now(UTC))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/hook",
        "https://example.org:444/hook",
        "https://example.org:22/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org:443/",
        "javascript:alert(1)",
        "//example.org/hook",
        "example.org/hook",
        "https:///hook",
        "https://",
        "",
        "https://user@example.org/",
        "https://user:secret@example.org/",
        "https://@example.org/",
        "https://example.org@127.0.0.1/",
        "https://example.org/#fragment",
        "https://example.org/#",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: inner",
        "https://example.org\\@127.0.0.1/",
        "https://example.org:99999/",
        "https://example.org:port/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://" + "a" * 254 + "/",
        "https://example.org/" + "a" * 2048,
        "https://xn--\u2603..example/",
    ],
)
def test_a_url_that_breaks_a_rule_of_form_is_refused(url: str) -> None:
    with pytest.raises(EgressRefused):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "target"),
    [
        ("https://example.org", "example.org", 443, "/"),
        ("https://EXAMPLE.org:8443/a?b=c", "example.org", 8443, "/a?b=c"),
        ("https://bücher.example/ä", "xn--bcher-kva.example", 443, "/%C3%A4"),
        ("https://[2606:4700::1111]/x", "2606:4700::1111", 443, "/x"),
    ],
)
def test_a_plain_https_url_passes(url: str, host: str, port: int, target: str) -> None:
    found = parse_url(url)
    assert (found.host, found.port, found.target) == (host, port, target)


BLOCKED_SAMPLES = [
    "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
    "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.1.1", "198.18.0.1", "198.19.255.255", "198.51.100.7", "203.0.113.9",
    "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1", "2001::1", "2001:1ff::1", "2001:db8::1",
    "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd12::1", "fe80::1", "fec0::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "fe80::1%eth0",
]  # fmt: skip


@pytest.mark.parametrize("address", BLOCKED_SAMPLES)
def test_a_blocked_address_refuses_the_whole_set(address: str) -> None:
    assert is_blocked(unwrapped(address))
    destination = parse_url("https://example.org/")
    with pytest.raises(EgressRefused):
        check_addresses(destination, ["93.184.215.14", address])


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"])
def test_a_public_address_passes(address: str) -> None:
    assert check_addresses(parse_url("https://example.org/"), [address]) == [address]


def test_every_blocked_network_of_the_guide_is_there() -> None:
    assert len(BLOCKED) == 15 + 14


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "0"],
)
def test_no_spelling_of_loopback_is_connected_to(host: str, trap: Any) -> None:
    channel = WebhookChannel(allow=((ip_network("192.0.2.7/32"), trap.port),))  # the port passes the form, the address must not
    with pytest.raises(ChannelError):
        send(channel, f"http://{host}:{trap.port}/")
    with pytest.raises(ChannelError):
        send(WebhookChannel(), f"https://{host}:8443/")
    time.sleep(0.05)
    assert trap.connections == 0


def test_a_name_that_rebinds_is_caught_at_each_attempt(raw_server: Any, trap: Any) -> None:
    """The first answer is allowed, the second points inward: the second attempt opens no socket."""
    receiver = raw_server(lambda connection, body: connection.sendall(OK))
    answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "169.254.169.254"]])
    channel = WebhookChannel(allow=LOOPBACK, resolver=lambda host, port: next(answers))
    assert send(channel, f"http://rebind.example:{receiver.port}/").resolved_ip == "127.0.0.1"
    for _ in range(2):
        with pytest.raises(EgressRefused) as refused:
            send(channel, f"http://rebind.example:{receiver.port}/")
        assert refused.value.outcome == "blocked"
    assert receiver.connections == 1
    assert b"Host: rebind.example:" in receiver.requests[0]


def test_allowed_networks_hold_for_their_port_only(raw_server: Any, trap: Any) -> None:
    receiver = raw_server(lambda connection, body: connection.sendall(OK))
    channel = WebhookChannel(allow=((ip_network("127.0.0.1/32"), receiver.port),))
    assert send(channel, f"http://127.0.0.1:{receiver.port}/").status == 200
    with pytest.raises(EgressRefused):
        send(channel, f"http://127.0.0.1:{trap.port}/")
    assert trap.connections == 0


def test_redirects_are_failures_and_not_followed(raw_server: Any, trap: Any) -> None:
    location = f"http://127.0.0.1:{trap.port}/latest/meta-data"
    receiver = raw_server(
        lambda connection, body: connection.sendall(
            f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        )
    )
    with pytest.raises(ChannelError) as failure:
        send(WebhookChannel(allow=LOOPBACK), f"http://127.0.0.1:{receiver.port}/")
    assert (failure.value.status, failure.value.outcome) == (302, "failed")
    assert trap.connections == 0


def test_proxies_of_the_environment_are_ignored(raw_server: Any, trap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    receiver = raw_server(lambda connection, body: connection.sendall(OK))
    assert send(WebhookChannel(allow=LOOPBACK), f"http://127.0.0.1:{receiver.port}/").status == 200
    assert trap.connections == 0


def _drip(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    for _ in range(200):
        connection.sendall(b"x")
        time.sleep(0.05)


def _drip_headers(connection: socket.socket, body: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for number in range(200):
        connection.sendall(f"X-{number}: y\r\n".encode())
        time.sleep(0.05)


def _silent(connection: socket.socket, body: bytes) -> None:
    time.sleep(4)


@pytest.mark.parametrize("script", [_drip, _drip_headers, _silent])
def test_the_deadline_is_wall_clock(script: Callable[[socket.socket, bytes], None], raw_server: Any) -> None:
    receiver = raw_server(script)
    channel = WebhookChannel(allow=LOOPBACK, total_seconds=0.6)
    started = time.monotonic()
    with pytest.raises(ChannelError):
        send(channel, f"http://127.0.0.1:{receiver.port}/")
    assert time.monotonic() - started < 2.5


def test_an_endless_answer_is_cut_and_still_a_success(raw_server: Any) -> None:
    def endless(connection: socket.socket, body: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        while True:
            connection.sendall(chunk)

    receiver = raw_server(endless)
    receipt = send(WebhookChannel(allow=LOOPBACK, total_seconds=10), f"http://127.0.0.1:{receiver.port}/")
    assert receipt.status == 200
    assert len(receipt.body) == READ_LIMIT
    assert len(receipt.response) == 2048


def test_a_compressed_answer_is_not_expanded(raw_server: Any) -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    receiver = raw_server(lambda connection, body: connection.sendall(head + bomb))
    receipt = send(WebhookChannel(allow=LOOPBACK), f"http://127.0.0.1:{receiver.port}/")
    assert receipt.body == bomb
    assert b"Accept-Encoding: identity" in receiver.requests[0]
    assert "\x00" not in receipt.response


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 two-hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"\x00" * 1000,
    ],
)
def test_a_broken_answer_is_a_failure(answer: bytes, raw_server: Any) -> None:
    receiver = raw_server(lambda connection, body: connection.sendall(answer))
    with pytest.raises(ChannelError) as failure:
        send(WebhookChannel(allow=LOOPBACK, total_seconds=2), f"http://127.0.0.1:{receiver.port}/")
    assert failure.value.outcome == "failed"


def test_a_refused_connection_and_an_unknown_name_are_failures() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ChannelError):
        send(WebhookChannel(allow=LOOPBACK), f"http://127.0.0.1:{port}/")

    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(ChannelError, match="cannot be resolved"):
        send(WebhookChannel(resolver=unknown), "https://nowhere.example/")


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alerts.channels.egress.RESOLVE_SECONDS", 0.2)

    def hangs(host: str, port: int) -> list[str]:
        time.sleep(1)
        return ["93.184.215.14"]

    started = time.monotonic()
    with pytest.raises(ChannelError, match="not resolved"):
        send(WebhookChannel(resolver=hangs), "https://slow.example/")
    assert time.monotonic() - started < 0.8


def test_a_certificate_that_is_not_trusted_is_a_failure(raw_server: Any, tmp_path: Path) -> None:
    """TLS to a server with a certificate of its own: nothing is sent."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hook.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2040, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hook.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    seen: list[bytes] = []

    def serve(count: int) -> None:
        for _ in range(count):
            connection, _ = listener.accept()
            with connection:
                try:
                    with server_side.wrap_socket(connection, server_side=True) as tls:
                        request = tls.recv(65536)
                        while request and not request.endswith(b"{}"):  # head and body may come apart
                            request += tls.recv(65536)
                        seen.append(request)
                        tls.sendall(OK)
                except OSError as error:
                    seen.append(type(error).__name__.encode())

    import threading

    thread = threading.Thread(target=serve, args=(3,), daemon=True)
    thread.start()
    resolver = lambda host, port: ["127.0.0.1"]  # noqa: E731
    with pytest.raises(ChannelError, match="TLS"):
        send(WebhookChannel(allow=LOOPBACK, resolver=resolver), f"https://hook.example:{port}/")
    trusting = ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
    with pytest.raises(ChannelError, match="TLS"):
        send(WebhookChannel(allow=LOOPBACK, resolver=resolver, ssl_context=trusting), f"https://other.example:{port}/")
    receipt = send(WebhookChannel(allow=LOOPBACK, resolver=resolver, ssl_context=trusting), f"https://hook.example:{port}/")
    thread.join()
    listener.close()
    assert receipt.status == 200
    assert [line.startswith(b"POST") for line in seen] == [False, False, True]


def test_signatures_verify_with_the_public_package_under_each_live_secret() -> None:
    old, new = new_secret(), new_secret()
    body = '{"type":"ping","ä":"µ"}'.encode()
    headers = signed_headers("msg_01ARZ", datetime.now(UTC), body, [new, old])
    assert headers["webhook-signature"].count("v1,") == 2
    for secret in (old, new):
        assert Webhook(secret).verify(body, headers)
    assert len(base64.b64decode(new.removeprefix("whsec_"))) == 32


def test_an_id_with_a_full_stop_is_never_signed() -> None:
    with pytest.raises(ValueError, match="full stop"):
        signed_headers("msg.1", datetime.now(UTC), b"", [new_secret()])


def test_retry_after_reads_numbers_and_dates() -> None:
    now = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
    assert retry_after_seconds("120", now) == 120
    assert retry_after_seconds("Tue, 24 Nov 2026 12:01:00 GMT", now) == 60
    assert retry_after_seconds("Tue, 24 Nov 2026 11:00:00 GMT", now) == 0
    assert retry_after_seconds("soon", now) is None
    assert retry_after_seconds(None, now) is None
