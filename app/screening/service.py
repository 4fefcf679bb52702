"""Screening a request: records, their hashes and the certificate. Nothing of it outlives the answer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from app.chemistry import Chemistry, Question
from app.screening.certificate import Run, certificate
from app.screening.inputs import Item
from app.screening.records import as_record, error_record
from app.screening.run import kind_of
from app.screening.writers import COLUMNS, csv_line, rendered
from chem.errors import StructureProblem
from chem.values import Structure, StructureFormat, to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to screen, with which law. `is_set` of an item is that it has several structures."""

    items: Sequence[Item]
    as_of: date
    instruments: tuple[str, ...] | None
    analogues: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """The records in order of the input, and the coverage."""

    records: list[dict[str, Any]]
    coverage: list[dict[str, Any]]
    engine_version: str

    def lines(self) -> bytes:
        """The records as NDJSON, byte for byte what `nps screen` writes."""
        return b"".join(rendered(found, "ndjson") for found in self.records)

    def table(self) -> bytes:
        """The records as CSV, byte for byte what `nps screen --out csv` writes."""
        return csv_line(COLUMNS) + b"".join(rendered(found, "csv") for found in self.records)


def screen(chemistry: Chemistry, wish: Wish) -> Screened:
    """A record for each item, also for a bad one."""
    readable = [item for item in wish.items if item.error is None]
    answers = iter(
        chemistry.assess_many_uncached(
            [
                Question(
                    tuple(Structure(format=StructureFormat(form), text=text) for form, text in item.structures),
                    len(item.structures) > 1, wish.as_of, wish.instruments, wish.analogues, (), full=False,
                )
                for item in readable
            ]
        )
    )  # fmt: skip
    records = [
        as_record(next(answers), index=index, name=item.name, shown=item.shown)
        if item.error is None
        else error_record(index, item.name, item.shown, StructureProblem.UNREADABLE, item.error)
        for index, item in enumerate(wish.items)
    ]
    coverage = to_json(chemistry.coverage(wish.as_of, wish.instruments))
    return Screened(records=records, coverage=coverage, engine_version=chemistry.version)


def certify(screened: Screened, wish: Wish, *, body: bytes, what_input: str, now: datetime) -> bytes:
    """The certificate of a screen as a PDF; the output it names is the records as NDJSON."""
    counts = Counter(kind_of(found) for found in screened.records)
    return certificate(
        Run(
            made_at=now,
            as_of=wish.as_of,
            engine_version=screened.engine_version,
            instruments=wish.instruments,
            counts=counts,
            coverage=screened.coverage,
            input_sha256=hashlib.sha256(body).hexdigest(),
            output_sha256=hashlib.sha256(screened.lines()).hexdigest(),
            what_input=what_input,
            what_output="the records as NDJSON",
        )
    )
