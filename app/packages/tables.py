"""The tables of the packages, made of a snapshot's facts: the same snapshot gives the same rows. Pure.

Each column is documented where it is made, and `check` holds a table to its documentation.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from app.priorities.ranking import Facts, Find

Cell = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`kind`: text, integer, country (ISO 3166-1 alpha-2), month (YYYY-MM), year, yes_no. `empty`: whether it may be blank."""

    name: str
    kind: str
    text: str
    empty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is on file of a substance beside the snapshot."""

    inchikey: str
    formula: str
    effect_group: str
    table_1988: str  # Table I or Table II of the 1988 Convention, where it matches one


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """`rows` gives the table's rows in order; `chosen` says which substances it is about."""

    id: str
    title: str
    text: str
    columns: tuple[Column, ...]
    rows: Callable[[Facts, Mapping[str, Identity], Callable[[str, Identity], bool]], list[list[Cell]]]
    chosen: Callable[[str, Identity], bool]


_SUBSTANCE = (
    Column(name="substance", kind="text", text="Name in this service"),
    Column(name="substance_id", kind="text", text="Id in this service"),
    Column(
        name="inchikey", kind="text", text="Standard InChIKey of the parent; blank for a material without a structure", empty=True
    ),
    Column(name="formula", kind="text", text="Molecular formula of the parent", empty=True),
    Column(name="chemical_group", kind="text", text="Chemical group, code of the vocabulary (GET /v1/vocabularies)"),
    Column(name="effect_group", kind="text", text="Effect group, code of the vocabulary"),
    Column(name="under_1961_or_1971", kind="yes_no", text="Whether a certain match puts it under the 1961 or 1971 Convention"),
    Column(name="table_1988", kind="text", text="Table of the 1988 Convention that it matches", empty=True),
)
_COUNTS = (
    Column(name="confirmed", kind="integer", text="Detections identified as confirmed"),
    Column(name="probable", kind="integer", text="Detections identified as probable"),
    Column(name="laboratories", kind="integer", text="Laboratories that reported these detections; not named"),
    Column(name="months", kind="integer", text="Months with at least one of these detections"),
)
ANNUAL = (
    Column(name="year", kind="year", text="Year of the sample; the last one ends at the cut-off"),
    Column(name="country", kind="country", text="Country of the sample, ISO 3166-1 alpha-2"),
    *_SUBSTANCE,
    *_COUNTS,
)
HANDOVER = (
    Column(name="country", kind="country", text="Country of the sample, ISO 3166-1 alpha-2"),
    *_SUBSTANCE,
    Column(name="first_month", kind="month", text="Month of the first detection in the country"),
    Column(name="last_month", kind="month", text="Month of the last detection in the country"),
    Column(
        name="new_in_12_months",
        kind="yes_no",
        text="Whether the first detection in the country lies in the 12 months to the cut-off",
    ),
    Column(name="countries", kind="integer", text="Countries in which the substance was detected at all"),
    *_COUNTS,
)


def month_of(cutoff: date, ago: int) -> str:
    """The month that lies so many months before that of the cut-off, as YYYY-MM."""
    index = cutoff.year * 12 + cutoff.month - 1 - ago
    return f"{index // 12:04d}-{index % 12 + 1:02d}"


def _counted(finds: Sequence[Find]) -> list[Cell]:
    return [
        sum(find.confirmed for find in finds), sum(find.probable for find in finds), len({find.laboratory for find in finds}),
        len({find.month for find in finds}),
    ]  # fmt: skip


def _subjects(facts: Facts, identities: Mapping[str, Identity], chosen: Callable[[str, Identity], bool]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for subject in facts.subjects:
        identity = identities.get(subject.id, Identity(inchikey="", formula="", effect_group="unassigned", table_1988=""))
        if chosen(subject.group, identity):
            found[subject.id] = [
                subject.name, subject.id, identity.inchikey, identity.formula, subject.group, identity.effect_group,
                "yes" if subject.under_control else "no", identity.table_1988,
            ]  # fmt: skip
    return found


def annual(facts: Facts, identities: Mapping[str, Identity], chosen: Callable[[str, Identity], bool]) -> list[list[Cell]]:
    """One row a year, country and substance."""
    subjects = _subjects(facts, identities, chosen)
    cutoff = date.fromisoformat(facts.cutoff)
    groups: dict[tuple[str, str, str], list[Find]] = defaultdict(list)
    for find in facts.finds:
        if find.substance in subjects:
            groups[month_of(cutoff, find.month)[:4], find.country, find.substance].append(find)
    rows = [[int(year), country, *subjects[substance], *_counted(finds)] for (year, country, substance), finds in groups.items()]
    return sorted(rows, key=lambda row: (-int(row[0]), str(row[1]), str(row[2]).lower(), str(row[3])))


def handover(facts: Facts, identities: Mapping[str, Identity], chosen: Callable[[str, Identity], bool]) -> list[list[Cell]]:
    """One row a country and substance, over the whole history."""
    subjects = _subjects(facts, identities, chosen)
    cutoff = date.fromisoformat(facts.cutoff)
    groups: dict[tuple[str, str], list[Find]] = defaultdict(list)
    for find in facts.finds:
        if find.substance in subjects:
            groups[find.country, find.substance].append(find)
    countries: dict[str, int] = defaultdict(int)
    for _, substance in groups:
        countries[substance] += 1
    rows: list[list[Cell]] = []
    for (country, substance), finds in groups.items():
        oldest = max(find.month for find in finds)
        rows.append(
            [
                country, *subjects[substance], month_of(cutoff, oldest), month_of(cutoff, min(find.month for find in finds)),
                "yes" if oldest < 12 else "no", countries[substance], *_counted(finds),
            ]
        )  # fmt: skip
    return sorted(rows, key=lambda row: (str(row[0]), str(row[1]).lower(), str(row[2])))


def _every(_group: str, _identity: Identity) -> bool:
    return True


def _stimulant(group: str, identity: Identity) -> bool:
    return identity.effect_group == "stimulant" or group in ("synthetic_cathinone", "aminoindane")


def _precursor(_group: str, identity: Identity) -> bool:
    return bool(identity.table_1988)


def _opioid(group: str, identity: Identity) -> bool:
    return identity.effect_group == "opioid" or group in ("fentanyl_analogue", "nitazene", "other_opioid")


PACKAGES = {
    package.id: package
    for package in (
        Package(
            id="annual", title="Annual questionnaire", columns=ANNUAL, rows=annual, chosen=_every,
            text="Detections by year, country and substance, in the shape of annual report questionnaires (para 61, 63).",
        ),
        Package(
            id="handover", title="Early-warning hand-over", columns=HANDOVER, rows=handover, chosen=_every,
            text="First and last month, laboratories and countries of each substance in each country (para 63).",
        ),
        Package(
            id="ats", title="Stimulants of the amphetamine type", columns=ANNUAL, rows=annual, chosen=_stimulant,
            text="As the annual questionnaire, cut to the effect group stimulant, cathinones and aminoindanes (para 68).",
        ),
        Package(
            id="opioids", title="Synthetic opioids", columns=ANNUAL, rows=annual, chosen=_opioid,
            text="As the annual questionnaire, cut to the effect group opioid: fentanyls, nitazenes and others (para 68).",
        ),
        Package(
            id="precursors", title="Precursors", columns=ANNUAL, rows=annual, chosen=_precursor,
            text="As the annual questionnaire, cut to substances that match Table I or II of the 1988 Convention (para 62, 68).",
        ),
    )
}  # fmt: skip

_KINDS: dict[str, re.Pattern[str]] = {
    "integer": re.compile(r"\d+"),
    "country": re.compile(r"[A-Z]{2}"),
    "month": re.compile(r"\d{4}-(0[1-9]|1[0-2])"),
    "year": re.compile(r"\d{4}"),
    "yes_no": re.compile(r"yes|no"),
    "text": re.compile(r".+", re.DOTALL),
}


def check(columns: Sequence[Column], header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """What of a table, read as texts, is not as its columns are documented; empty where it is."""
    if list(header) != [column.name for column in columns]:
        return [f"the header is {', '.join(header)}"]
    wrong = []
    for number, row in enumerate(rows, 1):
        if len(row) != len(columns):
            wrong.append(f"row {number} has {len(row)} cells")
            continue
        for column, text in zip(columns, row, strict=True):
            if text == "" and column.empty:
                continue
            if not _KINDS[column.kind].fullmatch(text):
                wrong.append(f"row {number}, {column.name}: {text!r} is no {column.kind}")
    return wrong
