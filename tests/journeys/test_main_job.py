"""The main job with real parts: `nps serve`, curl-like clients, receivers that verify with the public package, kill -9."""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

NPS = Path(sys.executable).with_name("nps")


@dataclass
class Receiver:
    """A webhook receiver on loopback: answers pings, verifies every signature, keeps what came."""

    address: str = ""
    secret: str = ""
    got: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def alerts(self) -> list[dict[str, Any]]:
        return [message["data"] for message in self.got if message["type"].startswith("alert.")]


@pytest.fixture
def receivers() -> Iterator[dict[str, Receiver]]:
    found = {"DE": Receiver(), "FR": Receiver()}
    early: dict[str, list[tuple[bytes, dict[str, str]]]] = {"DE": [], "FR": []}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            country = self.path.strip("/")
            receiver = found[country]
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            message = json.loads(body)
            if receiver.secret:
                try:
                    Webhook(receiver.secret).verify(body, headers)
                except WebhookVerificationError as error:
                    receiver.refused.append(repr(error))
            else:
                early[country].append((body, headers))
            receiver.got.append(message)
            receiver.times.append(time.monotonic())
            answer = json.dumps({"nonce": message["data"].get("nonce")}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    for country, receiver in found.items():
        receiver.address = f"http://127.0.0.1:{server.server_port}/{country}"
    yield found
    server.shutdown()
    server.server_close()
    thread.join()
    for country, messages in early.items():
        for body, headers in messages:
            Webhook(found[country].secret).verify(body, headers)
    assert [r.refused for r in found.values()] == [[], []]


class Installation:
    """An installation in a folder, run as its operator runs it."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("NPS_", "DATABASE_URL", "EGRESS"))},
            "NPS_DATA_DIR": str(folder),
            "EGRESS_ALLOW": "127.0.0.1/32:*",
        }
        self.log = folder.parent / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.clients: list[httpx.Client] = []

    def nps(self, *arguments: str) -> Any:
        done = subprocess.run([NPS, *arguments, "--json"], env=self.environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def key(self, kind: str, country: str, role: str | None = None) -> dict[str, str]:
        org = self.nps("orgs", "create", "--name", f"{kind} {country}", "--kind", kind, "--country", country)["id"]
        secret = self.nps("keys", "create", "--org", org, "--role", role or kind)["key"]
        return {"Authorization": f"Bearer {secret}"}

    def start(self) -> httpx.Client:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [NPS, "serve", "--port", str(self.port)], env=self.environment, stdout=log, stderr=log
            )
        client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)
        self.clients.append(client)
        wait_for(lambda: self._ready(client), 60, self.log.read_text)
        return client

    @staticmethod
    def _ready(client: httpx.Client) -> bool:
        try:
            return client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)


def wait_for(condition: Any, seconds: float, explain: Any = lambda: "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s\n{explain()}"
        time.sleep(0.02)


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    made = Installation(tmp_path / "data")
    yield made
    for client in made.clients:
        client.close()
    if made.process is not None and made.process.poll() is None:
        made.process.terminate()
        made.process.wait(30)


def test_a_report_becomes_a_signed_alert_in_an_authoritys_hands(
    installation: Installation, receivers: dict[str, Receiver], example_report: dict[str, Any]
) -> None:
    lab = installation.key("lab", "DE")
    authorities = {country: installation.key("authority", country) for country in receivers}
    analyst = installation.key("operator", "AT", "analyst")
    client = installation.start()
    for country, receiver in receivers.items():
        made = client.post(
            "/v1/subscriptions",
            json={"channel": "webhook", "url": receiver.address, "filter": {"min_level": 1}, "tlp_max": "AMBER"},
            headers=authorities[country],
        ).json()
        receiver.secret = made["secret"]
        address = f"/v1/subscriptions/{made['id']}"
        wait_for(lambda a=address, c=country: client.get(a, headers=authorities[c]).json()["state"] == "active", 10)

    sent = client.post("/v1/reports", json=example_report, headers=lab | {"Idempotency-Key": "k"})
    answered = time.monotonic()
    assert sent.status_code == 201
    wait_for(lambda: len(receivers["DE"].alerts()) >= 4, 10)
    at_home = receivers["DE"].alerts()
    assert {(a["type"], a["level"]) for a in at_home} == {
        ("first_region", 3),
        ("serious_harm", 3),
        ("first_region", 2),
        ("adulterant", 1),  # xylazine beside a fentanyl
    }
    assert all(a["controlled"] is (a["level"] == 3) for a in at_home)
    wait_for(lambda: len(receivers["FR"].alerts()) >= 1, 10)
    time.sleep(1)
    abroad = receivers["FR"].alerts()
    assert {a["level"] for a in abroad} == {1, 2}  # nothing of level 3 before approval
    print(f"201 to first webhook: {receivers['DE'].times[1] - answered:.3f} s")

    again = client.post("/v1/reports", json=example_report, headers=lab | {"Idempotency-Key": "k"})
    assert again.json() == sent.json()

    harm = next(a for a in at_home if a["type"] == "serious_harm")
    assert client.post(f"/v1/alerts/{harm['id']}/approve", json={}, headers=analyst).status_code == 200
    wait_for(lambda: any(a["id"] == harm["id"] for a in receivers["FR"].alerts()), 10)
    done = client.post(f"/v1/alerts/{harm['id']}/acknowledge", json={"note": "seen"}, headers=authorities["DE"])
    assert done.status_code == 200

    # killed between the 201 and the delivery: the alert comes after the restart, once
    before = len(receivers["DE"].alerts())
    second = copy.deepcopy(example_report)
    second["lab_reference"] = "2026-0118-A"
    second["substances"] = [
        {"name": "isotonitazene", "techniques": ["gc-ms", "nmr"], "reference_material": "certified", "isomers_excluded": "yes"}
    ]
    second["cases"] = []
    stored = client.post("/v1/reports", json=second, headers=lab)
    installation.kill()
    assert stored.status_code == 201
    client = installation.start()
    (alert_id,) = stored.json()["alerts"]
    wait_for(lambda: any(a["id"] == alert_id for a in receivers["DE"].alerts()), 20)
    time.sleep(1)
    delivered = [a["id"] for a in receivers["DE"].alerts()[before:] if a["id"] == alert_id]
    assert 1 <= len(delivered) <= 2  # at most one duplicate a kill
    assert client.get(f"/v1/reports/{stored.json()['id']}", headers=lab).status_code == 200
