"""Inputs of a screen, read one by one from a stream: a line that cannot be read is an item with an error, never the end."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import click

FORMATS = ("smi", "csv", "sdf", "ndjson")


@dataclass(frozen=True, slots=True)
class Item:
    """One input: its name, the text shown in the record, and what to read it as; or why it cannot be read."""

    name: str | None
    shown: str
    structures: tuple[tuple[str, str], ...]
    error: str | None = None


def format_of(file: str, given: str | None) -> str:
    if given:
        return given
    endings = {
        ".smi": "smi",
        ".smiles": "smi",
        ".txt": "smi",
        ".csv": "csv",
        ".sdf": "sdf",
        ".ndjson": "ndjson",
        ".jsonl": "ndjson",
    }
    return endings.get(Path(file).suffix.lower(), "smi")


def read_items(stream: IO[Any], file_format: str) -> Iterator[Item]:
    """The inputs in order. A line that cannot be read is an item with an error, never the end."""
    match file_format:
        case "smi":
            for line in stream:
                if line.strip():
                    parts = line.strip().split(None, 1)
                    yield Item(parts[1].strip() if len(parts) > 1 else None, parts[0], (("smiles", parts[0]),))
        case "csv":
            yield from _csv_items(stream)
        case "ndjson":
            for line in stream:
                if line.strip():
                    yield _ndjson_item(line)
        case _:
            yield from _sdf_items(stream)


def _csv_items(stream: IO[Any]) -> Iterator[Item]:
    reader = csv.DictReader(stream)
    lower = {name.lower().strip(): name for name in reader.fieldnames or ()}
    column = next(((form, lower[form]) for form in ("smiles", "inchi", "molfile") if form in lower), None)
    if column is None:
        raise click.ClickException("the CSV needs a column smiles, inchi or molfile")
    form, field = column
    name = lower.get("name") or lower.get("id")
    for row in reader:
        text = row.get(field) or ""
        yield Item((row.get(name) if name else None) or None, text, ((form, text),))


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
    if not isinstance(members, list) or not members or len(members) > 32:
        return Item(name, line.strip()[:200], (), "candidates is a list of 1 to 32 structures")
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


def _sdf_items(stream: IO[Any]) -> Iterator[Item]:
    lines: list[str] = []
    for line in stream:
        if line.startswith("$$$$"):
            yield _sdf_item(lines)
            lines = []
        else:
            lines.append(line)
    if any(line.strip() for line in lines):
        yield _sdf_item(lines)


def _sdf_item(lines: list[str]) -> Item:
    end = next((i for i, line in enumerate(lines) if line.startswith("M  END")), None)
    title = lines[0].strip() if lines else ""
    if end is None:
        return Item(title or None, title, (), "the record has no 'M  END'")
    block = "".join(lines[: end + 1])
    return Item(title or None, block, (("molfile", block),))
