"""Substituents: what hangs on a core, and which words of a statute describe it.

Words that the statutes leave undefined have one reading each, stated at the constant or function.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from rdkit import Chem
from rdkit.Chem.rdchem import Atom, Mol

HALOGENS = frozenset({9, 17, 35, 53})  # halo, halide, halogeno: F, Cl, Br, I
_SINGLE = Chem.BondType.SINGLE


@dataclass(frozen=True, slots=True)
class Bonded:
    """One bond from a core atom to a piece."""

    core: int
    atom: int
    order: float


def _by_place(bond: Bonded) -> tuple[int, int]:
    return bond.core, bond.atom


class Piece:
    """A connected part of a molecule outside a core, with the bonds that hold it."""

    def __init__(self, mol: Mol, atoms: frozenset[int], bonds: tuple[Bonded, ...]) -> None:
        self.mol = mol
        self.atoms = atoms
        self.bonds = bonds

    @property
    def root(self) -> int:
        return self.bonds[0].atom

    @property
    def univalent(self) -> bool:
        """One single bond to the core; a ring fusion and =O are not univalent."""
        return len(self.bonds) == 1 and self.bonds[0].order == 1.0

    @cached_property
    def _atoms(self) -> list[Atom]:
        return [self.mol.GetAtomWithIdx(i) for i in sorted(self.atoms)]

    @cached_property
    def _numbers(self) -> list[int]:
        return [atom.GetAtomicNum() for atom in self._atoms]

    def all(self) -> list[Atom]:
        """Its atoms, in order of index."""
        return self._atoms

    def count(self, number: int) -> int:
        """How many atoms of an element."""
        return self._numbers.count(number)

    @cached_property
    def smiles(self) -> str:
        """The fragment with `*` for each bond to the core, without stereochemistry."""
        if len(self.atoms) == 1 and len(self.bonds) == 1:
            atom = self._atoms[0]
            symbol = atom.GetSymbol()
            if atom.GetFormalCharge() == 0 and symbol in ("C", "N", "O", "S", "F", "Cl", "Br", "I"):
                return f"*={symbol}" if self.bonds[0].order == 2.0 else f"*{symbol}"
        editable = Chem.RWMol(self.mol)
        for bond in self.bonds:
            dummy = editable.AddAtom(Chem.Atom(0))
            editable.AddBond(dummy, bond.atom, Chem.BondType.DOUBLE if bond.order == 2.0 else _SINGLE)
            editable.RemoveBond(bond.core, bond.atom)
        used = [*sorted(self.atoms), *range(self.mol.GetNumAtoms(), editable.GetNumAtoms())]
        return Chem.MolFragmentToSmiles(editable, used, isomericSmiles=False)

    @cached_property
    def words(self) -> dict[str, int]:
        """The statute's words for it, each with its number of carbons."""
        return _words(self)

    @cached_property
    def chain(self) -> int:
        """Atoms of its longest continuous chain from the core, ring atoms and hydrogen not counted."""
        return _longest_chain(self)


def pieces_of(mol: Mol, core: Iterable[int], within: frozenset[int] | None = None) -> list[Piece]:
    """The connected parts outside a core (inside `within`, where given), each with its bonds to the core."""
    return list(each_piece(mol, core, within))


Known = dict[tuple[frozenset[int], tuple[Bonded, ...]], Piece]  # the pieces of one molecule that were looked at before


def each_piece(
    mol: Mol, core: Iterable[int], within: frozenset[int] | None = None, known: Known | None = None
) -> Iterator[Piece]:
    """The same one by one, in order of their first atom; taken from `known` where it is there, so no words are found twice."""
    inside = set(core)
    allowed = within if within is not None else frozenset(range(mol.GetNumAtoms()))
    seen: set[int] = set()
    for start in sorted(allowed - inside):
        if start in seen:
            continue
        stack, atoms, bonds = [start], {start}, []
        while stack:
            here = stack.pop()
            for bond in mol.GetAtomWithIdx(here).GetBonds():
                there = bond.GetOtherAtomIdx(here)
                if there in inside:
                    bonds.append(Bonded(there, here, bond.GetBondTypeAsDouble()))
                elif there in allowed and there not in atoms:
                    atoms.add(there)
                    stack.append(there)
        seen |= atoms
        if bonds:
            piece = Piece(mol, frozenset(atoms), tuple(sorted(bonds, key=_by_place)))
            yield piece if known is None else known.setdefault((piece.atoms, piece.bonds), piece)


def _is_sp3_carbon(atom: Atom) -> bool:
    return atom.GetAtomicNum() == 6 and not atom.GetIsAromatic() and all(b.GetBondType() == _SINGLE for b in atom.GetBonds())


def _in_ring(piece: Piece, atom: Atom) -> bool:
    """In a ring of the piece itself; a piece that closes a ring over the core is judged as a bridge."""
    return bool(atom.IsInRing()) and piece.univalent


def _words(piece: Piece) -> dict[str, int]:
    atoms = piece.all()
    carbons = piece.count(6)
    if not piece.univalent:
        return _bridge_words(piece, carbons)
    root = piece.mol.GetAtomWithIdx(piece.root)
    words: dict[str, int] = {}
    number = root.GetAtomicNum()
    if len(atoms) == 1:
        words.update(_one_atom(root))
    ring = any(a.IsInRing() for a in atoms)
    if number == 6 and not root.IsInRing():
        words.update(_carbon_words(piece, atoms, carbons, ring))
    if root.IsInRing():
        words.update(_ring_words(piece, atoms, carbons))
    if number in (7, 8, 16):
        words.update(_hetero_words(piece, root, atoms, carbons, ring))
    return words


def _one_atom(root: Atom) -> dict[str, int]:
    number = root.GetAtomicNum()
    if number in HALOGENS:
        return {"halo": 0}
    if number == 8 and root.GetTotalNumHs() == 1:
        return {"hydroxy": 0}
    if number == 16 and root.GetTotalNumHs() == 1:
        return {"thiol": 0}
    if number == 7 and root.GetTotalNumHs() == 2 and root.GetFormalCharge() == 0:
        return {"amino": 0}
    return {}


def _double_bonds(piece: Piece, atoms: list[Atom]) -> list[float]:
    """Orders of the bonds inside a piece that are not single."""
    return [
        bond.GetBondTypeAsDouble()
        for atom in atoms
        for bond in atom.GetBonds()
        if bond.GetBondType() != _SINGLE
        and atom.GetIdx() < bond.GetOtherAtomIdx(atom.GetIdx())
        and bond.GetOtherAtomIdx(atom.GetIdx()) in piece.atoms
    ]


def _carbon_words(piece: Piece, atoms: list[Atom], carbons: int, ring: bool) -> dict[str, int]:
    words: dict[str, int] = {}
    root = piece.mol.GetAtomWithIdx(piece.root)
    others = [a for a in atoms if a.GetAtomicNum() != 6]
    multiple = _double_bonds(piece, atoms)
    if not ring:
        # alkyl: acyclic, saturated, linear or branched, unsubstituted.
        if not others and not multiple:
            words["alkyl"] = carbons
        if not others and multiple and all(order == 2.0 for order in multiple):
            words["alkenyl"] = carbons
        if not others and multiple and 3.0 in multiple:
            words["alkynyl"] = carbons
        if others and not multiple and all(a.GetAtomicNum() in HALOGENS for a in others):
            words["haloalkyl"] = carbons
        if others and not multiple and all(a.GetAtomicNum() == 8 and a.GetTotalNumHs() == 1 for a in others):
            words["hydroxyalkyl"] = carbons
        if others and not multiple and all(a.GetAtomicNum() == 8 and a.GetTotalNumHs() == 0 for a in others):
            words["alkoxyalkyl"] = carbons
        nitrogens = [a for a in others if a.GetAtomicNum() == 7]
        if len(nitrogens) == 1 and len(others) == 1 and multiple == [3.0] and nitrogens[0].GetDegree() == 1:
            if carbons == 1:
                words["cyano"] = 1
            else:
                words["cyanoalkyl"] = carbons
    oxo = [
        n
        for n in root.GetNeighbors()
        if n.GetAtomicNum() == 8 and piece.mol.GetBondBetweenAtoms(root.GetIdx(), n.GetIdx()).GetBondTypeAsDouble() == 2.0
    ]
    if oxo:
        # acyl: R-C(=O)-, R any, aryl, heteroaryl and alkoxy included.
        words["acyl"] = carbons
        rest = [n for n in root.GetNeighbors() if n.GetIdx() in piece.atoms and n.GetIdx() != oxo[0].GetIdx()]
        if rest and rest[0].GetAtomicNum() == 8:
            if rest[0].GetTotalNumHs():
                words["carboxy"] = carbons
            else:
                words["alkoxycarbonyl"] = carbons
                words["ester"] = carbons
        elif rest and rest[0].GetAtomicNum() == 7:
            words["carbamoyl"] = carbons
        elif not rest or rest[0].GetAtomicNum() == 6:
            only = {a.GetIdx() for a in atoms} - {root.GetIdx(), oxo[0].GetIdx()}
            if all(_is_sp3_carbon(piece.mol.GetAtomWithIdx(i)) for i in only) and not ring:
                words["alkylcarbonyl"] = carbons
    if ring:
        words.update(_ring_on_chain(piece, carbons, others))
    if (
        others
        and all(a.GetAtomicNum() == 8 for a in others)
        and not oxo
        and any(a.GetTotalNumHs() == 0 and a.GetDegree() == 2 and not a.IsInRing() for a in others)
    ):
        words.setdefault("ether", carbons)
    return words


def _ring_on_chain(piece: Piece, carbons: int, others: list[Atom]) -> dict[str, int]:
    """Cycloalkylalkyl and arylalkyl words: a chain of sp3 carbons that ends in one ring."""
    words: dict[str, int] = {}
    ring_atoms = [a for a in piece.all() if a.IsInRing()]
    chain_atoms = [a for a in piece.all() if not a.IsInRing()]
    if any(not _is_sp3_carbon(a) for a in chain_atoms):
        return words
    systems = ring_systems(piece.mol, piece.atoms)
    if len(systems) != 1:
        return words
    carbocycle = all(a.GetAtomicNum() == 6 for a in ring_atoms)
    aromatic = all(a.GetIsAromatic() for a in ring_atoms)
    straight = all(sum(n.GetIdx() in piece.atoms for n in a.GetNeighbors()) <= 2 for a in chain_atoms)
    saturated = all(_is_sp3_carbon(a) for a in ring_atoms)
    monocycle = is_monocycle(piece.mol, ring_atoms[0].GetIdx())
    if carbocycle and saturated and monocycle and straight and not others:
        if len(chain_atoms) == 1:
            words["cycloalkylmethyl"] = carbons
        if len(chain_atoms) == 2:
            words["cycloalkylethyl"] = carbons
    if carbocycle and aromatic and len(ring_atoms) == 6 and not others:
        if len(chain_atoms) == 1:
            words["benzyl"] = carbons
        words["arylalkyl"] = carbons
    return words


def _ring_words(piece: Piece, atoms: list[Atom], carbons: int) -> dict[str, int]:
    words: dict[str, int] = {}
    root = piece.root
    mono = is_monocycle(piece.mol, root)
    system = next(s for s in ring_systems(piece.mol, piece.atoms | {b.core for b in piece.bonds}) if root in s)
    members = [piece.mol.GetAtomWithIdx(i) for i in system]
    hetero = [a for a in members if a.GetAtomicNum() != 6]
    aromatic = all(a.GetIsAromatic() for a in members)
    if mono:
        words["monocycle"] = carbons
        if hetero:
            words["heteromonocycle"] = carbons
        if aromatic:
            words["aromatic_monocycle"] = carbons
    words["ring"] = carbons
    bare = len(system) == len(atoms)
    if bare and mono and not hetero:
        if all(_is_sp3_carbon(a) for a in members):
            words["cycloalkyl"] = carbons
        if aromatic and len(system) == 6:
            words["phenyl"] = carbons
    return words


def _hetero_words(piece: Piece, root: Atom, atoms: list[Atom], carbons: int, ring: bool) -> dict[str, int]:
    words: dict[str, int] = {}
    number = root.GetAtomicNum()
    rest = [n for n in root.GetNeighbors() if n.GetIdx() in piece.atoms]
    others = [a for a in atoms if a.GetIdx() != root.GetIdx()]
    plain = not ring and not _double_bonds(piece, atoms) and len(rest) == 1
    all_carbon = all(a.GetAtomicNum() == 6 for a in others)
    halo = bool(others) and all(a.GetAtomicNum() == 6 or a.GetAtomicNum() in HALOGENS for a in others)
    if number == 8 and len(rest) == 1:
        first = rest[0]
        if plain and all_carbon:
            words["alkoxy"] = carbons
        elif plain and halo and first.GetAtomicNum() == 6:
            words["haloalkoxy"] = carbons
        if first.GetAtomicNum() == 6:
            double = any(
                n.GetAtomicNum() == 8 and piece.mol.GetBondBetweenAtoms(first.GetIdx(), n.GetIdx()).GetBondTypeAsDouble() == 2.0
                for n in first.GetNeighbors()
            )
            if double:
                words["acyloxy"] = carbons
                words["ester"] = carbons
                if carbons == 2 and len(atoms) == 4 and all_carbon is False:
                    words["acetyloxy"] = carbons
            else:
                words["ether"] = carbons
    if number == 16 and len(rest) == 1 and plain and all_carbon:
        words["alkylthio"] = carbons
    if number == 16:
        oxygens = [a for a in rest if a.GetAtomicNum() == 8 and a.GetDegree() == 1]
        left = [a for a in others if a.GetIdx() not in {o.GetIdx() for o in oxygens}]
        if len(oxygens) == 2 and left and all(_is_sp3_carbon(a) for a in left) and not ring:
            words["alkylsulfonyl"] = carbons
    if number == 7:
        charges = [a.GetFormalCharge() for a in atoms]
        if root.GetFormalCharge() == 1 and len(atoms) == 3 and sum(a.GetAtomicNum() == 8 for a in atoms) == 2:
            words["nitro"] = 0
        elif not any(charges) and all(_is_sp3_carbon(a) for a in others) and not ring and others:
            words["alkylamino"] = carbons
    return words


def _bridge_words(piece: Piece, carbons: int) -> dict[str, int]:
    """Words of a part held by two bonds: alkylenedioxy, a ring on one atom, a fused ring, =O."""
    words: dict[str, int] = {}
    atoms = piece.all()
    if len(piece.bonds) == 1:
        if len(atoms) == 1 and atoms[0].GetAtomicNum() == 8 and piece.bonds[0].order == 2.0:
            words["oxo"] = 0
        elif piece.bonds[0].order == 2.0:
            words["ylidene"] = carbons
        return words
    if len(piece.bonds) != 2:
        words["several_bonds"] = carbons
        return words
    first, second = piece.bonds
    if first.core == second.core:
        words["ring_on_atom"] = carbons
        on_ring = all(a.IsInRing() for a in atoms)
        if on_ring and len(ring_systems(piece.mol, piece.atoms | {first.core})) == 1:
            words["bare_ring_on_atom"] = carbons
            for name, members, hetero in (
                ("pyrrolidine", 4, 0),
                ("piperidine", 5, 0),
                ("morpholine", 5, 1),
                ("azetidine", 3, 0),
            ):
                saturated = all(b == _SINGLE for a in atoms for b in (x.GetBondType() for x in a.GetBonds()))
                oxygens = piece.count(8)
                if len(atoms) == members and oxygens == hetero and carbons == members - hetero and saturated:
                    words[name] = carbons
        return words
    ends = {first.atom, second.atom}
    inner = [a for a in atoms if a.GetIdx() not in ends]
    singles = first.order == 1.0 and second.order == 1.0
    if (
        singles
        and len(ends) == 2
        and all(piece.mol.GetAtomWithIdx(i).GetAtomicNum() == 8 for i in ends)
        and inner
        and all(_is_sp3_carbon(a) for a in inner)
    ):
        words["alkylenedioxy"] = carbons
        if carbons == 1:
            words["methylenedioxy"] = 1
        if carbons == 2:
            words["ethylenedioxy"] = 2
    ring_oxygens = [i for i in ends if piece.mol.GetAtomWithIdx(i).GetAtomicNum() == 8]
    if len(atoms) == 3 and len(ring_oxygens) == 1 and carbons == 2:
        saturated = not _double_bonds(piece, atoms) and not any(a.GetIsAromatic() for a in atoms)
        words["ethyleneoxy" if saturated else "vinyleneoxy"] = 2
    words["fused"] = carbons
    if all(a.IsInRing() and not a.GetIsAromatic() for a in atoms) and len(ring_systems(piece.mol, piece.atoms)) == 0:
        words["bare_bridge"] = carbons  # the ring that it closes and nothing beside it
    return words


def ring_systems(mol: Mol, within: frozenset[int]) -> list[frozenset[int]]:
    """Fused and spiro ring systems of a part, each as its set of atoms."""
    systems: list[set[int]] = []
    for ring in mol.GetRingInfo().AtomRings():
        members = set(ring)
        if not members <= within:
            continue
        for system in [s for s in systems if s & members]:
            members |= system
            systems.remove(system)
        systems.append(members)
    return [frozenset(s) for s in systems]


def is_monocycle(mol: Mol, atom: int) -> bool:
    """True where an atom's ring shares no atom with another ring."""
    info = mol.GetRingInfo()
    rings = [r for r in info.AtomRings() if atom in r]
    return len(rings) == 1 and all(info.NumAtomRings(i) == 1 for i in rings[0])


def _longest_chain(piece: Piece) -> int:
    """Longest simple path from the root; ring atoms weigh nothing, so walking round a ring gains nothing."""
    mol = piece.mol
    best = 0
    for bond in piece.bonds:
        weights = {i: 0 if mol.GetAtomWithIdx(i).IsInRing() and piece.univalent else 1 for i in piece.atoms}
        reached = {bond.atom: weights[bond.atom]}
        stack = [(bond.atom, weights[bond.atom])]
        while stack:
            here, length = stack.pop()
            for neighbour in mol.GetAtomWithIdx(here).GetNeighbors():
                there = neighbour.GetIdx()
                if there in weights and there not in reached:
                    reached[there] = length + weights[there]
                    stack.append((there, reached[there]))
        best = max(best, *reached.values())
    return best
