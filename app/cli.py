"""The command line `nps` (contract, Command line). Exit status 1 where some records are errors, 2 for wrong usage."""

from __future__ import annotations

import atexit
import getpass
import json
import os
import shutil
import sys
import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from app import context as context_module
from app.audit.cli import audit_commands
from app.auth import accounts, management
from app.auth.cli import account_commands
from app.auth.permissions import ROLES_OF_KIND, Role
from app.observability.cli import metrics_group
from app.observability.logs import configure
from app.operations.cli import operator_commands
from app.operations.rollups_cli import rollup_commands
from app.persistence import migrations
from app.persistence.base import new_id
from app.persistence.models import ApiKey, Organisation
from app.persistence.session import Database, DurabilityError
from app.persistence.trail import Trace, tracing
from app.regions import is_country
from app.settings import Settings
from app.sharing.cli import group_commands
from chem.errors import ChemError

# Commands that need the chemistry toolkit import their slice when they run: `nps keys list` need not load it.


def _settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        raise click.ClickException("; ".join(f"{e['loc'][0]}: {e['msg']}" for e in error.errors())) from error


def _database() -> Database:
    """The database, at the newest migration."""
    settings = _settings()
    database = Database(settings.resolved_database_url)
    click.get_current_context().call_on_close(database.dispose)
    if migrations.behind(database.engine):
        if not settings.embedded:
            raise click.ClickException("The database is not at the newest migration. Run: nps migrate")
        migrations.upgrade(database.engine)
    return database


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nps-early-warning")
@click.option("--verbose", is_flag=True, help="Log what happens, to standard error.")
@click.option(
    "--log",
    type=click.Choice(["text", "json"]),
    envvar="NPS_LOG",
    default="text",
    show_default=True,
    help="Logs on standard error: text with warnings, or every event as a line of JSON with its ids.",
)
def main(verbose: bool, log: str) -> None:
    """Early-warning service for new psychoactive substances."""
    configure(as_json=log == "json", verbose=verbose)
    os.environ["NPS_LOG"] = log  # for the processes of `serve --workers`
    command = click.get_current_context()
    user = getpass.getuser()
    command.with_resource(tracing(Trace(request_id=new_id(), actor=f"cli:{user}"[:80], door=f"nps {command.invoked_subcommand}")))


@main.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 64), help="API processes.")
@click.option("--no-worker", is_flag=True, help="Serve only; alerts are carried by `nps worker`.")
@click.option("--insecure", is_flag=True, help="Allow another address than loopback without an https NPS_BASE_URL.")
def serve(host: str, port: int, workers: int, no_worker: bool, insecure: bool) -> None:
    """Serve API and pages, and carry alerts in the same process."""
    settings = _settings()
    if host not in ("127.0.0.1", "::1", "localhost") and not insecure and not settings.base_url.startswith("https://"):
        raise click.UsageError("another address than loopback needs an https NPS_BASE_URL, or --insecure")
    _serve(settings, host=host, port=port, workers=workers, run_worker=not no_worker)


def _serve(settings: Settings, *, host: str, port: int, workers: int, run_worker: bool) -> None:
    import uvicorn

    from app.main import NotMigrated, create_app

    options: dict[str, Any] = {
        "host": host, "port": port, "access_log": False, "server_header": False, "timeout_graceful_shutdown": 25,
    }  # fmt: skip
    if os.environ.get("NPS_LOG") == "json":
        options["log_config"] = None  # its lines go the way of all others
    try:
        if workers > 1:
            # one folder in which the processes keep their counters, so that /metrics adds them up
            if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
                os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder = tempfile.mkdtemp(prefix="nps-metrics-")
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
            factory = "app.main:app_from_environment" if run_worker else "app.main:app_without_worker"
            uvicorn.run(factory, factory=True, workers=workers, **options)
        else:
            uvicorn.run(create_app(settings, run_worker=run_worker), **options)
    except (NotMigrated, DurabilityError, ChemError, ValueError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.option("--port", default=8000, show_default=True, type=click.IntRange(1, 65535))
@click.option("--seed", default=188, show_default=True, help="The same seed gives the same data.")
@click.option("--no-serve", is_flag=True, help="Fill the database and stop.")
def demo(port: int, seed: int, no_serve: bool) -> None:
    """Fill an empty database with a labelled synthetic set and serve it; a second time serve it again."""
    from app.demo_setup import DemoError, prepare_demo

    settings = _settings()
    if "NPS_BASE_URL" not in os.environ:
        settings = settings.model_copy(update={"base_url": f"http://127.0.0.1:{port}"})
    try:
        credentials = prepare_demo(settings, seed=seed, say=lambda text: click.echo(text, err=True))
    except DemoError as error:
        raise click.ClickException(str(error)) from error
    click.echo(credentials)
    if not no_serve:
        _serve(settings, host="127.0.0.1", port=port, workers=1, run_worker=True)


@main.command()
def migrate() -> None:
    """Bring the database to the newest migration."""
    database = Database(_settings().resolved_database_url)
    before = migrations.current(database.engine)
    try:
        migrations.upgrade(database.engine)
    except migrations.MigrationBusy as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{before or 'empty'} -> {migrations.current(database.engine)}")


@main.command()
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve this worker's metrics on 127.0.0.1 at /metrics.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="Where --metrics-port listens.")
def worker(metrics_port: int | None, metrics_host: str) -> None:
    """Carry alerts and run the scheduler as a process of its own."""
    from prometheus_client import start_http_server

    from app.main import NotMigrated, build_context
    from app.worker import run_until_stopped

    try:
        context = build_context(_settings(), chemistry_workers=0)
    except (NotMigrated, DurabilityError, ChemError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    if metrics_port is not None:
        start_http_server(metrics_port, addr=metrics_host)
    run_until_stopped(context)


main.add_command(audit_commands(_database))
main.add_command(group_commands(_database))
main.add_command(metrics_group)
main.add_command(rollup_commands(_database))
for _command in operator_commands(_settings, _database):
    main.add_command(_command)


# -- organisations and keys ---------------------------------------------------------------------------------------------


@main.group()
def orgs() -> None:
    """Organisations."""


@orgs.command("create")
@click.option("--name", required=True)
@click.option("--kind", required=True, type=click.Choice(list(ROLES_OF_KIND)))
@click.option("--country", required=True, help="ISO 3166-1 alpha-2, for example DE.")
@click.option("--test", is_flag=True, help="Same answers, but alerts nobody but itself.")
@click.option("--json", "as_json", is_flag=True)
def orgs_create(name: str, kind: str, country: str, test: bool, as_json: bool) -> None:
    """Make an organisation and print its id."""
    if not is_country(country):
        raise click.BadParameter(f"{country!r} is not an ISO 3166-1 alpha-2 code in capitals", param_hint="--country")
    try:
        with _database().write() as session:
            org = accounts.create_organisation(
                session, name=name, kind=kind, country=country, test=test, now=context_module.utc_now()
            )
            found = {"id": org.id, "name": org.name, "kind": org.kind, "country": org.country, "test": org.test}
    except accounts.AccountError as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(found) if as_json else found["id"])


@orgs.command("list")
@click.option("--json", "as_json", is_flag=True)
def orgs_list(as_json: bool) -> None:
    """Every organisation, by name."""
    with _database().read() as session:
        rows = [
            {"id": o.id, "name": o.name, "kind": o.kind, "country": o.country, "test": o.test}
            for o in session.query(Organisation).order_by(Organisation.name)
        ]
    if as_json:
        click.echo(json.dumps(rows))
    for row in [] if as_json else rows:
        click.echo(f"{row['id']}  {row['kind']:<9}  {row['country']}  {row['name']}{'  (test)' if row['test'] else ''}")


@main.group()
def keys() -> None:
    """API keys."""


@keys.command("create")
@click.option("--org", required=True, help="The organisation's id.")
@click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="First day on which it no longer works.")
@click.option("--scope", "scopes", multiple=True, help="Cut the key to this right of its role, for example report.send.")
@click.option("--note", help="What you call it.")
@click.option("--json", "as_json", is_flag=True)
def keys_create(org: str, role: str, expires: Any, scopes: tuple[str, ...], note: str | None, as_json: bool) -> None:
    """Make a key. Its secret is shown once, here."""
    expires_at = expires.replace(tzinfo=UTC) if expires else None
    try:
        with _database().write() as session:
            cut = management.check_scopes(role, scopes)
            key, secret = accounts.create_key(
                session, org_id=org, role=role, now=context_module.utc_now(), expires_at=expires_at, scopes=cut, note=note
            )
            found = {"id": key.id, "key": secret}
    except accounts.AccountError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(json.dumps(found))
    else:
        click.echo(f"{found['key']}\nid {found['id']}. The key is shown only now.")


@keys.command("list")
@click.option("--json", "as_json", is_flag=True)
def keys_list(as_json: bool) -> None:
    """Every key without its secret, with its last use."""
    with _database().read() as session:
        rows = [
            {
                "id": key.id,
                "org": org.id,
                "org_name": org.name,
                "role": key.role,
                "prefix": key.prefix,
                "created_at": key.created_at.isoformat(),
                "expires_at": key.expires_at.isoformat() if key.expires_at else None,
                "revoked_at": key.revoked_at.isoformat() if key.revoked_at else None,
                "last_used_at": key.last_used_at.isoformat() if key.last_used_at else None,
            }
            for key, org in session.query(ApiKey, Organisation).join(Organisation).order_by(ApiKey.created_at)
        ]
    if as_json:
        click.echo(json.dumps(rows))
    for row in [] if as_json else rows:
        state = "revoked" if row["revoked_at"] else f"last used {row['last_used_at'] or 'never'}"
        click.echo(f"{row['id']}  {row['role']:<9}  {row['prefix']}…  {row['org_name']}  {state}")


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """End a key at once."""
    with _database().write() as session:
        key = session.get(ApiKey, key_id)
        if key is None:
            raise click.UsageError(f"there is no key {key_id!r}; `nps keys list` shows them")
        if key.revoked_at is None:
            key.revoked_at = context_module.utc_now()
    click.echo(f"revoked {key_id}")


for _group in account_commands(_settings, _database, keys):
    main.add_command(_group)


# -- files ---------------------------------------------------------------------------------------------------------------


@main.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--mapping", "mapping_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--org", help="The laboratory's id.")
@click.option("--suggest", is_flag=True, help="Print a proposed mapping for the file and import nothing.")
@click.option("--format", "file_format", type=click.Choice(["csv", "xlsx", "ndjson", "sdf"]), help="Default: by the ending.")
@click.option("--historical", is_flag=True, help="Counted, but raises nothing beyond a digest line.")
@click.option("--replay", is_flag=True, help="Demonstration: the sample's date is the time of receipt.")
@click.option("--rejects", type=click.Path(dir_okay=False, path_type=Path), help="Default: FILE.rejects.csv")
@click.option("--labels", is_flag=True, help="Print every label that did not resolve, with its count.")
@click.option("--json", "as_json", is_flag=True)
def import_(
    file: Path,
    mapping_file: Path | None,
    org: str | None,
    suggest: bool,
    file_format: str | None,
    historical: bool,
    replay: bool,
    rejects: Path | None,
    labels: bool,
    as_json: bool,
) -> None:
    """Import a file of a laboratory. Refused rows go to a reject file; the same file again stores nothing twice."""
    if suggest:
        _print_proposal(file, file_format, org)
        return
    if mapping_file is None or org is None:
        raise click.UsageError("--mapping and --org are needed; --suggest proposes a mapping")
    from app.imports.mapping import MappingError, read_mapping
    from app.imports.readers import FileError, format_of
    from app.imports.rejects import RejectFile
    from app.imports.service import run_import
    from app.installation import is_demonstration
    from app.main import NotMigrated, build_context

    if historical and replay:
        raise click.UsageError("--historical and --replay exclude each other")
    try:
        mapping = read_mapping(mapping_file)
        chosen = file_format or mapping.file.get("format") or format_of(file)
        context = build_context(_settings(), chemistry_workers=0)
    except (MappingError, FileError, NotMigrated, DurabilityError, ChemError) as error:
        raise click.ClickException(str(error)) from error
    with context.database.read() as session:
        organisation = session.get(Organisation, org)
        if organisation is None or organisation.kind != "lab":
            raise click.UsageError(f"--org {org!r} is not a laboratory; `nps orgs list` shows them")
        if replay and not is_demonstration(session):
            raise click.UsageError("--replay is for an installation marked as demonstration")
        principal = accounts.principal_of(organisation, "lab", "cli:import")
    reject_file = RejectFile(rejects or file.with_name(file.name + ".rejects.csv"))
    total = _count_lines(file) if chosen in ("csv", "ndjson") else None
    mode = "historical" if historical else "replay" if replay else "live"
    try:
        with click.progressbar(
            length=total or 1, label=f"Importing {file.name}", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar:
            outcome = run_import(
                context, path=file, file_format=chosen, mapping=mapping, principal=principal, mode=mode,
                rejects=reject_file, progress=bar.update,
            )  # fmt: skip
    except (FileError, MappingError) as error:
        raise click.ClickException(str(error)) from error
    finally:
        reject_file.close()
    _print_outcome(outcome, reject_file.path if outcome.rejected else None, labels=labels, as_json=as_json)
    if outcome.rejected:
        sys.exit(1)


def _print_proposal(file: Path, file_format: str | None, org: str | None) -> None:
    """The proposed mapping to standard output, what is to be decided to standard error."""
    from app.imports.readers import FileError, format_of, read_rows
    from app.imports.suggest import suggest_mapping

    country = "XX"
    if org is not None:
        with _database().read() as session:
            organisation = session.get(Organisation, org)
            if organisation is None:
                raise click.UsageError(f"there is no organisation {org!r}; `nps orgs list` shows them")
            country = organisation.country
    try:
        proposal = suggest_mapping(read_rows(file, file_format or format_of(file)), country=country)
    except (FileError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(proposal.toml, nl=False)
    for question in proposal.open_questions:
        click.echo(f"to decide: {question}", err=True)


def _count_lines(file: Path) -> int:
    with file.open("rb") as handle:
        return max(1, sum(chunk.count(b"\n") for chunk in iter(lambda: handle.read(1 << 20), b"")))


def _print_outcome(outcome: Any, rejects: Path | None, *, labels: bool, as_json: bool) -> None:
    labelled = sum(outcome.resolutions.values())
    resolved = labelled - outcome.resolutions["unresolved"]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "read": outcome.read,
                    "stored": outcome.stored,
                    "known": outcome.known,
                    "rejected": outcome.rejected,
                    "rejects": str(rejects) if rejects else None,
                    "alerts": outcome.alerts,
                    "resolutions": dict(outcome.resolutions),
                    "unresolved": dict(outcome.unresolved.most_common()),
                },
                ensure_ascii=False,
            )
        )
        return
    click.echo(
        f"{outcome.read} rows: {outcome.stored} stored, {outcome.known} known already, {outcome.rejected} refused; "
        f"{outcome.alerts} alerts"
    )
    if labelled:
        parts = ", ".join(f"{count} {name}" for name, count in sorted(outcome.resolutions.items()))
        click.echo(f"{labelled} labels: {resolved} resolved ({100 * resolved / labelled:.1f} %): {parts}")
    if outcome.unresolved:
        click.echo(f"{len(outcome.unresolved)} different labels did not resolve; --labels lists them")
    for label, count in outcome.unresolved.most_common() if labels else ():
        click.echo(f"{count:>6}  {label}")
    if rejects:
        click.echo(f"Refused rows with reasons: {rejects}")


@main.group()
def history() -> None:
    """What was known where since when."""


@history.command("load")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def history_load(file: Path) -> None:
    """Load a CSV with the columns substance, area, date, source; a line known already changes nothing."""
    from app.chemistry import Chemistry
    from app.history import HistoryError, load_history

    try:
        count = load_history(_database(), Chemistry(workers=0), file)
    except HistoryError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{count} new lines")


def _install_law() -> None:
    from app.law.cli import rescreen, schedules

    main.add_command(schedules)
    main.add_command(rescreen)


def _install_screening() -> None:
    from app.screening.cli import normalise, screen

    main.add_command(screen)
    main.add_command(normalise)


def _install_sending() -> None:
    from app.client.cli import send

    main.add_command(send)


_install_screening()
_install_sending()
_install_law()

if __name__ == "__main__":
    main()
