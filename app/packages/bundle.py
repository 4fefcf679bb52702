"""A package as one ZIP: README, column dictionary, and the table as CSV, XLSX and JSON."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import xlsxwriter
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.packages.tables import Cell, Identity, Package
from app.persistence.models import Snapshot, Substance
from app.priorities.snapshots import facts_of
from app.tables import safe_cell

ROWS_PER_QUERY = 500
_DICTIONARY = ("column", "kind", "may_be_blank", "meaning")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A package cut to a country and a year where asked for, with what it rests on."""

    package: Package
    snapshot: Snapshot
    rows: Sequence[Sequence[Cell]]
    country: str | None
    year: int | None
    demonstration: bool

    @property
    def name(self) -> str:
        parts = ["nps", self.package.id, self.country or "all", str(self.year or "years"), self.snapshot.cutoff.isoformat()]
        return "-".join(parts)


def identities_of(session: Session, ids: Sequence[str]) -> dict[str, Identity]:
    """What is on file of these substances."""
    found: dict[str, Identity] = {}
    for start in range(0, len(ids), ROWS_PER_QUERY):
        rows = session.execute(
            select(Substance.id, Substance.inchikey, Substance.formula, Substance.effect_group, Substance.matches).where(
                Substance.id.in_(ids[start : start + ROWS_PER_QUERY])
            )
        )
        for key, inchikey, formula, effect, matches in rows:
            tables = sorted({m["schedule"] for m in matches if m["instrument"] == "UN-1988" and m["captured"]})
            found[key] = Identity(
                inchikey=inchikey or "", formula=formula or "", effect_group=effect, table_1988=tables[0] if tables else ""
            )
    return found


def bundle(
    session: Session, package: Package, snapshot: Snapshot, *, country: str | None, year: int | None, demonstration: bool
) -> Bundle:
    """The package of a snapshot."""
    facts = facts_of(session, snapshot)
    identities = identities_of(session, [subject.id for subject in facts.subjects])
    rows = package.rows(facts, identities, package.chosen)
    names = [column.name for column in package.columns]
    if country is not None:
        rows = [row for row in rows if row[names.index("country")] == country]
    if year is not None and "year" in names:
        rows = [row for row in rows if row[names.index("year")] == year]
    return Bundle(package=package, snapshot=snapshot, rows=rows, country=country, year=year, demonstration=demonstration)


def as_csv(found: Bundle) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([column.name for column in found.package.columns])
    writer.writerows([safe_cell(value) for value in row] for row in found.rows)
    return out.getvalue()


def as_json(found: Bundle) -> str:
    names = [column.name for column in found.package.columns]
    value: dict[str, Any] = {
        "package": found.package.id,
        "snapshot": {"id": found.snapshot.id, "cutoff": found.snapshot.cutoff.isoformat(), "sha256": found.snapshot.digest},
        "labels": found.snapshot.labels.split(","),
        "country": found.country,
        "year": found.year,
        "synthetic_demonstration_data": found.demonstration,
        "rows": [dict(zip(names, row, strict=True)) for row in found.rows],
    }
    return json.dumps(value, ensure_ascii=False, indent=1)


def _dictionary(found: Bundle) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(_DICTIONARY)
    writer.writerows([c.name, c.kind, "yes" if c.empty else "no", c.text] for c in found.package.columns)
    return out.getvalue()


def _workbook(found: Bundle) -> bytes:
    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(out, options) as book:
        sheet = book.add_worksheet("data")
        sheet.write_row(0, 0, [column.name for column in found.package.columns])
        for number, row in enumerate(found.rows, 1):
            sheet.write_row(number, 0, row)
        columns = book.add_worksheet("columns")
        columns.write_row(0, 0, _DICTIONARY)
        for number, column in enumerate(found.package.columns, 1):
            columns.write_row(number, 0, (column.name, column.kind, "yes" if column.empty else "no", column.text))
    return out.getvalue()


def readme(found: Bundle) -> str:
    """What the package is, what it rests on, and what it must not be read as."""
    snapshot = found.snapshot
    lines = [
        f"{found.package.title} - NPS Early Warning",
        "",
        *(["SYNTHETIC DEMONSTRATION DATA: nothing here is real.", ""] if found.demonstration else []),
        found.package.text,
        f"Cut to: country {found.country or 'all'}, year {found.year or 'all'}. Rows: {len(found.rows)}.",
        "",
        f"Snapshot {snapshot.id}, to the end of {snapshot.cutoff.isoformat()}.",
        f"SHA-256 of the snapshot {snapshot.digest}.",
        f"Rows labelled {snapshot.labels.replace(',', ', ')}; the same snapshot gives the same rows.",
        "",
        "One detection is one substance in one sample. Only confirmed and probable detections with relation parent are counted;",
        "rows of test organisations, and withdrawn or replaced ones, are not. Cutting agents and foods are left out.",
        "Counts reflect who tested what. A country without a row is no data, not zero. Single laboratories, places below the",
        "country, routes, cases and prices are not in a package.",
        "",
        "Files: data.csv (UTF-8), data.xlsx (sheets data and columns), data.json, columns.csv (the dictionary).",
        "Information, not legal advice; the official text prevails.",
    ]
    return "\r\n".join(lines) + "\r\n"


def zipped(found: Bundle) -> bytes:
    """The ZIP. Its files carry the day of the cut-off."""
    day = datetime.combine(found.snapshot.cutoff, datetime.min.time())
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            ("README.txt", readme(found).encode()),
            ("columns.csv", _dictionary(found).encode("utf-8")),
            ("data.csv", as_csv(found).encode("utf-8")),
            ("data.json", as_json(found).encode()),
            ("data.xlsx", _workbook(found)),
        ):
            info = zipfile.ZipInfo(name, date_time=day.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return out.getvalue()
