"""Words that a public text leaves out, and texts that pass."""

from __future__ import annotations

import pytest

from alerts.wording import not_neutral


@pytest.mark.parametrize(
    "text",
    [
        "Tablets hold 30 mg of it.",
        "It is 50 times stronger than heroin.",
        "The powder was 80 % pure.",
        "A bag costs 20 euros.",
        "Do not inject it.",
        "Sold on darkmarket.onion.",
        "A killer drug is on the street.",
        "The epidemic goes on.",
        "Small amounts are safe.",
        "It is more potent than fentanyl.",
    ],
)
def test_what_has_no_place_in_a_public_text_is_named(text: str) -> None:
    assert not_neutral(text)


def test_a_neutral_text_passes() -> None:
    text = (
        "Tablets sold as oxycodone in Germany in November 2026 held a nitazene. How many there are is not known. After use and "
        "any sign of harm call the emergency number 112. The Federal Institute says so; the next update is on 1 December 2026."
    )
    assert not_neutral(text) == []
