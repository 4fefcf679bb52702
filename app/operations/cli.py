"""`nps backup`, `nps restore`, `nps erase`, `nps doctor`."""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import click

from app.operations.backup import BackupError, write_backup
from app.operations.copying import copy, standing_still
from app.operations.doctor import examine
from app.operations.restore import restore
from app.operations.rows import Tally
from app.persistence.session import Database
from app.settings import SECRET_FILE, Settings

Open = Callable[[], Database]
Configured = Callable[[], Settings]


def operator_commands(settings: Configured, database: Open) -> list[click.Command]:
    """The commands; `settings` and `database` are those of the installation."""

    @click.command("backup")
    @click.argument("file", type=click.Path(path_type=Path))
    def backup_command(file: Path) -> None:
        """Back up the whole running service into FILE, and read it again to prove it.

        The secret key is never in it, only its fingerprint: keep the key in another place.
        """
        try:
            manifest = write_backup(database(), file, secret=settings().secret(), now=datetime.now(UTC))
        except (BackupError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        rows = sum(table["rows"] for table in manifest.tables.values())
        click.echo(
            f"{file}: {rows} rows in {len(manifest.tables)} tables, {file.stat().st_size} bytes, read back and equal; "
            f"key fingerprint {manifest.key_fingerprint}"
        )

    @click.command("restore")
    @click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--rotate-secrets", is_flag=True, help="Restore under another secret key; endpoints are disabled.")
    def restore_command(file: Path, rotate_secrets: bool) -> None:
        """Restore FILE into an empty directory or database, proved against the hashes in it."""
        chosen = settings()
        target = Database(chosen.resolved_database_url)
        click.get_current_context().call_on_close(target.dispose)
        try:
            known = bool(chosen.secret_key) or (chosen.data_dir / SECRET_FILE).exists() or rotate_secrets
            secret = chosen.secret() if known else None
            done = restore(target, file, secret=secret, rotate=rotate_secrets, now=datetime.now(UTC))
        except (BackupError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        rows = sum(table["rows"] for table in done.manifest.tables.values())
        click.echo(f"restored {rows} rows of {done.manifest.made_at}; every table has the hash of the backup")
        if rotate_secrets:
            click.echo(f"{done.disabled} webhooks are disabled until their owners take a new secret")

    @click.command("erase")
    @click.argument("report")
    @click.option("--basis", required=True, help="The law or decision that the erasure rests on; it stays in the tombstone.")
    @click.option("--json", "as_json", is_flag=True)
    def erase_command(report: str, basis: str, as_json: bool) -> None:
        """Erase the content of REPORT (its id). Alerts that rest on it are updated or retracted, and their recipients hear."""
        from app.operations.erase import EraseError, erase

        try:
            with database().write() as session:
                done = erase(session, report, basis=basis, actor=f"cli:{getpass.getuser()}"[:40], now=datetime.now(UTC))
        except EraseError as error:
            raise click.ClickException(str(error)) from error
        if as_json:
            click.echo(json.dumps({"report": done.report_id, "sha256": done.versions, "alerts": done.alerts}))
            return
        click.echo(f"erased {done.report_id}; {len(done.alerts)} alerts follow")
        for value in done.versions:
            click.echo(f"tombstone sha256 {value}")

    @click.command("doctor")
    @click.option("--json", "as_json", is_flag=True)
    def doctor_command(as_json: bool) -> None:
        """Examine configuration, database, schedules, mail, clock, disk and keys. Exit 1 with the mend of what is wrong."""
        found = examine(settings(), now=datetime.now(UTC), schedules=failing_examples)
        if as_json:
            click.echo(json.dumps([{"what": f.what, "said": f.said, "mend": f.mend, "warning": f.warning} for f in found]))
        for finding in [] if as_json else found:
            mark = "ok  " if finding.mend is None else "warn" if finding.warning else "FAIL"
            click.echo(f"{mark}  {finding.what}: {finding.said}")
            if finding.mend is not None:
                click.echo(f"      mend: {finding.mend}")
        if any(finding.fails for finding in found):
            sys.exit(1)

    @click.group("db")
    def db_group() -> None:
        """Moving an installation to another database."""

    @db_group.command("copy")
    @click.option(
        "--to", "address", required=True, help="DATABASE_URL of an empty database, for example postgresql://user@host/name"
    )
    def copy_command(address: str) -> None:
        """Copy this installation into another, empty database, with counts and hashes compared.

        Stop the service first. Afterwards start it with DATABASE_URL set to the new address and the same NPS_SECRET_KEY.
        """
        chosen = settings()
        source = database()
        target = Database(Settings(DATABASE_URL=address).resolved_database_url)
        click.get_current_context().call_on_close(target.dispose)

        def said(table: str, tally: Tally) -> None:
            click.echo(f"{table}: {tally.rows:,} rows, sha256 {tally.sha256[:16]}, equal", err=True)

        try:
            with standing_still(source):
                rows = copy(source, target, said=said)
        except (BackupError, ValueError) as error:
            raise click.ClickException(str(error)) from error
        click.echo(f"copied {rows:,} rows; every table has the same count and hash on both sides")
        if chosen.embedded and not chosen.secret_key:
            click.echo(f"the new installation needs the same key: NPS_SECRET_KEY=base64:$(cat {chosen.data_dir / SECRET_FILE})")

    return [backup_command, restore_command, erase_command, doctor_command, db_group]


def failing_examples(as_of: date) -> list[str]:
    """Sentences about the rules of the shipped law whose examples do not hold."""
    from app.law.verify import verify
    from chem.engine import Engine

    return [failure for check in verify(Engine.load(), as_of) for failure in check.failures]
