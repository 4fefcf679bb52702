"""The roster of an organisation: whom it wants to be told, in which order, when, and who stands in. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from alerts.roster import RosterLine, on_duty, told_now
from app.auth.permissions import Principal
from app.notifications.schemas import ContactIn
from app.persistence.models import Contact, Organisation, Person


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One address to tell, and the organisation it belongs to."""

    email: str
    org_id: str


def roster(session: Session, org_id: str) -> Sequence[Contact]:
    """The lines of an organisation, in order; also those that have run out."""
    return session.scalars(select(Contact).where(Contact.org_id == org_id).order_by(Contact.position, Contact.id)).all()


def replace(session: Session, principal: Principal, lines: Sequence[ContactIn], now: datetime) -> Sequence[Contact]:
    """Put these lines in place of the present roster; gives the new one."""
    session.execute(delete(Contact).where(Contact.org_id == principal.org_id))
    session.add_all(
        Contact(
            org_id=principal.org_id,
            position=position,
            name=line.name,
            email=line.email,
            deputy=line.deputy,
            days=line.days,
            hours_from=line.hours_from,
            hours_until=line.hours_until,
            zone=line.zone,
            until=line.until,
            actor=principal.actor,
            created_at=now,
        )
        for position, line in enumerate(lines, 1)
    )
    session.flush()
    return roster(session, principal.org_id)


def _line(contact: Contact) -> RosterLine:
    return RosterLine(
        email=contact.email,
        deputy=contact.deputy,
        days=contact.days,
        hours_from=contact.hours_from,
        hours_until=contact.hours_until,
        zone=contact.zone,
        until=contact.until,
    )


def is_on_duty(contact: Contact, now: datetime) -> bool:
    return on_duty(_line(contact), now)


def recipients(session: Session, org_id: str, now: datetime, *, step: int) -> list[Recipient]:
    """Whom of an organisation a step of the clock tells: by its roster; without one in force, the people who sign in for it,
    the longest known first, at the first step only that one.
    """
    emails = told_now([_line(contact) for contact in roster(session, org_id)], now, step=step)
    if not emails:
        people = session.scalars(
            select(Person.email)
            .where(Person.org_id == org_id, Person.disabled_at.is_(None))
            .order_by(Person.created_at, Person.id)
        ).all()
        emails = list(people[:1] if step == 1 else people)
    return [Recipient(email=email, org_id=org_id) for email in emails]


def duty_officers(session: Session, now: datetime) -> list[Recipient]:
    """The service's own people: of each operator everybody in force, by roster or by account."""
    found = []
    for org_id in session.scalars(select(Organisation.id).where(Organisation.kind == "operator").order_by(Organisation.id)):
        found += recipients(session, org_id, now, step=1) + recipients(session, org_id, now, step=2)
    return list(dict.fromkeys(found))


def document(contact: Contact, now: datetime) -> dict[str, Any]:
    """A line of the roster, with whether it is on duty now."""
    return {
        "position": contact.position,
        "name": contact.name,
        "email": contact.email,
        "deputy": contact.deputy,
        "days": contact.days,
        "from": contact.hours_from,
        "to": contact.hours_until,
        "zone": contact.zone,
        "until": contact.until.isoformat() if contact.until else None,
        "on_duty": is_on_duty(contact, now),
    }
