"""The suspect list: what an instrument should look for, as m/z of the common adducts. As far as the reader may see."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.chemistry import Shipped
from app.intake.queries import un_status
from app.persistence.models import Substance
from app.substances.queries import existing_substances
from app.web import words

# masses of the ions that are added or taken away, in u: atoms of NIST's atomic weights and isotopic compositions
# (1H 1.00782503223, 23Na 22.9897692820) less or plus the electron of CODATA 2018 (5.48579909065e-4)
PROTON = 1.00727646663
ADDUCTS: dict[str, float] = {"[M+H]+": PROTON, "[M+Na]+": 22.98922070209, "[M-H]-": -PROTON}
COLUMNS = ("name", "formula", "monoisotopic_mass", *ADDUCTS, "inchikey", "smiles", "chemical_group", "legal_status", "id")
MOST_PPM = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A substance with its ions. `adduct` and `ppm` say by which it met a search, and how far off (measured less computed)."""

    id: str | None  # none for a shipped substance without a page
    name: str
    formula: str
    monoisotopic_mass: float
    inchikey: str
    smiles: str
    chemical_group: str
    legal_status: str
    national: words.National | None = None  # what goes beyond that status
    adduct: str | None = None
    ppm: float | None = None

    @property
    def ions(self) -> dict[str, float]:
        """m/z by adduct, to the fifth decimal."""
        return {adduct: round(self.monoisotopic_mass + shift, 5) for adduct, shift in ADDUCTS.items()}


def window(mz: float, adduct: str, ppm: float) -> tuple[float, float]:
    """The neutral masses whose ion of this adduct lies within `ppm` of `mz`: the tolerance is of the computed m/z."""
    shift = ADDUCTS[adduct]
    return mz / (1 + ppm / 1e6) - shift, mz / (1 - ppm / 1e6) - shift


def suspects(
    session: Session,
    principal: Principal | None,
    shipped: Sequence[Shipped],
    *,
    mz: float | None = None,
    adducts: Sequence[str] = tuple(ADDUCTS),
    ppm: float = 5.0,
    group: str | None = None,
    after: str = "",
    limit: int | None = None,
) -> list[Suspect]:
    """Substances with a structure that exist for the reader, and the shipped ones, without ordinary ones.

    In the order of their InChIKeys, those after `after`; a search in the order of its errors. Masses are of the neutral parent:
    for a substance that is itself an ion no adduct is computed, so it is left out.
    """
    query = select(Substance).where(
        existing_substances(principal),
        Substance.ordinary.is_(False),
        Substance.monoisotopic_mass.is_not(None),
        Substance.inchikey > after,
    )
    if group is not None:
        query = query.where(Substance.chemical_group == group)
    windows = [window(mz, adduct, ppm) for adduct in adducts] if mz is not None else []
    if mz is not None:
        mass = Substance.monoisotopic_mass
        query = query.where(or_(*(and_(mass >= low, mass <= high) for low, high in windows)))
    query = query.order_by(Substance.inchikey)
    if limit is not None:
        query = query.limit(limit)
    rows = [row for row in session.scalars(query) if not _charged(row.inchi)]
    found = {row.inchikey or "": _stored(row) for row in rows}
    # one that is stored but hidden from this reader is a shipped one to them
    for item in shipped:
        suspect = _of_shipped(item)
        near = mz is None or any(low <= suspect.monoisotopic_mass <= high for low, high in windows)
        if near and suspect.inchikey > after and group in (None, suspect.chemical_group):
            found.setdefault(suspect.inchikey, suspect)
    if mz is None:
        return [found[key] for key in sorted(found)][:limit]
    scored = [_scored(suspect, mz, adducts) for suspect in found.values()]
    return sorted(scored, key=lambda s: (abs(s.ppm or 0.0), s.name))[:limit]


def _charged(inchi: str | None) -> bool:
    return bool(inchi and ("/q+" in inchi or "/q-" in inchi or "/p+" in inchi or "/p-" in inchi))


def _stored(row: Substance) -> Suspect:
    return Suspect(
        id=row.id, name=row.name, formula=row.formula or "", monoisotopic_mass=row.monoisotopic_mass or 0.0,
        inchikey=row.inchikey or "", smiles=row.smiles or "", chemical_group=row.chemical_group, legal_status=row.legal_status,
        national=words.national(row.legal_status, row.matches),
    )  # fmt: skip


def _of_shipped(item: Shipped) -> Suspect:
    identity = item.assessment.identity
    assert identity is not None
    status = un_status(item.assessment).value
    return Suspect(
        id=None, name=item.named.name, formula=identity.formula, monoisotopic_mass=identity.monoisotopic_mass,
        inchikey=identity.parent_inchikey, smiles=identity.parent_smiles, chemical_group=item.chemical_group,
        legal_status=status, national=words.national_of(status, item.assessment.status_by_instrument),
    )  # fmt: skip


def _scored(suspect: Suspect, mz: float, adducts: Sequence[str]) -> Suspect:
    """With the adduct that fits best, and by how much the measured m/z lies above the computed one, in ppm."""
    errors = []
    for adduct in adducts:
        computed = suspect.monoisotopic_mass + ADDUCTS[adduct]
        errors.append((round((mz - computed) / computed * 1e6, 2), adduct))
    ppm, adduct = min(errors, key=lambda error: abs(error[0]))
    return replace(suspect, adduct=adduct, ppm=ppm)


def as_csv(found: Sequence[Suspect], *, demonstration: bool) -> str:
    """One line a substance, for instrument software: point decimals, five of them."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*COLUMNS, *(["data"] if demonstration else [])])
    for s in found:
        ions = [f"{mz:.5f}" for mz in s.ions.values()]
        row = [
            _plain(s.name),
            s.formula,
            f"{s.monoisotopic_mass:.5f}",
            *ions,
            s.inchikey,
            s.smiles,
            s.chemical_group,
            s.legal_status,
            s.id,
        ]
        writer.writerow([*row, *(["synthetic demonstration data"] if demonstration else [])])
    return out.getvalue()


def _plain(name: str) -> str:
    """A name that no spreadsheet takes for a formula."""
    return "'" + name if name[:1] in ("=", "+", "-", "@") else name
