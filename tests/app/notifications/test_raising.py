"""Alerts of reports: keys, evidence, corrections and withdrawals, on both databases."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from alerts.values import ReportFacts, Scope
from app.notifications.service import raise_alerts, reevaluate
from app.persistence.models import Alert, AlertEvidence, AlertRevision, Detection, HarmCase, Organisation, Report, Task
from app.persistence.session import Database


@pytest.fixture
def place(any_database: Database, make_world: Any) -> Any:
    """A world on each of the databases."""
    return make_world(any_database)


def store(place: Any, org: Organisation, substance: Any, **facts: Any) -> tuple[ReportFacts, list[str]]:
    with place.context.database.write() as session:
        stored = place.report(session, org, substance, **facts)
        return stored, raise_alerts(session, stored, place.context.now())


def alerts(place: Any) -> list[Alert]:
    with place.context.database.read() as session:
        return list(session.scalars(select(Alert).order_by(Alert.id)))


def revisions(place: Any, alert_id: str) -> list[AlertRevision]:
    with place.context.database.read() as session:
        return list(
            session.scalars(select(AlertRevision).where(AlertRevision.alert_id == alert_id).order_by(AlertRevision.revision))
        )


def test_an_alert_comes_with_its_revision_evidence_and_tasks(place: Any) -> None:
    facts, (alert_id,) = store(place, place.org("lab"), place.substance(), first_in=Scope.WORLD, new_laboratory=True)
    (alert,) = alerts(place)
    assert (alert.id, alert.type, alert.level, alert.state, alert.region) == (alert_id, "first_global", 3, "issued", "Europe")
    assert alert.needs_approval
    (revision,) = revisions(place, alert_id)
    assert (revision.audience, revision.msg_type, revision.reviewed, revision.countries) == ("country", "Alert", False, ["DE"])
    with place.context.database.read() as session:
        assert session.scalars(select(AlertEvidence.report_id)).all() == [facts.report_id]
        topics = session.execute(select(Task.topic, Task.key, Task.priority).order_by(Task.topic)).all()
    assert [tuple(row) for row in topics] == [
        ("evaluate", "2026-11-24T12:00Z", 1),
        ("fanout", f"{alert_id}.1", 3),
        ("publish", f"{alert_id}.1", 3),
    ]


def test_evaluating_twice_changes_nothing(place: Any) -> None:
    facts, first = store(place, place.org("lab"), place.substance(), first_in=Scope.WORLD, death=True)
    with place.context.database.write() as session:
        assert raise_alerts(session, facts, place.context.now()) == first
    assert [alert.revision for alert in alerts(place)] == [1, 1]


def test_two_first_reports_at_once_raise_one_alert_and_nobody_fails(place: Any) -> None:
    lab, substance = place.org("lab"), place.substance()
    barrier, problems, raised = threading.Barrier(6), [], []

    def one(number: int) -> None:
        try:
            barrier.wait()
            _, ids = store(place, lab, substance, first_in=Scope.WORLD, reference=f"r{number}")
            raised.extend(ids)
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            problems.append(error)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(alerts(place)) == 1
    assert raised == [alerts(place)[0].id]
    with place.context.database.read() as session:
        assert session.scalar(select(func.count()).select_from(AlertEvidence)) == 6


def test_where_the_widest_key_went_to_another_country_the_narrower_is_raised(place: Any) -> None:
    lab, substance = place.org("lab"), place.substance()
    store(place, lab, substance, first_in=Scope.WORLD)
    _, (second,) = store(place, place.org("lab", "FR"), substance, first_in=Scope.WORLD, country="FR")
    assert [(alert.type, alert.country) for alert in alerts(place)] == [("first_global", "DE"), ("first_country", "FR")]
    assert second == alerts(place)[1].id


def test_a_quiet_report_raises_nothing(place: Any) -> None:
    assert store(place, place.org("lab"), place.substance(), first_in=Scope.WORLD, death=True, quiet=True)[1] == []
    assert alerts(place) == []


def test_a_test_organisation_takes_no_key_from_a_real_one(place: Any) -> None:
    substance = place.substance()
    _, tested = store(place, place.org("lab", test=True), substance, first_in=Scope.WORLD)
    _, real = store(place, place.org("lab"), substance, first_in=Scope.WORLD)
    assert len(tested) == len(real) == 1
    assert [alert.test for alert in alerts(place)] == [True, False]


def test_a_stricter_label_of_further_evidence_raises_the_label(place: Any) -> None:
    lab, substance = place.org("lab"), place.substance()
    _, (alert_id,) = store(place, lab, substance, first_in=Scope.COUNTRY)
    store(place, lab, substance, first_in=Scope.COUNTRY, tlp="AMBER")
    assert [(row.tlp, row.msg_type) for row in revisions(place, alert_id)] == [("GREEN", "Alert"), ("AMBER", "Update")]


def _withdraw(place: Any, report_id: str) -> list[str]:
    with place.context.database.write() as session:
        session.execute(update(Report).where(Report.id == report_id).values(state="withdrawn"))
        session.execute(update(Detection).where(Detection.report_id == report_id).values(counted=False))
        session.execute(update(HarmCase).where(HarmCase.report_id == report_id).values(counted=False))
        changed: list[str] = reevaluate(session, report_id, place.context.now())
        return changed


def test_after_a_withdrawal_the_next_earliest_detection_becomes_the_first(place: Any) -> None:
    lab, other, substance = place.org("lab"), place.org("lab", "FR"), place.substance()
    first, (alert_id,) = store(place, lab, substance, first_in=Scope.WORLD)
    place.context.now.forward(hours=1)
    second, (country_alert,) = store(place, other, substance, first_in=Scope.COUNTRY, country="FR")
    place.context.now.forward(hours=1)
    store(place, other, substance, country="FR")

    changed = _withdraw(place, first.report_id)

    assert changed[0] == alert_id
    by_id = {alert.id: alert for alert in alerts(place)}
    assert by_id[alert_id].state == "retracted"
    assert [row.msg_type for row in revisions(place, alert_id)] == ["Alert", "Cancel"]
    assert by_id[country_alert].state == "issued"
    anew = by_id[changed[1]]
    assert (anew.type, anew.country, anew.state) == ("first_global", "FR", "issued")
    with place.context.database.read() as session:
        evidence = session.scalars(select(AlertEvidence.report_id).where(AlertEvidence.alert_id == anew.id)).all()
    assert evidence == [second.report_id]


def test_evidence_left_means_updated_not_retracted(place: Any) -> None:
    lab, substance = place.org("lab"), place.substance()
    first, (alert_id,) = store(place, lab, substance, first_in=Scope.COUNTRY)
    second, _ = store(place, lab, substance, first_in=Scope.COUNTRY)
    assert _withdraw(place, first.report_id) == [alert_id]
    assert alerts(place)[0].state == "updated"
    assert _withdraw(place, second.report_id) == [alert_id]
    assert alerts(place)[0].state == "retracted"


def _correct(place: Any, facts: ReportFacts, substance: Any, **changes: Any) -> tuple[list[str], list[str]]:
    """Write a new version of the report as intake does: old rows uncounted, new ones under new ids, alerts looked at again."""
    with place.context.database.write() as session:
        session.execute(update(Detection).where(Detection.report_id == facts.report_id).values(counted=False))
        session.execute(update(HarmCase).where(HarmCase.report_id == facts.report_id).values(counted=False))
        org = session.get_one(Organisation, facts.org_id)
        written = place.report(session, org, substance, report_id=facts.report_id, **changes)
        written = replace(written, first_received_at=facts.received_at)
        raised = raise_alerts(session, written, place.context.now())
        return raised, reevaluate(session, facts.report_id, place.context.now())


def test_a_correction_that_changes_nothing_of_note_leaves_the_alerts_alone(place: Any) -> None:
    substance = place.substance()
    facts, raised = store(place, place.org("lab"), substance, first_in=Scope.WORLD, death=True)
    assert _correct(place, facts, substance, first_in=Scope.WORLD, death=True) == (raised, [])
    assert [(alert.state, alert.revision) for alert in alerts(place)] == [("issued", 1), ("issued", 1)]


def test_a_first_detection_stays_the_first_when_it_is_corrected_after_others_came(place: Any) -> None:
    substance = place.substance()
    facts, (alert_id,) = store(place, place.org("lab"), substance, first_in=Scope.WORLD)
    store(place, place.org("lab", "FR"), substance, first_in=Scope.COUNTRY, country="FR")
    _correct(place, facts, substance, first_in=Scope.NONE)
    assert {alert.id: alert.state for alert in alerts(place)}[alert_id] == "issued"


def test_another_substance_retracts_the_one_alert_and_raises_the_other(place: Any) -> None:
    facts, (alert_id,) = store(place, place.org("lab"), place.substance("a"), first_in=Scope.WORLD)
    raised, changed = _correct(place, facts, place.substance("b", group="other"), first_in=Scope.WORLD)
    assert changed == [alert_id]
    assert {alert.id: alert.state for alert in alerts(place)} == {alert_id: "retracted", raised[0]: "issued"}


def test_a_late_correction_raises_nothing_new_and_loses_nothing(place: Any) -> None:
    substance = place.substance()
    facts, raised = store(place, place.org("lab"), substance, death=True)
    again, changed = _correct(place, facts, substance, death=True, first_in=Scope.WORLD, quiet=True)
    assert (again, changed) == (raised, [])
    assert [alert.state for alert in alerts(place)] == ["issued"]


def test_a_correction_to_a_lower_confidence_updates_the_level(place: Any) -> None:
    substance = place.substance()
    facts, (alert_id,) = store(place, place.org("lab"), substance, death=True)
    _correct(place, facts, substance, death=True, confidence="tentative")
    assert [(row.level, row.audience, row.msg_type) for row in revisions(place, alert_id)] == [
        (3, "country", "Alert"),
        (2, "full", "Update"),
    ]


def test_many_signals_keep_the_order_of_the_rules(place: Any) -> None:
    lab, substance = place.org("lab"), place.substance()
    facts, raised = store(place, lab, substance, first_in=Scope.WORLD, death=True)
    by_id = {alert.id: alert.type for alert in alerts(place)}
    assert [by_id[one] for one in raised] == ["first_global", "serious_harm"]
    assert replace(facts, quiet=True).quiet
