"""The wire forms of the register of legitimate uses."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import BaseModel, Field, StringConstraints, model_validator

from app.intake.schemas import Cas, Country, Strict, StructureIn, SubstanceIn, one_of

USES = ("known", "none", "unknown")
KINDS = (
    "authorised_medicine", "veterinary_medicine", "clinical_study", "research", "reference_material",
    "industrial_intermediate", "industrial_product", "other",
)  # fmt: skip
STATES = ("waiting", "confirmed", "refused", "withdrawn")

Note = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class UseIn(Strict):
    """What an organisation of industry declares. The substance by its id, or as a report would name it."""

    substance: Annotated[str, StringConstraints(min_length=1, max_length=26)] | None = Field(
        default=None, description="id of a substance of the service; this, or a structure, name, CAS number or InChIKey"
    )
    structure: StructureIn | None = None
    name: Annotated[str, StringConstraints(min_length=1, max_length=400)] | None = None
    cas: Cas | None = None
    inchikey: Annotated[str, StringConstraints(pattern=r"^[A-Z]{14}-[A-Z]{10}-[A-Z]$")] | None = None
    use: Annotated[str, one_of(USES)] = Field(description="known, none, or unknown: you looked and could not tell")
    kind: Annotated[str, one_of(KINDS)] | None = Field(default=None, description="of a known use, and of no other")
    source: Annotated[str, StringConstraints(min_length=1, max_length=1000)] = Field(
        description="what anybody can look up: a register, a marketing authorisation, a publication. Shown to every reader"
    )
    note: Note | None = Field(default=None, description="for the analyst alone; never shown to others")
    countries: Annotated[list[Country], Field(max_length=250)] = Field(
        default_factory=list, description="where it holds; empty: not tied to a country"
    )
    valid_from: date | None = Field(default=None, alias="from")
    valid_until: date | None = Field(default=None, alias="until")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = [self.structure, self.name, self.cas, self.inchikey]
        if self.substance is not None and any(value is not None for value in given):
            raise ValueError("substance: give its id alone, or a structure, name, CAS number or InChIKey.")
        if self.substance is None and all(value is None for value in given):
            raise ValueError("substance: give its id, a structure, a name, a CAS number or an InChIKey.")
        if (self.use == "known") is not (self.kind is not None):
            raise ValueError("kind: say it for a known use, and for no other.")
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError("until: the use ends before it begins.")
        return self

    def described(self) -> SubstanceIn:
        """The substance as a report would name it; only where it is not given by its id."""
        return SubstanceIn(structure=self.structure, name=self.name, cas=self.cas, inchikey=self.inchikey)


class DecisionIn(Strict):
    note: Note = Field(description="what was checked, or why it is refused; the declaring organisation reads it")


class UseDoc(BaseModel):
    """A declaration. `organisation`, `note` and `decision_note` are for the declaring organisation and analysts, else null.

    `substance` is null where the substance is in no record that the reader may see; `name` is then as it was declared.
    """

    id: str
    substance: str | None
    name: str
    use: str
    kind: str | None
    source: str
    countries: list[str]
    valid_from: str | None = Field(alias="from")
    until: str | None
    state: str
    own: bool
    organisation: str | None
    note: str | None
    declared_at: str
    decided_at: str | None
    decision_note: str | None
    withdrawn_at: str | None


class UsePage(BaseModel):
    items: list[UseDoc]
    next_cursor: str | None
