"""The demonstration's world: deterministic, valid for intake, labelled, and without anything personal."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from app import demo
from app.demo import DemoReport
from app.intake.schemas import ReportIn
from chem.errors import StructureError
from chem.parsing import read_smiles

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def reports() -> list[DemoReport]:
    return list(demo.generate(7, NOW))


def test_same_seed_and_month_give_the_same_reports_and_a_later_day_only_adds(reports: list[DemoReport]) -> None:
    assert list(demo.generate(7, NOW)) == reports
    earlier = list(demo.generate(7, NOW.replace(day=10)))
    assert reports[: len(earlier)] == earlier
    assert len(earlier) < len(reports)
    assert list(demo.generate(8, NOW)) != reports


def test_it_is_made_in_seconds() -> None:
    start = time.perf_counter()
    assert sum(1 for _ in demo.generate(3, NOW)) > 5_000
    assert time.perf_counter() - start < 5


def test_every_body_is_a_report_of_the_contract(reports: list[DemoReport]) -> None:
    for report in reports:
        if report.kind != "withdrawn":
            ReportIn.model_validate(report.body)


def test_every_structure_can_be_read(reports: list[DemoReport]) -> None:
    texts = set()
    for report in reports:
        for substance in report.body.get("substances", ()):
            structure = substance.get("structure") or {}
            texts |= {structure["smiles"]} if "smiles" in structure else set()
            texts |= {candidate["smiles"] for candidate in structure.get("candidates", ())}
    assert len(texts) > 200
    for text in texts:
        try:
            assert read_smiles(text) is not None
        except StructureError as error:  # pragma: no cover - the message names the structure
            pytest.fail(f"{text}: {error}")


def test_it_looks_like_the_world(reports: list[DemoReport]) -> None:
    created = [report for report in reports if report.kind == "created"]
    kinds = Counter(report.kind for report in reports)
    countries = {report.body["sample"]["country"] for report in created}
    cases = [case for report in created for case in report.body.get("cases", ())]
    assert len(countries) == 40
    assert kinds["corrected"] > 50
    assert kinds["withdrawn"] > 5
    assert sum(case["seriousness"] == "death" for case in cases) > 30

    def nitazenes(year: str) -> int:
        return sum(
            report.body["sample"]["date_sampled"].startswith(year)
            and any("nitaz" in substance.get("name", "").lower() for substance in report.body["substances"])
            for report in created
        )

    assert nitazenes("2026") > 2 * nitazenes("2024")


def test_reports_come_in_order_and_never_from_the_future(reports: list[DemoReport]) -> None:
    times = [report.received_at for report in reports]
    assert times == sorted(times)
    assert times[-1] <= NOW
    assert (NOW - times[-1]).days < 2


def test_a_later_version_follows_its_first_one(reports: list[DemoReport]) -> None:
    seen: set[tuple[str, str]] = set()
    for report in reports:
        key = (report.organisation, report.body["lab_reference"])
        assert (key in seen) == (report.kind != "created")
        seen.add(key)


def test_everything_says_that_it_is_a_demonstration(reports: list[DemoReport]) -> None:
    organisations = demo.organisations()
    assert all(org.name.startswith("Demonstration ") for org in organisations)
    assert {report.organisation for report in reports} <= {org.key for org in organisations}
    assert all(report.body["lab_reference"].startswith("DEMO-") for report in reports)
    assert not any("comment" in report.body for report in reports)
    text = json.dumps([report.body for report in reports])
    for word in ("synthesis", "vendor", "price", "precursor", "sex"):
        assert f'"{word}"' not in text


def test_people_have_passwords_of_the_installation_alone() -> None:
    first, second = demo.people("a"), demo.people("b")
    assert [person.email for person in first] == [person.email for person in second]
    assert not {person.password for person in first} & {person.password for person in second}
    assert len({person.password for person in first}) == len(first)
    assert {person.role for person in first} == {"lab", "authority", "reviewer", "analyst", "industry", "admin"}
    assert {person.organisation for person in first} <= {org.key for org in demo.organisations()}
    assert {key.organisation for key in demo.api_keys()} <= {org.key for org in demo.organisations()}
