"""`nps send`: reports to a service over the network, one JSON object a line; what the client makes easy."""

from __future__ import annotations

import json
import sys
from typing import IO, Any

import click

from app.client.clients import Client
from app.client.errors import ProblemError, ServiceUnreachable


@click.command("send")
@click.argument("file", type=click.File("r", encoding="utf-8"), default="-")
@click.option("--url", required=True, envvar="NPS_URL", help="The service's address, for example https://nps.example.")
@click.option("--key", required=True, envvar="NPS_KEY", help="A laboratory's key; better as NPS_KEY than on the command line.")
@click.option("--dry-run", is_flag=True, help="Ask what each would mean; nothing is stored.")
def send(file: IO[str], url: str, key: str, dry_run: bool) -> None:
    """Send reports, one a line, to a service; prints one answer a line, in order.

    Each line's Idempotency-Key is its lab_reference, so that the same file can be sent again after a broken connection.
    """
    failed = False
    with Client(url, key=key) as client:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            answer: dict[str, Any]
            try:
                report = json.loads(line)
                reference = report.get("lab_reference") if isinstance(report, dict) else None
                answer = client.send_report(report, key=str(reference) if reference else None, dry_run=dry_run)
            except ValueError as error:
                answer, failed = {"error": {"line": number, "detail": f"the line is not JSON: {error}"}}, True
            except ProblemError as problem:
                answer, failed = {"error": {"line": number, "status": problem.status, **problem.document}}, True
            except ServiceUnreachable as error:
                raise click.ClickException(f"line {number}: {error}; send the file again") from error
            click.echo(json.dumps(answer, ensure_ascii=False))
    if failed:
        sys.exit(1)
