"""What the samples of a substance were: form, purity, what lay beside it, where they came from. For readers of rows.

All samples are counted, by the database; of a substance with more than `MOST` the newest `MOST`, so that the time of the
commonest one is bounded too. `Samples.of` says which, and every figure prints it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from sqlalchemy import Subquery, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.auth.permissions import Principal
from app.persistence.models import Detection, Incident, IncidentSubstance, Report, Sample, Substance
from app.sharing.masking import SHOWN_CONFIDENCES
from app.sharing.rows import open_routes
from app.statements.service import current, readable_incidents
from app.substances.queries import detections_of, with_merged

MOST = 20_000
MOST_BESIDE = 10
LEAST_FOR_QUARTILES = 10


@dataclass(frozen=True, slots=True)
class Split:
    """A count with its parts by confidence."""

    confirmed: int = 0
    probable: int = 0

    @property
    def n(self) -> int:
        return self.confirmed + self.probable

    def __add__(self, other: Split) -> Split:
        return Split(self.confirmed + other.confirmed, self.probable + other.probable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purity:
    """Purities in per cent of one form on one basis, in order; the quartiles from 10 samples on."""

    form: str
    basis: str
    count: Split
    middle: float
    low: float | None
    high: float | None
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Countries by code; an empty destination was not stated."""

    origin: str
    transit: tuple[str, ...]
    destination: str
    count: Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """`forms` by code (empty: not stated), the commonest first; `beside` by name; `routes` of the reports whose route the reader
    may see; `details` by the detail of the context; `told_diverted` are incidents of diversion that name the substance.
    """

    looked_at: Split
    forms: tuple[tuple[str, Split], ...]
    purities: tuple[Purity, ...]
    beside: tuple[tuple[str, Split], ...]
    routes: tuple[Route, ...]
    details: dict[str, Split] = field(default_factory=dict)
    told_diverted: int

    @property
    def of(self) -> str:
        """Which samples these are: "all 412 samples", or "the newest 20,000 samples"."""
        if self.looked_at.n >= MOST:
            return f"the newest {self.looked_at.n:,} samples"
        return "the only sample" if self.looked_at.n == 1 else f"all {self.looked_at.n:,} samples"

    @property
    def with_route(self) -> int:
        return sum(route.count.n for route in self.routes)


def samples_of(session: Session, reader: Principal, substance_ids: Sequence[str]) -> Samples:
    """Four queries, whatever the number of detections. Confirmed and probable detections, of the whole history."""
    newest = (
        select(Detection.report_id, Detection.confidence, Detection.purity_percent, Detection.purity_as)
        .where(detections_of(reader, substance_ids))
        .order_by(Detection.received_at.desc(), Detection.id.desc())
        .limit(MOST)
        .subquery("newest")
    )
    columns = (Sample.form, Sample.context_detail, newest.c.confidence, newest.c.purity_as, newest.c.purity_percent)
    rows = session.execute(
        select(*columns, func.count()).select_from(newest).join(Sample, Sample.report_id == newest.c.report_id).group_by(*columns)
    ).all()
    forms: dict[str, Split] = defaultdict(Split)
    details: dict[str, Split] = defaultdict(Split)
    purities: dict[tuple[str, str], Counter[tuple[str, float]]] = defaultdict(Counter)
    for form, detail, confidence, basis, percent, n in rows:
        forms[form or ""] += _part(confidence, n)
        details[detail or ""] += _part(confidence, n)
        if percent is not None:
            purities[form or "", basis or ""][confidence, float(percent)] += n
    diverted = session.scalar(
        select(func.count(Incident.id.distinct()))
        .join(IncidentSubstance, IncidentSubstance.incident_id == Incident.id)
        .where(
            with_merged(IncidentSubstance.substance_id, substance_ids),
            and_(Incident.kind == "diversion", current(Incident), readable_incidents(reader)),
        )
    )
    found = [_purity(form, basis, counted) for (form, basis), counted in purities.items()]
    return Samples(
        looked_at=sum(forms.values(), Split()),
        forms=_commonest(forms),
        purities=tuple(sorted(found, key=lambda one: (-one.count.n, one.form, one.basis))),
        beside=_beside(session, newest, substance_ids),
        routes=_routes(session, newest, reader),
        details=dict(details),
        told_diverted=int(diverted or 0),
    )


def _part(confidence: str, n: int) -> Split:
    assert confidence in SHOWN_CONFIDENCES
    return Split(confirmed=n) if confidence == "confirmed" else Split(probable=n)


def _commonest(found: dict[str, Split]) -> tuple[tuple[str, Split], ...]:
    return tuple(sorted(found.items(), key=lambda pair: (-pair[1].n, pair[0])))


def _beside(session: Session, newest: Subquery, substance_ids: Sequence[str]) -> tuple[tuple[str, Split], ...]:
    """Other substances in the same samples, counted once a sample, the commonest."""
    other = aliased(Detection)
    rows = session.execute(
        select(Substance.id, Substance.name, newest.c.confidence, func.count(other.report_id.distinct()))
        .select_from(newest)
        .join(other, other.report_id == newest.c.report_id)
        .join(Substance, Substance.id == other.substance_id)
        .where(other.counted, other.relation == "parent", other.substance_id.not_in(substance_ids))
        .group_by(Substance.id, Substance.name, newest.c.confidence)
    )
    found: dict[str, Split] = defaultdict(Split)
    names = {}
    for key, name, confidence, n in rows:
        found[key] += _part(confidence, n)
        names[key] = name
    ordered = sorted(found.items(), key=lambda pair: (-pair[1].n, names[pair[0]]))
    return tuple((names[key], count) for key, count in ordered[:MOST_BESIDE])


def _routes(session: Session, newest: Subquery, reader: Principal) -> tuple[Route, ...]:
    columns = (Sample.origin, Sample.transit, Sample.destination, newest.c.confidence)
    rows = session.execute(
        select(Sample.origin, Sample.transit, Sample.destination, newest.c.confidence, func.count())
        .select_from(newest)
        .join(Sample, Sample.report_id == newest.c.report_id)
        .join(Report, Report.id == newest.c.report_id)
        .where(or_(Sample.origin.is_not(None), Sample.destination.is_not(None)), open_routes(reader))
        .group_by(*columns)
    )
    found: dict[tuple[str, tuple[str, ...], str], Split] = defaultdict(Split)
    for origin, transit, destination, confidence, n in rows:
        found[origin or "", tuple(transit or ()), destination or ""] += _part(confidence, n)
    routes = (Route(origin=o, transit=t, destination=d, count=count) for (o, t, d), count in found.items())
    return tuple(sorted(routes, key=lambda route: (-route.count.n, route.origin, route.transit, route.destination)))


def _purity(form: str, basis: str, counted: Counter[tuple[str, float]]) -> Purity:
    values = sorted(percent for (_, percent), n in counted.items() for _ in range(n))
    quarters = quantiles(values, n=4, method="inclusive") if len(values) >= LEAST_FOR_QUARTILES else None
    return Purity(
        form=form,
        basis=basis,
        count=sum((_part(confidence, n) for (confidence, _), n in counted.items()), Split()),
        middle=median(values),
        low=quarters[0] if quarters else None,
        high=quarters[2] if quarters else None,
        values=tuple(values),
    )
