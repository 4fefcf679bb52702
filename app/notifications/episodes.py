"""Alerts of the statistical rules: one an episode, updated as it grows. Nothing here commits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from alerts.policies import highest_tlp
from alerts.render import texts_of
from alerts.values import Signal
from app.notifications.raising import LIVE_STATES, RELEASE
from app.notifications.revisions import Draft, add_evidence, current_revision, follow, next_revision, write_revision
from app.notifications.series import Finding
from app.persistence.base import new_id
from app.persistence.models import Alert, AlertApproval, AlertKey, AlertRevision
from app.persistence.tasks import insert_once

EPISODE_GAP = {"spike": timedelta(weeks=4), "cluster": timedelta(days=30), "rapid_spread": timedelta(days=90)}
MOST_EVIDENCE = 500


def raise_episode(session: Session, signal: Signal, evidence: Sequence[Finding], now: datetime) -> str | None:
    """Raise the alert of a new episode or update that of the running one; its id, None where nothing changed.

    An episode runs on while its evaluations are no further apart than the gap of its type. It is updated where it has new
    evidence; the level never falls within an episode.
    """
    running = _running(session, signal, evidence)
    if running is not None:
        return _grow(session, running, signal, evidence, now)
    alert_id = new_id()
    release = RELEASE.release(signal.level, needs_approval=False)
    tlp = highest_tlp(item.tlp for item in evidence)
    assert signal.substance is not None
    values = {
        "id": alert_id,
        "type": signal.type,
        "dedupe_key": signal.dedupe_key,
        "rule": signal.rule,
        "substance_id": signal.substance.id,
        "group": signal.substance.chemical_group,
        "country": signal.country if signal.type != "rapid_spread" else None,
        "region": signal.region,
        "level": int(signal.level),
        "tlp": tlp,
        "state": "issued",
        "reviewed": False,
        "controlled": signal.controlled,
        "revision": 1,
        "org_id": None,
        "test": False,
        "needs_approval": False,
        "received_at": max(item.received_at for item in evidence),
        "created_at": now,
        "issued_at": now,
    }
    if not insert_once(session, Alert, values):
        return None
    insert_once(session, AlertKey, {"key": signal.dedupe_key, "alert_id": alert_id})
    alert = session.scalars(select(Alert).where(Alert.id == alert_id)).one()
    _cite(session, alert_id, evidence)
    draft = Draft(
        msg_type="Alert",
        audience=release.audience,
        level=int(signal.level),
        reviewed=False,
        state="issued",
        tlp=tlp,
        texts=texts_of(signal, count=len({item.report_id for item in evidence})),
        numbers=signal.numbers,
        countries=_countries(signal),
    )
    write_revision(session, alert, draft, now, number=1)
    return alert_id


def _countries(signal: Signal) -> list[str]:
    countries = signal.numbers.get("countries")
    return [str(code) for code in countries] if isinstance(countries, list) else [signal.country]


def _cite(session: Session, alert_id: str, evidence: Sequence[Finding]) -> int:
    """Note the reports under the alert, the newest 500; the number of new ones."""
    return sum(
        add_evidence(session, alert_id, item.report_id, item.detection_id, item.case_id)
        for item in list(evidence)[-MOST_EVIDENCE:]
    )


def _running(session: Session, signal: Signal, evidence: Sequence[Finding]) -> Alert | None:
    """The live alert of the same episode: of the same key, or of the same series with a revision no older than the gap."""
    assert signal.substance is not None
    gap = EPISODE_GAP[signal.type]
    since, until = min(item.received_at for item in evidence) - gap, max(item.received_at for item in evidence) + gap
    same = select(Alert).where(
        Alert.type == signal.type,
        Alert.substance_id == signal.substance.id,
        Alert.state.in_(LIVE_STATES),
        Alert.test.is_(False),
        Alert.received_at >= since,
        Alert.received_at <= until,
    )
    if signal.type != "rapid_spread":
        same = same.where(Alert.country == signal.country)
    if signal.type == "cluster":
        area = signal.dedupe_key.split(":")[2]
        same = same.where(Alert.dedupe_key.startswith(f"cluster:{signal.substance.id}:{area}:", autoescape=True))
    return session.scalars(same.order_by(Alert.id.desc()).limit(1).with_for_update(of=Alert)).first()


def _grow(session: Session, alert: Alert, signal: Signal, evidence: Sequence[Finding], now: datetime) -> str | None:
    if not _cite(session, alert.id, evidence) or max(item.received_at for item in evidence) < alert.received_at:
        return None  # what was evaluated late adds its evidence, and does not turn the words back
    before: AlertRevision = current_revision(session, alert)
    level = max(before.level, int(signal.level))
    tlp = highest_tlp([before.tlp, *(item.tlp for item in evidence)])
    countries = list(dict.fromkeys([*before.countries, *_countries(signal)]))
    texts = texts_of(signal, count=len({item.report_id for item in evidence}))
    alert.received_at = max(alert.received_at, *(item.received_at for item in evidence))
    if (level, tlp, countries, texts.headline, texts.summary) == (
        before.level, before.tlp, before.countries, before.headline, before.summary,
    ):  # fmt: skip
        return None
    audience, reviewed = before.audience, before.reviewed
    if level > before.level and RELEASE.release(level, needs_approval=False).approvals:
        audience, reviewed = RELEASE.release(level, needs_approval=False).audience, False
        session.execute(delete(AlertApproval).where(AlertApproval.alert_id == alert.id))
    draft = follow(
        before,
        level=level,
        tlp=tlp,
        texts=texts,
        numbers=signal.numbers,
        countries=countries,
        audience=audience,
        reviewed=reviewed,
    )
    next_revision(session, alert, draft, now)
    return alert.id
