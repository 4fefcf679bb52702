"""Editions that an operator loaded, what was known before this installation, and the installation's own state."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id, Json, new_id


class ScheduleEdition(Base):
    """An edition of an instrument known to this installation: the shipped ones and those an administrator loaded."""

    __tablename__ = "schedule_edition"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    instrument: Mapped[str] = mapped_column(String(20))
    edition: Mapped[str] = mapped_column(String(40))
    content_sha256: Mapped[str] = mapped_column(String(64))
    entries: Mapped[int]
    source: Mapped[str] = mapped_column(Text)
    loaded_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("instrument", "edition", "content_sha256"),)


class LoadedEdition(Base):
    """An edition that an administrator loaded, with its whole document. Every process reads them in the order of `number`."""

    __tablename__ = "loaded_edition"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    instrument: Mapped[str] = mapped_column(String(20))
    edition: Mapped[str] = mapped_column(String(40))
    valid_from: Mapped[date]
    content: Mapped[dict[str, Any]] = mapped_column(Json)
    source: Mapped[str] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(String(40))
    loaded_at: Mapped[datetime]

    __table_args__ = (UniqueConstraint("instrument", "edition"),)


class HistoryRecord(Base):
    """A substance known in an area since a date, from an operator's file: not a detection, but not news either."""

    __tablename__ = "history_record"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    substance_key: Mapped[str] = mapped_column(String(200))
    area: Mapped[str] = mapped_column(String(10))  # ISO 3166-1 alpha-2, region name or "world"
    since: Mapped[date]
    source: Mapped[str] = mapped_column(Text)

    __table_args__ = (UniqueConstraint("substance_key", "area"), Index(None, "area"))


class ServiceState(Base):
    """Facts about the installation itself: its id, whether its data are synthetic, the generation of the feed."""

    __tablename__ = "service_state"

    key: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[dict[str, Any]] = mapped_column(Json)
