"""A backup of the whole running service in one file: every table as it stood at one moment, counted and hashed.

The file is a ZIP archive of `tables/<name>.ndjson` and `manifest.json`. It never holds the secret key, only its fingerprint;
webhook secrets in it are encrypted under that key. It is logical: what was SQLite can be restored to PostgreSQL and back.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from app.operations.keys import fingerprint
from app.operations.rows import Tally, lines_of, tables
from app.persistence import migrations
from app.persistence.session import Database

FORMAT = "nps-backup-1"
MANIFEST = "manifest.json"


class BackupError(Exception):
    """The file cannot be written, read or restored; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup says of itself. `tables`: {name: {"rows": n, "sha256": hash of its lines}}."""

    made_at: str
    version: str
    revision: str
    database: str
    key_fingerprint: str
    tables: dict[str, dict[str, Any]]

    def document(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "made_at": self.made_at,
            "version": self.version,
            "revision": self.revision,
            "database": self.database,
            "key_fingerprint": self.key_fingerprint,
            "tables": self.tables,
        }


def member(table: str) -> str:
    return f"tables/{table}.ndjson"


@contextmanager
def snapshot(database: Database) -> Iterator[Connection]:
    """A connection that sees the database as it stands now, whatever is written meanwhile, and blocks no writer.

    It may stand still between two questions, as while what was copied is counted on the other side.
    """
    with database.engine.connect() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")  # the first read fixes the snapshot of WAL
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection
        connection.rollback()


def write_backup(database: Database, path: Path, *, secret: bytes, now: datetime) -> Manifest:
    """Write the backup and read it again to prove it; the manifest. The file appears whole or not at all, readable by its owner.

    Raises BackupError where the file exists, or where what was read back differs.
    """
    if path.exists():
        raise BackupError(f"{path} exists; a backup overwrites nothing")
    part = path.with_name(path.name + ".part")
    found: dict[str, dict[str, Any]] = {}
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BackupError(f"{part} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            with snapshot(database) as connection, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
                for table in tables():
                    tally = Tally()
                    with archive.open(member(table.name), "w", force_zip64=True) as out:
                        for line in lines_of(connection, table):
                            out.write(tally.add(line))
                    found[table.name] = {"rows": tally.rows, "sha256": tally.sha256}
                manifest = Manifest(
                    made_at=now.isoformat(timespec="seconds"),
                    version=version("nps-early-warning"),
                    revision=migrations.current(database.engine) or "",
                    database=database.engine.dialect.name,
                    key_fingerprint=fingerprint(secret),
                    tables=found,
                )
                archive.writestr(MANIFEST, json.dumps(manifest.document(), indent=1))
            file.flush()
            os.fsync(file.fileno())
        check_file(part)
        part.rename(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return manifest


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """Raises BackupError where the archive is no backup of this kind."""
    try:
        document = json.loads(archive.read(MANIFEST))
    except (KeyError, ValueError) as error:
        raise BackupError("the file holds no readable manifest: it is not a backup of this service, or is cut short") from error
    if document.get("format") != FORMAT:
        raise BackupError(f"the file is of format {document.get('format')!r}; this version reads {FORMAT}")
    return Manifest(**{name: document[name] for name in document if name != "format"})


def check_file(path: Path) -> Manifest:
    """Read the whole file and compare every table with the manifest. Raises BackupError naming what differs."""
    try:
        with zipfile.ZipFile(path) as archive:
            manifest = read_manifest(archive)
            for name, expected in manifest.tables.items():
                tally = Tally()
                with archive.open(member(name)) as lines:
                    for line in lines:
                        tally.add(line.decode().removesuffix("\n"))
                if (tally.rows, tally.sha256) != (expected["rows"], expected["sha256"]):
                    raise BackupError(f"table {name} in {path.name} is not what the manifest says: the file was altered")
    except (zipfile.BadZipFile, OSError, KeyError) as error:
        raise BackupError(f"{path} cannot be read as a backup: {error}") from error
    return manifest
