"""What a sample was sold as, where its label means exactly one substance."""

from __future__ import annotations

from datetime import date

from alerts.values import SoldAsFacts
from app.chemistry import Chemistry
from chem.names import Outcome
from chem.values import Structure, StructureFormat


def sold_as_of(chemistry: Chemistry, label: str | None, as_of: date) -> SoldAsFacts | None:
    """What `sold_as` means where it means exactly one substance with a structure. To be called before the transaction opens."""
    if not label:
        return None
    resolution = chemistry.names.resolve(label)
    if resolution.outcome is not Outcome.SUBSTANCE:
        return None
    named = resolution.substances[0]
    if named.smiles is None:
        return None
    answer = chemistry.assess((Structure(format=StructureFormat.SMILES, text=named.smiles),), is_set=False, as_of=as_of)
    identity = answer.assessment.identity if answer.assessment is not None else None
    if identity is None:
        return None
    return SoldAsFacts(
        key=f"inchikey:{identity.parent_inchikey}",
        name=named.name,
        inchikey=identity.parent_inchikey,
        chemical_group=answer.chemical_group or "other",
        effect_group=answer.effect_group or "unassigned",
    )
