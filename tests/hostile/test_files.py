"""Every file of the nasty list: through the reader, and up through POST /v1/imports with the service alive afterwards."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.imports.readers import FileError, read_rows
from tests.conftest import Service
from tests.hostile.files import FILES

BOUND_SECONDS = 30.0


@pytest.mark.parametrize(("name", "kind", "build", "outcome"), FILES, ids=[row[0] for row in FILES])
def test_a_nasty_file_is_read_or_refused_with_a_reason(
    tmp_path: Path, name: str, kind: str, build: Callable[[], bytes], outcome: str
) -> None:
    path = tmp_path / name
    path.write_bytes(build())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    if outcome == "refused":
        with pytest.raises(FileError, match=name.replace(".", "[.]")):
            list(read_rows(path, kind))
    else:
        for row in read_rows(path, kind):
            assert row.error is None or row.error.strip()
    assert time.monotonic() - begun < BOUND_SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 400, f"the reading process grew by {grown:.0f} MiB"


def test_the_list_is_long_enough() -> None:
    assert len(FILES) >= 50


def test_a_nasty_upload_is_never_a_500_and_the_service_goes_on(service: Service) -> None:
    lab = service.key("lab", "DE")
    wrong = []
    for name, _, build, _ in FILES:
        answer = service.client.post("/v1/imports", files={"file": (name, build())}, headers=lab)
        if answer.status_code not in (202, 413, 422):
            wrong.append(f"{name}: {answer.status_code} {answer.text[:200]}")
    assert not wrong, "\n".join(wrong)
    assert service.client.get("/readyz").status_code == 200
