"""Nearest listed entries by structure: a lead for a chemist and a sign of risk, never a statement of law."""

from __future__ import annotations

from datetime import date

from chem.identity import Substance
from chem.listed import Indexed, ListedIndex
from chem.schedules import Entry
from chem.similarity import FingerprintIndex, fingerprint
from chem.values import Analogue


class Analogues:
    """The listed structures, each once, with the entries that name it. Immutable after construction."""

    def __init__(self, listed: ListedIndex) -> None:
        by_key: dict[str, list[Indexed]] = {}
        for indexed in listed.all:
            if not indexed.alias:
                by_key.setdefault(indexed.key, []).append(indexed)
        self._shown = tuple(by_key.values())
        self._fingerprints = FingerprintIndex(fingerprints=[fingerprint(same[0].mol) for same in self._shown])

    def nearest(self, substance: Substance, as_of: date, asked: tuple[str, ...], limit: int) -> tuple[Analogue, ...]:
        """The entries most similar to a substance that may bind on the date, best first, one a structure; its own
        stereoisomers are left out.
        """
        same = substance.identity.connectivity

        def entry_of(position: int) -> Entry | None:
            """The first entry of a structure that may bind on the date in an instrument asked for."""
            for indexed in self._shown[position]:
                entry = indexed.entry
                late = entry.not_before is not None and entry.not_before > as_of
                over = entry.until is not None and entry.until < as_of
                if entry.instrument in asked and indexed.connectivity != same and not late and not over:
                    return entry
            return None

        nearest = self._fingerprints.nearest(substance.mol, limit, lambda position: entry_of(position) is None)
        found = [(entry_of(position), similarity) for position, similarity in nearest if similarity > 0]
        return tuple(
            Analogue(instrument=entry.instrument, entry=entry.name, similarity=round(similarity, 4))
            for entry, similarity in found
            if entry is not None
        )
