"""Systematic names by the optional translator: read where it is installed, passed over cleanly where it is not."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

import pytest

from app.chemistry import Chemistry
from app.intake.resolve import resolve_at
from app.intake.schemas import SubstanceIn
from app.opsin import Translator, looks_systematic
from tests.conftest import NOW

installed = pytest.mark.skipif(
    find_spec("py2opsin") is None or shutil.which("java") is None, reason="needs the extra opsin and a Java runtime"
)
NAME = "N-phenyl-N-[1-(2-phenylethyl)piperidin-4-yl]butanamide"


@pytest.mark.parametrize(
    ("name", "expected"),
    [(NAME, True), ("2-(methylamino)-1-(4-methylphenyl)propan-1-one", True), ("K2", False), ("Blue Gremlin 77", False),
     ("No Library Match", False), ("x" * 500 + "-1-yl", False)],
)  # fmt: skip
def test_only_what_looks_systematic_is_asked(name: str, expected: bool) -> None:
    assert looks_systematic(name) is expected


def test_without_the_extra_a_name_is_kept_as_reported(monkeypatch: pytest.MonkeyPatch, chemistry: Chemistry) -> None:
    monkeypatch.setattr("app.opsin._jar", lambda: None)
    translator = Translator()
    assert "nps-early-warning[opsin]" in (translator.missing or "")
    assert translator.smiles_of(NAME) is None
    monkeypatch.setattr(chemistry, "_translator", translator)
    found = resolve_at(0, SubstanceIn(name="1-(9-bromononyl)-4-methyl-unheardane"), chemistry, NOW.date(), "DE")
    assert (found.resolution, found.curation_reason) == ("unresolved", "no table has this name")


@installed
def test_a_systematic_name_becomes_the_structure_it_means(monkeypatch: pytest.MonkeyPatch, chemistry: Chemistry) -> None:
    translator = Translator()
    monkeypatch.setattr(chemistry, "_translator", translator)
    try:
        assert translator.smiles_of("5-unheardanyl-nonsensone") is None
        found = resolve_at(
            0, SubstanceIn(name="N-(4-ethoxyphenyl)-N-[1-(2-phenylethyl)piperidin-4-yl]hexanamide"), chemistry, NOW.date(), "DE"
        )
        assert found.resolution == "name"
        assert found.assessment is not None
        assert found.assessment.identity is not None
        assert found.assessment.identity.formula == "C27H38N2O2"
        assert any(w["code"] == "name-translated" for w in found.warnings)
    finally:
        translator.close()
