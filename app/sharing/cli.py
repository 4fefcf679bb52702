"""`nps groups`: sharing groups."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import click

from app.persistence.session import Database
from app.sharing import groups
from app.sharing.groups import GroupError


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except GroupError as error:
        raise click.UsageError(str(error)) from error


def group_commands(database: Callable[[], Database]) -> click.Group:
    @click.group("groups")
    def commands() -> None:
        """Sharing groups: organisations that may be named as recipients of RED rows and of supply routes."""

    @commands.command("create")
    @click.option("--name", required=True)
    def create(name: str) -> None:
        """Make a group and print its id."""
        with _usage(), database().write() as session:
            click.echo(groups.create(session, name, datetime.now(UTC)).id)

    @commands.command("add")
    @click.argument("group")
    @click.option("--org", required=True)
    def add(group: str, org: str) -> None:
        """Put an organisation into GROUP."""
        with _usage(), database().write() as session:
            groups.add(session, group, org, datetime.now(UTC))
        click.echo(f"{org} is in {group}")

    @commands.command("remove")
    @click.argument("group")
    @click.option("--org", required=True)
    def remove(group: str, org: str) -> None:
        """Take an organisation out of GROUP: from now on it sees no more of the group's rows."""
        with _usage(), database().write() as session:
            groups.remove(session, group, org)
        click.echo(f"{org} is not in {group} any more")

    @commands.command("list")
    @click.option("--json", "as_json", is_flag=True)
    def list_(as_json: bool) -> None:
        """Every group with its members."""
        with database().read() as session:
            rows = [(group.id, group.name, org_id, org) for group, org_id, org in groups.every(session)]
        if as_json:
            click.echo(json.dumps([{"group": g, "name": n, "org": o, "org_name": name} for g, n, o, name in rows]))
        for group_id, name, _, org in [] if as_json else rows:
            click.echo(f"{group_id}  {name:<30}  {org or '(nobody)'}")

    return commands
