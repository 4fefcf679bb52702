"""Every call as data, and when a failed one is tried again. No input or output here: both clients share it."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. `repeatable`: sending it again cannot carry it out twice."""

    method: str
    path: str
    json: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] | None = None
    file: tuple[str, bytes] | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and how long to wait: the service's Retry-After where it gives one, else doubling waits with chance in them."""

    attempts: int = 5
    first_seconds: float = 0.5
    most_seconds: float = 30.0

    def wait(self, attempt: int, response: httpx.Response | None) -> float:
        """Seconds to wait after this attempt, counted from 1."""
        if response is not None:
            given = response.headers.get("retry-after", "")
            if given.isdigit():
                return min(float(given), 3600.0)
        longest = min(self.first_seconds * 2.0 ** (attempt - 1), self.most_seconds)
        return float(longest) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients out, no secret

    def again(self, call: Call, attempt: int, response: httpx.Response | None) -> bool:
        """Whether to try again: a broken connection or a passing refusal, of a call that may be repeated."""
        if attempt >= self.attempts:
            return False
        if response is None:
            return call.repeatable
        if response.status_code == 409:  # the first request with this key is still running
            return '/problems/in-progress"' in response.text
        return response.status_code == 429 or (response.status_code in PASSING and call.repeatable)


def _keyed(path: str, body: Any, key: str | None) -> Call:
    """A POST under an Idempotency-Key, a new one where none is given: every attempt of the call carries the same."""
    return Call(method="POST", path=path, json=body, headers={"Idempotency-Key": key or str(uuid.uuid4())})


def send_report(report: Mapping[str, Any], *, key: str | None, dry_run: bool) -> Call:
    if dry_run:
        return Call(method="POST", path="/v1/reports", json=report, params={"dry_run": "true"})
    return _keyed("/v1/reports", report, key)


def correct_report(report_id: str, report: Mapping[str, Any], version: int) -> Call:
    # a second attempt after a lost answer gets 412, never a second version
    return Call(method="PUT", path=f"/v1/reports/{report_id}", json=report, headers={"If-Match": f'"{version}"'})


def withdraw_report(report_id: str, reason: str) -> Call:
    return Call(method="POST", path=f"/v1/reports/{report_id}/withdraw", json={"reason": reason})


def get(path: str, **params: Any) -> Call:
    return Call(method="GET", path=path, params={name: value for name, value in params.items() if value is not None})


def statement(kind: str, body: Mapping[str, Any], key: str | None) -> Call:
    """`kind`: activity-reports, aggregate-reports or incidents."""
    return _keyed(f"/v1/{kind}", body, key)


def screen(structures: Sequence[Mapping[str, Any]], as_of: str | None) -> Call:
    body: dict[str, Any] = {"structures": list(structures)}
    if as_of is not None:
        body["as_of"] = as_of
    return Call(method="POST", path="/v1/screen", json=body)


def send_file(name: str, content: bytes, *, mapping: str | None, mode: str) -> Call:
    # a file sent twice is two jobs, of which the second stores nothing: harmless to repeat
    form = {"mode": mode} | ({"mapping": mapping} if mapping is not None else {})
    return Call(method="POST", path="/v1/imports", form=form, file=(name, content))
