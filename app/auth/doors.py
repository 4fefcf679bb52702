"""Every door of the service (operation or page): who may open it, and by which rule its rows are chosen. Deny by default.

`DOORS` has one line a door. `check_doors` compares it with the routes of an application at start: a route without a line,
a line without a route, or a route that asks for another right stops the start. The matrix test walks the same table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.auth.permissions import TABLE, Action, Role


class Rows(StrEnum):
    """By which rule a door's rows are chosen."""

    NONE = "none"  # no row of anybody: data shipped with the service, or the caller's own input
    COUNTS = "counts"  # computed over app.sharing.rows.readable_detections and counted_cases, masked by app.sharing.masking
    VIEW = "view"  # dossiers of the views of app.dossiers.views.views_of; records under a figure by app.sharing.rows again
    REPORTS = "reports"  # single reports and cases, by app.sharing.rows.readable_reports and readable_cases
    STATEMENTS = "statements"  # activity, totals and incidents, by app.statements.service.readable and readable_incidents
    TEXT = "text"  # reports as sent, where app.sharing.rows.sees_text holds: the sender and its country's authority
    SENT = "sent"  # reports of the caller's own organisation
    OWN = "own"  # the caller's own organisation's rows
    USES = "uses"  # declarations of industry, by app.uses.service
    ALERTS = "alerts"  # by app.notifications.queries.visible
    SELF = "self"  # the signed-in person's own account
    LINK = "link"  # what a link with a secret in it stands for
    INSTALLATION = "installation"  # the operator's view of the installation; no report, no case


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One line. `action` None: open to everybody, also without a key; `form`: a POST of a page, with the sign-in's token."""

    action: Action | None
    rows: Rows
    form: bool = False

    @property
    def roles(self) -> frozenset[Role]:
        """Who may open it with a key or sign-in; everybody where it is open."""
        return frozenset(Role) if self.action is None else TABLE.get(self.action, frozenset())


def _open(rows: Rows) -> Door:
    return Door(action=None, rows=rows)


def _for(action: Action, rows: Rows, *, form: bool = False) -> Door:
    return Door(action=action, rows=rows, form=form)


# paths as the routes write them
DOORS: Mapping[str, Door] = {
    # intake
    "POST /v1/reports": _for(Action.REPORT_SEND, Rows.SENT),
    "GET /v1/reports": _for(Action.REPORT_READ, Rows.REPORTS),
    "GET /v1/reports/{report_id}": _for(Action.REPORT_READ, Rows.REPORTS),
    "GET /v1/reports/{report_id}/versions": _for(Action.REPORT_READ, Rows.TEXT),
    "PUT /v1/reports/{report_id}": _for(Action.REPORT_CORRECT, Rows.SENT),
    "POST /v1/reports/{report_id}/withdraw": _for(Action.REPORT_CORRECT, Rows.SENT),
    "POST /v1/reports/{report_id}/consent": _for(Action.REPORT_CORRECT, Rows.SENT),
    "GET /v1/vocabularies": _for(Action.SUBSTANCE_READ, Rows.NONE),
    "POST /v1/imports": _for(Action.IMPORT, Rows.OWN),
    "GET /v1/imports": _for(Action.IMPORT, Rows.OWN),
    "GET /v1/imports/{import_id}": _for(Action.IMPORT, Rows.OWN),
    "GET /v1/imports/{import_id}/rejects": _for(Action.IMPORT, Rows.OWN),
    "POST /v1/imports/{import_id}/start": _for(Action.IMPORT, Rows.OWN),
    "GET /metrics": _for(Action.OPERATE, Rows.INSTALLATION),
    # tests done, totals, incidents
    "POST /v1/activity-reports": _for(Action.ACTIVITY_SEND, Rows.OWN),
    "GET /v1/activity-reports": _for(Action.ACTIVITY_READ, Rows.STATEMENTS),
    "POST /v1/activity-reports/{row_id}/withdraw": _for(Action.ACTIVITY_SEND, Rows.OWN),
    "POST /v1/aggregate-reports": _for(Action.ACTIVITY_SEND, Rows.OWN),
    "GET /v1/aggregate-reports": _for(Action.ACTIVITY_READ, Rows.STATEMENTS),
    "POST /v1/aggregate-reports/{row_id}/withdraw": _for(Action.ACTIVITY_SEND, Rows.OWN),
    "POST /v1/incidents": _for(Action.INCIDENT_SEND, Rows.OWN),
    "GET /v1/incidents": _for(Action.INCIDENT_READ, Rows.STATEMENTS),
    "POST /v1/incidents/{row_id}/withdraw": _for(Action.INCIDENT_SEND, Rows.OWN),
    # curation
    "GET /v1/curation": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /v1/curation/{item_id}/decide": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /v1/substances/{substance_id}/names": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /v1/substances/{substance_id}/merge": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /v1/substances/{substance_id}/split": _for(Action.CURATE, Rows.INSTALLATION),
    "GET /v1/substance-events": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /v1/substance-events/{event_id}/undo": _for(Action.CURATE, Rows.INSTALLATION),
    # screening and law
    "POST /v1/screen": _for(Action.SCREEN, Rows.NONE),
    "POST /v1/screen/certificate.pdf": _for(Action.SCREEN, Rows.NONE),
    "GET /v1/schedules": _for(Action.SCHEDULE_READ, Rows.NONE),
    "GET /v1/schedules/{instrument}": _for(Action.SCHEDULE_READ, Rows.NONE),
    "POST /v1/schedules/{instrument}/editions": _for(Action.SCHEDULE_WRITE, Rows.INSTALLATION),
    "GET /v1/schedules/{instrument}/editions": _for(Action.SCHEDULE_READ, Rows.NONE),
    # substances
    "GET /v1/priorities": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/snapshots": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/substances": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "POST /v1/substances/search": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}/prevalence": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}/depiction.svg": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}/dossier.json": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}/dossier.html": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/substances/{substance_id}/dossier.pdf": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/dossiers": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /v1/dossiers/{dossier_id}.{form}": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /v1/dossiers/{dossier_id}/records": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /v1/suspects": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    # alerts
    "GET /v1/alerts": _open(Rows.ALERTS),
    "GET /v1/alerts/{alert_id}": _open(Rows.ALERTS),
    "GET /v1/alerts/{alert_id}.cap": _open(Rows.ALERTS),
    "GET /v1/alerts.atom": _open(Rows.ALERTS),
    "GET /v1/events": _open(Rows.ALERTS),
    "POST /v1/alerts": _for(Action.ALERT_WRITE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/approve": _for(Action.ALERT_APPROVE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/close": _for(Action.ALERT_APPROVE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/label": _for(Action.ALERT_APPROVE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/acknowledge": _for(Action.ALERT_ACKNOWLEDGE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/assess": _for(Action.ALERT_ACKNOWLEDGE, Rows.ALERTS),
    "POST /v1/alerts/{alert_id}/sightings": _for(Action.ALERT_SIGHT, Rows.ALERTS),
    "GET /v1/alerts/{alert_id}/deliveries": _for(Action.DELIVERY_READ, Rows.ALERTS),
    "GET /v1/alerts/{alert_id}/coverage": _for(Action.DELIVERY_READ, Rows.ALERTS),
    "POST /v1/deliveries/{delivery_id}/retry": _for(Action.DELIVERY_RETRY, Rows.OWN),
    "POST /v1/measures": _for(Action.MEASURE_WRITE, Rows.OWN),
    "GET /v1/measures": _for(Action.ALERT_READ, Rows.ALERTS),
    # legitimate uses
    "POST /v1/legitimate-uses": _for(Action.USE_DECLARE, Rows.OWN),
    "GET /v1/legitimate-uses": _for(Action.SUBSTANCE_READ, Rows.USES),
    "POST /v1/legitimate-uses/{use_id}/confirm": _for(Action.USE_DECIDE, Rows.USES),
    "POST /v1/legitimate-uses/{use_id}/refuse": _for(Action.USE_DECIDE, Rows.USES),
    "POST /v1/legitimate-uses/{use_id}/withdraw": _for(Action.USE_DECLARE, Rows.OWN),
    # endpoints
    "POST /v1/subscriptions": _for(Action.SUBSCRIBE, Rows.OWN),
    "GET /v1/subscriptions": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /v1/subscriptions/preview": _for(Action.SUBSCRIBE, Rows.ALERTS),
    "GET /v1/contacts": _for(Action.SUBSCRIBE, Rows.OWN),
    "PUT /v1/contacts": _for(Action.SUBSCRIBE, Rows.OWN),
    "GET /v1/subscriptions/{subscription_id}": _for(Action.SUBSCRIBE, Rows.OWN),
    "PATCH /v1/subscriptions/{subscription_id}": _for(Action.SUBSCRIBE, Rows.OWN),
    "DELETE /v1/subscriptions/{subscription_id}": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /v1/subscriptions/{subscription_id}/test": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /v1/subscriptions/{subscription_id}/rotate-secret": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /v1/subscriptions/{subscription_id}/redeliver": _for(Action.SUBSCRIBE, Rows.OWN),
    "GET /v1/subscriptions/{subscription_id}/confirm/{token}": _open(Rows.LINK),
    "POST /v1/subscriptions/{subscription_id}/confirm/{token}": _open(Rows.LINK),
    # the service itself
    "GET /v1/audit": _for(Action.AUDIT_READ, Rows.INSTALLATION),
    "GET /healthz": _open(Rows.NONE),
    "GET /readyz": _open(Rows.NONE),
    "GET /openapi.json": _open(Rows.NONE),
    # pages
    "GET /static/{digest}/{name:path}": _open(Rows.NONE),
    "GET /problems": _open(Rows.NONE),
    "GET /problems/{slug}": _open(Rows.NONE),
    "GET /docs": _open(Rows.NONE),
    "GET /sign-in": _open(Rows.NONE),
    "POST /sign-in": _open(Rows.NONE),
    "POST /sign-in/code": _open(Rows.LINK),
    "POST /sign-out": _open(Rows.SELF),
    "GET /account": _for(Action.SUBSTANCE_READ, Rows.SELF),
    "POST /account": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "POST /account/password": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "GET /account/second-factor": _for(Action.SUBSTANCE_READ, Rows.SELF),
    "POST /account/second-factor": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "POST /account/second-factor/confirm": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "POST /account/second-factor/remove": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "POST /account/sign-ins/{handle}/end": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "GET /accounts": _for(Action.ACCOUNTS, Rows.INSTALLATION),
    "POST /accounts/people": _for(Action.ACCOUNTS, Rows.INSTALLATION, form=True),
    "POST /accounts/people/{person_id}/{change}": _for(Action.ACCOUNTS, Rows.INSTALLATION, form=True),
    "POST /accounts/keys": _for(Action.ACCOUNTS, Rows.INSTALLATION, form=True),
    "POST /accounts/keys/{key_id}/{change}": _for(Action.ACCOUNTS, Rows.INSTALLATION, form=True),
    "POST /account/sign-out-everywhere": _for(Action.SUBSTANCE_READ, Rows.SELF, form=True),
    "GET /": _open(Rows.COUNTS),
    "GET /substances": _open(Rows.COUNTS),
    "GET /substances/{substance_id}": _open(Rows.COUNTS),
    "GET /substances/{substance_id}/detections-by-{which}.csv": _open(Rows.COUNTS),
    "GET /substances/{substance_id}/detections-by-{which}.svg": _open(Rows.COUNTS),
    "GET /substances/{substance_id}/detections-by-{which}.png": _open(Rows.COUNTS),
    "GET /priorities": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /priorities.csv": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /dossiers": _for(Action.COUNTS_READ, Rows.VIEW),
    "POST /dossiers": _for(Action.DOSSIER_BUILD, Rows.VIEW, form=True),
    "GET /dossiers/{dossier_id}": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /dossiers/{dossier_id}/progress": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /dossiers/{dossier_id}/records": _for(Action.COUNTS_READ, Rows.VIEW),
    "GET /dossiers/{dossier_id}/dossier.{form}": _for(Action.COUNTS_READ, Rows.VIEW),
    "POST /dossiers/{dossier_id}/again": _for(Action.DOSSIER_BUILD, Rows.VIEW, form=True),
    "POST /dossiers/{dossier_id}/notes": _for(Action.DOSSIER_BUILD, Rows.VIEW, form=True),
    "POST /dossiers/{dossier_id}/notes/{note_id}/withdraw": _for(Action.DOSSIER_BUILD, Rows.VIEW, form=True),
    "GET /priorities/compare": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /families/{group}": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /explore": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /explore.{kind}": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /detections": _for(Action.REPORT_READ, Rows.REPORTS),
    "GET /cases": _for(Action.REPORT_READ, Rows.REPORTS),
    "GET /substances/{substance_id}/signals/{country}": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /structure-search": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "POST /structure-search": _for(Action.SUBSTANCE_READ, Rows.COUNTS, form=True),
    "GET /law": _open(Rows.NONE),
    "GET /law/instruments/{instrument}": _open(Rows.NONE),
    "GET /law/rule": _open(Rows.NONE),
    "POST /law/rule": _for(Action.SCREEN, Rows.NONE, form=True),
    "GET /law/instruments/{instrument}/changes": _open(Rows.NONE),
    "GET /law/draft": _for(Action.LAW_DRAFT, Rows.OWN),
    "POST /law/draft": _for(Action.LAW_DRAFT, Rows.OWN, form=True),
    "GET /jobs/{job_id}": _for(Action.LAW_DRAFT, Rows.OWN),
    "GET /jobs/{job_id}/progress": _for(Action.LAW_DRAFT, Rows.OWN),
    "GET /screening": _for(Action.SCREEN, Rows.NONE),
    "POST /screening": _for(Action.SCREEN, Rows.NONE, form=True),
    "GET /inbox": _for(Action.ALERT_READ, Rows.ALERTS),
    "GET /alerts/{alert_id}": _open(Rows.ALERTS),
    "GET /alerts/new": _for(Action.ALERT_WRITE, Rows.ALERTS),
    "POST /alerts/new": _for(Action.ALERT_WRITE, Rows.ALERTS, form=True),
    "GET /a/{token}": _open(Rows.LINK),
    "POST /a/{token}": _open(Rows.LINK),
    "POST /alerts/{alert_id}/assess": _for(Action.ALERT_ACKNOWLEDGE, Rows.ALERTS, form=True),
    "POST /alerts/{alert_id}/sighting": _for(Action.ALERT_SIGHT, Rows.ALERTS, form=True),
    "POST /alerts/{alert_id}/close": _for(Action.ALERT_APPROVE, Rows.ALERTS, form=True),
    "GET /coverage": _for(Action.DELIVERY_READ, Rows.ALERTS),
    "GET /subscriptions": _for(Action.SUBSCRIBE, Rows.OWN),
    "GET /subscriptions/new": _for(Action.SUBSCRIBE, Rows.ALERTS),
    "POST /subscriptions/new": _for(Action.SUBSCRIBE, Rows.OWN, form=True),
    "GET /subscriptions/{subscription_id}": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /subscriptions/{subscription_id}/{change}": _for(Action.SUBSCRIBE, Rows.OWN, form=True),
    "GET /contacts": _for(Action.SUBSCRIBE, Rows.OWN),
    "POST /contacts": _for(Action.SUBSCRIBE, Rows.OWN, form=True),
    "GET /measures": _for(Action.ALERT_READ, Rows.ALERTS),
    "GET /measures/new": _for(Action.MEASURE_WRITE, Rows.OWN),
    "POST /measures/new": _for(Action.MEASURE_WRITE, Rows.OWN, form=True),
    "POST /alerts/{alert_id}/acknowledge": _for(Action.ALERT_ACKNOWLEDGE, Rows.ALERTS, form=True),
    "POST /alerts/{alert_id}/approve": _for(Action.ALERT_APPROVE, Rows.ALERTS, form=True),
    "GET /legitimate-uses": _for(Action.SUBSTANCE_READ, Rows.USES),
    "GET /legitimate-uses/new": _for(Action.USE_DECLARE, Rows.OWN),
    "POST /legitimate-uses/new": _for(Action.USE_DECLARE, Rows.OWN, form=True),
    "POST /legitimate-uses/{use_id}/decide": _for(Action.USE_DECIDE, Rows.USES, form=True),
    "POST /legitimate-uses/{use_id}/withdraw": _for(Action.USE_DECLARE, Rows.OWN, form=True),
    "GET /suspects": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "GET /suspects.csv": _for(Action.SUBSTANCE_READ, Rows.COUNTS),
    "GET /help": _open(Rows.NONE),
    "GET /help/{name}": _open(Rows.NONE),
    "GET /imports": _for(Action.IMPORT, Rows.OWN),
    "POST /imports": _for(Action.IMPORT, Rows.OWN, form=True),
    "GET /imports/{import_id}": _for(Action.IMPORT, Rows.OWN),
    "GET /imports/{import_id}/progress": _for(Action.IMPORT, Rows.OWN),
    "GET /imports/{import_id}/rejects.csv": _for(Action.IMPORT, Rows.OWN),
    "POST /imports/{import_id}/start": _for(Action.IMPORT, Rows.OWN, form=True),
    "GET /countries/{country}": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /countries/{country}/detections.csv": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /v1/packages": _for(Action.COUNTS_READ, Rows.NONE),
    "GET /v1/packages/{package}.zip": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /packages": _for(Action.COUNTS_READ, Rows.NONE),
    "GET /packages/{package}.zip": _for(Action.COUNTS_READ, Rows.COUNTS),
    "GET /lag": _open(Rows.COUNTS),
    "GET /lag.csv": _open(Rows.COUNTS),
    "GET /ops": _for(Action.OPERATE, Rows.INSTALLATION),
    "POST /ops/dead/again": _for(Action.DELIVERY_MEND, Rows.INSTALLATION, form=True),
    "POST /ops/dead/{task_id}/again": _for(Action.DELIVERY_MEND, Rows.INSTALLATION, form=True),
    "POST /ops/dead/{task_id}/cancel": _for(Action.DELIVERY_MEND, Rows.INSTALLATION, form=True),
    "GET /ops/audit": _for(Action.AUDIT_READ, Rows.INSTALLATION),
    "GET /ops/audit.csv": _for(Action.AUDIT_READ, Rows.INSTALLATION),
    "POST /ops/audit/verify": _for(Action.AUDIT_READ, Rows.INSTALLATION, form=True),
    "GET /ops/merge": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /ops/merge": _for(Action.CURATE, Rows.INSTALLATION, form=True),
    "GET /ops/curation": _for(Action.CURATE, Rows.INSTALLATION),
    "GET /ops/curation/{item_id}": _for(Action.CURATE, Rows.INSTALLATION),
    "POST /ops/curation/{item_id}": _for(Action.CURATE, Rows.INSTALLATION, form=True),
    "POST /ops/curation/events/{event_id}/undo": _for(Action.CURATE, Rows.INSTALLATION, form=True),
    "GET /reports/new": _for(Action.REPORT_SEND, Rows.SENT),
    "POST /reports/new": _for(Action.REPORT_SEND, Rows.SENT, form=True),
    "POST /reports/draft": _for(Action.REPORT_SEND, Rows.SELF, form=True),
    "POST /reports/check": _for(Action.REPORT_SEND, Rows.NONE, form=True),
    "GET /reports": _for(Action.REPORT_SEND, Rows.SENT),
    "GET /reports/{report_id}": _for(Action.REPORT_SEND, Rows.SENT),
}


class DoorError(Exception):
    """The routes of the application and the table of doors disagree; the message names each difference."""


def actions_of(dependant: Any) -> set[Action]:
    """The rights that a route's dependencies ask for."""
    found = {action} if (action := getattr(dependant.call, "action", None)) is not None else set()
    for inner in dependant.dependencies:
        found |= actions_of(inner)
    return found


def routes_of(app: FastAPI) -> Iterator[tuple[str, set[Action]]]:
    """Every route as "METHOD /path", with the rights it asks for. HEAD is its GET."""
    for route in iter_route_contexts(app.routes):
        dependant = getattr(route, "dependant", None)
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield f"{method} {route.path}", actions_of(dependant) if dependant is not None else set()


def check_doors(app: FastAPI) -> None:
    """Raises DoorError unless table and routes agree."""
    wrong = []
    seen = set()
    for name, actions in routes_of(app):
        seen.add(name)
        door = DOORS.get(name)
        if door is None:
            wrong.append(f"{name} has no line in app/auth/doors.py")
        elif actions != ({door.action} if door.action is not None else set()):
            asked = ", ".join(sorted(actions)) or "nothing"
            wrong.append(f"{name} asks for {asked}, its line says {door.action or 'open'}")
    wrong += [f"{name} is in app/auth/doors.py, but there is no such route" for name in DOORS if name not in seen]
    if wrong:
        raise DoorError("; ".join(wrong))
