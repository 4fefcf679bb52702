"""The fast way in for the rows of an import: what repeats in a file is worked out once, and rows go in many at a time.

A row takes this way only where the rules cannot raise anything by it: a historical one, one older than 180 days, or one whose
substance this import has itself put there before in the same country, form and within the year. Every other row goes the
ordinary way, after the rows before it, so that rules compare with exactly what came earlier. Both ways write the same rows.

What is kept is keyed by the text that was read, the day, and the version of normalisation and rules; nothing outlives the run.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Any, cast

from sqlalchemy import Table, select
from sqlalchemy.orm import Session

from alerts.patterns import SILENT_MONTHS
from app.chemistry import Chemistry
from app.intake import queries, rows
from app.intake import service as intake
from app.intake.resolve import ResolvedSubstance
from app.intake.rows import Submission
from app.intake.schemas import first_day
from app.intake.substances import queue_for_curation, substance_row
from app.notifications.evaluation_queue import enqueue
from app.persistence.base import Base, new_id
from app.persistence.bulk_insert import bulk_insert
from app.persistence.models import CaseSubstance, Detection, HarmCase, Report, ReportVersion, Sample, Substance
from app.persistence.trail import note_rows
from app.regions import region_of

KNOWN_FOR = timedelta(seconds=30)
FRESH = timedelta(days=30 * SILENT_MONTHS)


# parents first
_TABLES = tuple(cast(Table, model.__table__) for model in (Report, ReportVersion, Sample, Detection, HarmCase, CaseSubstance))


@dataclass(slots=True)
class _Known:
    """What was known of a substance in a country at a moment, carried on by what this import stores."""

    at: datetime
    everything: list[bool]  # country, region, world
    seen: list[bool]
    history: list[bool]
    others: int
    region: str


@dataclass(slots=True)
class _Kind:
    """A substance's row as this run needs it."""

    id: str
    key: str
    name: str
    shipped: bool
    harmful: bool
    known: dict[str, _Known] = field(default_factory=dict)
    last: dict[str, date] = field(default_factory=dict)
    forms: set[tuple[str, str]] = field(default_factory=set)


class Writer:
    """Collects the rows of quiet reports and writes them table by table."""

    def __init__(self, chemistry: Chemistry) -> None:
        self._chemistry = chemistry
        self._kinds: dict[str, _Kind] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._labels: dict[str, tuple[ResolvedSubstance, int]] = {}
        self._evaluate: tuple[datetime, datetime] | None = None

    # -- substances -------------------------------------------------------------------------------------------------------

    def begin(self, session: Session) -> None:
        """At the start of a transaction: forget substances that were merged away meanwhile."""
        ids = [kind.id for kind in self._kinds.values()]
        gone = set()
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            gone |= set(session.scalars(select(Substance.id).where(Substance.id.in_(part), Substance.merged_into.is_not(None))))
        if gone:
            self._kinds = {key: kind for key, kind in self._kinds.items() if kind.id not in gone}

    def forget(self) -> None:
        """After a transaction that was rolled back: nothing of it is there."""
        self._kinds.clear()
        self._rows.clear()
        self._labels.clear()
        self._evaluate = None

    def _kind(self, session: Session, item: ResolvedSubstance, now: datetime) -> _Kind:
        assert item.substance is not None
        kind = self._kinds.get(item.substance.key)
        if kind is None:
            row = substance_row(session, self._chemistry, item, now)
            kind = _Kind(id=row.id, key=row.key, name=row.name, shipped=row.shipped, harmful=row.harmful_adulterant)
            self._kinds[item.substance.key] = kind
        return kind

    def _known(self, session: Session, kind: _Kind, country: str, submission: Submission, now: datetime) -> _Known:
        known = kind.known.get(country)
        if known is None or now - known.at > KNOWN_FOR:
            region = region_of(country)
            found = queries.known_before(session, country, submission.principal, substance_id=kind.id)
            assert found is not None
            known = _Known(now, list(found.everything), list(found.seen), list(found.history), found.other_laboratories, region)
            kind.known[country] = known
        return known

    # -- rows -------------------------------------------------------------------------------------------------------------

    def takes(self, submission: Submission) -> bool:
        """Whether the report can go in this way: nothing can be raised by it."""
        if rows.is_quiet(submission):
            return True
        report = submission.report
        if report.cases or submission.sold_as is not None:
            return False
        country = report.sample.country
        sampled, region = first_day(report.sample.date_sampled), region_of(country)
        for item in submission.resolved:
            if item.substance is None or item.source.relation != "parent":
                continue
            kind = self._kinds.get(item.substance.key)
            if kind is None or kind.harmful or item.substance.harmful_adulterant or item.source.purity_percent is not None:
                return False
            last = kind.last.get(country)
            if last is None or abs(sampled - last) > FRESH:
                return False
            if report.sample.form is not None and (region, report.sample.form) not in kind.forms:
                return False
        return True

    def learn(self, session: Session, submission: Submission, now: datetime) -> None:
        """What a report makes known that went in the ordinary way."""
        for item in submission.resolved:
            if item.substance is not None:
                self._carry_on(self._kind(session, item, now), item, submission, drop=True)

    def _carry_on(self, kind: _Kind, item: ResolvedSubstance, submission: Submission, *, drop: bool) -> None:
        if item.source.relation != "parent":
            return
        sample = submission.report.sample
        region = region_of(sample.country)
        if sample.form is not None:
            kind.forms.add((region, sample.form))
        if item.confidence not in queries.COUNTED:
            return
        sampled = first_day(sample.date_sampled)
        kind.last[sample.country] = max(kind.last.get(sample.country, sampled), sampled)
        if drop:
            kind.known.clear()
            return
        for country, known in kind.known.items():
            near = (country == sample.country, known.region == region, True)
            # rows of a test organisation are known to itself alone, and that is who asks here
            known.everything = [a or b for a, b in zip(known.everything, near, strict=True)]
            known.seen = [a or b for a, b in zip(known.seen, near, strict=True)]

    def add(self, session: Session, submission: Submission, sha256: str, now: datetime) -> None:
        """Take a report on; `write` puts it into the tables."""
        report, country = submission.report, submission.report.sample.country
        row = rows.report_values(submission)
        report_id = row["id"]
        answers, detections = [], []
        for item in submission.resolved:
            kind = self._kind(session, item, now) if item.substance is not None else None
            place = rows.Place()
            if kind is not None:
                place = rows.Place(substance_id=kind.id, name=kind.name)
                if item.source.relation == "parent":
                    known = self._known(session, kind, country, submission, now)
                    scope = queries.scope_of(known.seen, known.history, shipped=kind.shipped)
                    place = replace(place, first_seen=scope, other_laboratories=known.others)
            answers.append(rows.substance_answer(item, place))
            detections.append(rows.detection_values(report_id, 1, item, place.substance_id, submission, self._chemistry.version))
            if kind is not None:
                self._carry_on(kind, item, submission, drop=False)
            if item.curation_reason and report.tlp in intake.CURATED_LABELS:
                label, times = self._labels.get(item.label, (item, 0))
                self._labels[item.label] = (label, times + 1)
        row["answer"] = rows.answer_text(report_id, 1, submission, submission.received_at, [], answers)
        self._put(Report, row)
        self._put(ReportVersion, rows.version_values(submission, report_id, 1, "created", None, sha256))
        sample = rows.sample_values(report)
        sample |= {"id": new_id(), "report_id": report_id}
        self._put(Sample, sample)
        for values in detections:
            self._put(Detection, values)
        placed = [(values["id"], values["relation"]) for values in detections]
        for case, roles in rows.case_rows(submission, report_id, 1, placed) if report.cases else ():
            self._put(HarmCase, case)
            for index, role in roles.items():
                self._put(CaseSubstance, {"case_id": case["id"], "detection_id": placed[index][0], "role": role})
        if not rows.is_quiet(submission) and not submission.principal.test:
            self._evaluate = (submission.received_at, now)

    def _put(self, model: type[Base], values: dict[str, Any]) -> None:
        self._rows.setdefault(model.__tablename__, []).append(values)

    def write(self, session: Session, now: datetime) -> None:
        """Put into the tables what was taken on, parents first."""
        connection = session.connection()
        for table in _TABLES:
            rows = self._rows.pop(table.name, None)
            if rows:
                bulk_insert(table, connection.dialect).run(connection, rows)
                note_rows(session, "created", table.name, (row["id"] for row in rows if "id" in row), len(rows))
        for item, times in self._labels.values():
            queue_for_curation(session, item, now, times=times)
        self._labels.clear()
        if self._evaluate is not None:
            enqueue(session, *self._evaluate)
            self._evaluate = None
