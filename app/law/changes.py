"""`control_change` alerts: what a new edition changed for a stored substance, once a substance, instrument and date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.render import edition_texts
from app.auth.permissions import TLP_ORDER
from app.context import AppContext
from app.notifications.revisions import Draft, write_revision
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertKey, Detection, LoadedEdition, Substance
from app.persistence.tasks import insert_once
from app.regions import region_of

Statuses = Mapping[str, tuple[str, tuple[Mapping[str, Any], ...]]]


def statuses(matches: Sequence[Mapping[str, Any]]) -> Statuses:
    """By instrument: the status, and the captured matches that make it."""
    found: dict[str, tuple[str, tuple[Mapping[str, Any], ...]]] = {}
    for match in matches:
        if not match.get("captured"):
            continue
        status, before = found.get(match["instrument"], ("possibly_controlled", ()))
        if match["certainty"] == "certain":
            status = "controlled"
        found[match["instrument"]] = (status, (*before, match))
    return found


def announce(session: Session, context: AppContext, substance: Substance, before: Statuses, after: Statuses, as_of: date) -> int:
    """Raise an alert for each instrument with a loaded edition under which the status changed; how many were new.

    Without a loaded edition a change is one of this service's data, not of the law, and raises nothing.
    """
    changed = [name for name in {**before, **after} if _status(before, name) != _status(after, name)]
    if not changed:
        return 0
    editions = session.scalars(
        select(LoadedEdition)
        .where(LoadedEdition.instrument.in_(changed), LoadedEdition.valid_from <= as_of)
        .order_by(LoadedEdition.number)
    ).all()
    newest = {edition.instrument: edition for edition in editions}
    label = _label(session, substance)
    if label is None:
        return 0
    return sum(
        _raise(session, context, substance, after, newest[name], label, as_of) for name in sorted(changed) if name in newest
    )


def _status(found: Statuses, instrument: str) -> str:
    return found[instrument][0] if instrument in found else "not_controlled"


def _label(session: Session, substance: Substance) -> str | None:
    """The mildest label under which the substance may be spoken of; None where only test organisations know it."""
    if substance.shipped:
        return "CLEAR"
    query = select(Detection.tlp).where(Detection.substance_id == substance.id, Detection.test.is_(False), Detection.counted)
    labels = set(session.scalars(query.distinct()))
    return min(labels, key=TLP_ORDER.index, default=None)


def _begins(matches: Sequence[Mapping[str, Any]], edition: LoadedEdition, as_of: date) -> date:
    """The day on which the newest of the matches began to bind; the edition's first day where there is none."""
    days = [date.fromisoformat(day) for m in matches if (day := m.get("effective_from") or m.get("not_before"))]
    recent = [day for day in days if edition.valid_from <= day]
    return max(recent, default=edition.valid_from)


def _raise(
    session: Session, context: AppContext, substance: Substance, after: Statuses, edition: LoadedEdition, label: str, as_of: date
) -> bool:
    now = context.now()
    status, matches = after.get(edition.instrument, ("not_controlled", ()))
    begins = _begins(matches, edition, as_of)
    key = f"control_change:{substance.id}:{edition.instrument}:{begins.isoformat()}"
    countries = [
        info.country for info in context.chemistry.engine.instruments() if info.id == edition.instrument and info.country
    ]
    alert_id = new_id()
    values = {
        "id": alert_id,
        "type": "control_change",
        "dedupe_key": key,
        "rule": "control_change/edition",
        "substance_id": substance.id,
        "group": substance.chemical_group,
        "country": countries[0] if countries else None,
        "region": region_of(countries[0]) if countries else None,
        "level": 1,
        "tlp": label,
        "state": "issued",
        "reviewed": True,
        "controlled": substance.legal_status == "controlled",
        "revision": 1,
        "org_id": None,
        "test": False,
        "needs_approval": False,
        "received_at": now,
        "created_at": now,
        "issued_at": now,
    }
    if not insert_once(session, Alert, values):
        return False
    insert_once(session, AlertKey, {"key": key, "alert_id": alert_id})
    alert = session.scalars(select(Alert).where(Alert.id == alert_id)).one()
    texts = edition_texts(
        substance.name,
        edition.instrument,
        [f"{m['entry']} (schedule {m['schedule']}, {m['basis']}, {m['certainty']})" for m in matches],
        status=status,
        begins=begins,
        future=begins > now.date(),
        source=edition.source,
    )
    draft = Draft(
        msg_type="Alert", audience="full", level=1, reviewed=True, state="issued", tlp=label, texts=texts,
        numbers={
            "instrument": edition.instrument, "edition": edition.edition, "status": status, "valid_from": begins.isoformat(),
        },
        countries=countries,
    )  # fmt: skip
    write_revision(session, alert, draft, now, number=1)
    return True
