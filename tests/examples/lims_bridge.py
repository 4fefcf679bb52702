"""A worked example: a LIMS with its own table of results, connected to the service in an afternoon.

The LIMS keeps what it sent in columns of its own (`nps_id`, `nps_version`, `nps_hash`). Run it as often as you like: what is
new is sent, what changed is corrected, what was deleted is withdrawn; nothing goes out twice, also after a crash in the middle.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from app.client import Client, ProblemError

# the laboratory's own codes, carried to the vocabularies once
FORMS = {"PLV": "powder", "TBL": "tablet", "LIQ": "liquid", "HRB": "herbal_sprayed"}
METHODS = {"GCMS": "gc-ms", "QTOF": "lc-qtof", "NMR": "nmr", "IR": "ftir", "STRIP": "test_strip"}
SCHEMA = """
CREATE TABLE sample (no TEXT PRIMARY KEY, taken TEXT, form TEXT, deleted INTEGER DEFAULT 0,
                     nps_id TEXT, nps_version INTEGER, nps_hash TEXT);
CREATE TABLE result (sample TEXT, compound TEXT, smiles TEXT, methods TEXT, standard INTEGER, isomers INTEGER, percent REAL);
"""


@dataclass
class Outcome:
    """What one run did; `to_mend` holds the service's words for the people in the laboratory."""

    sent: int = 0
    corrected: int = 0
    withdrawn: int = 0
    to_mend: dict[str, list[str]] = field(default_factory=dict)
    to_read: dict[str, list[str]] = field(default_factory=dict)


def report_of(lims: sqlite3.Connection, row: sqlite3.Row) -> dict[str, Any]:
    """One sample of the LIMS as a report."""
    return {
        "lab_reference": row["no"],
        "sample": {"country": "DE", "date_sampled": row["taken"], "context": "seizure", "form": FORMS[row["form"]]},
        "substances": list(_substances(lims, row["no"])),
    }


def _substances(lims: sqlite3.Connection, sample: str) -> Iterator[dict[str, Any]]:
    for result in lims.execute("SELECT * FROM result WHERE sample = ? ORDER BY rowid", (sample,)):
        found: dict[str, Any] = {
            "name": result["compound"],
            "techniques": [METHODS[code] for code in result["methods"].split("+")],
            "reference_material": "certified" if result["standard"] else "library_only",
        }
        if result["smiles"]:
            found["structure"] = {"smiles": result["smiles"]}
        if result["isomers"] is not None:
            found["isomers_excluded"] = "yes" if result["isomers"] else "no"
        if result["percent"] is not None:
            found |= {"purity_percent": result["percent"], "purity_as": "base"}
        yield found


def synchronise(lims: sqlite3.Connection, nps: Client) -> Outcome:
    """Bring the service to what the LIMS says."""
    outcome = Outcome()
    lims.row_factory = sqlite3.Row
    for row in lims.execute("SELECT * FROM sample ORDER BY no").fetchall():
        try:
            _one(lims, nps, row, outcome)
        except ProblemError as problem:
            outcome.to_mend[row["no"]] = [f"{e['pointer']}: {e['detail']}" for e in problem.errors] or [problem.detail]
    return outcome


def _one(lims: sqlite3.Connection, nps: Client, row: sqlite3.Row, outcome: Outcome) -> None:
    if row["deleted"]:
        if row["nps_id"]:
            nps.withdraw_report(row["nps_id"], "deleted in the laboratory's own system")
            _remember(lims, row["no"], None, None, None)
            outcome.withdrawn += 1
        return
    report = report_of(lims, row)
    digest = hashlib.sha256(json.dumps(report, sort_keys=True).encode()).hexdigest()
    if row["nps_hash"] == digest:
        return
    if row["nps_id"] is None:
        # the key is made from the content: after a crash before the next line, the same request gets the first answer
        answer = nps.send_report(report, key=f"lims-{digest[:32]}")
        outcome.sent += 1
    else:
        answer = nps.correct_report(row["nps_id"], report, version=row["nps_version"])
        outcome.corrected += 1
    _remember(lims, row["no"], answer["id"], answer["version"], digest)
    remarks = [w["detail"] for s in answer["substances"] for w in s["warnings"]]
    remarks += [f"to confirm: {step}" for s in answer["substances"] for step in s["confirmation"]["steps"]]
    if remarks:
        outcome.to_read[row["no"]] = remarks


def _remember(lims: sqlite3.Connection, no: str, report_id: str | None, version: int | None, digest: str | None) -> None:
    lims.execute("UPDATE sample SET nps_id = ?, nps_version = ?, nps_hash = ? WHERE no = ?", (report_id, version, digest, no))
    lims.commit()
