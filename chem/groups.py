"""Chemical group and effect group proposed by structure, with the rule that proposes; an analyst confirms."""

from __future__ import annotations

from dataclasses import dataclass

from rdkit.Chem.rdchem import Mol

from chem.catalog import DATA, check_keys, query_of, read_toml, text_of
from chem.errors import DataError
from chem.values import ProposedGroup

CHEMICAL_GROUPS = (
    "aminoindane",
    "phencyclidine_type",
    "phenethylamine",
    "piperazine",
    "plant_based",
    "synthetic_cannabinoid",
    "semi_synthetic_cannabinoid",
    "synthetic_cathinone",
    "tryptamine",
    "benzodiazepine_type",
    "fentanyl_analogue",
    "nitazene",
    "other_opioid",
    "other",
)
EFFECT_GROUPS = (
    "stimulant",
    "synthetic_cannabinoid",
    "classic_hallucinogen",
    "opioid",
    "dissociative",
    "sedative_hypnotic",
    "other",
    "unassigned",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupRule:
    """One proposal: every pattern of `every` must be there, none of `none`."""

    proposal: ProposedGroup
    every: tuple[Mol, ...]
    none: tuple[Mol, ...]
    hit: str
    near_miss: str

    def fits(self, mol: Mol) -> bool:
        """True where the structure meets the definition."""
        return all(mol.HasSubstructMatch(q) for q in self.every) and not any(mol.HasSubstructMatch(q) for q in self.none)


def load_groups() -> tuple[GroupRule, ...]:
    """The shipped proposals, in order of preference. Raises: DataError."""
    file = "groups.toml"
    table = read_toml(DATA / file)
    check_keys(file, 0, table, ("group",))
    rules = []
    seen: set[str] = set()
    for item in table["group"]:
        where = str(item.get("id", "group without id"))
        check_keys(
            file,
            where,
            item,
            ("id", "chemical_group", "effect_group", "all", "none", "reason", "source", "hit", "near_miss"),
        )
        if where in seen:
            raise DataError(file, where, "the id is used twice")
        seen.add(where)
        if item["chemical_group"] not in CHEMICAL_GROUPS or item["effect_group"] not in EFFECT_GROUPS:
            raise DataError(file, where, "unknown group")
        text_of(file, where, item, "source")
        rules.append(
            GroupRule(
                proposal=ProposedGroup(
                    chemical_group=item["chemical_group"],
                    effect_group=item["effect_group"],
                    rule=where,
                    reason=text_of(file, where, item, "reason"),
                ),
                every=tuple(query_of(file, where, smarts) for smarts in item["all"]),
                none=tuple(query_of(file, where, smarts) for smarts in item["none"]),
                hit=text_of(file, where, item, "hit"),
                near_miss=text_of(file, where, item, "near_miss"),
            )
        )
    return tuple(rules)


def groups_of(rules: tuple[GroupRule, ...], mol: Mol) -> tuple[ProposedGroup, ...]:
    """Proposals for a structure, best first; several definitions of one group give it once."""
    found: dict[tuple[str, str], ProposedGroup] = {}
    for rule in rules:
        key = (rule.proposal.chemical_group, rule.proposal.effect_group)
        if key not in found and rule.fits(mol):
            found[key] = rule.proposal
    return tuple(found.values())
