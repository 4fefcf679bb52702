"""`nps metrics rules`."""

from __future__ import annotations

from pathlib import Path

import click

RULES = Path(__file__).with_name("alert-rules.yml")


@click.group("metrics")
def metrics_group() -> None:
    """What Prometheus needs to watch the service."""


@metrics_group.command("rules")
def rules_command() -> None:
    """Print the rules that warn when a service target is in danger."""
    click.echo(RULES.read_text(encoding="utf-8"), nl=False)
