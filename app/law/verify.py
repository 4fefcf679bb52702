"""Proving the shipped law: what is in it, how sure its texts are, and that the examples of every rule still hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

from chem.engine import Engine
from chem.values import InstrumentInfo, Structure, StructureFormat, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentCheck:
    """Counts of an instrument, and every example that does not hold, as sentences."""

    instrument: str
    entries: int
    entries_with_structure: int
    rules: int
    text_status: dict[str, int]
    examples: int
    not_coded: tuple[str, ...]
    failures: tuple[str, ...]


def verify(engine: Engine, as_of: date) -> tuple[InstrumentCheck, ...]:
    """Every instrument with its hits and near misses run against the engine.

    A hit must be in or undecided; a near miss must be out.
    """
    return tuple(_verify_one(engine, info, as_of) for info in engine.instruments())


def _verify_one(engine: Engine, info: InstrumentInfo, as_of: date) -> InstrumentCheck:
    failures = []
    examples = 0
    for rule in info.rules:
        day = min(as_of, rule.until) if rule.until else as_of
        for wanted, texts in ((True, rule.hits), (False, rule.near_misses)):
            for text in texts:
                examples += 1
                structure = Structure(format=StructureFormat.SMILES, text=text)
                trials = engine.try_rule(rule.id, structure, day)
                met = any(trial.verdict is not Verdict.OUT for trial in trials)
                if met is not wanted:
                    kind = "hit" if wanted else "near miss"
                    failures.append(f"{rule.id}: {text} stands as a {kind}, but the rule is {'met' if met else 'not met'}")
    states = Counter(info.entries_by_text_status)
    states.update(Counter(rule.text_status.value for rule in info.rules))
    return InstrumentCheck(
        instrument=info.id,
        entries=info.entries,
        entries_with_structure=info.entries_with_structure,
        rules=len(info.rules),
        text_status=dict(states),
        examples=examples,
        not_coded=info.not_coded,
        failures=tuple(failures),
    )
