"""What was known before a report, read from both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select, update

from app.notifications.background import background_of
from app.persistence.base import new_id
from app.persistence.models import Detection, Sample, Substance
from app.persistence.session import Database


@pytest.fixture
def place(any_database: Database, make_world: Any) -> Any:
    return make_world(any_database)


def store(
    place: Any, what: Any, *, day: date = date(2026, 11, 3), form: str = "powder", purity: float | None = None, **facts: Any
) -> Any:
    """A stored report with its sample's day and form, and its facts."""
    place.context.now.forward(minutes=1)
    with place.context.database.write() as session:
        stored = place.report(session, place.lab, what, **facts)
        session.add(
            Sample(
                report_id=stored.report_id, country=stored.country, date_sampled=day.isoformat(), date_precision="day",
                sampled_on=day, context="seizure", form=form, transit=[],
            )
        )  # fmt: skip
        session.execute(
            update(Detection).where(Detection.report_id == stored.report_id).values(sampled_on=day, purity_percent=purity)
        )
    (found,) = stored.detections
    return replace(stored, form=form, detections=(replace(found, purity_percent=purity),))


def background(place: Any, facts: Any) -> Any:
    with place.context.database.read() as session:
        return background_of(session, facts)


def test_an_unknown_substance_has_no_background(place: Any) -> None:
    found = background(place, store(place, place.substance()))
    assert (found.last_seen, found.known_in_region) == ({}, frozenset())


def test_the_last_earlier_sample_in_the_country_and_the_forms_of_the_region(place: Any) -> None:
    what = place.substance()
    store(place, what, day=date(2025, 1, 5))
    store(place, what, day=date(2025, 3, 9), form="tablet")
    store(place, what, day=date(2026, 1, 9), country="FR")
    found = background(place, store(place, what, form="tablet"))
    assert found.last_seen == {0: date(2025, 3, 9)}
    assert (found.known_in_region, found.known_in_form) == (frozenset({0}), frozenset({0}))
    assert background(place, store(place, what, form="edible")).known_in_form == frozenset()


def test_what_came_after_a_corrected_report_is_no_background_of_it(place: Any) -> None:
    what = place.substance()
    store(place, what, day=date(2025, 1, 5))
    facts = store(place, what)
    store(place, what, day=date(2026, 11, 1))
    place.context.now.forward(days=1)
    corrected = replace(facts, received_at=place.context.now(), first_received_at=facts.received_at)
    assert background(place, corrected).last_seen == {0: date(2025, 1, 5)}


def test_earlier_purities_are_of_the_same_form(place: Any) -> None:
    what = place.substance()
    for purity in (10.0, 11.0):
        store(place, what, purity=purity)
    store(place, what, purity=90.0, form="tablet")
    found = background(place, store(place, what, purity=50.0))
    assert found.purity == {0: 50.0}
    assert sorted(found.earlier_purities[0]) == [10.0, 11.0]


def test_adulterants_are_those_that_are_listed(place: Any) -> None:
    what = place.substance("xylazine", group="other")
    with place.context.database.write() as session:
        session.execute(update(Substance).values(harmful_adulterant=True))
    what.harmful_adulterant = True
    found = background(place, store(place, what))
    assert found.adulterants == frozenset({0})
    assert found.seen_with == {0: frozenset()}


def test_an_adulterant_is_known_with_those_groups_of_the_report_that_it_was_found_with_in_the_country(place: Any) -> None:
    what = place.substance("xylazine", group="other")
    opioid, other = place.substance("fentanyl", group="fentanyl"), place.substance("etizolam", group="benzodiazepine")
    with place.context.database.write() as session:
        session.execute(update(Substance).where(Substance.id == what.id).values(harmful_adulterant=True))
    what.harmful_adulterant = True
    alone = [store(place, one).detections[0] for one in (opioid, other)]
    for country, company in (("DE", opioid), ("FR", other)):
        earlier = store(place, what, country=country)
        with place.context.database.write() as session:
            (row,) = session.scalars(select(Detection).where(Detection.report_id == earlier.report_id))
            values = {column.key: getattr(row, column.key) for column in Detection.__table__.columns}
            session.add(Detection(**values | {"id": new_id(), "position": 1, "substance_id": company.id}))
    facts = store(place, what)
    beside = tuple(replace(one, position=position) for position, one in enumerate(alone, 1))
    found = background(place, replace(facts, detections=(*facts.detections, *beside)))
    assert found.seen_with == {0: frozenset({"fentanyl"})}
