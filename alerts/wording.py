"""Words that have no place in a public text (the desk's "do not" list). Pure.

A check by words cannot judge a text; it stops the slips that harm: doses, comparisons of strength, purity and price, advice on a
route, sellers, fear, and comfort.
"""

from __future__ import annotations

import re

_RULES: tuple[tuple[str, str], ...] = (
    ("a dose or an amount to take", r"\b\d+(?:[.,]\d+)?\s*(?:mg|µg|ug|mcg|micrograms?|milligrams?|grams?|ml|drops?|pills?)\b"),
    ("a dose or an amount to take", r"\b(?:lethal|recommended|safe|low|high|threshold|common)\s+dos(?:e|es|age)\b"),
    ("a comparison of strength", r"\b\d+(?:[.,]\d+)?\s*(?:times|x|fold)\s+(?:as\s+)?(?:stronger|more\s+potent|strong|potent)"),
    ("a comparison of strength", r"\b(?:stronger|more\s+potent)\s+than\b"),
    ("a purity", r"\b\d+(?:[.,]\d+)?\s*(?:%|per\s*cent|percent)\s*(?:pure|purity)|\bpurity\s+of\s+\d"),
    ("a price", r"(?:[$€£]\s?\d)|\b\d+(?:[.,]\d+)?\s*(?:euros?|dollars?|pounds|EUR|USD|GBP)\b"),
    ("advice on how to take it", r"\b(?:inject|snort|smoke|vape|swallow|sniff)\s+(?:it|them|this|only|instead|slowly)\b"),
    (
        "a seller or a place to buy",
        r"\b(?:buy|order|sold|available)\s+(?:from|at|on)\s+(?:https?:|www\.|\S+\.(?:com|net|onion))",
    ),
    ("words of fear", r"\b(?:killer\s+drugs?|zombie|epidemic|deadly\s+wave|poison\s+pills?|plague|junkies?|addicts?)\b"),
    ("words of comfort", r"\b(?:(?<!un)safe\s+to\s+(?:use|take)|harmless|is\s+safe|are\s+safe|no\s+risk)\b"),
    ("praise", r"\b(?:high[- ]quality|premium|popular\s+brand|euphoric\s+high)\b"),
    ("a legal finding", r"\b(?:is|are)\s+legal\b"),
)
_COMPILED = tuple((name, re.compile(pattern, re.IGNORECASE)) for name, pattern in _RULES)


def not_neutral(text: str) -> list[str]:
    """What in the text does not belong into a public one, each as "words (what they are)", in the order of the text."""
    found = [
        (match.start(), f'"{" ".join(match.group().split())}" ({name})')
        for name, pattern in _COMPILED
        for match in pattern.finditer(text)
    ]
    return [said for _, said in sorted(set(found))]
