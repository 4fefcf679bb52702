"""What analysts decided that labels mean, as intake reads it: kept in the curation queue, the same for every process."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.chemistry import Chemistry
from app.intake.resolve import Decision, folded
from app.persistence.models import CurationItem, Substance
from chem.names import NamedSubstance


def decisions_for(session: Session, chemistry: Chemistry, names: Iterable[str | None]) -> dict[str, Decision]:
    """Decisions on those of these labels that the shipped tables do not resolve, by their folded form. One query at most."""
    wanted = {folded(name) for name in names if name}
    if not wanted:
        return {}
    rows = session.execute(
        select(CurationItem, Substance)
        .outerjoin(Substance, Substance.id == CurationItem.substance_id)
        .where(CurationItem.folded.in_(wanted), CurationItem.state != "open")
    ).all()
    return {item.folded: _decision(session, chemistry, item, substance) for item, substance in rows}


def _decision(session: Session, chemistry: Chemistry, item: CurationItem, substance: Substance | None) -> Decision:
    if substance is not None and substance.merged_into is not None:
        substance = session.get(Substance, substance.merged_into)
    return Decision(named=named_of(chemistry, substance) if substance is not None else None, group=item.group)


def named_of(chemistry: Chemistry, substance: Substance) -> NamedSubstance:
    """A stored substance as the name table would give it."""
    if substance.inchikey is not None:
        shipped = chemistry.named(substance.inchikey)
        if shipped is not None:
            return shipped
    elif substance.key.startswith("material:"):
        material: NamedSubstance | None = chemistry.names.substances.get(substance.key.removeprefix("material:"))
        if material is not None:
            return material
    return NamedSubstance(
        key=substance.key.partition(":")[2],
        name=substance.name,
        smiles=substance.smiles,
        cas=None,
        group=substance.chemical_group,
        source="curation",
        origin="curated",
    )
