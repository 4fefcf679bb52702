"""A labelled synthetic world for demonstrations: three years of reports from 40 countries, made from a seed in seconds.

`generate` gives bodies of the public contract's report, in the order in which they would have come in; whoever fills an
installation sends them through the ordinary intake. Nothing describes a real laboratory, person, sample or event, and names say
so: "Demonstration laboratory DE-1", references "DEMO-...".
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import chem
from app.demo_profiles import (
    CLASS_LABELS,
    CLASS_OF,
    CLASSES,
    COUNTRIES,
    CUTTING_AGENTS,
    FROM_SCHEDULES,
    ISOMER_SETS,
    NITAZENE_ARRIVALS,
    OPIOID_CUTS,
    ClassProfile,
    Country,
)

MONTHS = 36
REPORTS = 6_200
CLUSTER_COUNTRY = "DE"
CLUSTER_AREA = "DE-BE"
EMERGING = "nitazene"
CORRECTED = 0.02
WITHDRAWN = 0.004
_DATA = Path(chem.__file__).resolve().parent / "data"
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


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """One thing a laboratory sent. A correction or withdrawal names the first report by the `lab_reference` of its body."""

    organisation: str
    received_at: datetime
    kind: str  # created | corrected | withdrawn
    body: dict[str, Any]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Substance:
    name: str
    smiles: str
    cas: str
    group: str
    arrives: int  # month of the period in which it first appears, 0 to MONTHS - 1; negative: before it
    popularity: float
    lasts: float  # months until its popularity has fallen to a third
    home: int  # index of the country in which it first appears


@dataclass(frozen=True, slots=True, kw_only=True)
class _Laboratory:
    key: str
    country: Country
    weight: float
    skill: str  # reference | routine | field
    delay: float  # median days from sample to report
    joins: int
    open: bool  # publishes most of its results


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
    return (report for report in _World(seed, now).reports() if report.received_at <= now)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class _World:
    """The whole period, drawn from one generator of random numbers in a fixed order."""

    def __init__(self, seed: int, now: datetime) -> None:
        now = now.astimezone(UTC)
        self.rng = Random(f"{seed}:{now:%Y-%m}")  # noqa: S311 - a synthetic world, not a secret
        last = now.year * 12 + now.month - 1
        self.months = [divmod(index, 12) for index in range(last - MONTHS + 1, last + 1)]
        self.substances = self._substances()
        self.by_name = {s.name: s for s in self.substances}
        self.cuts = {
            row["name"]: (row["smiles"], row["cas"])
            for row in _rows(_DATA / "reference" / "medicines_negative.csv")
            if row["name"] in {*CUTTING_AGENTS, *OPIOID_CUTS} and row["smiles"]
        }
        self.laboratories = [self._laboratory(c, n) for c in COUNTRIES for n in range(1, c.laboratories + 1)]
        self.order = self.rng.sample(range(len(COUNTRIES)), len(COUNTRIES))
        self.number = 0

    # what there is

    def _substances(self) -> list[_Substance]:
        found: dict[str, tuple[str, str, str]] = {}
        for row in _rows(_DATA / "reference" / "nps_uncontrolled.csv"):
            if row["smiles"] and row["nps_class"] in CLASS_OF:
                found[row["name"]] = (row["smiles"], row["cas"], CLASS_OF[row["nps_class"]])
        entries = {
            row["name"]: row
            for instrument in ("un-1961", "un-1971")
            for row in _rows(_DATA / "schedules" / instrument / "entries.csv")
            if row["smiles"]
        }
        for group, names in FROM_SCHEDULES.items():
            for name in names:
                if name in entries:
                    found[name] = (entries[name]["smiles"], entries[name]["cas"], group)
        return [self._substance(name, *values) for name, values in sorted(found.items())]

    def _substance(self, name: str, smiles: str, cas: str, group: str) -> _Substance:
        rng = self.rng
        known = name in FROM_SCHEDULES.get(group, ())
        popularity = rng.paretovariate(1.1) * (2.5 if known else 1.0)
        arrives = MONTHS - NITAZENE_ARRIVALS[name] if name in NITAZENE_ARRIVALS else rng.randrange(-40, MONTHS - 1)
        if known and group != "nitazene":
            arrives = -40
        return _Substance(
            name=name,
            smiles=smiles,
            cas=cas,
            group=group,
            arrives=arrives,
            popularity=min(popularity, 14.0),
            lasts=999.0 if known else rng.uniform(10, 40),
            home=rng.randrange(len(COUNTRIES)),
        )

    def _laboratory(self, country: Country, number: int) -> _Laboratory:
        rng = self.rng
        skill = "reference" if number == 1 else rng.choice(("routine", "field"))
        if country.weight <= 2:
            skill = rng.choice(("reference", "routine"))
        return _Laboratory(
            key=f"lab-{country.code}-{number}",
            country=country,
            weight=country.weight / country.laboratories * rng.uniform(0.7, 1.3),
            skill=skill,
            delay=rng.uniform(5, 24),
            joins=rng.choice((-1, -1, -1, -1, 4, 11, 19)) if number > 1 else -1,
            open=skill == "field" or rng.random() < 0.2,
        )

    # what happens

    def reports(self) -> list[DemoReport]:
        rng = self.rng
        found: list[DemoReport] = []
        weights = [1 + 0.9 * index / MONTHS + 0.08 * math.cos(2 * math.pi * (month - 6) / 12)
                   for index, (_, month) in enumerate(self.months)]  # fmt: skip
        total = sum(weights)
        for index, (year, month) in enumerate(self.months):
            chances = [self._chance(s, index, month + 1) for s in self.substances]
            labs = [lab for lab in self.laboratories if lab.joins <= index]
            lab_weights = [lab.weight for lab in labs]
            for _ in range(round(REPORTS * weights[index] / total)):
                lab = rng.choices(labs, lab_weights)[0]
                substance = self._choose(chances, lab, index)
                found += self._report(lab, substance, date(year, month + 1, rng.randint(1, 28)))
        found += self._cluster()
        found.sort(key=lambda report: (report.received_at, report.organisation, report.body["lab_reference"], report.kind))
        return found

    def _chance(self, substance: _Substance, index: int, month: int) -> float:
        """How often a substance is found in a month: it arrives, grows for half a year, then fades."""
        age = index - substance.arrives
        if age < 0:
            return 0.0
        profile = CLASSES[substance.group]
        growth = 1 / (1 + math.exp(-(age - 5) / 1.8))
        fading = math.exp(-max(age - 8, 0) / substance.lasts)
        season = 1 + profile.swing * math.cos(2 * math.pi * (month - profile.peak) / 12)
        return substance.popularity * growth * fading * season

    def _choose(self, chances: Sequence[float], lab: _Laboratory, index: int) -> _Substance:
        """A substance that has reached the laboratory's country: it spreads from its home to one more country every 12 days."""
        rng = self.rng
        groups = list(CLASSES)
        emerging = 0.15 + 2.6 * (index / MONTHS) ** 2
        group = rng.choices(groups, [CLASSES[g].weight * (emerging if g == EMERGING else 1.0) for g in groups])[0]
        place = COUNTRIES.index(lab.country)
        reached, weights = [], []
        for substance, chance in zip(self.substances, chances, strict=True):
            if substance.group != group or chance <= 0:
                continue
            distance = (self.order[place] - self.order[substance.home]) % len(COUNTRIES)
            if distance <= 2 + (index - substance.arrives) * 2.5:
                reached.append(substance)
                weights.append(chance)
        if not reached:
            return self._choose(chances, lab, index)
        return rng.choices(reached, weights)[0]

    def _reference(self, lab: _Laboratory) -> str:
        self.number += 1
        return f"DEMO-{lab.country.code}-{self.number:05d}"

    def _received(self, day: date, lab: _Laboratory) -> datetime:
        delay = lab.delay * self.rng.lognormvariate(0, 0.55)
        start = datetime(day.year, day.month, day.day, self.rng.randint(7, 17), self.rng.randint(0, 59), tzinfo=UTC)
        return start + timedelta(days=max(delay, 1.0))

    def _report(self, lab: _Laboratory, substance: _Substance, day: date) -> list[DemoReport]:
        rng = self.rng
        profile = CLASSES[substance.group]
        received = self._received(day, lab)
        body: dict[str, Any] = {
            "lab_reference": self._reference(lab),
            "sample": self._sample(lab, profile, day),
            "substances": [],
            "date_analysed": min(day + timedelta(days=rng.randint(0, 3)), received.date()).isoformat(),
            "tlp": self._label(lab),
        }
        if rng.random() < 0.025:
            body["outcome"] = "none_detected"
            return [DemoReport(organisation=lab.key, received_at=received, kind="created", body=body)]
        body["substances"] = self._found(lab, substance, profile)
        harmed = body["sample"]["context"] == "biological"
        if rng.random() < profile.harm * (3.0 if harmed else 0.25):
            body["cases"] = [self._case(profile, harmed)]
        first = DemoReport(organisation=lab.key, received_at=received, kind="created", body=body)
        return [first, *self._later(first, substance)]

    def _later(self, first: DemoReport, substance: _Substance) -> list[DemoReport]:
        """A correction after a better analysis, or a withdrawal: rarely."""
        rng = self.rng
        chance = rng.random()
        later = first.received_at + timedelta(days=rng.uniform(2, 40))
        if chance < WITHDRAWN:
            return [
                DemoReport(
                    organisation=first.organisation,
                    received_at=later,
                    kind="withdrawn",
                    body={"lab_reference": first.body["lab_reference"]},
                    reason="The sample was reported twice.",
                )
            ]
        if chance < WITHDRAWN + CORRECTED:
            better = {
                **first.body["substances"][0],
                "structure": {"smiles": substance.smiles},
                "name": substance.name,
                "techniques": ["gc-ms", "nmr"],
                "reference_material": "certified",
                "isomers_excluded": "yes",
            }
            body = {**first.body, "substances": [better, *first.body["substances"][1:]]}
            return [DemoReport(organisation=first.organisation, received_at=later, kind="corrected", body=body)]
        return []

    def _label(self, lab: _Laboratory) -> str:
        chance = self.rng.random()
        if chance < 0.004:
            return "RED"
        if chance < 0.07:
            return "AMBER"
        return "CLEAR" if chance < (0.85 if lab.open else 0.2) else "GREEN"

    def _sample(self, lab: _Laboratory, profile: ClassProfile, day: date) -> dict[str, Any]:
        rng = self.rng
        context, detail = rng.choice(profile.contexts)
        sample: dict[str, Any] = {
            "country": lab.country.code,
            "date_sampled": day.isoformat() if rng.random() < 0.85 else f"{day:%Y-%m}",
            "context": context,
        }
        if detail:
            sample["context_detail"] = detail
        if lab.country.subdivisions and rng.random() < 0.6:
            sample["subdivision"] = rng.choice(lab.country.subdivisions)
        if context == "biological":
            sample["matrix"] = rng.choice(("blood_peripheral", "urine", "serum", "urine"))
            return sample
        sample["form"] = rng.choice(profile.forms)
        if context in {"collected", "purchase"} and rng.random() < 0.7:
            sample["sold_as"] = rng.choice(profile.sold_as)
        if context == "seizure":
            grams = round(rng.lognormvariate(1.5, 1.6), 1) + 0.1
            sample["quantity"] = {"value": round(grams, 1), "unit": "g", "basis": rng.choice(("net", "gross"))}
            if detail in {"customs", "postal"} and rng.random() < 0.3:
                sample["destination"] = lab.country.code
        return sample

    def _methods(self, lab: _Laboratory) -> dict[str, Any]:
        rng = self.rng
        match lab.skill:
            case "reference":
                return {
                    "techniques": rng.choice((["gc-ms", "nmr"], ["lc-qtof", "gc-ms"], ["gc-ms", "ftir"])),
                    "reference_material": rng.choice(("certified", "certified", "certified", "in_house")),
                    "isomers_excluded": rng.choice(("yes", "yes", "yes", "na")),
                }
            case "routine":
                return {
                    "techniques": rng.choice((["gc-ms"], ["gc-ms", "ftir"], ["lc-qtof"])),
                    "reference_material": rng.choice(("library_only", "certified", "other_lab_data")),
                    "isomers_excluded": rng.choice(("yes", "na", "no", "na")),
                }
            case _:
                return {
                    "techniques": rng.choice((["ftir", "test_strip"], ["ftir", "immunoassay"], ["colour_test"], ["gc-ms"])),
                    "reference_material": "library_only",
                    "isomers_excluded": rng.choice(("na", "no", "na")),
                }

    def _found(self, lab: _Laboratory, substance: _Substance, profile: ClassProfile) -> list[dict[str, Any]]:
        rng = self.rng
        methods = self._methods(lab)
        if lab.skill == "field" and rng.random() < 0.03:
            return [{"name": rng.choice(CLASS_LABELS), "abundance": "primary", "techniques": methods["techniques"]}]
        first: dict[str, Any] = {"name": substance.name, "abundance": "primary", **methods}
        isomers = next((group for group in ISOMER_SETS if substance.name in group), None)
        known = [self.by_name[name] for name in isomers or () if name in self.by_name]
        if len(known) > 1 and lab.skill != "reference" and rng.random() < 0.3:
            first["structure"] = {"candidates": [{"smiles": member.smiles} for member in known]}
            del first["name"]
        elif rng.random() < 0.85:
            salt = ".Cl" if rng.random() < 0.4 and "N" in substance.smiles else ""
            first["structure"] = {"smiles": substance.smiles + salt}
        elif substance.cas and rng.random() < 0.5:
            first["cas"] = substance.cas
        if lab.skill == "reference" and rng.random() < 0.35:
            low, high = profile.purity
            first["purity_percent"] = round(rng.triangular(low, high, low + (high - low) * 0.3), 1)
            first["purity_as"] = "base"
        found = [first]
        cuts = OPIOID_CUTS if substance.group in {"fentanyl", "nitazene"} else CUTTING_AGENTS
        for name in rng.sample(cuts, k=rng.choice((0, 0, 0, 1, 1, 2))):
            if name in self.cuts:
                smiles, _ = self.cuts[name]
                found.append({"structure": {"smiles": smiles}, "name": name, "abundance": "minor", **methods})
        if substance.group in {"fentanyl", "nitazene"} and rng.random() < 0.2 and "bromazolam" in self.by_name:
            other = self.by_name["bromazolam"]
            found.append({"structure": {"smiles": other.smiles}, "name": other.name, "abundance": "minor", **methods})
        return found

    def _case(self, profile: ClassProfile, biological: bool) -> dict[str, Any]:
        rng = self.rng
        death = rng.random() < profile.death
        seriousness = "death" if death else rng.choice(
            ("hospital_or_emergency_treatment", "hospital_or_emergency_treatment", "intensive_care", "life_threatening")
        )  # fmt: skip
        case: dict[str, Any] = {
            "seriousness": seriousness,
            "role": rng.choice(("sole_cause", "combined_cause", "combined_cause", "contributory", "undetermined")),
            "exposure_evidence": "biological" if biological else rng.choice(("own_product", "self_report")),
            "route": rng.choice(profile.routes),
            "age_band": rng.choice(("18-24", "25-34", "25-34", "35-44", "35-44", "45-54", "55-64")),
            "outcome": "died" if death else rng.choice(("recovered", "recovering", "unknown")),
        }
        if profile.toxidrome != "mixed":
            case["toxidrome"] = [profile.toxidrome]
        if profile.toxidrome == "opioid":
            case["naloxone"] = rng.choice(("given", "not_given", "unknown"))
        return case

    def _cluster(self) -> list[DemoReport]:
        """Harm in one city through the last month: tablets sold as oxycodone that contained protonitazene.

        A report comes in every third day, so that on most days something has just happened that waits for an answer.
        """
        rng = self.rng
        lab = next(lab for lab in self.laboratories if lab.country.code == CLUSTER_COUNTRY)
        substance = self.by_name["Protonitazene"]
        year, month = self.months[-1]
        found = []
        for number in range(9):
            received = datetime(year, month + 1, 3 + 3 * number, 9 + number % 4, 15, tzinfo=UTC)
            day = received.date() - timedelta(days=5)
            case = self._case(CLASSES["nitazene"], biological=True)
            died = number % 3 == 0
            case |= {"seriousness": "death" if died else rng.choice(("intensive_care", "life_threatening")), "route": "oral"}
            case |= {"outcome": "died" if died else "recovering", "role": rng.choice(("sole_cause", "combined_cause"))}
            body = {
                "lab_reference": self._reference(lab),
                "sample": {
                    "country": lab.country.code,
                    "subdivision": CLUSTER_AREA,
                    "date_sampled": day.isoformat(),
                    "context": "biological",
                    "context_detail": "post_mortem" if died else "clinical",
                    "matrix": "blood_peripheral",
                    "sold_as": "oxycodone",
                },
                "substances": [
                    {
                        "structure": {"smiles": substance.smiles},
                        "name": substance.name,
                        "abundance": "primary",
                        "techniques": ["lc-qtof", "gc-ms"],
                        "reference_material": "certified",
                        "isomers_excluded": "yes",
                    }
                ],
                "cases": [case],
                "date_analysed": (day + timedelta(days=3)).isoformat(),
                "tlp": "GREEN",
            }
            found.append(DemoReport(organisation=lab.key, received_at=received, kind="created", body=body))
        return found
