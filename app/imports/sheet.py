"""Reads the first sheet of an XLSX file in a process of its own and prints its rows, a JSON list of texts a line.

Run as `python -m app.imports.sheet FILE`. The library lays a sheet out as one dense block of cells, so a file of a few hundred
bytes can ask for more memory than any machine has. Here that costs this process alone: `limits` come before the file is opened.
"""

from __future__ import annotations

import json
import resource
import sys
import zipfile
from typing import Any

MEMORY_BYTES = 2 << 30
CPU_SECONDS = 120
MOST_UNPACKED = 1 << 30
MOST_PARTS = 5_000
REFUSED = 3  # exit status: the reason stands on standard error


class SheetRefused(Exception):
    """The file asks for more than it may, or holds what no sheet needs; the message says which."""


def limits() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def check_archive(path: str) -> None:
    """Raises SheetRefused before anything is unpacked: too many parts, too large when unpacked, or entity declarations."""
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        if len(parts) > MOST_PARTS:
            raise SheetRefused(f"it has {len(parts)} parts, at most {MOST_PARTS} are read")
        unpacked = sum(part.file_size for part in parts)
        if unpacked > MOST_UNPACKED:
            raise SheetRefused(f"it unpacks to {unpacked:,} bytes, at most {MOST_UNPACKED:,} are read")
        for part in parts:
            if part.filename.endswith((".xml", ".rels")):
                with archive.open(part) as content:
                    head = content.read(4_096).upper()
                if b"<!DOCTYPE" in head or b"<!ENTITY" in head:
                    raise SheetRefused("it declares entities, which no spreadsheet program writes")


def text_of(cell: Any) -> str:
    """The cell as text: dates as ISO, whole numbers without a point."""
    if cell is None or cell == "":
        return ""
    if hasattr(cell, "isoformat"):
        text: str = cell.isoformat()
        return text.removesuffix("T00:00:00")
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def main(path: str) -> int:
    limits()
    try:
        check_archive(path)
    except (SheetRefused, zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    import python_calamine

    try:
        rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).iter_rows()
        for cells in rows:
            print(json.dumps([text_of(cell) for cell in cells]))
    except (python_calamine.CalamineError, OSError, IndexError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
