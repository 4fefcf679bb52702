"""What a filter would have sent in the past month: the very alerts, so that the number is that of a list."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from alerts.policies import hears
from alerts.values import Filter, Reader
from app.auth.permissions import Principal
from app.notifications import queries
from app.notifications.schemas import FilterIn
from app.notifications.subscriptions import clearance
from app.persistence.models import Alert

SPAN = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """The alerts of the past 30 days that an endpoint with this filter and label would have heard of, newest first."""

    since: datetime
    found: tuple[queries.Found, ...]

    @property
    def by_level(self) -> dict[int, int]:
        """How many of each level, the highest first; levels without one are left out."""
        counts = Counter(item.revision.level for item in self.found)
        return {level: counts[level] for level in (4, 3, 2, 1) if counts[level]}


def preview(session: Session, principal: Principal, wish: FilterIn, tlp_max: str, now: datetime) -> Preview:
    """By the same rules as sending: what the reader may see, the label the endpoint would hold, the filter."""
    since = now - SPAN
    reader = Reader(
        org_id=principal.org_id,
        role=principal.role.value,
        country=principal.country,
        test=principal.test,
        tlp_max=clearance(principal.role, tlp_max),
    )
    chosen = Filter(
        substances=frozenset(wish.substances),
        groups=frozenset(wish.groups),
        countries=frozenset(wish.countries),
        regions=frozenset(wish.regions),
        types=frozenset(wish.types),
        min_level=wish.min_level,
    )
    rows = session.execute(
        queries.visible(session, principal).where(Alert.issued_at >= since).order_by(Alert.issued_at.desc(), Alert.id.desc())
    )
    found = [queries.Found(row[0], row[1]) for row in rows]
    heard = (
        one for one in found if hears(queries.facts_of(one.alert, one.revision, one.alert.substance), reader, chosen, "full")
    )
    return Preview(since=since, found=tuple(heard))
