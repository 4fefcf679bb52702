"""One record a structure, in the contract's form; nothing of a structure is kept, logged or cached."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from app.chemistry import Answer
from chem.values import to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to screen for: date, instruments (None: all), number of analogues."""

    as_of: date
    instruments: tuple[str, ...] | None
    analogues: int


def as_record(answer: Answer, *, index: int, name: str | None, shown: str) -> dict[str, Any]:
    head: dict[str, Any] = {"index": index}
    if name is not None:
        head["name"] = name
    head["input"] = shown
    if answer.problem is not None:
        return head | {"status": "error", "error": {"code": answer.problem.value, "detail": answer.detail}}
    found = answer.assessment
    if found is None:
        raise AssertionError("an answer without a problem holds an assessment")
    return head | {
        "status": "ok",
        "identity": to_json(found.identity),
        "matches": to_json(found.matches),
        "candidates": [_candidate(c) for c in found.candidates],
        "legal_status": found.legal_status.value,
        "status_by_instrument": to_json(found.status_by_instrument),
        "analogues": to_json(found.analogues),
    }


def _candidate(candidate: Any) -> dict[str, Any]:
    return {
        "identity": to_json(candidate.identity),
        "matches": to_json(candidate.matches),
        "legal_status": candidate.legal_status.value,
        "status_by_instrument": to_json(candidate.status_by_instrument),
    }


def error_record(index: int, name: str | None, shown: str, code: str, detail: str) -> dict[str, Any]:
    head: dict[str, Any] = {"index": index}
    if name is not None:
        head["name"] = name
    return head | {"input": shown, "status": "error", "error": {"code": code, "detail": detail}}
