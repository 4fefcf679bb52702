"""Static files under addresses that hold a hash of their content, so that a browser may keep them for a year."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.problems import Problem

ROOT = Path(__file__).resolve().parents[1] / "static"
FOREVER = "public, max-age=31536000, immutable"
_TYPES = {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
_COMPRESSED = frozenset(_TYPES)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """One file, read once: its bytes, the same compressed (None where that gains nothing), and 12 characters of its hash."""

    content: bytes
    compressed: bytes | None
    media_type: str
    digest: str


@lru_cache(maxsize=1)
def manifest() -> dict[str, StaticFile]:
    """Every static file by its path under `app/static`."""
    files = {}
    for path in sorted(ROOT.rglob("*")):
        if path.is_file() and path.suffix not in {".md", ".txt"}:
            content = path.read_bytes()
            files[path.relative_to(ROOT).as_posix()] = StaticFile(
                content=content,
                compressed=gzip.compress(content, 9, mtime=0) if path.suffix in _COMPRESSED else None,
                media_type=_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream",
                digest=hashlib.sha256(content).hexdigest()[:12],
            )
    return files


def static_url(name: str) -> str:
    """The address of a static file. Raises KeyError for a name that is not there, so a template cannot point at nothing."""
    return f"/static/{manifest()[name].digest}/{name}"


router = APIRouter(include_in_schema=False)


@router.get("/static/{digest}/{name:path}")
def static_file(request: Request, digest: str, name: str) -> Response:
    """The file, for a year. An address with an older hash answers with today's file and is not kept."""
    file = manifest().get(name)
    if file is None:
        raise Problem("not-found", "There is no such file.")
    headers = {
        "Cache-Control": FOREVER if digest == file.digest else "no-cache",
        "ETag": f'"{file.digest}"',
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    if file.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.compressed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.content, media_type=file.media_type, headers=headers)
