"""The wire shapes of subscriptions and alerts. Unknown fields are refused by name."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from alerts.wording import not_neutral
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
# one address, no display name, no line ends; the relay decides the rest
ADDRESS = r"^[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,186}[A-Za-z0-9])?$"
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


def _zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not a time zone such as Europe/Berlin.")
    return name


Address = Annotated[str, Field(max_length=254, pattern=ADDRESS)]
Hour = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="HH:MM in the zone")]


class ContactIn(_Closed):
    """A line of the roster. Without hours the contact is told at every hour of the days."""

    name: str = Field(min_length=1, max_length=200)
    email: Address
    deputy: Address | None = Field(default=None, description="told in their place outside of these days and hours")
    days: str = Field(default="1234567", pattern="^1?2?3?4?5?6?7?$", min_length=1, description="ISO weekdays, 1 is Monday")
    hours_from: Hour | None = Field(default=None, alias="from")
    hours_until: Hour | None = Field(default=None, alias="to")
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    until: date | None = Field(default=None, description="the last day of this line")

    @model_validator(mode="after")
    def _both_hours(self) -> Self:
        if (self.hours_from is None) != (self.hours_until is None):
            raise ValueError("Give both hours, from and to, or none.")
        return self


class RosterIn(_Closed):
    """The whole roster, in the order in which contacts are told."""

    contacts: list[ContactIn] = Field(max_length=20)


Limit = Annotated[
    int, Field(ge=1, le=1000, description="e-mail: so many of levels 1 and 2 a day at once, the rest in the weekly digest")
]


class SubscriptionIn(_Closed):
    channel: Literal["webhook", "email", "inbox"]
    url: str | None = Field(default=None, max_length=2048)
    address: str | None = Field(default=None, max_length=254)
    filter: FilterIn = FilterIn()
    tlp_max: Tlp = Field(default="GREEN", description="the highest label this endpoint may hold; at most what the role may")
    detail: Literal["full", "thin"] = "full"
    daily_limit: Limit | None = None


class SubscriptionPatch(_Closed):
    url: str | None = Field(default=None, max_length=2048)
    filter: FilterIn | None = None
    tlp_max: Tlp | None = None
    detail: Literal["full", "thin"] | None = None
    daily_limit: Limit | None = None
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


class ReasonIn(_Closed):
    note: str = Field(min_length=1, max_length=2000)


class PreviewIn(_Closed):
    filter: FilterIn = FilterIn()
    tlp_max: Tlp = "GREEN"


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

    @model_validator(mode="after")
    def _public_is_neutral(self) -> Self:
        if self.tlp == "CLEAR":
            for text in (self.headline, self.short, self.summary, self.full, self.instruction):
                _neutral(text or "")
        return self


def _neutral(text: str) -> str:
    found = not_neutral(text)
    if found:
        raise ValueError(f"A public text says what was found, where, when and what to do. Leave out: {'; '.join(found[:5])}.")
    return text


class MeasureIn(_Closed):
    kind: Literal["provisional_control", "permanent_control", "public_health_announcement", "none"]
    substance: str | None = Field(default=None, description="id of a substance; this or alert")
    alert: str | None = Field(default=None, description="id of the alert that it answers")
    legal_basis: str | None = Field(default=None, max_length=1000)
    valid_from: date | None = Field(default=None, alias="from")
    valid_until: date | None = Field(default=None, alias="until")
    public_text: Annotated[str, Field(max_length=4000), AfterValidator(_neutral)] | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.valid_from and self.valid_until and self.valid_until < self.valid_from:
            raise ValueError("until: the measure ends before it begins.")
        return self
