"""What the newest samples of a substance were: form, purity, what lay beside it, where they came from. For readers of rows.

At most `NEWEST` samples are looked at, so that a common substance takes no longer than a rare one; every figure says of how many.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session, aliased

from app.auth.permissions import Principal
from app.persistence.models import Detection, Incident, IncidentSubstance, Report, Sample, Substance
from app.sharing.rows import open_routes
from app.statements.service import current, readable_incidents
from app.substances.queries import detections_of

NEWEST = 500
MOST_BESIDE = 10
LEAST_FOR_QUARTILES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Purity:
    """Purities in per cent on one basis; the quartiles from 10 samples on."""

    basis: str
    samples: int
    middle: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """`forms` by code (empty: not stated), `beside` as (name, samples), `routes` as (origin, destination, samples) of the
    `with_route` reports whose route the reader may see; `told_diverted` are incidents of diversion that name the substance.
    """

    looked_at: int
    forms: tuple[tuple[str, int], ...]
    purities: tuple[Purity, ...]
    beside: tuple[tuple[str, int], ...]
    routes: tuple[tuple[str, str, int], ...]
    with_route: int
    falsified: int
    patient_owned: int
    told_diverted: int


def samples_of(session: Session, reader: Principal, substance_ids: Sequence[str]) -> Samples:
    """Four queries."""
    rows = session.execute(
        select(
            Detection.report_id, Sample.form, Sample.context_detail, Detection.purity_percent, Detection.purity_as
        )
        .join(Sample, Sample.report_id == Detection.report_id)
        .where(detections_of(reader, substance_ids))
        .order_by(Detection.received_at.desc(), Detection.id.desc())
        .limit(NEWEST)
    ).all()  # fmt: skip
    reports = sorted({row.report_id for row in rows})
    other = aliased(Detection)
    beside = session.execute(
        select(Substance.name, func.count(other.report_id.distinct()).label("n"))
        .select_from(other)
        .join(Substance, Substance.id == other.substance_id)
        .where(other.report_id.in_(reports), other.counted, other.relation == "parent", other.substance_id.not_in(substance_ids))
        .group_by(Substance.id, Substance.name)
        .order_by(func.count(other.report_id.distinct()).desc(), Substance.name)
        .limit(MOST_BESIDE)
    ).all()
    routes = session.execute(
        select(Sample.origin, Sample.destination, func.count())
        .join(Report, Report.id == Sample.report_id)
        .where(Sample.report_id.in_(reports), Sample.origin.is_not(None), open_routes(reader))
        .group_by(Sample.origin, Sample.destination)
    ).all()
    diverted = session.scalar(
        select(func.count(Incident.id.distinct()))
        .join(IncidentSubstance, IncidentSubstance.incident_id == Incident.id)
        .where(
            IncidentSubstance.substance_id.in_(substance_ids),
            and_(Incident.kind == "diversion", current(Incident), readable_incidents(reader)),
        )
    )
    forms = Counter(row.form or "" for row in rows)
    legs = sorted(((str(o), d or "", int(n)) for o, d, n in routes), key=lambda leg: (-leg[2], leg[0], leg[1]))
    return Samples(
        looked_at=len(rows),
        forms=tuple(sorted(forms.items(), key=lambda pair: (-pair[1], pair[0]))),
        purities=_purities([(row.purity_as or "", row.purity_percent) for row in rows if row.purity_percent is not None]),
        beside=tuple((name, int(n)) for name, n in beside),
        routes=tuple(legs),
        with_route=sum(n for *_, n in legs),
        falsified=forms.get("falsified_medicine", 0),
        patient_owned=sum(1 for row in rows if row.context_detail == "patient_owned"),
        told_diverted=int(diverted or 0),
    )


def _purities(found: Sequence[tuple[str, float]]) -> tuple[Purity, ...]:
    result = []
    for basis in sorted({basis for basis, _ in found}):
        values = sorted(value for given, value in found if given == basis)
        quarters = quantiles(values, n=4) if len(values) >= LEAST_FOR_QUARTILES else None
        result.append(
            Purity(
                basis=basis, samples=len(values), middle=median(values), low=quarters[0] if quarters else None,
                high=quarters[2] if quarters else None, values=tuple(values),
            )
        )  # fmt: skip
    return tuple(sorted(result, key=lambda purity: (-purity.samples, purity.basis)))
