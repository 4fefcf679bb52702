"""Nearest listed structures by fingerprint: leads for a chemist, never a legal finding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rdkit import DataStructs
from rdkit.Chem import rdFingerprintGenerator
from rdkit.Chem.rdchem import Mol

RADIUS = 2
BITS = 2048
_SPARE = 12  # ranked beyond the limit, for those that are skipped

_generator: Any = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
_bulk: Callable[[Any, Sequence[Any]], list[float]] = DataStructs.BulkTanimotoSimilarity


def fingerprint(mol: Mol) -> Any:
    """Morgan fingerprint, radius 2, 2,048 bits. Source: Rogers and Hahn 2010, doi:10.1021/ci100050t."""
    return _generator.GetFingerprint(mol)


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintIndex:
    """Fingerprints in a fixed order. Right up to some 10,000 structures; above that a popcount bound would
    pay.
    """

    fingerprints: list[Any] = field(repr=False)

    def nearest(self, mol: Mol, limit: int, skip: Callable[[int], bool]) -> list[tuple[int, float]]:
        """Positions and similarities of the most similar members, best first, ties by position; `skip`
        leaves some out.

        Similarity is Tanimoto, from 0.0 (no bits shared) to 1.0 (all shared, which does not mean the same
        substance).
        """
        if limit <= 0 or not self.fingerprints:
            return []
        values = np.array(_bulk(fingerprint(mol), self.fingerprints))
        some = min(len(values), limit + _SPARE)
        least = values[np.argpartition(values, -some)[-some]]  # all that reach the value of the last are ranked
        found = _best(values, np.flatnonzero(values >= least), limit, skip)
        return found if len(found) == limit else _best(values, np.arange(len(values)), limit, skip)


def _best(values: Any, positions: Any, limit: int, skip: Callable[[int], bool]) -> list[tuple[int, float]]:
    found: list[tuple[int, float]] = []
    # A stable sort keeps ties in order of position.
    for position in positions[np.argsort(-values[positions], kind="stable")].tolist():
        if not skip(position):
            found.append((position, float(values[position])))
            if len(found) == limit:
                break
    return found
