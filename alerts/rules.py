"""Every rule without statistics, in order, and running them over a report. Pure: same facts, same signals, same order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alerts import patterns, triggers
from alerts.values import Background, ReportFacts, Signal

Rule = Callable[[ReportFacts, Background], Iterator[Signal]]


def _alone(rule: Callable[[ReportFacts], Iterator[Signal]]) -> Rule:
    """A rule that looks at nothing but the report."""
    return lambda facts, known: rule(facts)


RULES: tuple[Rule, ...] = (
    _alone(triggers.first_detections),
    _alone(triggers.serious_harm),
    patterns.misrepresentation,
    patterns.high_potency,
    patterns.new_form,
    patterns.new_route,
    patterns.isomer_sets,
    patterns.adulterant,
    patterns.re_emergence,
)


def signals_of(facts: ReportFacts, known: Background | None = None) -> tuple[Signal, ...]:
    """Every signal of this report, in the order of `RULES`, then of its detections. A quiet report raises nothing at once.

    Without `known` only the rules that need no background find anything.
    """
    if facts.quiet:
        return ()
    background = known or Background()
    return tuple(signal for rule in RULES for signal in rule(facts, background))
