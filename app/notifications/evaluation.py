"""The statistical rules: `spike`, `cluster` and `rapid_spread`, evaluated minutes after a report and once a day.

An `evaluate` task is written with each report, keyed by the minute of receipt, so that a backlog sent at full speed is
evaluated once a minute. It looks at every substance and country received around that minute, as of its end. An episode has one
alert, which is updated as it grows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from alerts.outbox import DONE, Result, TaskItem, keeper
from alerts.statistics import SCAN_DAYS, Verdict, scan, verdict_of
from alerts.triggers import capped
from alerts.values import Level, Signal, SubstanceFacts
from app.context import AppContext
from app.notifications.episodes import raise_episode
from app.notifications.series import (
    SCAN_HISTORY_DAYS,
    SPREAD_DAYS,
    Finding,
    Weekly,
    causal_death_since,
    grave_events,
    monday,
    new_countries,
    pairs_received,
    weekly,
)
from app.notifications.signals import note_discoveries, note_evaluation
from app.persistence.models import Substance
from app.regions import region_of
from chem.stored import status_with

NEW_COUNTRIES = 3
CLUSTER_EVENTS = 3
HomeOf = Callable[[str | None], Sequence[str]]  # the instruments of a country
CONFIDENCE_ORDER = ("screening", "tentative", "probable", "confirmed")


def evaluate_handler(context: AppContext, renew: Callable[[TaskItem], bool]) -> Callable[[TaskItem], Result]:
    """The handler of the topic `evaluate`. Each series is a transaction of its own; evaluating twice changes nothing.

    The lease is renewed by `renew`; where it was lost, the new owner goes on.
    """

    def handle(task: TaskItem) -> Result:
        since, as_of = (datetime.fromisoformat(task.payload[name]) for name in ("since", "as_of"))
        with context.database.read() as session:
            pairs = pairs_received(session, since, as_of)
        held = keeper(task, renew)
        for substance_id, country in pairs:
            if not held():
                return Result(outcome="failed", error="the lease was lost")
            evaluate(context, substance_id, country, as_of)
        if task.key.startswith("daily:"):
            with context.database.write() as session:
                note_discoveries(session, as_of)
        return DONE

    return handle


def evaluate(context: AppContext, substance_id: str, country: str, as_of: datetime) -> list[str]:
    """Run the three rules on one substance and country as of a moment; the ids of alerts raised or updated."""
    home_of = context.chemistry.home_of
    with context.database.read() as session:
        substance = session.get_one(Substance, substance_id)
        series = weekly(session, substance, country, as_of)
        verdict = verdict_of(series.counts, class_mean=series.class_mean, tests=series.tests)
        found = [
            *_spike(series, verdict, substance, country, as_of, home_of),
            *_clusters(session, substance, country, as_of, home_of),
            *_spread(session, substance, as_of, home_of),
        ]
    with context.database.write() as session:
        note_evaluation(session, substance_id, country, as_of, series, verdict)
    raised = []
    for signal, evidence in found:
        with context.database.write() as session:
            alert_id = raise_episode(session, signal, evidence, context.now())
        if alert_id is not None:
            raised.append(alert_id)
    return raised


def _best(evidence: Sequence[Finding]) -> tuple[str, int]:
    """The best confidence among the findings, and how many laboratories gave it or a better one."""
    best = max((item.confidence for item in evidence), key=CONFIDENCE_ORDER.index)
    return best, len({item.org_id for item in evidence})


def _signal(
    substance: Substance,
    kind: str,
    key: str,
    level: Level,
    numbers: dict[str, object],
    evidence: Sequence[Finding],
    country: str,
    as_of: datetime,
    home_of: HomeOf,
) -> Signal:
    """The signal. Its texts speak of the law of its country beside the UN conventions, and so does its status."""
    confidence, laboratories = _best(evidence)
    status = status_with(substance.legal_status, substance.matches, home_of(country))
    return Signal(
        type=kind,
        rule=f"{kind}/1",
        dedupe_key=f"{kind}:{key}",
        level=capped(level, confidence, laboratories=laboratories),
        numbers={"month": f"{as_of:%Y-%m}", "confidence": confidence, "laboratories": laboratories} | numbers,
        substance=SubstanceFacts(
            id=substance.id,
            key=substance.key,
            name=substance.name,
            chemical_group=substance.chemical_group,
            effect_group=substance.effect_group,
            controlled=status == "controlled",
            legal_status=status,
            inchikey=substance.inchikey,
            alertable=not substance.ordinary,
            harmful_adulterant=substance.harmful_adulterant,
        ),
        controlled=status == "controlled",
        confidence=confidence,
        country=country,
        region=region_of(country),
        month=f"{as_of:%Y-%m}",
        detection_id=None,
    )


Found = tuple[Signal, Sequence[Finding]]


def _spike(series: Weekly, verdict: Verdict, substance: Substance, country: str, as_of: datetime, home_of: HomeOf) -> list[Found]:
    """At least 3 findings in 4 weeks from 2 laboratories, or from 1 where no more than one reports; then at most level 2."""
    if sum(series.counts[-4:]) < 3 or (series.laboratories < 2 and series.reporting_laboratories > 1):
        return []
    if not verdict.alarm:
        return []
    numbers: dict[str, object] = {
        "method": verdict.method,
        "p": verdict.p,
        "observed": verdict.observed,
        "expected": round(verdict.expected, 4),
        "dispersion": round(verdict.dispersion, 4),
        "window_weeks": verdict.window,
        "adjusted_for_tests": series.tests is not None,
    }
    key = f"{substance.id}:{country}:{monday(as_of).isoformat()}"
    signal = _signal(substance, "spike", key, Level.ADVISORY, numbers, series.recent, country, as_of, home_of)
    return [(signal, series.recent)]


def _clusters(session: Session, substance: Substance, country: str, as_of: datetime, home_of: HomeOf) -> list[Found]:
    """Three or more grave events in one subdivision, else in the country, within 30 days, that chance would give once a year or
    less, or that share a product.
    """
    found: list[Found] = []
    by_area = grave_events(session, substance.id, country, as_of)
    for area, events in sorted(by_area.items(), key=lambda pair: pair[0] or "~"):
        if area is None and found:
            continue  # a subdivision says it more precisely
        days = [0] * SCAN_HISTORY_DAYS
        for event in events:
            assert event.day is not None
            days[-1 - (as_of.date() - event.day).days] += 1
        cluster = scan(days, seed=f"{substance.id}:{area or country}:{as_of.date().isoformat()}")
        scanned = cluster is not None and cluster.alarm and cluster.cases >= CLUSTER_EVENTS
        days_back = cluster.days if cluster is not None and scanned else SCAN_DAYS
        first = as_of.date() - timedelta(days=days_back - 1)
        inside = [event for event in events if event.day is not None and event.day >= first]
        if not scanned:
            inside = _of_one_product(inside)
            if not inside:
                continue
        deaths = len({event.case_id for event in inside if event.death})
        numbers: dict[str, object] = {
            "events": len({event.case_id for event in inside}),
            "deaths": deaths,
            "days": days_back,
        }
        if cluster is not None:
            numbers |= {"expected": round(cluster.expected, 4), "recurrence_days": round(cluster.recurrence_days)}
        if not scanned:
            numbers["shared_product"] = True
        level = Level.URGENT if deaths >= 2 else Level.ALERT
        key = f"{substance.id}:{area or country}:{inside[0].day}"
        found.append((_signal(substance, "cluster", key, level, numbers, inside, country, as_of, home_of), inside))
    return found


def _of_one_product(events: Sequence[Finding]) -> list[Finding]:
    """The events of the product that most of them share, where there are three or more; else none."""
    by_product: dict[str, list[Finding]] = {}
    for event in events:
        if event.product is not None:
            by_product.setdefault(event.product, []).append(event)
    most = max(by_product.values(), key=lambda found: len({event.case_id for event in found}), default=[])
    return most if len({event.case_id for event in most}) >= CLUSTER_EVENTS else []


def _spread(session: Session, substance: Substance, as_of: datetime, home_of: HomeOf) -> list[Found]:
    """The third new country in 90 days; level 3 with a death in which the substance had a causal role."""
    fresh = new_countries(session, substance, as_of)
    if len(fresh) < NEW_COUNTRIES:
        return []
    began = as_of - timedelta(days=SPREAD_DAYS)
    death = causal_death_since(session, substance.id, began.date(), as_of)
    numbers: dict[str, object] = {"countries": [country for country, _ in fresh], "days": SPREAD_DAYS, "causal_death": death}
    evidence = [finding for _, finding in fresh]
    level = Level.ALERT if death else Level.ADVISORY
    key = f"{substance.id}:{evidence[0].received_at:%Y-%m-%d}"
    return [(_signal(substance, "rapid_spread", key, level, numbers, evidence, fresh[-1][0], as_of, home_of), evidence)]
