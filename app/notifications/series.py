"""What the statistical rules read: weekly findings, harm events by day, first detections by country. As of a moment."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, or_, select, true
from sqlalchemy.orm import Session

from alerts.regression import BASELINE_WEEKS, GUARD_WEEKS
from alerts.statistics import scaled_tests
from alerts.triggers import CAUSAL_ROLES, COUNTED_CONFIDENCE, GRAVE_WITHOUT_DEATH, HARD_EXPOSURE
from app.persistence.models import ActivityReport, CaseSubstance, Detection, HarmCase, HistoryRecord, Report, Sample, Substance

WEEKS = BASELINE_WEEKS + GUARD_WEEKS + 1
SCAN_HISTORY_DAYS = 395
SPREAD_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A detection under a statistical alert."""

    report_id: str
    detection_id: str
    org_id: str
    tlp: str
    confidence: str
    received_at: datetime
    case_id: str | None = None
    death: bool = False
    day: date | None = None
    product: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekly:
    """Weekly counts of independent findings, oldest first, ending with the week of the moment; `recent` those of the last 4
    weeks. `tests` are tests done in the same weeks, scaled to a mean of 1; None where fewer than 80 % of the weeks have them.
    """

    counts: tuple[int, ...]
    tests: tuple[float, ...] | None
    recent: tuple[Finding, ...]
    laboratories: int
    reporting_laboratories: int
    class_mean: float | None


def _series(as_of: datetime) -> ColumnElement[bool]:
    """Detections that count for statistics: current, of no test, no screening result, no historical import, not above
    AMBER+STRICT.
    """
    return and_(
        Detection.counted.is_(True),
        Detection.test.is_(False),
        Detection.relation == "parent",
        Detection.confidence != "screening",
        Detection.tlp != "RED",
        Detection.received_at <= as_of,
        Report.historical.is_(False),
        Report.state == "active",
    )


def pairs_received(session: Session, since: datetime, until: datetime) -> list[tuple[str, str]]:
    """Substances and countries of what was received in the span, alertable substances only, in a fixed order."""
    rows = session.execute(
        select(Detection.substance_id, Detection.country)
        .distinct()
        .join(Report, Report.id == Detection.report_id)
        .join(Substance, Substance.id == Detection.substance_id)
        .where(_series(until), Detection.received_at >= since, Substance.ordinary.is_(False))
        .order_by(Detection.substance_id, Detection.country)
    )
    return [(str(substance_id), country) for substance_id, country in rows]


def weekly(
    session: Session, substance: Substance, country: str, as_of: datetime, readable: ColumnElement[bool] | None = None
) -> Weekly:
    """The weekly series by receipt. A laboratory's findings of one day are one batch and count once.

    `readable` narrows it to the rows that a reader may see.
    """
    start = as_of - timedelta(weeks=WEEKS)
    rows = session.execute(
        select(Detection.report_id, Detection.id, Detection.org_id, Detection.tlp, Detection.confidence, Detection.received_at)
        .join(Report, Report.id == Detection.report_id)
        .where(
            _series(as_of),
            true() if readable is None else readable,
            Detection.substance_id == substance.id,
            Detection.country == country,
            Detection.received_at > start,
        )
        .order_by(Detection.received_at, Detection.id)
    ).all()
    known_since = session.scalar(
        select(func.min(Report.received_at)).where(
            Report.country == country, Report.historical.is_(False), Report.received_at > start
        )
    )
    known_weeks = min(WEEKS, max(1, _weeks_ago(known_since, as_of) + 1)) if known_since is not None else 1
    batches: dict[int, set[tuple[str, date]]] = defaultdict(set)
    recent = []
    for report_id, detection_id, org_id, tlp, confidence, received_at in rows:
        ago = _weeks_ago(received_at, as_of)
        batches[ago].add((org_id, received_at.date()))
        if ago < 4:
            recent.append(
                Finding(
                    report_id=report_id,
                    detection_id=detection_id,
                    org_id=org_id,
                    tlp=tlp,
                    confidence=confidence,
                    received_at=received_at,
                )
            )
    reporting = session.scalar(
        select(func.count(Report.org_id.distinct())).where(
            Report.country == country, Report.received_at > as_of - timedelta(weeks=52), Report.received_at <= as_of
        )
    )
    return Weekly(
        counts=tuple(len(batches[ago]) for ago in range(known_weeks - 1, -1, -1)),
        tests=_tests_done(session, country, as_of, known_weeks),
        recent=tuple(recent),
        laboratories=len({item.org_id for item in recent}),
        reporting_laboratories=reporting or 0,
        class_mean=_class_mean(session, substance, country, as_of, known_weeks),
    )


def _tests_done(session: Session, country: str, as_of: datetime, weeks: int) -> tuple[float, ...] | None:
    """Tests that the laboratories of a country state, spread evenly over the days of their periods, by week."""
    first = monday(as_of) - timedelta(weeks=weeks - 1)
    stated = session.execute(
        select(ActivityReport.first_day, ActivityReport.last_day, ActivityReport.samples_tested).where(
            ActivityReport.country == country,
            ActivityReport.test.is_(False),
            ActivityReport.replaced_by.is_(None),
            ActivityReport.withdrawn_at.is_(None),
            ActivityReport.received_at <= as_of,
            ActivityReport.last_day >= first,
        )
    )
    done = [0.0] * weeks
    for first_day, last_day, samples in stated:
        daily = samples / ((last_day - first_day).days + 1)
        for place in range(weeks):
            start = first + timedelta(weeks=place)
            days = (min(last_day, start + timedelta(days=6)) - max(first_day, start)).days + 1
            done[place] += daily * max(0, days)
    scaled = scaled_tests(done)
    return None if scaled is None else tuple(scaled)


def _weeks_ago(moment: datetime, as_of: datetime) -> int:
    """Calendar weeks (from Monday, UTC) between the week of the one and the week of the other."""
    return (monday(as_of) - monday(moment)).days // 7


def monday(moment: datetime) -> date:
    """The first day of the calendar week."""
    return moment.date() - timedelta(days=moment.weekday())


def _class_mean(session: Session, substance: Substance, country: str, as_of: datetime, weeks: int) -> float | None:
    """Findings a week and substance of the class in the country before the guard; None for a substance without a class."""
    if substance.chemical_group == "other":
        return None
    until = as_of - timedelta(weeks=4)
    count, members = session.execute(
        select(func.count(), func.count(Detection.substance_id.distinct()))
        .select_from(Detection)
        .join(Report, Report.id == Detection.report_id)
        .join(Substance, Substance.id == Detection.substance_id)
        .where(
            _series(until),
            Substance.chemical_group == substance.chemical_group,
            Detection.country == country,
            Detection.received_at > as_of - timedelta(weeks=WEEKS),
        )
    ).one()
    return count / (max(1, weeks - 4) * max(1, members))


def grave_events(session: Session, substance_id: str, country: str, as_of: datetime) -> dict[str | None, list[Finding]]:
    """Serious-harm events with this substance by subdivision (None: the country as a whole), oldest first, over 395 days by
    sample day.

    The same conditions as the rule `serious_harm`. An event whose subdivision is known stands under it and under None.
    """
    since = (as_of - timedelta(days=SCAN_HISTORY_DAYS)).date()
    causal = or_(
        and_(HarmCase.seriousness == "death", CaseSubstance.role.in_(CAUSAL_ROLES)),
        and_(HarmCase.seriousness.in_(GRAVE_WITHOUT_DEATH), CaseSubstance.role != "incidental"),
    )
    rows = session.execute(
        select(
            HarmCase.id, HarmCase.subdivision, HarmCase.seriousness, Detection.report_id, Detection.id, Detection.org_id,
            Detection.tlp, Detection.confidence, Detection.received_at, Detection.sampled_on, Sample.product_key,
        )
        .join(CaseSubstance, CaseSubstance.case_id == HarmCase.id)
        .join(Detection, Detection.id == CaseSubstance.detection_id)
        .join(Report, Report.id == Detection.report_id)
        .join(Sample, Sample.report_id == Report.id)
        .where(
            _series(as_of),
            HarmCase.counted.is_(True),
            HarmCase.country == country,
            HarmCase.exposure_evidence.in_(HARD_EXPOSURE),
            Detection.substance_id == substance_id,
            Sample.date_precision == "day",
            Detection.sampled_on > since,
            Detection.sampled_on <= as_of.date(),
            causal,
        )
        .order_by(Detection.sampled_on, HarmCase.id)
    )  # fmt: skip
    found: dict[str | None, list[Finding]] = defaultdict(list)
    for case_id, subdivision, seriousness, report_id, detection_id, org_id, tlp, confidence, received_at, day, product in rows:
        event = Finding(
            report_id=report_id, detection_id=detection_id, org_id=org_id, tlp=tlp, confidence=confidence,
            received_at=received_at, case_id=case_id, death=seriousness == "death", day=day, product=product,
        )  # fmt: skip
        found[None].append(event)
        if subdivision is not None:
            found[subdivision].append(event)
    return dict(found)


def new_countries(session: Session, substance: Substance, as_of: datetime) -> list[tuple[str, Finding]]:
    """Countries whose first confirmed or probable detection was sampled and received in the last 90 days, oldest first, with it.

    A country that an operator's history knows is not new.
    """
    since = as_of - timedelta(days=SPREAD_DAYS)
    firsts = session.execute(
        select(Detection.country, func.min(Detection.received_at), func.min(Detection.sampled_on))
        .join(Report, Report.id == Detection.report_id)
        .where(
            Detection.substance_id == substance.id,
            Detection.counted.is_(True),
            Detection.test.is_(False),
            Detection.relation == "parent",
            Detection.confidence.in_(COUNTED_CONFIDENCE),
            Detection.received_at <= as_of,
            Report.state == "active",
        )
        .group_by(Detection.country)
    ).all()
    known = set(session.scalars(select(HistoryRecord.area).where(HistoryRecord.substance_key == substance.key)))
    found = []
    for country, received_at, sampled_on in firsts:
        if country in known or received_at <= since or sampled_on <= since.date():
            continue
        row = session.execute(
            select(Detection.report_id, Detection.id, Detection.org_id, Detection.tlp, Detection.confidence)
            .where(
                Detection.substance_id == substance.id,
                Detection.country == country,
                Detection.counted.is_(True),
                Detection.received_at == received_at,
                Detection.confidence.in_(COUNTED_CONFIDENCE),
            )
            .order_by(Detection.id)
            .limit(1)
        ).one()
        finding = Finding(
            report_id=row[0],
            detection_id=row[1],
            org_id=row[2],
            tlp=row[3],
            confidence=row[4],
            received_at=received_at,
            day=sampled_on,
        )
        if finding.tlp != "RED":
            found.append((country, finding))
    return sorted(found, key=lambda pair: (pair[1].received_at, pair[0]))


def causal_death_since(session: Session, substance_id: str, since: date, as_of: datetime) -> bool:
    """Whether a death with a causal role of this substance was sampled since that day."""
    return bool(
        session.scalar(
            select(
                exists()
                .where(CaseSubstance.detection_id == Detection.id, CaseSubstance.case_id == HarmCase.id)
                .where(
                    Detection.substance_id == substance_id,
                    Detection.counted.is_(True),
                    Detection.test.is_(False),
                    Detection.received_at <= as_of,
                    Detection.sampled_on >= since,
                    HarmCase.counted.is_(True),
                    HarmCase.seriousness == "death",
                    CaseSubstance.role.in_(CAUSAL_ROLES),
                )
            )
        )
    )
