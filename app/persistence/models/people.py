"""Whom an organisation wants to be told, links that acknowledge by mail, and what is left of old deliveries."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id, new_id


class Contact(Base):
    """One line of an organisation's roster, in the order in which people are told.

    `hours_from` and `hours_until` are HH:MM in `zone`, both empty for every hour; `days` are the ISO weekdays, as "12345".
    Outside of them the deputy is told in their place. `until` is the last day of the line.
    """

    __tablename__ = "contact"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    position: Mapped[int]
    name: Mapped[str] = mapped_column(String(200))
    email: Mapped[str] = mapped_column(String(254))
    deputy: Mapped[str | None] = mapped_column(String(254))
    days: Mapped[str] = mapped_column(String(7), default="1234567")
    hours_from: Mapped[str | None] = mapped_column(String(5))
    hours_until: Mapped[str | None] = mapped_column(String(5))
    zone: Mapped[str] = mapped_column(String(40), default="UTC")
    until: Mapped[date | None]
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]

    __table_args__ = (Index(None, "org_id", "position"),)


class AcknowledgeLink(Base):
    """A link in an e-mail that acknowledges one alert for one organisation, once. Only its hash is stored."""

    __tablename__ = "ack_link"

    token_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("alert.id"))
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    email: Mapped[str] = mapped_column(String(254))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "alert_id"),)


class DeliveryCount(Base):
    """How many deliveries of a month ended how, after the deliveries themselves are gone (13 months)."""

    __tablename__ = "delivery_count"

    month: Mapped[str] = mapped_column(String(7), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), primary_key=True)
    channel: Mapped[str] = mapped_column(String(8), primary_key=True)
    state: Mapped[str] = mapped_column(String(10), primary_key=True)
    deliveries: Mapped[int]
    attempts: Mapped[int]
