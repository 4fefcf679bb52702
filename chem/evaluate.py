"""One evaluator for all class rules: core, then position by position, then the whole molecule; three
values.

Every heavy atom is accounted for: what is neither core nor allowed where it hangs makes the verdict `out`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from rdkit import Chem
from rdkit.Chem.rdchem import Mol

from chem.fragments import Known, Piece, each_piece, pieces_of, ring_systems
from chem.identity import average_mass
from chem.rules import Bridge, Core, Position, Residue, Rule, Template, Word
from chem.values import Verdict

MAX_MAPPINGS = 400
MASS_MARGIN = 1.0  # u; the law says u, neither average nor monoisotopic mass

_RANK = {Verdict.IN: 0, Verdict.UNDECIDED: 1, Verdict.OUT: 2}


@dataclass(slots=True)
class Line:
    """One thing judged: what hangs where, the class found, the limit, the verdict."""

    place: str
    piece: Piece | None
    word: str
    limit: str
    verdict: Verdict

    def as_dict(self) -> dict[str, Any]:
        """The line as plain values for a reader."""
        return {
            "position": self.place,
            "fragment": self.piece.smiles if self.piece else "",
            "class": self.word,
            "limit": self.limit,
            "verdict": self.verdict.value,
            "atoms": sorted(self.piece.atoms) if self.piece else [],
        }

    def __str__(self) -> str:
        return f"{self.place}: {self.piece.smiles if self.piece else self.word} ({self.limit})"


class _Outside(Exception):
    """The first condition that fails, where nobody asks for the others."""


@dataclass(slots=True)
class Outcome:
    """A verdict with what was found position by position."""

    verdict: Verdict
    lines: list[Line] = field(default_factory=list)
    core: tuple[int, ...] = ()
    no_core: bool = False
    explain_misses: bool = True

    def note(self, place: str, piece: Piece | None, word: str, limit: str, verdict: Verdict) -> None:
        """Adds one line and lets the verdict sink to it."""
        if verdict is Verdict.OUT and not self.explain_misses:
            raise _Outside
        self.lines.append(Line(place, piece, word, limit, verdict))
        if _RANK[verdict] > _RANK[self.verdict]:
            self.verdict = verdict

    def of(self, verdict: Verdict) -> list[Line]:
        """The lines with one verdict."""
        return [line for line in self.lines if line.verdict is verdict]

    @property
    def failed(self) -> str:
        """The conditions that failed, in words."""
        if self.no_core:
            return "the core of the class is not there"
        return "; ".join(str(line) for line in self.of(Verdict.OUT))

    @property
    def details(self) -> tuple[dict[str, Any], ...]:
        """Position by position, for a reader."""
        return tuple(line.as_dict() for line in self.lines)


def meets(rule: Rule, mol: Mol, flat: str, known: Known | None = None) -> Outcome | None:
    """As `evaluate`, but None for a structure outside the definition: the first failed condition ends each attempt.

    `known` keeps the pieces of the molecule between rules.
    """
    if mol.GetNumAtoms() < rule.least_atoms or mol.GetRingInfo().NumRings() < rule.least_rings:
        return None
    if rule.mass_max is not None and average_mass(mol) > rule.mass_max + MASS_MARGIN:
        return None
    if (rule.foreign is not None and mol.HasSubstructMatch(rule.foreign)) or flat in rule.parents:
        return None
    outcome = evaluate(rule, mol, flat, explain_misses=False, known=known)
    return None if outcome.verdict is Verdict.OUT else outcome


def evaluate(rule: Rule, mol: Mol, flat: str, *, explain_misses: bool = True, known: Known | None = None) -> Outcome:
    """The verdict of one rule on structure alone, by the mapping that comes nearest."""
    best: Outcome | None = None
    for core in rule.cores:
        seen: set[tuple[int, ...]] = set()
        # In order of atom numbers: RDKit's own order follows the bonds as they were drawn.
        for match in sorted(mol.GetSubstructMatches(core.query, uniquify=False, maxMatches=MAX_MAPPINGS)):
            named = tuple(sorted((m, a) for m, a in zip(core.maps, match, strict=True)))
            key = tuple(a for _, a in named)
            if key in seen:
                continue
            seen.add(key)
            try:
                outcome = _try(rule, core, match, mol, explain_misses, known)
            except _Outside:
                continue
            if best is None or (_RANK[outcome.verdict], len(outcome.of(Verdict.OUT))) < (
                _RANK[best.verdict],
                len(best.of(Verdict.OUT)),
            ):
                best = outcome
            if best.verdict is Verdict.IN:
                break
        if best is not None and best.verdict is Verdict.IN:
            break
    if best is None:
        return Outcome(Verdict.OUT, no_core=True)
    try:
        _whole_molecule(rule, mol, flat, best)
    except _Outside:
        return Outcome(Verdict.OUT)
    return best


def _whole_molecule(rule: Rule, mol: Mol, flat: str, outcome: Outcome) -> None:
    if rule.mass_max is not None:
        mass = average_mass(mol)
        verdict = Verdict.IN if mass <= rule.mass_max else Verdict.OUT
        if abs(mass - rule.mass_max) <= MASS_MARGIN:
            verdict = Verdict.UNDECIDED
        outcome.note("whole molecule", None, f"{mass:.1f} u", f"at most {rule.mass_max:g} u", verdict)
    if rule.foreign is not None:
        foreign = {mol.GetAtomWithIdx(i).GetSymbol() for (i,) in mol.GetSubstructMatches(rule.foreign)}
        if foreign:
            outcome.note("whole molecule", None, ", ".join(sorted(foreign)), "other elements only", Verdict.OUT)
    if flat in rule.parents:
        outcome.note("whole molecule", None, "no modification", "at least one modification", Verdict.OUT)
    for query in rule.not_with:
        if mol.HasSubstructMatch(query):
            outcome.note("whole molecule", None, "core of another group", "not of another group", Verdict.OUT)
            break


def _try(rule: Rule, core: Core, match: tuple[int, ...], mol: Mol, explain_misses: bool, known: Known | None) -> Outcome:
    outcome = Outcome(Verdict.IN, core=match, explain_misses=explain_misses)
    if not explain_misses and any(mol.GetAtomWithIdx(match[place]).GetDegree() != degree for place, degree in core.shut):
        raise _Outside
    if _extra_bond(core, match, mol):
        outcome.note("core", None, "ring closure inside the core", "not named", Verdict.OUT)
    place_of: dict[int, list[Position]] = {}
    for number, atom in zip(core.maps, match, strict=True):
        place_of[atom] = [p for p in rule.positions if number and number in p.maps]
    hanging: dict[str, list[Piece]] = {p.name: [] for p in rule.positions}
    by_name = {p.name: p for p in rule.positions}
    bridged: Counter[str] = Counter()
    for piece in each_piece(mol, match, known=known):
        touched = [{p.name for p in place_of[b.core]} for b in piece.bonds]
        if len(piece.bonds) == 1:
            if touched[0]:
                hanging[next(iter(sorted(touched[0])))].append(piece)
            elif rule.reading == "open":
                outcome.note("open", piece, _word_text(piece), "open reading", Verdict.IN)
            else:
                outcome.note("core", piece, _word_text(piece), "no substituent named here", Verdict.OUT)
        else:
            if _judge_bridge(rule, piece, touched, outcome) is Verdict.IN:
                bridged.update({name for names in touched for name in names})
    for name, pieces in hanging.items():
        present = [n for n in core.maps if n in by_name[name].maps]
        if present:
            _judge_position(by_name[name], pieces, bridged[name], outcome)
    return outcome


def _extra_bond(core: Core, match: tuple[int, ...], mol: Mol) -> bool:
    return _bonds_inside(mol, match) != core.query.GetNumBonds()


def _bonds_inside(mol: Mol, atoms: tuple[int, ...]) -> int:
    inside = set(atoms)
    ends = sum(n.GetIdx() in inside for a in atoms for n in mol.GetAtomWithIdx(a).GetNeighbors())
    return ends // 2


def _judge_bridge(rule: Rule, piece: Piece, touched: list[set[str]], outcome: Outcome) -> Verdict:
    best: tuple[Verdict, str, str] = (Verdict.OUT, _word_text(piece), "no such ring named")
    for bridge in rule.bridges:
        if not all(names & bridge.groups for names in touched):
            continue
        if bridge.distinct and len({name for names in touched for name in names & bridge.groups}) < 2:
            continue
        verdict = _bridge_verdict(bridge, piece, outcome.core)
        if _RANK[verdict] < _RANK[best[0]]:
            best = (verdict, _word_text(piece), ", ".join(map(str, bridge.allow + bridge.undecided)))
    place = " and ".join(sorted({name for names in touched for name in names})) or "core"
    outcome.note(place, piece, best[1], best[2], best[0])
    return best[0]


def _bridge_verdict(bridge: Bridge, piece: Piece, core: tuple[int, ...]) -> Verdict:
    if bridge.ring_sizes is not None:
        size = _ring_size_over(piece, core)
        if size is None or not bridge.ring_sizes[0] <= size <= bridge.ring_sizes[1]:
            return Verdict.OUT
    if bridge.most_hetero is not None:
        hetero = sum(a.GetAtomicNum() != 6 and a.IsInRing() for a in piece.all())
        if hetero > bridge.most_hetero:
            return Verdict.OUT
    for words, verdict in ((bridge.allow, Verdict.IN), (bridge.undecided, Verdict.UNDECIDED)):
        for word in words:
            if word.name == "any" or _fits(word, piece):
                return verdict
    return Verdict.OUT


def _ring_size_over(piece: Piece, core: tuple[int, ...]) -> int | None:
    """Size of the smallest ring that the piece closes over the core."""
    inside = set(core)
    sizes = [len(ring) for ring in piece.mol.GetRingInfo().AtomRings() if set(ring) & piece.atoms and set(ring) & inside]
    return min(sizes, default=None)


def _judge_position(position: Position, pieces: list[Piece], bridged: int, outcome: Outcome) -> None:
    """Judges what hangs at a position; `bridged` counts the listed bridges there (alkylenedioxy is a listed
    substituent).
    """
    left = list(pieces)
    for need in position.need:
        found = next((p for p in left if _meets(position, need, p)), None)
        if found is None:
            outcome.note(position.name, None, "nothing of that kind", f"needs {need}", Verdict.OUT)
        else:
            left.remove(found)
            outcome.note(position.name, found, _word_text(found), str(need), Verdict.IN)
    listed = bridged
    judged = []
    for piece in left:
        verdict, word, limit = judge(position, piece)
        listed += verdict is Verdict.IN
        judged.append((piece, verdict, word, limit))
    for piece, verdict, word, limit in judged:
        if verdict is not Verdict.IN and position.then_any_univalent and listed and piece.univalent:
            outcome.note(position.name, piece, word, "any univalent beside a listed one", Verdict.IN)
        else:
            outcome.note(position.name, piece, word, limit, verdict)
    if position.most is not None and len(pieces) > position.most:
        outcome.note(position.name, None, f"{len(pieces)} substituents", f"at most {position.most}", Verdict.OUT)
    if listed + len(position.need) < position.least:
        undecided = any(v is Verdict.UNDECIDED for _, v, _, _ in judged)
        outcome.note(
            position.name,
            None,
            f"{listed} listed substituents",
            f"at least {position.least}",
            Verdict.UNDECIDED if undecided else Verdict.OUT,
        )


def _meets(position: Position, need: Word, piece: Piece) -> bool:
    if need.name == "any" or _fits(need, piece):
        return True
    if need.name == "template":
        return any(_fits_template(t, piece, position) for t in position.templates) or any(
            word.name.endswith("*") and _fits_grown(word, piece, position) for word in position.allow
        )
    if need.name.endswith("*"):
        return _fits_grown(need, piece, position)
    return any(t.name == need.name and _fits_template(t, piece, position) for t in position.templates)


def judge(position: Position, piece: Piece) -> tuple[Verdict, str, str]:
    """Verdict on one piece at a position, with the word found and the limit."""
    limit = _limit_text(position)
    for word in position.allow:
        if _fits(word, piece):
            return Verdict.IN, word.name, str(word)
        if word.name.endswith("*") and _fits_grown(word, piece, position):
            return Verdict.IN, word.name.rstrip("*"), f"{word.name.rstrip('*')} with listed substituents"
    for template in position.templates:
        if _fits_template(template, piece, position):
            return Verdict.IN, template.name, template.name
    if position.residue is not None and piece.univalent:
        fault = residue_fault(position.residue, piece)
        if fault is None:
            return Verdict.IN, "residue", limit
        limit = fault
    if position.open and piece.univalent:
        return Verdict.IN, _word_text(piece), "any"
    for word in position.undecided:
        if word.name == "any" or _fits(word, piece):
            return Verdict.UNDECIDED, _word_text(piece), "the text does not settle it"
    return Verdict.OUT, _word_text(piece), limit


def _fits(word: Word, piece: Piece) -> bool:
    carbons = piece.words.get(word.name)
    return carbons is not None and (word.carbons is None or carbons <= word.carbons)


def _fits_grown(word: Word, piece: Piece, position: Position) -> bool:
    """A skeleton of any size from the root that carries only the position's substituents.

    alkyl* and alkenyl*: acyclic carbon; ring*: the fused ring system of the root.
    """
    if not piece.univalent:
        return False
    root = piece.mol.GetAtomWithIdx(piece.root)
    if word.name == "ring*":
        system = next((s for s in ring_systems(piece.mol, piece.atoms) if piece.root in s), None)
        return system is not None and _carries(pieces_of(piece.mol, system, piece.atoms), position)
    unsaturated = word.name == "alkenyl*"

    def belongs(atom: Any) -> bool:
        if atom.GetAtomicNum() != 6 or atom.IsInRing():
            return False
        orders = [b.GetBondTypeAsDouble() for b in atom.GetBonds()]
        return all(o == 1.0 for o in orders) or (unsaturated and max(orders) == 2.0 and _only_carbon_doubles(atom))

    if not belongs(root):
        return False
    skeleton, stack = {piece.root}, [root]
    while stack:
        for neighbour in stack.pop().GetNeighbors():
            index = neighbour.GetIdx()
            if index in piece.atoms and index not in skeleton and belongs(neighbour):
                skeleton.add(index)
                stack.append(neighbour)
    if word.carbons is not None and len(skeleton) > word.carbons:
        return False
    return _carries(pieces_of(piece.mol, skeleton, piece.atoms), position)


def _carries(rest: list[Piece], position: Position) -> bool:
    """True where every part is a listed substituent, or univalent beside a listed one where the text says
    so.
    """
    listed = [any(_fits(word, piece) for word in position.substituents) for piece in rest]
    if all(listed):
        return True
    return position.then_any_univalent and any(listed) and all(piece.univalent for piece in rest)


def _only_carbon_doubles(atom: Any) -> bool:
    return all(b.GetBondTypeAsDouble() == 1.0 or b.GetOtherAtom(atom).GetAtomicNum() == 6 for b in atom.GetBonds())


def _fits_template(template: Template, piece: Piece, position: Position) -> bool:
    """The drawn group itself, carrying only the position's substituents."""
    if not piece.univalent:
        return False
    for match in piece.mol.GetSubstructMatches(template.query, uniquify=False, maxMatches=MAX_MAPPINGS):
        if match[0] != piece.root or not set(match) <= piece.atoms:
            continue
        if _bonds_inside(piece.mol, match) == template.query.GetNumBonds() and _carries(
            pieces_of(piece.mol, match, piece.atoms), position
        ):
            return True
    return False


def residue_fault(residue: Residue, piece: Piece) -> str | None:
    """What of a residue breaks its limits, or None."""
    foreign = sorted({a.GetSymbol() for a in piece.all() if a.GetAtomicNum() not in residue.elements})
    if foreign:
        return f"elements {', '.join(foreign)} not allowed"
    if residue.mass_max is not None:
        mass = piece_mass(piece)
        if mass > residue.mass_max:
            return f"{mass:.0f} u, at most {residue.mass_max:g} u"
    if residue.no_heteroatom_first and piece.count(6) == 0:
        return "at least one carbon atom"
    root = piece.mol.GetAtomWithIdx(piece.root)
    if residue.roots and not _root_fits(residue.roots, piece):
        return f"first atom {root.GetSymbol()} not named"
    ring = next((a for a in piece.all() if a.IsInRing()), None)
    if ring is not None and residue.ring_sizes is not None:
        sizes = [len(r) for r in piece.mol.GetRingInfo().AtomRings() if set(r) <= piece.atoms]
        low, high = residue.ring_sizes
        chain_to_ring = _to_ring(piece)
        most = residue.ring_on_chain_max
        if any(low <= s <= high for s in sizes) and (root.IsInRing() or most is None or chain_to_ring <= most):
            return None if piece.chain <= residue.chain_max else f"chain of {piece.chain}, at most {residue.chain_max}"
    if piece.chain > residue.chain_max:
        return f"chain of {piece.chain}, at most {residue.chain_max}"
    if piece.chain < residue.chain_min and ring is None:
        return f"chain of {piece.chain}, at least {residue.chain_min}"
    if ring is not None and residue.ring_sizes is not None:
        return f"ring outside {residue.ring_sizes[0]} to {residue.ring_sizes[1]} atoms"
    return None


def _root_fits(roots: frozenset[str], piece: Piece) -> bool:
    """The first atom is a saturated carbon (C), or oxygen or sulfur on a saturated carbon (OC, SC)."""
    root = piece.mol.GetAtomWithIdx(piece.root)
    saturated = all(b.GetBondTypeAsDouble() == 1.0 for b in root.GetBonds())
    if root.GetAtomicNum() == 6:
        return "C" in roots and saturated
    after = [n for n in root.GetNeighbors() if n.GetIdx() in piece.atoms]
    sp3 = len(after) == 1 and after[0].GetAtomicNum() == 6 and all(b.GetBondTypeAsDouble() == 1.0 for b in after[0].GetBonds())
    return f"{root.GetSymbol()}C" in roots and saturated and sp3


def _to_ring(piece: Piece) -> int:
    """Bonds from the root to the nearest ring atom."""
    distance = {piece.root: 0 if piece.mol.GetAtomWithIdx(piece.root).IsInRing() else 1}
    queue = [piece.root]
    while queue:
        here = queue.pop(0)
        if piece.mol.GetAtomWithIdx(here).IsInRing():
            return distance[here] - 1 if here != piece.root else 0
        for neighbour in piece.mol.GetAtomWithIdx(here).GetNeighbors():
            there = neighbour.GetIdx()
            if there in piece.atoms and there not in distance:
                distance[there] = distance[here] + 1
                queue.append(there)
    return len(distance)


def piece_mass(piece: Piece) -> float:
    """Average mass of a piece in u, hydrogen included."""
    table = Chem.GetPeriodicTable()
    return sum(table.GetAtomicWeight(a.GetAtomicNum()) + a.GetTotalNumHs() * table.GetAtomicWeight(1) for a in piece.all())


def _limit_text(position: Position) -> str:
    parts = [str(w) for w in position.allow] + [t.name for t in position.templates]
    if position.residue is not None:
        parts.append(f"residue with a chain up to {position.residue.chain_max}")
    return ", ".join(parts) or "nothing named"


def _word_text(piece: Piece) -> str:
    order = ("alkyl", "halo", "alkoxy", "haloalkyl", "hydroxy", "acyl", "nitro", "benzyl", "phenyl")
    for word in order:
        if word in piece.words:
            return word
    return next(iter(piece.words), "other group")
