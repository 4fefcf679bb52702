"""Masked cells stay masked: an attacker with every published table of the same rows cannot compute one back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from app.persistence.models import Substance
from app.persistence.session import Database
from app.sharing.masking import MASK_BELOW, MASKED, Cell, suppress
from app.substances import queries
from app.substances.search import Sort, search_substances
from tests.databases import ready
from tests.factories import NOW, World

REACH = 14  # the attacker tries every value up to this


def _could_be(tables: Sequence[Mapping[str, Cell]]) -> list[dict[str, set[int]]]:
    """What each hidden cell can be, for whoever knows that all tables have the same sum and that hidden ones are at least 1."""
    shown = [sum(cell.n or 0 for cell in table.values()) for table in tables]
    hidden = [[key for key, cell in table.items() if cell == MASKED] for table in tables]
    sums: list[set[int]] = []
    for known, keys in zip(shown, hidden, strict=True):
        possible = {known}
        for _ in keys:
            possible = {total + n for total in possible for n in range(1, REACH + 1)}
        sums.append(possible)
    common = set.intersection(*sums)
    found: list[dict[str, set[int]]] = []
    for known, keys in zip(shown, hidden, strict=True):
        could: dict[str, set[int]] = {key: set() for key in keys}
        for key in keys:
            others = {known}
            for _ in range(len(keys) - 1):
                others = {total + n for total in others for n in range(1, REACH + 1)}
            could[key] = {n for n in range(1, REACH + 1) if any(total + n in common for total in others)}
        found.append(could)
    return found


rows = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("WXYZ")), min_size=1, max_size=40)


@given(rows)
@settings(max_examples=400)
def test_no_hidden_cell_has_only_one_possible_value(found: list[tuple[str, str]]) -> None:
    months = {key: sum(1 for row in found if row[0] == key) for key in "abcd"}
    countries = {key: sum(1 for row in found if row[1] == key) for key in "WXYZ"}
    published = suppress(months, countries)
    for counts, table in zip((months, countries), published, strict=True):
        for key, n in counts.items():
            if 0 < n < MASK_BELOW:
                assert table[key] == MASKED
    for could in _could_be(published):
        for key, values in could.items():
            assert len(values) > 1, (months, countries, key, values)


@pytest.mark.parametrize(
    ("months", "countries"),
    [
        # what masking each table by itself gives away: 2 is 1 + 1, and 8 of two cells under 5 is 4 + 4
        ({"a": 7}, {"X": 5, "Y": 1, "Z": 1}),
        ({"a": 13}, {"X": 5, "Y": 4, "Z": 4}),
        ({"a": 5}, {"V": 1, "W": 1, "X": 1, "Y": 1, "Z": 1}),
        ({"a": 9, "b": 9}, {"X": 17, "Y": 1}),
    ],
)
def test_a_second_table_does_not_give_the_first_ones_cells_away(months: dict[str, int], countries: dict[str, int]) -> None:
    for could in _could_be(suppress(months, countries)):
        assert all(len(values) > 1 for values in could.values())


def test_nothing_is_hidden_where_every_count_is_large_or_zero() -> None:
    published = suppress({"a": 9, "b": 0}, {"X": 9, "Y": 0})
    assert all(cell.n is not None for table in published for cell in table.values())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = Database(f"sqlite:///{tmp_path / 'masking.sqlite'}", pool_size=2)
    ready(database)
    with Session(database.engine) as session:
        yield World(session)
    database.dispose()


def _fill(world: World, name: str, counts: Mapping[tuple[str, int], int], *, confidence: str = "confirmed") -> str:
    """A substance with so many CLEAR detections by country and month of 2026."""
    lab = world.organisations.get("lab") or world.organisation("lab", "DE", name="lab")
    substance = world.substance(name)
    for (country, month), n in counts.items():
        for _ in range(n):
            world.detection(lab, substance, country=country, tlp="CLEAR", sampled_on=date(2026, month, 3), confidence=confidence)
    return substance.id


def test_the_public_cannot_take_the_months_from_the_list_nor_the_countries_from_the_months(world: World) -> None:
    """Months 6, 7 and 3, countries 15 and 1: list, series, countries and split together give neither 3 nor 1 away."""
    substance = _fill(world, "A", {("DE", 8): 6, ("DE", 9): 7, ("DE", 10): 2, ("FR", 10): 1})
    months = queries.detections_by_month(world.session, None, [substance], now=NOW)
    countries = queries.detections_by_country(world.session, None, [substance], now=NOW)
    split = queries.confidence_split(world.session, None, [substance], now=NOW)
    listed = search_substances(world.session, None, now=NOW).items[0]
    by_month = {point.month: point.total for point in months.points}
    assert by_month["2026-10"] == MASKED
    assert sum(cell == MASKED for cell in by_month.values()) == 2
    assert {row.country: row.total for row in countries.rows} == {"DE": MASKED, "FR": MASKED}
    assert (listed.detections, split.counted) == (MASKED, MASKED)
    assert dict(split.rows)["confirmed"] == MASKED
    assert months.total.cell == MASKED
    assert countries.total.cell == MASKED


def test_the_order_of_the_list_does_not_bracket_a_hidden_count(world: World) -> None:
    """B has 10 + 3 detections: between A with 12 and C with 14 its place would say 13."""
    for name, counts in (("A", {("DE", 9): 12}), ("B", {("DE", 9): 10, ("DE", 10): 3}), ("C", {("DE", 9): 14})):
        _fill(world, name, counts)  # type: ignore[arg-type]
    page = search_substances(world.session, None, now=NOW, sort=Sort.DETECTIONS, descending=True)
    assert [(row.name, row.detections.n) for row in page.items] == [("C", 14), ("A", 12), ("B", None)]


def test_splits_by_confidence_hide_both_parts_of_a_month_and_of_the_year(world: World) -> None:
    substance = _fill(world, "A", {("DE", 9): 9})
    lab = world.organisations["lab"]
    for _ in range(2):
        world.detection(
            lab, world.session.get_one(Substance, substance), country="DE", tlp="CLEAR",
            sampled_on=date(2026, 9, 3), confidence="probable",
        )  # fmt: skip
    months = queries.detections_by_month(world.session, None, [substance], now=NOW)
    point = next(point for point in months.points if point.month == "2026-09")
    assert (point.total.n, point.confirmed, point.probable) == (11, MASKED, MASKED)
    split = dict(queries.confidence_split(world.session, None, [substance], now=NOW).rows)
    assert (split["confirmed"], split["probable"]) == (MASKED, MASKED)


def test_two_filters_that_differ_by_one_group_do_not_differ_by_a_hidden_count(world: World) -> None:
    """Filters of the list choose rows, never counts: the figure of a substance is the same under each of them."""
    _fill(world, "A", {("DE", 9): 9, ("FR", 9): 1})
    _fill(world, "B", {("DE", 9): 5})
    seen: dict[str, set[int | None]] = {}
    for group, status in product((None, "other"), (None, "not_controlled")):
        for row in search_substances(world.session, None, now=NOW, chemical_group=group, legal_status=status).items:
            seen.setdefault(row.name, set()).add(row.detections.n)
    assert all(len(values) == 1 for values in seen.values())
