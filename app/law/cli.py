"""`nps schedules list|show|diff|load|verify` and `nps rescreen`."""

from __future__ import annotations

import json
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from app.context import AppContext, utc_now
from app.settings import Settings

if TYPE_CHECKING:
    from app.law.loaded import Difference
    from app.law.rescreen import Progress
    from chem.engine import Engine


def _engine() -> Engine:
    """The shipped law with the editions of the configured database, where there is one."""
    from app.law.loaded import loaded_here
    from chem.engine import Engine

    try:
        return Engine.load(editions=loaded_here(Settings()))
    except ValueError as error:
        raise click.ClickException(str(error)) from error


def _context() -> AppContext:
    from app.main import NotMigrated, build_context
    from app.persistence.session import DurabilityError
    from chem.errors import ChemError

    try:
        return build_context(Settings(), chemistry_workers=0)
    except (NotMigrated, DurabilityError, ChemError) as error:
        raise click.ClickException(str(error)) from error


@click.group()
def schedules() -> None:
    """Editions of the instruments."""


@schedules.command("list")
@click.option("--json", "as_json", is_flag=True)
def schedules_list(as_json: bool) -> None:
    """Every instrument with its editions and how its texts were verified."""
    from chem.values import to_json

    infos = _engine().instruments()
    if as_json:
        click.echo(json.dumps(to_json(infos)))
    for info in () if as_json else infos:
        states = ", ".join(f"{count} {state}" for state, count in info.entries_by_text_status.items() if count)
        click.echo(
            f"{info.id:<8}  {info.entries} entries ({info.entries_with_structure} with a structure), {len(info.rules)} rules; "
            f"{states or 'none listed'}; newest edition {info.editions[-1].id}"
        )


@schedules.command("show")
@click.argument("instrument")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--json", "as_json", is_flag=True)
def schedules_show(instrument: str, as_of: Any, as_json: bool) -> None:
    """The entries of an instrument on a date."""
    from chem.values import to_json

    engine = _engine()
    if instrument not in {info.id for info in engine.instruments()}:
        raise click.UsageError(f"there is no instrument {instrument!r}; `nps schedules list` shows them")
    day: date = as_of.date() if as_of else utc_now().date()
    entries = engine.entries(instrument, as_of=day)
    if as_json:
        click.echo(json.dumps(to_json(entries)))
    for entry in () if as_json else entries:
        click.echo(f"{entry.schedule:<9}  {entry.name}  [{entry.text_status}]")


@schedules.command("verify")
@click.option("--json", "as_json", is_flag=True)
def schedules_verify(as_json: bool) -> None:
    """Entries, rules and how sure their texts are; runs every example of every rule. Exit 1 where one does not hold."""
    from app.law.verify import verify
    from chem.values import to_json

    checks = verify(_engine(), utc_now().date())
    if as_json:
        click.echo(json.dumps(to_json(checks)))
    for check in () if as_json else checks:
        states = ", ".join(f"{count} {state}" for state, count in sorted(check.text_status.items()) if count)
        click.echo(
            f"{check.instrument:<8}  {check.entries} entries ({check.entries_with_structure} with a structure), "
            f"{check.rules} class rules; {states}; {check.examples} examples, {len(check.failures)} failed"
        )
        for text in check.not_coded:
            click.echo(f"          not coded: {text}")
        for failure in check.failures:
            click.echo(f"          FAILED {failure}")
    if any(check.failures for check in checks):
        sys.exit(1)


def _document(file: Path) -> Any:
    """The document of a TOML or JSON file."""
    try:
        text = file.read_text(encoding="utf-8")
        return tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError) as error:
        raise click.ClickException(f"{file.name} cannot be read: {error}") from error


def _print(found: Difference) -> None:
    click.echo(f"{found.instrument}, edition {found.edition}, compared on {found.as_of}")
    for sign, names in (
        ("+", found.added), ("-", found.ended), ("+ rule", found.rules_added), ("- rule", found.rules_ended),
        ("+ not coded:", found.not_coded_added), ("- not coded:", found.not_coded_removed),
    ):  # fmt: skip
        for name in names:
            click.echo(f"{sign} {name}")
    click.echo(f"{found.substances_changed} of {found.substances_matched} stored substances change:")
    for change in found.substances:
        click.echo(f"  {change.name} ({change.id}): {change.old} -> {change.new}")
        for line in change.old_matches:
            click.echo(f"    - {line}")
        for line in change.new_matches:
            click.echo(f"    + {line}")
    if found.substances_changed > len(found.substances):
        click.echo(f"  and {found.substances_changed - len(found.substances)} more")


@schedules.command("diff")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def schedules_diff(file: Path, as_json: bool) -> None:
    """What an edition (TOML or JSON) would change, stored substances included. Nothing is stored."""
    from app.law.loaded import EditionError, difference, prepare

    context = _context()
    try:
        with context.database.read() as session:
            prepared = prepare(session, _document(file))
            found = difference(session, context.chemistry.engine, prepared, today=context.now().date(), visible=None)
    except EditionError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(found.document(), ensure_ascii=False))
    else:
        _print(found)


@schedules.command("impact")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True)
def schedules_impact(file: Path, as_json: bool) -> None:
    """What the rules of a draft edition (TOML or JSON) would catch: approved medicines, named and stored substances.

    Nothing is stored. Exit status 1 where an approved medicine is caught.
    """
    from app.law.impact import checked, impact, stored_in
    from app.law.loaded import EditionError

    context = _context()
    try:
        with context.database.read() as session:
            prepared, stored = checked(session, _document(file)), stored_in(session)
    except EditionError as error:
        raise click.ClickException(str(error)) from error
    shown = 0
    with click.progressbar(length=1, label="Asking", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def told(done: int, total: int) -> None:
            nonlocal shown
            bar.length = total
            bar.update(done - shown)
            shown = done

        found = impact(stored, context.chemistry.engine, prepared, told)
    if as_json:
        click.echo(json.dumps(found.document(), ensure_ascii=False))
    else:
        click.echo(f"{found.instrument}, {found.edition}: {', '.join(found.rules)}, law of {found.as_of}")
        for part in found.sets:
            click.echo(f"{part.title}: {part.caught} caught of {part.asked} ({part.unreadable} unreadable)")
            for hit in part.listed:
                verb = "caught" if hit.captured else f"met, but named elsewhere ({hit.elsewhere})"
                click.echo(f"  {hit.name}: {verb} by {hit.rule}, {hit.certainty}; before: {hit.before}")
    if found.sets[0].caught:
        sys.exit(1)


@schedules.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def schedules_load(file: Path) -> None:
    """Load an edition (TOML or JSON). Running processes follow within seconds and match everything stored again.

    The form of an edition stands in the description of POST /v1/schedules/{instrument}/editions at /docs.
    """
    from app.law.loaded import EditionError, EditionTaken, keep, prepare

    context = _context()
    try:
        with context.database.read() as session:
            prepared = prepare(session, _document(file))
        with context.database.write() as session:
            keep(session, prepared, actor="cli", now=context.now())
    except (EditionError, EditionTaken) as error:
        raise click.ClickException(str(error)) from error
    document = prepared.document
    click.echo(
        f"loaded {document['instrument']}, edition {document['edition']['id']}; the worker matches everything stored again, "
        "or `nps rescreen` does it now"
    )


@click.command()
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The law of this day. Default: today.")
@click.option("--json", "as_json", is_flag=True)
def rescreen(as_of: Any, as_json: bool) -> None:
    """Match every stored substance and detection against the editions in force; a run that was cut off goes on.

    Exit status 1 where the identity of a substance, or the drawing of a detection, could not be read.
    """
    from app.law.rescreen import rescreen as run
    from chem.values import to_json

    context = _context()
    day: date = as_of.date() if as_of else context.now().date()
    shown = 0
    with click.progressbar(length=1, label="Matching", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def told(progress: Progress) -> None:
            nonlocal shown
            bar.length = max(1, progress.total)
            bar.update(progress.done - shown)
            shown = progress.done

        found = run(context, as_of=day, told=told)
    if found is None:
        raise click.ClickException("the run was stopped")
    if as_json:
        click.echo(json.dumps(to_json(found)))
    else:
        click.echo(f"{found.done} substances matched, {found.changed} changed, {found.alerts} alerts, {found.failed} unreadable")
    if found.failed:
        sys.exit(1)
