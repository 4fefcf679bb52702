"""schemathesis against the running service: no 5xx, and no status that the OpenAPI document does not name."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import uvicorn

from tests.conftest import Service

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance"


def served(service: Service) -> tuple[str, uvicorn.Server, threading.Thread]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(service.client.app, host="127.0.0.1", port=port, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    return f"http://127.0.0.1:{port}", server, thread


@pytest.mark.parametrize(
    ("kind", "role", "paths"),
    [
        ("lab", "lab", "^/v1/(reports|imports|activity-reports|aggregate-reports|incidents|vocabularies|suspects)"),
        ("operator", "analyst", "^/v1/(curation|substance-events|substances|suspects|incidents|legitimate-uses)"),
        ("industry", "industry", "^/v1/legitimate-uses"),
    ],
)
def test_no_answer_is_a_surprise(sqlite_service: Service, tmp_path: Path, kind: str, role: str, paths: str) -> None:
    key = sqlite_service.key(kind, "DE", role)["Authorization"]
    address, server, thread = served(sqlite_service)
    try:
        done = subprocess.run(
            [SCHEMATHESIS, "run", f"{address}/openapi.json", "--checks", CHECKS, "--max-examples", "6", "--seed", "188",
             "--include-path-regex", paths, "-H", f"Authorization: {key}", "--suppress-health-check", "all", "--no-color"],
            capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False,
        )  # fmt: skip
    finally:
        server.should_exit = True
        thread.join(timeout=20)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert "passed" in done.stdout
