"""How often the statistical rules cry wolf, and how often they find what was put in.

The 42 scenarios are those of Noufaily et al., Stat. Med. 2013;32:1206 (doi:10.1002/sim.5595): seven sets of level, trend,
season and dispersion, each with and without trend, with none, one or two harmonics; 624 weeks, the last 49 tested. The sparse
block is ours: weekly means from 0.02 to 1 with dispersion 1 and 1.5. Farrington Flexible runs in R (`surveillance`) on the same
series where R is installed; else its committed answers are used.

Run: python -m tests.bench signals [replicates]
"""

from __future__ import annotations

import csv
import hashlib
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alerts import regression
from alerts.statistics import is_established, sparse_verdicts, verdict_of
from tests.bench.figures import figure, growth

WEEKS = 624
TESTED = 49
HISTORY = regression.BASELINE_WEEKS + regression.GUARD_WEEKS + 1
REPLICATES = 100
R_REPLICATES = 30
SERIES_TIMED = 10_000
GOLDEN = Path(__file__).parent / "farrington_flexible.csv"
THETA = (0.1, -2.0, 1.5, 0.5, 2.5, 3.75, 5.0)
BETA = (0.0025, 0.005, 0.003, 0.002, 0.001, 0.001, 0.0001)
GAMMA_1 = (0.6, 0.1, 0.2, 0.5, 1.0, 0.1, 0.05)
GAMMA_2 = (0.6, 0.3, -0.4, 0.5, 0.1, -0.1, 0.01)
PHI = (1.5, 2.0, 1.0, 5.0, 3.0, 1.1, 1.2)
SPARSE = [(mean, phi) for phi in (1.0, 1.5) for mean in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)]
SPARSE_SERIES = 200
SPARSE_WEEKS = 240


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of the 42: which of the seven sets, with a trend or not, how many harmonics."""

    number: int
    set: int
    trend: bool
    harmonics: int

    def means(self) -> np.ndarray:
        week = np.arange(1, WEEKS + 1)
        log = THETA[self.set] + self.trend * BETA[self.set] * week
        for j in range(1, self.harmonics + 1):
            angle = 2 * np.pi * j * week / 52
            log = log + GAMMA_1[self.set] * np.cos(angle) + GAMMA_2[self.set] * np.sin(angle)
        return np.exp(log)

    def draw(self, source: np.random.Generator, count: int) -> np.ndarray:
        return draw(source, np.broadcast_to(self.means(), (count, WEEKS)), PHI[self.set])

    def outbreak(self, source: np.random.Generator, series: np.ndarray, k: float) -> tuple[int, int]:
        """Adds one of k standard deviations within the tested weeks; its first and last week, counted from 0."""
        start = int(source.integers(WEEKS - TESTED, WEEKS - 8))
        size = 0
        while size < 1:
            size = int(source.poisson(k * math.sqrt(PHI[self.set] * self.means()[start])))
        places = np.minimum(start + np.floor(source.lognormal(0, 0.5, size)).astype(int), WEEKS - 1)
        np.add.at(series, places, 1)
        return start, int(places.max())


SCENARIOS = [
    Scenario(number, chosen, trend, harmonics)
    for number, (chosen, trend, harmonics) in enumerate(
        ((s, t, m) for s in range(7) for t in (False, True) for m in (0, 1, 2)), start=1
    )
]


def draw(source: np.random.Generator, means: np.ndarray, phi: float) -> np.ndarray:
    """Counts with these means and variance phi times as large."""
    return source.poisson(means) if phi == 1 else source.negative_binomial(means / (phi - 1), 1 / phi)


def alarms(windows: np.ndarray) -> np.ndarray:
    """Whether the last week of each row alarms, by the method its history allows: the rows of a regression in one go."""
    found = np.zeros(len(windows), dtype=bool)
    established = np.array([is_established(row) for row in windows.tolist()])
    if established.any():
        found[established] = regression.expected(windows[established]).alarm.any(axis=1)
    for place in np.flatnonzero(~established):
        found[place] = any(v.alarm for v in sparse_verdicts(windows[place].tolist(), class_mean=None))
    return found


def history(series: np.ndarray, week: int) -> np.ndarray:
    """The weeks that a test of `week` reads."""
    return series[..., week - HISTORY + 1 : week + 1]


def rates_of(job: tuple[Scenario, int]) -> tuple[list[float], list[bool], list[bool]]:
    """False-positive rate of each replicate without outbreak, and whether outbreaks of 10 and of 3 were found."""
    scenario, replicates = job
    source = np.random.default_rng([2013, scenario.number])
    quiet = scenario.draw(source, replicates)
    false = np.mean([alarms(history(quiet, week)) for week in range(WEEKS - TESTED, WEEKS)], axis=0)
    found = []
    for k in (10.0, 3.0):
        busy = quiet.copy()
        found.append([caught(row, *scenario.outbreak(source, row, k)) for row in busy])
    return false.tolist(), found[0], found[1]


def caught(row: np.ndarray, start: int, end: int) -> bool:
    return bool(alarms(np.stack([history(row, week) for week in range(start, end + 1)])).any())


def sparse_rates(job: tuple[float, float]) -> tuple[float, float]:
    """False-positive rate, and the share in which four extra cases within four weeks were found."""
    mean, phi = job
    source = np.random.default_rng([1206, round(mean * 100), round(phi * 10)])
    series = draw(source, np.full((SPARSE_SERIES, SPARSE_WEEKS), mean), phi)
    weeks = range(161, SPARSE_WEEKS, 4)
    false = np.mean([alarms(series[:, week - 160 : week + 1]) for week in weeks])
    found = 0
    for row in series:
        busy = row.copy()
        np.add.at(busy, 200 + source.integers(0, 4, 4), 1)
        found += bool(alarms(np.stack([busy[week - 160 : week + 1] for week in range(200, 204)])).any())
    return float(false), found / SPARSE_SERIES


def shared_series() -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Series with an outbreak of 3, for both methods: the counts, and scenario, first and last week of each."""
    rows, places = [], []
    for scenario in SCENARIOS:
        source = np.random.default_rng([32, scenario.number])
        for row in scenario.draw(source, R_REPLICATES):
            start, end = scenario.outbreak(source, row, 3.0)
            rows.append(row)
            places.append((scenario.number, start, end))
    return np.stack(rows), places


R_SCRIPT = """
suppressMessages(library(surveillance))
d <- as.matrix(read.csv(commandArgs(TRUE)[1], header = FALSE))
for (i in seq_len(nrow(d))) {
  x <- sts(observed = matrix(as.numeric(d[i, 4:ncol(d)]), ncol = 1), start = c(2001, 1), frequency = 52)
  control <- list(range = (d[i, 2]:d[i, 3]) + 1, noPeriods = 10, b = 5, w = 3, weightsThreshold = 2.58,
    pastWeeksNotIncluded = 26, pThresholdTrend = 1, trend = TRUE, thresholdMethod = "nbPlugin", alpha = 0.01,
    limit54 = c(0, 4), glmWarnings = FALSE)
  cat(as.integer(any(alarms(suppressWarnings(farringtonFlexible(x, control))))), "\\n")
}
"""


def farrington_flexible(series: np.ndarray, places: Sequence[tuple[int, int, int]]) -> tuple[str, list[bool]]:
    """Whether Farrington Flexible found each outbreak, and where that comes from: R now, or the committed answers."""
    digest = hashlib.sha256(series.astype("<i8").tobytes()).hexdigest()
    if shutil.which("Rscript"):
        with tempfile.TemporaryDirectory() as folder:
            table, script = Path(folder) / "series.csv", Path(folder) / "farrington.R"
            script.write_text(R_SCRIPT)
            with table.open("w") as file:
                writer = csv.writer(file)
                writer.writerows([*place, *row.tolist()] for place, row in zip(places, series, strict=True))
            run = subprocess.run(["Rscript", script, table], capture_output=True, text=True, check=False)
        if run.returncode == 0:
            answers = [line.strip() == "1" for line in run.stdout.splitlines()]
            GOLDEN.write_text(f"sha256 of the series,found\n{digest},{''.join('1' if a else '0' for a in answers)}\n")
            return "R, now", answers
    with GOLDEN.open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    if row["sha256 of the series"] != digest:
        raise SystemExit("the committed answers of R are for other series: install R with the package surveillance")
    return "R, committed", [letter == "1" for letter in row["found"]]


def interval(values: Iterable[float]) -> tuple[float, float, float]:
    """Mean, and its 95 % interval over replicates."""
    numbers = list(values)
    mean = statistics.fmean(numbers)
    half = 1.96 * statistics.stdev(numbers) / math.sqrt(len(numbers))
    return mean, mean - half, mean + half


def timed_part(count: int) -> int:
    source = np.random.default_rng(count)
    alarmed = 0
    for part in range(0, count, 500):
        rows = draw(source, np.broadcast_to(SCENARIOS[part // 500 % 42].means(), (500, WEEKS)), 1.5)[:, -HISTORY:]
        alarmed += sum(verdict_of(row, class_mean=None).alarm for row in rows.tolist())
    return alarmed


def main(replicates: int | None = None, say: Callable[[str], None] = print) -> None:
    """Prints false-positive rates, detection with intervals, the comparison with R, and the time of 10,000 series."""
    count = replicates or next((int(a) for a in sys.argv[1:] if a.isdigit()), REPLICATES)
    with ProcessPoolExecutor(2) as pool:
        found = list(pool.map(rates_of, [(scenario, count) for scenario in SCENARIOS]))
        sparse = list(pool.map(sparse_rates, SPARSE))
        start = time.perf_counter()
        list(pool.map(timed_part, [SERIES_TIMED // 20] * 2))
        small = time.perf_counter() - start
        list(pool.map(timed_part, [SERIES_TIMED // 2] * 2))
        seconds = time.perf_counter() - start - small
    rates = [interval(false) for false, _, _ in found]
    for scenario, (mean, low, high), (_, ten, three) in zip(SCENARIOS, rates, found, strict=True):
        say(
            f"scenario {scenario.number:2}  theta {THETA[scenario.set]:5.2f} phi {PHI[scenario.set]:3.1f} "
            f"trend {scenario.trend:d} harmonics {scenario.harmonics}  false positives {mean:6.2%} ({low:6.2%} to {high:6.2%})  "
            f"found at k=10 {np.mean(ten):.2f}, k=3 {np.mean(three):.2f}"
        )
    figure("signals", "false positives, mean of 42 scenarios", 100 * statistics.fmean(m for m, _, _ in rates), "%", "<= 1.5")
    figure("signals", "found at k=10", float(np.mean([np.mean(f[1]) for f in found])), aim=">= 0.95")
    figure("signals", "seconds for 10,000 series on two processes", seconds, "s", "<= 60")
    growth("signals", "time of the series", small, seconds)
    above = [s.number for s, (_, low, _) in zip(SCENARIOS, rates, strict=True) if low > 0.015]
    overall = statistics.fmean(mean for mean, _, _ in rates)
    say(f"false positives, mean of 42 scenarios: {overall:.2%}; wholly above 1.5 %: {above or 'none'}")
    for k, place in ((10, 1), (3, 2)):
        mean, low, high = interval([float(np.mean(f[place])) for f in found])
        say(f"found at k={k}, mean of 42 scenarios: {mean:.3f} ({low:.3f} to {high:.3f} over scenarios)")
    for (mean, phi), (false, extra) in zip(SPARSE, sparse, strict=True):
        say(f"sparse  mean {mean:4.2f} phi {phi:3.1f}  false positives {false:6.2%}  four extra cases found {extra:.2f}")
    say(f"false positives, mean of the sparse block: {statistics.fmean(false for false, _ in sparse):.2%}")
    low_means = [extra for (mean, _), (_, extra) in zip(SPARSE, sparse, strict=True) if mean <= 0.1]
    say(f"four extra cases, means up to 0.1 a week: {statistics.fmean(low_means):.3f}")
    series, places = shared_series()
    source, theirs = farrington_flexible(series, places)
    ours = [caught(row, start, end) for row, (_, start, end) in zip(series, places, strict=True)]
    say(
        f"k=3 on {len(ours)} shared series: ours {np.mean(ours):.3f}, Farrington Flexible ({source}) {np.mean(theirs):.3f}, "
        f"difference {np.mean(ours) - np.mean(theirs):+.3f}"
    )
    say(f"{SERIES_TIMED} series of {HISTORY} weeks on 2 processes: {seconds:.1f} s")


if __name__ == "__main__":
    main()
