"""Rows of a file, one dictionary of texts each, read as a stream: CSV, XLSX, NDJSON, SDF."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.imports.sheet import REFUSED

csv.field_size_limit(1_000_000)
ROOT = Path(__file__).resolve().parents[2]


class FileError(Exception):
    """The file cannot be read at all; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Row:
    """`number` is the line or row in the file, 1-based, counting a header. `error` says why a row cannot be read."""

    number: int
    cells: dict[str, str]
    error: str | None = None


def format_of(path: Path) -> str:
    """The format by the ending. Raises FileError for an unknown one."""
    return format_of_name(path.name)


def format_of_name(name: str) -> str:
    """The format by the ending of a name. Raises FileError for an unknown one."""
    formats = {
        ".csv": "csv",
        ".tsv": "csv",
        ".txt": "csv",
        ".xlsx": "xlsx",
        ".ndjson": "ndjson",
        ".jsonl": "ndjson",
        ".sdf": "sdf",
    }
    try:
        return formats[Path(name).suffix.lower()]
    except KeyError as error:
        raise FileError(f"{name}: the ending is none of {', '.join(sorted(formats))}; give --format") from error


def read_rows(path: Path, file_format: str) -> Iterator[Row]:
    """The rows of a file in order. Raises FileError where the file as a whole cannot be read."""
    match file_format:
        case "csv":
            yield from _csv(path)
        case "xlsx":
            yield from _xlsx(path)
        case "ndjson":
            yield from _ndjson(path)
        case "sdf":
            yield from _sdf(path)
        case _:
            raise FileError(f"{file_format!r} is not one of csv, xlsx, ndjson, sdf")


def _csv(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="", errors="strict") as file:
        try:
            sample = file.read(64 * 1024)
        except UnicodeDecodeError as error:
            raise FileError(f"{path.name} is not UTF-8 (byte {error.start}); save it as CSV UTF-8") from error
        file.seek(0)
        first = sample.splitlines()[0] if sample else ""
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader(file, delimiter=delimiter, strict=True)
        try:
            header = [name.strip() for name in next(reader)]
        except StopIteration as error:
            raise FileError(f"{path.name} is empty") from error
        except UnicodeDecodeError as error:
            raise FileError(f"{path.name} is not UTF-8 in its first line; save it as CSV UTF-8") from error
        except csv.Error as error:
            raise FileError(f"{path.name}: the first line is not CSV: {error}") from error
        if len(set(header)) != len(header):
            raise FileError(f"{path.name}: two columns have the same name")
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise FileError(f"{path.name} is not UTF-8 near row {number}; save it as CSV UTF-8") from error
            except csv.Error as error:
                yield Row(number, {}, f"the row is not CSV: {error}")
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield Row(number, dict(zip(header, cells, strict=False)), f"{len(cells)} cells, but {len(header)} columns")
                continue
            yield Row(number, dict(zip(header, cells, strict=True)))


def _xlsx(path: Path) -> Iterator[Row]:
    """The first sheet, read by a process of its own with limits (`app.imports.sheet`): no file can take this one's memory."""
    command = [sys.executable, "-m", "app.imports.sheet", str(path.resolve())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as reader:  # noqa: S603 - our own
        assert reader.stdout is not None
        assert reader.stderr is not None
        header: list[str] | None = None
        try:
            for number, line in enumerate(reader.stdout, start=1):
                texts: list[str] = json.loads(line)
                if header is None:
                    header = [text.strip() for text in texts]
                elif any(texts):
                    yield Row(number, dict(zip(header, texts, strict=False)))
            reason = reader.stderr.read().decode("utf-8", "replace").strip()
            status = reader.wait()
        finally:
            reader.kill()
    if status == REFUSED:
        raise FileError(f"{path.name} cannot be read as XLSX: {reason}")
    if status != 0:
        raise FileError(f"{path.name} cannot be read as XLSX within its limits of memory and time; save it as CSV")
    if not header or not any(header):
        raise FileError(f"{path.name}: the first sheet is empty")


def _ndjson(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                data = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield Row(number, {}, f"the line is not JSON: {error}")
                continue
            if not isinstance(data, dict):
                yield Row(number, {}, "the line is not a JSON object")
                continue
            yield Row(number, {str(k): v if isinstance(v, str) else _json_text(v) for k, v in data.items()})


def _json_text(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, int | float) else json.dumps(value, ensure_ascii=False)


def _sdf(path: Path) -> Iterator[Row]:
    """One row a record: the molfile under `molfile`, its title under `title`, and the data items by their names."""
    with path.open(encoding="utf-8", errors="replace", newline=None) as file:
        lines: list[str] = []
        number = 0
        for line in file:
            if line.startswith("$$$$"):
                number += 1
                yield _sdf_row(number, lines)
                lines = []
            else:
                lines.append(line.rstrip("\n"))
        if any(line.strip() for line in lines):
            yield _sdf_row(number + 1, lines)


def _sdf_row(number: int, lines: list[str]) -> Row:
    end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
    if end is None:
        return Row(number, {}, "the record has no 'M  END'")
    cells = {"title": lines[0].strip() if lines else "", "molfile": "\n".join(lines[: end + 1]) + "\n"}
    name = None
    for line in lines[end + 1 :]:
        if line.startswith(">"):
            start, stop = line.find("<"), line.rfind(">")
            name = line[start + 1 : stop] if 0 <= start < stop else None
        elif name and line.strip():
            cells[name] = f"{cells[name]}\n{line}" if name in cells else line
    return Row(number, cells)
