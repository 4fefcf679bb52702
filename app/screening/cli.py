"""`nps screen` and `nps normalise`: many structures from a file or standard input, one record each, nothing stored."""

from __future__ import annotations

import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import click

from app.context import utc_now
from app.screening.inputs import FORMATS, format_of, read_items


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="Default: by the ending; smi from standard input.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The law of this day. Default: today.")
@click.option("--instruments", help="Comma list of instrument ids. Default: all.")
@click.option("--out", type=click.Choice(["ndjson", "csv", "xlsx"]), default="ndjson", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: standard output.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--analogues", type=click.IntRange(0, 50), default=3, show_default=True)
def screen(
    file: str,
    file_format: str | None,
    as_of: Any,
    instruments: str | None,
    out: str,
    output: Path | None,
    workers: int,
    analogues: int,
) -> None:
    """Legal status of many structures. One record an input, in input order; nothing is stored."""
    from app.screening.run import ScreenOptions, run_screen

    day: date = as_of.date() if as_of else utc_now().date()
    chosen = tuple(part.strip() for part in instruments.split(",") if part.strip()) if instruments else None
    options = ScreenOptions(as_of=day, instruments=chosen, analogues=analogues, workers=workers, out=out, output=output)
    form = format_of(file, file_format)
    with click.open_file(file, "r", encoding="utf-8", errors="replace") as stream:
        try:
            errors = run_screen(read_items(stream, form), options)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    if errors:
        sys.exit(1)


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--format", "file_format", type=click.Choice(FORMATS))
def normalise(file: str, file_format: str | None) -> None:
    """Identity layers of many structures, one JSON line each; nothing is stored."""
    from app.screening.run import identity_record
    from chem.engine import Engine

    engine = Engine.load()
    errors = 0
    with click.open_file(file, "r", encoding="utf-8", errors="replace") as stream:
        for index, item in enumerate(read_items(stream, format_of(file, file_format))):
            found = identity_record(engine, index, item)
            errors += found["status"] == "error"
            click.echo(json.dumps(found, ensure_ascii=False))
    if errors:
        sys.exit(1)
