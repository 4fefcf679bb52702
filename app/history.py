"""`nps history load`: what was known where since when, so that an old substance is no first detection."""

from __future__ import annotations

import csv
from pathlib import Path

from sqlalchemy import select

from app.chemistry import Chemistry
from app.intake.schemas import first_day, partial_date
from app.persistence.models import HistoryRecord
from app.persistence.session import Database
from app.regions import REGIONS, WORLD, is_country
from chem.names import Outcome

COLUMNS = ("substance", "area", "date", "source")


class HistoryError(Exception):
    """A line of the file cannot be used; the message names file and line. Nothing of the file was stored."""


def load_history(database: Database, chemistry: Chemistry, path: Path) -> int:
    """Store every line; gives how many were new. `substance` is a name, CAS number or InChIKey that means one substance;
    `area` a country, a region or `world`. Raises HistoryError at the first bad line, with nothing stored."""
    records: dict[tuple[str, str], HistoryRecord] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise HistoryError(f"{path.name}: the header must be {','.join(COLUMNS)}")
        for number, row in enumerate(reader, start=2):
            record = _record(f"{path.name}, line {number}", row, chemistry)
            records[(record.substance_key, record.area)] = record
    with database.write() as session:
        known = {(key, area) for key, area in session.execute(select(HistoryRecord.substance_key, HistoryRecord.area))}
        new = [record for place, record in records.items() if place not in known]
        session.add_all(new)
        return len(new)


def _record(where: str, row: dict[str, str], chemistry: Chemistry) -> HistoryRecord:
    if None in row.values() or not row["source"].strip():
        raise HistoryError(f"{where}: a cell is missing; every line needs {', '.join(COLUMNS)}")
    area = row["area"].strip()
    if area not in (*REGIONS, WORLD) and not is_country(area):
        raise HistoryError(f"{where}: area {area!r} is no country code, none of {', '.join(REGIONS)}, nor {WORLD}")
    try:
        since = first_day(partial_date(row["date"].strip()))
    except ValueError as error:
        raise HistoryError(f"{where}: {error}") from error
    return HistoryRecord(
        substance_key=_key(where, row["substance"].strip(), chemistry), area=area, since=since, source=row["source"].strip()
    )


def _key(where: str, text: str, chemistry: Chemistry) -> str:
    if len(text) == 27 and text[14:15] == "-" and text[25:26] == "-":
        return f"inchikey:{text}"
    resolution = chemistry.names.resolve_cas(text)
    if resolution.outcome is not Outcome.SUBSTANCE:
        resolution = chemistry.names.resolve(text)
    if resolution.outcome is not Outcome.SUBSTANCE:
        raise HistoryError(f"{where}: {text!r} does not mean one substance; give its InChIKey")
    named = resolution.substances[0]
    inchikey = chemistry.names.inchikey_of(named.key)
    return f"inchikey:{inchikey}" if inchikey else f"material:{named.key}"
