"""Inputs of a screen, read one by one from a stream: a line that cannot be read is an item with an error, never the end.

Memory stays bounded whatever the file holds: lines, records and fields have a longest length, and what is longer is an item with
an error too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import click

FORMATS = ("smi", "csv", "sdf", "ndjson")
MOST_CHARACTERS = 1 << 20  # of a line or an SDF record; 32 candidates of 8,000 characters fit
MOST_CANDIDATES = 32
_ENDINGS = {
    ".smi": "smi",
    ".smiles": "smi",
    ".txt": "smi",
    ".csv": "csv",
    ".tsv": "csv",
    ".sdf": "sdf",
    ".sd": "sdf",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_TOO_LONG = f"more than {MOST_CHARACTERS:,} characters in one record"


@dataclass(frozen=True, slots=True)
class Item:
    """One input: its name, the text shown in the record, and what to read it as; or why it cannot be read."""

    name: str | None
    shown: str
    structures: tuple[tuple[str, str], ...]
    error: str | None = None

    def digest_into(self, digest: Any) -> None:
        """Add the item to a running SHA-256."""
        digest.update(json.dumps([self.name, self.shown, self.structures, self.error]).encode() + b"\n")


def format_of(file: str, given: str | None) -> str:
    """The format asked for, else that of the file's ending, else `smi`."""
    return given or _ENDINGS.get(Path(file).suffix.lower(), "smi")


class _Hashing(io.RawIOBase):
    """A binary stream that counts and hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.digest = hashlib.sha256()
        self.bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.digest.update(data)
        self.bytes += len(data)
        return len(data)


class Source:
    """A file or standard input on its way through: its items, how many bytes were read, and after the last item their SHA-256."""

    def __init__(self, stream: BinaryIO, file_format: str) -> None:
        self._hashing = _Hashing(stream)
        newline = "" if file_format == "csv" else None
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._hashing, 1 << 16), encoding="utf-8-sig", errors="replace", newline=newline
        )
        self._format = file_format

    @property
    def bytes_read(self) -> int:
        return self._hashing.bytes

    @property
    def sha256(self) -> str:
        """Of the bytes read so far, in hexadecimal; of the whole input once the items have ended."""
        return self._hashing.digest.hexdigest()

    def items(self) -> Iterator[Item]:
        return read_items(self._text, self._format)


def read_items(stream: IO[str], file_format: str) -> Iterator[Item]:
    """The inputs in order. Raises ClickException for a CSV without a column of structures."""
    match file_format:
        case "smi":
            return _smi_items(stream)
        case "csv":
            return _csv_items(stream)
        case "ndjson":
            return _ndjson_items(stream)
        case _:
            return _sdf_items(stream)


def _lines(stream: IO[str]) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is only the beginning of one that is too long."""
    while line := stream.readline(MOST_CHARACTERS):
        cut = len(line) == MOST_CHARACTERS and not line.endswith("\n")
        while cut and (rest := stream.readline(MOST_CHARACTERS)) and not rest.endswith("\n"):
            pass
        yield line, cut


def _smi_items(stream: IO[str]) -> Iterator[Item]:
    for line, cut in _lines(stream):
        if cut:
            yield Item(None, line[:200], (), _TOO_LONG)
        elif line.strip():
            parts = line.strip().split(None, 1)
            yield Item(parts[1].strip() if len(parts) > 1 else None, parts[0], (("smiles", parts[0]),))


class _CsvLines:
    """Lines for the csv module, remembering that one was cut."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines = _lines(stream)
        self.cut = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line, cut = next(self._lines)
        self.cut = self.cut or cut
        return line


def _csv_items(stream: IO[str]) -> Iterator[Item]:
    csv.field_size_limit(MOST_CHARACTERS)
    lines = _CsvLines(stream)
    first = next(lines, "")
    delimiter = max(",;\t", key=first.count)
    header = [name.strip().lower() for name in next(csv.reader([first], delimiter=delimiter), [])]
    form = next((form for form in ("smiles", "inchi", "molfile") if form in header), None)
    if form is None:
        raise click.ClickException("the CSV needs a column smiles, inchi or molfile")
    column = header.index(form)
    name = next((header.index(known) for known in ("name", "id") if known in header), None)
    rows = csv.reader(lines, delimiter=delimiter)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            lines.cut = False
            yield Item(None, "", (), f"line {rows.line_num + 1}: {error}")
            continue
        if lines.cut:
            lines.cut = False
            yield Item(None, "", (), f"line {rows.line_num + 1}: {_TOO_LONG}")
        elif row:
            text = row[column] if column < len(row) else ""
            label = row[name] if name is not None and name < len(row) else ""
            yield Item(label or None, text, ((form, text),))


def _ndjson_items(stream: IO[str]) -> Iterator[Item]:
    for line, cut in _lines(stream):
        if cut:
            yield Item(None, line[:200], (), _TOO_LONG)
        elif line.strip():
            yield _ndjson_item(line)


def _ndjson_item(line: str) -> Item:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Item(None, line.strip()[:200], (), f"the line is not JSON: {error}")
    if not isinstance(data, dict):
        return Item(None, line.strip()[:200], (), "the line is not a JSON object")
    name = data.get("name")
    name = name if isinstance(name, str) else None
    given = [key for key in ("smiles", "inchi", "molfile", "candidates") if data.get(key) is not None]
    if len(given) != 1:
        return Item(name, line.strip()[:200], (), "give exactly one of smiles, inchi, molfile or candidates")
    key = given[0]
    members = data[key] if key == "candidates" else [data[key]]
    if not isinstance(members, list) or not members or len(members) > MOST_CANDIDATES:
        return Item(name, line.strip()[:200], (), f"candidates is a list of 1 to {MOST_CANDIDATES} structures")
    structures: list[tuple[str, str]] = []
    for member in members:
        pair = (key if key != "candidates" else "smiles", member)
        if isinstance(member, dict):
            inner = [k for k in ("smiles", "inchi", "molfile") if isinstance(member.get(k), str)]
            pair = (inner[0], member[inner[0]]) if len(inner) == 1 else ("", None)
        if not isinstance(pair[1], str):
            return Item(name, line.strip()[:200], (), "a structure is a text, or an object with one of smiles, inchi, molfile")
        structures.append((pair[0], pair[1]))
    return Item(name, " | ".join(text for _, text in structures), tuple(structures))


def _sdf_items(stream: IO[str]) -> Iterator[Item]:
    lines: list[str] = []
    size, too_long = 0, False
    for line, cut in _lines(stream):
        if line.startswith("$$$$"):
            yield _sdf_item(lines, too_long=too_long)
            lines, size, too_long = [], 0, False
            continue
        size += len(line)
        too_long = too_long or cut or size > MOST_CHARACTERS
        if not too_long:
            lines.append(line)
    if too_long or any(line.strip() for line in lines):
        yield _sdf_item(lines, too_long=too_long)


def _sdf_item(lines: list[str], *, too_long: bool) -> Item:
    end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
    title = lines[0].strip() if lines else ""
    if end is None:
        return Item(title or None, title, (), _TOO_LONG if too_long else "the record has no 'M  END'")
    block = "".join(lines[: end + 1])
    return Item(title or None, block, (("molfile", block),))
