"""`nps audit`: prove the log, and give it to an inspector."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO

import click
from sqlalchemy import select

from app.audit.seals import entry_document
from app.audit.verify import Verification, verify
from app.persistence.models import AuditEntry, AuditSeal
from app.persistence.session import Database

Day = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M"])


def audit_commands(database: Callable[[], Database]) -> click.Group:
    """The group `audit`; `database` opens the installation's."""

    @click.group()
    def audit() -> None:
        """The audit log: who wrote what, and who read a case or an AMBER row."""

    @audit.command("verify")
    @click.option("--known", multiple=True, help="A seal's hash noted down earlier; it must still be in the chain.")
    @click.option("--json", "as_json", is_flag=True)
    def verify_command(known: tuple[str, ...], as_json: bool) -> None:
        """Check every seal. Exit 1 where an entry was changed, removed, inserted or reordered, naming each."""
        with database().read(patient=True) as session:
            found = verify(session, known=known)
        _print(found, as_json=as_json)
        if found.findings:
            sys.exit(1)

    @audit.command("export")
    @click.option("--since", type=Day)
    @click.option("--until", type=Day, help="First moment that is left out.")
    @click.option("--output", type=click.File("w", encoding="utf-8"), default="-", show_default=True)
    def export_command(since: datetime | None, until: datetime | None, output: IO[str]) -> None:
        """Entries and seals as JSON lines, oldest first. How the hashes are made stands in the first line."""
        output.write(json.dumps({"format": "nps-audit-1", "hashes": HASHES}) + "\n")
        with database().read(patient=True) as session:
            entries = select(AuditEntry).order_by(AuditEntry.at, AuditEntry.id).execution_options(yield_per=500)
            seals = select(AuditSeal).order_by(AuditSeal.seq).execution_options(yield_per=500)
            if since is not None:
                entries = entries.where(AuditEntry.at >= since.replace(tzinfo=UTC))
                seals = seals.where(AuditSeal.minute >= f"{since:%Y-%m-%dT%H:%M}")
            if until is not None:
                entries = entries.where(AuditEntry.at < until.replace(tzinfo=UTC))
                seals = seals.where(AuditSeal.minute < f"{until:%Y-%m-%dT%H:%M}")
            for entry in session.scalars(entries):
                output.write(json.dumps({"entry": entry_document(entry)}, ensure_ascii=False) + "\n")
            for seal in session.scalars(seals):
                output.write(json.dumps({"seal": _seal_document(seal)}) + "\n")

    return audit


HASHES = (
    "entry digest: SHA-256 of the entry as JSON with sorted names, no spaces, UTF-8; seal: SHA-256 of the lines previous, seq, "
    "minute and the digest of each entry by id, joined by a line feed; the first seal's previous is 64 zeros"
)


def _seal_document(seal: AuditSeal) -> dict[str, object]:
    return {
        "seq": seal.seq,
        "minute": seal.minute,
        "sealed_at": seal.sealed_at.astimezone(UTC).isoformat(timespec="microseconds"),
        "entries": [row[0] for row in seal.entries],
        "previous": seal.previous,
        "sha256": seal.sha256,
    }


def _print(found: Verification, *, as_json: bool) -> None:
    if as_json:
        document = {
            "seals": found.seals, "entries": found.entries, "unsealed": found.unsealed, "first_minute": found.first_minute,
            "last_minute": found.last_minute, "last_seal": found.last, "findings": found.findings,
        }  # fmt: skip
        click.echo(json.dumps(document))
        return
    for finding in found.findings:
        click.echo(finding, err=True)
    span = f", {found.first_minute} to {found.last_minute}" if found.seals else ""
    click.echo(
        f"{found.entries} entries under {found.seals} seals{span}; {found.unsealed} not sealed yet; "
        f"{'nothing was altered' if not found.findings else f'{len(found.findings)} findings'}"
    )
    click.echo(f"last seal {found.last}")
