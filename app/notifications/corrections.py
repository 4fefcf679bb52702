"""What withdrawing or correcting a report does to the alerts that cite it. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.orm import Session, joinedload

from alerts.policies import NEW_LABORATORY_REPORTS
from alerts.render import retracted_texts
from alerts.triggers import COUNTED_CONFIDENCE, detection_signal, first_detections
from alerts.values import DetectionFacts, ReportFacts, Scope, SubstanceFacts
from app.notifications import queries
from app.notifications.raising import LIVE_STATES, raise_alerts, raise_signal, refresh
from app.notifications.revisions import current_revision, follow, next_revision, texts_of_revision
from app.persistence.models import Alert, AlertEvidence, AlertKey, Detection, HarmCase, Report, Substance

SCOPES = {"first_global": Scope.WORLD, "first_region": Scope.REGION, "first_country": Scope.COUNTRY}
WITHDRAWN = "The report it rests on was withdrawn or corrected."


def reevaluate(session: Session, report_id: str, now: datetime, facts: ReportFacts | None = None) -> list[str]:
    """Follow a withdrawal or correction of a report in every alert that cites it; the ids of alerts raised, carried on or
    changed.

    Call it after the new state of the report is written. `facts` are those of a corrected version: what it gives rise to is
    raised or carried on first (leave them out where `raise_alerts` was called with them). An alert that the report no longer
    supports loses it as evidence: it is updated where other evidence is left, else retracted; its keys are then free, and the
    next earliest detection becomes the first.
    """
    changed = raise_alerts(session, facts, now) if facts is not None else []
    alerts = session.scalars(
        select(Alert)
        .join(AlertEvidence, AlertEvidence.alert_id == Alert.id)
        .where(AlertEvidence.report_id == report_id, Alert.state.in_(LIVE_STATES))
        .order_by(Alert.id)
        .with_for_update(of=Alert)
    ).all()
    report = session.scalars(select(Report).where(Report.id == report_id)).one()
    for alert in alerts:
        cited = session.get_one(AlertEvidence, (alert.id, report_id))
        if report.state == "active" and _supports(session, alert, cited, now):
            continue
        session.delete(cited)
        session.flush()
        changed.append(alert.id)
        if _has_evidence(session, alert):
            _lose_evidence(session, alert, now)
            continue
        retract(session, alert, WITHDRAWN, now)
        if alert.type in SCOPES and not alert.test:
            changed += _next_first(session, alert, now)
    return list(dict.fromkeys(changed))


def _supports(session: Session, alert: Alert, cited: AlertEvidence, now: datetime) -> bool:
    """Whether the present version of the report still supports the alert; a first detection's words are brought up to date."""
    if alert.type in SCOPES:
        still = session.scalars(
            _firsts(alert).where(Detection.report_id == cited.report_id).order_by(Detection.position).limit(1)
        ).first()
        if still is None or still.substance is None:
            return False
        cited.detection_id = still.id
        scope = SCOPES[alert.type]
        facts = _facts_of_detection(session, still, still.substance, scope)
        refresh(session, alert, facts, detection_signal(facts, scope), now)
        return True
    detection = session.get(Detection, cited.detection_id) if cited.detection_id is not None else None
    case = session.get(HarmCase, cited.case_id) if cited.case_id is not None else None
    return (detection is None or detection.counted) and (case is None or case.counted)


def carry_over(session: Session, alerts: Sequence[Alert], substance: Substance, now: datetime) -> list[str]:
    """What these first detections cited went to another substance: in the widest of their areas that is new to that one, its
    earliest detection is raised as the first. Gives the ids of alerts raised.
    """
    raised: list[str] = []
    if substance.ordinary:
        return raised
    scopes = list(SCOPES.items())
    for alert in alerts:
        if alert.type not in SCOPES or alert.test:
            continue
        for kind, scope in scopes[list(SCOPES).index(alert.type) :]:
            area = _area(scope, alert)
            counted = _counted(substance.id, area, test=False).where(Report.historical.is_(False))
            earliest = session.scalars(counted.order_by(Report.received_at, Detection.id).limit(1)).first()
            key = {Scope.WORLD: "world", Scope.REGION: alert.region, Scope.COUNTRY: alert.country}[scope]
            if earliest is None or session.get(AlertKey, f"{kind}:{substance.id}:{key}") is not None:
                continue
            facts = _facts_of_detection(session, earliest, substance, scope)
            raised += [i for s in first_detections(facts) if (i := raise_signal(session, facts, s, now)) is not None]
            break
    return raised


def _area(scope: Scope, alert: Alert) -> ColumnElement[bool]:
    match scope:
        case Scope.WORLD:
            return Detection.id.is_not(None)
        case Scope.REGION:
            return Detection.region == alert.region
        case _:
            return Detection.country == alert.country


def _firsts(alert: Alert) -> Select[Detection]:
    """Counted detections that could be the first of this alert's substance in its area, with what describes them."""
    return _counted(alert.substance_id, _area(SCOPES[alert.type], alert), test=alert.test)


def _counted(substance_id: str | None, area: ColumnElement[bool], *, test: bool) -> Select[Detection]:
    return (
        select(Detection)
        .join(Report, Report.id == Detection.report_id)
        .where(
            Detection.substance_id == substance_id,
            Detection.counted.is_(True),
            Detection.test.is_(test),
            Detection.relation == "parent",
            Detection.confidence.in_(COUNTED_CONFIDENCE),
            Report.state == "active",
            area,
        )
        .options(joinedload(Detection.substance), joinedload(Detection.report).joinedload(Report.organisation))
    )


def _has_evidence(session: Session, alert: Alert) -> bool:
    return bool(
        session.scalar(
            select(func.count())
            .select_from(AlertEvidence)
            .join(Report, Report.id == AlertEvidence.report_id)
            .where(AlertEvidence.alert_id == alert.id, Report.state == "active")
        )
    )


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
    earliest = session.scalars(
        _firsts(retracted).where(Report.historical.is_(False)).order_by(Report.received_at, Detection.id).limit(1)
    ).first()
    if earliest is None or earliest.substance is None:
        return []
    scope = SCOPES[retracted.type]
    facts = _facts_of_detection(session, earliest, earliest.substance, scope)
    alert_id = raise_signal(session, facts, detection_signal(facts, scope), now)
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
                    harmful_adulterant=substance.harmful_adulterant,
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
