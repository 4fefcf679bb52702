"""A structure as SVG that stands inline under a strict Content-Security-Policy.

RDKit writes style attributes, which `style-src 'self'` blanks out; here they become presentation
attributes, black becomes `currentColor` so that one drawing serves light and dark, and highlighted parts
carry the class `highlight`.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from rdkit import Chem
from rdkit.Chem.Draw import rdMolDraw2D
from rdkit.Chem.rdchem import Mol

from chem.catalog import query_of
from chem.errors import StructureError, StructureProblem
from chem.parsing import read_smiles

_STYLE = re.compile(r"\s?style=(['\"])(.*?)\1")
_BACKGROUND = re.compile(r"<rect[^>]*>\s*</rect>\s*|<rect[^>]*/>\s*")
_BLACK = re.compile(r"=(['\"])#000000\1", re.IGNORECASE)
_HIGHLIGHT = (1.0, 0.79, 0.31)
_HIGHLIGHT_HEX = "#FFC94F"
_SULFOXIDE = query_of("chem/depiction.py", 0, "[SX3+]-[OX1-]")
_OPENING = re.compile(r"<(\w+)([^<>]*?)(/?)>")


def depict_svg(smiles: str, atoms: tuple[int, ...] = (), *, width: int = 320, height: int = 240) -> str:
    """The drawing as an SVG element without prolog, with transparent background; `atoms` are highlighted.

    Atoms are indices into `smiles`; indices that do not exist are left out. Sizes are CSS pixels.

    Raises: StructureError (unreadable), where the SMILES cannot be read.
    """
    mol = read_smiles(smiles)
    if mol is None or mol.GetNumAtoms() == 0:
        raise StructureError(StructureProblem.UNREADABLE, "the structure to draw cannot be read")
    _plain_sulfoxides(mol)
    return draw_svg(mol, atoms, width=width, height=height)


def draw_svg(mol: Mol, atoms: tuple[int, ...] = (), *, width: int, height: int) -> str:
    """The drawing of a molecule as `depict_svg` gives it; labels and notes on its atoms are written."""
    chosen = sorted({i for i in atoms if 0 <= i < mol.GetNumAtoms()})
    bonds = [b.GetIdx() for b in mol.GetBonds() if b.GetBeginAtomIdx() in chosen and b.GetEndAtomIdx() in chosen]
    drawer: Any = rdMolDraw2D.MolDraw2DSVG(width, height)
    options = drawer.drawOptions()
    options.clearBackground = False
    options.setHighlightColour(_HIGHLIGHT)
    options.fixedFontSize = -1
    options.useBWAtomPalette()
    options.setAnnotationColour((0.0, 0.0, 0.0))
    options.annotationFontScale = 0.7
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol, highlightAtoms=chosen, highlightBonds=bonds)
    drawer.FinishDrawing()
    return _strict(drawer.GetDrawingText(), width, height)


def _plain_sulfoxides(mol: Mol) -> None:
    """Charge-separated sulfoxides back to S=O, the form that readers know. Edits in place."""
    for sulfur, oxygen in mol.GetSubstructMatches(_SULFOXIDE):
        mol.GetAtomWithIdx(sulfur).SetFormalCharge(0)
        mol.GetAtomWithIdx(oxygen).SetFormalCharge(0)
        mol.GetBondBetweenAtoms(sulfur, oxygen).SetBondType(Chem.BondType.DOUBLE)
    mol.UpdatePropertyCache(strict=False)


def _strict(svg: str, width: int, height: int) -> str:
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    inner = body[body.index(">") + 1 : body.rindex("</svg>")]
    inner = _OPENING.sub(_presentation, inner)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="structure" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">{inner.strip()}</svg>'
    )


def _presentation(match: re.Match[str]) -> str:
    name, attributes, closing = match.groups()
    styles = _STYLE.search(attributes)
    if styles:
        pairs = [part.split(":", 1) for part in styles.group(2).split(";") if ":" in part]
        extra = "".join(f' {key.strip()}="{escape(value.strip())}"' for key, value in pairs)
        attributes = _STYLE.sub("", attributes) + extra
    attributes = _BLACK.sub('="currentColor"', attributes)
    if name in ("path", "ellipse", "circle", "polygon") and _HIGHLIGHT_HEX in attributes.upper():
        attributes = re.sub(r"class=(['\"])(.*?)\1", r'class="\2 highlight"', attributes)
        if "class=" not in attributes:
            attributes += ' class="highlight"'
    return f"<{name}{attributes.rstrip()}{closing}>"
