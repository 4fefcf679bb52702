"""Restoring a backup into an empty database, proved against the hashes in its manifest before anything is committed."""

from __future__ import annotations

import secrets
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from app.installation import set_state
from app.operations.backup import BackupError, Manifest, check_file, member
from app.operations.keys import fingerprint
from app.operations.rows import FETCH, from_line, tables, tally_of
from app.persistence import migrations
from app.persistence.models import Organisation, Report, Subscription
from app.persistence.rollups import fold
from app.persistence.session import Database

GENERATION = "feed_generation"
MADE_AT_START = frozenset({"service_state", "schedule_edition"})  # a start of the service on an empty database fills these


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What came of it. `disabled`: endpoints that need a new secret from their owners."""

    manifest: Manifest
    disabled: int


def check_key(manifest: Manifest, secret: bytes | None, *, rotate: bool) -> None:
    """Raises BackupError where the secrets in the backup would not open and nobody asked for new ones. None: no key yet."""
    if rotate or (secret is not None and fingerprint(secret) == manifest.key_fingerprint):
        return
    here = "there is none here" if secret is None else f"the one here has {fingerprint(secret)}"
    raise BackupError(
        f"the backup was made under the secret key with fingerprint {manifest.key_fingerprint}; {here}. Set that key "
        "(NPS_SECRET_KEY, or its file beside the embedded database), or use --rotate-secrets, which disables every endpoint "
        "until its owner takes a new secret"
    )


def restore(database: Database, path: Path, *, secret: bytes | None, rotate: bool, now: datetime) -> Restored:
    """Fill an empty database. One transaction: all of it with the hashes of the manifest, or nothing.

    Raises BackupError: not a backup, damaged, another secret key, a database with rows in it, a newer version's backup.
    """
    manifest = check_file(path)
    check_key(manifest, secret, rotate=rotate)
    migrations.upgrade(database.engine)
    check_empty(database)
    unknown = sorted(set(manifest.tables) - {table.name for table in tables()})
    if unknown:
        raise BackupError(f"the backup has tables that this version does not know ({', '.join(unknown)}): use its version")
    with zipfile.ZipFile(path) as archive, database.engine.begin() as connection:
        if database.is_sqlite:
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for table in tables():
            if table.name in MADE_AT_START:
                connection.execute(delete(table))
            if table.name in manifest.tables:
                with archive.open(member(table.name)) as lines:
                    load_rows(connection, table, (from_line(table, line.decode()) for line in lines))
        _prove(connection, manifest)
        fold(connection)
    return Restored(manifest=manifest, disabled=_settle(database, rotate=rotate, now=now))


def check_empty(database: Database) -> None:
    """Raises BackupError where the database holds organisations or reports."""
    with database.read() as session:
        for model in (Organisation, Report):
            if session.scalar(select(func.count()).select_from(model)):
                raise BackupError("the database is not empty; restore into an empty directory or database")


def load_rows(connection: Connection, table: Table, rows: Iterator[dict[str, Any]]) -> None:
    """Insert the rows. A column that points into its own table is filled in once all rows are there."""
    own = [key.parent.name for key in table.foreign_keys if key.column.table is table]
    later: list[dict[str, Any]] = []
    for batch in _batches(rows):
        for row in batch:
            held = {name: row[name] for name in own if row.get(name) is not None}
            if held:
                later.append({**held, **{f"key_{c.name}": row[c.name] for c in table.primary_key.columns}})
                row.update(dict.fromkeys(held))
        connection.execute(insert(table), batch)
    for held in later:
        keys = {name: value for name, value in held.items() if name.startswith("key_")}
        values = {name: value for name, value in held.items() if name not in keys}
        where = [column == keys[f"key_{column.name}"] for column in table.primary_key.columns]
        connection.execute(update(table).where(*where).values(**values))


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while batch := list(islice(rows, FETCH)):
        yield batch


def _prove(connection: Connection, manifest: Manifest) -> None:
    for table in tables():
        expected = manifest.tables.get(table.name)
        if expected is None:
            continue
        tally = tally_of(connection, table)
        if (tally.rows, tally.sha256) != (expected["rows"], expected["sha256"]):
            raise BackupError(
                f"table {table.name} has {tally.rows} rows with another hash than the manifest's {expected['rows']}; "
                "nothing was restored"
            )


def _settle(database: Database, *, rotate: bool, now: datetime) -> int:
    """Tell readers of the feed to begin again, and shut endpoints whose secrets do not open any more; their number."""
    with database.write() as session:
        set_state(session, GENERATION, {"id": secrets.token_hex(8), "restored_at": now.isoformat(timespec="seconds")})
        if not rotate:
            return 0
        disabled = 0
        for row in session.scalars(select(Subscription).where(Subscription.deleted_at.is_(None))):
            row.secrets = []
            if row.channel == "webhook":
                row.state = "disabled"
                row.nonce = None
                row.last_error = "restored under another secret key: take a new secret, then enable"
                disabled += 1
        return disabled
