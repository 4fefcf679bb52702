"""Editions that an administrator loads: checked, compared with what is stored, kept in the database for every process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from sqlalchemy import ColumnElement, func, inspect, make_url, select
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.context import AppContext
from app.law.verify import verify
from app.persistence.models import LoadedEdition, Substance, Task
from app.persistence.session import Database
from app.persistence.tasks import insert_once, task_values
from app.settings import Settings
from chem.editions import boundaries, content_hash, plain
from chem.engine import Engine
from chem.errors import DataError, StructureError, StructureProblem
from chem.stored import identity_from_json
from chem.values import Assessment, Identity, LegalStatus, Match, Structure, StructureFormat, to_json

MOST_SHOWN = 500


class EditionError(Exception):
    """The edition is refused; the sentence says where and why."""


class EditionTaken(Exception):
    """Another edition was loaded at the same moment, or this one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stored substance whose verdict an edition changes. Matches as `entry, schedule (basis, certainty)`."""

    id: str
    name: str
    old: str
    new: str
    old_matches: tuple[str, ...]
    new_matches: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What an edition changes, on the first day on which it binds or today, whichever is later."""

    instrument: str
    edition: str
    as_of: date
    added: tuple[str, ...]
    ended: tuple[str, ...]
    rules_added: tuple[str, ...]
    rules_ended: tuple[str, ...]
    not_coded_added: tuple[str, ...]
    not_coded_removed: tuple[str, ...]
    substances_matched: int
    substances: tuple[Change, ...]
    substances_changed: int
    substances_unreadable: int

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = to_json(asdict(self))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An edition that passed every check, and the engine that holds it."""

    document: dict[str, Any]
    documents: tuple[dict[str, Any], ...]
    engine: Engine
    number: int


def stored_editions(session: Session) -> tuple[dict[str, Any], ...]:
    """The documents of the loaded editions, in order."""
    return tuple(session.scalars(select(LoadedEdition.content).order_by(LoadedEdition.number)))


def newest_number(session: Session) -> int:
    """The number of the newest loaded edition, 0 where there is none."""
    return session.scalar(select(func.max(LoadedEdition.number))) or 0


def loaded_here(settings: Settings) -> tuple[dict[str, Any], ...]:
    """The editions of the configured database for a command that needs nothing else of it; none where there is no database."""
    if settings.database_url is None and not (settings.data_dir / "nps.sqlite").exists():
        return ()
    database = Database(settings.resolved_database_url, pool_size=1)
    try:
        if not inspect(database.engine).has_table(LoadedEdition.__tablename__):
            return ()
        with database.read() as session:
            return stored_editions(session)
    except OperationalError as error:
        address = make_url(settings.resolved_database_url).render_as_string(hide_password=True)
        raise ValueError(f"the editions cannot be read from {address}: {error.orig}") from error
    finally:
        database.dispose()


def prepare(session: Session, document: Any) -> Prepared:
    """Check an edition against the law as it is stored now. Raises EditionError."""
    before = stored_editions(session)
    number = newest_number(session) + 1
    if not isinstance(document, Mapping):
        raise EditionError("edition: an object of keys and values is expected")
    try:
        fresh = plain(document)
    except (AttributeError, TypeError, ValueError) as error:
        raise EditionError(f"edition: a value has no text form: {error}") from error
    documents = (*before, fresh)
    try:
        engine = Engine.load(editions=documents)
    except DataError as error:
        raise EditionError(str(error)) from error
    if fresh.get("rule"):
        added = {str(rule["id"]) for rule in fresh["rule"]}
        day = date.fromisoformat(max(str(rule.get("effective_from") or rule.get("not_before")) for rule in fresh["rule"]))
        for check in verify(engine, day):
            failed = [text for text in check.failures if text.split(":")[0] in added]
            if failed:
                raise EditionError(f"edition of {check.instrument}, rule: {failed[0]}")
    return Prepared(document=fresh, documents=documents, engine=engine, number=number)


def difference(
    session: Session, before: Engine, prepared: Prepared, *, today: date, visible: ColumnElement[bool] | None
) -> Difference:
    """What the edition changes. Only substances that are `visible` (None: all) are matched and listed."""
    document, after = prepared.document, prepared.engine
    instrument = str(document["instrument"])
    as_of = max(today, *boundaries(document)[:1])
    changes: list[Change] = []
    matched = unreadable = 0
    known = instrument in {info.id for info in before.instruments()}
    conditions = [Substance.merged_into.is_(None), *([visible] if visible is not None else [])]
    rows = session.execute(
        select(Substance.id, Substance.name, Substance.identity, Substance.smiles)
        .where(*conditions)
        .order_by(Substance.name, Substance.id)
    )
    for substance_id, name, identity, smiles in rows:
        if not identity:
            continue
        try:
            told = identity_of(before, identity, smiles)
            old = before.assess_identity(told, as_of=as_of, instruments=(instrument,), analogues=0) if known else None
            new = after.assess_identity(told, as_of=as_of, instruments=(instrument,), analogues=0)
        except StructureError:
            unreadable += 1
            continue
        matched += 1
        old_matches, new_matches = _lines(old.matches if old else ()), _lines(new.matches)
        if old_matches != new_matches:
            changes.append(
                Change(
                    id=substance_id, name=name, old=_status(old, instrument), new=_status(new, instrument),
                    old_matches=old_matches, new_matches=new_matches,
                )
            )  # fmt: skip
    not_coded = document.get("not_coded", {})
    return Difference(
        instrument=instrument,
        edition=str(document["edition"]["id"]),
        as_of=as_of,
        added=tuple(f"{item['name']} ({item['schedule']})" for item in document.get("add", ())),
        ended=tuple(f"{item['name']} ({item['schedule']}) until {item['until']}" for item in document.get("end", ())),
        rules_added=tuple(str(item["id"]) for item in document.get("rule", ())),
        rules_ended=tuple(f"{item['id']} until {item['until']}" for item in document.get("end_rule", ())),
        not_coded_added=tuple(not_coded.get("add", ())),
        not_coded_removed=tuple(not_coded.get("remove", ())),
        substances_matched=matched,
        substances=tuple(changes[:MOST_SHOWN]),
        substances_changed=len(changes),
        substances_unreadable=unreadable,
    )


def identity_of(engine: Engine, stored: Mapping[str, Any], smiles: str | None) -> Identity:
    """The identity as stored; where an earlier version left it incomplete, that of the stored parent. Raises StructureError."""
    try:
        return identity_from_json(stored)
    except (KeyError, TypeError) as error:
        if smiles is None:
            raise StructureError(StructureProblem.UNDEFINED, "neither identity nor parent is stored") from error
        return engine.identify(Structure(format=StructureFormat.SMILES, text=smiles))


def _status(assessment: Assessment | None, instrument: str) -> str:
    if assessment is None:
        return LegalStatus.NOT_CONTROLLED.value
    return assessment.status_by_instrument[instrument].value


def _lines(matches: Sequence[Match]) -> tuple[str, ...]:
    return tuple(f"{m.entry}, {m.schedule} ({m.basis}, {m.certainty})" for m in matches if m.captured)


def keep(session: Session, prepared: Prepared, *, actor: str, now: datetime) -> None:
    """Store the edition, with the tasks that match everything stored again: now, and on each later day on which it changes.

    Raises EditionTaken where another was stored since `prepare`.
    """
    document = prepared.document
    session.add(
        LoadedEdition(
            number=prepared.number,
            instrument=document["instrument"],
            edition=document["edition"]["id"],
            valid_from=date.fromisoformat(document["edition"]["from"]),
            content=document,
            source=document["edition"]["source"],
            actor=actor,
            loaded_at=now,
        )
    )
    try:
        session.flush()
    except IntegrityError as error:
        raise EditionTaken("an edition was loaded at the same moment, or this one before; look again") from error
    digest = content_hash([document])[:16]
    for day in (now.date(), *(day for day in boundaries(document) if day > now.date())):
        enqueue_rescreen(session, f"{digest}:{day}", day, now)


def enqueue_rescreen(session: Session, key: str, day: date, now: datetime) -> bool:
    """Insert the task that matches everything stored against the law of `day`, on that day; False where it is there."""
    begins = max(now, datetime.combine(day, time(0, 1), tzinfo=UTC))
    values = task_values(
        topic="rescreen", key=key, lane="rescreen", priority=0, payload={"as_of": day.isoformat()}, now=now, run_at=begins
    )
    return insert_once(session, Task, values)


def refresh(context: AppContext) -> bool:
    """Follow the editions in the database, where another process loaded one; whether there was news."""
    with context.database.read() as session:
        number = newest_number(session)
        if number == context.editions:
            return False
        documents = stored_editions(session)
    context.chemistry.adopt(Engine.load(editions=documents), documents)
    context.editions = len(documents)
    return True
