"""Alerts and their immutable revisions, who hears of them, the tasks that carry them, and what authorities answered."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Double, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.persistence.base import Base, Id, Json, new_id
from app.persistence.models.accounts import Organisation
from app.persistence.models.substances import Substance


class Alert(Base):
    """One event worth telling. `dedupe_key` is unique: evaluating twice, or on two machines, changes nothing."""

    __tablename__ = "alert"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    type: Mapped[str] = mapped_column(String(24))
    dedupe_key: Mapped[str] = mapped_column(String(300), unique=True)
    rule: Mapped[str] = mapped_column(String(60))
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    group: Mapped[str | None] = mapped_column(String(40))
    country: Mapped[str | None] = mapped_column(String(2))
    region: Mapped[str | None] = mapped_column(String(10))
    level: Mapped[int]
    tlp: Mapped[str] = mapped_column(String(12))
    state: Mapped[str] = mapped_column(String(10))  # draft | issued | updated | closed | retracted
    reviewed: Mapped[bool]
    controlled: Mapped[bool]
    revision: Mapped[int]
    org_id: Mapped[str | None] = mapped_column(ForeignKey("organisation.id"))  # the submitting laboratory
    test: Mapped[bool] = mapped_column(default=False)  # raised by a test organisation: nobody else sees it
    needs_approval: Mapped[bool] = mapped_column(default=False)  # new or flagged laboratory, whatever the release table says
    received_at: Mapped[datetime]  # of the report that raised it; the clocks of the levels start here
    created_at: Mapped[datetime]
    issued_at: Mapped[datetime | None]

    substance: Mapped[Substance | None] = relationship(lazy="raise")
    revisions: Mapped[list[AlertRevision]] = relationship(lazy="raise", back_populates="alert", order_by="AlertRevision.revision")
    acknowledgements: Mapped[list[Acknowledgement]] = relationship(lazy="raise", order_by="Acknowledgement.at")

    __table_args__ = (Index(None, "created_at"), Index(None, "substance_id"), Index(None, "country"))


class AlertKey(Base):
    """A dedupe key that is taken: the alert's own, and the narrower ones that were consumed with it."""

    __tablename__ = "alert_key"

    key: Mapped[str] = mapped_column(String(300), primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))

    __table_args__ = (Index(None, "alert_id"),)


class AlertRevision(Base):
    """An immutable version of an alert. `audience` is `country` (laboratory and authorities of the event) or `full`."""

    __tablename__ = "alert_revision"

    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    msg_type: Mapped[str] = mapped_column(String(8))  # Alert | Update | Cancel
    audience: Mapped[str] = mapped_column(String(8))
    level: Mapped[int]
    reviewed: Mapped[bool]
    state: Mapped[str] = mapped_column(String(10))
    tlp: Mapped[str] = mapped_column(String(12))
    headline: Mapped[str] = mapped_column(String(300))
    short: Mapped[str] = mapped_column(String(160))
    summary: Mapped[str] = mapped_column(Text)
    full: Mapped[str] = mapped_column(Text)
    instruction: Mapped[str] = mapped_column(Text)
    numbers: Mapped[dict[str, Any]] = mapped_column(Json)
    countries: Mapped[list[Any]] = mapped_column(Json)
    reason: Mapped[str | None] = mapped_column(Text)
    sent_at: Mapped[datetime]

    alert: Mapped[Alert] = relationship(lazy="raise", back_populates="revisions")


class AlertEvidence(Base):
    """A report (and the detection in it) that an alert rests on. The evidence keeps its own label."""

    __tablename__ = "alert_evidence"

    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"), primary_key=True)
    detection_id: Mapped[str | None] = mapped_column(ForeignKey("detection.id"))
    case_id: Mapped[str | None] = mapped_column(ForeignKey("harm_case.id"))

    __table_args__ = (Index(None, "report_id"),)


class AlertApproval(Base):
    """One analyst's approval; level 4 needs two different persons."""

    __tablename__ = "alert_approval"

    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    actor: Mapped[str] = mapped_column(String(40), primary_key=True)  # person:<id> or key:<id>
    at: Mapped[datetime]
    note: Mapped[str | None] = mapped_column(Text)


class Body(Base):
    """The exact bytes sent for a revision, one row a view, because each reader sees only the evidence it may."""

    __tablename__ = "body"

    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"), primary_key=True)
    revision: Mapped[int] = mapped_column(primary_key=True)
    view: Mapped[str] = mapped_column(String(80), primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Subscription(Base):
    """One destination (webhook, e-mail address, inbox) with its filter and the highest label it may hold.

    `secrets` is a list of `{"secret": <encrypted>, "expires_at": <time or null>}`, newest first.
    """

    __tablename__ = "subscription"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    role: Mapped[str] = mapped_column(String(16))  # of the key that made it: what it may be sent
    channel: Mapped[str] = mapped_column(String(8))  # webhook | email | inbox
    target: Mapped[str | None] = mapped_column(String(2048))
    filter: Mapped[dict[str, Any]] = mapped_column(Json)
    tlp_max: Mapped[str] = mapped_column(String(12))
    detail: Mapped[str] = mapped_column(String(5))
    daily_limit: Mapped[int | None]  # e-mail: so many of levels 1 and 2 a day go at once, the rest in the digest
    state: Mapped[str] = mapped_column(String(10))  # unverified | active | paused | disabled
    nonce: Mapped[str | None] = mapped_column(String(64))
    secrets: Mapped[list[Any]] = mapped_column(Json)
    breaker: Mapped[str] = mapped_column(String(8), default="closed")  # closed | open | half
    failures: Mapped[int] = mapped_column(default=0)  # in a row
    fail_since: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    probe_at: Mapped[datetime | None]  # when an open breaker lets the oldest delivery try
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]

    organisation: Mapped[Organisation] = relationship(lazy="raise")

    __table_args__ = (Index(None, "org_id"), Index(None, "state"))


class Task(Base):
    """One unit of durable work. UNIQUE(topic, key) makes inserting it twice harmless."""

    __tablename__ = "task"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    topic: Mapped[str] = mapped_column(String(12))  # evaluate | fanout | deliver | escalate | publish | ping
    key: Mapped[str] = mapped_column(String(200))
    lane: Mapped[str] = mapped_column(String(40))
    seq_group: Mapped[str | None] = mapped_column(String(80))
    seq_no: Mapped[int | None]
    priority: Mapped[int]
    state: Mapped[str] = mapped_column(String(10))  # ready | leased | parked | done | dead | cancelled
    run_at: Mapped[datetime]
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    attempts: Mapped[int] = mapped_column(default=0)
    crashes: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(60))
    lease_token: Mapped[str | None] = mapped_column(String(32))
    lease_until: Mapped[datetime | None]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    done_at: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("topic", "key"),
        Index("ix_task_due", "state", text("priority DESC"), "run_at", "id", "lane"),  # the order in which they are claimed
        Index(None, "lane", "state"),
        Index(None, "seq_group", "seq_no"),
    )


class Attempt(Base):
    """One try at a task, kept as it went. Append-only. `response` holds at most the first 2 KiB."""

    __tablename__ = "attempt"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    task_id: Mapped[str] = mapped_column(ForeignKey("task.id"))
    n: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(String(12))  # delivered | failed | blocked | late | probe | cancelled
    status: Mapped[int | None]
    latency_ms: Mapped[int]
    resolved_ip: Mapped[str | None] = mapped_column(String(45))
    response: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    worker: Mapped[str] = mapped_column(String(60))

    __table_args__ = (Index(None, "task_id", "n"),)


class Acknowledgement(Base):
    """An organisation's word on an alert: seen, acknowledged or assessed, once each."""

    __tablename__ = "ack"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))
    revision: Mapped[int]
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    actor: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(14))
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]

    organisation: Mapped[Organisation] = relationship(lazy="raise")

    __table_args__ = (UniqueConstraint("alert_id", "org_id", "kind"),)


class FeedItem(Base):
    """A published revision with its gapless number: what `GET /v1/events?after=` walks."""

    __tablename__ = "feed_item"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))
    revision: Mapped[int]
    published_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("alert_id", "revision"),)


class Measure(Base):
    """What an authority decided about a substance or an alert, on what basis, from when until when."""

    __tablename__ = "measure"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    country: Mapped[str] = mapped_column(String(2))
    kind: Mapped[str] = mapped_column(String(28))
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    alert_id: Mapped[str | None] = mapped_column(ForeignKey("alert.id"))
    legal_basis: Mapped[str | None] = mapped_column(Text)
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    public_text: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class SeriesEvaluation(Base):
    """The latest evaluation of one weekly series in one week, alarm or not, with its inputs: it can be computed again."""

    __tablename__ = "signal"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    substance_id: Mapped[str] = mapped_column(ForeignKey("substance.id"))
    country: Mapped[str] = mapped_column(String(2))
    week: Mapped[date]  # the Monday of the tested week
    as_of: Mapped[datetime]
    method: Mapped[str] = mapped_column(String(40))
    window: Mapped[int]  # weeks
    observed: Mapped[int]
    expected: Mapped[float] = mapped_column(Double)
    dispersion: Mapped[float] = mapped_column(Double)
    p: Mapped[float] = mapped_column(Double)
    alarm: Mapped[bool]
    held: Mapped[bool | None]  # whether p stands at a false discovery rate of 5 % over its daily run; none before one
    laboratories: Mapped[int]
    counts: Mapped[list[Any]] = mapped_column(Json)
    tests: Mapped[list[Any] | None] = mapped_column(Json)
    class_mean: Mapped[float | None] = mapped_column(Double)

    __table_args__ = (UniqueConstraint("substance_id", "country", "week"), Index(None, "week", "alarm"))
