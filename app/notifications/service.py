"""Alerts: raising them with a report, approving, answering, and following corrections. Nothing here commits.

Intake calls `raise_alerts` in the transaction that stores a report, and `reevaluate` in the one that withdraws or corrects it;
both enqueue the tasks that carry what they wrote. After the commit the caller wakes the worker with `context.wake_worker()`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.orm import Session, joinedload

from alerts.policies import ReleasePolicy, highest_tlp, tlp_rank
from alerts.render import retracted_texts, texts_of
from alerts.triggers import COUNTED_CONFIDENCE, detection_signal, signals_of
from alerts.values import DetectionFacts, ReportFacts, Scope, Signal, SubstanceFacts
from app.auth.permissions import Principal
from app.notifications import queries
from app.notifications.revisions import (
    Draft,
    add_evidence,
    current_revision,
    follow,
    next_revision,
    texts_of_revision,
    write_revision,
)
from app.persistence.base import new_id
from app.persistence.models import (
    Acknowledgement,
    Alert,
    AlertApproval,
    AlertEvidence,
    AlertKey,
    Detection,
    Report,
    Substance,
)
from app.persistence.outbox import insert_once
from app.problems import Problem

RELEASE = ReleasePolicy()
FIRST_TYPES = frozenset({"first_global", "first_region", "first_country"})
NEW_LABORATORY_REPORTS = 10
LIVE_STATES = ("draft", "issued", "updated")
WITHDRAWN = "The report it rests on was withdrawn or corrected."


def raise_alerts(session: Session, facts: ReportFacts, now: datetime) -> list[str]:
    """Store what the rules find in this report: alerts, their first revisions, evidence, and the tasks that carry them.

    Gives the ids of the alerts raised, in the order of the rules. Where another report took the key first, the next narrower
    key is tried; where all are taken the report becomes evidence of the alert that holds the narrowest. Evaluating twice
    changes nothing.
    """
    signals = signals_of(facts)
    raised: dict[int, str] = {}
    # in the order of their keys, so that two transactions never wait for each other crosswise
    for position, signal in sorted(enumerate(signals), key=lambda pair: pair[1].dedupe_key):
        alert_id = _raise(session, facts, signal, now)
        if alert_id is not None:
            raised[position] = alert_id
    return [raised[position] for position in sorted(raised)]


def _key(facts: ReportFacts, signal: Signal) -> str:
    """The key in the table. A test organisation has keys of its own, so that it never takes one from a real report."""
    key = f"test:{facts.org_id}:{signal.dedupe_key}" if facts.test else signal.dedupe_key
    return key if len(key) <= 300 else f"{key[:230]}:{hashlib.sha256(key.encode()).hexdigest()}"


def _raise(session: Session, facts: ReportFacts, signal: Signal, now: datetime) -> str | None:
    candidates = (signal, *signal.narrower)
    holder: str | None = None
    for position, candidate in enumerate(candidates):
        key = _key(facts, candidate)
        taken = session.scalar(select(AlertKey.alert_id).where(AlertKey.key == key))
        if taken is None:
            alert_id = _insert(session, facts, candidate, key, now)
            if alert_id is not None:
                for consumed in candidates[position:]:
                    insert_once(session, AlertKey, {"key": _key(facts, consumed), "alert_id": alert_id})
                return alert_id
            taken = session.scalar(select(Alert.id).where(Alert.dedupe_key == key))
        holder = taken
    if holder is not None:
        _corroborate(session, holder, facts, signal, now)
    return None


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
            "region": signal.region,
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
    alert = session.scalars(select(Alert).where(Alert.id == alert_id)).one()
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
    write_revision(session, alert, draft, now, number=1)
    return alert_id


def _corroborate(session: Session, alert_id: str, facts: ReportFacts, signal: Signal, now: datetime) -> None:
    """The report is further evidence. A stricter label of it raises the alert's; nothing else of the alert changes."""
    if not add_evidence(session, alert_id, facts.report_id, signal.detection_id, signal.case_id):
        return
    alert = session.scalars(select(Alert).where(Alert.id == alert_id)).one()
    if alert.state in LIVE_STATES and tlp_rank(facts.tlp) > tlp_rank(alert.tlp):
        next_revision(session, alert, follow(current_revision(session, alert), tlp=facts.tlp), now)


# corrections and withdrawals


def reevaluate(session: Session, report_id: str, now: datetime, facts: ReportFacts | None = None) -> list[str]:
    """Follow a withdrawal or correction of a report in every alert that cites it; the ids of alerts changed or raised.

    Call it after the new state of the report is written; `facts` are those of a corrected version, None of a withdrawn one. An
    alert that still has evidence is updated, one without is retracted; its keys are free again, and the next earliest detection
    becomes the first. What a corrected version gives rise to is raised.
    """
    changed: list[str] = []
    alerts = session.scalars(
        select(Alert)
        .join(AlertEvidence, AlertEvidence.alert_id == Alert.id)
        .where(AlertEvidence.report_id == report_id, Alert.state.in_(LIVE_STATES))
        .order_by(Alert.id)
        .with_for_update(of=Alert)
    ).all()
    # a late correction raises nothing, but what it still supports stays
    signals = signals_of(replace(facts, quiet=False)) if facts is not None else ()
    for alert in alerts:
        still = _supporting(session, alert, facts, signals) if facts is not None else None
        if facts is not None and still is not None:
            if _refresh(session, alert, facts, still, now):
                changed.append(alert.id)
            continue
        cited = session.get(AlertEvidence, (alert.id, report_id))
        assert cited is not None
        session.delete(cited)
        session.flush()
        if _has_evidence(session, alert):
            _lose_evidence(session, alert, now)
            changed.append(alert.id)
            continue
        retract(session, alert, WITHDRAWN, now)
        changed.append(alert.id)
        if alert.type in FIRST_TYPES and not alert.test:
            changed += _next_first(session, alert, now)
    if facts is not None:
        changed += raise_alerts(session, facts, now)
    return list(dict.fromkeys(changed))


def _supporting(session: Session, alert: Alert, facts: ReportFacts, signals: Sequence[Signal]) -> Signal | None:
    """The signal of the corrected report that this alert can go on with; None where there is none.

    A correction writes its harm cases anew, under new ids: an alert of the same type and substance takes the new key over.
    """
    for signal in signals:
        for one in (signal, *signal.narrower):
            if _key(facts, one) == alert.dedupe_key:
                return one
    for signal in signals:
        key = _key(facts, signal)
        same = signal.case_id is not None and signal.type == alert.type and signal.country == alert.country
        substance_id = signal.substance.id if signal.substance is not None else None
        if same and substance_id == alert.substance_id and session.get(AlertKey, key) is None:
            session.execute(update(AlertKey).where(AlertKey.key == alert.dedupe_key).values(key=key))
            alert.dedupe_key = key
            session.flush()
            return signal
    return None


def _has_evidence(session: Session, alert: Alert) -> bool:
    return bool(
        session.scalar(
            select(func.count())
            .select_from(AlertEvidence)
            .join(Report, Report.id == AlertEvidence.report_id)
            .where(AlertEvidence.alert_id == alert.id, Report.state == "active")
        )
    )


def _refresh(session: Session, alert: Alert, facts: ReportFacts, signal: Signal, now: datetime) -> bool:
    """A corrected report still supports the alert: a new revision where level, label, area or text changed; whether there was
    one.
    """
    cited = session.get(AlertEvidence, (alert.id, facts.report_id))
    if cited is not None:
        cited.detection_id, cited.case_id = signal.detection_id, signal.case_id
    before = current_revision(session, alert)
    level = int(signal.level)
    # each originator decides the label of its own report; the alert carries the strictest of them
    tlp = highest_tlp([facts.tlp, *(item.tlp for item in _other_reports(session, alert, facts.report_id))])
    texts = texts_of(signal)
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
    alert.controlled = signal.controlled
    draft = follow(
        before, level=level, tlp=tlp, texts=texts, numbers=signal.numbers, countries=[signal.country],
        audience=audience, reviewed=reviewed, reason="The report it rests on was corrected.",
    )  # fmt: skip
    next_revision(session, alert, draft, now)
    return True


def _other_reports(session: Session, alert: Alert, report_id: str) -> Sequence[Report]:
    return session.scalars(
        select(Report)
        .join(AlertEvidence, AlertEvidence.report_id == Report.id)
        .where(AlertEvidence.alert_id == alert.id, Report.id != report_id, Report.state == "active")
    ).all()


def _lose_evidence(session: Session, alert: Alert, now: datetime) -> None:
    draft = follow(current_revision(session, alert), reason="One of the reports it rests on was withdrawn or corrected.")
    next_revision(session, alert, draft, now)


def retract(session: Session, alert: Alert, reason: str, now: datetime) -> None:
    """Take the alert back: a last revision (Cancel) that says why, to all whom an earlier one reached. Its keys are freed."""
    before = current_revision(session, alert)
    draft = follow(
        before, msg_type="Cancel", state="retracted", texts=retracted_texts(texts_of_revision(before), reason), reason=reason,
        audience="full" if queries.ever_full(session, alert.id) else before.audience,
    )  # fmt: skip
    next_revision(session, alert, draft, now)
    session.execute(delete(AlertKey).where(AlertKey.alert_id == alert.id))
    alert.dedupe_key = f"{alert.dedupe_key[:250]}:retracted:{alert.id}"
    session.flush()


def _next_first(session: Session, retracted: Alert, now: datetime) -> list[str]:
    """Raise the retracted first detection anew on the earliest detection that is left in its area, if there is one."""
    area: ColumnElement[bool]
    match retracted.type:
        case "first_global":
            scope, area = Scope.WORLD, Detection.id.is_not(None)
        case "first_region":
            scope, area = Scope.REGION, Detection.region == retracted.region
        case _:
            scope, area = Scope.COUNTRY, Detection.country == retracted.country
    earliest = session.scalars(
        select(Detection)
        .join(Report, Report.id == Detection.report_id)
        .where(
            Detection.substance_id == retracted.substance_id,
            Detection.counted.is_(True),
            Detection.test.is_(False),
            Detection.relation == "parent",
            Detection.confidence.in_(COUNTED_CONFIDENCE),
            Report.state == "active",
            Report.historical.is_(False),
            area,
        )
        .options(joinedload(Detection.substance), joinedload(Detection.report).joinedload(Report.organisation))
        .order_by(Detection.received_at, Detection.id)
        .limit(1)
    ).first()
    if earliest is None or earliest.substance is None:
        return []
    facts = _facts_of_detection(session, earliest, earliest.substance, scope)
    alert_id = _raise(session, facts, detection_signal(facts, scope), now)
    return [alert_id] if alert_id is not None else []


def _facts_of_detection(session: Session, detection: Detection, substance: Substance, scope: Scope) -> ReportFacts:
    """The facts of one stored detection, as far as a first detection needs them."""
    report = detection.report
    earlier = session.scalar(
        select(func.count())
        .select_from(Report)
        .where(Report.org_id == report.org_id, Report.received_at < report.received_at, Report.state == "active")
    )
    return ReportFacts(
        report_id=report.id,
        org_id=report.org_id,
        country=detection.country,
        region=detection.region,
        subdivision=None,
        sampled_on=detection.sampled_on,
        month=detection.month,
        tlp=report.tlp,
        received_at=report.received_at,
        test=detection.test,
        quiet=False,
        new_laboratory=(earlier or 0) < NEW_LABORATORY_REPORTS,
        flagged=report.organisation.flagged,
        sold_as=None,
        detections=(
            DetectionFacts(
                detection_id=detection.id,
                position=detection.position,
                substance=SubstanceFacts(
                    id=substance.id,
                    key=substance.key,
                    name=substance.name,
                    chemical_group=substance.chemical_group,
                    effect_group=substance.effect_group,
                    controlled=detection.legal_status == "controlled",
                    legal_status=detection.legal_status,
                    inchikey=substance.inchikey,
                    alertable=not substance.ordinary,
                ),
                label=substance.name,
                resolution=detection.resolution,
                relation=detection.relation,
                confidence=detection.confidence,
                abundance=detection.abundance,
                first_in=scope,
            ),
        ),
        cases=(),
    )


# decisions and answers


def _visible_alert(session: Session, principal: Principal, alert_id: str) -> Alert:
    """The alert, locked, where this principal may see it. Raises Problem `not-found`."""
    found = queries.find(session, principal, alert_id)
    if found is None:
        raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
    session.scalar(select(Alert.id).where(Alert.id == alert_id).with_for_update())
    session.refresh(found.alert)
    return found.alert


def approvals_needed(alert: Alert) -> int:
    """How many different analysts must approve this alert before everybody hears, by the release table."""
    return RELEASE.release(alert.level, needs_approval=alert.needs_approval).approvals


def approve(session: Session, principal: Principal, alert_id: str, note: str | None, now: datetime) -> Alert:
    """Count this person's approval; with the last one needed the next revision goes to the full audience.

    A second approval by the same person changes nothing. Raises Problem `conflict` where nothing waits for approval.
    """
    alert = _visible_alert(session, principal, alert_id)
    if alert.state not in LIVE_STATES:
        raise Problem("conflict", f"The alert is {alert.state}; nothing waits for approval.")
    before = current_revision(session, alert)
    approval = {"alert_id": alert.id, "actor": principal.actor, "at": now, "note": note}
    new = insert_once(session, AlertApproval, approval)
    if before.audience == "full":
        if not new:
            return alert
        raise Problem("conflict", "The alert has gone to its full audience; nothing waits for approval.")
    given = session.scalar(select(func.count()).select_from(AlertApproval).where(AlertApproval.alert_id == alert.id)) or 0
    if given >= approvals_needed(alert):
        next_revision(session, alert, follow(before, audience="full", reviewed=True, state="issued"), now)
    return alert


def answer(session: Session, principal: Principal, alert_id: str, kind: str, note: str | None, now: datetime) -> Acknowledgement:
    """Store that this organisation has `seen`, `acknowledged`, `assessed` or made a `sighting`; once each, a later note
    replaces none.

    Gives the stored answer: the first one where it was given before.
    """
    alert = _visible_alert(session, principal, alert_id)
    insert_once(
        session,
        Acknowledgement,
        {
            "id": new_id(),
            "alert_id": alert.id,
            "revision": alert.revision,
            "org_id": principal.org_id,
            "actor": principal.actor,
            "kind": kind,
            "note": note,
            "at": now,
        },
    )
    return session.scalars(
        select(Acknowledgement).where(
            Acknowledgement.alert_id == alert.id, Acknowledgement.org_id == principal.org_id, Acknowledgement.kind == kind
        )
    ).one()
