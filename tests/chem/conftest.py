"""One engine for all chemistry tests, and short ways to ask it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import pytest

from chem.engine import Engine
from chem.values import Assessment, Structure, StructureFormat

TODAY = date(2026, 11, 24)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine.load()


@pytest.fixture(scope="session")
def screen(engine: Engine) -> Callable[..., Assessment]:
    def ask(smiles: str, as_of: date = TODAY, **options: object) -> Assessment:
        return engine.assess(Structure(format=StructureFormat.SMILES, text=smiles), as_of=as_of, **options)  # type: ignore[arg-type]

    return ask
