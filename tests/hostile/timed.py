"""Another client, in a process of its own: one small request after another, each timed; and what two busy cores cost it."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from statistics import quantiles
from typing import Any

import httpx

PAUSE = 0.05


@dataclass(frozen=True, slots=True)
class Figures:
    """Milliseconds over so many requests; `failed` of them were not answered 200."""

    p50: float
    p99: float
    requests: int
    failed: int


def _ask(base: str, headers: dict[str, str], stop: Event, out: Any) -> None:
    taken: list[float] = []
    failed = 0
    with httpx.Client(base_url=base, headers=headers, timeout=30) as client:
        while not stop.is_set():
            begun = time.perf_counter()
            failed += client.get("/v1/substances?limit=10").status_code != 200
            taken.append(time.perf_counter() - begun)
            time.sleep(PAUSE)
    cut = quantiles(taken, n=100)
    out.put(Figures(cut[49] * 1000, cut[98] * 1000, len(taken), failed))


def timed_during(base: str, headers: dict[str, str], work: Callable[[], object]) -> Figures:
    """The other client's figures while `work` runs here."""
    context = multiprocessing.get_context("spawn")
    stop, out = context.Event(), context.Queue()
    process = context.Process(target=_ask, args=(base, headers, stop, out))
    process.start()
    try:
        work()
    finally:
        stop.set()
    figures: Figures = out.get(timeout=60)
    process.join()
    return figures


def _spin(stop: Event) -> None:
    while not stop.is_set():
        sum(range(1_000))


def with_busy_cores(cores: int, seconds: float) -> None:
    """Keep so many cores busy with nothing to do with the service."""
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    processes = [context.Process(target=_spin, args=(stop,)) for _ in range(cores)]
    for process in processes:
        process.start()
    time.sleep(seconds)
    stop.set()
    for process in processes:
        process.join()
