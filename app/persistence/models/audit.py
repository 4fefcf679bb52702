"""Who did or read what: entries that are only ever added, and the seals over them. Triggers refuse every change."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.persistence.base import Base, Id, Json, new_id


class AuditEntry(Base):
    """One transaction that wrote, or one answer that held restricted rows. Tables and ids only, never content.

    `kind` is `write` or `read`; `actor` is `key:<id>`, `person:<id>`, `cli:<user>`, `service` or `anonymous`; `door` the route or
    command. `objects` holds for a write {verb: {table: [ids] or a number}}, for a read {table: [ids]}.
    """

    __tablename__ = "audit_entry"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(5))
    actor: Mapped[str] = mapped_column(String(80))
    org_id: Mapped[str | None] = mapped_column(String(26))
    door: Mapped[str] = mapped_column(String(120))
    request_id: Mapped[str] = mapped_column(String(32))
    objects: Mapped[dict[str, Any]] = mapped_column(Json)

    __table_args__ = (Index(None, "at"),)


class AuditSeal(Base):
    """A hash over the entries of a minute and over the seal before. `entries` lists (id, digest) in the order that was sealed."""

    __tablename__ = "audit_seal"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    minute: Mapped[str] = mapped_column(String(16))
    sealed_at: Mapped[datetime]
    entries: Mapped[list[Any]] = mapped_column(Json)
    previous: Mapped[str] = mapped_column(String(64), unique=True)
    sha256: Mapped[str] = mapped_column(String(64))
