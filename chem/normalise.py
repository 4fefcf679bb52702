"""Structure normalisation: from a molecule as reported to parents, in an ordered tuple of named steps.

Identity uses only steps that do not depend on atom order and never merge two listed substances. Nothing is
dropped by size: a fragment is removed because it is on the list of counter-ions and solvents, or it stays.
No tautomer step: RDKit's canonical tautomer erases the alpha centre of every cathinone tried.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

from rdkit import Chem
from rdkit.Chem.MolStandardize import rdMolStandardize
from rdkit.Chem.rdchem import Mol

from chem.catalog import DATA, query_of, read_csv, structure_of
from chem.errors import DataError
from chem.parsing import Marks, is_metal, round_trip
from chem.values import Remark

NORMALISATION_VERSION = "2026.11.1"
STEPS = ("fragments", "clean", "split", "neutralise", "isotopes", "stereo")

# Atoms that the full path may change or that need its care: charges, other elements, and drawings that it
# rewrites (sulfoxide, pentavalent nitrogen as in a neutral nitro group, azide or diazo, phosphorus, valence-expanded
# halogen). Asked without recursion first, which most structures pass at a third of the cost.
_UNUSUAL = query_of(
    "chem/normalise.py",
    0,
    "[!+0,!#1&!#5&!#6&!#7&!#8&!#9&!#14&!#16&!#17&!#35&!#53,#16&X3,#16&v4,#16&v5,#7&v5,#7&X5,#17&!D1,#35&!D1,#53&!D1]",
)
# Charge-separated nitro groups and N-oxides and phosphoric esters are drawn as the full path draws them.
_TRIGGER = query_of(
    "chem/normalise.py",
    0,
    "[!+0&!$([#7X3+](=O)[OX1-])&!$([OX1-]-[#7X3+]=O)&!$([NX4+]-[OX1-])&!$([nX3+]-[OX1-])&!$([OX1-]-[NX4+])&!$([OX1-]-[nX3+]),"
    "!#1&!#5&!#6&!#7&!#8&!#9&!#14&!#15&!#16&!#17&!#35&!#53,#15&!$([#15X4v5]=O),"
    "#16&X3,#16&v4,#16&v5,#7&v5,#7&X5,#17&!D1,#35&!D1,#53&!D1]",
)
# Beside the charges that carry or lack protons (ammonium, quaternary nitrogen, pyridinium, carboxylate, phenolate) nothing
# that clean would rewrite. Where these charges have one sign, no two can recombine and neutralise removes what it can.
_MORE_THAN_PROTONS = query_of(
    "chem/normalise.py",
    0,
    "[!+0&!$([#7+]~[#6,#1])&!$([OX1-]-[#6,$([#16X4](=O)=O),$([#15X4]=O)])&!$([#7-])&!$([#16X1-]-[#6]),!#1&!#5&!#6&!#7&!#8&!#9&!#14&!#15&!#16&!#17&!#35&!#53,#15&!$([#15X4v5]=O),#16&X3,#16&v4,#16&v5,#7&v5,#7&X5,#17&!D1,#35&!D1,#53&!D1,$([#7+]=,#[#7,#8,#16]),$([#7+]-[#8-,#7-])]",
)
_CHARGED = query_of("chem/normalise.py", 0, "[!+0]")
# What the uncharger can change: a cation with hydrogen or an anion, not beside the opposite charge.
_UNCHARGEABLE = query_of(
    "chem/normalise.py",
    0,
    "[$([+,+2,+3,+4;!H0;!$(*~[-,-2,-3])]),$([-,-2,-3;!$(*~[+,+2,+3,+4])])]",
)
_STEREO_OR_LABEL = re.compile(r"[@/\\]|\[\d")
_CARBON_DIOXIDE = "O=C=O"
_GROUP_1_2 = frozenset({3, 11, 19, 37, 55, 4, 12, 20, 38, 56})
MAX_JOINT_GROUPS = 4
_AND_OR = (Chem.StereoGroupType.STEREO_AND, Chem.StereoGroupType.STEREO_OR)

_UNREADABLE = (
    Chem.KekulizeException,
    Chem.AtomValenceException,
    Chem.AtomKekulizeException,
    RuntimeError,
    ValueError,
)
_ANYTHING = Marks()
_uncharger = rdMolStandardize.Uncharger(True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One parent substance. `labelled` has its isotopes; `mol` has none and one canonical stereo form.

    `others` holds the other forms of a stereo group of several centres; `groups` the CXSMILES of what was
    drawn where enhanced stereo or atropisomerism was given; `stereo_word` racemic or unknown-single where a
    group says so. `written` and `flat` are the SMILES of `mol` with and without stereo where they are known.
    """

    mol: Mol
    labelled: Mol
    count: int = 1
    isotopes: tuple[str, ...] = ()
    others: tuple[Mol, ...] = ()
    groups: str | None = None
    stereo_word: str | None = None
    written: tuple[str, str] | None = None
    flat: str | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Normalised:
    """Components in canonical order (heaviest first, then by SMILES), removed fragments, remarks on the
    whole.
    """

    components: tuple[Component, ...]
    removed: tuple[str, ...]
    remarks: tuple[Remark, ...]
    untouched: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterIons:
    """Flat SMILES (no stereo, no isotope, neutral) of counter-ions and solvents, with name and kind."""

    kinds: dict[str, tuple[str, str]] = field(repr=False)

    def removable(self, flat: str) -> bool:
        """True for a listed counter-ion or solvent. Substances of interest are never removed."""
        entry = self.kinds.get(flat)
        return entry is not None and entry[1] != "substance of interest"


def load_counterions() -> CounterIons:
    """The shipped list, each structure brought through the steps that a fragment takes. Raises: DataError."""
    path = DATA / "counterions.csv"
    kinds: dict[str, tuple[str, str]] = {}
    for row, record in read_csv(path, ("smiles", "name", "kind", "source")):
        for key, value in record.items():
            if not value:
                raise DataError(path.name, row, f"{key} is empty")
        mol = structure_of(path.name, row, record["smiles"])
        plain = mol if takes_fast_path(mol) else neutralise(clean(mol), [])[0]
        flat = Chem.MolToSmiles(plain, isomericSmiles=False)
        if flat in kinds:
            raise DataError(path.name, row, f"same fragment as {kinds[flat][0]}")
        kinds[flat] = (record["name"], record["kind"])
    return CounterIons(kinds=kinds)


def written(mol: Mol) -> tuple[str, str]:
    """Canonical SMILES with the order of its atoms, as RDKit's text of it: `read_order` reads that."""
    return Chem.MolToSmiles(mol), mol.GetProp("_smilesAtomOutputOrder")


def read_order(text: str) -> list[int]:
    """The atom numbers of a written order."""
    return [int(number) for number in text.strip("[]").split(",") if number]


def takes_fast_path(mol: Mol, marks: Marks = _ANYTHING) -> bool:
    """True where clean and neutralise are known to change nothing: neutral, of common elements, no drawing
    they rewrite.

    Asked of one fragment. Radicals are left to the full path.
    """
    if mol.HasSubstructMatch(_UNUSUAL) and mol.HasSubstructMatch(_TRIGGER):
        return False
    if mol.GetNumAtoms() <= len("OCO") and Chem.MolToSmiles(mol) == _CARBON_DIOXIDE:
        return False
    return not marks.radicals or not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def only_protons_to_move(mol: Mol, marks: Marks = _ANYTHING) -> bool:
    """True where clean is known to change nothing that neutralise does not take away again: charges of one sign on
    nitrogen or carbon-bound oxygen, otherwise as on the fast path. Asked of one fragment.
    """
    if mol.HasSubstructMatch(_MORE_THAN_PROTONS):
        return False
    if abs(Chem.GetFormalCharge(mol)) != len(mol.GetSubstructMatches(_CHARGED)):
        return False
    return not marks.radicals or not any(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms())


def is_metal_complex(mol: Mol) -> bool:
    """True for a metal bound to anything, other than a metal of groups 1 and 2 on N or O (a salt drawn
    covalently).
    """
    for atom in mol.GetAtoms():
        number = atom.GetAtomicNum()
        if not is_metal(number) or atom.GetDegree() == 0:
            continue
        if number not in _GROUP_1_2:
            return True
        if any(n.GetAtomicNum() not in (1, 7, 8, 9, 17, 35, 53) for n in atom.GetNeighbors()):
            return True
    return False


def clean(mol: Mol, remarks: list[Remark] | None = None) -> Mol:
    """Functional groups in one drawing (nitro, N-oxide, azide, sulfoxide charge-separated), alkali metals
    off N and O.

    Where RDKit cannot read its own result the input is kept, with a remark.
    """
    try:
        cleaned: Mol | None = rdMolStandardize.Cleanup(mol)
        Chem.SanitizeMol(cleaned)
    except _UNREADABLE:
        cleaned = None
    if cleaned is None or not _only_protons_moved(mol, cleaned):
        if remarks is not None:
            remarks.append(
                Remark(
                    code="clean-failed",
                    detail="The drawing could not be standardised; it was kept as reported.",
                )
            )
        return mol
    return cleaned


def _only_protons_moved(before: Mol, after: Mol) -> bool:
    """True where hydrogen changed by as much as charge did: else a step reduced the substance (sydnone
    imines).
    """

    if before.GetNumHeavyAtoms() != after.GetNumHeavyAtoms():
        return False
    hydrogens = after.GetNumAtoms(onlyExplicit=False) - before.GetNumAtoms(onlyExplicit=False)
    return hydrogens == Chem.GetFormalCharge(after) - Chem.GetFormalCharge(before)


def neutralise(mol: Mol, remarks: list[Remark]) -> tuple[Mol, bool]:
    """The fragment without charges that protons can carry, and whether that could be read again.

    Permanent cations and their inner salts stay. Where RDKit cannot read its own result the input is kept
    with a remark.
    """
    if Chem.GetFormalCharge(mol) >= 0 and not mol.HasSubstructMatch(_UNCHARGEABLE):
        return mol, True
    result = _uncharger.uncharge(mol)
    try:
        Chem.SanitizeMol(result)
        again = round_trip(result)
    except _UNREADABLE:
        again = None
    if again is None or not _only_protons_moved(mol, again):
        remarks.append(
            Remark(
                code="neutralise-failed",
                detail="The charges could not be removed; the structure was kept charged.",
            )
        )
        return mol, False
    return again, True


def without_isotopes(mol: Mol) -> tuple[Mol, tuple[str, ...]]:
    """The molecule with natural isotopes and its labels, for example ("[2H]5",)."""
    labels: Counter[str] = Counter(f"[{atom.GetIsotope()}{atom.GetSymbol()}]" for atom in mol.GetAtoms() if atom.GetIsotope())
    if not labels:
        return mol, ()
    natural = Chem.RWMol(mol)
    for atom in natural.GetAtoms():
        atom.SetIsotope(0)
    plain = Chem.RemoveHs(natural.GetMol())
    Chem.AssignStereochemistry(plain, cleanIt=True, force=True)
    return plain, tuple(f"{label}{count}" for label, count in sorted(labels.items()))


def has_atropisomer(mol: Mol) -> bool:
    """True where a bond carries atropisomer stereo (not in any InChI layer)."""
    return any(bond.GetStereo() in (Chem.BondStereo.STEREOATROPCW, Chem.BondStereo.STEREOATROPCCW) for bond in mol.GetBonds())


def settle_stereo(mol: Mol, *, axial: bool = False) -> tuple[Mol, tuple[Mol, ...], str | None, str | None]:
    """Enhanced stereo made identity: the molecule, its other forms, the stereo word and the CXSMILES as
    drawn.

    A group of one centre makes that centre flat. A group of several keeps the relative configuration: one
    of the two forms is chosen whichever was drawn, and the others are returned beside it (all are looked
    up).
    """
    drawn_groups = mol.GetStereoGroups()
    groups = [g for g in drawn_groups if g.GetGroupType() in _AND_OR] if len(drawn_groups) else []
    if not groups:
        return mol, (), None, Chem.MolToCXSmiles(mol) if axial else None
    drawn = Chem.MolToCXSmiles(mol)
    racemic = all(g.GetGroupType() == Chem.StereoGroupType.STEREO_AND for g in groups)
    joint: list[list[int]] = []
    editable = Chem.RWMol(mol)
    for group in groups:
        atoms = [atom.GetIdx() for atom in group.GetAtoms()]
        if len(atoms) + len(group.GetBonds()) > 1:
            joint.append(atoms)
        for index in atoms if len(atoms) == 1 and len(group.GetBonds()) == 0 else ():
            editable.GetAtomWithIdx(index).SetChiralTag(Chem.ChiralType.CHI_UNSPECIFIED)
    editable.SetStereoGroups([])
    forms: dict[str, Mol] = {}
    for inverted in product((False, True), repeat=min(len(joint), MAX_JOINT_GROUPS)):
        form = Chem.RWMol(editable)
        for atoms, invert in zip(joint, inverted, strict=False):
            for index in atoms if invert else ():
                form.GetAtomWithIdx(index).InvertChirality()
        settled = form.GetMol()
        Chem.AssignStereochemistry(settled, cleanIt=True, force=True)
        forms.setdefault(Chem.MolToSmiles(settled), settled)
    ordered = [forms[smiles] for smiles in sorted(forms)]
    return ordered[0], tuple(ordered[1:]), "racemic" if racemic else "unknown-single", drawn


def _component(labelled: Mol, count: int, remarks: tuple[Remark, ...], marks: Marks = _ANYTHING) -> Component:
    plain, isotopes = without_isotopes(labelled) if marks.isotopes else (labelled, ())
    notes = list(remarks)
    if isotopes:
        notes.append(
            Remark(
                code="isotopically-labelled",
                detail=f"Labelled ({', '.join(isotopes)}), usually an internal standard; matched as the natural substance.",
            )
        )
    axial = marks.axial and has_atropisomer(plain)
    mol, others, word, groups = settle_stereo(plain, axial=axial)
    if axial:
        notes.append(Remark(code="atropisomer", detail="The axial chirality drawn is in no InChI layer."))
    return Component(
        mol=mol,
        labelled=labelled,
        count=count,
        isotopes=isotopes,
        others=others,
        groups=groups,
        stereo_word=word,
        remarks=tuple(notes),
    )


def _kept(piece: Component, marks: Marks) -> Component:
    """A kept piece brought through isotopes and stereo; what was written of it stays where nothing
    changed."""
    part = _component(piece.labelled, piece.count, piece.remarks, marks)
    return replace(part, written=piece.written, flat=piece.flat) if part.mol is piece.labelled else part


def _merge_racemates(parts: list[Component]) -> list[Component]:
    """Two enantiomers drawn side by side as one racemate."""
    merged: list[Component] = []
    for part in parts:
        twin = next(
            (m for m in merged if m.groups is None and part.groups is None and _are_mirror_images(m.mol, part.mol)),
            None,
        )
        if twin is None:
            merged.append(part)
            continue
        centres = [a.GetIdx() for a in twin.labelled.GetAtoms() if a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED]
        both = Chem.RWMol(twin.labelled)
        both.SetStereoGroups([Chem.CreateStereoGroup(Chem.StereoGroupType.STEREO_AND, both, centres, [], 1)])
        note = Remark(code="racemate-drawn-twice", detail="Both enantiomers are drawn; read as the racemate.")
        merged[merged.index(twin)] = _component(both.GetMol(), min(twin.count, part.count), (*twin.remarks, note))
    return merged


def _are_mirror_images(first: Mol, second: Mol) -> bool:
    if Chem.MolToSmiles(first, isomericSmiles=False) != Chem.MolToSmiles(second, isomericSmiles=False):
        return False
    image = Chem.RWMol(first)
    for atom in image.GetAtoms():
        atom.InvertChirality()
    return Chem.MolToSmiles(image) == Chem.MolToSmiles(second)


def normalise(mol: Mol, counterions: CounterIons, listed: frozenset[str], marks: Marks = _ANYTHING) -> Normalised:
    """The parents of a molecule as reported.

    `listed` holds the flat SMILES of listed substances (those listed as they are not among them): such a
    fragment is a component whatever lists it is on, so GHB and phenylacetic acid are never lost as
    counter-ions.
    """
    fragments = _fragments(mol)
    if len(fragments) == 1 and takes_fast_path(mol, marks):
        part = _component(mol, 1, (), marks)
        return Normalised(components=(part,), removed=(), remarks=(), untouched=not part.isotopes and not part.groups)
    remarks: list[Remark] = []
    pieces: dict[str, Component] = {}
    for fragment in fragments:
        if fragment.GetNumAtoms() == 1:
            piece = _lone_atom(_signature(fragment.GetAtomWithIdx(0)))
            assert piece.written is not None
            _count(pieces, piece.written[0], piece)
            continue
        if takes_fast_path(fragment, marks):
            _collect(pieces, fragment, [])
            continue
        if only_protons_to_move(fragment, marks):
            notes: list[Remark] = []
            _collect(pieces, neutralise(fragment, notes)[0], notes)
            continue
        if is_metal_complex(fragment):
            remarks.append(Remark(code="metal-complex", detail="A metal complex is kept as reported; it is not taken apart."))
            _collect(pieces, fragment, [])
            continue
        for part in _fragments(clean(fragment, remarks)):
            notes = []
            neutral, _ = neutralise(part, notes)
            _collect(pieces, neutral, notes)
    return _split(mol, list(pieces.items()), counterions, listed, remarks, marks)


def _fragments(mol: Mol) -> tuple[Mol, ...]:
    return Chem.GetMolFrags(mol, asMols=True) if len(Chem.GetMolFrags(mol)) > 1 else (mol,)


def _signature(atom: Chem.Atom) -> tuple[int, int, int, int]:
    """All there is to an atom without neighbours: atomic number, isotope, charge, hydrogens."""
    return atom.GetAtomicNum(), atom.GetIsotope(), atom.GetFormalCharge(), atom.GetTotalNumHs()


@lru_cache(maxsize=512)
def _lone_atom(signature: tuple[int, int, int, int]) -> Component:
    """The piece that one atom without neighbours makes, neutralised."""
    number, isotope, charge, hydrogens = signature
    atom = Chem.Atom(number)
    atom.SetIsotope(isotope)
    atom.SetFormalCharge(charge)
    atom.SetNumExplicitHs(hydrogens)
    atom.SetNoImplicit(True)
    made = Chem.RWMol()
    made.AddAtom(atom)
    mol = made.GetMol()
    Chem.SanitizeMol(mol)
    notes: list[Remark] = []
    again = round_trip(mol)
    neutral = neutralise(mol if again is None else again, notes)[0]
    return _piece(neutral, written(neutral), notes)


def _piece(mol: Mol, plain: tuple[str, str], notes: list[Remark]) -> Component:
    flat = Chem.MolToSmiles(mol, isomericSmiles=False) if _STEREO_OR_LABEL.search(plain[0]) else plain[0]
    return Component(mol=mol, labelled=mol, written=plain, flat=flat, remarks=tuple(notes))


def _count(pieces: dict[str, Component], key: str, piece: Component) -> None:
    """Adds a piece, or one more of a piece that is there."""
    known = pieces.get(key)
    pieces[key] = piece if known is None else replace(known, count=known.count + piece.count)


def _collect(pieces: dict[str, Component], mol: Mol, notes: list[Remark]) -> None:
    plain = written(mol)
    key = Chem.MolToCXSmiles(mol) if len(mol.GetStereoGroups()) else plain[0]
    if key in pieces:
        pieces[key] = replace(pieces[key], count=pieces[key].count + 1)
    else:
        pieces[key] = _piece(mol, plain, notes)


def _split(
    whole: Mol,
    pieces: list[tuple[str, Component]],
    counterions: CounterIons,
    listed: frozenset[str],
    remarks: list[Remark],
    marks: Marks,
) -> Normalised:
    kept: list[Component] = []
    removable: list[tuple[str, Component]] = []
    for smiles, piece in pieces:
        flat = piece.flat or ""
        if len(pieces) > 1 and flat not in listed and (counterions.removable(flat) or _is_lone_ion(piece.mol)):
            removable.append((smiles, piece))
        else:
            kept.append(piece)
    if not kept:
        organic = [r for r in removable if any(a.GetAtomicNum() == 6 for a in r[1].mol.GetAtoms())]
        if organic:
            chosen = max(organic, key=lambda r: (r[1].mol.GetNumHeavyAtoms(), r[0]))
            removable.remove(chosen)
            kept = [chosen[1]]
        else:
            kept = [Component(mol=whole, labelled=whole)]
            removable = []
        remarks.append(Remark(code="only-counter-ions", detail="Every fragment is a counter-ion, a solvent or an ion."))
    parts = [_kept(p, marks) for p in kept]
    parts = _merge_racemates(parts) if len(parts) > 1 else parts
    if len(parts) > 1:
        parts.sort(key=lambda p: (-p.mol.GetNumHeavyAtoms(), Chem.MolToSmiles(p.mol)))
    removed = sorted(smiles for smiles, piece in removable for _ in range(piece.count))
    return Normalised(components=tuple(parts), removed=tuple(removed), remarks=tuple(remarks), untouched=False)


def _is_lone_ion(mol: Mol) -> bool:
    if mol.GetNumAtoms() != 1:
        return False
    atom = mol.GetAtomWithIdx(0)
    return is_metal(atom.GetAtomicNum()) or atom.GetAtomicNum() in (1, 8, 9, 17, 35, 53)
