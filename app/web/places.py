"""Names of countries and regions, and the countries too small for single cases to be shown."""

from __future__ import annotations

from functools import lru_cache

import pycountry

# ISO's formal names read badly in a sentence; these are the short names of the UN Terminology Database (UNTERM, read 2026-11)
_SHORT = {
    "BO": "Bolivia",
    "BN": "Brunei",
    "CD": "DR Congo",
    "CG": "Congo",
    "CZ": "Czechia",
    "FM": "Micronesia",
    "GB": "United Kingdom",
    "IR": "Iran",
    "KP": "DPR Korea",
    "KR": "Republic of Korea",
    "LA": "Laos",
    "MD": "Moldova",
    "NL": "Netherlands",
    "PS": "State of Palestine",
    "RU": "Russian Federation",
    "SY": "Syria",
    "TR": "Türkiye",
    "TZ": "Tanzania",
    "US": "United States",
    "VE": "Venezuela",
    "VN": "Viet Nam",
}

# Under 1 million inhabitants: United Nations, World Population Prospects 2024, estimates for 2024, sovereign states and the
# territories with a code of their own
SMALL_COUNTRIES = frozenset(
    "AD AG AI AS AW AX BB BL BM BN BQ BS BT BZ CK CV CW DM FJ FK FM FO GD GF GG GI GL GP GU GY IM IO IS JE KI KM KN KY LC LI "  # noqa: SIM905
    "LU MC ME MF MH MO MP MQ MS MT MV NC NF NR NU PF PM PN PW SB SC SH SM SR ST SX TC TK TO TV VA VC VG VI VU WF WS YT".split()
)

REGIONS = {
    "world": "the world",
    "africa": "Africa",
    "americas": "the Americas",
    "asia": "Asia",
    "europe": "Europe",
    "oceania": "Oceania",
}


@lru_cache(maxsize=512)
def country_name(code: str | None) -> str:
    """The short English name of an ISO 3166-1 alpha-2 code; the code itself where there is none."""
    if not code:
        return "Unknown country"
    if code in _SHORT:
        return _SHORT[code]
    found = pycountry.countries.get(alpha_2=code)
    if found is None:
        return code
    return str(getattr(found, "common_name", found.name))


@lru_cache(maxsize=1)
def all_countries() -> tuple[tuple[str, str], ...]:
    """Every country as (code, name), by name."""
    codes = [country.alpha_2 for country in pycountry.countries]
    return tuple(sorted(((code, country_name(code)) for code in codes), key=lambda pair: pair[1]))


def region_name(region: str | None) -> str:
    """The name of a region of UN M49, however it was written."""
    if not region:
        return "Unknown region"
    return REGIONS.get(region.lower(), region)
