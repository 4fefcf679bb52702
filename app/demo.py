"""A labelled synthetic world for demonstrations: three years of reports from 40 countries, made from a seed in seconds.

`generate` gives bodies of the public contract's report, in the order in which they would have come in; whoever fills an
installation sends them through the ordinary intake. Nothing describes a real laboratory, person, sample or event, and names say
so: "Demonstration laboratory DE-1", references "DEMO-...".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.demo_profiles import COUNTRIES
from app.demo_world import DemoReport, World

__all__ = ["DemoKey", "DemoOrganisation", "DemoPerson", "DemoReport", "api_keys", "generate", "organisations", "people"]

_WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbour", "island", "juniper", "kestrel", "lagoon", "meadow",
    "north", "orchard", "pebble", "quartz", "river", "saffron", "tundra", "umber", "valley", "willow", "yarrow", "zephyr",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoOrganisation:
    """An organisation to create. `key` is how reports, people and keys refer to it."""

    key: str
    name: str
    kind: str
    country: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPerson:
    """Someone who may sign in."""

    organisation: str
    email: str
    name: str
    role: str
    password: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoKey:
    """An API key to create."""

    organisation: str
    role: str


def organisations() -> tuple[DemoOrganisation, ...]:
    """Laboratories of 40 countries, national authorities of them, a reviewer body, an industry partner, the operator."""
    found = [
        DemoOrganisation(key=f"lab-{c.code}-{n}", name=f"Demonstration laboratory {c.code}-{n}", kind="lab", country=c.code)
        for c in COUNTRIES
        for n in range(1, c.laboratories + 1)
    ]
    found += [
        DemoOrganisation(key=f"authority-{c.code}", name=f"Demonstration authority {c.code}", kind="authority", country=c.code)
        for c in COUNTRIES
    ]
    found += [
        DemoOrganisation(key="reviewer", name="Demonstration reviewers", kind="reviewer", country="CH"),
        DemoOrganisation(key="industry", name="Demonstration industry partner", kind="industry", country="NL"),
        DemoOrganisation(key="operator", name="Demonstration operator", kind="operator", country="AT"),
    ]
    return tuple(found)


def people(secret: str) -> tuple[DemoPerson, ...]:
    """One person a role. Passwords are made from `secret`, which the installation draws once: four words and digits each."""
    rows = (
        ("lab-DE-1", "lab", "laboratory@demo.example", "Demonstration chemist"),
        ("authority-DE", "authority", "authority@demo.example", "Demonstration officer"),
        ("authority-FR", "authority", "authority.fr@demo.example", "Demonstration officer FR"),
        ("reviewer", "reviewer", "reviewer@demo.example", "Demonstration reviewer"),
        ("operator", "analyst", "analyst@demo.example", "Demonstration analyst"),
        ("operator", "analyst", "second.analyst@demo.example", "Second demonstration analyst"),
        ("industry", "industry", "industry@demo.example", "Demonstration partner"),
        ("operator", "admin", "admin@demo.example", "Demonstration administrator"),
    )
    return tuple(
        DemoPerson(organisation=org, role=role, email=email, name=name, password=_password(secret, email))
        for org, role, email, name in rows
    )


def api_keys() -> tuple[DemoKey, ...]:
    """API keys worth having when trying the interface."""
    return (
        DemoKey(organisation="lab-DE-1", role="lab"),
        DemoKey(organisation="authority-DE", role="authority"),
        DemoKey(organisation="reviewer", role="reviewer"),
        DemoKey(organisation="operator", role="analyst"),
        DemoKey(organisation="industry", role="industry"),
        DemoKey(organisation="operator", role="admin"),
    )


def _password(secret: str, email: str) -> str:
    digest = hmac.new(secret.encode(), email.encode(), hashlib.sha256).digest()
    words = [_WORDS[byte % len(_WORDS)] for byte in digest[:4]]
    return "-".join([*words, str(int.from_bytes(digest[4:8], "big") % 9000 + 1000)])


def generate(seed: int, now: datetime) -> Iterator[DemoReport]:
    """The reports in the order of their receipt, up to `now`.

    The same seed and month of `now` give the same reports; a later day of that month only adds those received since.
    """
    return (report for report in World(seed, now).reports() if report.received_at <= now)
