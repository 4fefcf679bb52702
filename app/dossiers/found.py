"""Sections on what was found: 5 concentrations, 13 non-medical use, 16 illicit traffic."""

from __future__ import annotations

from collections import defaultdict
from statistics import median, quantiles

from app.dossiers.gathering import Find
from app.dossiers.making import (
    Making,
    bars_chart,
    by,
    countries,
    detections,
    months_chart,
    plain,
    said,
    section,
    sentence,
    split,
)
from app.dossiers.values import Block, Chart, Facts, Fill, Gap, Kind, Section, Table, Text, Value
from app.sharing.masking import NO_DATA, Total, counted
from app.substances.findings import country_title, month_title
from app.substances.queries import CountryCount, CountryCounts, LaboratoryYears, MonthPoint, MonthSeries
from app.web import charts, words
from app.web.places import country_name
from app.web.templating import month as written_month

MOST_BARS = 15
MOST_BESIDE = 15
LEAST_FOR_QUARTILES = 10
LEAST_FOR_MASS, LEAST_COUNTRIES_FOR_MASS = 5, 2
NOTE = "Counts reflect who tested what. Stereoisomers are counted together."


def toxicology(making: Making) -> Section:
    """5: concentrations as laboratories measured them, by matrix and unit."""
    groups: dict[tuple[str, str], list[Find]] = defaultdict(list)
    for find in making.counting:
        if find.concentration is not None and find.context == "biological":
            groups[find.matrix or "unknown", find.concentration[1]].append(find)
    fill = "Toxicological studies; concentrations measured in biological samples, reported with matrix and unit."
    if not groups:
        return section(5, Fill.EMPTY, Gap(fill=fill))
    rows = []
    for (matrix, unit), finds in sorted(groups.items()):
        values = sorted(find.concentration[0] for find in finds if find.concentration)
        rows.append(
            (
                Value(f"{plain(matrix)}, {unit}"),
                detections(making, f"5.{matrix}.{unit.replace('/', '-per-')}", finds),
                Value(f"{values[0]:g}"),
                Value(f"{median(values):g}"),
                Value(f"{values[-1]:g}"),
            )
        )
    return section(
        5,
        Fill.PARTLY,
        Table(
            caption="Concentrations measured in biological samples",
            columns=("Matrix and unit", "Samples", "Lowest", "Median", "Highest"),
            rows=tuple(rows),
            numeric=(1, 2, 3, 4),
        ),
        Text(text="Measured in persons who came to notice; not a range of effects, and no reference values."),
        Gap(fill="Animal and in vitro toxicology from the literature.", text="Nothing else in the service"),
    )


def non_medical_use(making: Making) -> Section:
    """13: how often, since when, where, in what form, found with what."""
    finds = making.counting
    fill = "Reports of laboratories; surveys, treatment and wastewater data from the literature."
    if not making.material.finds:
        return section(13, Fill.EMPTY, Gap(fill=fill))
    confidence = by(making.material.finds, lambda find: find.confidence)
    blocks: list[Block | None] = [_key_facts(making)]
    blocks += [
        Table(
            caption="Detections by confidence. The counts above and below are of the first two",
            columns=("Confidence", "Detections"),
            rows=tuple(
                (Value(text), detections(making, f"13.confidence.{code}", confidence.get(code, [])))
                for code, text in words.CONFIDENCE.items()
            ),
            numeric=(1,),
        )
    ]
    if finds:
        blocks += [*_trend(making), *_countries(making)]
        blocks += [
            split(
                making,
                "13.context",
                "Detections by context of the sample",
                "Context",
                by(finds, lambda f: f.context),
                said(words.CONTEXTS),
            ),
            split(
                making, "13.form", "Detections by form of the sample, where stated", "Form", by(finds, lambda f: f.form), plain
            ),
            _beside(making),
        ]
    if making.family:
        names = {member.id: member.name for member in making.material.members}
        blocks.append(
            split(
                making,
                "13.member",
                "Detections by member of the family",
                "Substance",
                by(finds, lambda f: f.substance),
                names.__getitem__,
            )
        )
    return section(13, Fill.FILLED, *blocks)


def _key_facts(making: Making) -> Facts:
    finds = making.counting
    last_year = set(making.months[-12:])
    laboratories = by(finds, lambda find: find.laboratory)
    first = min(finds, key=lambda find: find.month, default=None)
    rows = [
        ("Detections, confirmed and probable, whole history", detections(making, "13.all", finds)),
        ("of these in the 12 months to the cut-off", detections(making, "13.year", [f for f in finds if f.month in last_year])),
        ("Countries", countries(making, "13.country", finds)),
        (
            "Laboratories (not named)",
            making.figures.values(
                "13.laboratories", [(f"Laboratory {n}: {len(rows):,}", None) for n, rows in enumerate(laboratories.values(), 1)]
            ),
        ),
        ("First detection", Value(f"{written_month(first.month)}, {country_name(first.country)}") if first else Value("none")),
    ]
    return Facts(rows=tuple(rows))


def _trend(making: Making) -> list[Block]:
    by_month = by(making.counting, lambda find: find.month)
    reporting = {month for _, month in making.material.reporting}
    points, bars = [], []
    for month in making.months:
        found = by_month.get(month, [])
        confirmed = sum(find.confidence == "confirmed" for find in found)
        known = month in reporting
        points.append(
            MonthPoint(
                month=month,
                total=counted(len(found)) if known else NO_DATA,
                confirmed=counted(confirmed),
                probable=counted(len(found) - confirmed),
                arriving=False,
            )
        )
        parts = ((charts.CONFIRMED, confirmed), (charts.PROBABLE, len(found) - confirmed))
        bars.append(charts.Bar(key=month, parts=parts) if known else charts.Bar(key=month, parts=(), absence="nodata"))
    full = making.months[-25:-1]
    panel = [
        LaboratoryYears(before=sum(f.month in full[:12] for f in rows), last=sum(f.month in full[12:] for f in rows))
        for rows in by(making.counting, lambda find: find.laboratory).values()
    ]
    total = sum(point.total.n or 0 for point in points)
    series = MonthSeries(
        points=tuple(points),
        total=Total(cell=counted(total), at_least=total),
        laboratories=len(panel),
        panel=tuple(panel),
        masked=False,
    )
    period = f"{written_month(making.months[0])} to {written_month(making.months[-1])}"
    return [
        months_chart(
            sentence(month_title(making.name, series)),
            f"Detections by month of the sample, all countries, {period}, confirmed (dark) and probable (light)",
            bars,
            f"Source: {words.count(len(panel), 'laboratory', 'laboratories')}. {NOTE} Reports of the last months still arrive.",
        ),
        Table(
            caption=f"Detections by month, {period}",
            columns=("Month", "Detections", "Confirmed", "Probable"),
            rows=tuple(
                (
                    Value(written_month(point.month)),
                    detections(making, f"13.month.{point.month}", by_month.get(point.month, [])),
                    Value(f"{point.confirmed.n:,}"),
                    Value(f"{point.probable.n:,}"),
                )
                if point.total.n is not None
                else (Value(written_month(point.month)), *(Value("[x]", note="no data"),) * 3)
                for point in reversed(points)
            ),
            numeric=(1, 2, 3),
        ),
    ]


def _countries(making: Making) -> list[Block | None]:
    groups = by(making.counting, lambda find: find.country)
    reporting = {country for country, _ in making.material.reporting} | set(groups)
    rows = tuple(
        CountryCount(
            country=code,
            region="",
            total=counted(len(finds)),
            first_month=min(f.month for f in finds),
            last_month=max(f.month for f in finds),
        )
        for code, finds in groups.items()
    )
    total = len(making.counting)
    counts = CountryCounts(
        rows=rows, silent=(), reporting=len(reporting), total=Total(cell=counted(total), at_least=total), masked=False
    )
    drawn = [(country_name(row.country), row.total.n or 0) for row in rows[:MOST_BARS]]
    more = f" Drawn: the first {MOST_BARS} of {len(rows)}." if len(rows) > MOST_BARS else ""
    return [
        bars_chart(
            sentence(country_title(making.name, counts)),
            f"Detections by country of the sample, whole history, confirmed and probable.{more}",
            drawn,
            f"{words.count(len(reporting), 'country reports', 'countries report')}; every other is no data, not zero. {NOTE}",
        ),
        Table(
            caption="Detections by country",
            columns=("Country", "Detections", "First month", "Last month"),
            rows=tuple(
                (
                    Value(country_name(row.country)),
                    detections(making, f"13.country.{row.country}", groups[row.country]),
                    Value(written_month(row.first_month)),
                    Value(written_month(row.last_month)),
                )
                for row in rows
            ),
            numeric=(1,),
        ),
    ]


def _beside(making: Making) -> Table | None:
    """Substances found in the same samples, the commonest first."""
    ordered = sorted(making.material.beside.items(), key=lambda pair: (-len(pair[1]), pair[0]))
    shown = [(name, finds) for name, finds in ordered if finds][:MOST_BESIDE]
    if not shown:
        return None
    return Table(
        caption=f"Found in the same sample, of {len(making.counting):,} detections; the commonest {len(shown)}",
        columns=("Substance", "Samples"),
        rows=tuple(
            (Value(name), making.figures.count(f"13.with.{n}", Kind.DETECTIONS, finds))
            for n, (name, finds) in enumerate(shown, 1)
        ),
        numeric=(1,),
    )


def traffic(making: Making) -> Section:
    """16: seizures and production sites, masses, purity. Routes stay with the groups they were shared in."""
    finds = making.counting
    seized = [find for find in finds if find.context == "seizure"]
    sites = [find for find in finds if find.context == "production_site"]
    fill = (
        "Seizures and production sites reported by laboratories, incidents of authorities, the questionnaires of UNODC and INCB."
    )
    if not seized and not sites and not any(find.purity is not None for find in finds):
        return section(16, Fill.EMPTY, Gap(fill=fill))
    facts = Facts(
        rows=(
            ("Detections in seizures", detections(making, "16.seizures", seized)),
            ("Countries of the seizures", countries(making, "16.country", seized)),
            ("Detections at production sites", detections(making, "16.sites", sites)),
            ("Mass seized, where stated in grams or kilograms", _mass(making, seized)),
        )
    )
    return section(
        16,
        Fill.FILLED,
        facts,
        _seizure_chart(making, seized),
        split(
            making, "16.country", "Detections in seizures by country", "Country", by(seized, lambda f: f.country), country_name
        ),
        _purity(making),
        Text(
            text="Origin, transit and destination are shared within groups that the sender names, so no dossier holds them. "
            "No synthesis, route of manufacture or price is kept in the service."
        ),
    )


def _mass(making: Making, seized: list[Find]) -> Value:
    """The sum, over enough samples of enough countries that no single quantity comes out."""
    weighed = [find for find in {find.report: find for find in seized}.values() if find.mass_g is not None]
    if not weighed:
        return Value("[x]", note="no data")
    if len(weighed) < LEAST_FOR_MASS or len({find.country for find in weighed}) < LEAST_COUNTRIES_FOR_MASS:
        return Value("[c]", note="masked: too few samples to hide a single one")
    grams = sum(find.mass_g or 0 for find in weighed)
    text = f"{grams / 1000:,.2f} kg" if grams >= 1000 else f"{grams:,.1f} g"
    return making.figures.of("16.mass", Kind.DETECTIONS, [f.id for f in weighed], f"{text} in {len(weighed):,} samples")


def _seizure_chart(making: Making, seized: list[Find]) -> Chart | None:
    groups = by(seized, lambda find: find.country)
    if not groups:
        return None
    drawn = [(country_name(code), len(rows)) for code, rows in list(groups.items())[:MOST_BARS]]
    title = sentence(f"{making.name} was seized in {words.count(len(groups), 'country', 'countries')}")
    return bars_chart(title, "Detections in seizures by country, whole history, confirmed and probable", drawn, NOTE)


def _purity(making: Making) -> Table | None:
    groups: dict[tuple[str, str], list[Find]] = defaultdict(list)
    for find in making.counting:
        if find.purity is not None:
            groups[find.form or "unknown", find.purity_as or "not said"].append(find)
    if not groups:
        return None
    rows = []
    for (form, basis), finds in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        values = sorted(find.purity for find in finds if find.purity is not None)
        quarters = quantiles(values, n=4) if len(values) >= LEAST_FOR_QUARTILES else None
        rows.append(
            (
                Value(f"{plain(form)}, as {basis}"),
                detections(making, f"16.purity.{form}.{basis.replace(' ', '-')}", finds),
                Value(f"{median(values):.1f}"),
                Value(f"{quarters[0]:.1f} to {quarters[2]:.1f}") if quarters else Value("[z]", note="under 10 samples"),
            )
        )
    return Table(
        caption="Purity in per cent, by form and basis",
        columns=("Form and basis", "Samples", "Median", "Middle half"),
        rows=tuple(rows),
        numeric=(1, 2, 3),
    )
