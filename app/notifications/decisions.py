"""What people decide about an alert and answer to it. Nothing here commits."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal, tlp_rank
from app.notifications import queries
from app.notifications.escalation import stop_all_clocks, stop_clocks
from app.notifications.raising import LIVE_STATES, RELEASE
from app.notifications.revisions import current_revision, follow, next_revision
from app.persistence.base import new_id
from app.persistence.models import Acknowledgement, Alert, AlertApproval
from app.persistence.tasks import insert_once
from app.problems import Problem
from app.sharing.consent import without_consent


def visible_alert(session: Session, principal: Principal, alert_id: str) -> Alert:
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
    alert = visible_alert(session, principal, alert_id)
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


def close(session: Session, principal: Principal, alert_id: str, note: str, now: datetime) -> Alert:
    """The last revision of an alert that is over: nobody is asked to answer any more. Raises Problem `conflict`."""
    alert = visible_alert(session, principal, alert_id)
    if alert.state not in LIVE_STATES:
        raise Problem("conflict", f"The alert is {alert.state} already.")
    before = current_revision(session, alert)
    next_revision(session, alert, follow(before, state="closed", reason=note), now)
    stop_all_clocks(session, alert.id, now)
    return alert


def note_seen(session: Session, principal: Principal, alert: Alert, now: datetime) -> bool:
    """Note that this organisation opened the alert, the first time; whether it was that."""
    return insert_once(
        session,
        Acknowledgement,
        {
            "id": new_id(), "alert_id": alert.id, "revision": alert.revision, "org_id": principal.org_id,
            "actor": principal.actor, "kind": "seen", "note": None, "at": now,
        },
    )  # fmt: skip


def relabel(session: Session, principal: Principal, alert_id: str, tlp: str, note: str, now: datetime) -> Alert:
    """The next revision under another label. Raises Problem `conflict` where the sender of a stricter report did not consent."""
    alert = visible_alert(session, principal, alert_id)
    if alert.state not in LIVE_STATES:
        raise Problem("conflict", f"The alert is {alert.state}; its label stays.")
    before = current_revision(session, alert)
    if before.tlp == tlp == alert.tlp:
        raise Problem("conflict", f"The alert is TLP:{tlp} already.")
    if tlp_rank(tlp) < tlp_rank(max(before.tlp, alert.tlp, key=tlp_rank)):
        missing = without_consent(session, alert.id, tlp)
        if missing:
            raise Problem(
                "conflict",
                f"{len(missing)} of the reports it rests on are stricter than TLP:{tlp} and their senders did not consent.",
                reports=missing,
            )
    next_revision(session, alert, follow(before, tlp=tlp, reason=note), now)
    return alert


def answer(session: Session, principal: Principal, alert_id: str, kind: str, note: str | None, now: datetime) -> Acknowledgement:
    """Store that this organisation has `seen`, `acknowledged`, `assessed` or made a `sighting`; once each, a later note
    replaces none.

    Gives the stored answer: the first one where it was given before.
    """
    alert = visible_alert(session, principal, alert_id)
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
    if kind == "acknowledged":
        stop_clocks(session, alert.id, principal.org_id, now)
    return session.scalars(
        select(Acknowledgement).where(
            Acknowledgement.alert_id == alert.id, Acknowledgement.org_id == principal.org_id, Acknowledgement.kind == kind
        )
    ).one()
