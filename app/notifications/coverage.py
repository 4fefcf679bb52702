"""For each alert and authority: sent, delivered, seen, acknowledged, overdue."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.policies import ACKNOWLEDGE_WITHIN
from alerts.render import iso
from app.auth.permissions import Principal, Role
from app.notifications import queries
from app.persistence.models import Acknowledgement, Alert, Organisation, Subscription, Task
from app.problems import Problem

FAILING = ("dead", "parked")


def coverage_of(session: Session, principal: Principal, alert_id: str, now: datetime) -> dict[str, Any]:
    """How the alert fares with every authority that it was sent to or that it concerns, by country and name.

    An authority sees its own line. `countries_without_authority` are those of the alert where nobody is to be told. Raises
    Problem `not-found`.
    """
    found = queries.find(session, principal, alert_id)
    if found is None and principal.role is not Role.ADMIN:
        raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
    alert = session.get(Alert, alert_id)
    if alert is None:
        raise Problem("not-found", "There is no alert of this id.")
    deliveries = session.execute(
        select(Subscription.org_id, Task.state, Task.last_error)
        .join(Subscription, Subscription.id == Task.lane)
        .where(Task.topic == "deliver", Task.key.startswith(f"{alert_id}.", autoescape=True))
    ).all()
    countries = set(queries.countries_of(session, alert))
    told = {row[0] for row in deliveries}
    query = select(Organisation).where(Organisation.kind == "authority")
    query = query.where(Organisation.id.in_(told) | (Organisation.country.in_(countries) & Organisation.test.is_(False)))
    if principal.role is Role.AUTHORITY:
        query = query.where(Organisation.id == principal.org_id)
    answers: dict[tuple[str, str], datetime] = {
        (row[0], row[1]): row[2]
        for row in session.execute(
            select(Acknowledgement.org_id, Acknowledgement.kind, Acknowledgement.at).where(Acknowledgement.alert_id == alert_id)
        )
    }
    authorities = session.scalars(query.order_by(Organisation.country, Organisation.name, Organisation.id)).all()
    lines = []
    for org in authorities:
        states = [row[1] for row in deliveries if row[0] == org.id]
        acknowledged = answers.get((org.id, "acknowledged"))
        lines.append(
            {
                "organisation": org.name,
                "country": org.country,
                "sent": len([state for state in states if state != "cancelled"]),
                "delivered": len([state for state in states if state == "done"]),
                "failing": len([state for state in states if state in FAILING]),
                "seen_at": _at(answers.get((org.id, "seen"))),
                "acknowledged_at": _at(acknowledged),
                "overdue": _overdue(alert, org.country in countries, acknowledged, now),
            }
        )
    with_authority = set(session.scalars(select(Organisation.country).where(Organisation.kind == "authority")))
    return {"alert": alert_id, "authorities": lines, "countries_without_authority": sorted(countries - with_authority)}


def _at(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _overdue(alert: Alert, concerned: bool, acknowledged: datetime | None, now: datetime) -> bool:
    clock = ACKNOWLEDGE_WITHIN.get(alert.level)
    if clock is None or not concerned or acknowledged is not None or alert.state not in ("issued", "updated"):
        return False
    return now > (alert.issued_at or alert.received_at) + clock
