"""Storing and listing what is stated beside single findings. A correction replaces a row and keeps it; nothing is deleted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, and_, false, or_, select
from sqlalchemy.orm import Session, joinedload, selectinload

from app.auth.permissions import Principal, Role, visible_tlp
from app.chemistry import Chemistry
from app.intake.resolve import ResolvedSubstance, resolve_substances
from app.intake.schemas import first_day
from app.intake.substances import substance_row
from app.intake.vocabularies import INDUSTRY_INCIDENT_KINDS
from app.persistence.base import new_id
from app.persistence.models import (
    ActivityReport,
    AggregateReport,
    AggregateRow,
    Incident,
    IncidentSubstance,
    Organisation,
)
from app.problems import FieldError, Problem
from app.sharing.rows import single
from app.statements.schemas import ActivityIn, AggregateIn, IncidentIn, NamedIn, bounds

Row = TypeVar("Row", ActivityReport, AggregateReport, Incident)
Periodic = TypeVar("Periodic", ActivityReport, AggregateReport)


def _field_problem(pointer: str, detail: str) -> Problem:
    return Problem("validation", f"{pointer}: {detail}", errors=[FieldError(pointer, detail)])


def check_period(period: str, today: date) -> None:
    """Raises a validation Problem where the period has not begun."""
    if bounds(period)[0] > today:
        raise _field_problem("/period", f"{period} lies in the future (today is {today.isoformat()}, UTC).")


def check_country(given: str | None, principal: Principal) -> str:
    """The country of a statement. An authority speaks for its own country; a laboratory may test samples of another."""
    if given is not None and principal.role is Role.AUTHORITY and given != principal.country:
        raise _field_problem("/country", f"An authority of {principal.country} states figures of {principal.country} only.")
    return given or principal.country


def resolve(substances: Sequence[NamedIn], chemistry: Chemistry, today: date, country: str) -> list[ResolvedSubstance]:
    """What each named substance is; before the transaction opens. Raises Problem with pointers into `substances`."""
    return resolve_substances([given.substance() for given in substances], chemistry, today, country)


def _replaced(session: Session, model: type[Row], replaces: str | None, principal: Principal) -> Row | None:
    """The row that a correction replaces. Raises Problem where it is not this organisation's or no longer current."""
    if replaces is None:
        return None
    row: Row | None = session.scalar(
        select(model).where(model.id == replaces, model.org_id == principal.org_id).with_for_update()
    )
    if row is None:
        raise _field_problem("/replaces", f"There is no statement {replaces} of this organisation.")
    if row.replaced_by is not None or row.withdrawn_at is not None:
        raise Problem("conflict", f"{replaces} was {'replaced' if row.replaced_by else 'withdrawn'} before.")
    return row


def _own(session: Session, model: type[Row], row_id: str, principal: Principal) -> Row | None:
    found: Row | None = session.scalars(
        select(model).where(model.id == row_id, model.org_id == principal.org_id).with_for_update()
    ).first()
    return found


def _check_overlap(
    session: Session,
    model: type[Periodic],
    principal: Principal,
    country: str,
    context: str | None,
    period: str,
    replaced: str | None,
) -> None:
    """Two statements on one time would count it twice: the second has to say that it replaces the first."""
    first, last = bounds(period)
    contexts: ColumnElement[bool] = or_(model.context.is_(None), model.context == context) if context else model.id.is_not(None)
    other: ActivityReport | AggregateReport | None = session.scalar(
        select(model).where(
            current(model), model.org_id == principal.org_id, model.country == country, contexts,
            model.first_day <= last, model.last_day >= first, model.id != (replaced or ""),
        )
    )  # fmt: skip
    if other is not None:
        raise Problem(
            "conflict",
            f"{other.period} of {country} was stated before in {other.id}. Send replaces with that id, or another period.",
            statement_id=other.id,
        )


def current(model: type[ActivityReport] | type[AggregateReport] | type[Incident]) -> ColumnElement[bool]:
    return and_(model.replaced_by.is_(None), model.withdrawn_at.is_(None))


def store_activity(session: Session, given: ActivityIn, body: str, principal: Principal, now: datetime) -> dict[str, Any]:
    country = check_country(given.country, principal)
    replaced = _replaced(session, ActivityReport, given.replaces, principal)
    _check_overlap(session, ActivityReport, principal, country, given.context, given.period, given.replaces)
    first, last = bounds(given.period)
    row = ActivityReport(
        id=new_id(), org_id=principal.org_id, country=country, period=given.period, first_day=first, last_day=last,
        context=given.context, samples_tested=given.samples_tested, samples_with_nps=given.samples_with_nps, tlp=given.tlp,
        test=principal.test, body=body, actor=principal.actor, received_at=now,
    )  # fmt: skip
    _add(session, row, replaced)
    return present_activity(row, principal, principal.org_name)


def store_aggregate(
    session: Session,
    chemistry: Chemistry,
    given: AggregateIn,
    resolved: Sequence[ResolvedSubstance],
    body: str,
    principal: Principal,
    now: datetime,
) -> dict[str, Any]:
    country = check_country(given.country, principal)
    replaced = _replaced(session, AggregateReport, given.replaces, principal)
    _check_overlap(session, AggregateReport, principal, country, given.context, given.period, given.replaces)
    first, last = bounds(given.period)
    row = AggregateReport(
        id=new_id(), org_id=principal.org_id, country=country, period=given.period, first_day=first, last_day=last,
        context=given.context, samples_tested=given.samples_tested, tlp=given.tlp, test=principal.test, body=body,
        actor=principal.actor, received_at=now,
    )  # fmt: skip
    row.rows = []
    for source, item in zip(given.substances, resolved, strict=True):
        substance = substance_row(session, chemistry, item, now) if item.substance else None
        row.rows.append(
            AggregateRow(
                position=item.position, substance=substance, resolution=item.resolution, label=_label(item),
                detections=source.detections, deaths=source.deaths,
            )
        )  # fmt: skip
    _add(session, row, replaced)
    return present_aggregate(row, principal, principal.org_name)


def store_incident(
    session: Session,
    chemistry: Chemistry,
    given: IncidentIn,
    resolved: Sequence[ResolvedSubstance],
    body: str,
    principal: Principal,
    now: datetime,
) -> dict[str, Any]:
    if principal.role is Role.INDUSTRY and given.kind not in INDUSTRY_INCIDENT_KINDS:
        raise _field_problem("/kind", f"An industry partner reports one of {', '.join(INDUSTRY_INCIDENT_KINDS)}.")
    if first_day(given.date) > now.date():
        raise _field_problem("/date", f"{given.date} lies in the future (today is {now.date().isoformat()}, UTC).")
    country = check_country(given.country, principal)
    replaced = _replaced(session, Incident, given.replaces, principal)
    same = session.scalar(
        select(Incident.id).where(
            current(Incident), Incident.org_id == principal.org_id, Incident.reference == given.reference,
            Incident.id != (given.replaces or ""),
        )
    )  # fmt: skip
    if same is not None:
        raise Problem("duplicate-reference", f"reference {given.reference!r} is incident {same}.", statement_id=same)
    row = Incident(
        id=new_id(), org_id=principal.org_id, reference=given.reference, kind=given.kind, country=country,
        event_date=given.date, first_day=first_day(given.date), origin=given.origin, transit=list(given.transit),
        destination=given.destination, mode=given.mode, concealment=given.concealment, sale_channel=given.sale_channel,
        quantity_value=given.quantity.value if given.quantity else None,
        quantity_unit=given.quantity.unit if given.quantity else None,
        comment=given.comment, tlp=given.tlp, test=principal.test, body=body, actor=principal.actor, received_at=now,
    )  # fmt: skip
    row.substances = []
    for source, item in zip(given.substances, resolved, strict=True):
        substance = substance_row(session, chemistry, item, now) if item.substance else None
        row.substances.append(
            IncidentSubstance(
                position=item.position, substance=substance, resolution=item.resolution, label=_label(item),
                precursor=source.precursor,
            )
        )  # fmt: skip
    _add(session, row, replaced)
    return present_incident(row, principal, principal.org_name)


def _label(item: ResolvedSubstance) -> str:
    return (item.label or (item.substance.name if item.substance else "") or "(no name)")[:400]


def _add(session: Session, row: Row, replaced: Row | None) -> None:
    session.add(row)
    session.flush()
    if replaced is not None:
        replaced.replaced_by = row.id


def withdraw(session: Session, model: type[Row], row_id: str, reason: str, principal: Principal, now: datetime) -> dict[str, Any]:
    """Take a statement back; it stays on file with the reason."""
    row = _own(session, model, row_id, principal)
    if row is None:
        raise Problem("not-found", f"There is no statement {row_id} of this organisation.")
    if row.replaced_by is not None or row.withdrawn_at is not None:
        raise Problem("conflict", f"{row_id} was {'replaced' if row.replaced_by else 'withdrawn'} before.")
    row.withdrawn_at, row.withdrawn_reason = now, reason
    return {"id": row.id, "state": "withdrawn"}


# -- reading ---------------------------------------------------------------------------------------------------------------


def readable(model: type[ActivityReport] | type[AggregateReport], principal: Principal) -> ColumnElement[bool]:
    """Statements whose label the reader may hold, their own, and an authority's own country's; tests only one's own."""
    return single(principal, org_id=model.org_id, country=model.country, tlp=model.tlp, test=model.test)


def readable_incidents(principal: Principal) -> ColumnElement[bool]:
    """Incidents are for their sender, the authority of their country, and an analyst (without the route)."""
    own = Incident.org_id == principal.org_id
    match principal.role:
        case Role.AUTHORITY:
            labels = Incident.tlp.in_(visible_tlp(principal, own_country=True))
            return or_(own, and_(Incident.country == principal.country, labels, Incident.test.is_(False)))
        case Role.ANALYST:
            return and_(Incident.tlp.in_(visible_tlp(principal, own_country=False)), Incident.test.is_(False))
        case Role.LAB | Role.INDUSTRY:
            return own
        case _:
            return false()


def page_of(
    session: Session,
    model: type[Row],
    condition: ColumnElement[bool],
    principal: Principal,
    present: Callable[[Row, Principal, str | None], dict[str, Any]],
    *,
    before: str | None,
    limit: int,
) -> dict[str, Any]:
    """One page, newest first, as the contract shapes lists."""
    query = select(model).where(condition).options(joinedload(model.organisation))
    if model is AggregateReport:
        query = query.options(selectinload(AggregateReport.rows).joinedload(AggregateRow.substance))
    if model is Incident:
        query = query.options(selectinload(Incident.substances).joinedload(IncidentSubstance.substance))
    if before is not None:
        query = query.where(model.id < before)
    found = list(session.scalars(query.order_by(model.id.desc()).limit(limit + 1)).unique())
    items = [present(row, principal, _laboratory(row.organisation, row.country, principal)) for row in found[:limit]]
    return {"items": items, "next_cursor": found[limit - 1].id if len(found) > limit else None}


def _laboratory(organisation: Organisation, country: str, principal: Principal) -> str | None:
    """The sender's name, for those who may know it: itself, its country's authority, an analyst."""
    shown = (
        organisation.id == principal.org_id
        or principal.role is Role.ANALYST
        or (principal.role is Role.AUTHORITY and principal.country == country)
    )
    return organisation.name if shown else None


def _head(row: Row, organisation: str | None) -> dict[str, Any]:
    state = "withdrawn" if row.withdrawn_at else "replaced" if row.replaced_by else "current"
    return {
        "id": row.id,
        "state": state,
        "replaced_by": row.replaced_by,
        "organisation": organisation,
        "country": row.country,
        "tlp": row.tlp,
        "received_at": row.received_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }


def present_activity(row: ActivityReport, principal: Principal, organisation: str | None) -> dict[str, Any]:
    return _head(row, organisation) | {
        "period": row.period,
        "context": row.context,
        "samples_tested": row.samples_tested,
        "samples_with_nps": row.samples_with_nps,
    }


def present_aggregate(row: AggregateReport, principal: Principal, organisation: str | None) -> dict[str, Any]:
    return _head(row, organisation) | {
        "period": row.period,
        "context": row.context,
        "samples_tested": row.samples_tested,
        "substances": [
            {
                "substance_id": item.substance_id or (item.substance.id if item.substance else None),
                "name": item.substance.name if item.substance else None,
                "reported_name": item.label,
                "resolution": item.resolution,
                "detections": item.detections,
                "deaths": item.deaths,
            }
            for item in row.rows
        ],
    }


def present_incident(row: Incident, principal: Principal, organisation: str | None) -> dict[str, Any]:
    """Route and free text only to the sender and its country's authority; an analyst is granted neither by role."""
    whole = row.org_id == principal.org_id or (principal.role is Role.AUTHORITY and principal.country == row.country)
    quantity = {"value": row.quantity_value, "unit": row.quantity_unit} if row.quantity_value is not None else None
    return _head(row, organisation) | {
        "reference": row.reference if whole else None,
        "kind": row.kind,
        "date": row.event_date if whole or principal.role is Role.ANALYST else row.event_date[:7],
        "quantity": quantity,
        "origin": row.origin if whole else None,
        "transit": row.transit if whole else [],
        "destination": row.destination if whole else None,
        "mode": row.mode if whole else None,
        "concealment": row.concealment if whole else None,
        "sale_channel": row.sale_channel,
        "comment": row.comment if whole else None,
        "substances": [
            {
                "substance_id": item.substance_id or (item.substance.id if item.substance else None),
                "name": item.substance.name if item.substance else None,
                "reported_name": item.label if whole else None,
                "resolution": item.resolution,
                "precursor": item.precursor,
            }
            for item in row.substances
        ],
    }
