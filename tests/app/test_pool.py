"""A structure that stalls or crashes the toolkit costs one answer, not the service."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.pool import Overrun, Pool, WorkerDied


def _work(argument: str) -> str:
    match argument:
        case "sleep":
            time.sleep(60)
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
