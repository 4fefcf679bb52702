"""With whom restricted rows are shared beyond their label, and who consented to a lower one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id, new_id


class SharingGroup(Base):
    """Organisations that a sender may name: they are the recipients of its RED rows, and see its supply routes."""

    __tablename__ = "sharing_group"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(200), unique=True)
    created_at: Mapped[datetime]


class SharingGroupMember(Base):
    """An organisation in a group."""

    __tablename__ = "sharing_group_member"

    group_id: Mapped[str] = mapped_column(ForeignKey("sharing_group.id"), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"), primary_key=True)
    since: Mapped[datetime]


class LabelConsent(Base):
    """The sender of a report agrees that what rests on it may carry a lower label. Only ever added to."""

    __tablename__ = "label_consent"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"), index=True)
    tlp: Mapped[str] = mapped_column(String(12))
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    actor: Mapped[str] = mapped_column(String(80))
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
