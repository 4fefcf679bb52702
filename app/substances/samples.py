"""What the samples of a substance were: form, purity, what lay beside it, where they came from. For readers of rows.

All samples are counted; of a substance with `MOST` detections or more those of the newest, so that the commonest one takes no
longer among a million detections than among ten thousand. `Samples.of` says which, and every figure prints it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

from sqlalchemy import Subquery, and_, func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Detection, Incident, IncidentSubstance, Report, Sample, Substance
from app.sharing.masking import SHOWN_CONFIDENCES
from app.sharing.rows import open_routes
from app.statements.service import current, readable_incidents
from app.substances.queries import newest_of, with_merged

MOST = 1_000  # detections
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
    whole: bool  # all that the reader may see, not the newest of them
    forms: tuple[tuple[str, Split], ...]
    purities: tuple[Purity, ...]
    beside: tuple[tuple[str, Split], ...]
    routes: tuple[Route, ...]
    details: dict[str, Split] = field(default_factory=dict)
    told_diverted: int

    @property
    def of(self) -> str:
        """Which samples these are: "all 412 samples", or "the newest 1,000 samples"."""
        if not self.whole:
            return f"the newest {self.looked_at.n:,} samples"
        return "the only sample" if self.looked_at.n == 1 else f"all {self.looked_at.n:,} samples"

    @property
    def with_route(self) -> int:
        return sum(route.count.n for route in self.routes)


def samples_of(session: Session, reader: Principal, substance_ids: Sequence[str]) -> Samples:
    """Three queries, whatever the number of detections. Confirmed and probable detections, of the whole history.

    A sample counts once, with the surest confidence, where stereoisomers were found in it.
    """
    wanted, order = newest_of(reader, substance_ids)
    columns = (Detection.report_id, Detection.confidence, Detection.purity_percent, Detection.purity_as)
    newest = select(*columns).where(wanted).order_by(*order).limit(MOST).subquery("newest")
    rows = session.execute(
        select(
            newest, Sample.form, Sample.context_detail, Sample.origin, Sample.transit, Sample.destination,
            open_routes(reader).label("open_route"),
        )
        .join(Sample, Sample.report_id == newest.c.report_id)
        .join(Report, Report.id == newest.c.report_id)
    ).all()  # fmt: skip
    sure: dict[str, Split] = {}
    kinds: dict[str, tuple[str, str]] = {}
    ways: dict[str, tuple[str, tuple[str, ...], str]] = {}
    purities: dict[tuple[str, str], list[tuple[float, Split]]] = defaultdict(list)
    for report, confidence, percent, basis, form, detail, origin, transit, destination, open_route in rows:
        sure[report] = max(sure.get(report, Split()), _part(confidence), key=lambda split: (split.confirmed, split.probable))
        kinds[report] = form or "", detail or ""
        if open_route and (origin is not None or destination is not None):
            ways[report] = origin or "", tuple(transit or ()), destination or ""
        if percent is not None:
            purities[form or "", basis or ""].append((float(percent), _part(confidence)))
    forms: dict[str, Split] = defaultdict(Split)
    details: dict[str, Split] = defaultdict(Split)
    for report, (form, detail) in kinds.items():
        forms[form] += sure[report]
        details[detail] += sure[report]
    diverted = session.scalar(
        select(func.count(Incident.id.distinct()))
        .join(IncidentSubstance, IncidentSubstance.incident_id == Incident.id)
        .where(
            with_merged(IncidentSubstance.substance_id, substance_ids),
            and_(Incident.kind == "diversion", current(Incident), readable_incidents(reader)),
        )
    )
    found = [_purity(form, basis, values) for (form, basis), values in purities.items()]
    return Samples(
        looked_at=sum(sure.values(), Split()),
        whole=len(rows) < MOST,
        forms=tuple(sorted(forms.items(), key=lambda pair: (-pair[1].n, pair[0]))),
        purities=tuple(sorted(found, key=lambda one: (-one.count.n, one.form, one.basis))),
        beside=_beside(session, newest, sure, substance_ids),
        routes=_routes(ways, sure),
        details=dict(details),
        told_diverted=int(diverted or 0),
    )


def _part(confidence: str) -> Split:
    assert confidence in SHOWN_CONFIDENCES
    return Split(confirmed=1) if confidence == "confirmed" else Split(probable=1)


def _beside(
    session: Session, newest: Subquery, sure: Mapping[str, Split], substance_ids: Sequence[str]
) -> tuple[tuple[str, Split], ...]:
    """Other substances in the same samples, counted once a sample, the commonest."""
    rows = session.execute(
        select(Detection.report_id, Substance.id, Substance.name)
        .join(newest, newest.c.report_id == Detection.report_id)
        .join(Substance, Substance.id == Detection.substance_id)
        .where(Detection.counted, Detection.relation == "parent", Detection.substance_id.not_in(substance_ids))
        .distinct()
    )
    found: dict[str, Split] = defaultdict(Split)
    names = {}
    for report, key, name in rows:
        if report in sure:  # not one that was received since
            found[key] += sure[report]
            names[key] = name
    ordered = sorted(found.items(), key=lambda pair: (-pair[1].n, names[pair[0]]))
    return tuple((names[key], count) for key, count in ordered[:MOST_BESIDE])


def _routes(ways: Mapping[str, tuple[str, tuple[str, ...], str]], sure: Mapping[str, Split]) -> tuple[Route, ...]:
    found: dict[tuple[str, tuple[str, ...], str], Split] = defaultdict(Split)
    for report, way in ways.items():
        found[way] += sure[report]
    routes = (Route(origin=o, transit=t, destination=d, count=count) for (o, t, d), count in found.items())
    return tuple(sorted(routes, key=lambda route: (-route.count.n, route.origin, route.transit, route.destination)))


def _purity(form: str, basis: str, found: Sequence[tuple[float, Split]]) -> Purity:
    values = sorted(percent for percent, _ in found)
    quarters = quantiles(values, n=4, method="inclusive") if len(values) >= LEAST_FOR_QUARTILES else None
    return Purity(
        form=form,
        basis=basis,
        count=sum((split for _, split in found), Split()),
        middle=median(values),
        low=quarters[0] if quarters else None,
        high=quarters[2] if quarters else None,
        values=tuple(values),
    )
