"""Counts of detections kept beside them. None of these rows is a fact of its own: all follow from the table of detections.

Triggers of the database add a line to `detection_delta` with every change of a detection that counts, in its own transaction,
whatever path the change took. A line is only ever added, so that no two laboratories wait for one row. `app.persistence.rollups`
folds the lines into the counts; a reader adds the lines that are not folded yet, so that an answer is exact at every moment.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id

# the columns by which detections are told apart here, in the order of the primary keys
KEY = ("substance_id", "month", "country", "org_id", "context", "confidence", "relation", "tlp", "test", "report_id")
OPEN_LABELS = ("CLEAR", "GREEN", "AMBER", "AMBER+STRICT")  # those that open a row to many, each to fewer than the one before
_RED = text("report_id <> ''")
_ANEW = text("first_month = ''")


class DetectionDelta(Base):
    """A change of a count that is not folded in yet: so many detections more, or fewer."""

    __tablename__ = "detection_delta"

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    substance_id: Mapped[str] = mapped_column(Id)
    month: Mapped[str] = mapped_column(String(7))
    country: Mapped[str] = mapped_column(String(2))
    org_id: Mapped[str] = mapped_column(Id)
    context: Mapped[str] = mapped_column(String(20))
    confidence: Mapped[str] = mapped_column(String(10))
    relation: Mapped[str] = mapped_column(String(20))
    tlp: Mapped[str] = mapped_column(String(12))
    test: Mapped[bool]
    report_id: Mapped[str] = mapped_column(Id)
    n: Mapped[int]


class DetectionCell(Base):
    """How many detections that count share every column of the key.

    `substance_id` is empty where none was resolved. `report_id` is empty unless the label is RED: who may see such a row is
    decided report by report.
    """

    __tablename__ = "detection_cell"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    context: Mapped[str] = mapped_column(String(20), primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    relation: Mapped[str] = mapped_column(String(20), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    test: Mapped[bool] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(Id, primary_key=True)
    n: Mapped[int]

    __table_args__ = (
        Index(None, "org_id", "test", "tlp", "month"),
        Index(None, "org_id", "substance_id", "month"),
        Index(None, "country", "tlp", "month"),
        Index(None, "substance_id", "country", "month"),
        Index(None, "tlp", "substance_id", "month"),
        Index("ix_detection_cell_red", "report_id", postgresql_where=_RED, sqlite_where=_RED),
    )


class DetectionPresence(Base):
    """The same over all months and contexts: which substance was found by whom and where."""

    __tablename__ = "detection_presence"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    relation: Mapped[str] = mapped_column(String(20), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    test: Mapped[bool] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(Id, primary_key=True)
    n: Mapped[int]


class SubstanceLaboratory(Base):
    """The same by substance and sender alone."""

    __tablename__ = "substance_laboratory"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    test: Mapped[bool] = mapped_column(primary_key=True)
    n: Mapped[int]


class SubstanceMonth(Base):
    """Detections by substance and month, over rows that a label opens to many: neither RED nor of a test organisation."""

    __tablename__ = "substance_month"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    relation: Mapped[str] = mapped_column(String(20), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]

    __table_args__ = (Index(None, "month"),)


class ShownMonth(Base):
    """The same over what a count shows unless asked otherwise: parents that are confirmed or probable, open as above."""

    __tablename__ = "shown_month"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]

    __table_args__ = (Index(None, "month"),)


class ShownCell(Base):
    """The same by country, sender and confidence as well."""

    __tablename__ = "shown_cell"

    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]

    __table_args__ = (Index(None, "country", "tlp", "month"),)


class ClassCell(Base):
    """The same by chemical group instead of the substance, without ordinary substances."""

    __tablename__ = "class_cell"

    chemical_group: Mapped[str] = mapped_column(String(40), primary_key=True)
    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]


class ShownPlace(Base):
    """When a substance was first and last found in a country, over the rows of `ShownMonth`; not where none was resolved.

    `tlp` is the label up to which a reader sees (`OPEN_LABELS`): a row holds for everyone who sees that much and no more.
    A first month that is empty says that both are to be looked up anew, as something was taken away; never after a fold.
    """

    __tablename__ = "shown_place"

    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    substance_id: Mapped[str] = mapped_column(Id, primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    first_month: Mapped[str] = mapped_column(String(7))
    last_month: Mapped[str] = mapped_column(String(7))

    __table_args__ = (
        Index(None, "country"),
        Index("ix_shown_place_anew", "substance_id", postgresql_where=_ANEW, sqlite_where=_ANEW),
    )


class CountryMonth(Base):
    """Parents of all substances by country and month, over rows that a label opens to many."""

    __tablename__ = "country_month"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]


class LaboratoryMonth(Base):
    """The same by sender."""

    __tablename__ = "laboratory_month"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]


class OpenMonth(Base):
    """Everything that a label opens to many by month and country: where and when anything is known of."""

    __tablename__ = "open_month"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    n: Mapped[int]


class PlaceMonth(Base):
    """The same without the substance: who found how much where, in which context, month by month."""

    __tablename__ = "place_month"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    context: Mapped[str] = mapped_column(String(20), primary_key=True)
    confidence: Mapped[str] = mapped_column(String(10), primary_key=True)
    relation: Mapped[str] = mapped_column(String(20), primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    test: Mapped[bool] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(Id, primary_key=True)
    n: Mapped[int]

    __table_args__ = (
        Index(None, "org_id", "test", "tlp"),
        Index(None, "country", "tlp", "month"),
        Index("ix_place_month_red", "report_id", postgresql_where=_RED, sqlite_where=_RED),
    )


class ReportingMonth(Base):
    """The same by month, country and sender alone: where a report is known of, also one of what was not resolved."""

    __tablename__ = "reporting_month"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    org_id: Mapped[str] = mapped_column(Id, primary_key=True)
    tlp: Mapped[str] = mapped_column(String(12), primary_key=True)
    test: Mapped[bool] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(Id, primary_key=True)
    n: Mapped[int]

    __table_args__ = (
        Index(None, "org_id", "test", "tlp"),
        Index(None, "country", "tlp", "month"),
        Index("ix_reporting_month_red", "report_id", postgresql_where=_RED, sqlite_where=_RED),
    )
