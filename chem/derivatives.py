"""Esters, ethers and quaternary forms of listed substances: cut what a clause covers, compare what is left.

Reverse transforms at up to three sites. A ring ether or lactone is skeleton and is not cut; amides,
carbamates, N-alkyl homologues and prodrugs are no derivatives in the sense of the 1961 Convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from rdkit import Chem
from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.rdchem import Mol

from chem.catalog import query_of
from chem.errors import DataError
from chem.identity import stereo_of
from chem.listed import Form, Hit, ListedIndex
from chem.parsing import inchikey_of, round_trip
from chem.schedules import Instrument
from chem.values import Basis, Certainty, Reason, Stereo

MAX_SITES = 3
MAX_CUTS = 24  # above this a molecule is a polymer of esters, and no listed drug is near

_HERE = "chem/derivatives.py"
_ESTER = query_of(
    _HERE,
    0,
    "[#6;!$(C=O):1][OX2:2]-!@[CX3;$([CX3;H1](=O)[OX2]),$([CX3](=O)([OX2])[#6]):3]=[OX1:4]",
)
_ETHER = query_of(_HERE, 0, "[#6;!$(C=O):1][OX2;!R:2]-!@[#6;!$(C=O):3]")
_INORGANIC = query_of(
    _HERE,
    0,
    "[#6;!$(C=O):1][OX2:2]-!@[$([#15]),$([#16](=O)),$([#7+](=O)[O-]),$([#7]=O),$([#5]),$([#14]),$([CX3](=O)([OX2])[OX2]):3]",
)
_CARBON_OXYGEN = query_of(_HERE, 0, "[#6]-[OX2H0]")  # without one there is nothing to cut
_CATION = query_of(_HERE, 0, "[#7;+,+2,+3]")
_ACETAL = query_of(_HERE, 0, "[CX4]([OX2])[OX2,NX3]")
_ENOL = query_of(_HERE, 0, "[OX2H:1][CX3;!$(C=O):2]=[CX3;!$(C(=O)O):3]")
_QUATERNARY = query_of(_HERE, 0, "[NX4+;R:1]-!@[$([OX1-]),$([CX4]):2]")
_EPOXYMORPHINAN = query_of(_HERE, 0, "[#6]1~[#6]~[#6]~[#6]2~[#6]3~[#6]~c4ccc([#8])c5c4~[#6]2(~[#6]~1~[#8]~5)~[#6]~[#6]~[#7]~3")


@dataclass(frozen=True, slots=True)
class Cut:
    """One bond that a clause allows to cut: the oxygen stays with the listed substance, `kind` says what is
    cut.
    """

    oxygen: int
    leaving: int
    kind: str  # ester, acid ester, ether, acetal, inorganic
    atoms: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedHit:
    """An entry reached by cutting, with the atoms of what was cut and the clause's words."""

    hit: Hit
    atoms: tuple[int, ...]
    rule: str


def cuts_of(mol: Mol) -> list[Cut]:
    """Every single cut of a molecule, in atom order."""
    if not mol.HasSubstructMatch(_CARBON_OXYGEN):
        return []
    found: dict[tuple[int, int], Cut] = {}
    for carbon, oxygen, acyl, double in mol.GetSubstructMatches(_ESTER):
        atoms = tuple(sorted((carbon, oxygen, acyl, double)))
        found.setdefault((oxygen, acyl), Cut(oxygen, acyl, "ester", atoms))
        if not mol.GetBondBetweenAtoms(oxygen, carbon).IsInRing():
            found.setdefault((oxygen, carbon), Cut(oxygen, carbon, "acid ester", atoms))
    for carbon, oxygen, acid in mol.GetSubstructMatches(_INORGANIC):
        found.setdefault((oxygen, acid), Cut(oxygen, acid, "inorganic", tuple(sorted((carbon, oxygen, acid)))))
    acetals = {match[0] for match in mol.GetSubstructMatches(_ACETAL)}
    for first, oxygen, second in mol.GetSubstructMatches(_ETHER):
        atoms = tuple(sorted((first, oxygen, second)))
        for leaving in (first, second):
            kind = "acetal" if leaving in acetals else "ether"
            found.setdefault((oxygen, leaving), Cut(oxygen, leaving, kind, atoms))
    return [found[key] for key in sorted(found)][:MAX_CUTS]


class Derivatives:
    """Looks up what a structure is an ester, ether or quaternary form of. Immutable after construction."""

    def __init__(self, index: ListedIndex, instruments: tuple[Instrument, ...]) -> None:
        self._index = index
        self._clauses = {
            instrument.id: {s: c for s, c in instrument.clauses.items() if c.esters or c.ethers} for instrument in instruments
        }
        self._clauses = {name: clauses for name, clauses in self._clauses.items() if clauses}
        self._entry_clauses = {
            (instrument.id, clause.entry): clause
            for instrument in instruments
            for clause in instrument.entry_clauses
            if clause.kind == "esters"
        }
        self._by_kind = {
            kind: [c for i in instruments for c in i.entry_clauses if c.kind == kind]
            for kind in ("esters", "skeleton", "quaternary")
        }
        self._by_entry = {(i.entry.instrument, i.entry.name): i for i in reversed(index.all) if not i.alias}
        for clause in self._by_kind["quaternary"]:
            for name in clause.of:
                if not self._by_entry[(clause.instrument, name)].mol.HasSubstructMatch(_EPOXYMORPHINAN):
                    raise DataError(
                        clause.instrument, clause.id, f"{name} is no epoxymorphinan, which this kind of clause asks for"
                    )
        self._skeletons = [(c, query_of(c.instrument, c.id, c.smarts)) for c in self._by_kind["skeleton"]]
        self._compositions = {_composition(i.mol) for i in index.all if i.entry.instrument in self._clauses and not i.entry.as_is}

    def hits(self, form: Form, own: list[Hit]) -> list[DerivedHit]:
        """Entries reached from a form. `own` are its direct hits: an instrument that lists it needs no
        clause.
        """
        listed = {h.indexed.entry.instrument for h in own if h.basis is Basis.LISTED}
        asked = [name for name in self._clauses if name not in listed]
        if not asked:
            return []
        found = self._by_cuts(form, asked)
        found.extend(self._quaternary(form, asked))
        found.extend(self._skeleton(form, asked, found))
        return found

    def _by_cuts(self, form: Form, asked: list[str]) -> list[DerivedHit]:
        cuts = cuts_of(form.mol)
        if not cuts:
            return []
        sides = _sides(form.mol, cuts)
        masks = _element_masks(form.mol)
        reached: dict[tuple[int, ...], list[Hit]] = {}
        for size in range(1, min(MAX_SITES, len(cuts)) + 1):
            for chosen in combinations(range(len(cuts)), size):
                kept = -1
                for number in chosen:
                    kept &= sides[number]
                if any(not kept >> cuts[number].oxygen & 1 for number in chosen):
                    continue
                if tuple((kept & mask).bit_count() for mask in masks) not in self._compositions:
                    continue
                left = left_after(form, [cuts[number] for number in chosen])
                if left is not None:
                    reached[chosen] = self._index.hits(left)
        best: dict[tuple[str, str], DerivedHit] = {}
        for chosen in sorted(reached, key=lambda c: (len(c), c)):
            for hit in reached[chosen]:
                derived = self._derived(hit, [cuts[n] for n in chosen], chosen, reached, asked)
                if derived is None:
                    continue
                key = (hit.indexed.entry.instrument, hit.indexed.entry.name)
                if key not in best or (
                    best[key].hit.certainty is Certainty.POSSIBLE and derived.hit.certainty is Certainty.CERTAIN
                ):
                    best[key] = derived
        return list(best.values())

    def _derived(
        self,
        hit: Hit,
        cuts: list[Cut],
        chosen: tuple[int, ...],
        reached: dict[tuple[int, ...], list[Hit]],
        asked: list[str],
    ) -> DerivedHit | None:
        entry = hit.indexed.entry
        if entry.instrument not in asked:
            return None
        clause = self._clauses[entry.instrument].get(entry.schedule)
        esters = [c for c in cuts if c.kind in ("ester", "acid ester", "inorganic")]
        if clause is None or (esters and not clause.esters) or (len(esters) < len(cuts) and not clause.ethers):
            return None
        reason = hit.reason
        why = ""
        if any(c.kind == "inorganic" for c in cuts):
            reason = reason or Reason.WORD_UNDEFINED
            why = "; whether the text's esters include those of inorganic acids is not said"
        elif any(c.kind == "acetal" for c in cuts):
            reason = reason or Reason.WORD_UNDEFINED
            why = "; whether the text's ethers include acetals and glycosides is not said"
        through = _through_another_schedule(chosen, reached, entry.instrument, set(self._clauses[entry.instrument]))
        if through is not None:
            reason = reason or Reason.TEXT_UNCERTAIN
            why = f"; it is reached only through {through}, whose Schedule has no such clause"
        special = self._entry_clauses.get((entry.instrument, entry.name))
        kinds = " and ".join(dict.fromkeys("ester" if c in esters else "ether" for c in cuts))
        if special is not None:
            basis, rule = Basis.ENTRY_CLAUSE, special.id
            words = f"is an {kinds} of ecgonine or its acid, which the words of the entry cover{why}"
        else:
            basis = Basis.ESTER if esters else Basis.ETHER
            rule = f"{entry.instrument.lower()}/{'esters' if esters else 'ethers'}"
            words = f"is an {kinds} of it, which the Schedule covers unless named in another Schedule{why}"
        if hit.reason is not None:
            words += f"; what is left {hit.why}"
        certainty = Certainty.CERTAIN if reason is None else Certainty.POSSIBLE
        atoms = tuple(sorted({a for c in cuts for a in c.atoms}))
        new = Hit(indexed=hit.indexed, basis=basis, certainty=certainty, reason=reason, why=words)
        return DerivedHit(hit=new, atoms=atoms, rule=rule)

    def _quaternary(self, form: Form, asked: list[str]) -> list[DerivedHit]:
        clauses = [c for c in self._by_kind["quaternary"] if c.instrument in asked]
        if not clauses or not form.mol.HasSubstructMatch(_CATION) or not form.mol.HasSubstructMatch(_EPOXYMORPHINAN):
            return []
        found: dict[str, DerivedHit] = {}
        for nitrogen, leaving in form.mol.GetSubstructMatches(_QUATERNARY):
            base = _dequaternised(form, nitrogen, leaving)
            if base is None:
                continue
            own = self._index.hits(base)
            names = {(h.indexed.entry.instrument, h.indexed.entry.name) for h in own}
            names |= {(d.hit.indexed.entry.instrument, d.hit.indexed.entry.name) for d in self._by_cuts(base, list(asked))}
            oxide = form.mol.GetAtomWithIdx(leaving).GetAtomicNum() == 8
            for clause in clauses:
                sure = any((clause.instrument, name) in names for name in clause.of)
                maybe = oxide and any(i == clause.instrument for i, _n in names)
                if not sure and not maybe:
                    continue
                indexed = self._by_entry[(clause.instrument, clause.entry)]
                words = (
                    "is a pentavalent nitrogen derivative of morphine"
                    if sure
                    else ("is the N-oxide of a listed drug, and whether that is a morphine derivative is not said")
                )
                hit = Hit(
                    indexed=indexed,
                    basis=Basis.ENTRY_CLAUSE,
                    certainty=Certainty.CERTAIN if sure else Certainty.POSSIBLE,
                    reason=None if sure else Reason.WORD_UNDEFINED,
                    why=words,
                )
                if clause.id not in found or sure:
                    found[clause.id] = DerivedHit(hit=hit, atoms=(nitrogen, leaving), rule=clause.id)
        return list(found.values())

    def _skeleton(self, form: Form, asked: list[str], found: list[DerivedHit]) -> list[DerivedHit]:
        have = {(d.hit.indexed.entry.instrument, d.hit.indexed.entry.name) for d in found}
        more = []
        for clause, query in self._skeletons:
            if clause.instrument not in asked or (clause.instrument, clause.entry) in have:
                continue
            match = form.mol.GetSubstructMatch(query)
            if match:
                hit = Hit(
                    indexed=self._by_entry[(clause.instrument, clause.entry)],
                    basis=Basis.ENTRY_CLAUSE,
                    certainty=Certainty.POSSIBLE,
                    reason=Reason.WORD_UNDEFINED,
                    why=clause.words,
                )
                more.append(DerivedHit(hit=hit, atoms=tuple(sorted(match)), rule=clause.id))
        return more


def _through_another_schedule(
    chosen: tuple[int, ...], reached: dict[tuple[int, ...], list[Hit]], instrument: str, with_clause: set[str]
) -> str | None:
    """The drug of a schedule without the clause that a part of the cuts leaves, or None."""
    for size in range(1, len(chosen)):
        for part in combinations(chosen, size):
            for hit in reached.get(part, ()):
                entry = hit.indexed.entry
                if entry.instrument == instrument and entry.schedule not in with_clause | {"IV"}:
                    return entry.name
    return None


def left_after(form: Form, cuts: list[Cut]) -> Form | None:
    """What keeps all the oxygens when the cuts are made, an enol turned into its ketone; None where it
    falls apart.
    """
    editable = Chem.RWMol(form.mol)
    for atom in editable.GetAtoms():
        atom.SetIntProp("_from", atom.GetIdx())
    for cut in cuts:
        editable.RemoveBond(cut.oxygen, cut.leaving)
    oxygens = {cut.oxygen for cut in cuts}
    for fragment in Chem.GetMolFrags(editable, asMols=True, sanitizeFrags=False):
        if not oxygens <= {a.GetIntProp("_from") for a in fragment.GetAtoms()}:
            continue
        try:
            Chem.SanitizeMol(fragment)
        except (Chem.KekulizeException, Chem.AtomValenceException):
            return None
        fresh = [a.GetIdx() for a in fragment.GetAtoms() if a.GetIntProp("_from") in oxygens]
        return form_of(_ketone(fragment, fresh), racemic=form.stereo)
    return None


def _ketone(mol: Mol, fresh: list[int]) -> Mol:
    for oxygen, carbon, other in mol.GetSubstructMatches(_ENOL):
        if oxygen not in fresh or mol.GetBondBetweenAtoms(carbon, other).GetIsAromatic():
            continue
        keto = Chem.RWMol(mol)
        keto.GetBondBetweenAtoms(oxygen, carbon).SetBondType(Chem.BondType.DOUBLE)
        keto.GetBondBetweenAtoms(carbon, other).SetBondType(Chem.BondType.SINGLE)
        result = keto.GetMol()
        Chem.SanitizeMol(result)
        return result
    return mol


def form_of(mol: Mol, racemic: Stereo) -> Form | None:
    """A made structure as a form; None where RDKit cannot read its own text. A racemic report stays
    racemic.
    """
    again = round_trip(mol)
    if again is None:
        return None
    stereo = stereo_of(again, None)
    if racemic in (Stereo.RACEMIC, Stereo.UNKNOWN_SINGLE) and stereo is not Stereo.NONE:
        stereo = racemic
    return Form(
        mol=again,
        keys=(inchikey_of(again),),
        stereo=stereo,
        formula=rdMolDescriptors.CalcMolFormula(again),
    )


def _dequaternised(form: Form, nitrogen: int, leaving: int) -> Form | None:
    editable = Chem.RWMol(form.mol)
    for atom in editable.GetAtoms():
        atom.SetIntProp("_from", atom.GetIdx())
    editable.RemoveBond(nitrogen, leaving)
    editable.GetAtomWithIdx(nitrogen).SetFormalCharge(0)
    editable.GetAtomWithIdx(nitrogen).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    if editable.GetAtomWithIdx(leaving).GetAtomicNum() == 8:
        editable.GetAtomWithIdx(leaving).SetFormalCharge(0)
    for fragment in Chem.GetMolFrags(editable, asMols=True, sanitizeFrags=False):
        if nitrogen in {a.GetIntProp("_from") for a in fragment.GetAtoms()}:
            try:
                Chem.SanitizeMol(fragment)
            except (Chem.KekulizeException, Chem.AtomValenceException):
                return None
            return form_of(fragment, racemic=form.stereo)
    return None


_ELEMENTS = (6, 7, 8, 9, 15, 16, 17, 35)


def _composition(mol: Mol) -> tuple[int, ...]:
    """Heavy atoms by element, ring atoms, aromatic atoms: none of them is changed by a cut outside rings."""
    return tuple(mask.bit_count() for mask in _element_masks(mol))


def _element_masks(mol: Mol) -> list[int]:
    masks = dict.fromkeys(_ELEMENTS, 0)
    ring = aromatic = 0
    for index in range(mol.GetNumAtoms()):
        atom = mol.GetAtomWithIdx(index)
        bit = 1 << index
        if atom.GetAtomicNum() in masks:
            masks[atom.GetAtomicNum()] |= bit
        if atom.IsInRing():
            ring |= bit
        if atom.GetIsAromatic():
            aromatic |= bit
    return [*masks.values(), ring, aromatic]


def _sides(mol: Mol, cuts: list[Cut]) -> list[int]:
    """For each cut the atoms that stay connected to its oxygen, as a bit mask."""
    neighbours: list[list[int]] = [[] for _ in range(mol.GetNumAtoms())]
    for number in range(mol.GetNumBonds()):
        bond = mol.GetBondWithIdx(number)
        neighbours[bond.GetBeginAtomIdx()].append(bond.GetEndAtomIdx())
        neighbours[bond.GetEndAtomIdx()].append(bond.GetBeginAtomIdx())
    sides = []
    for cut in cuts:
        seen = 1 << cut.oxygen
        stack = [cut.oxygen]
        while stack:
            here = stack.pop()
            for there in neighbours[here]:
                if here == cut.oxygen and there == cut.leaving:
                    continue
                if not seen >> there & 1:
                    seen |= 1 << there
                    stack.append(there)
        sides.append(seen)
    return sides
