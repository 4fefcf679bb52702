"""What industry declares about the legitimate use of a substance."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id, Json, new_id


class LegitimateUse(Base):
    """A declaration of one organisation. Never changed and never deleted: it is decided once, and may be withdrawn."""

    __tablename__ = "legitimate_use"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    org_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    substance_id: Mapped[str] = mapped_column(ForeignKey("substance.id"))
    label: Mapped[str] = mapped_column(String(400))  # as the organisation named it
    use: Mapped[str] = mapped_column(String(8))  # known | none | unknown
    kind: Mapped[str | None] = mapped_column(String(24))
    source: Mapped[str] = mapped_column(String(1000))
    note: Mapped[str | None] = mapped_column(Text)
    countries: Mapped[list[Any]] = mapped_column(Json)
    valid_from: Mapped[date | None]
    valid_until: Mapped[date | None]
    state: Mapped[str] = mapped_column(String(10))  # waiting | confirmed | refused | withdrawn
    test: Mapped[bool] = mapped_column(default=False)
    actor: Mapped[str] = mapped_column(String(40))
    created_at: Mapped[datetime]
    decided_at: Mapped[datetime | None]
    decided_by: Mapped[str | None] = mapped_column(String(40))
    decision_note: Mapped[str | None] = mapped_column(Text)
    withdrawn_at: Mapped[datetime | None]
    withdrawn_reason: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index(None, "org_id"), Index(None, "state"), Index(None, "substance_id", "state"))
