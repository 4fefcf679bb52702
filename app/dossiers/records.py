"""The records under a figure, read again when they are opened: only what the reader may read now, the rest is said to be gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.dossiers.making import plain
from app.dossiers.values import Figure, Kind
from app.intake.present import AGE_THIRDS
from app.notifications.inbox import alerts_for
from app.persistence.models import Detection, HarmCase, Sample, Substance
from app.sharing.rows import readable_cases, readable_detections
from app.web import words
from app.web.places import country_name
from app.web.templating import month as written_month

PAGE = 100
GONE = "Corrected, withdrawn or no longer open to you since the dossier was made"
COLUMNS: dict[Kind, tuple[str, ...]] = {
    Kind.DETECTIONS: ("Record", "Substance", "Sampled", "Country", "Context", "Form", "Confidence", "Techniques", "Report"),
    Kind.CASES: ("Record", "Seriousness", "Country", "Quarter", "Part of the substance", "Exposure", "Route", "Age", "Report"),
    Kind.ALERTS: ("Record", "Alert", "Type", "Level"),
    Kind.VALUES: ("Record", "Value"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record as cells in the order of `COLUMNS` after its number; none where it is gone. `figure` opens what is behind it."""

    id: str
    cells: tuple[str, ...]
    gone: bool = False
    figure: str | None = None
    href: str | None = None


def records_of(session: Session, reader: Principal, figure: Figure, *, start: int, now: datetime) -> tuple[Record, ...]:
    """At most `PAGE` records from the place `start` on, in the figure's order. One query."""
    wanted = figure.records[start : start + PAGE]
    if figure.kind is Kind.VALUES:
        behind = figure.behind[start : start + PAGE]
        return tuple(Record(id=text, cells=(text,), figure=key) for text, key in zip(wanted, behind, strict=True))
    found = {Kind.DETECTIONS: _detections, Kind.CASES: _cases}.get(figure.kind)
    if found is None:
        rows = alerts_for(session, reader, now=now, alert_ids=wanted, limit=len(wanted) or 1).rows if wanted else ()
        shown = {
            row.id: Record(
                id=row.id, cells=(row.headline, words.said(words.ALERT_TYPES, row.type), str(row.level)), href=f"/alerts/{row.id}"
            )
            for row in rows
        }
    else:
        shown = found(session, reader, wanted)
    return tuple(shown.get(record) or Record(id=record, cells=(), gone=True) for record in wanted)


def _detections(session: Session, reader: Principal, ids: Sequence[str]) -> dict[str, Record]:
    rows = session.execute(
        select(Detection, Sample.form, Substance.name)
        .join(Sample, Sample.report_id == Detection.report_id)
        .join(Substance, Substance.id == Detection.substance_id)
        .where(Detection.id.in_(ids), readable_detections(reader))
    )
    return {
        row.id: Record(
            id=row.id,
            cells=(
                name,
                written_month(row.month),
                country_name(row.country),
                words.said(words.CONTEXTS, row.context),
                plain(form) if form else "",
                words.said(words.CONFIDENCE, row.confidence),
                ", ".join(row.techniques),
                row.report_id,
            ),
        )
        for row, form, name in rows
    }


def _cases(session: Session, reader: Principal, ids: Sequence[str]) -> dict[str, Record]:
    rows = session.scalars(select(HarmCase).where(HarmCase.id.in_(ids), HarmCase.counted, readable_cases(reader)))
    return {row.id: Record(id=row.id, cells=case_cells(row)) for row in rows}


def case_cells(row: HarmCase) -> tuple[str, ...]:
    """A case as the cells of its columns after the number, de-identified for everybody: quarter, age in three bands."""
    year, month = row.month.split("-")
    return (
        words.said(words.SERIOUSNESS, row.seriousness),
        country_name(row.country),
        f"{year}, quarter {(int(month) + 2) // 3}",
        plain(words.said(words.CASE_ROLES, row.role)),
        plain(row.exposure_evidence or "not said"),
        plain(row.route or "not said"),
        AGE_THIRDS.get(row.age_band or "", "Not said"),
        row.report_id,
    )


def as_json(kind: Kind, record: Record) -> dict[str, Any]:
    """A record as an object with the columns as names."""
    names = [name.lower().replace(" ", "_") for name in COLUMNS[kind][1:]]
    found: dict[str, Any] = {"id": record.id, "gone": record.gone, **dict(zip(names, record.cells, strict=False))}
    if record.figure:
        found["figure"] = record.figure
    return found
