"""Examining an installation: each finding says what is wrong and the mend."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from alerts.channels.smtp import LOOPBACK, SmtpChannel, parse_relay
from alerts.errors import ChannelError
from app.audit.seals import LATE
from app.notifications.secrets import SecretBox, SecretUnreadable
from app.persistence import migrations
from app.persistence.models import AuditEntry, AuditSeal, Subscription, Task
from app.persistence.session import Database, DurabilityError
from app.settings import SECRET_FILE, Settings
from chem.errors import ChemError

DUE_TOO_LONG = timedelta(minutes=10)
CLOCK_TOLERANCE = timedelta(seconds=30)
LEAST_FREE_BYTES = 1 << 30
SQLITE_GUARDS = "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND tbl_name LIKE 'audit_%'"
POSTGRES_GUARDS = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'audit_%_append_only' AND tgenabled = 'O'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something examined. `mend` None: it is as it should be; a `warning` has a mend, but the service works."""

    what: str
    said: str
    mend: str | None = None
    warning: bool = False

    @property
    def fails(self) -> bool:
        return self.mend is not None and not self.warning


def examine(settings: Settings, *, now: datetime, schedules: Callable[[date], list[str]]) -> list[Finding]:
    """Everything that can be looked at from here, in order. `schedules` gives sentences about rules that do not hold."""
    found = list(_configuration(settings))
    database = Database(settings.resolved_database_url, pool_size=2)
    try:
        found += of_database(settings, database, now)
    finally:
        database.dispose()
    found += _schedules(schedules, now)
    found += _mail(settings)
    found += _disk(settings)
    return found


def _configuration(settings: Settings) -> Iterator[Finding]:
    address = urlsplit(settings.base_url)
    if address.scheme == "https" or address.hostname in LOOPBACK:
        yield Finding(what="address", said=settings.base_url)
    else:
        yield Finding(
            what="address", said=f"{settings.base_url} is neither https nor loopback",
            mend="set NPS_BASE_URL to the https address of the proxy in front; cookies are sent over https only then",
        )  # fmt: skip
    if settings.egress_allow:
        rules = ", ".join(f"{network}:{port or '*'}" for network, port in settings.egress_allow)
        yield Finding(
            what="egress", said=f"EGRESS_ALLOW opens {rules}", warning=True,
            mend="leave it empty unless a receiver stands in your own network",
        )  # fmt: skip
    yield _secret(settings)


def _secret(settings: Settings) -> Finding:
    if settings.secret_key:
        short = len(settings.secret_key) < 32
        return Finding(
            what="secret key", said=f"NPS_SECRET_KEY has {len(settings.secret_key)} characters" if short else "set",
            mend="use 32 or more random characters, for example of: openssl rand -base64 48" if short else None,
            warning=short,
        )  # fmt: skip
    if not settings.embedded:
        return Finding(what="secret key", said="none", mend="set NPS_SECRET_KEY, the same on every node")
    path = settings.data_dir / SECRET_FILE
    if not path.exists():
        return Finding(what="secret key", said=f"{path} will be made at the first start")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        return Finding(what="secret key", said=f"{path} can be read by others (mode {mode:o})", mend=f"chmod 600 {path}")
    return Finding(what="secret key", said=f"{path}, mode {mode:o}")


def of_database(settings: Settings, database: Database, now: datetime) -> Iterator[Finding]:
    """What can be looked at through the database alone."""
    try:
        current, behind = migrations.current(database.engine), migrations.behind(database.engine)
    except SQLAlchemyError as error:
        cause = str(getattr(error, "orig", error)).splitlines()[0]
        yield Finding(what="database", said=f"not reached: {cause}", mend="start it, or correct DATABASE_URL")
        return
    if behind:
        said = f"at {current or 'nothing'}, the newest is {migrations.head()}"
        yield Finding(what="migrations", said=said, mend="run: nps migrate")
        return
    yield Finding(what="migrations", said=f"at {current}")
    try:
        database.check_durability()
        yield Finding(what="durability", said="a commit is on disk before it is acknowledged")
    except DurabilityError as error:
        yield Finding(what="durability", said=str(error), mend="change that setting and restart the database")
    yield from _audit(database, now)
    yield from _work(database, now)
    yield from _secrets_open(settings, database)
    if database.is_sqlite:
        return
    with database.engine.connect() as connection:
        theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
        standbys = connection.execute(text("SHOW synchronous_standby_names")).scalar_one()
    off = abs(datetime.now(UTC) - theirs)
    yield Finding(
        what="clock", said=f"{off.total_seconds():.1f} s from the database's",
        mend="synchronise both clocks (NTP): nothing is sent from a node that is off by 30 s" if off > CLOCK_TOLERANCE else None,
    )  # fmt: skip
    yield Finding(
        what="standby", said=standbys or "no synchronous standby", warning=True,
        mend=None if standbys else "a fail-over may lose the last commits; set synchronous_standby_names",
    )  # fmt: skip


def _audit(database: Database, now: datetime) -> Iterator[Finding]:
    guards = SQLITE_GUARDS if database.is_sqlite else POSTGRES_GUARDS
    expected = 4 if database.is_sqlite else 2
    with database.read() as session:
        triggers = session.execute(text(guards)).scalar_one()
        newest = session.scalar(select(func.max(AuditEntry.at)))
        sealed = session.scalar(select(func.max(AuditSeal.minute)))
    yield Finding(
        what="audit", said=f"{triggers} of {expected} guards stand",
        mend=None if triggers == expected else "somebody removed them: run nps audit verify and find out who",
    )  # fmt: skip
    if newest is None:
        return
    if newest - now > CLOCK_TOLERANCE:
        yield Finding(
            what="clock", said=f"the newest audit entry is of {newest:%Y-%m-%d %H:%M:%S}, later than now",
            mend="the clock was set back or was wrong: set it right (NTP)",
        )  # fmt: skip
    behind = now - newest > LATE and (sealed is None or sealed < f"{newest:%Y-%m-%dT%H:%M}")
    yield Finding(
        what="seals", said=f"sealed up to {sealed} UTC" if sealed else "no minute is sealed yet",
        mend="no worker runs, so nothing is sealed: start nps serve or nps worker" if behind else None,
    )  # fmt: skip


def _work(database: Database, now: datetime) -> Iterator[Finding]:
    with database.read() as session:
        oldest = session.scalar(select(func.min(Task.run_at)).where(Task.state == "ready"))
        dead = session.scalar(select(func.count()).select_from(Task).where(Task.state == "dead")) or 0
    late = oldest is not None and now - oldest > DUE_TOO_LONG
    yield Finding(
        what="worker", said=f"oldest task due since {oldest:%Y-%m-%d %H:%M}" if late and oldest else "nothing is overdue",
        mend="start nps serve or nps worker" if late else None,
    )  # fmt: skip
    if dead:
        yield Finding(
            what="deliveries", said=f"{dead} are dead", warning=True,
            mend="look at each alert's deliveries; POST /v1/subscriptions/ID/redeliver sends them again",
        )  # fmt: skip


def _secrets_open(settings: Settings, database: Database) -> Iterator[Finding]:
    try:
        box = SecretBox(settings.secret(), *settings.previous_secrets())
    except ValueError:
        return
    closed = 0
    with database.read() as session:
        for stored in session.scalars(select(Subscription.secrets).where(Subscription.deleted_at.is_(None))):
            for row in stored:
                try:
                    box.open(row["secret"])
                except SecretUnreadable:
                    closed += 1
    yield Finding(
        what="stored secrets", said=f"{closed} do not open under this secret key" if closed else "all open",
        mend="set the key they were made under; if it is lost, their owners must take new ones" if closed else None,
    )  # fmt: skip


def _schedules(schedules: Callable[[date], list[str]], now: datetime) -> Iterator[Finding]:
    try:
        failures = schedules(now.date())
    except ChemError as error:
        yield Finding(what="schedules", said=str(error), mend="install the package again: a data file is damaged")
        return
    yield Finding(
        what="schedules", said="; ".join(failures[:3]) if failures else "every example of every rule holds",
        mend="nps schedules verify prints all of them; install the package again" if failures else None,
    )  # fmt: skip


def _mail(settings: Settings) -> Iterator[Finding]:
    if not settings.smtp_url:
        yield Finding(
            what="mail", said="none", warning=True, mend="set NPS_SMTP_URL if anybody is to hear by e-mail"
        )  # fmt: skip
        return
    try:
        host = urlsplit(settings.base_url).hostname or "localhost"
        SmtpChannel(parse_relay(settings.smtp_url, fallback_host=host)).check()
    except (ChannelError, ValueError, OSError) as error:
        yield Finding(what="mail", said=str(error), mend="correct NPS_SMTP_URL, or open the way to the relay")
        return
    yield Finding(what="mail", said="the relay answers")


def _disk(settings: Settings) -> Iterator[Finding]:
    folder = settings.data_dir
    while not folder.exists() and folder != Path(folder.anchor or "."):
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    yield Finding(
        what="disk", said=f"{free / (1 << 30):.1f} GiB free at {folder}",
        mend="free some: with a full disk reports are refused (503)" if free < LEAST_FREE_BYTES else None,
    )  # fmt: skip
