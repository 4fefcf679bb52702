"""The page of one weekly series: what was counted, what was expected, and why it did or did not fire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from alerts.statistics import Verdict, expectations, false_discoveries_held, verdicts_of
from app.auth.permissions import Action
from app.auth.sessions import Viewer, requires_viewer
from app.context import Context
from app.notifications.series import Weekly, monday, weekly
from app.persistence.models import Substance
from app.problems import Problem
from app.sharing.rows import readable_detections
from app.substances.figures import Figure, LegendItem, Value
from app.substances.queries import SubstanceDetail, substance_detail
from app.web import charts, words
from app.web.frame import Crumb, build_frame
from app.web.places import country_name
from app.web.templating import Page

router = APIRouter(include_in_schema=False)

SHOWN_WEEKS = 52
METHODS = {
    "gamma-poisson": "Sparse series: a Gamma-Poisson expectation from up to 156 earlier weeks, past outbreaks weighed down.",
    "quasi-poisson-glm": "Series with a long history: a regression on up to 260 earlier weeks with trend and season.",
    "conditional-binomial": "History under 26 weeks: an exact comparison of the last four weeks with the four before.",
}


_TESTS = {True: "Weeks are scaled by the tests that laboratories state.", False: "Tests done are not stated."}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowLine:
    """One tested window in words and numbers; `held` is False where many tests at once explain it (false discovery rate 5 %)."""

    window: str
    observed: int
    expected: str
    p: str
    alarm: bool
    held: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalContext:
    substance_id: str
    name: str
    place: str
    finding: str
    why: tuple[str, ...]
    method: str
    method_id: str
    windows: tuple[WindowLine, ...]
    figure: Figure


@router.get("/substances/{substance_id}/signals/{country}")
def signal(
    request: Request,
    context: Context,
    viewer: Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))],
    substance_id: str,
    country: str,
) -> Response:
    """The weekly series of a substance in a country, over the rows that the reader may see."""
    now = context.now()
    country = country.upper()
    with context.database.read() as session:
        found = substance_detail(session, viewer.principal, substance_id)
        if not isinstance(found, SubstanceDetail) or country_name(country) == country:
            raise Problem("not-found", "There is no such series, or you may not see it.")
        substance = session.get_one(Substance, substance_id)
        series = weekly(session, substance, country, now, readable_detections(viewer.principal))
        frame = build_frame(
            request, context, session, viewer, title=f"{substance.name} in {country_name(country)}",
            crumbs=(Crumb(text="Substances", href="/substances"), Crumb(text=substance.name, href=f"/substances/{substance.id}")),
        )  # fmt: skip
        page = _context(substance, country, series, monday(now))
    return Page("substances/signal.html", frame, page)


def _context(substance: Substance, country: str, series: Weekly, week: date) -> SignalContext:
    place = country_name(country)
    verdicts = verdicts_of(series.counts, class_mean=series.class_mean, tests=series.tests)
    held = false_discoveries_held([v.p for v in verdicts])
    best = min(verdicts, key=lambda v: (not v.alarm, v.p))
    method = best.method.split("/")[0]
    return SignalContext(
        substance_id=substance.id,
        name=substance.name,
        place=place,
        finding=_finding(best),
        why=tuple(_why(best, series)),
        method=METHODS[method],
        method_id=best.method,
        windows=tuple(_line(v, one) for v, one in zip(verdicts, held, strict=True)),
        figure=_figure(substance.name, place, series, week),
    )


def _weeks(count: int) -> str:
    return "the last week" if count == 1 else f"the last {count} weeks"


def _finding(best: Verdict) -> str:
    more = "more than expected" if best.alarm else "no more than may be expected"
    findings = words.count(best.observed, "finding", "findings")
    return f"{findings} in {_weeks(best.window)}, {best.expected:.1f} expected: {more}"


def _why(best: Verdict, series: Weekly) -> list[str]:
    """The conditions of an alert, each with whether it holds."""
    recent = sum(series.counts[-4:])
    laboratories = words.count(series.laboratories, "laboratory", "laboratories")
    lines = [
        f"Statistics: {'an alarm' if best.alarm else 'no alarm'} (p = {best.p:.4f} over {_weeks(best.window)}).",
        f"Findings in four weeks: {recent}; an alert needs 3.",
        f"Reported by {laboratories}; an alert needs 2, or 1 where no more than one reports from the country.",
    ]
    adjusted = "Tests done are taken into account." if series.tests is not None else "Not adjusted for tests done: not stated."
    return [*lines, adjusted]


def _line(verdict: Verdict, held: bool) -> WindowLine:
    return WindowLine(
        window=_weeks(verdict.window).removeprefix("the "),
        observed=verdict.observed,
        expected=f"{verdict.expected:.2f}",
        p=f"{verdict.p:.4f}",
        alarm=verdict.alarm,
        held=held,
    )


def _figure(name: str, place: str, series: Weekly, week: date) -> Figure:
    expected = expectations(series.counts, class_mean=series.class_mean, tests=series.tests, last=SHOWN_WEEKS)
    counts = series.counts[-len(expected) :]
    days = [week - timedelta(weeks=len(counts) - 1 - number) for number in range(len(counts))]
    bars = tuple(
        charts.WeekBar(
            week=day.isoformat(), count=count, mean=None if e is None else e.mean, limit=None if e is None else e.limit,
            alarm=e is not None and count >= e.limit,
        )
        for day, count, e in zip(days, counts, expected, strict=True)
    )  # fmt: skip
    above = sum(bar.alarm for bar in bars)
    which = words.count(above, "week", "weeks") if above else "no week"
    title = f"{name}: {which} above what was expected in {words.count(len(bars), 'week', 'weeks')}"
    label = f"Bar chart of findings by week of receipt in {place}, with the expected band. {title}. Table follows."
    return Figure(
        id="series",
        title=title,
        subtitle=f"Independent findings by week of receipt, {place}, {days[0]:%d %b %Y} to {days[-1]:%d %b %Y}",
        picture=charts.picture(
            charts.week_band(bars, width=700, height=220),
            charts.week_band(bars[-26:], width=310, height=190),
            label=label[:300],
            reading=charts.along("x", len(bars), 26, last_first=True),
        ),
        legend=(
            LegendItem(kind="probable", text="Findings"),
            LegendItem(kind="confirmed", text="At or above the count that alarms"),
        ),
        columns=("Week from", "Findings", "Expected", "Alarms at"),
        rows=tuple(
            (
                Value(text=bar.week),
                Value(text=f"{bar.count:,}", numeric=True),
                Value(text="short history" if bar.mean is None else f"{bar.mean:.2f}", numeric=True),
                Value(text="" if bar.limit is None else f"{bar.limit:,}", numeric=True),
            )
            for bar in reversed(bars)
        ),
        source="Source: reports to this service that you may see, all confidences but screening, historical imports left out.",
        denominator="Findings of one laboratory on one day count once."
        + (
            " Weeks are scaled by the tests that laboratories state."
            if series.tests is not None
            else " Tests done are not stated."
        ),
        caveat="Grey band: from zero to the count at which one week alone alarms; dashed line: the expected mean.",
        csv_href=None,
        svg_href=None,
    )
