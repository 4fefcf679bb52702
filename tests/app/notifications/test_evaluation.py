"""Spikes, clusters and spread from stored reports, on both databases."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.notifications.evaluation import evaluate
from app.notifications.series import weekly
from app.notifications.service import raise_alerts, reevaluate
from app.notifications.signals import recomputed
from app.persistence.models import (
    ActivityReport,
    Alert,
    AlertRevision,
    Detection,
    HarmCase,
    Report,
    Sample,
    SeriesEvaluation,
    Substance,
    Task,
)
from app.persistence.session import Database
from app.worker import Worker
from tests.factories import match


@pytest.fixture
def place(any_database: Database, make_world: Any) -> Any:
    return make_world(any_database)


def put(
    place: Any, what: Any, at: datetime, *, org: Any = None, country: str = "DE", product: str | None = None, **facts: Any
) -> Any:
    """A report received at that time, of a sample of that day, with its alerts without statistics."""
    place.context.now.at = at
    with place.context.database.write() as session:
        stored = place.report(session, org or place.lab, what, country=country, received_at=at, **facts)
        session.add(
            Sample(
                report_id=stored.report_id, country=country, date_sampled=at.date().isoformat(), date_precision="day",
                sampled_on=at.date(), context="seizure", transit=[], product_key=product,
            )
        )  # fmt: skip
        session.execute(update(Detection).where(Detection.report_id == stored.report_id).values(sampled_on=at.date()))
        raise_alerts(session, stored, at)
    return stored


def alerts(place: Any, kind: str) -> list[Alert]:
    with place.context.database.read() as session:
        return list(session.scalars(select(Alert).where(Alert.type == kind).order_by(Alert.id)))


def numbers(place: Any, alert: Alert) -> dict[str, Any]:
    with place.context.database.read() as session:
        return dict(
            session.scalars(
                select(AlertRevision.numbers).where(AlertRevision.alert_id == alert.id, AlertRevision.revision == alert.revision)
            ).one()
        )


START = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 28, 12, tzinfo=UTC)  # a Saturday


def test_three_findings_of_two_laboratories_after_silence_are_a_spike_once_and_then_an_update(place: Any) -> None:
    what, other, second = (
        place.substance("x", group="other"),
        place.substance("y", group="other"),
        place.org("lab", "DE", name="2"),
    )
    put(place, other, START)  # the installation has known the country since January
    for days, org in ((-5, None), (-4, second), (-3, None)):
        put(place, what, LATER + timedelta(days=days), org=org)
    (alert_id,) = evaluate(place.context, what.id, "DE", LATER)
    (alert,) = alerts(place, "spike")
    assert (alert.id, alert.level, alert.country, alert.org_id) == (alert_id, 2, "DE", None)
    found = numbers(place, alert)
    assert (found["laboratories"], found["observed"], found["method"]) == (2, 3, "gamma-poisson/2")
    assert found["p"] < 0.005
    assert evaluate(place.context, what.id, "DE", LATER) == []
    put(place, what, LATER + timedelta(hours=6), org=second)
    evaluate(place.context, what.id, "DE", LATER + timedelta(hours=7))
    (alert,) = alerts(place, "spike")
    assert (alert.revision, alert.state) == (2, "updated")


@pytest.mark.parametrize(
    ("certainty", "country", "said", "controlled"),
    [("certain", "GB", "Controlled.", True), ("possible", "GB", "Possibly controlled.", False),
     ("certain", "FR", "No control match.", False)],
)  # fmt: skip
def test_a_statistical_alert_speaks_of_the_law_of_its_country(
    place: Any, certainty: str, country: str, said: str, controlled: bool
) -> None:
    law = match("UK-MDA", "Class B", "cathinones", basis="generic", certainty=certainty)
    what = place.substance("x", group="cathinone", matches=[law])
    for days in (-8, -4, -1):
        put(place, what, LATER + timedelta(days=days), country=country, death=True)
    evaluate(place.context, what.id, country, LATER)
    (alert,) = alerts(place, "cluster")
    assert alert.controlled is controlled
    with place.context.database.read() as session:
        (short,) = session.scalars(select(AlertRevision.short).where(AlertRevision.alert_id == alert.id))
    assert short.endswith(said)


def test_one_laboratory_among_several_is_no_spike_and_one_alone_is(place: Any) -> None:
    what, other = place.substance("x", group="other"), place.substance("y", group="other")
    put(place, other, START)
    for days in (-5, -4, -3):
        put(place, what, LATER + timedelta(days=days))
    assert len(evaluate(place.context, what.id, "DE", LATER)) == 1
    with place.context.database.read() as session:
        headline = session.scalars(select(AlertRevision.headline)).all()
    assert "x: more detections than expected in Germany, one laboratory, November 2026" in headline


def test_one_laboratory_where_another_also_reports_is_no_spike(place: Any) -> None:
    what, other = place.substance("x", group="other"), place.substance("y", group="other")
    put(place, other, START)
    put(place, other, LATER - timedelta(days=30), org=place.org("lab", "DE", name="2"))
    for days in (-5, -4, -3):
        put(place, what, LATER + timedelta(days=days))
    assert evaluate(place.context, what.id, "DE", LATER) == []


def test_a_batch_of_one_day_counts_once(place: Any) -> None:
    what, other = place.substance("x", group="other"), place.substance("y", group="other")
    put(place, other, START)
    for minute in range(10):
        put(place, what, LATER - timedelta(days=3, minutes=minute))
    assert evaluate(place.context, what.id, "DE", LATER) == []


def test_three_deaths_within_days_are_a_cluster_of_level_four(place: Any) -> None:
    what = place.substance("x", group="nitazene")
    for days in (-8, -4, -1):
        put(place, what, LATER + timedelta(days=days), death=True)
    evaluate(place.context, what.id, "DE", LATER)
    (alert,) = alerts(place, "cluster")
    assert (alert.level, alert.state) == (4, "issued")
    found = numbers(place, alert)
    assert (found["events"], found["deaths"]) == (3, 3)
    assert found["recurrence_days"] >= 365
    with place.context.database.read() as session:
        revision = session.scalars(select(AlertRevision).where(AlertRevision.alert_id == alert.id)).one()
    assert revision.audience == "country"
    assert revision.headline == "Several serious harm events in which x was detected: Germany, November 2026"
    put(place, what, LATER, death=True)
    evaluate(place.context, what.id, "DE", LATER + timedelta(hours=1))
    assert len(alerts(place, "cluster")) == 1


@pytest.mark.parametrize("shared", [True, False])
def test_three_deaths_of_one_product_are_a_cluster_though_deaths_are_as_frequent_as_ever(place: Any, shared: bool) -> None:
    what = place.substance("x", group="nitazene")
    for n in range(40, 3, -1):
        put(place, what, LATER - timedelta(days=9 * n), death=True)
    for n in (3, 2, 1):
        put(place, what, LATER - timedelta(days=9 * n), death=True, product="blue pill" if shared else f"pill {n}")
    evaluate(place.context, what.id, "DE", LATER)
    found = [numbers(place, alert) for alert in alerts(place, "cluster")]
    assert [(one["events"], one["deaths"], one["shared_product"]) for one in found] == ([(3, 3, True)] if shared else [])


def test_the_third_new_country_in_ninety_days_is_rapid_spread_and_the_fourth_an_update(place: Any) -> None:
    what = place.substance("x", group="other")
    for country, days in (("DE", -60), ("FR", -30), ("PL", -2)):
        put(place, what, LATER + timedelta(days=days), country=country)
    evaluate(place.context, what.id, "PL", LATER)
    (alert,) = alerts(place, "rapid_spread")
    assert alert.level == 2
    put(place, what, LATER, country="IT")
    evaluate(place.context, what.id, "IT", LATER + timedelta(hours=1))
    (alert,) = alerts(place, "rapid_spread")
    assert alert.revision == 2
    assert numbers(place, alert)["countries"] == ["DE", "FR", "PL", "IT"]


def test_countries_that_knew_the_substance_before_are_not_new(place: Any) -> None:
    what = place.substance("x", group="other")
    for country, days in (("DE", -200), ("FR", -30), ("PL", -2)):
        put(place, what, LATER + timedelta(days=days), country=country)
    assert evaluate(place.context, what.id, "PL", LATER) == []


def test_withdrawn_evidence_of_an_episode_updates_it_and_the_last_retracts_it(place: Any) -> None:
    what = place.substance("x", group="other")
    reports = [
        put(place, what, LATER + timedelta(days=days), country=country)
        for country, days in (("DE", -60), ("FR", -30), ("PL", -2))
    ]
    evaluate(place.context, what.id, "PL", LATER)
    for expected, report in zip(("updated", "updated", "retracted"), reports, strict=True):
        with place.context.database.write() as session:
            session.execute(update(Report).where(Report.id == report.report_id).values(state="withdrawn"))
            session.execute(update(Detection).where(Detection.report_id == report.report_id).values(counted=False))
            session.execute(update(HarmCase).where(HarmCase.report_id == report.report_id).values(counted=False))
            reevaluate(session, report.report_id, place.context.now())
        assert alerts(place, "rapid_spread")[0].state == expected


def test_a_report_writes_its_evaluation_once_a_minute_and_the_worker_runs_it(place: Any) -> None:
    what = place.substance("x", group="other")
    for country, days in (("DE", -60), ("FR", -30)):
        put(place, what, LATER + timedelta(days=days), country=country)
    put(place, what, LATER, country="PL")
    put(place, what, LATER + timedelta(seconds=20), country="PL")
    with place.context.database.read() as session:
        keys = session.scalars(select(Task.key).where(Task.topic == "evaluate").order_by(Task.key)).all()
    assert keys == ["2026-09-29T12:00Z", "2026-10-29T12:00Z", "2026-11-28T12:00Z"]
    place.context.now.forward(minutes=5)
    worker = Worker(place.context, schedule=False)
    worker.store._database_clock = False
    worker.run_due()
    assert len(alerts(place, "rapid_spread")) == 1


def test_every_evaluation_is_kept_with_its_inputs_and_can_be_computed_again(place: Any) -> None:
    what, other = place.substance("x", group="other"), place.substance("y", group="other")
    put(place, other, START)
    put(place, what, LATER - timedelta(days=5))
    assert evaluate(place.context, what.id, "DE", LATER) == []  # no alert, and still kept
    put(place, what, LATER - timedelta(hours=1))
    evaluate(place.context, what.id, "DE", LATER)
    evaluate(place.context, what.id, "DE", LATER - timedelta(days=2))  # an earlier moment never replaces a later one
    with place.context.database.read() as session:
        (kept,) = session.scalars(select(SeriesEvaluation)).all()
        assert (kept.observed, kept.week.isoformat(), kept.counts[-1]) == (2, "2026-11-23", 2)
        again = recomputed(kept)
        assert (again.p, again.expected, again.method) == (kept.p, kept.expected, kept.method)


def test_tests_done_are_taken_into_account_where_they_cover_the_weeks(place: Any) -> None:
    what, other = place.substance("x", group="other"), place.substance("y", group="other")
    put(place, other, START)
    put(place, what, LATER - timedelta(days=2))
    with place.context.database.write() as session:
        for month in range(1, 13):
            first = date(2026, month, 1)
            session.add(
                ActivityReport(
                    org_id=place.lab.id, country="DE", period=f"2026-{month:02}", first_day=first,
                    last_day=(first + timedelta(days=31)).replace(day=1) - timedelta(days=1),
                    samples_tested=310 if month < 11 else 3100, tlp="GREEN", body="{}", actor="key:x", received_at=START,
                )
            )  # fmt: skip
    with place.context.database.read() as session:
        series = weekly(session, session.get_one(Substance, what.id), "DE", LATER)
    assert series.tests is not None
    assert len(series.tests) == len(series.counts)
    assert 8 < series.tests[-1] / series.tests[10] < 12
