"""The sections of a substance's page below trend and countries, as figures and lines ready for the template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.permissions import Action, Principal, may
from app.context import AppContext
from app.dossiers.medicines import approved_medicine
from app.explore.figures import country_map
from app.persistence.models import Measure, Organisation
from app.sharing.counts import first_months
from app.sharing.masking import masks_detections
from app.substances.control import Control, control_of
from app.substances.figures import Figure, Value
from app.substances.findings import first_seen_title
from app.substances.queries import CountryCount, CountryCounts, MonthSeries, SubstanceDetail, with_merged
from app.substances.sample_figures import Routes, beside_figure, forms_figure, purity_figure, routes_of
from app.substances.samples import Samples, Split, samples_of
from app.substances.timeline import OnDay, assessed, changes, on_day, said
from app.uses.service import Listed, uses
from app.web import charts, words
from app.web.places import country_name
from app.web.templating import day as written_day
from app.web.templating import month as written_month
from chem.values import Analogue

MOST_COUNTRIES = 25
MOST_DECLARED = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureLine:
    text: str
    since: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Medical:
    """`medicine`: what the list of approved medicines says, else None; `medicines`: samples that were medicines, by what of."""

    medicine: str | None
    declared: tuple[Listed, ...]  # confirmed declarations of industry, newest first
    medicines: tuple[tuple[str, Split], ...]
    told_diverted: int

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
    purity: Figure | None
    routes: Routes | None
    samples: Samples | None
    analogues: tuple[Analogue, ...]
    control: Control
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
    """Seventeen queries at most, whatever the number of detections: eight of them around two starts of control."""
    now = context.now()
    engine = context.chemistry.engine
    samples = samples_of(session, reader, substance.members) if reader is not None and may(reader, Action.COUNTS_READ) else None
    told = assessed(engine, substance.smiles, now.date()) if substance.smiles else None
    own = (substance.inchikey or "").split("-")[0]
    measures = _measures(session, substance.members)
    control = control_of(session, reader, substance, series, measures, now=now)
    return Sections(
        timeline=tuple((said(change), change.text) for change in changes(substance.matches)),
        on_day=on_day(engine, substance.smiles, substance.name, as_of),
        map=map_of(substance, countries, period),
        first_seen=_with_downloads(_first_seen(session, reader, substance, countries), substance),
        forms=_with_downloads(forms_figure(substance.name, samples), substance),
        beside=_with_downloads(beside_figure(substance.name, samples), substance),
        purity=_with_downloads(purity_figure(substance.name, samples), substance),
        routes=routes_of(samples),
        samples=samples,
        analogues=tuple(near for near in told.analogues if own == "" or near.similarity < 1) if told is not None else (),
        control=replace(control, figure=_with_downloads(control.figure, substance)),
        measures=tuple(_measure_line(measure, organisation) for measure, organisation in measures),
        medical=Medical(
            medicine=approved_medicine(name.name for name in substance.names),
            medicines=_medicines(samples),
            told_diverted=samples.told_diverted if samples else 0,
            declared=tuple(uses(session, reader, substances=substance.members, state="confirmed", limit=MOST_DECLARED)),
        ),
    )


def _medicines(samples: Samples | None) -> tuple[tuple[str, Split], ...]:
    """Samples that were medicines: falsified ones by their form, patient-owned ones by where they were collected."""
    if samples is None:
        return ()
    falsified = dict(samples.forms).get("falsified_medicine", Split())
    return ("Falsified medicines", falsified), ("Patient-owned medicines", samples.details.get("patient_owned", Split()))


def assess_before(context: AppContext, substance: SubstanceDetail, *days: date | None) -> None:
    """Ask the law about the structure now, so that no transaction stands still while the engine works; the answers are kept."""
    for day in days:
        if substance.smiles and day is not None:
            assessed(context.chemistry.engine, substance.smiles, day)


def _with_downloads(figure: Figure | None, substance: SubstanceDetail) -> Figure | None:
    if figure is None:
        return None
    base = f"/substances/{substance.id}/detections-by-{figure.id}"
    return replace(figure, csv_href=f"{base}.csv", svg_href=f"{base}.svg", png_href=f"{base}.png")


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
            "png_href": f"/substances/{substance.id}/detections-by-map.png",
        },
    )


def _first_seen(
    session: Session, reader: Principal | None, substance: SubstanceDetail, countries: CountryCounts
) -> Figure | None:
    """Countries by the month of their first detection, over the whole history. No count is in it."""
    if masks_detections(reader):
        return None
    found: dict[str, str] = {}
    for (_, country), month in first_months(session, reader, substance.members).items():
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
