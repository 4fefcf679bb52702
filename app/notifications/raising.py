"""Raising alerts with a report, in the transaction that stores it. Nothing here commits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import bindparam, delete, exists, select, update
from sqlalchemy.orm import Session

from alerts.policies import ReleasePolicy, highest_tlp, tlp_rank
from alerts.render import texts_of
from alerts.rules import signals_of
from alerts.values import ReportFacts, Signal
from app.notifications.background import background_of
from app.notifications.evaluation_queue import enqueue
from app.notifications.revisions import Draft, add_evidence, current_revision, follow, next_revision, write_first
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertApproval, AlertEvidence, AlertKey, HarmCase, Report
from app.persistence.tasks import insert_once
from app.regions import region_of

RELEASE = ReleasePolicy()
LIVE_STATES = ("draft", "issued", "updated")
CORRECTED = "The report it rests on was corrected."


_HOLDER = select(AlertKey.alert_id).where(AlertKey.key == bindparam("key"))


def raise_alerts(session: Session, facts: ReportFacts, now: datetime) -> list[str]:
    """Store what the rules find in this report: alerts, their first revisions, evidence, and the tasks that carry them.

    Gives the ids of the alerts that this report raised, in the order of the rules; of a corrected version also those that it
    raised before and still supports, which get a new revision where level, label, area or text changed. Where another report
    took the key first, the next narrower key is tried; where all are taken the report becomes evidence of the alert that holds
    the narrowest. Evaluating twice changes nothing. A quiet report raises nothing; a late correction still carries on what was
    raised before.
    """
    quiet = facts.quiet
    if quiet and not session.scalar(select(exists().where(AlertEvidence.report_id == facts.report_id))):
        return []
    loud = replace(facts, quiet=False)
    signals = signals_of(loud, background_of(session, loud))
    raised: dict[int, str] = {}
    # in the order of their keys, so that two transactions never wait for each other crosswise
    for position, signal in sorted(enumerate(signals), key=lambda pair: pair[1].dedupe_key):
        alert_id = raise_signal(session, facts, signal, now, carry_on_only=quiet)
        if alert_id is not None:
            raised[position] = alert_id
    if not quiet and not facts.test and any(detection.substance is not None for detection in facts.detections):
        enqueue(session, facts.received_at, now)
    return list(dict.fromkeys(raised[position] for position in sorted(raised)))


def stored_key(facts: ReportFacts, signal: Signal) -> str:
    """The key in the table. A test organisation has keys of its own, so that it never takes one from a real report."""
    key = f"test:{facts.org_id}:{signal.dedupe_key}" if facts.test else signal.dedupe_key
    return key if len(key) <= 300 else f"{key[:230]}:{hashlib.sha256(key.encode()).hexdigest()}"


def raise_signal(
    session: Session, facts: ReportFacts, signal: Signal, now: datetime, *, carry_on_only: bool = False
) -> str | None:
    """The id of the alert that this report raised by the signal, now or in an earlier version; None where another report did."""
    _adopt(session, facts, signal)
    candidates = (signal, *signal.narrower)
    holder: str | None = None
    for position, candidate in enumerate(candidates):
        key = stored_key(facts, candidate)
        taken = session.connection().scalar(_HOLDER, {"key": key})
        if taken is None and not carry_on_only:
            alert_id = _insert(session, facts, candidate, key, now)
            if alert_id is not None:
                for consumed in candidates[position:]:
                    insert_once(session, AlertKey, {"key": stored_key(facts, consumed), "alert_id": alert_id})
                return alert_id
            taken = session.scalar(select(Alert.id).where(Alert.dedupe_key == key))
        holder = taken or holder
    if holder is None:
        return None
    cited = session.get(AlertEvidence, (holder, facts.report_id))
    alert = session.scalars(select(Alert).where(Alert.id == holder)).one()
    if cited is not None:
        cited.detection_id, cited.case_id = signal.detection_id, signal.case_id
        for candidate in candidates:
            if stored_key(facts, candidate) == alert.dedupe_key:
                refresh(session, alert, facts, candidate, now)
        return holder
    if not carry_on_only:
        _corroborate(session, alert, facts, signal, now)
    return None


def _adopt(session: Session, facts: ReportFacts, signal: Signal) -> None:
    """Give an alert of the same case the key of this version: a correction writes its harm cases anew, under new ids."""
    if signal.case_id is None or facts.first_received_at is None or session.get(AlertKey, stored_key(facts, signal)) is not None:
        return
    alert = session.scalars(
        select(Alert)
        .join(AlertEvidence, AlertEvidence.alert_id == Alert.id)
        .join(HarmCase, HarmCase.id == AlertEvidence.case_id)
        .where(
            AlertEvidence.report_id == facts.report_id,
            HarmCase.counted.is_(False),
            Alert.type == signal.type,
            Alert.state.in_(LIVE_STATES),
            Alert.substance_id == (signal.substance.id if signal.substance is not None else None),
        )
        .order_by(Alert.id)
        .limit(1)
    ).first()
    if alert is None:
        return
    key = stored_key(facts, signal)
    session.execute(update(AlertKey).where(AlertKey.key == alert.dedupe_key).values(key=key))
    alert.dedupe_key = key
    session.flush()


def _insert(session: Session, facts: ReportFacts, signal: Signal, key: str, now: datetime) -> str | None:
    """Insert the alert with its evidence and first revision; None where the key was taken at the same moment."""
    alert_id = new_id()
    needs_approval = facts.new_laboratory or facts.flagged
    release = RELEASE.release(signal.level, needs_approval=needs_approval)
    inserted = insert_once(
        session,
        Alert,
        {
            "id": alert_id,
            "type": signal.type,
            "dedupe_key": key,
            "rule": signal.rule,
            "substance_id": signal.substance.id if signal.substance is not None else None,
            "group": signal.substance.chemical_group if signal.substance is not None else None,
            "country": signal.country,
            "region": signal.region or region_of(signal.country),
            "level": int(signal.level),
            "tlp": facts.tlp,
            "state": "issued",
            "reviewed": False,
            "controlled": signal.controlled,
            "revision": 1,
            "org_id": facts.org_id,
            "test": facts.test,
            "needs_approval": needs_approval,
            "received_at": facts.received_at,
            "created_at": now,
            "issued_at": now,
        },
    )
    if not inserted:
        return None
    add_evidence(session, alert_id, facts.report_id, signal.detection_id, signal.case_id)
    draft = Draft(
        msg_type="Alert",
        audience=release.audience,
        level=int(signal.level),
        reviewed=False,
        state="issued",
        tlp=facts.tlp,
        texts=texts_of(signal),
        numbers=signal.numbers,
        countries=[signal.country],
    )
    write_first(session, alert_id, draft, now)
    return alert_id


def _corroborate(session: Session, alert: Alert, facts: ReportFacts, signal: Signal, now: datetime) -> None:
    """The report is further evidence. A stricter label of it raises the alert's; nothing else of the alert changes."""
    add_evidence(session, alert.id, facts.report_id, signal.detection_id, signal.case_id)
    if alert.state in LIVE_STATES and tlp_rank(facts.tlp) > tlp_rank(alert.tlp):
        next_revision(session, alert, follow(current_revision(session, alert), tlp=facts.tlp), now)


def refresh(session: Session, alert: Alert, facts: ReportFacts, signal: Signal, now: datetime) -> bool:
    """A corrected report still supports the alert: a new revision where level, label, area or text changed; whether there was
    one.
    """
    others = _other_reports(session, alert, facts.report_id)
    before = current_revision(session, alert)
    # each originator decides the label of its own report; the alert carries the strictest of them
    tlp = highest_tlp([facts.tlp, *(item.tlp for item in others)])
    if others:  # its words are those of the report that raised it
        if tlp == before.tlp:
            return False
        next_revision(session, alert, follow(before, tlp=tlp, reason=CORRECTED), now)
        return True
    level, texts = int(signal.level), texts_of(signal)
    same = (before.level, before.tlp, before.headline, before.summary, before.countries)
    if same == (level, tlp, texts.headline, texts.summary, [signal.country]):
        return False
    audience, reviewed = before.audience, before.reviewed
    if level > before.level:
        release = RELEASE.release(level, needs_approval=alert.needs_approval)
        if release.approvals:
            session.execute(delete(AlertApproval).where(AlertApproval.alert_id == alert.id))
            audience, reviewed = release.audience, False
    elif level < before.level and not RELEASE.release(level, needs_approval=alert.needs_approval).approvals:
        audience = "full"
    alert.controlled, alert.country = signal.controlled, signal.country
    alert.region = signal.region or region_of(signal.country)
    draft = follow(
        before, level=level, tlp=tlp, texts=texts, numbers=signal.numbers, countries=[signal.country],
        audience=audience, reviewed=reviewed, reason=CORRECTED,
    )  # fmt: skip
    next_revision(session, alert, draft, now)
    return True


def _other_reports(session: Session, alert: Alert, report_id: str) -> Sequence[Report]:
    return session.scalars(
        select(Report)
        .join(AlertEvidence, AlertEvidence.report_id == Report.id)
        .where(AlertEvidence.alert_id == alert.id, Report.id != report_id, Report.state == "active")
    ).all()
