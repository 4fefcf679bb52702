"""Jinja templates: autoescaped, strict about unknown names, with the filters that write numbers and dates one way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from app.web import csrf, words
from app.web.frame import Frame
from app.web.places import country_name, region_name
from app.web.static import static_url

TEMPLATES = Path(__file__).resolve().parents[1] / "templates"


def number(value: float) -> str:
    """1,234; a float keeps one decimal."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def day(value: date | datetime) -> str:
    """3 Nov 2026."""
    return f"{value.day} {value:%b %Y}"


def month(value: str) -> str:
    """`2026-11` as Nov 2026."""
    year, number_of_month = value.split("-")[:2]
    return f"{date(int(year), int(number_of_month), 1):%b %Y}"


def reported_date(value: str) -> str:
    """A date as it was reported, to the day, the month or the year."""
    parts = value.split("-")
    if len(parts) == 1:
        return value
    return month(value) if len(parts) == 2 else day(date.fromisoformat(value))


def moment(value: datetime) -> str:
    """24 Nov 2026, 12:05 UTC."""
    utc = value.astimezone(UTC)
    return f"{day(utc)}, {utc:%H:%M} UTC"


def instant(value: str) -> datetime:
    """A time as an API writes it."""
    return datetime.fromisoformat(value)


def clock(value: datetime) -> str:
    """12:05 UTC."""
    return f"{value.astimezone(UTC):%H:%M} UTC"


def span(seconds: float) -> str:
    """A length of time in its two largest units: 2 h 10 min."""
    minutes = max(round(abs(seconds) / 60), 0)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    if days >= 2:
        return f"{days} days"
    if days:
        return f"{days} day {hours} h" if hours else f"{days} day"
    if hours:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{minutes} min"


def until(value: datetime, now: datetime) -> str:
    """ "in 2 h 10 min" or "22 min ago"."""
    seconds = (value - now).total_seconds()
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(seconds)} ago"


def _said(value: Any, vocabulary: str) -> str:
    return words.said(getattr(words, vocabulary), value)


def with_query(path: str, **parameters: str | int | None) -> str:
    """The path with the parameters that have a value."""
    kept = {name: str(value) for name, value in parameters.items() if value not in (None, "")}
    return f"{path}?{urlencode(kept)}" if kept else path


@lru_cache(maxsize=1)
def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "number": number,
        "day": day,
        "month": month,
        "reported_date": reported_date,
        "moment": moment,
        "clock": clock,
        "instant": instant,
        "country": country_name,
        "region": region_name,
        "said": _said,
        "csrf": csrf.mask,
    }
    env.globals |= {
        "static": static_url, "words": words, "until": until, "span": span, "with_query": with_query, "keys": words.KEYS,
    }  # fmt: skip
    return env


def render_text(template: str, context: Mapping[str, Any]) -> str:
    return environment().get_template(template).render(context)


class Page(HTMLResponse):
    """A whole page. Whoever is signed in sees rows that belong to them: such a page is kept nowhere."""

    def __init__(
        self, template: str, frame: Frame, page: object, *, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        kept = {"Cache-Control": "private, no-store" if frame.viewer else "no-cache", "Vary": "Cookie"}
        super().__init__(
            render_text(template, {"frame": frame, "page": page}), status_code=status, headers={**kept, **(headers or {})}
        )


class Fragment(HTMLResponse):
    """A part of a page, for a request by htmx."""

    def __init__(self, template: str, frame: Frame, page: object, *, status: int = 200) -> None:
        super().__init__(
            render_text(template, {"frame": frame, "page": page}),
            status_code=status,
            headers={"Cache-Control": "private, no-store", "Vary": "Cookie"},
        )
