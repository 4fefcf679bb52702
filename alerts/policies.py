"""Who hears of an alert, when, and in what detail. Pure functions over frozen values; every door of the service asks them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from alerts.values import AlertFacts, Evidence, Filter, Reader

Audience = Literal["country", "full"]
Detail = Literal["full", "thin"]

TLP_ORDER = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")

# domain 6.2: within what an alert of a level must be acknowledged and decided, from receipt
ACKNOWLEDGE_WITHIN = {3: timedelta(hours=24), 4: timedelta(hours=4)}
NEW_LABORATORY_REPORTS = 10  # so many first reports of a laboratory need approval for levels 3 and 4


def tlp_rank(label: str) -> int:
    """0 for CLEAR to 4 for RED."""
    return TLP_ORDER.index(label)


def highest_tlp(labels: Iterable[str]) -> str:
    """The strictest of these labels; CLEAR for none."""
    return max(labels, key=tlp_rank, default="CLEAR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Whom the first revision reaches, and how many different analysts must approve before everybody else hears."""

    audience: Audience
    approvals: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePolicy:
    """The release table of an installation: approvals needed at each level. The default is that of the contract."""

    approvals: tuple[int, int, int, int] = (0, 0, 1, 2)

    def release(self, level: int, *, needs_approval: bool) -> Release:
        """How an alert of this level is let out.

        `needs_approval` is true for a new or flagged laboratory: its levels 3 and 4 then need at least one approval, whatever
        the table says.
        """
        needed = self.approvals[level - 1]
        if needs_approval and level >= 3:
            needed = max(needed, 1)
        return Release(audience="country" if needed else "full", approvals=needed)


def reader_covered(alert: AlertFacts, reader: Reader) -> bool:
    """Whether this reader belongs to the audience of the revision, labels and filters aside.

    Alerts of a test organisation are for itself alone, and a test organisation hears only its own.
    """
    own = reader.org_id is not None and reader.org_id == alert.org_id
    if alert.test or reader.test:
        return own
    if alert.audience == "full" or own or reader.role == "analyst":
        return True
    return reader.role == "authority" and reader.country is not None and reader.country in alert.countries


def wanted(alert: AlertFacts, wish: Filter) -> bool:
    """Whether the subscriber's filter takes this alert. Countries and regions together name one set of areas."""
    if alert.level < wish.min_level:
        return False
    if wish.types and alert.type not in wish.types:
        return False
    if wish.substances and not wish.substances & alert.substance_ids:
        return False
    if wish.groups and not wish.groups & alert.groups:
        return False
    if wish.countries or wish.regions:
        return bool(wish.countries & set(alert.countries)) or (alert.region is not None and alert.region in wish.regions)
    return True


def detail_for(alert: AlertFacts, reader: Reader, chosen: str) -> Detail | None:
    """The detail in which this endpoint gets the alert; None where its clearance lets nothing through.

    RED is always thin, and only for the sender, the authorities of the country and analysts. A submitting laboratory whose
    endpoint does not hold the label still hears, thinly. An industry partner gets public alerts and those of type `industry`.
    """
    own = reader.org_id is not None and reader.org_id == alert.org_id
    concerned = own or reader.role == "analyst" or (reader.role == "authority" and reader.country in alert.countries)
    if alert.tlp == "RED":
        return "thin" if concerned else None
    if reader.role in ("industry", "admin") and not own and alert.type != "industry" and alert.tlp != "CLEAR":
        return None
    if tlp_rank(alert.tlp) > tlp_rank(reader.tlp_max):
        return "thin" if own else None
    return "thin" if chosen == "thin" else "full"


def hears(alert: AlertFacts, reader: Reader, wish: Filter, chosen: str) -> Detail | None:
    """Whether a revision goes to this endpoint, and in what detail; None where it does not."""
    if not reader_covered(alert, reader) or not wanted(alert, wish):
        return None
    return detail_for(alert, reader, chosen)


def evidence_for(evidence: Iterable[Evidence], reader: Reader) -> tuple[str, ...]:
    """Ids of the reports that this reader may see, in the order given.

    Follows the row "single detection" of the domain guide, section 7: own rows and an authority's own country in full, RED to the
    sender alone; and nothing above the label that the reader's endpoint holds.
    """
    return tuple(item.report_id for item in evidence if _may_see(item, reader))


def _may_see(item: Evidence, reader: Reader) -> bool:
    if tlp_rank(item.tlp) > tlp_rank(reader.tlp_max):
        return False
    if reader.org_id is not None and item.org_id == reader.org_id:
        return True
    match reader.role:
        case "analyst":
            ceiling = "AMBER+STRICT"
        case "authority":
            ceiling = "AMBER+STRICT" if item.country == reader.country else "GREEN"
        case "reviewer":
            ceiling = "AMBER"
        case "lab":
            ceiling = "GREEN"
        case "industry":
            return False
        case _:
            ceiling = "CLEAR"
    return tlp_rank(item.tlp) <= tlp_rank(ceiling)


def view_key(kind: str, detail: Detail, evidence: Iterable[str], *, names: bool) -> str:
    """The name of the view under which a body is stored: equal for readers who get the same bytes. At most 80 characters.

    `names` tells whether acknowledging organisations are named.
    """
    if detail == "thin":
        return f"{kind}:thin"
    digest = hashlib.sha256("\n".join(evidence).encode()).hexdigest()[:24]
    return f"{kind}:full:{'n' if names else '-'}:{digest}"
