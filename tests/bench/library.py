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
# asked for when a bench wants more than the first ones give
MORE_CORES = (
    "O=C(c1ccc({a})cc1)N1CCN(CC(=O)N({n})C)CC1c1ccc({b})cc1",
    "CC(NC(=O)c1cc({a})nc({b})c1)C(=O)N({n})C",
    "c1cc({a})c2c(c1)oc1c({b})cc(CN({n})C)cc12",
    "O=C1NC(=O)C(CC)(c2ccc({a})c({b})c2)N1CCN({n})C",
    "Cn1c(=O)c2c(ncn2CCN({n})C)n(-c2ccc({a})c({b})c2)c1=O",
    "O=S(=O)(Nc1ccc({a})cc1)c1ccc({b})c(CN({n})C)c1",
    "c1ccc({a})c(c1)-c1noc(CCN({n})C)c1-c1ccc({b})cc1",
    "CC1(C)OC(c2ccc({a})cc2)C(CN({n})C)C1c1ccc({b})cc1",
    "O=C(Nc1ccc({a})c({b})c1)C1CCCN1C(=O)CN({n})C",
    "c1c({a})cc2c(c1)Sc1cc({b})ccc1N2CCCN({n})C",
    "c1c({a})cc2c(c1)CCc1cc({b})ccc1N2CCCN({n})C",
    "O=C(CCN({n})C)c1ccc({a})c2cccc({b})c12",
    "N#Cc1c(-c2ccc({a})cc2)cc(-c2ccc({b})cc2)nc1N({n})C",
    "c1cc({a})cnc1-c1csc(NC(=O)CN({n})C)c1-c1ccc({b})cc1",
    "OC(CN({n})C)c1cc({a})c(OCc2ccc({b})cc2)cc1",
    "O=C(OCCN({n})C)C(O)(c1ccc({a})cc1)c1ccc({b})cc1",
    "c1c({a})ccc(c1)C1(CCN({n})C)CCOc2c({b})cccc21",
    "O=c1[nH]c2cc({a})c({b})cc2n1C1CCN(CC(=O)N({n})C)CC1",
    "Cc1nn(-c2ccc({a})cc2)c(C)c1C(=O)N({n})Cc1ccc({b})cc1",
    "COc1cc({a})cc(C(=O)NCC2CCN(C(=O)CN({n})C)C2)c1Oc1ccc({b})cc1",
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
    """So many SMILES, all different by the canonical SMILES of what they are without counter-ion; the same ones each time.

    Raises ValueError where there are not that many.
    """
    found = list(islice(_distinct(), size))
    if len(found) < size:
        raise ValueError(f"the library has {len(found):,} structures, {size:,} were asked for")
    return found


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
    for cores in (CORES, MORE_CORES):
        for first, second, third, core in product(ON_RING, ON_NITROGEN, ON_RING, cores):
            yield core.format(
                a=first, b=third, n=second, n2=ON_RING[len(second) % len(ON_RING)],
                a0=ON_CARBON[len(third) % len(ON_CARBON)], b0=ON_NITROGEN[(len(first) + len(third)) % len(ON_NITROGEN)],
            )  # fmt: skip


def _dressed(smiles: str, number: int) -> str:
    if number % 7 == 0 and "N(C)" in smiles:
        smiles = smiles.replace("N(C)", "N([2H])" if number % 2 else "[NH+](C)", 1)
        return f"{smiles}.[Cl-]" if number % 2 == 0 else smiles
    return f"{smiles}.{SALTS[number % len(SALTS)]}" if number % 3 == 0 else smiles
