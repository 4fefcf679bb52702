"""The wire shapes of subscriptions and alerts. Unknown fields are refused by name."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from app.intake.vocabularies import CHEMICAL_GROUPS, EFFECT_GROUPS
from app.regions import REGIONS, is_country

TYPES = (
    "first_global",
    "first_region",
    "first_country",
    "re_emergence",
    "rapid_spread",
    "spike",
    "serious_harm",
    "cluster",
    "misrepresentation",
    "adulterant",
    "high_potency",
    "new_form_or_route",
    "analytical",
    "control_change",
    "industry",
)
GROUPS = tuple(dict.fromkeys((*CHEMICAL_GROUPS, *EFFECT_GROUPS)))


def _country(code: str) -> str:
    upper = code.upper()
    if not is_country(upper):
        raise ValueError(f"{code!r} is not an ISO 3166-1 alpha-2 country.")
    return upper


def _one_of(values: tuple[str, ...], what: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in values:
            raise ValueError(f"{value!r} is not a {what}: {', '.join(values)}.")
        return value

    return AfterValidator(check)


Country = Annotated[str, AfterValidator(_country)]
AlertType = Annotated[str, _one_of(TYPES, "type of alert")]
Group = Annotated[str, _one_of(GROUPS, "chemical or effect group")]
Region = Annotated[str, _one_of(REGIONS, "region")]
Tlp = Literal["CLEAR", "GREEN", "AMBER", "AMBER+STRICT", "RED"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class FilterIn(_Closed):
    """What to hear of. An empty list wants everything; `countries` and `regions` together name one set of areas."""

    substances: list[str] = Field(default=[], max_length=1000, description="ids or InChIKeys of substances")
    groups: list[Group] = []
    countries: list[Country] = []
    regions: list[Region] = []
    types: list[AlertType] = []
    min_level: int = Field(default=1, ge=1, le=4)


class SubscriptionIn(_Closed):
    channel: Literal["webhook", "email", "inbox"]
    url: str | None = Field(default=None, max_length=2048)
    address: str | None = Field(default=None, max_length=254)
    filter: FilterIn = FilterIn()
    tlp_max: Tlp = Field(default="GREEN", description="the highest label this endpoint may hold; at most what the role may")
    detail: Literal["full", "thin"] = "full"


class SubscriptionPatch(_Closed):
    url: str | None = Field(default=None, max_length=2048)
    filter: FilterIn | None = None
    tlp_max: Tlp | None = None
    detail: Literal["full", "thin"] | None = None
    state: Literal["active", "paused"] | None = None


class RotateIn(_Closed):
    overlap_hours: float = Field(default=24, ge=0, le=168, description="how long the old secret goes on signing")


class RedeliverIn(_Closed):
    """One of: an alert, a range of times, or every dead delivery."""

    alert: str | None = None
    start: datetime | None = Field(default=None, alias="from")
    end: datetime | None = Field(default=None, alias="to")
    all_dead: bool = False


class NoteIn(_Closed):
    note: str | None = Field(default=None, max_length=2000)


class SightingIn(_Closed):
    note: str | None = Field(default=None, max_length=2000, description="we see it too: a short statement")


class NoticeIn(_Closed):
    """A manual notice. The service adds to `short` whether the substance is controlled."""

    type: AlertType = "analytical"
    level: int = Field(default=1, ge=1, le=4)
    tlp: Tlp = "GREEN"
    headline: str = Field(min_length=1, max_length=160)
    short: str | None = Field(default=None, max_length=160)
    summary: str = Field(min_length=1, max_length=2000)
    full: str | None = Field(default=None, max_length=8000)
    instruction: str | None = Field(default=None, max_length=2000)
    substance: str | None = Field(default=None, description="id of a substance")
    country: Country | None = None


class MeasureIn(_Closed):
    kind: Literal["provisional_control", "permanent_control", "public_health_announcement", "none"]
    substance: str | None = Field(default=None, description="id of a substance; this or alert")
    alert: str | None = Field(default=None, description="id of the alert that it answers")
    legal_basis: str | None = Field(default=None, max_length=1000)
    valid_from: date | None = Field(default=None, alias="from")
    valid_until: date | None = Field(default=None, alias="until")
    public_text: str | None = Field(default=None, max_length=4000)
