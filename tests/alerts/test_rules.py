"""Rules over facts: conditions, keys, levels and caps of the domain guide, section 6.2."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.patterns import percentile, quarter
from alerts.render import texts_of
from alerts.rules import signals_of
from alerts.triggers import capped
from alerts.values import (
    Background,
    CaseFacts,
    DetectionFacts,
    Level,
    ReportFacts,
    Scope,
    SetMember,
    Signal,
    SoldAsFacts,
    SubstanceFacts,
)


def substance(name: str = "x", group: str = "other", effect: str = "stimulant", **more: Any) -> SubstanceFacts:
    values: dict[str, Any] = {
        "id": name, "key": f"inchikey:{name}", "name": name, "chemical_group": group, "effect_group": effect, "controlled": False,
        "legal_status": "not_controlled", "inchikey": None, "alertable": True, "harmful_adulterant": False,
    }  # fmt: skip
    return SubstanceFacts(**(values | more))


def detection(what: SubstanceFacts | None, position: int = 0, **more: Any) -> DetectionFacts:
    values: dict[str, Any] = {
        "detection_id": f"d{position}", "position": position, "substance": what, "label": "a", "resolution": "structure",
        "relation": "parent", "confidence": "confirmed", "abundance": "primary", "first_in": Scope.NONE,
    }  # fmt: skip
    return DetectionFacts(**(values | more))


def report(*detections: DetectionFacts, **more: Any) -> ReportFacts:
    values: dict[str, Any] = {
        "report_id": "r", "org_id": "o", "country": "DE", "region": "Europe", "subdivision": None,
        "sampled_on": date(2026, 11, 3),
        "month": "2026-11", "tlp": "GREEN", "received_at": datetime(2026, 11, 24, tzinfo=UTC), "test": False, "quiet": False,
        "new_laboratory": False, "flagged": False, "sold_as": None, "detections": detections, "cases": (),
    }  # fmt: skip
    return ReportFacts(**(values | more))


def case(seriousness: str = "death", role: str = "sole_cause", exposure: str | None = "biological", **more: Any) -> CaseFacts:
    values: dict[str, Any] = {
        "case_id": "c", "seriousness": seriousness, "exposure_evidence": exposure, "country": "DE", "subdivision": None,
        "month": "2026-11", "roles": {0: role},
    }  # fmt: skip
    return CaseFacts(**(values | more))


def brief(signals: tuple[Signal, ...]) -> list[tuple[str, int]]:
    return [(signal.dedupe_key, int(signal.level)) for signal in signals]


@pytest.mark.parametrize(
    ("scope", "group", "key", "level"),
    [
        (Scope.WORLD, "nitazene", "first_global:x:world", 3),
        (Scope.WORLD, "synthetic_cathinone", "first_global:x:world", 2),
        (Scope.REGION, "fentanyl_analogue", "first_region:x:Europe", 3),
        (Scope.REGION, "tryptamine", "first_region:x:Europe", 2),
        (Scope.COUNTRY, "other_opioid", "first_country:x:DE", 2),
        (Scope.COUNTRY, "other", "first_country:x:DE", 1),
    ],
)
def test_first_detections_have_the_keys_and_levels_of_the_table(scope: Scope, group: str, key: str, level: int) -> None:
    assert brief(signals_of(report(detection(substance(group=group), first_in=scope)))) == [(key, level)]


def test_only_the_widest_is_raised_and_carries_the_narrower_ones() -> None:
    (signal,) = signals_of(report(detection(substance(), first_in=Scope.WORLD)))
    assert [one.dedupe_key for one in signal.narrower] == ["first_region:x:Europe", "first_country:x:DE"]


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": "tentative"},
        {"confidence": "screening"},
        {"relation": "metabolite"},
        {"first_in": Scope.NONE},
        {"substance": None},
        {"substance": substance(alertable=False)},
    ],
)
def test_what_is_no_first_detection_raises_none(change: dict[str, Any]) -> None:
    one = replace(detection(substance(), first_in=Scope.WORLD), **change)
    assert signals_of(report(one)) == ()


def test_a_quiet_report_raises_nothing() -> None:
    assert signals_of(report(detection(substance(), first_in=Scope.WORLD), cases=(case(),), quiet=True)) == ()


@pytest.mark.parametrize(
    ("harm", "confidence", "level"),
    [
        (case(), "confirmed", 3),
        (case(role="contributory", exposure="own_product"), "probable", 3),
        (case(), "tentative", 2),
        (case(), "screening", 1),
        (case("life_threatening", "undetermined"), "confirmed", 3),
        (case("intensive_care", "undetermined"), "confirmed", 3),
        (case(role="undetermined"), "confirmed", None),
        (case(role="incidental"), "confirmed", None),
        (case("intensive_care", "incidental"), "confirmed", None),
        (case("hospital_or_emergency_treatment"), "confirmed", None),
        (case(exposure="self_report"), "confirmed", None),
        (case(exposure="same_batch"), "confirmed", None),
        (case(exposure=None), "confirmed", None),
    ],
)
def test_serious_harm(harm: CaseFacts, confidence: str, level: int | None) -> None:
    found = signals_of(report(detection(substance(), confidence=confidence), cases=(harm,)))
    assert brief(found) == ([] if level is None else [("serious_harm:c:x", level)])


def test_serious_harm_names_every_causal_substance_and_also_one_not_identified() -> None:
    both = case(roles={0: "combined_cause", 1: "combined_cause", 2: "incidental"})
    facts = report(
        detection(substance("x")), detection(None, 1, resolution="unresolved"), detection(substance("z"), 2), cases=(both,)
    )
    assert [key for key, _ in brief(signals_of(facts))] == ["serious_harm:c:x", "serious_harm:c:unidentified-1"]


def test_serious_harm_is_of_the_country_of_the_case() -> None:
    (signal,) = signals_of(report(detection(substance()), cases=(case(country="FR"),)))
    assert (signal.country, signal.region) == ("FR", None)


def test_numbers_hold_nothing_that_only_the_case_says_but_its_seriousness() -> None:
    (signal,) = signals_of(report(detection(substance()), cases=(case(),)))
    assert set(signal.numbers) == {"seriousness", "events", "confidence", "month"}


@given(st.sampled_from(list(Level)), st.sampled_from(["confirmed", "probable", "tentative", "screening"]), st.integers(1, 3))
def test_caps_only_lower(level: Level, confidence: str, laboratories: int) -> None:
    assert capped(level, confidence, laboratories=laboratories) <= level


def test_two_laboratories_lift_the_cap_of_tentative_evidence() -> None:
    assert capped(Level.URGENT, "tentative", laboratories=2) is Level.URGENT
    assert capped(Level.URGENT, "tentative") is Level.ADVISORY
    assert capped(Level.URGENT, "screening", laboratories=2) is Level.NOTICE


def test_return_after_twelve_silent_months() -> None:
    facts = report(detection(substance()))
    key = "re_emergence:x:DE:after-2025-11"
    assert brief(signals_of(facts, Background(last_seen={0: date(2025, 11, 3)}))) == [(key, 1)]
    assert signals_of(facts, Background(last_seen={0: date(2025, 11, 4)})) == ()
    assert signals_of(facts, Background()) == ()


OXYCODONE = SoldAsFacts(
    key="inchikey:oxy", name="oxycodone", inchikey="AAAAAAAAAAAAAA-B-N", chemical_group="other_opioid", effect_group="opioid"
)
XANAX = replace(
    OXYCODONE, key="inchikey:alp", name="alprazolam", chemical_group="benzodiazepine_type", effect_group="sedative_hypnotic"
)


@pytest.mark.parametrize(
    ("sold", "found", "level"),
    [
        (XANAX, detection(substance("n", "nitazene", "opioid")), 4),
        (XANAX, detection(substance("n", "nitazene", "opioid"), confidence="tentative"), 2),
        (XANAX, detection(substance("c", "synthetic_cathinone", "stimulant")), 2),
        (OXYCODONE, detection(substance("n", "nitazene", "opioid")), None),  # the same effect group
        (OXYCODONE, detection(substance("c", "synthetic_cathinone", "stimulant"), abundance="trace"), None),
        (OXYCODONE, detection(substance("c", "synthetic_cathinone", "stimulant"), abundance=None), None),
        (OXYCODONE, detection(substance("c", "synthetic_cathinone", "unassigned")), None),
        (OXYCODONE, detection(substance("caffeine", alertable=False)), None),
        (None, detection(substance("n", "nitazene", "opioid")), None),
    ],
)
def test_sold_as_something_else(sold: SoldAsFacts | None, found: DetectionFacts, level: int | None) -> None:
    signals = signals_of(report(found, sold_as_substance=sold))
    assert [int(signal.level) for signal in signals] == ([] if level is None else [level])
    if signals and sold is not None and found.substance is not None:
        assert signals[0].dedupe_key == f"misrepresentation:{sold.key}:{found.substance.id}:DE:2026-Q4"


def test_nothing_is_misrepresented_where_the_named_substance_is_there_in_any_stereo_form() -> None:
    there = detection(substance("oxy", inchikey="AAAAAAAAAAAAAA-C-N"), 1)
    other = detection(substance("c", "synthetic_cathinone", "stimulant"))
    assert signals_of(report(other, there, sold_as_substance=OXYCODONE)) == ()


def test_a_listed_adulterant_with_a_class_for_the_first_time() -> None:
    facts = report(detection(substance("n", "nitazene", "opioid")), detection(substance("xylazine", alertable=False), 1))
    known = Background(adulterants=frozenset({1}))
    assert brief(signals_of(facts, known)) == [("adulterant:xylazine:nitazene:DE", 1)]
    assert signals_of(facts, replace(known, seen_with={1: frozenset({"nitazene"})})) == ()
    assert signals_of(facts, Background()) == ()


@pytest.mark.parametrize(
    ("form", "level"), [("powder", 1), ("nasal_spray", 2), ("falsified_medicine", 2), ("unknown", None), (None, None)]
)
def test_a_new_form_in_a_region_that_knows_the_substance(form: str | None, level: int | None) -> None:
    facts, known = report(detection(substance()), form=form), Background(known_in_region=frozenset({0}))
    found = signals_of(facts, known)
    assert brief(found) == ([] if level is None else [(f"new_form_or_route:x:{form}:Europe", level)])
    assert signals_of(facts, replace(known, known_in_form=frozenset({0}))) == ()
    assert signals_of(facts, replace(known, known_in_region=frozenset())) == ()


def test_high_content_needs_twenty_results_the_percentile_and_the_ratio() -> None:
    facts, usual = report(detection(substance())), tuple([10.0] * 19 + [12.0])
    assert brief(signals_of(facts, Background(purity={0: 15.0}, earlier_purities={0: usual}))) == [
        ("high_potency:x:DE:2026-Q4", 2)
    ]
    assert signals_of(facts, Background(purity={0: 14.9}, earlier_purities={0: usual})) == ()
    assert signals_of(facts, Background(purity={0: 15.0}, earlier_purities={0: usual[1:]})) == ()


def test_percentiles_interpolate() -> None:
    assert percentile(tuple(float(n) for n in range(21)), 0.95) == 19.0
    assert quarter(date(2026, 1, 1)) == "2026-Q1"
    assert quarter(date(2026, 12, 31)) == "2026-Q4"


@given(
    name=st.text(min_size=1, max_size=400), status=st.sampled_from(["controlled", "possibly_controlled", "not_controlled", "?"])
)
def test_texts_keep_their_lengths_and_say_whether_controlled_whatever_the_name(name: str, status: str) -> None:
    facts = report(
        detection(substance(name, legal_status=status, controlled=status == "controlled"), first_in=Scope.WORLD), cases=(case(),)
    )
    for signal in signals_of(facts):
        texts = texts_of(signal)
        assert len(texts.headline) <= 160
        assert len(texts.short) <= 160
        assert "Germany" in texts.short
        assert any(
            word in texts.short for word in ("Controlled.", "Possibly controlled.", "No control match.", "Control not assessed.")
        )
        assert all(c.isprintable() for c in texts.headline + texts.short)


@given(st.sampled_from(["dose", "stronger", "purity", "legal high", "epidemic", "killer", "!"]))
def test_texts_never_use_the_words_that_the_desk_forbids(word: str) -> None:
    facts = report(
        detection(substance("n", "nitazene", "opioid"), first_in=Scope.WORLD),
        cases=(case(),),
        sold_as_substance=XANAX,
        form="tablet",
    )
    known = Background(purity={0: 50.0}, earlier_purities={0: (1.0,) * 20}, known_in_region=frozenset({0}))
    for signal in signals_of(facts, known):
        texts = texts_of(signal)
        assert word not in " ".join((texts.headline, texts.short, texts.summary, texts.full, texts.instruction)).lower()


def test_a_route_of_use_that_is_new_in_the_region_fires_and_is_not_named() -> None:
    facts = report(detection(substance()), cases=(case("hospital_or_emergency_treatment", route="nasal"),))
    known = Background(known_in_region=frozenset({0}), known_routes={0: frozenset({"oral"})})
    (signal,) = signals_of(facts, known)
    assert (signal.dedupe_key, int(signal.level), signal.case_id) == ("new_form_or_route:x:route-nasal:Europe", 1, "c")
    texts = texts_of(signal)
    for text in (texts.headline, texts.summary, texts.full, str(signal.numbers)):
        assert "nasal" not in text


@pytest.mark.parametrize(
    ("route", "known"),
    [
        ("nasal", Background(known_in_region=frozenset({0}), known_routes={0: frozenset({"nasal"})})),
        ("unknown", Background(known_in_region=frozenset({0}))),
        (None, Background(known_in_region=frozenset({0}))),
        ("nasal", Background()),  # the substance itself is new there: that says more
    ],
)
def test_a_route_that_is_known_or_not_told_raises_nothing(route: str | None, known: Background) -> None:
    facts = report(detection(substance()), cases=(case("hospital_or_emergency_treatment", route=route),))
    assert signals_of(facts, known) == ()


def test_an_isomer_set_that_another_laboratory_reported_is_an_analytical_notice() -> None:
    members = (SetMember(inchikey="B", name="3-FMA"), SetMember(inchikey="A", name="2-FMA"))
    one = detection(None, isomer_set=members, legal_status="possibly_controlled", confidence="probable")
    assert signals_of(report(one), Background()) == ()
    (signal,) = signals_of(report(one), Background(sets_seen_elsewhere=frozenset({0})))
    (other,) = signals_of(
        report(replace(one, isomer_set=members[::-1]), country="FR"), Background(sets_seen_elsewhere=frozenset({0}))
    )
    assert signal.dedupe_key == other.dedupe_key
    assert (signal.type, int(signal.level)) == ("analytical", 1)
    texts = texts_of(signal)
    assert "3-FMA or 2-FMA" in texts.headline
    assert texts.short.endswith("Possibly controlled.")
