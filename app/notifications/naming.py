"""Which substance a person means who writes a name into a form."""

from __future__ import annotations

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Substance, SubstanceName
from app.substances.queries import existing_substances
from chem.names import fold


def substance_named(session: Session, principal: Principal, text: str) -> Substance | None:
    """The one substance that this id, InChIKey, name or CAS number means to this reader; None for none or several."""
    named = select(SubstanceName.substance_id).where(SubstanceName.folded == fold(text))
    found = session.scalars(
        select(Substance)
        .where(
            existing_substances(principal),
            Substance.merged_into.is_(None),
            or_(
                Substance.id == text,
                Substance.inchikey == text.upper(),
                func.lower(Substance.name) == text.lower(),
                Substance.id.in_(named),
            ),
        )
        .limit(2)
    ).all()
    return found[0] if len(found) == 1 else None
