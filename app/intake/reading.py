"""Substances of reports to what they mean; the same text again is not read again.

What is kept is keyed by the very text, the country, the day, and the version of normalisation and rules, so that nothing outlives
a rule; what analysts decided on a label is asked for each time.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from app.chemistry import Chemistry
from app.intake.resolve import NO_DECISIONS, Decisions, ResolvedSubstance, folded, resolve_at, together
from app.intake.schemas import SubstanceIn
from app.observability.metrics import STRUCTURES_REMEMBERED
from chem.errors import StructureProblem

KEPT = 20_000


class Reader:
    """Reads substances, and keeps what it read. Safe for threads."""

    def __init__(self, chemistry: Chemistry) -> None:
        self._chemistry = chemistry
        self._kept: OrderedDict[tuple[Any, ...], ResolvedSubstance] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, position: int, source: SubstanceIn, today: date, country: str, decisions: Decisions = NO_DECISIONS
    ) -> ResolvedSubstance:
        """Raises Problem with a pointer where a structure is refused."""
        structure = source.structure
        text = structure.smiles or structure.model_dump_json() if structure else None
        key = (
            text, source.name, source.cas, source.inchikey, tuple(source.techniques), source.schymanski_level,
            source.reference_material, source.isomers_excluded, country, today, self._chemistry.version,
        )  # fmt: skip
        decision = decisions.get(folded(source.name)) if decisions and source.name else None
        with self._lock:
            known = self._kept.get(key) if decision is None else None
        if known is None:
            known = resolve_at(position, source, self._chemistry, today, country, decisions)
            out_of_time = any(w["code"] == StructureProblem.TIMEOUT for w in known.warnings)
            if decision is None and not out_of_time:  # a moment's load is no property of a structure
                with self._lock:
                    self._kept[key] = known
                    if len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
        else:
            STRUCTURES_REMEMBERED.inc()
        return replace(known, position=position, source=source)

    def report(
        self, substances: Sequence[SubstanceIn], today: date, country: str, decisions: Decisions = NO_DECISIONS
    ) -> list[ResolvedSubstance]:
        """Every substance of a report, in order. Raises one Problem with a pointer for each that is refused."""
        return together(partial(self.read, n, source, today, country, decisions) for n, source in enumerate(substances))
