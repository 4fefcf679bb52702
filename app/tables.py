"""Tables for spreadsheets: a text that a spreadsheet would run as a formula is kept as a text."""

from __future__ import annotations

_STARTS = ("=", "+", "-", "@", "\t", "\r")


def safe_text(text: str) -> str:
    """The text for a cell: one that starts like a formula gets an apostrophe before it; a number written as text stays."""
    return "'" + text if text.startswith(_STARTS) and not _is_number(text) else text


def safe_cell(value: object) -> object:
    """The value for a cell: a text as `safe_text` gives it, anything else as it is."""
    return safe_text(value) if isinstance(value, str) else value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
