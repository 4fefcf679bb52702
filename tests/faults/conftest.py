"""Nodes, recorders and a database of each kind for the fault suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from app.persistence.session import Database
from tests.databases import ready
from tests.faults.parts import Mould, Recorder, Scene, prepare


@pytest.fixture(scope="session")
def mould() -> Iterator[Mould]:
    mould = Mould()
    yield mould
    mould.close()


@pytest.fixture
def nodes(mould: Mould) -> Iterator[Mould]:
    """Forks nodes; those still alive at the end of the test are killed."""
    yield mould
    for pid in list(mould.pids):
        mould.kill(pid)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.close()


@pytest.fixture
def recorders() -> Iterator[Callable[[], Recorder]]:
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(Recorder())
        return made[-1]

    yield make
    for recorder in made:
        recorder.close()


@pytest.fixture
def scene(database_url: str) -> Iterator[Scene]:
    """A migrated database of each kind in turn, with a laboratory and an authority."""
    database = Database(database_url)
    ready(database)
    yield prepare(database)
    database.dispose()
