"""The answers as a whole: candidates, order, dates, coverage, rules asked one by one, loading more law."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from chem.catalog import DATA
from chem.engine import Engine
from chem.errors import DataError, StructureError
from chem.values import Assessment, LegalStatus, Structure, StructureFormat, Verdict, to_json
from chem.verdicts import order_of

TODAY = date(2026, 11, 24)


def smiles(text: str) -> Structure:
    return Structure(format=StructureFormat.SMILES, text=text)


TWO_MMC, THREE_MMC, FOUR_MMC = (
    "CNC(C)C(=O)c1ccccc1C",
    "CNC(C)C(=O)c1cccc(C)c1",
    "CNC(C)C(=O)c1ccc(C)cc1",
)


def test_candidates_that_agree_are_controlled(engine: Engine) -> None:
    found = engine.assess_candidates([smiles(THREE_MMC), smiles(FOUR_MMC)], as_of=TODAY)
    assert found.identity is None
    assert found.legal_status is LegalStatus.CONTROLLED
    assert len(found.candidates) == 2
    assert {m.candidate for m in found.matches if m.instrument == "UN-1971"} == {0, 1}
    assert all(m.certainty.value == "possible" for m in found.matches if m.candidate is not None)


def test_candidates_that_differ_are_possibly_controlled(engine: Engine) -> None:
    found = engine.assess_candidates([smiles(TWO_MMC), smiles(FOUR_MMC)], as_of=TODAY)
    assert found.legal_status is LegalStatus.POSSIBLY_CONTROLLED
    (un,) = [m for m in found.matches if m.instrument == "UN-1971"]
    assert (un.entry, un.candidate, un.reason) == ("mephedrone", 1, "ambiguous_structure")


def test_candidates_that_none_reaches_are_not_controlled(engine: Engine) -> None:
    found = engine.assess_candidates([smiles(TWO_MMC), smiles("CC(N)Cc1ccccc1F")], as_of=TODAY)
    assert found.legal_status is LegalStatus.NOT_CONTROLLED


def test_equal_candidates_are_one_substance(engine: Engine) -> None:
    found = engine.assess_candidates([smiles(FOUR_MMC), smiles(FOUR_MMC + ".Cl")], as_of=TODAY)
    assert found.identity is not None
    assert found.candidates == ()


def test_an_open_position_is_a_set_of_candidates(engine: Engine) -> None:
    chosen = smiles("C*.CNC(C)C(=O)c1ccccc1 |m:1:8.9.10.11.12|")
    candidates = engine.candidates_of(chosen)
    assert len(candidates) == 3
    found = engine.assess(chosen, as_of=TODAY)
    assert found.identity is None
    assert found.legal_status is LegalStatus.POSSIBLY_CONTROLLED


def test_no_candidates_is_an_error(engine: Engine) -> None:
    with pytest.raises(StructureError):
        engine.assess_candidates([], as_of=TODAY)


def test_matches_come_in_the_order_of_the_contract(screen: Callable[..., Assessment]) -> None:
    for text in (
        "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1C",
        "CNC(C)C(=O)c1ccc(C)cc1",
        "CN(C)CCc1c[nH]c2cccc(O)c12",
    ):
        found = screen(text).matches
        assert list(found) == sorted(found, key=order_of)
        captured = [m.captured for m in found]
        assert captured == sorted(captured, reverse=True)
    schedules = [m.schedule for m in screen("CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1C").matches if m.instrument == "UN-1961"]
    assert schedules == ["IV", "I"]


def test_home_counts_for_the_status_and_other_countries_do_not(engine: Engine) -> None:
    plain = engine.assess(smiles(TWO_MMC), as_of=TODAY)
    british = engine.assess(smiles(TWO_MMC), as_of=TODAY, home=("UK-MDA",))
    assert plain.legal_status is LegalStatus.NOT_CONTROLLED
    assert plain.status_by_instrument["UK-MDA"] is LegalStatus.CONTROLLED
    assert british.legal_status is LegalStatus.CONTROLLED


@pytest.mark.parametrize(
    ("text", "rule", "day", "status"),
    [
        ("CNC(C)C(=O)c1cccc(C)c1", "uk-mda/2.2/1aa", date(2010, 4, 15), "not_controlled"),
        ("CNC(C)C(=O)c1cccc(C)c1", "uk-mda/2.2/1aa", date(2010, 4, 16), "controlled"),
        ("CC(N)Cc1c[nH]c2ccccc12", "uk-mda/2.1/1b", date(2015, 1, 6), "not_controlled"),
        ("CC(N)Cc1c[nH]c2ccccc12", "uk-mda/2.1/1b", date(2015, 1, 7), "possibly_controlled"),
    ],
)
def test_a_class_rule_binds_from_its_first_day(
    screen: Callable[..., Assessment], text: str, rule: str, day: date, status: str
) -> None:
    found = screen(text, day, instruments=("UK-MDA",))
    assert found.status_by_instrument["UK-MDA"] == status
    assert (rule in {m.rule for m in found.matches}) == (status != "not_controlled")


def test_a_missed_rule_says_which_condition_failed(engine: Engine) -> None:
    (trial,) = engine.try_rule("uk-mda/2.1/1c", smiles("CSc1ccc(CC(C)N)cc1"), TODAY)
    assert trial.verdict is Verdict.OUT
    assert "ring" in trial.failed
    (trial,) = engine.try_rule("uk-mda/2.1/1c", smiles("CNC(C)Cc1ccc2OCOc2c1"), TODAY)
    assert trial.verdict is Verdict.IN
    assert {line["position"] for line in trial.details} == {"ring", "alpha", "nitrogen"}
    with pytest.raises(KeyError):
        engine.try_rule("no/such-rule", smiles("C"), TODAY)


def test_a_class_match_accounts_for_every_heavy_atom(screen: Callable[..., Assessment]) -> None:
    assessment = screen("COCC(=O)N(c1ccccc1F)C1CCN(CCc2ccccc2)CC1")
    assert assessment.identity is not None
    (match,) = [m for m in assessment.matches if m.rule == "uk-mda/2.1/1d"]
    atoms = set(match.atoms) | {a for line in match.details for a in line["atoms"]}
    assert len(atoms) == assessment.identity.parent_smiles.count("C") + sum(
        assessment.identity.parent_smiles.count(letter) for letter in "cNOF"
    )


def test_a_named_substance_meets_the_class_and_is_not_captured(screen: Callable[..., Assessment]) -> None:
    (match,) = [m for m in screen("CCC(=O)N(c1ccccc1)C1(COC)CCN(CCc2cccs2)CC1").matches if m.rule.startswith("us-csa/f")]
    assert not match.captured
    assert match.captured_elsewhere is not None
    assert "Sufentanil" in match.captured_elsewhere


def test_everything_that_is_returned_is_plain_json(screen: Callable[..., Assessment]) -> None:
    record = to_json(screen("COCC(=O)N(c1ccccc1F)C1CCN(CCc2ccccc2)CC1.Cl"))
    assert record["identity"]["removed"] == ["Cl"]
    assert record["legal_status"] == "controlled"


def test_analogues_are_other_listed_substances_best_first(screen: Callable[..., Assessment]) -> None:
    found = screen("CC(=O)O[C@H]1C=C[C@H]2[C@H]3Cc4ccc(O)c5c4[C@@]2(CCN3C)[C@H]1O5").analogues
    assert [a.entry for a in found] == ["Heroin", "Morphine", "Nicomorphine"]
    assert found[0].similarity == pytest.approx(0.8)


def test_a_pickled_engine_gives_the_same_answers(engine: Engine) -> None:
    again = pickle.loads(pickle.dumps(engine))
    assert again.version == engine.version
    assert again.assess(smiles(FOUR_MMC), as_of=TODAY) == engine.assess(smiles(FOUR_MMC), as_of=TODAY)


def test_an_unknown_instrument_is_named(engine: Engine) -> None:
    with pytest.raises(KeyError, match="XX-1"):
        engine.assess(smiles("C"), as_of=TODAY, instruments=("XX-1",))


def test_instruments_list_what_they_hold(engine: Engine) -> None:
    by_id = {info.id: info for info in engine.instruments()}
    assert (by_id["UN-1961"].entries, by_id["UN-1961"].entries_with_structure) == (178, 165)
    assert sum(by_id["UN-1971"].entries_by_text_status.values()) == by_id["UN-1971"].entries == 182
    assert by_id["UK-MDA"].country == "GB"
    assert {rule.id for rule in by_id["CN-NPS"].rules} == {"cn-nps/fentanyl-class"}
    assert any("nitazene class" in line for line in by_id["CN-NPS"].not_coded)
    names = {entry.name for entry in engine.entries("UN-1961", as_of=date(1970, 1, 1))}
    assert "Opium" in names
    assert "Isotonitazene" not in names


INSTRUMENT = """id = "XX-TEST"
title = "Test act"
country = "XX"
order = ["A"]
in_force = 2020-01-01
source = "made for a test"
not_coded = []
[clauses.A]
stereoisomers = "none"
text_status = "read"
source = "made for a test"
[[editions]]
id = "first"
from = 2020-01-01
source = "made for a test"
"""
HEADER = (DATA / "schedules" / "un-1988" / "entries.csv").read_text(encoding="utf-8").splitlines()[0]
ROW = "ethanol,,64-17-5,A,2020-01-01,2020-01-01,,{until},read,CCO,any,open,,,,own,checked,,made for a test"


def folder(tmp_path: Path, rows: list[str], instrument: str = INSTRUMENT, header: str = HEADER) -> Path:
    place = tmp_path / "xx-test"
    place.mkdir(exist_ok=True)
    (place / "instrument.toml").write_text(instrument, encoding="utf-8")
    (place / "entries.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return place


def test_an_operators_instrument_is_loaded_beside_the_shipped_ones(tmp_path: Path) -> None:
    engine = Engine.load([folder(tmp_path, [ROW.format(until="2021-12-31")])])
    on_last, after = date(2021, 12, 31), date(2022, 1, 1)
    ethanol = smiles("CCO")
    assert engine.assess(ethanol, as_of=on_last).status_by_instrument["XX-TEST"] is LegalStatus.CONTROLLED
    assert engine.assess(ethanol, as_of=after).status_by_instrument["XX-TEST"] is LegalStatus.NOT_CONTROLLED
    assert engine.version != Engine.load().version


@pytest.mark.parametrize(
    ("rows", "change", "reason"),
    [
        ([ROW.format(until=""), ROW.format(until="")], ("", ""), "overlaps"),
        ([ROW.format(until="").replace(",CCO,", ",C1CO,")], ("", ""), "structure cannot be read"),
        ([ROW.format(until="").replace("made for a test", "")], ("", ""), "source is empty"),
        ([ROW.format(until="").replace("2020-01-01,2020", "2020-13-01,2020")], ("", ""), "no date"),
        ([ROW.format(until="").replace(",A,", ",B,")], ("", ""), "none of A"),
        ([ROW.format(until="").replace(",read,", ",certain,")], ("", ""), "none of"),
        ([ROW.format(until="2019-01-01")], ("", ""), "before the first day"),
        ([ROW.format(until="") + ",extra"], ("", ""), "number of fields"),
        ([ROW.format(until="").replace("CCO,any", ",")], ("", ""), "reason in notes"),
        ([ROW.format(until="")], ("title =", "titel ="), "unknown keys"),
        ([ROW.format(until="")], ('source = "made', 'quelle = "made'), "keys"),
        ([ROW.format(until="")], ('id = "XX-TEST"', 'id = "UN-1961"'), "loaded twice"),
        ([ROW.format(until="")], ("from = 2020", "from = x2020"), "cannot be read"),
    ],
)
def test_a_broken_file_stops_the_load_with_file_row_and_reason(
    tmp_path: Path, rows: list[str], change: tuple[str, str], reason: str
) -> None:
    text = INSTRUMENT.replace(*change) if change[0] else INSTRUMENT
    with pytest.raises(DataError, match=reason) as caught:
        Engine.load([folder(tmp_path, rows, text)])
    assert caught.value.file.startswith(("xx-test", "XX-TEST", "instrument", "entries"))


def test_an_unknown_column_stops_the_load(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown"):
        Engine.load([folder(tmp_path, [ROW.format(until="")], header=HEADER.replace("synonyms", "synonym"))])
