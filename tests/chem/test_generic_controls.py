"""The worked cases of scope clauses and class rules: each gets the verdict that its row expects."""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from chem.engine import Engine
from chem.values import Assessment, Match, RuleInfo, Structure, StructureFormat, Verdict

CASES = Path(__file__).parent / "cases" / "generic_controls_examples.csv"

# Label of a row (its beginning) to the instrument and the rules (their beginning) that it asks about. For
# the conventions the question is whether the clause or the listing itself reaches the substance.
RULES = {
    ("US", "21 USC 812(c) Sch I(e)"): ("US-CSA", ("us-csa/fentanyl-related",)),
    ("US", "21 CFR 1300.01(b)"): ("US-CSA", ("us-csa/positional-isomer",)),
    ("US", "21 USC 812(c) Sch I(d)"): ("US-CSA", ("us-csa/cannabimimetic/",)),
    ("CN", "2019 announcement"): ("CN-NPS", ("cn-nps/fentanyl-class",)),
    ("UK", "MDA 1971 Sch 2 Pt II 1(aa)"): ("UK-MDA", ("uk-mda/2.2/1aa",)),
    ("UK", "MDA 1971 Sch 2 Pt II 1(ab)"): ("UK-MDA", ("uk-mda/2.2/1ab",)),
    ("UK", "MDA 1971 Sch 2 Pt II 1(c)"): ("UK-MDA", ("uk-mda/2.2/1c",)),
    ("UK", "MDA 1971 Sch 2 Pt I 1(c)"): ("UK-MDA", ("uk-mda/2.1/1c",)),
    ("UK", "MDA 1971 Sch 2 Pt I 1(ea)"): ("UK-MDA", ("uk-mda/2.1/1ea",)),
    ("UK", "MDA 1971 Sch 2 Pt I 1(d)"): ("UK-MDA", ("uk-mda/2.1/1d",)),
    ("UK", "MDA 1971 Sch 2 Pt I 1(b)"): ("UK-MDA", ("uk-mda/2.1/1b",)),
    ("UK", "MDA 1971 Sch 2 Pt III"): ("UK-MDA", ("uk-mda/2.3/piperazines",)),
    ("DE", "NpSG Anlage 1 Nr 7"): ("DE-NPSG", ("de-npsg/7",)),
    ("DE", "NpSG Anlage 1 Nr 1"): ("DE-NPSG", ("de-npsg/1",)),
    ("DE", "NpSG Anlage 1 Nr 2.1"): ("DE-NPSG", ("de-npsg/2.1",)),
    ("DE", "NpSG Anlage 1 Nr 5.1"): ("DE-NPSG", ("de-npsg/5.1",)),
    ("UN", "1961 Schedule I - esters"): ("UN-1961", ("un-1961/esters", "un-1961/ecgonine-derivatives")),
    ("UN", "1961 Schedule I - ethers"): ("UN-1961", ("un-1961/ethers",)),
    ("UN", "1961 Schedule I - salts"): ("UN-1961", ("un-1961/listed",)),
    ("UN", "1971 Schedule I - stereoisomers"): ("UN-1971", ("un-1971/listed", "un-1971/stereoisomers")),
    ("UN", "1971 - no ester/ether clause"): ("UN-1971", ("un-1971/",)),
    ("UN", "1988 Tables - salts"): ("UN-1988", ("un-1988/listed",)),
}


def rows() -> list[dict[str, str]]:
    with CASES.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def asked(row: dict[str, str]) -> tuple[str, tuple[str, ...]]:
    fitting = [key for key in RULES if key[0] == row["regime"] and row["rule"].startswith(key[1])]
    return RULES[max(fitting, key=lambda key: len(key[1]))]


@pytest.mark.parametrize("row", rows(), ids=lambda r: f"{r['regime']} {r['rule'][:30]} {r['substance']}")
def test_a_worked_case(screen: Callable[..., Assessment], row: dict[str, str]) -> None:
    instrument, rules = asked(row)
    found: list[Match] = [
        m
        for m in screen(row["smiles"], instruments=(instrument,)).matches
        if m.instrument == instrument and m.rule.startswith(rules)
    ]
    if "structural" not in row["rule"] or "structural match but excepted" in row["rule"]:
        found = [m for m in found if m.captured]
    if "1961 Schedule I" in row["rule"]:
        found = [m for m in found if m.schedule == "I"]
    assert bool(found) == (row["expected"] == "in"), f"{row['why']}: {[m.explanation for m in found]}"


def all_rules() -> list[RuleInfo]:
    return list(Engine.load().rules())


EXAMPLES = [(rule, smiles, True) for rule in all_rules() for smiles in rule.hits] + [
    (rule, smiles, False) for rule in all_rules() for smiles in rule.near_misses
]


@pytest.mark.parametrize(("rule", "smiles", "hit"), EXAMPLES, ids=lambda v: getattr(v, "id", str(v)))
def test_every_rule_has_its_hits_and_near_misses(engine: Engine, rule: RuleInfo, smiles: str, hit: bool) -> None:
    day = rule.effective_from or date(2026, 11, 24)
    (trial,) = engine.try_rule(rule.id, Structure(format=StructureFormat.SMILES, text=smiles), day)
    assert (trial.verdict is not Verdict.OUT) is hit, trial.failed
    assert bool(trial.failed) is not hit
