"""Substances of reports to what they mean; the same text again is not read again.

What is kept is keyed by the very text, the country, the day, and the version of normalisation and rules, so that nothing outlives
a rule; what analysts decided on a label is asked for each time.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Any

from app.chemistry import Chemistry
from app.intake import service as intake
from app.intake.resolve import NO_DECISIONS, Decisions, ResolvedSubstance, folded, resolve_at, together
from app.intake.schemas import SubstanceIn
from app.persistence.base import JsonText, dump_json
from chem.errors import StructureProblem

KEPT = 20_000


@dataclass(slots=True)
class Read:
    """One text of a substance with all that follows from it alone, and the JSON of it, written once."""

    item: ResolvedSubstance
    answer: str  # the lasting part of the answer, as members of an object
    columns: dict[str, Any]


class Reader:
    """Reads substances, and keeps what it read. Safe for threads."""

    def __init__(self, chemistry: Chemistry) -> None:
        self._chemistry = chemistry
        self._kept: OrderedDict[tuple[Any, ...], Read] = OrderedDict()
        self._lock = threading.Lock()

    def read(
        self, position: int, source: SubstanceIn, today: date, country: str, decisions: Decisions = NO_DECISIONS
    ) -> tuple[ResolvedSubstance, Read]:
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
            known = _read(resolve_at(position, source, self._chemistry, today, country, decisions))
            out_of_time = any(w["code"] == StructureProblem.TIMEOUT for w in known.item.warnings)
            if decision is None and not out_of_time:  # a moment's load is no property of a structure
                with self._lock:
                    self._kept[key] = known
                    if len(self._kept) > KEPT:
                        self._kept.popitem(last=False)
        return replace(known.item, position=position, source=source), known

    def report(
        self, substances: Sequence[SubstanceIn], today: date, country: str, decisions: Decisions = NO_DECISIONS
    ) -> list[ResolvedSubstance]:
        """Every substance of a report, in order. Raises one Problem with a pointer for each that is refused."""
        return together(partial(self._item, n, source, today, country, decisions) for n, source in enumerate(substances))

    def _item(self, n: int, source: SubstanceIn, today: date, country: str, decisions: Decisions) -> ResolvedSubstance:
        return self.read(n, source, today, country, decisions)[0]


def _read(item: ResolvedSubstance) -> Read:
    columns = {name: JsonText(dump_json(value)) for name, value in intake.json_columns(item).items()}
    return Read(item, json.dumps(intake.lasting_answer(item), ensure_ascii=False)[1:-1], columns)
