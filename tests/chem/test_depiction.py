"""Drawings stand inline under a strict Content-Security-Policy and take the page's colour."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from chem.depiction import depict_svg
from chem.errors import StructureError

HEROIN = "CC(=O)Oc1ccc2c3c1O[C@H]1[C@@H](OC(C)=O)C=C[C@H]4[C@@H](C2)N(C)CC[C@@]341"


@pytest.mark.parametrize("smiles", [HEROIN, "CCO", "[Na+].[Cl-]", "C[S+]([O-])C", "CC(N)Cc1ccccc1Br", "[2H]C"])
def test_no_style_no_prolog_no_script_no_fixed_black(smiles: str) -> None:
    svg = depict_svg(smiles, (0, 1))
    assert svg.startswith("<svg ")
    assert "style" not in svg
    assert "<?xml" not in svg
    assert "<script" not in svg
    assert "#000000" not in svg
    assert "currentColor" in svg
    root = ET.fromstring(svg)
    assert root.get("viewBox") == "0 0 320 240"
    assert not [e for e in root.iter() if e.tag.endswith("rect")], "the background is transparent"


def test_highlighted_atoms_carry_the_class() -> None:
    assert 'highlight"' in depict_svg(HEROIN, (0, 1, 2, 3))
    assert 'highlight"' not in depict_svg(HEROIN)
    assert 'highlight"' not in depict_svg(HEROIN, (9_999,))


def test_the_size_is_what_was_asked() -> None:
    root = ET.fromstring(depict_svg("CCO", width=100, height=50))
    assert (root.get("width"), root.get("height")) == ("100", "50")


def test_what_cannot_be_read_is_refused() -> None:
    with pytest.raises(StructureError):
        depict_svg("c1ccc")
