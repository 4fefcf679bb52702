"""Going on with a screen that was killed: how far its output is, proven by hashes. No structure is in it.

Beside `OUTPUT` stands `OUTPUT.resume` while a run is under way: counts, and SHA-256 of the items read and of the records written
so far. A run goes on only where options, versions, the input's consumed part and the output's kept part are all the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.screening.inputs import Item


class ResumeError(Exception):
    """The run cannot go on; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A point up to which the output is whole. `settings` are the options and versions that shape a record."""

    settings: dict[str, Any]
    records: int
    items_sha256: str
    output_bytes: int
    output_sha256: str
    counts: dict[str, int]


def path_beside(output: Path) -> Path:
    return output.with_name(output.name + ".resume")


def save(output: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in one step."""
    path = path_beside(output)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(json.dumps(asdict(checkpoint), indent=1), encoding="utf-8")
    os.replace(fresh, path)


def load(output: Path) -> Checkpoint:
    """Raises ResumeError where there is none or it cannot be read."""
    path = path_beside(output)
    try:
        return Checkpoint(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ResumeError(f"there is no {path.name}: the run into {output.name} has ended, or never began") from error
    except (ValueError, TypeError) as error:
        raise ResumeError(f"{path.name} cannot be read: {error}; start the run anew") from error


def check_settings(checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
    """Raises ResumeError naming the first option or version that differs."""
    for name in {**settings, **checkpoint.settings}:
        before, now = checkpoint.settings.get(name), settings.get(name)
        if before != now:
            raise ResumeError(f"{name} was {before!r} and is {now!r} now; start the run anew")


def check_output(checkpoint: Checkpoint, output: Path) -> None:
    """Raises ResumeError unless the output begins with what the run wrote."""
    digest, left = hashlib.sha256(), checkpoint.output_bytes
    try:
        with output.open("rb") as file:
            while left and (data := file.read(min(1 << 20, left))):
                digest.update(data)
                left -= len(data)
    except OSError as error:
        raise ResumeError(f"{output.name} cannot be read: {error.strerror}") from error
    if left or digest.hexdigest() != checkpoint.output_sha256:
        raise ResumeError(f"{output.name} is not what the run wrote; start the run anew")


def skip(items: Iterator[Item], checkpoint: Checkpoint, digest: Any) -> None:
    """Read past the inputs that have their records. Raises ResumeError where they are not the same inputs."""
    for _ in range(checkpoint.records):
        item = next(items, None)
        if item is None:
            break
        item.digest_into(digest)
    if digest.hexdigest() != checkpoint.items_sha256:
        raise ResumeError(f"the first {checkpoint.records:,} inputs are not those of the run; start the run anew")
