"""`nps screen` and `nps normalise`: many structures from a file or standard input, one record each, nothing stored."""

from __future__ import annotations

import json
import os
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import click

from app.context import utc_now
from app.screening.inputs import FORMATS, Source, format_of, read_items
from app.settings import Settings

if TYPE_CHECKING:
    from app.screening.run import Outcome, Progress, ScreenOptions


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, allow_dash=True))
@click.option("--format", "file_format", type=click.Choice(FORMATS), help="Default: by the ending; smi from standard input.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The law of this day. Default: today.")
@click.option("--instruments", help="Comma list of instrument ids. Default: all.")
@click.option("--out", type=click.Choice(["ndjson", "csv", "xlsx"]), default="ndjson", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Default: standard output. With --dask a folder.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--analogues", type=click.IntRange(0, 50), default=3, show_default=True)
@click.option("--resume", "go_on", is_flag=True, help="Go on with a run into --output that was cut off. Not for xlsx.")
@click.option(
    "--certificate", type=click.Path(dir_okay=False, path_type=Path), help="Write a PDF on the run for the compliance file."
)
@click.option(
    "--dask", "address", help="Address of a Dask scheduler (tcp://host:8786): its workers screen FILE, also Parquet or a folder."
)
def screen(
    file: str,
    file_format: str | None,
    as_of: Any,
    instruments: str | None,
    out: str,
    output: Path | None,
    workers: int,
    analogues: int,
    go_on: bool,
    certificate: Path | None,
    address: str | None,
) -> None:
    """Legal status of many structures. One record an input, in input order; nothing is stored.

    The last line on standard error holds the coverage. Exit status 0, or 1 where some records are errors, 2 for wrong usage.
    While a run into a file is under way, a file beside it (OUTPUT.resume) holds hashes and counts, so that --resume can go on.

    With --dask the workers of a cluster do the work, --output is a folder of Parquet parts with a manifest, and --resume screens
    what is missing there. The cluster needs this version with its extra `cluster` on every worker; switch off its spilling to
    disk (distributed.worker.memory.spill: false), so that nothing of the catalogue is written there.
    """
    from app.law.loaded import loaded_here
    from app.screening.resume import ResumeError, load
    from app.screening.run import Progress, ScreenOptions, run_screen
    from app.screening.writers import RESUMABLE

    if address is not None:
        chosen_day: date | None = as_of.date() if as_of else None
        _on_cluster(address, file, file_format, chosen_day, _ids(instruments), out, output, analogues, go_on, certificate)
        return
    if Path(file).is_dir() or (output is not None and output.is_dir()):
        raise click.UsageError("a folder needs --dask")

    if go_on and (output is None or out not in RESUMABLE):
        raise click.UsageError(f"--resume needs --output, and --out {' or '.join(RESUMABLE)}")
    if output is not None and file != "-" and output.exists() and os.path.samefile(file, output):
        raise click.UsageError("--output is the input file")
    day: date = as_of.date() if as_of else utc_now().date()
    try:
        if go_on and not as_of and output is not None:
            day = date.fromisoformat(load(output).settings["as_of"])  # a run that began yesterday keeps its law
        chosen = _ids(instruments)
        options = ScreenOptions(
            as_of=day, instruments=chosen, analogues=analogues, workers=workers, out=out, output=output,
            file_format=format_of(file, file_format), resume=go_on,
            editions=loaded_here(Settings()),
        )  # fmt: skip
        with click.open_file(file, "rb") as stream:
            source = Source(cast(BinaryIO, stream), options.file_format)
            shows = sys.stderr.isatty() and not (output is None and sys.stdout.isatty())
            progress = Progress(source, os.path.getsize(file) if file != "-" else None) if shows else None
            outcome = run_screen(source, options, progress=progress or (lambda records: None))
    except (ValueError, ResumeError) as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        again = "; the same command with --resume goes on" if output is not None and out in RESUMABLE else ""
        click.echo(f"\nInterrupted{again}.", err=True)
        sys.exit(130)
    _end(options, outcome, progress, certificate, file)


def _ids(text: str | None) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else None


def _on_cluster(
    address: str,
    file: str,
    file_format: str | None,
    as_of: date | None,
    instruments: tuple[str, ...] | None,
    out: str,
    output: Path | None,
    analogues: int,
    go_on: bool,
    certificate: Path | None,
) -> None:
    """`nps screen --dask`."""
    from app.law.loaded import loaded_here
    from app.screening.catalogue import Catalogue, CatalogueError
    from app.screening.run import Progress, ScreenOptions

    try:
        from app.screening.cluster import ClusterError, day_of, run_on_cluster
    except ImportError as error:
        raise click.UsageError(f"--dask needs the extra: pip install 'nps-early-warning[cluster]' ({error})") from error
    if file == "-" or output is None or out != "ndjson":
        raise click.UsageError("--dask reads a file or folder and needs --output, a folder for Parquet; leave --out out")
    try:
        day = as_of or (day_of(output) if go_on else None) or utc_now().date()
        options = ScreenOptions(
            as_of=day, instruments=instruments, analogues=analogues, workers=0, out="parquet", output=output,
            file_format=file_format or "", resume=go_on, editions=loaded_here(Settings()),
        )  # fmt: skip
        catalogue = Catalogue(Path(file), file_format)
        progress = Progress(catalogue, catalogue.size) if sys.stderr.isatty() else None
        outcome = run_on_cluster(catalogue, options, address, progress=progress or (lambda records: None))
    except (ValueError, ClusterError, CatalogueError) as error:
        raise click.UsageError(str(error)) from error
    except KeyboardInterrupt:
        click.echo("\nInterrupted; the same command with --resume goes on.", err=True)
        sys.exit(130)
    _end(options, outcome, progress, certificate, file)


def _end(options: ScreenOptions, outcome: Outcome, progress: Progress | None, certificate: Path | None, file: str) -> None:
    """What every screen ends with: the certificate, the coverage as the last line, and the exit status."""
    if progress is not None:
        progress.end(outcome)
    if certificate is not None:
        certificate.write_bytes(_certificate(options, outcome, file))
    click.echo(json.dumps({"coverage": outcome.coverage}, ensure_ascii=False), err=True)
    if outcome.errors:
        sys.exit(1)


def _certificate(options: ScreenOptions, outcome: Outcome, file: str) -> bytes:
    from app.screening.certificate import Run, certificate

    return certificate(
        Run(
            made_at=utc_now(),
            as_of=outcome.as_of,
            engine_version=outcome.engine_version,
            instruments=options.instruments,
            counts=outcome.counts,
            coverage=outcome.coverage,
            input_sha256=outcome.input_sha256,
            output_sha256=outcome.output_sha256,
            what_input=Path(file).name if file != "-" else "standard input",
            what_output=options.output.name if options.output is not None else f"standard output ({options.out})",
        )
    )


@click.command()
@click.argument("file", default="-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--format", "file_format", type=click.Choice(FORMATS))
def normalise(file: str, file_format: str | None) -> None:
    """Identity layers of many structures, one JSON line each; nothing is stored."""
    from app.screening.run import identity_record
    from chem.engine import Engine

    engine = Engine.load()
    errors = 0
    form = format_of(file, file_format)
    with click.open_file(file, "r", encoding="utf-8-sig", errors="replace") as stream:
        for index, item in enumerate(read_items(stream, form)):
            found = identity_record(engine, index, item)
            errors += found["status"] == "error"
            click.echo(json.dumps(found, ensure_ascii=False))
    if errors:
        sys.exit(1)
