"""Sections on harm: 4 routes, 6 adverse reactions, 14 the public health problem with the place in the ranking."""

from __future__ import annotations

from app.dossiers.gathering import Case
from app.dossiers.making import Making, bars_chart, by, cases, countries, plain, section, split
from app.dossiers.values import Block, Facts, Fill, Gap, Kind, Section, Table, Text, Value
from app.dossiers.views import View
from app.intake.present import AGE_THIRDS
from app.priorities.ranking import Row
from app.web import words
from app.web.places import country_name

ORDER = tuple(words.SERIOUSNESS)
CAUSAL = ("sole_cause", "combined_cause", "contributory")
WITHHELD = "Cases are de-identified; those of countries with under a million inhabitants are withheld and not counted here."
MASKED = (
    "Cases are counted over rows that this view may not open: no figure opens them, and counts under 5 are hidden, "
    "with others beside them."
)
CASE_FILL = "Cases reported by laboratories and poison centres, with the part the substance played and how exposure was shown."


def pharmacology(making: Making) -> Section:
    """4: routes of administration alone; everything else stands in the literature."""
    groups = by(making.material.cases, lambda case: case.route)
    rest = Gap(fill="Pharmacodynamics and pharmacokinetics from the literature.", text="Nothing else in the service")
    if not groups:
        return section(4, Fill.EMPTY, Gap(fill="Routes of administration in reported cases; pharmacology from the literature."))
    table = split(making, "4.route", "Cases by route of administration, where stated", "Route", groups, plain, kind=Kind.CASES)
    return section(4, Fill.PARTLY, table, rest)


def adverse_reactions(making: Making) -> Section:
    """6: cases by seriousness and the part the substance played, toxidrome, age, evidence of exposure."""
    if making.view is View.SHARED:
        return _masked(making, 6)
    found = making.material.cases
    if not found:
        return section(6, Fill.EMPTY, Text(text=words.HARM_UNKNOWN), Gap(fill=CASE_FILL))
    deaths = [case for case in found if case.seriousness == "death"]
    toxidromes: dict[str, list[Case]] = {}
    for case in found:
        for name in case.toxidrome:
            toxidromes.setdefault(name, []).append(case)
    return section(
        6,
        Fill.FILLED,
        Facts(
            rows=(
                ("Cases naming it", cases(making, "6.all", found)),
                ("Deaths naming it", cases(making, "6.deaths", deaths)),
                ("Countries of the cases", countries(making, "6.country", found)),
                (
                    "Exposure shown in a biological sample",
                    cases(making, "6.biological", [c for c in found if c.evidence == "biological"]),
                ),
            )
        ),
        bars_chart(
            _case_title(making.name, found, deaths),
            "Cases by seriousness, whole history",
            [(words.SERIOUSNESS[code], len(rows)) for code, rows in _by_seriousness(found).items()],
            "Cases are reported, not counted by census.",
        ),
        _seriousness_by_role(making, found),
        split(making, "6.country", "Cases by country", "Country", by(found, lambda c: c.country), country_name, kind=Kind.CASES),
        split(
            making,
            "6.age",
            "Cases by age, in three bands, where stated",
            "Age",
            by(found, lambda case: AGE_THIRDS.get(case.age_band or "")),
            str,
            kind=Kind.CASES,
        ),
        split(
            making,
            "6.toxidrome",
            "Cases by toxidrome, where stated; a case can have several",
            "Toxidrome",
            toxidromes,
            plain,
            kind=Kind.CASES,
        ),
        Text(text=WITHHELD),
    )


def _by_seriousness(found: tuple[Case, ...] | list[Case]) -> dict[str, list[Case]]:
    groups = by(found, lambda case: case.seriousness)
    return {code: groups[code] for code in ORDER if code in groups}


def _case_title(name: str, found: tuple[Case, ...], deaths: list[Case]) -> str:
    if not deaths:
        return f"{words.count(len(found), 'case names', 'cases name')} {name}; no death among them"
    sole = sum(case.role == "sole_cause" for case in deaths)
    return f"{words.count(len(deaths), 'death names', 'deaths name')} {name}; it was the sole cause in {sole}"


def _seriousness_by_role(making: Making, found: tuple[Case, ...]) -> Table:
    rows = []
    for code, group in _by_seriousness(found).items():
        parts = by(group, lambda case: case.role)
        rows.append(
            (
                Value(words.SERIOUSNESS[code]),
                cases(making, f"6.{code}", group),
                *(cases(making, f"6.{code}.{role}", parts.get(role, [])) for role in words.CASE_ROLES),
            )
        )
    return Table(
        caption="Cases by seriousness and by the part the substance played",
        columns=("Seriousness", "Cases", *(plain(text) for text in words.CASE_ROLES.values())),
        rows=tuple(rows),
        numeric=tuple(range(1, 7)),
    )


def _masked(making: Making, number: int) -> Section:
    found = making.material.masked
    if not found:
        return section(number, Fill.EMPTY, Text(text=words.HARM_UNKNOWN), Gap(fill=CASE_FILL))
    rows = tuple(
        (Value(words.SERIOUSNESS[code]), Value(found[code].code, note=found[code].words)) for code in ORDER if code in found
    )
    table = Table(caption="Cases by seriousness", columns=("Seriousness", "Cases"), rows=rows, numeric=(1,))
    return section(number, Fill.PARTLY, table, Text(text=MASKED))


def public_health(making: Making) -> Section:
    """14: deaths and grave cases, where, alerts, and the place in the ranking of the snapshot."""
    blocks: list[Block | None] = []
    if making.view is View.REVIEWER and making.material.cases:
        causal = [case for case in making.material.cases if case.role in CAUSAL]
        deaths = [case for case in causal if case.seriousness == "death"]
        grave = [case for case in causal if case.seriousness in ("life_threatening", "intensive_care")]
        others = [case for case in deaths if case.others]
        blocks.append(
            Facts(
                rows=(
                    ("Deaths in which it was a cause or contributed", cases(making, "14.deaths", deaths)),
                    ("of these with another substance as a cause too", cases(making, "14.others", others)),
                    ("Countries of these deaths", countries(making, "14.country", deaths)),
                    ("Life-threatening cases and intensive care, likewise", cases(making, "14.grave", grave)),
                    (
                        "Cases in which naloxone was given",
                        cases(making, "14.naloxone", [c for c in making.material.cases if c.naloxone == "given"]),
                    ),
                )
            )
        )
        blocks.append(
            split(
                making,
                "14.country",
                "These deaths by country",
                "Country",
                by(deaths, lambda c: c.country),
                country_name,
                kind=Kind.CASES,
            )
        )
    elif making.view is View.SHARED:
        blocks.append(Text(text=f"{MASKED} See heading 6."))
    else:
        blocks.append(Text(text=words.HARM_UNKNOWN))
    blocks += [_alerts(making), *_ranks(making)]
    known = bool(making.material.cases or making.material.masked or making.material.alerts)
    blocks.append(
        Gap(fill="Treatment demand, hospital and mortality statistics from the literature.", text="Nothing else in the service")
    )
    return section(14, Fill.FILLED if known else Fill.PARTLY, *blocks)


def _alerts(making: Making) -> Table | None:
    groups: dict[str, list[str]] = {}
    for alert in making.material.alerts:
        if alert.state != "retracted":
            groups.setdefault(alert.type, []).append(alert.id)
    if not groups:
        return None
    return Table(
        caption="Alerts of this service to the cut-off, those retracted left out",
        columns=("Type", "Alerts"),
        rows=tuple(
            (Value(words.said(words.ALERT_TYPES, kind)), making.figures.count(f"14.alert.{kind}", Kind.ALERTS, ids))
            for kind, ids in sorted(groups.items())
        ),
        numeric=(1,),
    )


def _ranks(making: Making) -> list[Block]:
    ids = {member.id for member in making.material.members}
    rows = [(row, "of those not under international control") for row in making.ranking.rows if row.id in ids]
    rows += [(row, "of those under international control") for row in making.ranking.controlled if row.id in ids]
    if not rows:
        return [Text(text="Not ranked: no confirmed or probable detection in the snapshot.")]
    link = f"/priorities?snapshot={making.snapshot_id}"
    return [
        Table(
            caption="Place in the ranking of the snapshot: prevalence, persistence, harm, each 0 to 100, default weights",
            columns=("Substance", "Rank", "90 % of draws", "Prevalence", "Persistence", "Harm", "Priority", "Grade"),
            rows=tuple(
                (
                    Value(f"{row.name}, {among}"),
                    Value(str(row.rank), link=link),
                    Value(f"{row.rank_low} to {row.rank_high}"),
                    Value(f"{row.prevalence:.1f}"),
                    Value(f"{row.persistence:.1f}"),
                    Value(_range(row.harm), note="unknown" if row.harm_unknown else ""),
                    Value(_range(row.priority)),
                    Value(row.grade),
                )
                for row, among in rows
            ),
            numeric=(1, 2, 3, 4, 5, 6),
        ),
        Text(text=_missing([row for row, _ in rows])),
    ]


def _range(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1f}" if pair[0] == pair[1] else f"{pair[0]:.1f} to {pair[1]:.1f}"


def _missing(rows: list[Row]) -> str:
    missing = sorted({text for row in rows for text in row.missing})
    fast = sorted({row.fast_lane for row in rows if row.fast_lane})
    text = "The ranking rests on all cases of its labels, those that are withheld here included; it is decision support."
    if missing:
        text += f" Missing for it: {'; '.join(missing)}."
    if fast:
        text += f" Fast lane: {'; '.join(fast)}."
    return text
