"""A class rule drawn and put into words: its core with the places R1, R2 ... and one numbered condition a place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rdkit import Chem
from rdkit.Chem.rdchem import Mol

from chem.depiction import draw_svg
from chem.parsing import read_smiles
from chem.rules import Bridge, Core, Position, Residue, Rule, Word
from chem.values import Condition

MOST_CORES = 4
_PLURAL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """A rule for readers: `cores` are SVG elements, `conditions` in the order in which they are numbered."""

    cores: tuple[str, ...]
    conditions: tuple[Condition, ...]


def sketch(rule: Rule) -> Sketch:
    """The drawing and the conditions of one dated text."""
    labels = {position.name: f"R{n}" for n, position in enumerate(rule.positions, 1)}
    drawn: dict[str, str] = {}
    for core in rule.cores:
        mol = _core_in_an_example(rule, core, labels)
        if mol is not None:
            drawn.setdefault(Chem.MolToSmiles(mol), draw_svg(mol, width=360, height=260))
    return Sketch(cores=tuple(drawn.values())[:MOST_CORES], conditions=tuple(_conditions(rule, labels, len(drawn))))


def _core_in_an_example(rule: Rule, core: Core, labels: dict[str, str]) -> Mol | None:
    """The atoms of the core as they stand in the first example that holds it, with their places marked; None where none does."""
    for smiles in (*rule.hits, *rule.near_misses):
        mol = read_smiles(smiles)
        match = mol.GetSubstructMatch(core.query) if mol is not None else ()
        if mol is None or not match:
            continue
        try:
            return _cut_out(mol, match, core, rule, labels)
        except (Chem.KekulizeException, Chem.AtomValenceException):
            continue
    return None


def _cut_out(mol: Mol, match: tuple[int, ...], core: Core, rule: Rule, labels: dict[str, str]) -> Mol:
    plain = Chem.RWMol(mol)
    Chem.Kekulize(plain, clearAromaticFlags=True)
    kept = Chem.RWMol()
    place: dict[int, int] = {}
    for index in match:
        source = plain.GetAtomWithIdx(index)
        atom = Chem.Atom(source.GetAtomicNum())
        atom.SetFormalCharge(source.GetFormalCharge())
        place[index] = kept.AddAtom(atom)
    for bond in plain.GetBonds():
        begin, end = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        if begin in place and end in place:
            kept.AddBond(place[begin], place[end], bond.GetBondType())
    for position in rule.positions:
        hangs = [place[match[n]] for n, number in enumerate(core.maps) if number in position.maps]
        for atom_index in hangs:
            if len(hangs) <= _PLURAL:
                dummy = Chem.Atom(0)
                dummy.SetProp("atomLabel", labels[position.name])
                kept.AddBond(atom_index, kept.AddAtom(dummy), Chem.BondType.SINGLE)
            else:  # a ring of many places: a note at each, or the drawing is all labels
                kept.GetAtomWithIdx(atom_index).SetProp("atomNote", labels[position.name])
    return kept.GetMol()


def _conditions(rule: Rule, labels: dict[str, str], drawn: int) -> Iterable[Condition]:
    cores = len(rule.cores)
    held = f"one of {cores} cores" if cores > 1 else "the core"
    shown = "" if not drawn else " drawn here" if cores == 1 else f"; drawn here: {min(drawn, MOST_CORES)}"
    yield Condition(label="Core", name="core", text=f"The structure holds {held}{shown}.")
    for position in rule.positions:
        yield Condition(label=labels[position.name], name=position.name, text=_position_text(position))
    for bridge in rule.bridges:
        yield Condition(label="Bridge", name="bridge", text=_bridge_text(bridge, labels))
    if rule.reading == "closed":
        yield Condition(
            label="Rest", name="rest", text="Nothing else hangs on the core: every atom must be allowed at its place."
        )
    whole = []
    if rule.elements is not None:
        symbols = ", ".join(Chem.GetPeriodicTable().GetElementSymbol(number) for number in sorted(rule.elements))
        whole.append(f"only the elements {symbols}")
    if rule.mass_max is not None:
        whole.append(f"a molecular mass of at most {rule.mass_max:g} u")
    if rule.not_with:
        whole.append("none of the groups that the text leaves out")
    if whole:
        yield Condition(label="Whole", name="whole molecule", text=f"The whole molecule has {' and '.join(whole)}.")
    if rule.parents:
        yield Condition(label="Parent", name="parent", text="The parent itself is not caught: something must differ from it.")
    for exclusion in rule.exclude:
        yield Condition(label="Except", name="exclusion", text=f"{exclusion.name} is left out: {exclusion.why}.")
    if rule.named_elsewhere:
        text = "A substance that the instrument names elsewhere does not count under this rule."
        yield Condition(label="Except", name="named elsewhere", text=text)
    if rule.forced is not None:
        text = "Structure alone does not decide: the text also asks for an effect or for what this data does not hold."
        yield Condition(label="Also", name="beyond structure", text=text)


def _words(found: Iterable[Word]) -> str:
    return ", ".join(str(word).replace("_", " ").rstrip("*") for word in found)


def _position_text(position: Position) -> str:
    where = position.name.replace("-", " ")
    if position.open:
        return f"At {where}: anything."
    parts = []
    if position.need:
        join = "each of" if (position.most or 0) > 1 and len(position.need) > 1 else "one of"
        parts.append(f"needs {join + ': ' if len(position.need) > 1 else ''}{_words(position.need)}")
    if position.allow:
        parts.append(f"may carry {_words(position.allow)}")
    if position.templates:
        parts.append(f"may be {', '.join(template.name.replace('_', ' ') for template in position.templates)}")
    if position.residue is not None:
        parts.append(_residue_text(position.residue))
    if position.substituents:
        parts.append(f"these may carry {_words(position.substituents)}")
    if position.then_any_univalent:
        parts.append("and then any further group with one bond")
    if position.undecided:
        parts.append(f"left open by the text: {_words(position.undecided)}")
    if position.least:
        parts.append(f"at least {position.least}")
    if position.most is not None:
        parts.append(f"at most {position.most} {'group' if position.most == 1 else 'groups'}")
    return f"At {where}: {'; '.join(parts) or 'hydrogen only'}."


def _residue_text(residue: Residue) -> str:
    symbols = ", ".join(Chem.GetPeriodicTable().GetElementSymbol(number) for number in sorted(residue.elements))
    text = f"a group of {symbols} with a chain of {residue.chain_min} to {residue.chain_max} atoms"
    if residue.mass_max is not None:
        text += f" and at most {residue.mass_max:g} u"
    if residue.ring_sizes is not None:
        text += f", rings of {residue.ring_sizes[0]} to {residue.ring_sizes[1]} atoms"
    return text


def _bridge_text(bridge: Bridge, labels: dict[str, str]) -> str:
    ends = " and ".join(sorted(labels[name] for name in bridge.groups))
    if not bridge.allow and bridge.undecided:
        return f"A bridge between atoms of {ends} is left open by the text: {_words(bridge.undecided)}."
    parts = [_words(bridge.allow)] if bridge.allow else []
    if bridge.undecided:
        parts.append(f"left open by the text: {_words(bridge.undecided)}")
    if bridge.ring_sizes:
        parts.append(f"rings of {bridge.ring_sizes[0]} to {bridge.ring_sizes[1]} atoms")
    return f"A bridge between atoms of {ends} may be {'; '.join(parts) or 'any'}."
