"""What the answers look like, for the OpenAPI description. The documents themselves are made where the data are."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel


class RuleDoc(BaseModel):
    id: str
    numbers: dict[str, Any]


class ReferenceDoc(BaseModel):
    """An earlier revision that this reader may have had."""

    revision: int
    identifier: str
    sent_at: str


class AcknowledgementDoc(BaseModel):
    """`organisation` and `note` are null for those who may not see them."""

    kind: str
    country: str
    organisation: str | None
    revision: int
    note: str | None
    at: str


class AlertDoc(BaseModel):
    """An alert as this reader may see it. A withheld one has null for what is left out, and `withheld: true`."""

    id: str
    type: str
    level: int
    level_name: Literal["notice", "advisory", "alert", "urgent"]
    state: Literal["draft", "issued", "updated", "closed", "retracted"]
    reviewed: bool
    controlled: bool
    headline: str | None
    short: str | None
    summary: str | None
    full: str | None
    instruction: str | None
    rule: RuleDoc | None
    substance: dict[str, Any] | None
    evidence: list[str] | None
    countries: list[str] | None
    tlp: str
    issued_at: str | None
    revision: int
    references: list[ReferenceDoc]
    acknowledgements: list[AcknowledgementDoc] | None


class AlertPage(BaseModel):
    items: list[AlertDoc]
    next_cursor: str | None


class EventDoc(BaseModel):
    seq: int
    type: Literal["alert.issued", "alert.updated", "alert.retracted"]
    timestamp: str
    data: AlertDoc


class EventPage(BaseModel):
    """`next_after` is where to go on, now or later. `generation` changes when the database was restored: then begin at 0."""

    items: list[EventDoc]
    next_cursor: str | None
    next_after: int
    generation: str


class HealthDoc(BaseModel):
    breaker: str
    failures: int
    failing_since: str | None
    last_success_at: str | None
    last_error: str | None


class SubscriptionDoc(BaseModel):
    id: str
    channel: Literal["webhook", "email", "inbox"]
    url: str | None
    address: str | None
    filter: dict[str, Any]
    tlp_max: str
    detail: Literal["full", "thin"]
    daily_limit: int | None
    state: Literal["unverified", "active", "paused", "disabled"]
    health: HealthDoc
    secrets: list[dict[str, str | None]]
    created_at: str


class NewSubscriptionDoc(SubscriptionDoc):
    """`secret` is shown here and at rotation only, and for webhooks only."""

    secret: str | None = None


class SubscriptionPage(BaseModel):
    items: list[SubscriptionDoc]
    next_cursor: str | None


class PreviewDoc(BaseModel):
    """`by_level` counts by level as text; `alerts` are ids, newest first."""

    since: str
    total: int
    by_level: dict[str, int]
    alerts: list[str]


class ContactDoc(BaseModel):
    """`from` and `to` are hours in the zone; null for every hour."""

    position: int
    name: str
    email: str
    deputy: str | None
    days: str
    to: str | None
    zone: str
    until: str | None
    on_duty: bool


class RosterDoc(BaseModel):
    contacts: list[ContactDoc]


class TestDoc(BaseModel):
    delivery: str


class RedeliveryDoc(BaseModel):
    redelivering: int


class AnswerDoc(BaseModel):
    alert: str
    revision: int
    kind: Literal["seen", "acknowledged", "assessed", "sighting"]
    note: str | None
    organisation: str
    country: str
    at: str


class AttemptDoc(BaseModel):
    n: int
    started_at: str
    ended_at: str
    outcome: str
    status: int | None
    latency_ms: int
    resolved_ip: str | None
    error: str | None


class DeliveryDoc(BaseModel):
    id: str
    alert: str
    revision: int
    subscription: str
    organisation: str | None
    channel: str
    state: str
    next_attempt_at: str | None
    last_error: str | None
    created_at: str
    done_at: str | None
    attempts: list[AttemptDoc]


class DeliveryPage(BaseModel):
    items: list[DeliveryDoc]
    next_cursor: str | None


class CoverageLine(BaseModel):
    organisation: str
    country: str
    sent: int
    delivered: int
    failing: int
    seen_at: str | None
    acknowledged_at: str | None
    overdue: bool


class CoverageDoc(BaseModel):
    alert: str
    authorities: list[CoverageLine]
    countries_without_authority: list[str]


class MeasureDoc(BaseModel):
    """`from` and `until` are days; `alert` shows to those who may see it."""

    id: str
    kind: str
    country: str
    organisation: str
    substance: str | None
    alert: str | None
    legal_basis: str | None
    until: str | None
    public_text: str | None
    created_at: str


class MeasurePage(BaseModel):
    items: list[MeasureDoc]
    next_cursor: str | None


def described(status: int, model: type[BaseModel]) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a route: the model of its success."""
    return {status: {"model": model}}
