"""Who may do what: one table and one function, deny by default.

Roles and rights follow the domain guide, section 7. Every door (API, page, export, alert) asks `may`; what a reader sees of a
row is decided by `visible_tlp` and the filters built on it in the slices' queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    LAB = "lab"
    AUTHORITY = "authority"
    REVIEWER = "reviewer"
    ANALYST = "analyst"
    INDUSTRY = "industry"
    ADMIN = "admin"


ROLES_OF_KIND: dict[str, frozenset[Role]] = {
    "lab": frozenset({Role.LAB}),
    "authority": frozenset({Role.AUTHORITY}),
    "reviewer": frozenset({Role.REVIEWER}),
    "industry": frozenset({Role.INDUSTRY}),
    "operator": frozenset({Role.ANALYST, Role.ADMIN}),
}


class Action(StrEnum):
    REPORT_SEND = "report.send"
    REPORT_READ = "report.read"
    REPORT_CORRECT = "report.correct"
    IMPORT = "import"
    ACTIVITY_SEND = "activity.send"
    ACTIVITY_READ = "activity.read"
    INCIDENT_SEND = "incident.send"
    INCIDENT_READ = "incident.read"
    CURATE = "curate"
    SCREEN = "screen"
    SUBSTANCE_READ = "substance.read"
    COUNTS_READ = "counts.read"
    SCHEDULE_READ = "schedule.read"
    SCHEDULE_WRITE = "schedule.write"
    SUBSCRIBE = "subscribe"
    ALERT_READ = "alert.read"
    ALERT_WRITE = "alert.write"
    ALERT_APPROVE = "alert.approve"
    ALERT_ACKNOWLEDGE = "alert.acknowledge"
    ALERT_SIGHT = "alert.sight"
    DELIVERY_READ = "delivery.read"
    DELIVERY_RETRY = "delivery.retry"
    MEASURE_WRITE = "measure.write"
    USE_DECLARE = "use.declare"
    USE_DECIDE = "use.decide"
    DOSSIER_BUILD = "dossier.build"
    DELIVERY_MEND = "delivery.mend"
    LAW_DRAFT = "law.draft"
    OPERATE = "operate"
    ACCOUNTS = "accounts"
    AUDIT_READ = "audit.read"


_ALL = frozenset(Role)

TABLE: dict[Action, frozenset[Role]] = {
    Action.REPORT_SEND: frozenset({Role.LAB}),
    Action.REPORT_READ: frozenset({Role.LAB, Role.AUTHORITY, Role.REVIEWER, Role.ANALYST}),
    Action.REPORT_CORRECT: frozenset({Role.LAB}),
    Action.IMPORT: frozenset({Role.LAB}),
    Action.ACTIVITY_SEND: frozenset({Role.LAB, Role.AUTHORITY}),
    Action.ACTIVITY_READ: frozenset({Role.LAB, Role.AUTHORITY, Role.REVIEWER, Role.ANALYST}),
    Action.INCIDENT_SEND: frozenset({Role.LAB, Role.AUTHORITY, Role.INDUSTRY}),
    Action.INCIDENT_READ: frozenset({Role.LAB, Role.AUTHORITY, Role.ANALYST, Role.INDUSTRY}),
    Action.CURATE: frozenset({Role.ANALYST}),
    Action.SCREEN: _ALL,
    Action.SUBSTANCE_READ: _ALL,
    Action.COUNTS_READ: frozenset({Role.LAB, Role.AUTHORITY, Role.REVIEWER, Role.ANALYST}),
    Action.SCHEDULE_READ: _ALL,
    Action.SCHEDULE_WRITE: frozenset({Role.ADMIN}),
    Action.SUBSCRIBE: _ALL,
    Action.ALERT_READ: _ALL,
    Action.ALERT_WRITE: frozenset({Role.ANALYST, Role.AUTHORITY}),
    Action.ALERT_APPROVE: frozenset({Role.ANALYST}),
    Action.ALERT_ACKNOWLEDGE: frozenset({Role.AUTHORITY}),
    Action.ALERT_SIGHT: frozenset({Role.AUTHORITY, Role.LAB}),
    Action.DELIVERY_READ: frozenset({Role.AUTHORITY, Role.ANALYST, Role.ADMIN}),
    Action.DELIVERY_RETRY: frozenset({Role.AUTHORITY, Role.ANALYST, Role.ADMIN}),
    Action.MEASURE_WRITE: frozenset({Role.AUTHORITY}),
    Action.USE_DECLARE: frozenset({Role.INDUSTRY}),
    Action.USE_DECIDE: frozenset({Role.ANALYST}),
    Action.DOSSIER_BUILD: frozenset({Role.REVIEWER, Role.ANALYST}),
    Action.DELIVERY_MEND: frozenset({Role.ANALYST, Role.ADMIN}),
    Action.LAW_DRAFT: frozenset({Role.ANALYST}),
    Action.OPERATE: frozenset({Role.ANALYST, Role.ADMIN}),
    Action.ACCOUNTS: frozenset({Role.ADMIN}),
    Action.AUDIT_READ: frozenset({Role.ADMIN}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks: an organisation acting through a key or a signed-in person. `actor` is `key:<id>` or `person:<id>`."""

    actor: str
    org_id: str
    org_name: str
    kind: str
    country: str
    role: Role
    test: bool
    scopes: frozenset[str] | None = None  # of a key: what of its role's rights it is cut to


def may(principal: Principal | None, action: Action) -> bool:
    """Whether the table, and the scopes of the key, allow it. No principal, or an action without a line: no."""
    if principal is None or principal.role not in TABLE.get(action, frozenset()):
        return False
    return principal.scopes is None or action.value in principal.scopes


# TLP 2.0, from public to named recipients
TLP_ORDER = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED")


def tlp_rank(label: str) -> int:
    """0 for CLEAR to 4 for RED."""
    return TLP_ORDER.index(label)


def visible_tlp(principal: Principal | None, *, own_country: bool) -> tuple[str, ...]:
    """The labels of single detections of other organisations that this reader may see, by the domain guide's table.

    A laboratory's own rows and an authority's own country are `full` and are added by the query, except RED, which shows only to
    named recipients (the sender).
    """
    if principal is None:
        return ("CLEAR",)
    match principal.role:
        case Role.ANALYST:
            return ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
        case Role.AUTHORITY if own_country:
            return ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
        case Role.REVIEWER:
            return ("CLEAR", "GREEN", "AMBER")
        case Role.LAB | Role.AUTHORITY:
            return ("CLEAR", "GREEN")
        case _:
            return ()


def alert_labels(principal: Principal | None) -> tuple[str, ...]:
    """The labels of alerts this reader may open (row "Alerts" of the table). Industry and admin are handled by type."""
    if principal is None:
        return ("CLEAR",)
    match principal.role:
        case Role.ANALYST:
            return TLP_ORDER
        case Role.AUTHORITY | Role.REVIEWER:
            return ("CLEAR", "GREEN", "AMBER")
        case Role.LAB:
            return ("CLEAR", "GREEN")
        case _:
            return ("CLEAR",)


def held_by(role: Role, wanted: str) -> str:
    """The highest label an endpoint of this role may hold, at most `wanted` (RED is never sent in full to an endpoint)."""
    highest = {
        Role.ANALYST: "AMBER+STRICT",
        Role.AUTHORITY: "AMBER+STRICT",
        Role.REVIEWER: "AMBER",
        Role.LAB: "GREEN",
    }.get(role, "CLEAR")
    return min(wanted, highest, key=tlp_rank)
