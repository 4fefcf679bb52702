"""Moving an installation from one database to another, mostly from the embedded SQLite to PostgreSQL.

Every table goes over in one transaction of the target, and is counted and hashed on both sides before anything is committed. The
source must stand still: what it took in after the copy began would be missing there.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import delete

from app.operations.backup import BackupError, snapshot
from app.operations.restore import MADE_AT_START, check_empty, load_rows
from app.operations.rows import Tally, from_line, lines_of, tables, tally_of
from app.persistence import migrations
from app.persistence.rollups import fold
from app.persistence.session import Database


def copy(source: Database, target: Database, *, said: Callable[[str, Tally], None] = lambda table, tally: None) -> int:
    """Fill an empty target from the source; the number of rows. `said` is told each table with its rows and hash.

    Sign-ins are left out, as in a backup: everybody signs in again. The secret key is not in a database: the new installation
    needs the same one. Raises BackupError: the target has rows, the source is not at the newest migration, or a table differs.
    """
    if migrations.current(source.engine) != migrations.head():
        raise BackupError("the source is not at the newest migration. Run: nps migrate")
    migrations.upgrade(target.engine)
    check_empty(target)
    rows = 0
    with snapshot(source) as old, target.engine.begin() as new:
        if target.is_sqlite:
            new.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        sent = {}
        for table in tables():
            if table.name in MADE_AT_START:
                new.execute(delete(table))
            tally = sent[table.name] = Tally()
            load_rows(new, table, (from_line(table, line) for line in _counted(lines_of(old, table), tally)))
            rows += tally.rows
        for table in tables():
            arrived, tally = tally_of(new, table), sent[table.name]
            if (arrived.rows, arrived.sha256) != (tally.rows, tally.sha256):
                raise BackupError(
                    f"table {table.name} has {arrived.rows} rows in the target and {tally.rows} in the source, "
                    "or they differ; nothing was copied"
                )
            said(table.name, arrived)
        fold(new)
    return rows


def _counted(lines: Iterator[str], tally: Tally) -> Iterator[str]:
    for line in lines:
        tally.add(line)
        yield line


@contextmanager
def standing_still(database: Database) -> Iterator[None]:
    """Keep an embedded database from being written to meanwhile. Raises BackupError where a service works on it.

    On PostgreSQL there is no such lock: its operator stops the processes first.
    """
    if database.worker_lock is None:
        yield
        return
    with database.worker_lock.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BackupError("a service works on this directory; stop it first, or what it takes in is missing") from error
        with database.engine.execution_options(nps_write=True).connect() as held:
            held.begin()  # BEGIN IMMEDIATE: who serves without a worker is refused too, with 503
            yield
            held.rollback()
