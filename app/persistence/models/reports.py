"""What laboratories sent: reports with every version, samples, detections, harm cases, imports."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.persistence.base import Base, Id, Json, new_id
from app.persistence.models.accounts import Organisation
from app.persistence.models.substances import Substance


class Report(Base):
    """One report of a laboratory. Its content is in the versions; its rows describe the current one."""

    __tablename__ = "report"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    lab_reference: Mapped[str] = mapped_column(String(200))
    version: Mapped[int]
    state: Mapped[str] = mapped_column(String(12), default="active")  # active | withdrawn
    outcome: Mapped[str] = mapped_column(String(16), default="detected")  # detected | none_detected
    tlp: Mapped[str] = mapped_column(String(12))
    country: Mapped[str] = mapped_column(String(2))
    historical: Mapped[bool] = mapped_column(default=False)
    received_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    import_id: Mapped[str | None] = mapped_column(ForeignKey("import_job.id"))
    answer: Mapped[dict[str, Any]] = mapped_column(Json)  # what the laboratory was told
    sharing_group: Mapped[str | None] = mapped_column(Id, index=True)  # whose members see a RED row and the supply route

    organisation: Mapped[Organisation] = relationship(lazy="raise")
    sample: Mapped[Sample] = relationship(lazy="raise", back_populates="report", uselist=False)
    detections: Mapped[list[Detection]] = relationship(lazy="raise", back_populates="report", order_by="Detection.position")
    cases: Mapped[list[HarmCase]] = relationship(lazy="raise", back_populates="report", order_by="HarmCase.position")

    __table_args__ = (
        UniqueConstraint("org_id", "lab_reference"),
        Index(None, "org_id", "received_at"),
        Index(None, "country", "received_at"),
    )


class ReportVersion(Base):
    """One version exactly as sent, never changed. `body` is the request's text, `body_sha256` its hash in hexadecimal."""

    __tablename__ = "report_version"

    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(12))  # created | corrected | withdrawn
    body: Mapped[str] = mapped_column(Text)
    body_sha256: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]


class Sample(Base):
    """The physical thing examined. `date_sampled` keeps the reported precision; `sampled_on` is its first day."""

    __tablename__ = "sample"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"), unique=True)
    country: Mapped[str] = mapped_column(String(2))
    subdivision: Mapped[str | None] = mapped_column(String(6))
    date_sampled: Mapped[str] = mapped_column(String(10))
    date_precision: Mapped[str] = mapped_column(String(5))
    sampled_on: Mapped[date]
    context: Mapped[str] = mapped_column(String(20))
    context_detail: Mapped[str | None] = mapped_column(String(30))
    matrix: Mapped[str | None] = mapped_column(String(20))
    form: Mapped[str | None] = mapped_column(String(20))
    sold_as: Mapped[str | None] = mapped_column(String(300))
    product_key: Mapped[str | None] = mapped_column(String(32))  # a hash of form, markings and brand
    quantity_value: Mapped[float | None] = mapped_column(Float)
    quantity_unit: Mapped[str | None] = mapped_column(String(12))
    quantity_basis: Mapped[str | None] = mapped_column(String(10))
    origin: Mapped[str | None] = mapped_column(String(2))
    transit: Mapped[list[Any]] = mapped_column(Json)
    destination: Mapped[str | None] = mapped_column(String(2))

    report: Mapped[Report] = relationship(lazy="raise", back_populates="sample")


class Detection(Base):
    """One substance (or isomer set, class, unresolved label) found in one sample: the unit that is counted.

    Country, month, laboratory and visibility are repeated here so that counts and filters read one table.
    """

    __tablename__ = "detection"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"))
    position: Mapped[int]
    substance_id: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))
    resolution: Mapped[str] = mapped_column(String(12))  # structure | identifier | name | class | unresolved
    resolution_class: Mapped[str | None] = mapped_column(String(40))
    candidates: Mapped[list[Any]] = mapped_column(Json)
    reported_name: Mapped[str | None] = mapped_column(String(400))
    reported_cas: Mapped[str | None] = mapped_column(String(12))
    reported_structure: Mapped[dict[str, Any] | None] = mapped_column(Json)
    relation: Mapped[str] = mapped_column(String(20))
    abundance: Mapped[str | None] = mapped_column(String(10))
    purity_percent: Mapped[float | None] = mapped_column(Float)
    purity_as: Mapped[str | None] = mapped_column(String(5))
    concentration: Mapped[dict[str, Any] | None] = mapped_column(Json)
    techniques: Mapped[list[Any]] = mapped_column(Json)
    schymanski_level: Mapped[str | None] = mapped_column(String(3))
    reference_material: Mapped[str | None] = mapped_column(String(20))
    isomers_excluded: Mapped[str | None] = mapped_column(String(3))
    confidence: Mapped[str] = mapped_column(String(10))
    identity: Mapped[dict[str, Any] | None] = mapped_column(Json)
    matches: Mapped[list[Any]] = mapped_column(Json)
    legal_status: Mapped[str] = mapped_column(String(24))
    warnings: Mapped[list[Any]] = mapped_column(Json)
    engine_version: Mapped[str] = mapped_column(String(80))
    # repeated from report and sample
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    country: Mapped[str] = mapped_column(String(2))
    region: Mapped[str] = mapped_column(String(10))
    sampled_on: Mapped[date]
    month: Mapped[str] = mapped_column(String(7))  # YYYY-MM of the sample; the year's first where only a year is known
    context: Mapped[str] = mapped_column(String(20))
    received_at: Mapped[datetime]
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool] = mapped_column(default=False)
    counted: Mapped[bool] = mapped_column(default=True)  # false once withdrawn or replaced by a correction
    report_version: Mapped[int]

    report: Mapped[Report] = relationship(lazy="raise", back_populates="detections")
    substance: Mapped[Substance | None] = relationship(lazy="raise")

    __table_args__ = (
        Index(None, "report_id"),
        # what was found before a report: the conditions of a query on it must be written as these are
        Index(
            "ix_detection_before",
            *("substance_id", "region", "country", "confidence", "tlp"),
            postgresql_where=text("counted IS true AND relation = 'parent' AND test IS false"),
            sqlite_where=text("counted IS 1 AND relation = 'parent' AND test IS 0"),
        ),
        Index("ix_detection_series", "substance_id", "month", "country"),
        Index("ix_detection_last", "substance_id", "country", "sampled_on"),
        Index(None, "substance_id", "received_at"),
        Index(None, "received_at"),
    )


class HarmCase(Base):
    """One person's harm event. Rows are at least AMBER. No names, no birth dates, no free text."""

    __tablename__ = "harm_case"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"))
    position: Mapped[int]
    country: Mapped[str] = mapped_column(String(2))
    subdivision: Mapped[str | None] = mapped_column(String(6))
    month: Mapped[str] = mapped_column(String(7))
    seriousness: Mapped[str] = mapped_column(String(40))
    role: Mapped[str] = mapped_column(String(16))
    exposure_evidence: Mapped[str | None] = mapped_column(String(12))
    route: Mapped[str | None] = mapped_column(String(16))
    pss: Mapped[int | None]
    outcome: Mapped[str | None] = mapped_column(String(12))
    intent: Mapped[str | None] = mapped_column(String(16))
    age_band: Mapped[str | None] = mapped_column(String(6).with_variant(String(16), "postgresql"))
    sex: Mapped[str | None] = mapped_column(String(8))
    toxidrome: Mapped[list[Any]] = mapped_column(Json)
    naloxone: Mapped[str | None] = mapped_column(String(8).with_variant(String(16), "postgresql"))
    icd: Mapped[list[Any]] = mapped_column(Json)
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool] = mapped_column(default=False)
    counted: Mapped[bool] = mapped_column(default=True)
    report_version: Mapped[int]
    received_at: Mapped[datetime]

    report: Mapped[Report] = relationship(lazy="raise", back_populates="cases")
    substances: Mapped[list[CaseSubstance]] = relationship(lazy="raise", back_populates="case")

    __table_args__ = (Index(None, "report_id"), Index(None, "country", "month"))


class CaseSubstance(Base):
    """The part a detection played in a case. `substance_id` repeats the detection's; a trigger of the database keeps it."""

    __tablename__ = "case_substance"

    case_id: Mapped[str] = mapped_column(ForeignKey("harm_case.id"), primary_key=True)
    detection_id: Mapped[str] = mapped_column(ForeignKey("detection.id"), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    substance_id: Mapped[str | None] = mapped_column(Id, index=True)

    case: Mapped[HarmCase] = relationship(lazy="raise", back_populates="substances")
    detection: Mapped[Detection] = relationship(lazy="raise")

    __table_args__ = (Index(None, "detection_id"),)


class ImportJob(Base):
    """One run over a file: counts so far. Uploaded ones keep the file and the mapping until they have ended."""

    __tablename__ = "import_job"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    filename: Mapped[str] = mapped_column(String(300))
    file_sha256: Mapped[str] = mapped_column(String(64))
    mapping_sha256: Mapped[str] = mapped_column(String(64))
    mode: Mapped[str] = mapped_column(String(12))  # live | historical | replay
    state: Mapped[str] = mapped_column(String(12))  # waiting | running | done | failed
    rows_read: Mapped[int] = mapped_column(default=0)
    rows_stored: Mapped[int] = mapped_column(default=0)
    rows_known: Mapped[int] = mapped_column(default=0)
    rows_rejected: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    rows_total: Mapped[int | None]
    alerts: Mapped[int | None]
    mapping: Mapped[str | None] = mapped_column(Text)  # TOML, of an uploaded file
    file_format: Mapped[str | None] = mapped_column(String(8))
    actor: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[str | None] = mapped_column(Text)
    labels: Mapped[dict[str, Any] | None] = mapped_column(Json)  # labels that did not resolve, the commonest, with their counts
