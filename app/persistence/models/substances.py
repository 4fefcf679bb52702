"""Substances, their names, and the labels that wait for a person."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.persistence.base import Base, Id, Json, new_id


class Substance(Base):
    """One chemical entity in its parent form, or a named material without a structure (opium, flour).

    `key` is the identity: `inchikey:<parent key>` or `material:<folded name>`. Derived columns carry `engine_version`, so that
    rows made under other rules can be found and done again.
    """

    __tablename__ = "substance"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    name: Mapped[str] = mapped_column(String(300))
    inchikey: Mapped[str | None] = mapped_column(String(27))
    connectivity: Mapped[str | None] = mapped_column(String(14))
    smiles: Mapped[str | None] = mapped_column(Text)
    inchi: Mapped[str | None] = mapped_column(Text)
    formula: Mapped[str | None] = mapped_column(String(200))
    monoisotopic_mass: Mapped[float | None] = mapped_column(Float)
    identity: Mapped[dict[str, Any] | None] = mapped_column(Json)
    chemical_group: Mapped[str] = mapped_column(String(40), default="other")
    effect_group: Mapped[str] = mapped_column(String(40), default="unassigned")
    group_rule: Mapped[str | None] = mapped_column(String(80))
    group_confirmed: Mapped[bool] = mapped_column(default=False)
    ordinary: Mapped[bool] = mapped_column(default=False)
    # the class under which `ClassCell` counts it, empty for an ordinary one; the next fold makes it that of the row again
    counted_group: Mapped[str] = mapped_column(String(40), default="", server_default="")
    harmful_adulterant: Mapped[bool] = mapped_column(default=False)
    shipped: Mapped[bool] = mapped_column(default=False)  # named in the shipped schedules or reference data
    legal_status: Mapped[str] = mapped_column(String(24))
    matches: Mapped[list[Any]] = mapped_column(Json)
    engine_version: Mapped[str] = mapped_column(String(80))
    created_at: Mapped[datetime]
    merged_into: Mapped[str | None] = mapped_column(ForeignKey("substance.id"))

    names: Mapped[list[SubstanceName]] = relationship(lazy="raise", back_populates="substance")

    __table_args__ = (
        Index(None, "connectivity"),
        Index(None, "monoisotopic_mass"),
        Index(None, "created_at"),
    )


class SubstanceName(Base):
    """A name of a substance with its kind and source. `folded` is what look-ups compare."""

    __tablename__ = "substance_name"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    substance_id: Mapped[str] = mapped_column(ForeignKey("substance.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(400))
    folded: Mapped[str] = mapped_column(String(400))
    kind: Mapped[str] = mapped_column(String(16))
    language: Mapped[str] = mapped_column(String(8), default="en")
    source: Mapped[str] = mapped_column(String(200))

    substance: Mapped[Substance] = relationship(lazy="raise", back_populates="names")

    __table_args__ = (UniqueConstraint("substance_id", "folded"), Index(None, "folded"))


class CurationItem(Base):
    """A label that no table resolves, with how often it came; an analyst decides what it means."""

    __tablename__ = "curation_item"

    id: Mapped[str] = mapped_column(Id, primary_key=True, default=new_id)
    folded: Mapped[str] = mapped_column(String(400), unique=True)
    label: Mapped[str] = mapped_column(String(400))
    reason: Mapped[str] = mapped_column(String(40))
    candidates: Mapped[list[Any]] = mapped_column(Json)
    reports: Mapped[int]
    state: Mapped[str] = mapped_column(String(16), default="open")  # open | resolved | class | dismissed
    first_seen: Mapped[datetime]
    last_seen: Mapped[datetime]
    substance_id: Mapped[str | None] = mapped_column(String(26))  # no foreign key: SQLite cannot add one to a table that is there
    group: Mapped[str | None] = mapped_column(String(40))
    note: Mapped[str | None] = mapped_column(Text)
    decided_by: Mapped[str | None] = mapped_column(String(40))
    decided_at: Mapped[datetime | None]

    __table_args__ = (Index(None, "state", "last_seen"),)
