"""The legal status in words, and what the law of single countries adds to it."""

from __future__ import annotations

from app.web import words
from chem.stored import status_with
from tests.factories import match

UN = match("UN-1961", "I", "nitazenes", basis="generic", certainty="possible", reason="text_uncertain")
UK = match("UK-MDA", "Class B", "cathinones", basis="generic")
DE = match("DE-NPSG", "Anlage 1", "cathinones", basis="generic", certainty="possible", reason="word_undefined")
NAMED = match("US-CSA", "I", "fentanyls", basis="generic", captured=False)


def test_no_match_in_the_conventions_says_where_it_is_controlled() -> None:
    assert words.verdict("not_controlled", [UK, DE, NAMED]) == (
        "No match in the UN conventions; controlled in United Kingdom; possibly controlled in Germany"
    )
    assert words.verdict("not_controlled", [NAMED]) == "No match in what is covered"


def test_what_is_possible_names_the_provision_that_is_possible() -> None:
    """Also where another law is certain, which comes first among the matches."""
    told = words.verdict("possibly_controlled", [UK, UN])
    assert told.startswith(
        "Possibly controlled: UN 1961 Schedule I, under the class rule for nitazenes; the wording of this rule"
    )
    assert told.endswith("; controlled in United Kingdom")


def test_what_the_conventions_control_needs_no_other_law() -> None:
    assert words.national("controlled", [match(), UK]) is None
    assert words.national("unresolved", []) is None


def test_an_instrument_of_no_known_country_stands_by_its_name() -> None:
    found = words.national_of(
        "not_controlled", {"XX-LAW": "controlled", "UN-1961": "controlled", "UK-MDA": "possibly_controlled"}
    )
    assert found == words.National(controlled=("XX-LAW",), possible=("GB",))


def test_the_status_in_a_country_is_the_graver_of_conventions_and_its_law() -> None:
    assert status_with("not_controlled", [UK, DE], ("UK-MDA",)) == "controlled"
    assert status_with("not_controlled", [UK, DE], ("DE-NPSG",)) == "possibly_controlled"
    assert status_with("possibly_controlled", [UN, UK], ()) == "possibly_controlled"
    assert status_with("not_controlled", [NAMED], ("US-CSA",)) == "not_controlled"
    assert status_with("controlled", [], ()) == "controlled"
    assert status_with("unresolved", [], ("UK-MDA",)) == "unresolved"
