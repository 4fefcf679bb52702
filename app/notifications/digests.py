"""What a weekly digest says beside its notices: series that stand above what was expected."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from alerts.render import country_name, one_line
from alerts.values import Filter
from app.auth.accounts import principal_of
from app.auth.permissions import Action, may
from app.notifications import queries
from app.notifications.series import monday, weekly
from app.persistence.models import Detection, Organisation, SeriesEvaluation, Subscription, Substance
from app.regions import region_of
from app.sharing.rows import readable_detections

MOST_SERIES = 20


def held_series(session: Session, subscription: Subscription, org: Organisation, until: datetime) -> list[str]:
    """A sentence for each series of the past seven days that stands at a false discovery rate of 5 %, least likely first.

    Only for roles that read counts, only what the endpoint's filter takes, and only where every finding under it is one that
    this reader may read at TLP:GREEN or less: the sentence then says nothing of any other row.
    """
    principal = principal_of(org, subscription.role, f"endpoint:{subscription.id[:26]}")
    if not may(principal, Action.COUNTS_READ) or org.test or subscription.tlp_max == "CLEAR":
        return []
    readable = and_(readable_detections(principal), Detection.tlp.in_(("CLEAR", "GREEN")))
    wish = queries.filter_of(subscription)
    rows = session.execute(
        select(SeriesEvaluation, Substance)
        .join(Substance, Substance.id == SeriesEvaluation.substance_id)
        .where(SeriesEvaluation.held.is_(True), SeriesEvaluation.week >= monday(until - timedelta(days=7)))
        .order_by(SeriesEvaluation.p, SeriesEvaluation.id)
        .limit(10 * MOST_SERIES)
    )
    found = []
    for kept, substance in rows:
        if not _wanted(kept, substance, wish):
            continue
        series = weekly(session, substance, kept.country, kept.as_of, readable)
        if series.counts != tuple(kept.counts):
            continue
        found.append(
            f"{one_line(substance.name, 120)}, {country_name(kept.country)}: {kept.observed} detections in "
            f"{_weeks(kept.window)}, {kept.expected:.1f} expected"
        )
        if len(found) == MOST_SERIES:
            break
    return found


def _weeks(window: int) -> str:
    return "a week" if window == 1 else f"{window} weeks"


def _wanted(kept: SeriesEvaluation, substance: Substance, wish: Filter) -> bool:
    """Whether the filter takes a spike of this series, whatever its level."""
    if wish.types and "spike" not in wish.types:
        return False
    if wish.substances and not wish.substances & {substance.id, substance.key, substance.inchikey or ""}:
        return False
    if wish.groups and not wish.groups & {substance.chemical_group, substance.effect_group}:
        return False
    if wish.countries or wish.regions:
        return kept.country in wish.countries or region_of(kept.country) in wish.regions
    return True
