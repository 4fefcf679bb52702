"""For each alert and authority: sent, delivered, seen, acknowledged, overdue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.policies import ACKNOWLEDGE_WITHIN
from alerts.render import iso
from app.auth.permissions import Principal, Role
from app.notifications import queries
from app.persistence.models import Acknowledgement, Alert, Organisation, Subscription, Task
from app.problems import Problem

FAILING = ("dead", "parked")
ID_LENGTH = 26  # the key of a delivery begins with the id of its alert


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
    return coverages_of(session, principal, [alert], now)[alert_id]


def coverages_of(session: Session, principal: Principal, alerts: Sequence[Alert], now: datetime) -> dict[str, dict[str, Any]]:
    """The same by id, for alerts that the principal may see. Five queries, whatever their number."""
    ids = [alert.id for alert in alerts]
    alert_of = func.substr(Task.key, 1, ID_LENGTH)
    deliveries: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    rows = session.execute(
        select(alert_of, Subscription.org_id, Task.state)
        .join(Subscription, Subscription.id == Task.lane)
        .where(Task.topic == "deliver", alert_of.in_(ids))
    )
    for alert_id, org_id, state in rows:
        deliveries[alert_id][org_id].append(state)
    answers: dict[tuple[str, str, str], datetime] = {
        (row[0], row[1], row[2]): row[3]
        for row in session.execute(
            select(Acknowledgement.alert_id, Acknowledgement.org_id, Acknowledgement.kind, Acknowledgement.at).where(
                Acknowledgement.alert_id.in_(ids)
            )
        )
    }
    query = select(Organisation).where(Organisation.kind == "authority")
    if principal.role is Role.AUTHORITY:
        query = query.where(Organisation.id == principal.org_id)
    authorities = session.scalars(query.order_by(Organisation.country, Organisation.name, Organisation.id)).all()
    with_authority = set(session.scalars(select(Organisation.country).where(Organisation.kind == "authority")))
    countries_of = queries.countries_of(session, ids)
    found = {}
    for alert in alerts:
        countries, told = set(countries_of.get(alert.id, ())), deliveries[alert.id]
        lines = []
        for org in authorities:
            if org.id not in told and (org.test or org.country not in countries):
                continue
            states = told.get(org.id, [])
            acknowledged = answers.get((alert.id, org.id, "acknowledged"))
            lines.append(
                {
                    "organisation": org.name,
                    "country": org.country,
                    "sent": len([state for state in states if state != "cancelled"]),
                    "delivered": len([state for state in states if state == "done"]),
                    "failing": len([state for state in states if state in FAILING]),
                    "seen_at": _at(answers.get((alert.id, org.id, "seen"))),
                    "acknowledged_at": _at(acknowledged),
                    "overdue": _overdue(alert, org.country in countries, acknowledged, now),
                }
            )
        found[alert.id] = {
            "alert": alert.id, "authorities": lines, "countries_without_authority": sorted(countries - with_authority),
        }  # fmt: skip
    return found


def _at(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _overdue(alert: Alert, concerned: bool, acknowledged: datetime | None, now: datetime) -> bool:
    clock = ACKNOWLEDGE_WITHIN.get(alert.level)
    if clock is None or not concerned or acknowledged is not None or alert.state not in ("issued", "updated"):
        return False
    return now > (alert.issued_at or alert.received_at) + clock
