"""A catalogue of one or many files: text formats and Parquet, read one after the other without holding it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from app.screening.inputs import FORMATS, Item, Source, format_of

FORMS = ("smiles", "inchi", "molfile")
PARQUET = (".parquet", ".pq")
ENDINGS = (*PARQUET, ".smi", ".smiles", ".txt", ".csv", ".tsv", ".sdf", ".sd", ".ndjson", ".jsonl")
BATCH = 2_000


class CatalogueError(Exception):
    """The catalogue cannot be read; the message names the file and the mend."""


class Catalogue:
    """The files of a catalogue in the order of their names."""

    def __init__(self, path: Path, file_format: str | None = None) -> None:
        """Raises CatalogueError where a folder holds nothing that can be read."""
        self._paths = sorted(p for p in path.iterdir() if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not self._paths:
            raise CatalogueError(f"{path.name} holds no file that ends in {', '.join(ENDINGS)}")
        if file_format is not None and file_format not in FORMATS:
            raise CatalogueError(f"{file_format!r} is none of {', '.join(FORMATS)}")
        self._format = file_format
        self._digest = hashlib.sha256()
        self._read = 0
        self._open: Source | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._paths)

    @property
    def bytes_read(self) -> int:
        return self._read + (self._open.bytes_read if self._open is not None else 0)

    @property
    def sha256(self) -> str:
        """Over the items read so far, in hexadecimal: the same whatever files they came in."""
        return self._digest.hexdigest()

    def items(self) -> Iterator[Item]:
        """Every input. Raises CatalogueError for a file without a column of structures."""
        for path in self._paths:
            found = _parquet_items(path) if path.suffix.lower() in PARQUET else self._text_items(path)
            for item in found:
                item.digest_into(self._digest)
                yield item
            self._open = None
            self._read += path.stat().st_size

    def _text_items(self, path: Path) -> Iterator[Item]:
        with path.open("rb") as file:
            self._open = Source(cast(BinaryIO, file), format_of(str(path), self._format))
            yield from self._open.items()


def _parquet_items(path: Path) -> Iterator[Item]:
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = {name.lower(): name for name in file.schema_arrow.names}
            form = next((form for form in FORMS if form in names), None)
            if form is None:
                raise CatalogueError(f"{path.name} needs a column smiles, inchi or molfile")
            label = next((names[known] for known in ("name", "id") if known in names), None)
            columns = [names[form], *([label] if label else [])]
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                texts: list[Any] = batch.column(names[form]).to_pylist()
                labels: list[Any] = batch.column(label).to_pylist() if label else [None] * len(texts)
                for text, name in zip(texts, labels, strict=True):
                    shown = "" if text is None else str(text)
                    yield Item(None if name in (None, "") else str(name), shown, ((form, shown),))
    except (ArrowException, OSError) as error:
        raise CatalogueError(f"{path.name} cannot be read as Parquet: {error}") from error
