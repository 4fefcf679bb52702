"""Charts of a ranking: how far ranks can be told apart, and prevalence against harm. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from app.priorities.ranking import Row
from app.substances.figures import Figure, Value
from app.web import charts, words

METHOD = "500 draws of laboratories and weights, seeded by the snapshot"
CAVEAT = f"{words.WHO_TESTED} Ranking is decision support."


def _spread(pair: tuple[float, float]) -> str:
    return f"{pair[0]:.1f}" if pair[0] == pair[1] else f"{pair[0]:.1f} to {pair[1]:.1f}"


def interval_figure(title: str, rows: Sequence[Row], csv_href: str) -> Figure | None:
    """The rank of each and the interval of 90 % of the draws."""
    if len(rows) < 2:
        return None
    drawn = tuple((row.name, row.rank, row.rank_low, row.rank_high) for row in rows)
    label = f"Rank and its 90 % interval for the first {len(rows)} substances. {title}. Table follows."
    return Figure(
        id="rank-intervals",
        title=title,
        subtitle=f"Rank and 90 % interval, the first {len(rows)} substances",
        picture=charts.picture(
            charts.intervals(drawn, width=740, label_limit=260), charts.intervals(drawn, width=340, label_limit=150), label=label
        ),
        legend=(),
        columns=("Substance", "Rank", "From", "To", "Not told apart from"),
        rows=tuple(
            (
                Value(text=row.name),
                Value(text=f"{row.rank}", numeric=True),
                Value(text=f"{row.rank_low}", numeric=True),
                Value(text=f"{row.rank_high}", numeric=True),
                Value(text=f"ranks {row.rank_low} to {row.rank_high}" if row.rank_high > row.rank_low else "none"),
            )
            for row in rows
        ),
        source="Source: the snapshot named above.",
        denominator=METHOD[:1].upper() + METHOD[1:] + ".",
        caveat=CAVEAT,
        csv_href=csv_href,
        svg_href=None,
    )


def pareto_figure(rows: Sequence[Row], csv_href: str) -> Figure | None:
    """Every substance by prevalence and the low end of harm."""
    if len(rows) < 2:
        return None
    front = [row for row in rows if row.on_front]
    points = tuple((row.name, row.prevalence, row.harm[0], row.on_front) for row in rows)
    count = words.count(len(front), "substance is", "substances are")
    title = f"{count} exceeded by none in prevalence, persistence and harm together"
    unknown = sum(row.harm_unknown for row in rows)
    label = f"Scatter chart of prevalence against harm. {title}. Harm is unknown for {unknown} of {len(rows)}. Table follows."
    return Figure(
        id="pareto",
        title=title,
        subtitle=f"{len(rows)} substances; dark: exceeded by none",
        picture=charts.picture(
            charts.pareto(points, width=660, height=320), charts.pareto(points, width=290, height=260), label=label
        ),
        legend=(),
        columns=("Substance", "Prevalence", "Harm", "Remark"),
        rows=tuple(
            (
                Value(text=row.name),
                Value(text=f"{row.prevalence:.1f}", numeric=True),
                Value(text=_spread(row.harm), numeric=True),
                Value(text="Harm unknown" if row.harm_unknown else ("Exceeded by none" if row.on_front else "")),
            )
            for row in rows[:100]
        ),
        source="Source: the snapshot named above.",
        denominator=f"Harm is unknown for {unknown} of {len(rows)}: drawn at its low end, 0; the table has the range.",
        caveat=CAVEAT,
        csv_href=csv_href,
        svg_href=None,
    )
