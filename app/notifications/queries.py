"""Reads of alerts: what one reader may see of them. The same functions serve list, detail, feed, webhook and e-mail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, exists, false, func, or_, select, true
from sqlalchemy.orm import Session, aliased, joinedload

from alerts.policies import evidence_for, highest_tlp
from alerts.render import iso
from alerts.values import AlertFacts, AlertView, Evidence, Filter, Reader, Texts
from app.auth.permissions import Principal, Role, alert_labels, tlp_rank
from app.persistence.models import (
    Acknowledgement,
    Alert,
    AlertEvidence,
    AlertRevision,
    Organisation,
    Report,
    Subscription,
    Substance,
)

NAMED_FOR = frozenset({"authority", "analyst", "reviewer"})
OWN_COUNTRY_LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")
MATCHES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Found:
    """An alert with the newest of its revisions that the reader may see."""

    alert: Alert
    revision: AlertRevision


def reader_of(principal: Principal | None) -> Reader:
    """The reader a principal is; no key is the public."""
    if principal is None:
        return Reader(org_id=None, role="public", country=None, test=False, tlp_max="CLEAR")
    return Reader(
        org_id=principal.org_id,
        role=principal.role.value,
        country=principal.country,
        test=principal.test,
        tlp_max="RED",  # what the API shows an own row of is not bound by an endpoint's label
    )


def reader_of_subscription(subscription: Subscription, org: Organisation) -> Reader:
    """The reader at the other end of an endpoint."""
    return Reader(org_id=org.id, role=subscription.role, country=org.country, test=org.test, tlp_max=subscription.tlp_max)


def filter_of(subscription: Subscription) -> Filter:
    stored = subscription.filter
    return Filter(
        substances=frozenset(stored.get("substances", ())),
        groups=frozenset(stored.get("groups", ())),
        countries=frozenset(stored.get("countries", ())),
        regions=frozenset(stored.get("regions", ())),
        types=frozenset(stored.get("types", ())),
        min_level=stored.get("min_level", 1),
    )


def facts_of(alert: Alert, revision: AlertRevision, substance: Substance | None) -> AlertFacts:
    """What the policies need to know of a revision. A substance is known by its id, its key and its InChIKey."""
    names = {substance.id, substance.key, substance.inchikey} if substance is not None else set()
    groups = {alert.group, substance.effect_group if substance is not None else None}
    return AlertFacts(
        id=alert.id,
        type=alert.type,
        level=revision.level,
        tlp=highest_tlp((revision.tlp, alert.tlp)),
        country=alert.country,
        region=alert.region,
        countries=tuple(revision.countries),
        substance_ids=frozenset(name for name in names if name),
        groups=frozenset(group for group in groups if group),
        org_id=alert.org_id,
        test=alert.test,
        audience=revision.audience,
    )


_EVIDENCE = (
    select(AlertEvidence.alert_id, AlertEvidence.case_id, Report.id, Report.org_id, Report.country, Report.tlp)
    .join(Report, Report.id == AlertEvidence.report_id)
    .where(AlertEvidence.alert_id.in_(bindparam("alerts", expanding=True)), Report.state == "active")
    .order_by(AlertEvidence.alert_id, Report.received_at, Report.id)
)


def evidence_of(session: Session, alert_ids: Iterable[str]) -> dict[str, list[Evidence]]:
    """The evidence under each of these alerts, oldest report first. Harm cases count as AMBER at least; withdrawn reports are
    left out.
    """
    rows = session.execute(_EVIDENCE, {"alerts": list(alert_ids)})
    found: dict[str, list[Evidence]] = {}
    for alert_id, case_id, report_id, org_id, country, tlp in rows:
        label = highest_tlp((tlp, "AMBER")) if case_id is not None else tlp
        found.setdefault(alert_id, []).append(Evidence(report_id=report_id, org_id=org_id, country=country, tlp=label))
    return found


def acknowledgements_of(session: Session, alert_ids: Iterable[str], reader: Reader) -> dict[str, list[dict[str, Any]]]:
    """What organisations answered, oldest first. Names show to authorities, reviewers and analysts; notes to the writer and
    analysts.
    """
    rows = session.scalars(
        select(Acknowledgement)
        .where(Acknowledgement.alert_id.in_(list(alert_ids)))
        .options(joinedload(Acknowledgement.organisation))
        .order_by(Acknowledgement.at, Acknowledgement.id)
    )
    named = reader.role in NAMED_FOR
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        own = reader.org_id == row.org_id
        laboratory = row.organisation.kind == "lab"
        show_name = own or reader.role == "analyst" or (named and not laboratory)
        found.setdefault(row.alert_id, []).append(
            {
                "kind": row.kind,
                "country": row.organisation.country,
                "organisation": row.organisation.name if show_name else None,
                "revision": row.revision,
                "note": row.note if own or reader.role == "analyst" else None,
                "at": iso(row.at),
            }
        )
    return found


def substance_document(substance: Substance | None) -> dict[str, Any] | None:
    """The substance as an alert shows it: identity, groups, status and at most eight matches."""
    if substance is None:
        return None
    keys = ("instrument", "schedule", "entry", "basis", "certainty", "captured")
    return {
        "id": substance.id,
        "name": substance.name,
        "inchikey": substance.inchikey,
        "chemical_group": substance.chemical_group,
        "effect_group": substance.effect_group,
        "legal_status": substance.legal_status,
        "matches": [{key: match.get(key) for key in keys} for match in substance.matches[:MATCHES_SHOWN]],
    }


def view_of(
    alert: Alert,
    revision: AlertRevision,
    substance: Substance | None,
    *,
    evidence: Sequence[Evidence],
    acknowledgements: Sequence[dict[str, Any]],
    earlier: Sequence[AlertRevision],
    reader: Reader,
    withheld: bool,
) -> AlertView:
    """The revision as this reader sees it. `earlier` are the revisions that the reader may have had before."""
    return AlertView(
        id=alert.id,
        type=alert.type,
        level=revision.level,
        state=revision.state,
        reviewed=revision.reviewed,
        controlled=alert.controlled,
        texts=Texts(
            headline=revision.headline,
            short=revision.short,
            summary=revision.summary,
            full=revision.full,
            instruction=revision.instruction,
        ),
        rule=alert.rule,
        numbers=revision.numbers,
        substance=substance_document(substance),
        evidence=evidence_for(evidence, reader),
        countries=tuple(revision.countries),
        tlp=revision.tlp,
        issued_at=alert.issued_at,
        revision=revision.revision,
        references=tuple(
            {"revision": row.revision, "identifier": f"{alert.id}.{row.revision}", "sent_at": iso(row.sent_at)} for row in earlier
        ),
        acknowledgements=tuple(acknowledgements),
        withheld=withheld,
    )


def _inside(principal: Principal | None) -> ColumnElement[bool]:
    """Alerts whose narrow audience this principal belongs to: its own, those of its country for an authority, all for an
    analyst.
    """
    if principal is None:
        return false()
    own = Alert.org_id == principal.org_id
    match principal.role:
        case Role.ANALYST:
            return true()
        case Role.AUTHORITY:
            return or_(own, Alert.country == principal.country)
        case _:
            return own


def _labels_allow(session: Session, principal: Principal | None) -> ColumnElement[bool]:
    """Which labels this principal may open, by the row "Alerts" of the domain guide's table.

    Both the revision's label and the alert's present one must allow it: a label that was raised later covers the earlier
    revisions.
    """
    if principal is None:
        return and_(AlertRevision.tlp == "CLEAR", Alert.tlp == "CLEAR")
    others: tuple[str, ...]
    extra: list[ColumnElement[bool]] = []
    match principal.role:
        case Role.AUTHORITY:
            others = _held_elsewhere(session, principal)
            extra.append(and_(Alert.country == principal.country, _both((*OWN_COUNTRY_LABELS, "RED"))))
        case Role.INDUSTRY:
            others = ("CLEAR",)
            extra.append(and_(Alert.type == "industry", _both(("CLEAR", "GREEN"))))
        case _:
            others = alert_labels(principal)
    return or_(Alert.org_id == principal.org_id, _both(others), *extra)


def _both(labels: Sequence[str]) -> ColumnElement[bool]:
    return and_(AlertRevision.tlp.in_(labels), Alert.tlp.in_(labels))


def _held_elsewhere(session: Session, principal: Principal) -> tuple[str, ...]:
    """The labels that an authority holds for alerts of other countries: GREEN, and more where an active endpoint of it does."""
    held = session.scalars(
        select(Subscription.tlp_max).where(
            Subscription.org_id == principal.org_id,
            Subscription.state == "active",
            Subscription.deleted_at.is_(None),
            Subscription.role == Role.AUTHORITY.value,
        )
    ).all()
    highest = max((tlp_rank(label) for label in held), default=0)
    return tuple(label for label in OWN_COUNTRY_LABELS if tlp_rank(label) <= max(highest, tlp_rank("GREEN")))


def _belongs(principal: Principal | None) -> ColumnElement[bool]:
    """Alerts of test organisations are for themselves alone, and those see nothing else."""
    if principal is None:
        return Alert.test.is_(False)
    if principal.test:
        return Alert.org_id == principal.org_id
    return or_(Alert.test.is_(False), Alert.org_id == principal.org_id)


def visible(session: Session, principal: Principal | None) -> Any:
    """A select of (Alert, AlertRevision): every alert this principal may see, each with the newest revision open to it."""
    newer = aliased(AlertRevision)
    newest = (
        select(func.max(newer.revision))
        .where(newer.alert_id == Alert.id, or_(newer.audience == "full", _inside(principal)))
        .correlate(Alert)
        .scalar_subquery()
    )
    return (
        select(Alert, AlertRevision)
        .join(AlertRevision, and_(AlertRevision.alert_id == Alert.id, AlertRevision.revision == newest))
        .where(_belongs(principal), _labels_allow(session, principal), AlertRevision.state != "draft")
        .options(joinedload(Alert.substance))
    )


def visible_revisions(session: Session, principal: Principal | None) -> Any:
    """A select of (Alert, AlertRevision): every revision that this principal may see."""
    return (
        select(Alert, AlertRevision)
        .join(AlertRevision, AlertRevision.alert_id == Alert.id)
        .where(
            _belongs(principal),
            _labels_allow(session, principal),
            or_(AlertRevision.audience == "full", _inside(principal)),
            AlertRevision.state != "draft",
        )
    )


def find(session: Session, principal: Principal | None, alert_id: str) -> Found | None:
    """The alert with the revision that this principal may see; None where there is none."""
    row = session.execute(visible(session, principal).where(Alert.id == alert_id)).first()
    return None if row is None else Found(row[0], row[1])


def open_among(session: Session, principal: Principal | None, alert_ids: Iterable[str | None]) -> frozenset[str]:
    """Those of these alerts that the principal may see, by id. Two queries, whatever their number."""
    wanted = {one for one in alert_ids if one is not None}
    if not wanted:
        return frozenset()
    return frozenset(alert.id for alert, _ in session.execute(visible(session, principal).where(Alert.id.in_(wanted))))


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSearch:
    """What a list of alerts is narrowed to. `before` is the id after which the page begins."""

    types: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    substance: str | None = None
    states: tuple[str, ...] = ()
    min_level: int | None = None
    controlled: bool | None = None
    reviewed: bool | None = None
    before: str | None = None


def alerts_for(session: Session, principal: Principal | None, search: AlertSearch, *, limit: int) -> list[Found]:
    """Alerts this principal may see, newest first, at most `limit`."""
    query = visible(session, principal)
    if search.types:
        query = query.where(Alert.type.in_(search.types))
    if search.countries:
        query = query.where(Alert.country.in_(search.countries))
    if search.regions:
        query = query.where(Alert.region.in_(search.regions))
    if search.groups:
        query = query.where(Alert.group.in_(search.groups))
    if search.substance is not None:
        query = query.where(Alert.substance_id == search.substance)
    if search.states:
        query = query.where(AlertRevision.state.in_(search.states))
    if search.min_level is not None:
        query = query.where(AlertRevision.level >= search.min_level)
    if search.controlled is not None:
        query = query.where(Alert.controlled.is_(search.controlled))
    if search.reviewed is not None:
        query = query.where(AlertRevision.reviewed.is_(search.reviewed))
    if search.before is not None:
        query = query.where(Alert.id < search.before)
    return [Found(row[0], row[1]) for row in session.execute(query.order_by(Alert.id.desc()).limit(limit))]


def views_for(session: Session, principal: Principal | None, found: Sequence[Found]) -> list[AlertView]:
    """These alerts as this principal sees them, in the same order. Three queries, whatever their number."""
    reader = reader_of(principal)
    ids = [item.alert.id for item in found]
    evidence = evidence_of(session, ids)
    answers = acknowledgements_of(session, ids, reader) if principal is not None else {}
    earlier: dict[str, list[AlertRevision]] = {}
    for row in session.scalars(
        select(AlertRevision).where(AlertRevision.alert_id.in_(ids)).order_by(AlertRevision.alert_id, AlertRevision.revision)
    ):
        earlier.setdefault(row.alert_id, []).append(row)
    views = []
    for item in found:
        inside = is_inside(item.alert, principal)
        own = principal is not None and item.alert.org_id == principal.org_id
        views.append(
            view_of(
                item.alert,
                item.revision,
                item.alert.substance,
                evidence=evidence.get(item.alert.id, ()),
                acknowledgements=answers.get(item.alert.id, ()),
                earlier=[
                    row
                    for row in earlier[item.alert.id]
                    if row.revision < item.revision.revision and (inside or row.audience == "full")
                ],
                reader=reader,
                withheld=item.revision.tlp == "RED" and not own,
            )
        )
    return views


def is_inside(alert: Alert, principal: Principal | None) -> bool:
    """Whether the principal belongs to the narrow audience of this alert; the same rule as `_inside`."""
    if principal is None:
        return False
    if alert.org_id == principal.org_id or principal.role is Role.ANALYST:
        return True
    return principal.role is Role.AUTHORITY and alert.country == principal.country


def ever_full(session: Session, alert_id: str) -> bool:
    """Whether some revision of the alert went to its full audience."""
    return bool(session.scalar(select(exists().where(AlertRevision.alert_id == alert_id, AlertRevision.audience == "full"))))


def countries_of(session: Session, alert_ids: Sequence[str]) -> dict[str, list[str]]:
    """The countries of the newest revision of each alert. One query."""
    rows = session.execute(
        select(AlertRevision.alert_id, AlertRevision.countries)
        .join(Alert, and_(Alert.id == AlertRevision.alert_id, Alert.revision == AlertRevision.revision))
        .where(AlertRevision.alert_id.in_(alert_ids))
    )
    return {alert_id: [str(code) for code in countries or ()] for alert_id, countries in rows}


def is_acknowledged(session: Session, alert_id: str, org_id: str) -> bool:
    """Whether this organisation acknowledged the alert."""
    return bool(
        session.scalar(
            select(
                exists().where(
                    Acknowledgement.alert_id == alert_id,
                    Acknowledgement.org_id == org_id,
                    Acknowledgement.kind == "acknowledged",
                )
            )
        )
    )
