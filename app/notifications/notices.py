"""Notices that a person writes, and the register of measures. Nothing here commits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from alerts.policies import highest_tlp
from alerts.render import control_of_status, import_texts, iso, manual_texts, measure_texts
from app.auth.permissions import Principal, Role
from app.notifications import queries
from app.notifications.raising import RELEASE
from app.notifications.revisions import Draft, write_revision
from app.notifications.schemas import MeasureIn, NoticeIn
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertKey, Measure, Organisation, Report, Sample, Substance
from app.persistence.tasks import insert_once
from app.problems import FieldError, Problem
from app.regions import region_of
from chem.stored import status_with

CONTROLLING = frozenset({"provisional_control", "permanent_control"})


def issue(session: Session, principal: Principal, wish: NoticeIn, now: datetime, *, home: Sequence[str]) -> Alert:
    """Store a manual notice, let out by the release policy. An authority writes of its own country alone.

    `home` are the instruments of the notice's country, whose law counts for it beside the UN conventions.
    Raises Problem `forbidden`, `validation`, and `conflict` where the same notice was issued before.
    """
    if principal.role is Role.AUTHORITY and wish.country != principal.country:
        raise Problem("forbidden", f"An authority issues notices of its own country, {principal.country}.")
    substance = _substance(session, wish.substance)
    subject = substance.id if substance is not None else "-"
    if wish.type == "analytical" and substance is not None:
        key = f"analytical:{subject}"
    else:
        text = "\n".join((wish.headline, wish.summary, wish.full or "", wish.country or ""))
        key = f"{wish.type}:{subject}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"
    status = control_of_status(_status(substance, home))
    draft = Draft(
        msg_type="Alert",
        audience=RELEASE.release(wish.level, needs_approval=False).audience,
        level=wish.level,
        reviewed=principal.role is Role.ANALYST and RELEASE.release(wish.level, needs_approval=False).approvals == 0,
        state="issued",
        tlp=wish.tlp,
        texts=manual_texts(
            wish.headline, wish.short, wish.summary, wish.full, wish.instruction, status, place=wish.country is not None
        ),
        numbers={"written_by": principal.role.value},
        countries=[wish.country] if wish.country else [],
    )
    alert = _store(session, principal, wish.type, key, draft, substance, wish.country, now, home)
    if alert is None:
        taken = session.scalar(select(Alert.id).where(Alert.dedupe_key == _own_key(principal, key)))
        raise Problem("conflict", f"The same notice was issued before, as alert {taken}.", alert=taken)
    return alert


def note_import(session: Session, principal: Principal, job_id: str, now: datetime) -> str | None:
    """The one notice of an import whose reports raise nothing themselves, once an import; None where it stored none.

    It says how many reports came, from where and from which months; which substances is for the pages, by what each may read.
    """
    count, first, last, countries = session.execute(
        select(func.count(), func.min(Sample.sampled_on), func.max(Sample.sampled_on), func.count(Report.country.distinct()))
        .join(Sample, Sample.report_id == Report.id)
        .where(Report.import_id == job_id, Report.historical.is_(True))
    ).one()
    if not count:
        return None
    labels = session.scalars(select(Report.tlp).where(Report.import_id == job_id).distinct()).all()
    places = session.scalars(select(Report.country).where(Report.import_id == job_id).distinct().limit(2)).all()
    draft = Draft(
        msg_type="Alert",
        audience="full",
        level=1,
        reviewed=False,
        state="issued",
        tlp=highest_tlp(labels),
        texts=import_texts(count, sorted(places) if countries == 1 else [], first, last),
        numbers={"reports": count, "first_month": f"{first:%Y-%m}", "last_month": f"{last:%Y-%m}", "countries": countries},
        countries=sorted(places) if countries == 1 else [],
    )
    alert = _store(
        session, principal, "analytical", f"analytical:import:{job_id}", draft, None, places[0] if countries == 1 else None, now
    )
    return alert.id if alert is not None else None


def _status(substance: Substance | None, home: Sequence[str]) -> str | None:
    """The legal status over the UN conventions and these instruments; None without a substance."""
    return status_with(substance.legal_status, substance.matches, home) if substance is not None else None


def _own_key(principal: Principal, key: str) -> str:
    return f"test:{principal.org_id}:{key}" if principal.test else key


def _store(
    session: Session,
    principal: Principal,
    kind: str,
    key: str,
    draft: Draft,
    substance: Substance | None,
    country: str | None,
    now: datetime,
    home: Sequence[str] = (),
) -> Alert | None:
    """The alert of a person's notice; None where its key is taken."""
    alert_id, key = new_id(), _own_key(principal, key)
    values = {
        "id": alert_id,
        "type": kind,
        "dedupe_key": key,
        "rule": f"{kind}/manual",
        "substance_id": substance.id if substance is not None else None,
        "group": substance.chemical_group if substance is not None else None,
        "country": country,
        "region": region_of(country) if country else None,
        "level": draft.level,
        "tlp": draft.tlp,
        "state": draft.state,
        "reviewed": draft.reviewed,
        "controlled": _status(substance, home) == "controlled",
        "revision": 1,
        "org_id": principal.org_id,
        "test": principal.test,
        "needs_approval": False,
        "received_at": now,
        "created_at": now,
        "issued_at": now,
    }
    if not insert_once(session, Alert, values):
        return None
    insert_once(session, AlertKey, {"key": key, "alert_id": alert_id})
    alert = session.scalars(select(Alert).where(Alert.id == alert_id)).one()
    write_revision(session, alert, draft, now, number=1)
    return alert


def _substance(session: Session, substance_id: str | None) -> Substance | None:
    if substance_id is None:
        return None
    found = session.get(Substance, substance_id)
    if found is None:
        raise Problem(
            "validation", "/substance: there is no substance of this id.", errors=[FieldError("/substance", "Unknown substance.")]
        )
    return session.get(Substance, found.merged_into) if found.merged_into is not None else found


# measures


def record_measure(
    session: Session, principal: Principal, wish: MeasureIn, now: datetime, *, home: Sequence[str]
) -> tuple[Measure, str | None]:
    """Store what this authority decided for its country, and raise `control_change` where it controls a substance.

    `home` are the instruments of the country.
    Gives the measure and the id of the alert raised, None where there is none. Raises Problem `validation` and `not-found`.
    """
    if wish.substance is None and wish.alert is None:
        raise Problem(
            "validation",
            "/substance: give a substance or an alert.",
            errors=[FieldError("/substance", "Give a substance or an alert.")],
        )
    about = queries.find(session, principal, wish.alert) if wish.alert is not None else None
    if wish.alert is not None and about is None:
        raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
    substance = _substance(session, wish.substance or (about.alert.substance_id if about is not None else None))
    measure = Measure(
        org_id=principal.org_id,
        country=principal.country,
        kind=wish.kind,
        substance_id=substance.id if substance is not None else None,
        alert_id=about.alert.id if about is not None else None,
        legal_basis=wish.legal_basis,
        valid_from=wish.valid_from,
        valid_until=wish.valid_until,
        public_text=wish.public_text,
        actor=principal.actor,
        created_at=now,
    )
    session.add(measure)
    session.flush()
    if wish.kind not in CONTROLLING or substance is None:
        return measure, None
    begins = wish.valid_from or now.date()
    draft = Draft(
        msg_type="Alert",
        audience="full",
        level=1,
        reviewed=True,
        state="issued",
        tlp="CLEAR",
        texts=measure_texts(substance.name, wish.kind, principal.country, begins, wish.valid_until),
        numbers={"kind": wish.kind, "valid_from": begins.isoformat(), "measure": measure.id},
        countries=[principal.country],
    )
    key = f"control_change:{substance.id}:{principal.country}-{wish.kind}:{begins.isoformat()}"
    alert = _store(session, principal, "control_change", key, draft, substance, principal.country, now, home)
    return measure, alert.id if alert is not None else None


def measures(
    session: Session,
    principal: Principal,
    *,
    substance: str | None,
    country: str | None,
    alert: str | None,
    before: str | None,
    limit: int,
) -> list[tuple[Measure, str]]:
    """Measures with the names of their authorities, newest first. Those of test organisations show to themselves alone."""
    query = select(Measure, Organisation.name).join(Organisation, Organisation.id == Measure.org_id)
    query = query.where((Organisation.test.is_(False)) | (Measure.org_id == principal.org_id))
    for column, value in ((Measure.substance_id, substance), (Measure.country, country), (Measure.alert_id, alert)):
        if value is not None:
            query = query.where(column == value)
    if before is not None:
        query = query.where(Measure.id < before)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Measure.id.desc()).limit(limit))]


def measure_documents(session: Session, principal: Principal, rows: Sequence[tuple[Measure, str]]) -> list[dict[str, Any]]:
    """Measures with the names of their organisations. The alert that one answers shows to those who may see it. Two queries."""
    known = queries.open_among(session, principal, (measure.alert_id for measure, _ in rows))
    return [_measure_document(measure, name, known=measure.alert_id in known) for measure, name in rows]


def _measure_document(measure: Measure, organisation: str, *, known: bool) -> dict[str, Any]:
    return {
        "id": measure.id,
        "kind": measure.kind,
        "country": measure.country,
        "organisation": organisation,
        "substance": measure.substance_id,
        "alert": measure.alert_id if known else None,
        "legal_basis": measure.legal_basis,
        "from": _day(measure.valid_from),
        "until": _day(measure.valid_until),
        "public_text": measure.public_text,
        "created_at": iso(measure.created_at),
    }


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
