"""`nps people` and `nps secrets`; `nps keys rotate`."""

from __future__ import annotations

import base64
import json
import os
import secrets as random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from sqlalchemy import select

from app.auth import management
from app.auth.accounts import AccountError
from app.auth.permissions import Role
from app.notifications.secrets import SecretBox, SecretUnreadable
from app.persistence.models import Person, Subscription
from app.persistence.session import Database
from app.settings import PREVIOUS_FILE, SECRET_FILE, Settings


@contextmanager
def _usage() -> Iterator[None]:
    try:
        yield
    except AccountError as error:
        raise click.UsageError(str(error)) from error


def account_commands(settings: Callable[[], Settings], database: Callable[[], Database], keys: click.Group) -> list[click.Group]:
    """The groups `people` and `secrets`; `rotate` is added to the group `keys`."""

    @click.group()
    def people() -> None:
        """People who sign in to the pages."""

    @people.command("create")
    @click.option("--org", required=True, help="The organisation's id.")
    @click.option("--email", required=True)
    @click.option("--name", required=True)
    @click.option("--role", required=True, type=click.Choice([role.value for role in Role]))
    @click.option("--json", "as_json", is_flag=True)
    def create(org: str, email: str, name: str, role: str, as_json: bool) -> None:
        """Make somebody an account. The first password is shown once, here."""
        with _usage(), database().write() as session:
            person, password = management.add_person(
                session, org_id=org, email=email, name=name, role=role, now=datetime.now(UTC)
            )
            found = {"id": person.id, "email": person.email, "password": password}
        click.echo(json.dumps(found) if as_json else f"{password}\n{found['email']}. The password is shown only now.")

    @people.command("list")
    @click.option("--json", "as_json", is_flag=True)
    def list_(as_json: bool) -> None:
        """Everybody, with their second factor and last sign-in."""
        with database().read() as session:
            rows = [_row(person) for person in management.everybody(session)]
        if as_json:
            click.echo(json.dumps(rows))
        for row in [] if as_json else rows:
            state = "disabled" if row["disabled"] else f"last sign-in {row['last_sign_in_at'] or 'never'}"
            factor = "second factor" if row["second_factor"] else "password only"
            click.echo(f"{row['email']:<34} {row['role']:<9} {row['org_name']}  {factor}  {state}")

    @people.command("disable")
    @click.argument("email")
    def disable(email: str) -> None:
        """End an account and its sign-ins; what the person did stays."""
        with _usage(), database().write() as session:
            management.disable(session, management.person_of(session, email), datetime.now(UTC))
        click.echo(f"disabled {email}")

    @people.command("enable")
    @click.argument("email")
    def enable(email: str) -> None:
        """Open an account again."""
        with _usage(), database().write() as session:
            management.enable(management.person_of(session, email))
        click.echo(f"enabled {email}")

    @people.command("reset")
    @click.argument("email")
    def reset(email: str) -> None:
        """A new password, shown once; the second factor is taken off and sign-ins end."""
        with _usage(), database().write() as session:
            password = management.reset(session, management.person_of(session, email))
        click.echo(f"{password}\nThe password is shown only now; the second factor has to be set up again.")

    @keys.command("rotate")
    @click.argument("key_id")
    @click.option("--overlap-hours", default=24, show_default=True, type=click.IntRange(0, 720), help="The old one works on.")
    @click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="First day on which the new one no longer works.")
    @click.option("--json", "as_json", is_flag=True)
    def rotate(key_id: str, overlap_hours: int, expires: datetime | None, as_json: bool) -> None:
        """A new key with the rights of this one; both work until the overlap ends."""
        with _usage(), database().write() as session:
            new, secret = management.rotate(
                session,
                management.key_of(session, key_id),
                overlap=timedelta(hours=overlap_hours),
                expires_at=expires.replace(tzinfo=UTC) if expires else None,
                now=datetime.now(UTC),
            )
            found = {"id": new.id, "key": secret}
        click.echo(json.dumps(found) if as_json else f"{secret}\nid {found['id']}. The key is shown only now.")

    @click.group()
    def secrets() -> None:
        """What is encrypted at rest: webhook secrets and second factors."""

    @secrets.command("rotate")
    def rotate_secrets() -> None:
        """Encrypt every stored secret anew under the present key.

        With NPS_SECRET_KEY: set the new key, and the old one in NPS_SECRET_KEY_PREVIOUS, on every node; then run this, then
        drop the old one. With the key file beside the embedded database a new key is made here; restart the service after.
        """
        chosen = settings()
        if chosen.secret_key is None and chosen.embedded:
            _new_key_file(chosen)
            chosen = settings()
        try:
            box = SecretBox(chosen.secret(), *chosen.previous_secrets())
            with database().write() as session:
                count = _seal_again(session, box)
        except (SecretUnreadable, ValueError) as error:
            raise click.ClickException(f"{error}; nothing was changed. Set NPS_SECRET_KEY_PREVIOUS to the key before") from error
        click.echo(f"{count} secrets are encrypted under the present key")
        if chosen.secret_key is None and chosen.embedded:
            click.echo(f"restart the service, then remove {chosen.data_dir / PREVIOUS_FILE}")

    return [people, secrets]


def _row(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "email": person.email,
        "name": person.name,
        "role": person.role,
        "org": person.org_id,
        "org_name": person.organisation.name,
        "second_factor": person.totp_since is not None,
        "disabled": person.disabled_at is not None,
        "last_sign_in_at": person.last_sign_in_at.isoformat() if person.last_sign_in_at else None,
    }


def _new_key_file(settings: Settings) -> None:
    """Keep the present key beside a new one. A run that was cut short before is carried on, not begun again."""
    settings.secret()  # makes the first one where there is none
    present, previous = settings.data_dir / SECRET_FILE, settings.data_dir / PREVIOUS_FILE
    if previous.exists():
        return
    part = settings.data_dir / (SECRET_FILE + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(random.token_bytes(32)).decode())
        file.flush()
        os.fsync(file.fileno())
    present.rename(previous)
    part.rename(present)


def _seal_again(session: Any, box: SecretBox) -> int:
    count = 0
    for subscription in session.scalars(select(Subscription)):
        if subscription.secrets:
            subscription.secrets = [{**row, "secret": box.seal(box.open(row["secret"]))} for row in subscription.secrets]
            count += len(subscription.secrets)
    for person in session.scalars(select(Person).where(Person.totp_secret.is_not(None))):
        person.totp_secret = box.seal(box.open(person.totp_secret))
        count += 1
    return count
