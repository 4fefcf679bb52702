"""The two clients: the same calls, waiting in this thread or in the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from app.client import calls
from app.client.calls import Call, Retry
from app.client.errors import ClientError, ServiceUnreachable, problem_of

TIMEOUT = 30.0
ENDED = ("done", "failed")


def _options(base_url: str, key: str, timeout: float) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}", "Accept": "application/json", "User-Agent": "nps-client/1"}
    return {"base_url": base_url.rstrip("/"), "headers": headers, "timeout": timeout, "follow_redirects": True}


def _arguments(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {"params": dict(call.params), "headers": dict(call.headers)}
    if call.file is not None:
        return found | {"files": {"file": call.file}, "data": dict(call.form or {})}
    return found | ({"json": call.json} if call.json is not None else {})


class Client:
    """A laboratory's connection. Every method raises ProblemError where the service refuses, ServiceUnreachable where it does not
    answer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str,
        retry: Retry | None = None,
        timeout: float = TIMEOUT,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._http = httpx.Client(**_options(base_url, key, timeout), transport=transport)
        self._retry = retry or Retry()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def _send(self, call: Call) -> httpx.Response:
        for attempt in range(1, self._retry.attempts + 1):
            response, failure = None, None
            try:
                response = self._http.request(call.method, call.path, **_arguments(call))
            except httpx.TransportError as error:
                failure = error
            if response is not None and response.is_success:
                return response
            if not self._retry.again(call, attempt, response):
                break
            time.sleep(self._retry.wait(attempt, response))
        if response is not None:
            raise problem_of(response)
        raise ServiceUnreachable(f"{call.method} {call.path}: {failure}") from failure

    def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = self._send(call).json()
        return found

    def send_report(self, report: Mapping[str, Any], *, key: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        """Send one report; gives the answer. `key` is the Idempotency-Key: give your own to repeat across runs of a program."""
        return self._json(calls.send_report(report, key=key, dry_run=dry_run))

    def get_report(self, report_id: str) -> dict[str, Any]:
        return self._json(calls.get(f"/v1/reports/{report_id}"))

    def versions(self, report_id: str) -> list[dict[str, Any]]:
        """Every version of a report as it was sent, oldest first."""
        return list(self._json(calls.get(f"/v1/reports/{report_id}/versions"))["items"])

    def correct_report(self, report_id: str, report: Mapping[str, Any], *, version: int) -> dict[str, Any]:
        """The next version of a report, of which `version` is the newest that you know."""
        return self._json(calls.correct_report(report_id, report, version))

    def withdraw_report(self, report_id: str, reason: str) -> dict[str, Any]:
        return self._json(calls.withdraw_report(report_id, reason))

    def reports(self) -> Iterator[dict[str, Any]]:
        """Your reports, newest first, page by page."""
        return self._items("/v1/reports")

    def _items(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = self._json(calls.get(path, cursor=cursor, **params))
            yield from page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def send_activity(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        """Tests done in a period."""
        return self._json(calls.statement("activity-reports", body, key))

    def send_aggregate(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        return self._json(calls.statement("aggregate-reports", body, key))

    def send_incident(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        return self._json(calls.statement("incidents", body, key))

    def screen(self, structures: Sequence[Mapping[str, Any]], *, as_of: str | None = None) -> dict[str, Any]:
        """Legal status of up to 1,000 structures; leaves no trace."""
        return self._json(calls.screen(structures, as_of))

    def suspects(self, *, mz: float, adduct: str | None = None, ppm: float = 5.0) -> list[dict[str, Any]]:
        """Substances whose ion lies within `ppm` of `mz`, the nearest first."""
        return list(self._json(calls.get("/v1/suspects", mz=mz, adduct=adduct, ppm=ppm))["items"])

    def vocabularies(self) -> dict[str, Any]:
        return self._json(calls.get("/v1/vocabularies"))

    def send_file(self, path: Path, *, mapping: str | None = None, mode: str = "historical") -> dict[str, Any]:
        """Send a file to be imported; without a mapping the answer proposes one and nothing is imported."""
        return self._json(calls.send_file(path.name, path.read_bytes(), mapping=mapping, mode=mode))

    def get_import(self, import_id: str) -> dict[str, Any]:
        return self._json(calls.get(f"/v1/imports/{import_id}"))

    def wait_for_import(self, import_id: str, *, seconds: float = 3600.0, every: float = 2.0) -> dict[str, Any]:
        """The import once it has ended. Raises ClientError where it has not within `seconds`."""
        end = time.monotonic() + seconds
        while (found := self.get_import(import_id))["state"] not in ENDED:
            if time.monotonic() > end:
                raise ClientError(f"import {import_id} is {found['state']} after {seconds:g} s")
            time.sleep(every)
        return found

    def rejects(self, import_id: str) -> str:
        """The refused rows as CSV."""
        return self._send(calls.get(f"/v1/imports/{import_id}/rejects")).text


class AsyncClient:
    """The same for asyncio."""

    def __init__(
        self,
        base_url: str,
        *,
        key: str,
        retry: Retry | None = None,
        timeout: float = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(**_options(base_url, key, timeout), transport=transport)
        self._retry = retry or Retry()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def _send(self, call: Call) -> httpx.Response:
        for attempt in range(1, self._retry.attempts + 1):
            response, failure = None, None
            try:
                response = await self._http.request(call.method, call.path, **_arguments(call))
            except httpx.TransportError as error:
                failure = error
            if response is not None and response.is_success:
                return response
            if not self._retry.again(call, attempt, response):
                break
            await asyncio.sleep(self._retry.wait(attempt, response))
        if response is not None:
            raise problem_of(response)
        raise ServiceUnreachable(f"{call.method} {call.path}: {failure}") from failure

    async def _json(self, call: Call) -> dict[str, Any]:
        found: dict[str, Any] = (await self._send(call)).json()
        return found

    async def send_report(self, report: Mapping[str, Any], *, key: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        return await self._json(calls.send_report(report, key=key, dry_run=dry_run))

    async def get_report(self, report_id: str) -> dict[str, Any]:
        return await self._json(calls.get(f"/v1/reports/{report_id}"))

    async def versions(self, report_id: str) -> list[dict[str, Any]]:
        return list((await self._json(calls.get(f"/v1/reports/{report_id}/versions")))["items"])

    async def correct_report(self, report_id: str, report: Mapping[str, Any], *, version: int) -> dict[str, Any]:
        return await self._json(calls.correct_report(report_id, report, version))

    async def withdraw_report(self, report_id: str, reason: str) -> dict[str, Any]:
        return await self._json(calls.withdraw_report(report_id, reason))

    async def reports(self) -> AsyncIterator[dict[str, Any]]:
        cursor: str | None = None
        while True:
            page = await self._json(calls.get("/v1/reports", cursor=cursor))
            for item in page["items"]:
                yield item
            cursor = page["next_cursor"]
            if cursor is None:
                return

    async def send_activity(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        return await self._json(calls.statement("activity-reports", body, key))

    async def send_aggregate(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        return await self._json(calls.statement("aggregate-reports", body, key))

    async def send_incident(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        return await self._json(calls.statement("incidents", body, key))

    async def screen(self, structures: Sequence[Mapping[str, Any]], *, as_of: str | None = None) -> dict[str, Any]:
        return await self._json(calls.screen(structures, as_of))

    async def suspects(self, *, mz: float, adduct: str | None = None, ppm: float = 5.0) -> list[dict[str, Any]]:
        return list((await self._json(calls.get("/v1/suspects", mz=mz, adduct=adduct, ppm=ppm)))["items"])

    async def vocabularies(self) -> dict[str, Any]:
        return await self._json(calls.get("/v1/vocabularies"))

    async def send_file(self, path: Path, *, mapping: str | None = None, mode: str = "historical") -> dict[str, Any]:
        content = await asyncio.to_thread(path.read_bytes)
        return await self._json(calls.send_file(path.name, content, mapping=mapping, mode=mode))

    async def get_import(self, import_id: str) -> dict[str, Any]:
        return await self._json(calls.get(f"/v1/imports/{import_id}"))

    async def wait_for_import(self, import_id: str, *, seconds: float = 3600.0, every: float = 2.0) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while (found := await self.get_import(import_id))["state"] not in ENDED:
            if time.monotonic() > end:
                raise ClientError(f"import {import_id} is {found['state']} after {seconds:g} s")
            await asyncio.sleep(every)
        return found

    async def rejects(self, import_id: str) -> str:
        return (await self._send(calls.get(f"/v1/imports/{import_id}/rejects"))).text
