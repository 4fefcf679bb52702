"""The certificate of a screening run for a compliance file: a PDF that names no structure.

It says which law in which edition was asked, by which versions, on which date; it ties input and output to it by their SHA-256;
and it says what is not covered. It is made in memory and kept nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typst

from app.screening.writers import NOTICE
from chem.values import UN_INSTRUMENTS

TEMPLATE = Path(__file__).with_name("certificate.typ")
NONE, OPEN = "no match in what is covered", "unresolved"
VERSIONS = {"normalisation": "Normalisation", "catalog": "Lists and rules"}
ERRORS = {
    "structure-unreadable": "error: structure unreadable",
    "structure-empty": "error: structure empty",
    "structure-too-large": "error: structure too large",
    "structure-undefined": "error: structure undefined",
    "structure-timeout": "error: structure out of time",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a certificate says. `counts` by `run.kind_of`; hashes in hexadecimal; `what_output` says what the hash is of."""

    made_at: datetime
    as_of: date
    engine_version: str
    instruments: Sequence[str] | None
    counts: Mapping[str, int]
    coverage: Sequence[Mapping[str, Any]]
    input_sha256: str
    output_sha256: str
    what_input: str
    what_output: str


def certificate(run: Run) -> bytes:
    """The PDF."""
    compiled = typst.compile(TEMPLATE.read_bytes(), format="pdf", sys_inputs={"run": json.dumps(content(run))})
    assert isinstance(compiled, bytes)
    return compiled


def _statuses(instruments: Sequence[str] | None) -> list[tuple[str, str]]:
    """The lines of the results: what each says, and the kind that it counts. None of them says more than was compared."""
    asked = [name for name in UN_INSTRUMENTS if instruments is None or name in instruments]
    if not asked:
        return [
            ("controlled under an instrument that was asked", "not_controlled/controlled"),
            ("possibly controlled under an instrument that was asked", "not_controlled/possibly_controlled"),
            (NONE, "not_controlled"),
            (OPEN, "unresolved"),
        ]
    un = "the UN conventions" if len(asked) == len(UN_INSTRUMENTS) else " and ".join(asked)
    return [
        (f"controlled under {un}", "controlled"),
        (f"possibly controlled under {un}, controlled under another instrument", "possibly_controlled/controlled"),
        (f"possibly controlled under {un}", "possibly_controlled"),
        (f"no match in {un}, controlled under another instrument", "not_controlled/controlled"),
        (f"no match in {un}, possibly controlled under another instrument", "not_controlled/possibly_controlled"),
        (NONE, "not_controlled"),
        (OPEN, "unresolved"),
    ]


def content(run: Run) -> dict[str, Any]:
    """What the template prints."""
    total = sum(run.counts.values())
    versions = [part.strip() for part in run.engine_version.split(",")]
    facts = [
        ("Law as of", run.as_of.isoformat()),
        ("Instruments", ", ".join(run.instruments) if run.instruments else "all that are loaded"),
        ("Structures", f"{total:,}"),
        ("Service", f"NPS Early Warning {version('nps-early-warning')}"),
        *((VERSIONS.get(name, name), rest) for name, _, rest in (part.partition(" ") for part in versions)),
        ("Made at", f"{run.made_at:%Y-%m-%d %H:%M} UTC"),
    ]
    results = [(words, f"{run.counts.get(kind, 0):,}") for words, kind in _statuses(run.instruments)]
    results += [
        (ERRORS.get(name[6:], name), f"{count:,}") for name, count in sorted(run.counts.items()) if name.startswith("error:")
    ]
    hashes = [(f"Input: {run.what_input}", run.input_sha256), (f"Output: {run.what_output}", run.output_sha256)]
    return {
        "notice": NOTICE,
        "facts": facts,
        "results": results,
        "total": f"{total:,}",
        "hashes": hashes,
        "coverage": [
            {
                "instrument": row["instrument"],
                "edition": row["edition"],
                "complete": "yes" if row["complete"] else "no",
                "not_coded": list(row["not_coded"]),
            }
            for row in run.coverage
        ],
    }
