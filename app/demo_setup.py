"""Filling an empty installation with the demonstration set, through the ordinary intake, and remembering its sign-ins."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from app import demo
from app.auth import accounts
from app.auth.permissions import Principal
from app.chemistry import Chemistry
from app.context import AppContext
from app.installation import DEMO, get_state, set_state
from app.intake import service as intake
from app.intake.resolve import resolve_report
from app.intake.rows import Submission
from app.intake.schemas import ReportIn
from app.intake.sold_as import sold_as_of
from app.main import build_context
from app.notifications import service as notifications
from app.persistence.base import new_id
from app.persistence.models import Acknowledgement, Alert, Organisation, Report, Task
from app.priorities.snapshots import LABELS, snapshot_with
from app.settings import Settings

CREDENTIALS = "demo-credentials.txt"
BATCH = 250
QUIET_AFTER = timedelta(days=3)


class DemoError(Exception):
    """The installation cannot become a demonstration; the message says why and what to do."""


def prepare_demo(settings: Settings, *, seed: int, say: Callable[[str], None]) -> str:
    """Fill an empty database, or find it filled; gives the text with address, sign-ins and keys.

    The text is kept in a 0600 file in the data directory, for a demonstration only. Raises DemoError where the database holds
    other data.
    """
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    path = settings.data_dir / CREDENTIALS
    context = build_context(settings, chemistry=Chemistry(workers=0))
    try:
        with context.database.read() as session:
            state = get_state(session, DEMO)
            organisations = session.scalar(select(func.count()).select_from(Organisation))
        if state is None and organisations:
            raise DemoError(
                f"The database holds {organisations} organisations and is no demonstration. "
                "Give an empty one, for example NPS_DATA_DIR=demo-data nps demo"
            )
        if state is None or not state["complete"]:
            say("Filling an empty database with synthetic data …")
            _fill(context, seed if state is None else state["seed"], path, say)
        return _address(settings) + path.read_text(encoding="utf-8")
    finally:
        context.chemistry.close()
        context.database.dispose()


def _address(settings: Settings) -> str:
    return (
        "\nNPS Early Warning: DEMONSTRATION, all data are synthetic\n\n"
        f"Address  {settings.base_url}\nAPI      {settings.base_url}/docs\n"
    )


def _fill(context: AppContext, seed: int, path: Path, say: Callable[[str], None]) -> None:
    now = context.now()
    with context.database.read() as session:
        state = get_state(session, DEMO)
    if state is None:
        _make_accounts(context, seed, path, now)
    with context.database.read() as session:
        principals = {
            org.name: accounts.principal_of(org, "lab", "demo:generator")
            for org in session.scalars(select(Organisation).where(Organisation.kind == "lab"))
        }
    by_key = {org.key: principals[org.name] for org in demo.organisations() if org.kind == "lab"}
    reports = demo.generate(seed, now)
    done = 0
    while batch := list(islice(reports, BATCH)):
        _store_batch(context, batch, by_key)
        done += len(batch)
        say(f"  {done} reports")
    for labels in sorted(set(LABELS.values())):
        snapshot_with(context, labels)
    with context.database.write() as session:
        _settle_old_alerts(session, now)
        set_state(session, DEMO, {"seed": seed, "complete": True})


def _make_accounts(context: AppContext, seed: int, path: Path, now: datetime) -> None:
    """Organisations, people and keys in one transaction; their secrets go to the file before it commits."""
    secret = secrets.token_urlsafe(16)
    lines = ["\nSign-ins (e-mail, password, role)\n"]
    with context.database.write() as session:
        ids = {}
        for org in demo.organisations():
            row = accounts.create_organisation(session, name=org.name, kind=org.kind, country=org.country, test=False, now=now)
            ids[org.key] = row.id
        for person in demo.people(secret):
            accounts.create_person(
                session, org_id=ids[person.organisation], email=person.email, name=person.name, role=person.role,
                password=person.password, now=now,
            )  # fmt: skip
            lines.append(f"  {person.email:<32}  {person.password:<34}  {person.role}\n")
        lines.append("\nAPI keys\n")
        for wanted in demo.api_keys():
            _, key = accounts.create_key(session, org_id=ids[wanted.organisation], role=wanted.role, now=now)
            lines.append(f"  {wanted.role:<10} {wanted.organisation:<14} {key}\n")
        set_state(session, DEMO, {"seed": seed, "complete": False})
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.writelines(lines)


def _store_batch(context: AppContext, batch: list[demo.DemoReport], by_key: dict[str, Principal]) -> None:
    prepared: list[tuple[demo.DemoReport, Submission | None]] = []
    for given in batch:
        if given.kind == "withdrawn":
            prepared.append((given, None))
            continue
        report = ReportIn.model_validate(given.body)
        prepared.append(
            (
                given,
                Submission(
                    report=report,
                    body=json.dumps(given.body, ensure_ascii=False),
                    resolved=resolve_report(report, context.chemistry, context.now().date()),
                    principal=by_key[given.organisation],
                    received_at=given.received_at,
                    sold_as=sold_as_of(context.chemistry, report.sample.sold_as, context.now().date()),
                ),
            )
        )
    with context.database.write() as session:
        for given, submission in prepared:
            principal = by_key[given.organisation]
            row = session.scalar(
                select(Report).where(Report.org_id == principal.org_id, Report.lab_reference == given.body["lab_reference"])
            )
            if given.kind == "created" and row is None and submission is not None:
                intake.store(session, context.chemistry, submission)
            elif given.kind == "corrected" and row is not None and row.version == 1 and submission is not None:
                intake.correct(session, context.chemistry, submission, row)
            elif given.kind == "withdrawn" and row is not None and row.state == "active":
                intake.withdraw(session, row, reason=given.reason or "withdrawn", principal=principal, now=given.received_at)


def _settle_old_alerts(session: Session, now: datetime) -> None:
    """What happened to older alerts in the synthetic world: analysts approved them, the authorities acknowledged."""
    analyst, second = (
        _principal(session, "Demonstration operator", "analyst", actor) for actor in ("demo:analyst", "demo:second")
    )
    old = session.scalars(
        select(Alert).where(Alert.received_at < now - QUIET_AFTER, Alert.state.in_(("issued", "updated")), Alert.level >= 3)
    ).all()
    for alert in old:
        if not alert.reviewed:
            notifications.approve(session, analyst, alert.id, None, alert.received_at + timedelta(hours=3))
            if alert.level == 4:
                notifications.approve(session, second, alert.id, None, alert.received_at + timedelta(hours=4))
    session.flush()
    # nobody was there to hear of the older ones; what the feed shows is still published
    session.execute(
        update(Task)
        .where(Task.state == "ready", Task.topic != "publish", Task.created_at < now - QUIET_AFTER)
        .values(state="done", done_at=now)
    )
    authorities = session.scalars(select(Organisation.id).where(Organisation.kind == "authority")).all()
    session.execute(
        insert(Acknowledgement),
        [
            {
                "id": new_id(), "alert_id": alert.id, "revision": alert.revision, "org_id": org_id, "actor": "demo:officer",
                "kind": "acknowledged", "note": None, "at": alert.received_at + timedelta(hours=4 + _hours(alert.id + org_id)),
            }
            for alert in old
            for org_id in authorities
        ],
    )  # fmt: skip


def _hours(text: str) -> int:
    """A fixed spread of answer times, 1 to 20 hours."""
    return 1 + sum(text.encode()) % 20


def _principal(session: Session, name: str, role: str, actor: str) -> Principal:
    org = session.scalars(select(Organisation).where(Organisation.name == name)).one()
    return accounts.principal_of(org, role, actor)
