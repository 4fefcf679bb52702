"""What laboratories, authorities and partners state beside single findings: tests done, totals, supply incidents.

None of these rows is a detection: no count of findings, signal or rank reads them as one.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Double, Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.persistence.base import Base, Id, Json, new_id
from app.persistence.models.accounts import Organisation
from app.persistence.models.substances import Substance


class ActivityReport(Base):
    """How many samples a laboratory tested in a period: the denominator of its detections."""

    __tablename__ = "activity_report"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    country: Mapped[str] = mapped_column(String(2))
    period: Mapped[str] = mapped_column(String(7))  # 2026, 2026-Q3 or 2026-10
    first_day: Mapped[date]
    last_day: Mapped[date]
    context: Mapped[str | None] = mapped_column(String(20))
    samples_tested: Mapped[int]
    samples_with_nps: Mapped[int | None]
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool] = mapped_column(default=False)
    body: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    received_at: Mapped[datetime]
    replaced_by: Mapped[str | None] = mapped_column(String(26))
    withdrawn_at: Mapped[datetime | None]
    withdrawn_reason: Mapped[str | None] = mapped_column(Text)

    organisation: Mapped[Organisation] = relationship(lazy="raise")

    __table_args__ = (Index(None, "org_id", "first_day"), Index(None, "first_day", "country"))


class AggregateReport(Base):
    """Totals of a country and period by substance, without single events."""

    __tablename__ = "aggregate_report"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    country: Mapped[str] = mapped_column(String(2))
    period: Mapped[str] = mapped_column(String(7))
    first_day: Mapped[date]
    last_day: Mapped[date]
    context: Mapped[str | None] = mapped_column(String(20))
    samples_tested: Mapped[int | None]
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool] = mapped_column(default=False)
    body: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    received_at: Mapped[datetime]
    replaced_by: Mapped[str | None] = mapped_column(String(26))
    withdrawn_at: Mapped[datetime | None]
    withdrawn_reason: Mapped[str | None] = mapped_column(Text)

    organisation: Mapped[Organisation] = relationship(lazy="raise")
    rows: Mapped[list[AggregateRow]] = relationship(lazy="raise", order_by="AggregateRow.position")

    __table_args__ = (Index(None, "org_id", "first_day"), Index(None, "first_day", "country"))


class AggregateRow(Base):
    """One substance's total in an aggregate report."""

    __tablename__ = "aggregate_row"

    report_id: Mapped[str] = mapped_column(ForeignKey("aggregate_report.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    resolution: Mapped[str] = mapped_column(String(12))
    label: Mapped[str] = mapped_column(String(400))
    detections: Mapped[int]
    deaths: Mapped[int | None]

    substance: Mapped[Substance | None] = relationship(lazy="raise")

    __table_args__ = (Index(None, "substance_id"),)


class Incident(Base):
    """An event of supply: a seizure, a stopped shipment, a suspicious order. Readable by its sender and its country alone."""

    __tablename__ = "incident"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    reference: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(20))
    country: Mapped[str] = mapped_column(String(2))
    event_date: Mapped[str] = mapped_column(String(10))
    first_day: Mapped[date]
    origin: Mapped[str | None] = mapped_column(String(2))
    transit: Mapped[list[Any]] = mapped_column(Json)
    destination: Mapped[str | None] = mapped_column(String(2))
    mode: Mapped[str | None] = mapped_column(String(20))
    concealment: Mapped[str | None] = mapped_column(String(300))
    sale_channel: Mapped[str | None] = mapped_column(String(20))
    quantity_value: Mapped[float | None] = mapped_column(Float)
    quantity_unit: Mapped[str | None] = mapped_column(String(12))
    comment: Mapped[str | None] = mapped_column(Text)
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool] = mapped_column(default=False)
    body: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    received_at: Mapped[datetime]
    replaced_by: Mapped[str | None] = mapped_column(String(26))
    withdrawn_at: Mapped[datetime | None]
    withdrawn_reason: Mapped[str | None] = mapped_column(Text)

    organisation: Mapped[Organisation] = relationship(lazy="raise")
    substances: Mapped[list[IncidentSubstance]] = relationship(lazy="raise", order_by="IncidentSubstance.position")

    __table_args__ = (Index(None, "org_id", "reference"), Index(None, "country", "first_day"))


class IncidentSubstance(Base):
    """A substance or precursor named in an incident, by what it was said to be: no laboratory found it."""

    __tablename__ = "incident_substance"

    incident_id: Mapped[str] = mapped_column(ForeignKey("incident.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    resolution: Mapped[str] = mapped_column(String(12))
    label: Mapped[str] = mapped_column(String(400))
    precursor: Mapped[bool] = mapped_column(default=False)

    substance: Mapped[Substance | None] = relationship(lazy="raise")

    __table_args__ = (Index(None, "substance_id"),)


class SubstanceEvent(Base):
    """What an analyst did to the list of substances: a merge, a split, a name, a label resolved; each can be undone once.

    `moved` are the ids of the detections that changed their substance with it, so that an undo moves exactly these back.
    """

    __tablename__ = "substance_event"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(12))  # merge | split | name | resolve
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    other_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    label: Mapped[str | None] = mapped_column(String(400))
    moved: Mapped[list[Any]] = mapped_column(Json)
    reason: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]
    undone_at: Mapped[datetime | None]
    undone_by: Mapped[str | None] = mapped_column(String(40))
    undone_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index(None, "substance_id"), Index(None, "other_id"))


class ImportChunk(Base):
    """A piece of an uploaded file, kept until its import has ended: a 202 means that the file cannot be lost."""

    __tablename__ = "import_chunk"

    import_id: Mapped[str] = mapped_column(ForeignKey("import_job.id"), primary_key=True)
    n: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[bytes]


class ImportReject(Base):
    """A refused row of an import: its cells as read, and per fault the field, the reason and a suggestion."""

    __tablename__ = "import_reject"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    import_id: Mapped[str] = mapped_column(ForeignKey("import_job.id"))
    number: Mapped[int]
    cells: Mapped[dict[str, Any]] = mapped_column(Json)
    errors: Mapped[list[Any]] = mapped_column(Json)

    __table_args__ = (UniqueConstraint("import_id", "number"),)


class Snapshot(Base):
    """The facts of a ranking at a cut-off, kept so that any later reader gets the same numbers. Never changed.

    `scores` is what a ranking by any weights is made from, and `ranks` the one under the default weights: by id of the
    substance what `app.priorities.standing` reads. Both are empty for snapshots that are older than the column. What is large
    is not read with the row.
    """

    __tablename__ = "snapshot"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    cutoff: Mapped[date]
    labels: Mapped[str] = mapped_column(String(60))  # the TLP labels of its rows, for example CLEAR,GREEN
    digest: Mapped[str] = mapped_column(String(64))
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    facts: Mapped[bytes] = mapped_column(deferred=True)  # as JSON, compressed with zlib; so are the scores
    scores: Mapped[bytes | None] = mapped_column(deferred=True)
    made_at: Mapped[datetime]
    ranks: Mapped[dict[str, Any] | None] = mapped_column(Json, deferred=True)

    __table_args__ = (UniqueConstraint("cutoff", "labels"),)


class Dossier(Base):
    """What the service knew of a substance or a family at a snapshot, in the headings of a critical review.

    `document` and `figures` are set once, when it is made, and never changed: every number keeps the ids of its records, and
    nothing else of them. `view` says whose rows it rests on.
    """

    __tablename__ = "dossier"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(10))  # substance | family
    subject: Mapped[str] = mapped_column(String(40))  # id of the substance, or the chemical group
    name: Mapped[str] = mapped_column(String(300))
    view: Mapped[str] = mapped_column(String(10))
    snapshot_id: Mapped[str] = mapped_column(ForeignKey("snapshot.id"))
    state: Mapped[str] = mapped_column(String(10))  # waiting | running | done | failed
    step: Mapped[int] = mapped_column(default=0)
    error: Mapped[str | None] = mapped_column(Text)
    document: Mapped[bytes | None]  # JSON, compressed with zlib
    figures: Mapped[bytes | None]
    digest: Mapped[str | None] = mapped_column(String(64))  # of the document as JSON
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]
    made_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "subject", "view", "snapshot_id"),)


class Job(Base):
    """Work that a person asked for and that takes longer than a page: what was asked, how far it is, what came of it."""

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    kind: Mapped[str] = mapped_column(String(12))  # impact
    name: Mapped[str] = mapped_column(String(200))
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    actor: Mapped[str] = mapped_column(String(40))
    state: Mapped[str] = mapped_column(String(10))  # waiting | running | done | failed
    step: Mapped[int] = mapped_column(default=0)
    steps: Mapped[int] = mapped_column(default=0)
    request: Mapped[dict[str, Any]] = mapped_column(Json)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "org_id"),)


class Lag(Base):
    """How long a step takes in a country, over reports and alerts with these labels; made anew each day. Times in hours."""

    __tablename__ = "lag"

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    labels: Mapped[str] = mapped_column(String(60), primary_key=True)
    step: Mapped[str] = mapped_column(String(16), primary_key=True)
    number: Mapped[int]
    median: Mapped[float] = mapped_column(Double)
    p90: Mapped[float] = mapped_column(Double)
    made_at: Mapped[datetime]


class ReportDraft(Base):
    """What a person has written into the form of a report and not sent: it outlives the sign-in. One a person."""

    __tablename__ = "report_draft"

    person_id: Mapped[str] = mapped_column(ForeignKey("person.id", ondelete="CASCADE"), primary_key=True)
    fields: Mapped[dict[str, Any]] = mapped_column(Json)
    saved_at: Mapped[datetime]


class DossierNote(Base):
    """A reviewer's remark on a heading of a dossier. Withdrawn, it stays with its time."""

    __tablename__ = "dossier_note"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    dossier_id: Mapped[str] = mapped_column(ForeignKey("dossier.id"))
    section: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    actor: Mapped[str] = mapped_column(String(40))
    author: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "dossier_id"),)
