"""The wire form of a report (contract, A report): every field named, every vocabulary checked, nothing unknown let in."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.intake import vocabularies as v
from app.intake.confidence import expand
from app.regions import is_country, is_subdivision
from chem.values import Structure, StructureFormat


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


def one_of(values: tuple[str, ...] | frozenset[str]) -> Any:
    """A text from a vocabulary; the message lists what is allowed."""

    def check(value: str) -> str:
        if value not in values:
            listed = ", ".join(sorted(values) if isinstance(values, frozenset) else values)
            raise ValueError(f"{value!r} is not in the vocabulary: {listed}.")
        return value

    return AfterValidator(check)


def _country(value: str) -> str:
    if not is_country(value):
        raise ValueError(f"{value!r} is not an ISO 3166-1 alpha-2 country code in capitals, for example DE.")
    return value


def _cas(value: str) -> str:
    digits = value.replace("-", "")
    if not re.fullmatch(r"\d{2,7}-\d{2}-\d", value):
        raise ValueError(f"{value!r} is not a CAS registry number, for example 437-38-7.")
    if sum(int(d) * n for n, d in enumerate(reversed(digits[:-1]), start=1)) % 10 != int(digits[-1]):
        raise ValueError(f"the check digit of CAS {value!r} is wrong: one digit is mistyped.")
    return value


_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?")


def partial_date(value: str) -> str:
    """A day, a month or a year in ISO 8601. Raises ValueError where it is none or does not exist."""
    match = _DATE.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a day (2026-11-03), a month (2026-11) or a year (2026).")
    first_day(value)
    if int(match[1]) < 1900:
        raise ValueError(f"{value!r} lies before 1900.")
    return value


@lru_cache(8192)
def first_day(value: str) -> date:
    """The first day of a day, month or year."""
    parts = [int(part) for part in value.split("-")]
    try:
        return date(parts[0], parts[1] if len(parts) > 1 else 1, parts[2] if len(parts) > 2 else 1)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a date of the calendar.") from error


def date_precision(value: str) -> str:
    return {4: "year", 7: "month", 10: "day"}[len(value)]


Country = Annotated[str, AfterValidator(_country)]
Cas = Annotated[str, AfterValidator(_cas)]
PartialDate = Annotated[str, AfterValidator(partial_date)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=300)]
StructureText = Annotated[str, StringConstraints(max_length=250_000, strip_whitespace=False)]


class StructureIn(Strict):
    """One structure as SMILES, InChI or molfile, or the candidates that a method could not tell apart."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    smiles: StructureText | None = None
    inchi: StructureText | None = None
    molfile: StructureText | None = None
    candidates: Annotated[list[StructureIn], Field(min_length=2, max_length=32)] | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("smiles", "inchi", "molfile", "candidates") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of smiles, inchi, molfile or candidates.")
        if self.candidates and any(c.candidates for c in self.candidates):
            raise ValueError("a candidate is one structure and has no candidates of its own.")
        return self

    def structures(self) -> tuple[Structure, ...]:
        """The one structure, or the candidates in their order."""
        if self.candidates is not None:
            return tuple(s for candidate in self.candidates for s in candidate.structures())
        for form in StructureFormat:
            text = getattr(self, form.value)
            if text is not None:
                return (Structure(format=form, text=text),)
        raise AssertionError("validated to hold one structure")


class Quantity(Strict):
    value: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    unit: Annotated[str, one_of(v.UNITS)]
    basis: Annotated[str, one_of(v.BASES)] | None = None


class Concentration(Strict):
    value: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    unit: Annotated[str, one_of(v.CONCENTRATION_UNITS)]


class SampleIn(Strict):
    country: Country
    date_sampled: PartialDate
    context: Annotated[str, one_of(tuple(v.CONTEXTS))]
    context_detail: str | None = None
    subdivision: str | None = None
    matrix: Annotated[str, one_of(v.MATRICES)] | None = None
    form: Annotated[str, one_of(v.FORMS)] | None = None
    colour: Text | None = None
    markings: Text | None = None
    sold_as: Text | None = None
    brand: Text | None = None
    price: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    quantity: Quantity | None = None
    items: Annotated[int, Field(ge=0)] | None = None
    date_received: PartialDate | None = None
    origin: Country | None = None
    transit: Annotated[list[Country], Field(max_length=20)] = Field(default_factory=list)
    destination: Country | None = None
    co_substances: Annotated[list[Text], Field(max_length=50)] = Field(default_factory=list)
    images: Annotated[list[Text], Field(max_length=20)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        details = v.CONTEXTS[self.context]
        if self.context_detail is not None and self.context_detail not in details:
            allowed = ", ".join(details) or "none"
            raise ValueError(
                f"context_detail {self.context_detail!r} does not belong to context {self.context}; allowed: {allowed}."
            )
        if self.subdivision is not None and not is_subdivision(self.subdivision, self.country):
            raise ValueError(f"subdivision {self.subdivision!r} is not an ISO 3166-2 code of {self.country}, for example DE-BE.")
        return self


def _techniques(values: list[str]) -> list[str]:
    for value in values:
        try:
            expand([value])
        except ValueError as error:
            allowed = ", ".join(sorted(v.TECHNIQUES | set(v.COMBINED)))
            raise ValueError(f"{value!r} is not a technique; allowed: {allowed}.") from error
    return values


class SubstanceIn(Strict):
    """One substance (or set) of a sample: by structure, identifier or name."""

    structure: StructureIn | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=400)] | None = None
    cas: Cas | None = None
    inchikey: Annotated[str, StringConstraints(pattern=r"^[A-Z]{14}-[A-Z]{10}-[A-Z]$")] | None = None
    relation: Annotated[str, one_of(v.RELATIONS)] = "parent"
    relation_to: Annotated[int, Field(ge=0)] | None = None
    abundance: Annotated[str, one_of(v.ABUNDANCES)] | None = None
    purity_percent: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    purity_as: Annotated[str, one_of(v.PURITY_AS)] | None = None
    concentration: Concentration | None = None
    techniques: Annotated[list[str], Field(max_length=30), AfterValidator(_techniques)] = Field(default_factory=list)
    schymanski_level: Annotated[str, one_of(v.SCHYMANSKI)] | None = None
    reference_material: Annotated[str, one_of(v.REFERENCE_MATERIALS)] | None = None
    isomers_excluded: Annotated[str, one_of(v.ISOMERS_EXCLUDED)] | None = None
    instrument: Text | None = None
    method_note: Text | None = None
    spectrum_ref: Text | None = None

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if self.structure is None and self.name is None and self.cas is None and self.inchikey is None:
            raise ValueError("give a structure, a name, a CAS number or an InChIKey.")
        return self


class CaseSubstanceIn(Strict):
    index: Annotated[int, Field(ge=0)]
    role: Annotated[str, one_of(v.ROLES)]


def _icd(values: list[str]) -> list[str]:
    for value in values:
        if value not in v.ICD_10 and value not in v.ICD_11:
            raise ValueError(f"{value!r} is not one of the codes of GET /v1/vocabularies (icd_10, icd_11).")
    return values


class CaseIn(Strict):
    """One person's harm event. No names, no birth dates, no free text."""

    seriousness: Annotated[str, one_of(v.SERIOUSNESS)]
    country: Country | None = None
    month: Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] | None = None
    role: Annotated[str, one_of(v.ROLES)] = "undetermined"
    exposure_evidence: Annotated[str, one_of(v.EXPOSURE_EVIDENCE)] | None = None
    route: Annotated[str, one_of(v.ROUTES)] | None = None
    pss: Annotated[int, Field(ge=0, le=4)] | None = None
    outcome: Annotated[str, one_of(v.OUTCOMES)] | None = None
    intent: Annotated[str, one_of(v.INTENTS)] | None = None
    age_band: Annotated[str, one_of(v.AGE_BANDS)] | None = None
    sex: Annotated[str, one_of(v.SEXES)] | None = None
    toxidrome: Annotated[list[Annotated[str, one_of(v.TOXIDROMES)]], Field(max_length=9)] = Field(default_factory=list)
    naloxone: Annotated[str, one_of(v.NALOXONE)] | None = None
    icd: Annotated[list[str], Field(max_length=20), AfterValidator(_icd)] = Field(default_factory=list)
    substances: Annotated[list[CaseSubstanceIn], Field(max_length=50)] | None = None


class ReportIn(Strict):
    """A laboratory's report on one sample."""

    lab_reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    sample: SampleIn
    substances: Annotated[list[SubstanceIn], Field(max_length=50)]
    outcome: Literal["detected", "none_detected"] = "detected"
    cases: Annotated[list[CaseIn], Field(max_length=20)] = Field(default_factory=list)
    date_analysed: PartialDate | None = None
    tlp: Annotated[str, one_of(v.TLP)] = "GREEN"
    sharing_group: (
        Annotated[str, Field(max_length=26, description="Its members see the row if RED, and the supply route")] | None
    ) = None
    schema_version: Text | None = None
    comment: Annotated[str, StringConstraints(max_length=4000)] | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.outcome == "none_detected" and self.substances:
            raise ValueError("outcome none_detected goes with an empty list of substances.")
        if self.outcome == "detected" and not self.substances:
            raise ValueError('give at least one substance, or "substances": [] with "outcome": "none_detected".')
        for number, case in enumerate(self.cases):
            for reference in case.substances or []:
                if reference.index >= len(self.substances):
                    raise ValueError(f"cases/{number} names substance index {reference.index}; there are {len(self.substances)}.")
        for number, substance in enumerate(self.substances):
            if substance.relation_to is not None and not (
                substance.relation_to < len(self.substances) and substance.relation_to != number
            ):
                raise ValueError(f"substances/{number}/relation_to names no other substance of the report.")
        return self


class WithdrawIn(Strict):
    reason: Annotated[str, StringConstraints(min_length=3, max_length=2000)]
