"""The sections of a substance's page below trend and countries, as figures and lines ready for the template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.permissions import Action, Principal, may
from app.context import AppContext
from app.dossiers.medicines import approved_medicine
from app.explore.figures import country_map
from app.persistence.models import Measure, Organisation
from app.sharing.counts import Cut, first_months
from app.sharing.masking import masks_detections
from app.substances.figures import Figure, Value, bar_figure
from app.substances.findings import control_title, first_seen_title
from app.substances.queries import CountryCount, CountryCounts, MonthSeries, SubstanceDetail, with_merged
from app.substances.samples import Samples, samples_of
from app.substances.timeline import OnDay, assessed, changes, on_day, said
from app.uses.service import Listed, uses
from app.web import charts, words
from app.web.places import country_name
from app.web.templating import day as written_day
from app.web.templating import month as written_month
from chem.values import Analogue

MOST_COUNTRIES = 25
MOST_DECLARED = 50
LEAST_MONTHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLine:
    text: str
    since: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Medical:
    """`medicine`: what the list of approved medicines says, else None; the other numbers are of the newest samples."""

    medicine: str | None
    looked_at: int
    falsified: int
    patient_owned: int
    told_diverted: int
    declared: tuple[Listed, ...]  # confirmed declarations of industry, newest first

    @property
    def said(self) -> str:
        """The one word for where it stands: authorised, under study, or none known."""
        kinds = {use.kind for use in self.declared}
        if self.medicine or kinds & {"authorised_medicine", "veterinary_medicine"}:
            return "authorised"
        return "studied" if kinds & {"clinical_study", "research"} else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    timeline: tuple[tuple[str, str], ...]
    on_day: OnDay | None
    map: Figure
    first_seen: Figure | None
    forms: Figure | None
    beside: Figure | None
    purity: tuple[tuple[str, ...], ...]
    purity_title: str
    routes: tuple[tuple[str, str, int], ...]
    routes_title: str
    samples: Samples | None
    analogues: tuple[Analogue, ...]
    control: tuple[str, ...]
    measures: tuple[MeasureLine, ...]
    medical: Medical


def sections_of(
    session: Session,
    context: AppContext,
    reader: Principal | None,
    substance: SubstanceDetail,
    series: MonthSeries,
    countries: CountryCounts,
    *,
    as_of: date,
    period: str,
) -> Sections:
    """Nine queries at most, whatever the number of detections."""
    now = context.now()
    engine = context.chemistry.engine
    samples = samples_of(session, reader, substance.members) if reader is not None and may(reader, Action.COUNTS_READ) else None
    told = assessed(engine, substance.smiles, now.date()) if substance.smiles else None
    own = (substance.inchikey or "").split("-")[0]
    measures = _measures(session, substance.members)
    return Sections(
        timeline=tuple((said(change), change.text) for change in changes(substance.matches)),
        on_day=on_day(engine, substance.smiles, substance.name, as_of),
        map=map_of(substance, countries, period),
        first_seen=_with_downloads(_first_seen(session, reader, substance, countries), substance),
        forms=_with_downloads(_forms(substance.name, samples), substance),
        beside=_with_downloads(_beside(substance.name, samples), substance),
        purity=_purity(samples),
        purity_title=_purity_title(samples),
        routes=_legs(samples),
        routes_title=_routes_title(samples),
        samples=samples,
        analogues=tuple(near for near in told.analogues if own == "" or near.similarity < 1) if told is not None else (),
        control=_before_and_after(substance, series, now, measures),
        measures=tuple(_measure_line(measure, organisation) for measure, organisation in measures),
        medical=Medical(
            medicine=approved_medicine(name.name for name in substance.names),
            looked_at=samples.looked_at if samples else 0,
            falsified=samples.falsified if samples else 0,
            patient_owned=samples.patient_owned if samples else 0,
            told_diverted=samples.told_diverted if samples else 0,
            declared=tuple(uses(session, reader, substances=substance.members, state="confirmed", limit=MOST_DECLARED)),
        ),
    )


def assess_before(context: AppContext, substance: SubstanceDetail, *days: date | None) -> None:
    """Ask the law about the structure now, so that no transaction stands still while the engine works; the answers are kept."""
    for day in days:
        if substance.smiles and day is not None:
            assessed(context.chemistry.engine, substance.smiles, day)


def _with_downloads(figure: Figure | None, substance: SubstanceDetail) -> Figure | None:
    if figure is None:
        return None
    base = f"/substances/{substance.id}/detections-by-{figure.id}"
    return replace(figure, csv_href=f"{base}.csv", svg_href=f"{base}.svg")


def map_of(substance: SubstanceDetail, countries: CountryCounts, period: str) -> Figure:
    """The world map of the same counts as the chart by country."""
    values = {row.country: float(row.total.n) for row in countries.rows if row.total.n is not None}
    values |= dict.fromkeys(countries.silent, 0.0)
    reported = f"{len(countries.rows)} of {countries.reporting} reporting countries"
    return country_map(
        title=f"{substance.name} was reported by {reported} in the {period}",
        subtitle=f"Detections by country of the sample, {period}, confirmed and probable. Counts, not rates",
        values=values,
        masked=tuple(row.country for row in countries.rows if row.total.n is None),
        rates={},
        reporting=countries.reporting,
        period=period,
        source="Source: reports to this service, as far as you may see.",
        hrefs={
            "csv_href": f"/substances/{substance.id}/detections-by-map.csv",
            "svg_href": f"/substances/{substance.id}/detections-by-map.svg",
        },
    )


def _first_seen(
    session: Session, reader: Principal | None, substance: SubstanceDetail, countries: CountryCounts
) -> Figure | None:
    """Countries by the month of their first detection, over the whole history. No count is in it."""
    if masks_detections(reader):
        return None
    found: dict[str, str] = {}
    for (_, country), month in first_months(session, reader, substance.members, Cut()).items():
        found[country] = min(found.get(country, month), month)
    if not found:
        return None
    ordered = sorted(found.items(), key=lambda pair: (pair[1], country_name(pair[0])))
    rows = tuple(
        CountryCount(country=code, region="", total=countries.total.cell, first_month=month, last_month=month)
        for code, month in ordered
    )
    title = first_seen_title(substance.name, CountryCounts(
        rows=rows, silent=(), reporting=len(rows), total=countries.total, masked=False
    ))  # fmt: skip
    drawn = tuple((country_name(code), month) for code, month in ordered[:MOST_COUNTRIES])
    label = f"Dot chart of countries by the month of their first report. {title}. Table follows."
    more = f" Drawn: the first {MOST_COUNTRIES} of {len(ordered)}." if len(ordered) > MOST_COUNTRIES else ""
    return Figure(
        id="first-seen",
        title=title,
        subtitle=f"Month of the first confirmed or probable detection in each country, whole history.{more}",
        picture=charts.picture(
            charts.month_dots(drawn, width=740, label_limit=180),
            charts.month_dots(drawn, width=340, label_limit=120),
            label=label,
        ),
        legend=(),
        columns=("Country", "First month"),
        rows=tuple((Value(text=country_name(code)), Value(text=written_month(month))) for code, month in ordered),
        source="Source: reports to this service, as far as you may see.",
        denominator="A country without a report is not in the chart: it may have none, or nobody who tests.",
        caveat=f"{words.WHO_TESTED} A dot stands in the middle of its month; the bar is the month.",
        csv_href=None,
        svg_href=None,
    )


def _forms(name: str, samples: Samples | None) -> Figure | None:
    if samples is None or not samples.looked_at:
        return None
    known = [(words.plain(form), n) for form, n in samples.forms if form]
    missing = next((n for form, n in samples.forms if not form), 0)
    if not known:
        return None
    stated = samples.looked_at - missing
    return bar_figure(
        "forms",
        title=f"{name} came most often as {known[0][0].lower()}: {known[0][1]:,} of {stated:,} samples",
        subtitle=f"Form of the newest {samples.looked_at:,} samples, all countries, confirmed and probable",
        columns=("Form", "Samples"),
        rows=known,
        source="Source: reports to this service, as far as you may see.",
        denominator=f"Of {stated:,} samples with a form; [x] not stated for {missing:,}.",
        caveat=words.WHO_TESTED,
    )


def _beside(name: str, samples: Samples | None) -> Figure | None:
    if samples is None or not samples.beside:
        return None
    first, n = samples.beside[0]
    return bar_figure(
        "found-with",
        title=f"{first} was found beside {name} in {n:,} of {samples.looked_at:,} samples",
        subtitle=f"Other substances in the newest {samples.looked_at:,} samples, the commonest {len(samples.beside)}",
        columns=("Found with", "Samples"),
        rows=samples.beside,
        source="Source: reports to this service, as far as you may see.",
        denominator=f"Of {samples.looked_at:,} samples.",
        caveat=f"{words.WHO_TESTED} Laboratories report what they looked for: the full composition is not known.",
    )


def _purity(samples: Samples | None) -> tuple[tuple[str, ...], ...]:
    """Rows of the table: basis, samples, median, middle half."""
    found = samples.purities if samples else ()
    return tuple(
        (
            {"base": "as base", "salt": "as salt"}.get(one.basis, "basis not stated"),
            f"{one.samples:,}",
            f"{one.middle:.1f} %",
            f"{one.low:.1f} to {one.high:.1f} %" if one.low is not None else "under 10 samples",
        )
        for one in found
    )


def _purity_title(samples: Samples | None) -> str:
    if samples is None or not samples.purities:
        return ""
    one = samples.purities[0]
    basis = {"base": " as base", "salt": " as salt"}.get(one.basis, "")
    if one.low is None:
        return f"Median {one.middle:.1f} %{basis}, of {one.samples:,} samples"
    return f"Median {one.middle:.1f} %{basis}; half of {one.samples:,} samples between {one.low:.1f} and {one.high:.1f} %"


def _legs(samples: Samples | None) -> tuple[tuple[str, str, int], ...]:
    found = samples.routes if samples else ()
    return tuple((country_name(o), country_name(d) if d else "not stated", n) for o, d, n in found)


def _routes_title(samples: Samples | None) -> str:
    if samples is None or not samples.routes:
        return ""
    origins: Counter[str] = Counter()
    for origin, _, n in samples.routes:
        origins[origin] += n
    first, n = origins.most_common(1)[0]
    return f"{n:,} of {samples.with_route:,} reports with a route name {country_name(first)} as origin"


def _before_and_after(
    substance: SubstanceDetail, series: MonthSeries, now: datetime, measures: Sequence[tuple[Measure, str]]
) -> tuple[str, ...]:
    """A sentence for each provision or measure that began within the series, with at least three full months on either side."""
    if series.masked:
        return ()
    began: dict[date, str] = {}
    for match in words.counting(substance.matches):
        if match["effective_from"] and match["certainty"] == "certain":
            began.setdefault(date.fromisoformat(match["effective_from"]), words.place(match))
    for measure, _ in measures:
        if measure.valid_from is not None:
            began.setdefault(measure.valid_from, f"{words.plain(measure.kind).lower()} in {country_name(measure.country)}")
    found = []
    for on, what in sorted(began.items()):
        month = f"{on:%Y-%m}"
        before = [p.total.n for p in series.points if p.month < month and p.total.n is not None][-12:]
        after = [p.total.n for p in series.points if p.month > month and p.total.n is not None and not p.arriving][:12]
        if on <= now.date() and min(len(before), len(after)) >= LEAST_MONTHS:
            sentence = control_title(
                substance.name, sum(before) / len(before), sum(after) / len(after), f"{what} ({written_day(on)})"
            )
            found.append(f"{sentence}. {len(before)} months before, {len(after)} after.")
    return tuple(found)


def _measures(session: Session, ids: Sequence[str]) -> list[tuple[Measure, str]]:
    rows = session.execute(
        select(Measure, Organisation.name)
        .join(Organisation, Organisation.id == Measure.org_id)
        .where(with_merged(Measure.substance_id, ids), Organisation.test.is_(False))
        .order_by(Measure.country, Measure.created_at)
    )
    return [(row[0], row[1]) for row in rows]


def _measure_line(measure: Measure, organisation: str) -> MeasureLine:
    since = f"from {written_day(measure.valid_from)}" if measure.valid_from else "start not stated"
    until = f" until {written_day(measure.valid_until)}" if measure.valid_until else ""
    return MeasureLine(
        text=f"{country_name(measure.country)}: {words.plain(measure.kind)}",
        since=since + until,
        note=f"{organisation}. {measure.legal_basis or 'Legal basis not stated.'}",
    )
