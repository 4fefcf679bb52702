"""What a dossier is made of: sections of blocks whose numbers are figures that name their records. Pure values and their JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

FORMAT = "dossier/1"
GAP = "No data in the service"


class Fill(StrEnum):
    """How far a section is filled from the data here."""

    FILLED = "filled"
    PARTLY = "partly"
    LITERATURE = "literature"
    EMPTY = "empty"


class Kind(StrEnum):
    """What the records of a figure are."""

    DETECTIONS = "detections"
    CASES = "cases"
    ALERTS = "alerts"
    VALUES = "values"  # a list of texts, each with the figure behind it where there is one


@dataclass(frozen=True, slots=True)
class Value:
    """A cell: what is printed and, where it counts something, the figure whose records it opens.

    `note` says why it is absent; `link` is a page of the service that holds its working.
    """

    text: str
    figure: str | None = None
    note: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names with their values."""

    rows: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The first value of a row is its heading; `numeric` are the positions of columns of numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A picture as SVG in two widths, in literal colours, with what stands around it. Its table follows as a block of its own."""

    title: str
    subtitle: str
    svg: str
    narrow: str
    notes: tuple[str, ...]
    name: str  # for those who do not see it


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    svg: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Nothing here, and what would fill it."""

    fill: str
    text: str = GAP


Block = Text | Facts | Table | Chart | Drawing | Gap
_NAMES: dict[str, type[Any]] = {
    "text": Text, "facts": Facts, "table": Table, "chart": Chart, "drawing": Drawing, "gap": Gap,
}  # fmt: skip
_KINDS = {made: name for name, made in _NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading of the review. `number` 1 to 19; 20 is the annex."""

    number: int
    title: str
    fill: Fill
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number with the records that it counts: ids in their order or, for `values`, texts with the figure behind each."""

    kind: Kind
    records: tuple[str, ...]
    behind: tuple[str | None, ...] = ()


@dataclass(slots=True)
class Figures:
    """The figures of a dossier as they are made. A number can be printed only by naming its records here."""

    found: dict[str, Figure] = field(default_factory=dict)

    def count(self, key: str, kind: Kind, records: Sequence[str]) -> Value:
        """The number of these records, as a cell that opens them."""
        self.found[key] = Figure(kind=kind, records=tuple(records))
        return Value(f"{len(records):,}", key)

    def values(self, key: str, rows: Sequence[tuple[str, str | None]]) -> Value:
        """The number of these texts, as a cell that opens their list."""
        self.found[key] = Figure(kind=Kind.VALUES, records=tuple(row[0] for row in rows), behind=tuple(row[1] for row in rows))
        return Value(f"{len(rows):,}", key)

    def of(self, key: str, kind: Kind, records: Sequence[str], text: str) -> Value:
        """A text worked out from these records, a median for example, as a cell that opens them."""
        self.found[key] = Figure(kind=kind, records=tuple(records))
        return Value(text, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole dossier, as it is kept and as every form of it is made from."""

    title: str
    subject: Mapping[str, str]  # kind, id, name
    snapshot: Mapping[str, Any]
    rows: str  # whose rows it rests on, in words
    made_at: str
    service: str
    demonstration: bool
    method: tuple[str, ...]
    sections: tuple[Section, ...]


def _block_json(block: Block) -> dict[str, Any]:
    found: dict[str, Any] = {"block": _KINDS[type(block)]}
    match block:
        case Facts():
            found["rows"] = [[name, _value_json(value)] for name, value in block.rows]
        case Table():
            found |= {
                "caption": block.caption,
                "columns": list(block.columns),
                "rows": [[_value_json(value) for value in row] for row in block.rows],
                "numeric": list(block.numeric),
            }
        case Chart():
            found |= {
                "title": block.title, "subtitle": block.subtitle, "svg": block.svg, "narrow": block.narrow,
                "notes": list(block.notes), "name": block.name,
            }  # fmt: skip
        case Drawing():
            found |= {"svg": block.svg, "name": block.name}
        case Gap():
            found |= {"text": block.text, "fill": block.fill}
        case Text():
            found["text"] = block.text
    return found


def _value_json(value: Value) -> dict[str, Any]:
    found: dict[str, Any] = {"text": value.text}
    if value.figure is not None:
        found["figure"] = value.figure
    if value.note:
        found["note"] = value.note
    if value.link:
        found["link"] = value.link
    return found


def as_json(document: Document) -> dict[str, Any]:
    """The document as plain values."""
    return {
        "format": FORMAT,
        "title": document.title,
        "subject": dict(document.subject),
        "snapshot": dict(document.snapshot),
        "rows": document.rows,
        "made_at": document.made_at,
        "service": document.service,
        "demonstration": document.demonstration,
        "method": list(document.method),
        "sections": [
            {
                "number": section.number,
                "title": section.title,
                "fill": section.fill.value,
                "blocks": [_block_json(block) for block in section.blocks],
            }
            for section in document.sections
        ],
    }


def _value_of(found: Mapping[str, Any]) -> Value:
    return Value(found["text"], found.get("figure"), found.get("note", ""), found.get("link", ""))


def _block_of(found: Mapping[str, Any]) -> Block:
    match found["block"]:
        case "facts":
            return Facts(rows=tuple((name, _value_of(value)) for name, value in found["rows"]))
        case "table":
            return Table(
                caption=found["caption"],
                columns=tuple(found["columns"]),
                rows=tuple(tuple(_value_of(value) for value in row) for row in found["rows"]),
                numeric=tuple(found["numeric"]),
            )
        case "chart":
            return Chart(
                title=found["title"], subtitle=found["subtitle"], svg=found["svg"], narrow=found["narrow"],
                notes=tuple(found["notes"]), name=found["name"],
            )  # fmt: skip
        case "drawing":
            return Drawing(svg=found["svg"], name=found["name"])
        case "gap":
            return Gap(fill=found["fill"], text=found["text"])
        case _:
            return Text(text=found["text"])


def document_of(found: Mapping[str, Any]) -> Document:
    """The document that `as_json` wrote."""
    return Document(
        title=found["title"],
        subject=found["subject"],
        snapshot=found["snapshot"],
        rows=found["rows"],
        made_at=found["made_at"],
        service=found["service"],
        demonstration=found["demonstration"],
        method=tuple(found["method"]),
        sections=tuple(
            Section(
                number=section["number"],
                title=section["title"],
                fill=Fill(section["fill"]),
                blocks=tuple(_block_of(block) for block in section["blocks"]),
            )
            for section in found["sections"]
        ),
    )


def packed(value: Any) -> bytes:
    """Plain values for storage: JSON, compressed."""
    return zlib.compress(json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode())


def unpacked(content: bytes) -> Any:
    return json.loads(zlib.decompress(content))


def figures_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """The figures for storage. Ids are written once and named by their place, as most stand behind several figures."""
    ids: dict[str, int] = {}
    listed: dict[str, dict[str, Any]] = {}
    for key, figure in figures.items():
        if figure.kind is Kind.VALUES:
            listed[key] = {"kind": figure.kind.value, "texts": list(figure.records), "behind": list(figure.behind)}
        else:
            places = [ids.setdefault(record, len(ids)) for record in figure.records]
            listed[key] = {"kind": figure.kind.value, "places": places}
    return {"ids": list(ids), "figures": listed}


def figures_of(found: Mapping[str, Any]) -> dict[str, Figure]:
    """The figures that `figures_json` wrote."""
    ids = found["ids"]
    figures = {}
    for key, row in found["figures"].items():
        kind = Kind(row["kind"])
        if kind is Kind.VALUES:
            figures[key] = Figure(kind=kind, records=tuple(row["texts"]), behind=tuple(row["behind"]))
        else:
            figures[key] = Figure(kind=kind, records=tuple(ids[place] for place in row["places"]))
    return figures
