"""Evaluations of weekly series: kept with their inputs, so that each can be computed again and shown with its reason."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from alerts.statistics import Verdict, false_discoveries_held, verdict_of
from app.notifications.series import Weekly, monday
from app.persistence.base import new_id
from app.persistence.models import SeriesEvaluation
from app.persistence.tasks import insert_once


def note_evaluation(session: Session, substance_id: str, country: str, as_of: datetime, series: Weekly, verdict: Verdict) -> None:
    """Keep the evaluation of a series: one row a week, that of the latest moment. Evaluating twice changes nothing."""
    key = {"substance_id": substance_id, "country": country, "week": monday(as_of)}
    values = {
        "as_of": as_of,
        "method": verdict.method,
        "window": verdict.window,
        "observed": verdict.observed,
        "expected": verdict.expected,
        "dispersion": verdict.dispersion,
        "p": verdict.p,
        "alarm": verdict.alarm,
        "laboratories": series.laboratories,
        "counts": list(series.counts),
        "tests": None if series.tests is None else list(series.tests),
        "class_mean": series.class_mean,
    }
    if insert_once(session, SeriesEvaluation, {"id": new_id()} | key | values):
        return
    kept = session.scalars(select(SeriesEvaluation).filter_by(**key).with_for_update()).one()
    if kept.as_of <= as_of:
        for name, value in values.items():
            setattr(kept, name, value)


def recomputed(kept: SeriesEvaluation) -> Verdict:
    """The verdict computed again from the inputs that were kept."""
    return verdict_of(kept.counts, class_mean=kept.class_mean, tests=kept.tests)


def note_discoveries(session: Session, as_of: datetime) -> int:
    """Mark which evaluations of the week of this moment stand at a false discovery rate of 5 % over all of them; their number.

    Benjamini and Hochberg over the p values of the run; only what is above its expectation is a discovery.
    """
    rows = session.scalars(
        select(SeriesEvaluation).where(SeriesEvaluation.week == monday(as_of)).order_by(SeriesEvaluation.id)
    ).all()
    held = false_discoveries_held([row.p for row in rows])
    for row, stands in zip(rows, held, strict=True):
        row.held = stands and row.observed > row.expected
    return sum(bool(row.held) for row in rows)
