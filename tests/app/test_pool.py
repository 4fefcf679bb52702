"""A structure that stalls or crashes the toolkit costs one answer, not the service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from app.pool import Overrun, Pool, WorkerDied


def _work(argument: str) -> str:
    match argument:
        case "sleep":
            time.sleep(60)
        case "nap":
            time.sleep(0.4)  # longer than the deadline by the clock on the wall, without using the processor
        case "spin":
            while True:
                pass
        case "crash":
            os.kill(os.getpid(), 11)
        case "memory":
            return str(len(bytearray(4 << 30)))
        case "error":
            raise ValueError("the function's own error")
    return argument.upper()


def initialise() -> Callable[[str], str]:
    return _work


@pytest.fixture
def pool() -> Pool:
    made = Pool(initialise, size=2)
    yield made  # type: ignore[misc]
    made.close()


@pytest.mark.parametrize(
    ("argument", "error"), [("sleep", Overrun), ("crash", WorkerDied), ("memory", WorkerDied), ("error", ValueError)]
)
def test_a_bad_call_costs_one_answer(pool: Pool, argument: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        pool.call(argument, deadline_s=1)
    assert pool.call("next", deadline_s=10) == "NEXT"


def test_calls_from_many_threads_share_the_workers(pool: Pool) -> None:
    words = [f"word{n}" for n in range(40)]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda word: pool.call(word, deadline_s=20), words)) == [w.upper() for w in words]


def test_of_several_arguments_only_the_bad_ones_have_an_error(pool: Pool) -> None:
    words = ["a", "b", "crash", "c", "sleep", "d", "error", "e"]
    found = pool.call_each(words, deadline_s=0.3)
    assert [type(x) if isinstance(x, Exception) else x for x in found] == [
        "A", "B", WorkerDied, "C", Overrun, "D", ValueError, "E",
    ]  # fmt: skip


def test_a_deadline_counts_processor_time_and_not_that_of_a_busy_machine(pool: Pool) -> None:
    assert pool.call_each(["nap"] * 3, deadline_s=0.2) == ["NAP"] * 3
    with pytest.raises(Overrun):
        pool.call("spin", deadline_s=0.2)


def _late(marker: str) -> Callable[[str], str]:
    """Takes longer to begin than is waited for, the first time."""
    if not Path(marker).exists():
        Path(marker).touch()
        time.sleep(30)
    return _work


def _never() -> Callable[[str], str]:
    os._exit(3)


def test_a_worker_that_does_not_start_in_time_is_started_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.pool.START_TIMEOUT_S", 5.0)
    made = Pool(partial(_late, str(tmp_path / "marker")), size=1)
    try:
        assert made.call("a", deadline_s=10) == "A"
    finally:
        made.close()
    with pytest.raises(WorkerDied):
        Pool(_never, size=1).call("a", deadline_s=10)
