"""Each title rule speaks where its condition holds, and only there; the expected band is what it says."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.sharing.masking import MASKED, NO_DATA, Total, counted
from app.substances.denominators import Rate, Rates
from app.substances.expected import band, bands
from app.substances.figures import month_figure
from app.substances.findings import MONTH_RULES, control_title, month_rule
from app.substances.queries import LaboratoryYears, MonthPoint, MonthSeries
from app.web import charts


def series(counts: list[int | None], panel: tuple[tuple[int, int], ...] = (), *, masked: bool = False) -> MonthSeries:
    """Months up to November 2026, the running one last."""
    points = []
    for place, n in enumerate(counts):
        index = 2026 * 12 + 10 - (len(counts) - 1 - place)
        cell = NO_DATA if n is None else counted(n)
        month = f"{index // 12:04d}-{index % 12 + 1:02d}"
        arriving = place == len(counts) - 1
        points.append(MonthPoint(month=month, total=cell, confirmed=cell, probable=counted(0), arriving=arriving))
    total = sum(n or 0 for n in counts)
    years = tuple(LaboratoryYears(before=before, last=last) for before, last in panel)
    cell = MASKED if masked else counted(total)
    return MonthSeries(
        points=tuple(points), total=Total(cell=cell, at_least=total), laboratories=len(years), panel=years, masked=masked
    )


FLAT = [5] * 36
SAYS = (
    ("masked", series(FLAT, masked=True), "X: at least 180 detections, Dec 2023 to Nov 2026; some months are masked"),
    ("none", series([0] * 36), "No X detections, Dec 2023 to Nov 2026"),
    ("few", series([0] * 30 + [2] * 5 + [1]), "Too few X detections to show a trend (11 in Dec 2023 to Nov 2026)"),
    ("outside-band", series([5] * 34 + [40, 1]), "X detections rose to 40 in Oct 2026, above the expected 1 to 10"),
    ("outside-band", series([30] * 34 + [2, 1]), "X detections fell to 2 in Oct 2026, below the expected 19 to 42"),
    ("year-on-year", series(FLAT, ((10, 30),) * 3), "X detections tripled among the 3 laboratories reporting throughout"),
    ("inside-band", series(FLAT, ((10, 30),) * 2), "X: 5 in Oct 2026, within the expected 1 to 10"),
    ("inside-band", series(FLAT, ((10, 11),) * 3), "X: 5 in Oct 2026, within the expected 1 to 10"),
    ("plain", series([None] * 26 + [5] * 10), "X: 50 detections, Dec 2023 to Nov 2026"),
)


@pytest.mark.parametrize(("rule", "found", "sentence"), SAYS)
def test_the_first_rule_whose_condition_holds_speaks(rule: str, found: MonthSeries, sentence: str) -> None:
    assert month_rule("X", found) == (rule, sentence)


def test_every_rule_of_the_table_is_tried() -> None:
    assert {rule.id for rule in MONTH_RULES} == {rule for rule, *_ in SAYS}


def test_the_band_holds_95_percent_of_a_poisson_month_and_widens_with_the_spread() -> None:
    # Poisson with mean 5 holds its middle 95 % between 1 and 10; twelve months only estimate the mean
    assert (band([5] * 12).low, band([5] * 12).high) == (1, 10)
    spread = band([1, 9] * 6)
    assert spread.low < 1
    assert spread.high > 10
    assert band([0] * 12).high == 0


@pytest.mark.parametrize("months", [[0] * 11 + [1], [1, 9] * 6, [3] * 12, [0, 200] * 6, [950, 1050] * 6, [40_000, 41_000] * 6])
def test_the_band_is_that_of_the_distribution_summed_from_zero(months: list[int]) -> None:
    mean = sum(months) / 12
    variance = max(mean, sum((n - mean) ** 2 for n in months) / 11) * (1 + 1 / 12)
    size = mean * mean / (variance - mean)
    hit = size / (size + mean)
    below, low, high = 0.0, None, None
    for n in range(200_000):
        below += math.exp(
            math.lgamma(n + size) - math.lgamma(size) - math.lgamma(n + 1) + size * math.log(hit) + n * math.log1p(-hit)
        )
        low = n if low is None and below >= 0.025 else low
        if below >= 0.975:
            high = n
            break
    assert (band(months).low, band(months).high) == (low, high)


def test_a_month_without_data_or_still_arriving_has_no_band_and_gives_none() -> None:
    found = bands(series([5] * 12 + [None] + [5] * 13).points)
    assert [place for place, one in enumerate(found) if one] == []
    whole = series([5] * 14).points
    assert [place for place, one in enumerate(bands(whole)) if one] == [12]
    early = (replace(whole[0], arriving=True), *whole[1:])
    assert not any(bands(early))


def test_a_change_after_control_is_never_said_to_follow_from_it() -> None:
    assert control_title("X", 4.0, 2.0, "a measure") == (
        "X detections fell from 4.0 to 2.0 a month after a measure; other causes are possible"
    )


def test_tests_done_stand_under_the_months_and_a_month_without_them_is_no_zero() -> None:
    rate = Rate(month="2026-10", tests=40, detections=5, per_1000=125.0, low=54.6, high=261.1, few=True)
    with_tests = month_figure("X", series(FLAT), base=None, rates=Rates(months=(rate,), laboratories=1, reporting=2))
    without = month_figure("X", series(FLAT), base=None, rates=Rates(months=(), laboratories=0, reporting=2))
    assert with_tests.columns == (*without.columns[:-1], "Tests", "Per 1,000 tests", "95 %", "Remark")
    october, september = with_tests.rows[1], with_tests.rows[2]
    assert [value.text for value in october[5:8]] == ["40", "125.0", "54.6 to 261.1, under 50 tests"]
    assert (september[5].text, september[5].note) == ("[x]", "not stated")
    assert "Below: tests done a month; no bar: not stated" in [item.text for item in with_tests.legend]
    assert with_tests.picture.download.count(charts.OTHER) == 1  # one thin bar
    assert charts.OTHER not in without.picture.download
