"""`nps rollups`: the counts kept beside the detections, proved and made anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import click

from app.persistence.rollups import differences, rebuild
from app.persistence.session import Database

MOST_SHOWN = 100


def rollup_commands(database: Callable[[], Database]) -> click.Group:
    """The group of commands; `database` opens that of the installation."""

    @click.group("rollups")
    def rollups() -> None:
        """Monthly counts of detections."""

    @rollups.command("verify")
    def verify() -> None:
        """Prove that every count equals that of the detections themselves; exit status 1, naming the cells, where one differs."""
        found = list(islice(differences(database()), MOST_SHOWN + 1))
        for item in found[:MOST_SHOWN]:
            cell = ", ".join(f"{name}={value}" for name, value in item.cell.items() if value not in ("", None))
            click.echo(f"{item.table}: {cell}: kept {item.kept}, counted {item.counted}")
        if len(found) > MOST_SHOWN:
            click.echo("and more")
        if found:
            raise click.ClickException("the counts differ from the detections: nps rollups rebuild makes them anew")
        click.echo("every count equals that of the detections")

    @rollups.command("rebuild")
    def rebuild_command() -> None:
        """Count every detection anew. The service may run meanwhile."""
        for table, cells in rebuild(database()).items():
            click.echo(f"{table}: {cells} cells")

    return rollups
