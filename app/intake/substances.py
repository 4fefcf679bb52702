"""Rows of substances and of labels that wait for an analyst, made where they are new."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert as pg_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.orm import Session

from app.chemistry import Chemistry
from app.intake import queries
from app.intake.resolve import NewSubstance, ResolvedSubstance, folded
from app.persistence.base import new_id
from app.persistence.models import CurationItem, Substance, SubstanceName
from app.persistence.trail import note_row
from chem.names import fold
from chem.values import to_json


def substance_row(session: Session, chemistry: Chemistry, item: ResolvedSubstance, now: datetime) -> Substance:
    """The row of a substance, made where it is new. Two first reports at once are not an error."""
    new = item.substance
    if new is None:
        raise AssertionError("called for a detection without a substance")
    found = session.scalar(select(Substance).where(Substance.key == new.key))
    if found is None:
        values = _substance_values(new, item, chemistry, now)
        statement = _insert(session, Substance).values(**values).on_conflict_do_nothing(index_elements=["key"])
        session.execute(statement, execution_options={"trail": False})
        found = session.scalars(select(Substance).where(Substance.key == new.key)).one()
        if found.id == values["id"]:
            note_row(session, "created", "substance", (found.id,))
            _store_names(session, found, new, item, chemistry)
    if found.merged_into is not None:
        found = session.get_one(Substance, found.merged_into)
    return found


def _substance_values(new: NewSubstance, item: ResolvedSubstance, chemistry: Chemistry, now: datetime) -> dict[str, Any]:
    identity = new.identity
    # the substance's own status is over the UN instruments; what a country adds stays with the detection
    status = queries.un_status(new.assessment) if new.assessment is not None else item.legal_status
    return {
        "id": new_id(),
        "key": new.key,
        "name": new.name[:300],
        "inchikey": identity.parent_inchikey if identity else None,
        "connectivity": identity.connectivity if identity else None,
        "smiles": identity.parent_smiles if identity else None,
        "inchi": identity.parent_inchi if identity else None,
        "formula": identity.formula if identity else None,
        "monoisotopic_mass": identity.monoisotopic_mass if identity else None,
        "identity": to_json(identity) if identity else None,
        "chemical_group": new.chemical_group,
        "effect_group": new.effect_group,
        "group_rule": new.group_rule,
        "ordinary": new.ordinary,
        "counted_group": "" if new.ordinary else new.chemical_group,  # there is nothing yet to be counted otherwise
        "harmful_adulterant": new.harmful_adulterant,
        "shipped": new.shipped,
        "legal_status": status,
        "matches": item.matches,
        "engine_version": chemistry.version,
        "created_at": now,
        "group_confirmed": False,
    }


def _store_names(session: Session, row: Substance, new: NewSubstance, item: ResolvedSubstance, chemistry: Chemistry) -> None:
    seen = set()
    names = chemistry.names.names_of(new.named.key) if new.named else ()
    for name in names:
        seen.add(name.folded)
        session.add(
            SubstanceName(
                substance_id=row.id, name=name.name[:400], folded=name.folded[:400], kind=name.kind, source=name.source[:200]
            )
        )
    reported = item.source.name
    if not names and reported and fold(reported) and fold(reported) not in seen:
        session.add(
            SubstanceName(
                substance_id=row.id, name=reported[:400], folded=fold(reported)[:400], kind="common", source="as first reported"
            )
        )


def queue_for_curation(session: Session, item: ResolvedSubstance, now: datetime, *, times: int = 1) -> None:
    """One row a label, with how often it came. What an analyst decided on it stands."""
    label = item.label[:400] or "(no name)"
    statement = _insert(session, CurationItem).values(
        id=new_id(),
        folded=folded(label),
        label=label,
        reason=(item.curation_reason or "")[:40],
        candidates=item.candidates or item.suggestions,
        reports=times,
        state="open",
        first_seen=now,
        last_seen=now,
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["folded"], set_={"reports": CurationItem.reports + times, "last_seen": now}
        )
    )


def _insert(session: Session, table: Any) -> Any:
    return (sqlite_insert if session.get_bind().dialect.name == "sqlite" else pg_insert)(table)
