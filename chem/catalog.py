"""Strict reading of shipped and loaded data files.

A missing rule looks exactly like a clean result, so nothing is skipped: an unknown column or key, an empty
source, a structure that cannot be read or a broken date stops the load with file, row and reason.
"""

from __future__ import annotations

import csv
import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from rdkit.Chem.rdchem import Mol

from chem.errors import DataError
from chem.parsing import read_smarts, read_smiles

DATA = Path(__file__).parent / "data"


def read_csv(path: Path, columns: Iterable[str]) -> list[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with their line number (the header is row 1). The columns must be exactly those
    named.

    Raises: DataError.
    """
    wanted = list(columns)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path.name, 0, f"cannot be read: {error}") from error
    reader = csv.DictReader(text.splitlines(), strict=True)
    header = list(reader.fieldnames or [])
    unknown = [name for name in header if name not in wanted]
    missing = [name for name in wanted if name not in header]
    if unknown or missing or len(set(header)) != len(header):
        raise DataError(path.name, 1, f"columns: unknown {unknown}, missing {missing}")
    rows = []
    try:
        for row in reader:
            number = reader.line_num
            if None in row or any(value is None for value in row.values()):
                raise DataError(path.name, number, "the number of fields is not that of the header")
            rows.append((number, {key: value.strip() for key, value in row.items()}))
    except csv.Error as error:
        raise DataError(path.name, reader.line_num, str(error)) from error
    return rows


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dictionary. Raises: DataError."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(path.name, 0, f"cannot be read: {error}") from error


def check_keys(
    file: str, row: int | str, table: Mapping[str, Any], required: Iterable[str], optional: Iterable[str] = ()
) -> None:
    """Refuses unknown and missing keys of a TOML table. Raises: DataError."""
    need, may = set(required), set(optional)
    unknown = sorted(set(table) - need - may)
    missing = sorted(need - set(table))
    if unknown:
        raise DataError(file, row, f"unknown keys: {', '.join(unknown)}")
    if missing:
        raise DataError(file, row, f"missing keys: {', '.join(missing)}")


def text_of(file: str, row: int | str, table: Mapping[str, Any], key: str) -> str:
    """A non-empty text of a table. Raises: DataError."""
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(file, row, f"{key} must be a text that is not empty")
    return value.strip()


def date_of(file: str, row: int | str, value: Any, key: str) -> date | None:
    """An ISO date or TOML date, None for an empty value. Raises: DataError."""
    if value is None or value == "":
        return None
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError as error:
        raise DataError(file, row, f"{key}: {value!r} is no date (YYYY-MM-DD)") from error


def structure_of(file: str, row: int | str, smiles: str) -> Mol:
    """The molecule of a shipped SMILES. Raises: DataError."""
    mol = read_smiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise DataError(file, row, f"structure cannot be read: {smiles!r}")
    return mol


def query_of(file: str, row: int | str, smarts: str) -> Mol:
    """The query of a shipped SMARTS. Raises: DataError."""
    query = read_smarts(smarts)
    if query is None:
        raise DataError(file, row, f"SMARTS does not compile: {smarts!r}")
    return query


def digest(paths: Iterable[Path]) -> str:
    """Eight hex digits over names and contents of files: a version that changes when a shipped fact does."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(path.name.encode())
        total.update(path.read_bytes())
    return total.hexdigest()[:8]
