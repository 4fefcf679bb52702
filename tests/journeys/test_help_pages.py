"""A new user with the help pages and curl only: every command of the pages, as printed, works at the first try."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.worker import Worker
from tests.conftest import Service
from tests.contract.test_statuses import served

FILE = """Case No;Date;Form;Found;Method
A1;03.11.2025;Tbl;MDMA;gc-ms
A2;03.13.2025;Tbl;MDMA;gc-ms
A3;04.11.2025;tablet;"Ketamine;Caffeine";gc-ms
"""


def commands(address: str, page: str) -> list[str]:
    """The code blocks of a help page, as a reader would copy them."""
    text = httpx.get(f"{address}/help/{page}").text
    return [
        html.unescape(re.sub(r"<[^>]+>", "", block))
        for block in re.findall(r"<pre[^>]*><code[^>]*>(.*?)</code></pre>", text, re.S)
    ]


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_pages_are_right_at_the_first_try(sqlite_service: Service, tmp_path: Path) -> None:
    key = sqlite_service.key("lab", "DE")["Authorization"].removeprefix("Bearer ")
    address, server, thread = served(sqlite_service)
    connect = commands(address, "connect")
    setup = connect[0].replace("your key", key).replace("http://127.0.0.1:8000", address)

    def typed(command: str, **ids: str) -> str:
        for name, value in ids.items():
            command = command.replace(name, value)
        done = subprocess.run(["bash", "-c", f"{setup}\n{command}"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    def answered(command: str, **ids: str) -> Any:
        return json.loads(typed(command, **ids))

    try:
        (tmp_path / "report.json").write_text(connect[1])
        assert answered(connect[2])["dry_run"] is True
        stored = answered(connect[3])
        assert (stored["version"], [s["confidence"] for s in stored["substances"]]) == (1, ["confirmed", "probable"])
        assert answered(connect[3]) == stored  # sent again after a broken connection

        correct, withdraw, history = commands(address, "corrections")[:3]
        assert answered(correct, ID=stored["id"])["version"] == 2
        assert answered(withdraw, ID=stored["id"])["state"] == "withdrawn"
        assert len(answered(history, ID=stored["id"])["items"]) == 3

        (tmp_path / "year.csv").write_text(FILE)
        propose, send, mapping = commands(address, "imports")[:3]
        assert answered(propose)["state"] == "draft"
        (tmp_path / "mapping.toml").write_text(mapping)
        lines = send.strip().split("\n")
        job = answered("\n".join(lines[:2]))
        Worker(sqlite_service.context, schedule=False).run_due()
        deadline = time.monotonic() + 30
        while (found := answered(lines[2], ID=job["id"]))["state"] != "done" and time.monotonic() < deadline:
            time.sleep(0.2)
        assert (found["rows"]["stored"], found["rows"]["rejected"]) == (2, 1)
        typed(lines[3], ID=job["id"])
        assert "2025-03-13?" in (tmp_path / "mend-me.csv").read_text()
    finally:
        server.should_exit = True
        thread.join(timeout=20)
