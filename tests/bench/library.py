"""A library of distinct drug-like structures for measuring: cores of the classes that laws name and of ordinary medicines, with
substituents enumerated in a fixed order. Every third carries a counter-ion, every seventh is charged, labelled or stereo-drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product

from rdkit import Chem

# {a}, {b}: substituents on an aromatic carbon; {n}: what a nitrogen carries
CORES = (
    "c1cc({a})c({b})cc1CC(C)N({n})C",
    "c1c({a})cc({b})cc1C(=O)C(CC)N({n})C",
    "CCC(=O)N(c1ccc({a})c({b})c1)C1CCN(CC(C)c2ccc({n2})cc2)CC1",
    "O=[N+]([O-])c1ccc2c(c1)nc(Cc1ccc({a})c({b})c1)n2CCN({n})C",
    "c1c({a})ccc2c1c(CCN({n})C)c[nH]2",
    "CC(C)C(NC(=O)c1nn(CCC({b})C)c2ccc({a})cc12)C(=O)N({n})C",
    "O=C(c1cccc2ccc({a})cc12)c1cn(CCCCC({b})C)c2ccc({n2})cc12",
    "CN1C(=O)CN=C(c2ccc({b})cc2)c2cc({a})cc({n2})c12",
    "COC(=O)C1C(OC(=O)c2ccc({a})c({b})c2)CC2CCC1N2{n}",
    "O=C(OCC(O)CN({n})C(C)C)c1cc({a})cc(S(=O)(=O)N({b0})C)c1",
    "C[C@]12CC[C@H]3[C@@H](CCc4cc({a})c({b})cc43)[C@@H]1CC[C@@H]2OC(=O)CN({n})C",
    "CC(C)CC(NC(=O)C(Cc1ccc({a})cc1)NC(=O)C(CCSC)NC(=O)CN({n})C)C(=O)Nc1ccc({b})cc1",
    "COc1cc(CC2NCCc3cc({a})c({b})cc32)ccc1OCCN({n})C",
    "O=c1c(-c2ccc({a})c({b})c2)coc2cc(OCCN({n})C)ccc12",
    "Cc1c(C(=O)Nc2ccc({a})c({b})c2)sc2nc(N({n})C)ncc12",
    "C1CC({a0})CCC1(c1cc({a})cc({b})c1)N({n})C",
    "OC(c1ccc({a})cc1)(c1ccc({b})cc1)C1CCN(CCCC(=O)N({n})C)CC1",
    "CN(C)CCOC(c1ccc({a})cc1)c1cc({b})cc(N({n})C)n1",
    "O=C1CC(c2ccc({a})c({b})c2)CN1CC(=O)N({n})C",
    "COc1cc2c(cc1OCCCN({n})C)ncnc2Nc1ccc({a})c({b})c1",
)
ON_RING = (
    "[H]",
    "F",
    "Cl",
    "Br",
    "I",
    "C",
    "CC",
    "C(C)C",
    "OC",
    "OCC",
    "SC",
    "C(F)(F)F",
    "OC(F)(F)F",
    "C#N",
    "N(C)C",
    "O",
    "C(=O)OC",
    "c9ccccc9",
    "OCO",
    "CCC",
)
ON_CARBON = ("[H]", "F", "C", "CC", "OC", "O", "C#N", "c9ccccc9")
ON_NITROGEN = (
    "[H]", "C", "CC", "CCC", "C(C)C", "CC=C", "CC9CC9", "Cc9ccccc9", "CCO",
    "CCc9ccccc9", "C(=O)C", "C9CCCC9", "CC#C", "CCCC", "CCOC", "CCF", "CC(C)C",
)  # fmt: skip
SALTS = ("Cl", "OC(=O)C(O)=O", "OC(=O)/C=C/C(O)=O", "OS(O)(=O)=O", "OC(=O)C(O)C(O)C(O)=O", "CS(O)(=O)=O")


def structures(size: int) -> list[str]:
    """So many SMILES, all different by the canonical SMILES of what they are without counter-ion; the same ones each time."""
    return list(islice(_distinct(), size))


def _distinct() -> Iterator[str]:
    seen: set[str] = set()
    for smiles in _all():
        mol = Chem.MolFromSmiles(smiles)
        if mol is None:
            raise ValueError(f"a core or substituent is wrong: {smiles}")
        canonical = Chem.MolToSmiles(mol)
        if canonical not in seen:
            seen.add(canonical)
            yield _dressed(canonical, len(seen))


def _all() -> Iterator[str]:
    for first, second, third in product(ON_RING, ON_NITROGEN, ON_RING):
        for core in CORES:
            yield core.format(
                a=first, b=third, n=second, n2=ON_RING[len(second) % len(ON_RING)],
                a0=ON_CARBON[len(third) % len(ON_CARBON)], b0=ON_NITROGEN[(len(first) + len(third)) % len(ON_NITROGEN)],
            )  # fmt: skip


def _dressed(smiles: str, number: int) -> str:
    if number % 7 == 0 and "N(C)" in smiles:
        smiles = smiles.replace("N(C)", "N([2H])" if number % 2 else "[NH+](C)", 1)
        return f"{smiles}.[Cl-]" if number % 2 == 0 else smiles
    return f"{smiles}.{SALTS[number % len(SALTS)]}" if number % 3 == 0 else smiles
