"""Countries (ISO 3166-1 alpha-2), their subdivisions (ISO 3166-2), and the five regions of UN M49.

Regions: `app/data/m49.csv`, UN Statistics Division, Standard country or area codes (M49), as carried by the public package
country-converter 1.3; Taiwan and the islands it leaves without a sub-region follow the M49 list as recalled.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

import pycountry

REGIONS = ("Africa", "Americas", "Asia", "Europe", "Oceania")
WORLD = "world"


@cache
def _table() -> dict[str, tuple[str, str]]:
    with (Path(__file__).parent / "data" / "m49.csv").open(encoding="utf-8", newline="") as file:
        return {row["country"]: (row["region"], row["sub_region"]) for row in csv.DictReader(file)}


def is_country(code: str) -> bool:
    return code in _table()


def region_of(country: str) -> str:
    """One of `REGIONS`; `Other` for Antarctica. Raises KeyError for a code that is no country."""
    return _table()[country][0]


def sub_region_of(country: str) -> str:
    return _table()[country][1]


def country_name(code: str) -> str:
    """The common English name, for example "Germany"; the code itself where there is none."""
    country = pycountry.countries.get(alpha_2=code)
    if country is None:
        return code
    return str(getattr(country, "common_name", country.name))


@cache
def is_subdivision(code: str, country: str) -> bool:
    """Whether ISO 3166-2 has this code and it lies in the country."""
    found = pycountry.subdivisions.get(code=code)
    return found is not None and found.country_code == country
