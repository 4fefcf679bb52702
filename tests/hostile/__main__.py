"""`python -m tests.hostile [NUMBER]`: so many generated inputs (10,000) and the nasty list against a real server, while another
client is timed. Prints the answers by status, the slowest, and that client's p50 and p99 idle and meanwhile.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings

from tests.hostile.generated import JSON, Ask, _bytes, asks, send
from tests.hostile.structures import STRUCTURES
from tests.hostile.timed import timed_during, with_busy_cores

QUIET_SECONDS = 15.0


def _nps(env: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.strip()


def main(number: int) -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    base = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="nps-hostile-", ignore_cleanup_errors=True) as folder:
        env = os.environ | {"NPS_DATA_DIR": folder, "NPS_BASE_URL": base, "NPS_ADDRESS_LIMIT": "0"}
        org = _nps(env, "orgs", "create", "--name", "L", "--kind", "lab", "--country", "DE")
        key = _nps(env, "keys", "create", "--org", org, "--role", "lab").splitlines()[0]
        headers = {"Authorization": f"Bearer {key}"}
        server = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "serve", "--port", str(port)], env=env, stderr=subprocess.DEVNULL
        )
        try:
            _wait(base)
            return _attack(base, headers, number)
        finally:
            server.terminate()
            server.wait(40)


def _wait(base: str) -> None:
    for _ in range(600):
        try:
            if httpx.get(base + "/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise SystemExit("the server did not start")


def _attack(base: str, headers: dict[str, str], number: int) -> int:
    client = httpx.Client(base_url=base, timeout=60)
    client.post("/v1/reports?dry_run=true", content=b"{}", headers={**headers, **JSON})
    idle = timed_during(base, headers, lambda: time.sleep(QUIET_SECONDS))
    busy = timed_during(base, headers, lambda: with_busy_cores(os.cpu_count() or 1, QUIET_SECONDS))
    statuses: Counter[int | str] = Counter()
    slowest: list[tuple[float, str]] = []
    bad: list[str] = []

    def tell(name: str, answer: Any, taken: float) -> None:
        statuses[answer.status_code if answer is not None else "not sendable"] += 1
        slowest.append((taken, name))
        if answer is not None and answer.status_code >= 500:
            bad.append(f"{name}: {answer.status_code} {answer.text[:200]}")

    begun = time.perf_counter()

    @settings(max_examples=number, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(asks())
    def ask(wish: Ask) -> None:
        start = time.perf_counter()
        answer = send(client, wish, headers)
        tell(f"{wish.method} {wish.path[:60]}", answer, time.perf_counter() - start)

    meanwhile = timed_during(base, headers, lambda: _all(ask, client, headers, tell))
    taken = time.perf_counter() - begun
    _print(statuses, slowest, bad, taken)
    for name, figures in (("idle", idle), ("with every core busy elsewhere", busy), ("under these inputs", meanwhile)):
        print(
            f"another client, {name}: p50 {figures.p50:.1f} ms, p99 {figures.p99:.1f} ms over {figures.requests} requests, "
            f"p99 {figures.p99 / idle.p99:.2f} of idle; {figures.failed} failed"
        )
    print(f"on {os.cpu_count()} cores, which attacker, server, chemistry workers and that client share")
    return 1 if bad or idle.failed or meanwhile.failed else 0


def _all(ask: Callable[[], None], client: httpx.Client, headers: dict[str, str], tell: Callable[[str, Any, float], None]) -> None:
    ask()
    for name, form, text, _ in STRUCTURES:
        start = time.perf_counter()
        answer = client.post("/v1/screen", content=_bytes({"structures": [{form: text}]}), headers={**headers, **JSON})
        tell(name, answer, time.perf_counter() - start)


def _print(statuses: Counter[int | str], slowest: list[tuple[float, str]], bad: list[str], taken: float) -> None:
    total = sum(statuses.values())
    print(
        f"{total} inputs in {taken:.0f} s ({total / taken:.0f}/s): {dict(sorted(statuses.items(), key=str))}; {len(bad)} are 5xx"
    )
    for line in bad[:20]:
        print("  ", line)
    print("slowest:", "; ".join(f"{name} {seconds:.2f} s" for seconds, name in sorted(slowest, reverse=True)[:3]))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
