"""The single gate from text to molecule: the only module that calls RDKit's MolFrom… readers.

Public signatures elsewhere carry text; a bare molecule never leaves this package's private modules. Limits
are those that keep every later step below 0.2 s, because RDKit holds the interpreter lock and cannot be
interrupted from inside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rdkit import Chem, RDLogger
from rdkit.Chem import rdMolEnumerator
from rdkit.Chem.rdchem import Mol

from chem.errors import StructureError, StructureProblem
from chem.inputs import TidyText, looks_like_name, smiles_fault, tidy, unreadable
from chem.values import Remark, Structure, StructureFormat

RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # a log line would carry the structure

MAX_HEAVY_ATOMS = 250
MAX_FRAGMENTS = 24
MAX_RINGS = 60
MAX_ATTACHMENT_POSITIONS = 32
BORON_CLUSTER = 4  # so many boron atoms are remarked on like a metal

_POLYMER_BRACKETS = frozenset({"SRU", "MON", "MER", "COP", "CRO", "MOD", "GRA", "COM", "MIX", "FOR", "ANY"})
_PLAIN_BONDS = frozenset(
    {
        Chem.BondType.SINGLE,
        Chem.BondType.DOUBLE,
        Chem.BondType.TRIPLE,
        Chem.BondType.QUADRUPLE,
        Chem.BondType.AROMATIC,
        Chem.BondType.DATIVE,
    }
)
_SALT_METALS = frozenset({3, 11, 19, 37, 55, 12, 20, 38, 56})  # as cations they need no remark
_NON_METALS = frozenset({0, 1, 2, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32, 33, 34, 35, 36, 52, 53, 54, 85, 86})

# RDKit's stubs promise a molecule where the library returns None.
_from_smiles: Callable[..., Mol | None] = Chem.MolFromSmiles
_from_inchi: Callable[..., Mol | None] = Chem.MolFromInchi
_from_molblock: Callable[..., Mol | None] = Chem.MolFromMolBlock
_from_smarts: Callable[..., Mol | None] = Chem.MolFromSmarts
_to_inchi: Callable[[Mol], str] = Chem.MolToInchi
key_of_inchi: Callable[[str], str] = Chem.InchiToInchiKey


def _smiles_params(*, sanitize: bool = True) -> Any:
    params: Any = Chem.SmilesParserParams()
    params.strictCXSMILES = True
    params.removeHs = True
    params.sanitize = sanitize
    return params


_ISOTOPE = re.compile(r"\[\d")
_BARE = re.compile(r"\[\d*(?!nH\]|H\])[A-Za-z]{1,2}(?:H\d?)?\]")  # no charge and no stereo: may be a radical
# A bracket atom that needs no look at the molecule: a common element, with hydrogens, charge or stereo, no map number.
_KNOWN_BRACKET = re.compile(r"\[\d*(?:Cl|Br|Si|[CNOSPHFI]|[cnosp])@{0,2}(?:H\d?)?[+-]{0,2}\d?\]")
_PARAMS = _smiles_params()
_RAW_PARAMS = _smiles_params(sanitize=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What the text shows that a molecule may hold, so that later steps need not look for what cannot be
    there.
    """

    isotopes: bool = True
    radicals: bool = True
    axial: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A molecule that passed the gate. `inchi` is the text of a standard InChI where that was the input,
    else None.

    `variable` says that an attachment point is not determined: `candidates` enumerates what it may be.
    `from_inchi` says that mobile hydrogens stand where RDKit chose to put them.
    """

    mol: Mol
    remarks: tuple[Remark, ...]
    inchi: str | None
    variable: bool
    from_inchi: bool
    marks: Marks


def is_metal(atomic_number: int) -> bool:
    """True for the elements that the normalisation treats as metals (boron clusters are handled apart)."""
    return atomic_number not in _NON_METALS


def parse(structure: Structure) -> Parsed:
    """The molecule of a reported structure.

    Raises: StructureError (unreadable, empty, too-large, undefined).
    """
    tidied = tidy(structure)
    remarks = list(tidied.remarks)
    mol = _read(tidied)
    _check_cx_groups(tidied, mol, remarks)
    variable = _gate(mol, remarks, _is_plain(tidied))
    if "@" in tidied.text and tidied.format is StructureFormat.SMILES:
        _warn_lost_chirality(mol, remarks)
    standard = tidied.format is StructureFormat.INCHI and tidied.text.startswith("InChI=1S/")
    return Parsed(
        mol=mol,
        remarks=tuple(remarks),
        inchi=tidied.text if standard else None,
        variable=variable,
        from_inchi=tidied.format is StructureFormat.INCHI,
        marks=_marks(tidied),
    )


def _is_plain(tidied: TidyText) -> bool:
    """True for a SMILES whose text shows that it holds no map number, radical, metal, place-holder or query."""
    if tidied.format is not StructureFormat.SMILES or tidied.cx:
        return False
    text = tidied.text
    if "[" in text:
        if _BARE.search(text):
            return False
        text = _KNOWN_BRACKET.sub("", text)
    return not set(text) & set("[*~") and text.count("B") - text.count("Br") < BORON_CLUSTER


def _marks(tidied: TidyText) -> Marks:
    if tidied.format is not StructureFormat.SMILES:
        return Marks(axial=tidied.format is StructureFormat.MOLFILE)
    return Marks(
        isotopes=_ISOTOPE.search(tidied.text) is not None,
        radicals=_BARE.search(tidied.text) is not None,
        axial=bool(tidied.cx),
    )


def _read(tidied: TidyText) -> Mol:
    if tidied.format is StructureFormat.SMILES:
        mol = _from_smiles(f"{tidied.text} {tidied.cx}".strip(), _PARAMS)
        if mol is None:
            raise _why_smiles_failed(tidied)
        return mol
    if tidied.format is StructureFormat.INCHI:
        mol = _from_inchi(tidied.text, sanitize=True, removeHs=True)
        if mol is None:
            raise unreadable("InChI: its layers contradict each other or are not complete")
        # A text cut off inside its layers still reads; the molecule then says another InChI, longer or
        # shorter.
        again = inchi_of(mol)
        if tidied.text.startswith("InChI=1S/") and again.split("/")[1:3] != tidied.text.split("/")[1:3]:
            raise unreadable("InChI: its layers contradict each other or are not complete")
        return mol
    mol = _from_molblock(tidied.text, sanitize=True, removeHs=True, strictParsing=True)
    if mol is None:
        raw = _from_molblock(tidied.text, sanitize=False, removeHs=False, strictParsing=True)
        raise unreadable(f"molfile: {_problems(raw)}" if raw is not None else "molfile: its lines break the format")
    return mol


def _why_smiles_failed(tidied: TidyText) -> StructureError:
    raw = _from_smiles(tidied.text, _RAW_PARAMS)
    if raw is not None:
        reason = _problems(raw)
        if reason:
            return unreadable(f"SMILES: {reason}")
        return unreadable("SMILES: the CXSMILES tail |…| could not be read")
    if looks_like_name(tidied.text):
        return unreadable("SMILES: this looks like a name; give it in the field name")
    return unreadable(f"SMILES: {smiles_fault(tidied.text) or 'the text breaks the grammar of SMILES'}")


def _problems(raw: Mol) -> str:
    found = Chem.DetectChemistryProblems(raw)
    return "; ".join(problem.Message() for problem in found[:3])


def _check_cx_groups(tidied: TidyText, mol: Mol, remarks: list[Remark]) -> None:
    if tidied.cx and any(mark in tidied.cx for mark in ("&", "o1:", "o2:")) and not mol.GetStereoGroups():
        remarks.append(
            Remark(
                code="stereo-group-lost",
                detail="The CXSMILES tail names a stereo group at an atom that is no drawn stereocentre.",
            )
        )


def _gate(mol: Mol, remarks: list[Remark], plain: bool) -> bool:
    """Applies the limits of the protocol; adds remarks; True where an attachment point is variable."""
    if mol.GetNumAtoms() == 0:
        raise StructureError(StructureProblem.EMPTY, "the structure has no atoms")
    if mol.GetNumHeavyAtoms() > MAX_HEAVY_ATOMS:
        raise StructureError(
            StructureProblem.TOO_LARGE,
            f"{mol.GetNumHeavyAtoms()} heavy atoms, at most {MAX_HEAVY_ATOMS} are read",
        )
    fragments = len(Chem.GetMolFrags(mol))
    if fragments > MAX_FRAGMENTS:
        raise StructureError(StructureProblem.TOO_LARGE, f"{fragments} fragments, at most {MAX_FRAGMENTS} are read")
    rings = mol.GetRingInfo().NumRings()
    if rings > MAX_RINGS:
        raise StructureError(StructureProblem.TOO_LARGE, f"{rings} rings, at most {MAX_RINGS} are read")
    if plain:
        return False
    variable = _variable_positions(mol)
    _refuse_undefined(mol, variable > 0)
    _remark_on_atoms(mol, remarks)
    return variable > 0


def _variable_positions(mol: Mol) -> int:
    total = 0
    for bond in mol.GetBonds():
        if bond.HasProp("_MolFileBondEndPts"):
            total += len(bond.GetProp("_MolFileBondEndPts").strip("()").split()) - 1
    if total > MAX_ATTACHMENT_POSITIONS:
        raise StructureError(
            StructureProblem.UNDEFINED,
            f"{total} attachment positions, at most {MAX_ATTACHMENT_POSITIONS} are enumerated",
        )
    return total


def _refuse_undefined(mol: Mol, variable: bool) -> None:
    def undefined(what: str) -> StructureError:
        return StructureError(StructureProblem.UNDEFINED, what)

    if mol.HasProp("_molLinkNodes"):
        raise undefined("a link node (a part repeated an open number of times)")
    for bracket in Chem.GetMolSubstanceGroups(mol):
        kind = bracket.GetProp("TYPE") if bracket.HasProp("TYPE") else ""
        if kind in _POLYMER_BRACKETS:
            raise undefined(f"a polymer bracket ({kind})")
    for atom in mol.GetAtoms():
        if atom.GetAtomicNum() == 0:
            ends_variable_bond = variable and any(b.HasProp("_MolFileBondEndPts") for b in atom.GetBonds())
            if not ends_variable_bond:
                raise undefined(f"atom {atom.GetIdx() + 1} is a place-holder or R group, no element")
        elif atom.HasQuery() or atom.HasProp("_MolFileRLabel"):
            raise undefined(f"atom {atom.GetIdx() + 1} is a query or an R group, no element")
    for bond in mol.GetBonds():
        if bond.HasQuery() or bond.GetBondType() not in _PLAIN_BONDS:
            raise undefined(f"the bond between atoms {bond.GetBeginAtomIdx() + 1} and {bond.GetEndAtomIdx() + 1} is a query")


def _remark_on_atoms(mol: Mol, remarks: list[Remark]) -> None:
    mapped = radical = metal = False
    borons = 0
    for atom in mol.GetAtoms():
        if atom.GetAtomMapNum():
            atom.SetAtomMapNum(0)
            mapped = True
        number = atom.GetAtomicNum()
        if number == 5:
            borons += 1
        if is_metal(number):
            metal = metal or number not in _SALT_METALS or atom.GetDegree() > 0
        elif atom.GetNumRadicalElectrons():
            radical = True
    if mapped:
        remarks.append(Remark(code="atom-maps-cleared", detail="Atom map numbers were taken off."))
    if radical:
        remarks.append(
            Remark(
                code="radical",
                detail="An atom has unpaired electrons; brackets such as [C] usually mean forgotten hydrogens.",
            )
        )
    if metal or borons >= BORON_CLUSTER:
        remarks.append(Remark(code="metal", detail="The structure holds a metal or a boron cluster."))


def _warn_lost_chirality(mol: Mol, remarks: list[Remark]) -> None:
    if not any(a.GetChiralTag() != Chem.ChiralType.CHI_UNSPECIFIED for a in mol.GetAtoms()):
        remarks.append(
            Remark(
                code="stereo-not-used",
                detail="The text marks a stereocentre where none is possible (or an allene); the mark was dropped.",
            )
        )


def candidates(parsed: Parsed) -> tuple[str, ...]:
    """What a structure with a variable attachment point may be, as SMILES without repeats; else an empty
    tuple.

    Raises: StructureError (undefined), where no position gives a possible molecule.
    """
    if not parsed.variable:
        return ()
    found: dict[str, str] = {}
    for mol in rdMolEnumerator.Enumerate(parsed.mol):
        smiles = Chem.MolToSmiles(mol)
        again = _from_smiles(smiles)
        if again is None or any(a.GetAtomicNum() == 0 for a in again.GetAtoms()):
            continue
        found.setdefault(inchikey_of(again), Chem.MolToSmiles(again))
    if not found:
        raise StructureError(StructureProblem.UNDEFINED, "no position of the variable attachment gives a possible molecule")
    return tuple(found.values())


def read_smiles(smiles: str) -> Mol | None:
    """The molecule of a SMILES or CXSMILES that this package wrote or ships; None where it cannot be read."""
    return _from_smiles(smiles, _PARAMS)


def read_smarts(smarts: str) -> Mol | None:
    """The query of a SMARTS that this package ships; None where it does not compile."""
    return _from_smarts(smarts)


def inchi_of(mol: Mol) -> str:
    """Standard InChI of a molecule, empty where none can be made."""
    try:
        return _to_inchi(mol)
    except (Chem.KekulizeException, Chem.AtomKekulizeException, Chem.AtomValenceException):
        return ""


def inchikey_of(mol: Mol) -> str:
    """Standard InChIKey of a molecule, empty where none can be made."""
    inchi = inchi_of(mol)
    return key_of_inchi(inchi) if inchi else ""


def round_trip(mol: Mol) -> Mol | None:
    """The molecule written as SMILES and read again, or None where RDKit cannot read its own text."""
    return _from_smiles(Chem.MolToCXSmiles(mol) if mol.GetStereoGroups() else Chem.MolToSmiles(mol), _PARAMS)
