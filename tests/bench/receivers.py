"""Receivers in a process of their own: healthy, dead, slow-loris and flapping ones, with the time of each first byte.

Times are of the monotonic clock, which processes of one machine share.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

FLAP_SECONDS = 3.0
ANSWER = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass
class Receivers:
    """The process from outside: a URL for each kind asked for, in order, and what came so far."""

    process: subprocess.Popen[str]
    urls: list[str]

    def receipts(self) -> list[tuple[int, float, str, str]]:
        """(receiver, first byte in monotonic seconds, type, id of the alert) of every request since the last call."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("receipts\n")
        self.process.stdin.flush()
        return [tuple(row) for row in json.loads(self.process.stdout.readline())]

    def behave(self, kinds: list[str]) -> None:
        """From now on these kinds, in the order of the URLs."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(kinds) + "\n")
        self.process.stdin.flush()
        self.process.stdout.readline()


@contextmanager
def receivers(count: int) -> Iterator[Receivers]:
    """So many receivers, all healthy at first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.receivers", str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Receivers(process, [f"http://127.0.0.1:{port}/hook" for port in json.loads(process.stdout.readline())])
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()


class _Process:
    def __init__(self) -> None:
        self.found: list[tuple[int, float, str, str]] = []
        self.kinds: list[str] = []

    async def handle(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._handle(number, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the sender gave up, or the measurement is over
        finally:
            writer.close()

    async def _handle(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kind = self.kinds[number]
        down = kind == "flapping" and time.monotonic() % (2 * FLAP_SECONDS) < FLAP_SECONDS
        if kind == "dead" or down:
            writer.transport.abort()
            return
        first = await reader.readexactly(1)
        at = time.monotonic()
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        document: dict[str, Any] = json.loads(await reader.readexactly(length))
        if kind == "slow-loris":
            for byte in ANSWER:  # a byte every two seconds, for ever as far as the sender is concerned
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(2)
        if document["type"] == "ping":
            body = json.dumps({"nonce": document["data"]["nonce"]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            self.found.append((number, at, document["type"], document["data"].get("id") or ""))
            writer.write(ANSWER)
        await writer.drain()

    async def run(self, count: int) -> None:
        self.kinds = ["healthy"] * count
        ports = []
        for number in range(count):
            server = await asyncio.start_server(
                lambda r, w, n=number: self.handle(n, r, w),
                "127.0.0.1",
                0,
                backlog=256,  # type: ignore[misc]
            )
            ports.append(server.sockets[0].getsockname()[1])
        print(json.dumps(ports), flush=True)
        loop = asyncio.get_running_loop()
        while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            if line == "receipts":
                found, self.found = self.found, []
                print(json.dumps(found), flush=True)
            else:
                self.kinds = json.loads(line)
                print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(_Process().run(int(sys.argv[1])))
