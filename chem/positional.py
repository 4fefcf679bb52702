"""Positional isomers of named substances: same formula, same core, same functional groups at other
positions.

Alkyl parts may be re-arranged, divided or combined within or between groups; no functional group may be
made or lost, so ethoxy is not alpha-hydroxyethyl, and hydroxy with methyl is not methoxy.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from rdkit.Chem import rdMolDescriptors
from rdkit.Chem.rdchem import Mol

from chem.catalog import DATA, check_keys, date_of, query_of, read_toml, text_of
from chem.errors import DataError
from chem.listed import Indexed
from chem.values import TextStatus

_FILE = "positional-isomers.toml"
_LABELS = {
    name: query_of("chem/positional.py", name, smarts)
    for name, smarts in {
        "phenolic hydroxy": "[OX2H]-[c,n]",
        "alcohol": "[OX2H]-[CX4]",
        "carboxylic acid": "[OX2H]-[CX3]=O",
        "aryl ether": "[OX2H0;!R](-[c,n])-[CX4]",
        "dialkyl ether": "[OX2H0;!R](-[CX4])-[CX4]",
        "ring oxygen": "[OX2;R]",
        "ester": "[OX2H0](-[#6])-[CX3]=O",
        "carbonyl": "[CX3]=[OX1]",
        "amide": "[NX3]-[CX3]=O",
        "amine": "[NX3;!$(N-C=[O,S,N]);!$(N-[#7,#8])]-[CX4]",
        "aromatic amine": "[NX3;!$(N-C=O)]-c",
        "hydroxylamine": "[NX3]-[OX2]",
        "indole NH": "[nH]",
        "indole N": "[nX3H0]",
        "aryl thioether": "[SX2](-c)-[CX4]",
        "thiol": "[SX2H]",
        "nitro": "[NX3+](=O)[O-]",
        "nitrile": "C#N",
        "alkene": "[CX3]=[CX3]",
        "alkyne": "C#C",
        "phosphate": "P(=O)",
        "aryl fluoride": "F-c",
        "aryl chloride": "Cl-c",
        "aryl bromide": "Br-c",
        "aryl iodide": "I-c",
        "alkyl halide": "[F,Cl,Br,I]-[CX4]",
    }.items()
}


@dataclass(frozen=True, slots=True, kw_only=True)
class IsomerRule:
    """The clause as data, with the reference substances by formula."""

    id: str
    instrument: str
    provision: str
    schedule: str
    text_status: TextStatus
    effective_from: date | None
    source: str
    notes: str
    cores: tuple[tuple[str, Mol], ...]
    references: dict[str, list[tuple[Indexed, str, tuple[int, ...]]]]
    hits: tuple[str, ...]
    near_misses: tuple[str, ...]


def functional_groups(mol: Mol) -> tuple[int, ...]:
    """How many of each functional group, amines of any degree pooled, and the number of rings."""
    counts = [len({m[0] for m in mol.GetSubstructMatches(query)}) for query in _LABELS.values()]
    return (*counts, mol.GetRingInfo().NumRings())


def load_isomer_rule(listed: Iterable[Indexed]) -> IsomerRule:
    """The clause with its references found among the listed entries. Raises: DataError."""
    table = read_toml(DATA / _FILE)
    check_keys(
        _FILE,
        0,
        table,
        (
            "instrument",
            "id",
            "provision",
            "schedule",
            "text_status",
            "effective_from",
            "source",
            "notes",
            "entries",
            "hits",
            "near_misses",
            "cores",
        ),
    )
    cores = tuple((str(c["name"]), query_of(_FILE, c["name"], c["smarts"])) for c in table["cores"])
    named = {i.entry.name: i for i in listed if i.entry.instrument == table["instrument"] and not i.alias}
    references: dict[str, list[tuple[Indexed, str, tuple[int, ...]]]] = {}
    for name in table["entries"]:
        if name not in named:
            raise DataError(_FILE, name, "no such entry in the instrument's list")
        indexed = named[name]
        core = next((c for c, query in cores if indexed.mol.HasSubstructMatch(query)), None)
        if core is None:
            raise DataError(_FILE, name, "has none of the cores")
        references.setdefault(indexed.formula, []).append((indexed, core, functional_groups(indexed.mol)))
    return IsomerRule(
        id=text_of(_FILE, 0, table, "id"),
        instrument=text_of(_FILE, 0, table, "instrument"),
        provision=text_of(_FILE, 0, table, "provision"),
        schedule=text_of(_FILE, 0, table, "schedule"),
        text_status=TextStatus(table["text_status"]),
        effective_from=date_of(_FILE, 0, table["effective_from"], "effective_from"),
        source=text_of(_FILE, 0, table, "source"),
        notes=text_of(_FILE, 0, table, "notes"),
        cores=cores,
        references=references,
        hits=tuple(table["hits"]),
        near_misses=tuple(table["near_misses"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class IsomerTrial:
    """What the clause says of one structure: the references it is an isomer of, or the condition that
    failed.
    """

    of: tuple[tuple[Indexed, str], ...]
    failed: str
    atoms: tuple[int, ...]


def try_isomer(rule: IsomerRule, mol: Mol, connectivity: str) -> IsomerTrial:
    """The references that a structure is a positional isomer of."""
    formula = rdMolDescriptors.CalcMolFormula(mol)
    references = rule.references.get(formula)
    if not references:
        return IsomerTrial(of=(), failed="no named hallucinogen has the same molecular formula", atoms=())
    groups = functional_groups(mol)
    failed = "the core structure differs"
    for name, query in rule.cores:
        match = mol.GetSubstructMatch(query)
        if not match:
            continue
        of = []
        for indexed, core, wanted in references:
            if core != name or indexed.connectivity == connectivity:
                continue
            if wanted == groups:
                of.append((indexed, name))
            else:
                failed = f"functional groups differ from those of {indexed.entry.name}"
        if of:
            return IsomerTrial(of=tuple(of), failed="", atoms=tuple(sorted(match)))
    return IsomerTrial(of=(), failed=failed, atoms=())
