"""Confidence follows what the laboratory did (domain guide, section 4.5)."""

from __future__ import annotations

from typing import Any

import pytest

from app.intake.confidence import derive, expand, swgdrug_met


@pytest.mark.parametrize(
    ("techniques", "met"),
    [
        (["gc-ms"], True),  # gc (B) and ms (A)
        (["ftir"], False),
        (["ftir", "test_strip"], True),
        (["ftir", "raman"], False),  # both measure vibration
        (["ms", "hrms", "msms"], False),  # one property
        (["gc", "lc", "colour_test"], True),  # three, of which two uncorrelated B
        (["gc", "colour_test", "immunoassay"], False),
        (["lc", "sfc", "colour_test"], False),  # correlated
        (["colour_test", "immunoassay", "test_strip"], False),
        (["nmr", "gc"], True),
        ([], False),
    ],
)
def test_minimum_scheme(techniques: list[str], met: bool) -> None:
    assert swgdrug_met(expand(techniques)) is met


def _derive(techniques: list[str], **given: Any) -> str:
    options: dict[str, Any] = {
        "schymanski_level": None, "reference_material": None, "isomers_excluded": None, "in_isomer_group": False,
    }  # fmt: skip
    return derive(techniques, **(options | given)).level


@pytest.mark.parametrize(
    ("techniques", "given", "level"),
    [
        (["gc-ms", "nmr"], {}, "confirmed"),
        (["gc-ms"], {"reference_material": "certified"}, "confirmed"),
        (["gc-ms"], {"reference_material": "library_only"}, "probable"),
        (["lc-hrms"], {"schymanski_level": "1"}, "confirmed"),
        (["hrms"], {"schymanski_level": "2a"}, "probable"),
        (["hrms"], {"schymanski_level": "3"}, "tentative"),
        (["hrms"], {"schymanski_level": "5"}, "tentative"),  # still a category A technique
        (["ftir"], {}, "tentative"),
        (["test_strip"], {}, "screening"),
        ([], {}, "screening"),
        # a named member of a known group of isomers
        (["gc-ms", "nmr"], {"in_isomer_group": True, "isomers_excluded": "yes"}, "confirmed"),
        (["gc-ms", "nmr"], {"in_isomer_group": True, "isomers_excluded": "no"}, "tentative"),
        (["gc-ms", "nmr"], {"in_isomer_group": True}, "probable"),
        (["gc-ms"], {"reference_material": "certified", "in_isomer_group": True, "isomers_excluded": "na"}, "confirmed"),
        # the same result as a set
        (["gc-ms"], {"in_isomer_group": True, "is_set": True, "isomers_excluded": "no"}, "probable"),
    ],
)
def test_confidence(techniques: list[str], given: dict[str, Any], level: str) -> None:
    assert _derive(techniques, **given) == level


def test_no_technique_is_warned_of() -> None:
    found = derive([], schymanski_level=None, reference_material=None, isomers_excluded=None, in_isomer_group=False)
    assert [code for code, _ in found.warnings] == ["no-technique"]
