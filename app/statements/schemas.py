"""The wire forms of activity reports, aggregate reports and incidents (domain guide, sections 4 and 5)."""

from __future__ import annotations

import calendar
import re
from datetime import date
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from app.intake import vocabularies as v
from app.intake.schemas import Cas, Country, PartialDate, Strict, StructureIn, SubstanceIn, Text, one_of

_PERIOD = re.compile(r"(\d{4})(?:-(?:Q([1-4])|(0[1-9]|1[0-2])))?")
COUNT_LIMIT = 100_000_000


def bounds(period: str) -> tuple[date, date]:
    """First and last day of a year (2026), quarter (2026-Q3) or month (2026-10). Raises ValueError for anything else."""
    match = _PERIOD.fullmatch(period)
    if match is None or not 1900 <= int(match[1]) <= 2200:
        raise ValueError(f"{period!r} is not a month (2026-10), a quarter (2026-Q3) or a year (2026).")
    year = int(match[1])
    first, last = 1, 12
    if match[2]:
        first, last = int(match[2]) * 3 - 2, int(match[2]) * 3
    elif match[3]:
        first = last = int(match[3])
    return date(year, first, 1), date(year, last, calendar.monthrange(year, last)[1])


def _period(value: str) -> str:
    bounds(value)
    return value


Period = Annotated[str, AfterValidator(_period)]
Count = Annotated[int, Field(ge=0, le=COUNT_LIMIT)]
Replaced = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z]{26}$")]


class ActivityIn(Strict):
    """How many samples were tested in a period: the denominator. The country defaults to the sender's."""

    period: Period
    context: Annotated[str, one_of(tuple(v.CONTEXTS))] | None = None
    country: Country | None = None
    samples_tested: Count
    samples_with_nps: Count | None = None
    tlp: Annotated[str, one_of(v.TLP)] = "GREEN"
    replaces: Replaced | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.samples_with_nps is not None and self.samples_with_nps > self.samples_tested:
            raise ValueError(f"samples_with_nps ({self.samples_with_nps}) is more than samples_tested ({self.samples_tested}).")
        return self


class NamedIn(Strict):
    """A substance by structure, identifier or name."""

    structure: StructureIn | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=400)] | None = None
    cas: Cas | None = None
    inchikey: Annotated[str, StringConstraints(pattern=r"^[A-Z]{14}-[A-Z]{10}-[A-Z]$")] | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.structure is None and self.name is None and self.cas is None and self.inchikey is None:
            raise ValueError("give a structure, a name, a CAS number or an InChIKey.")
        return self

    def substance(self) -> SubstanceIn:
        """The same as a report would name it."""
        return SubstanceIn(structure=self.structure, name=self.name, cas=self.cas, inchikey=self.inchikey)


class AggregateRowIn(NamedIn):
    detections: Count
    deaths: Count | None = None


class AggregateIn(Strict):
    """Totals of a country and period by substance, without single events."""

    period: Period
    country: Country | None = None
    context: Annotated[str, one_of(tuple(v.CONTEXTS))] | None = None
    samples_tested: Count | None = None
    substances: Annotated[list[AggregateRowIn], Field(min_length=1, max_length=500)]
    tlp: Annotated[str, one_of(v.TLP)] = "CLEAR"
    replaces: Replaced | None = None


class IncidentSubstanceIn(NamedIn):
    precursor: bool = False


class IncidentQuantity(Strict):
    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: Annotated[str, one_of(v.UNITS)]


class IncidentIn(Strict):
    """An event of supply. Where a laboratory has found something, a report says what; an incident is never a detection."""

    reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    kind: Annotated[str, one_of(v.INCIDENT_KINDS)]
    date: PartialDate
    country: Country | None = None
    substances: Annotated[list[IncidentSubstanceIn], Field(max_length=50)] = Field(default_factory=list)
    quantity: IncidentQuantity | None = None
    origin: Country | None = None
    transit: Annotated[list[Country], Field(max_length=20)] = Field(default_factory=list)
    destination: Country | None = None
    mode: Annotated[str, one_of(v.TRANSPORT_MODES)] | None = None
    concealment: Text | None = None
    sale_channel: Annotated[str, one_of(v.SALE_CHANNELS)] | None = None
    comment: Annotated[str, StringConstraints(max_length=4000)] | None = None
    tlp: Annotated[str, one_of(v.TLP)] = "AMBER"
    replaces: Replaced | None = None
