"""A dossier as a file: JSON, one HTML page that stands alone, and a PDF on A4. All three say the same, from one document."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import typst
from markupsafe import Markup

from app.dossiers import values
from app.dossiers.values import Document, Fill
from app.persistence.models import Dossier, DossierNote
from app.web import charts, words
from app.web.templating import day, render_text

TEMPLATE = Path(__file__).with_name("dossier.typ")
STYLE = Path(__file__).with_name("dossier.css")
FILLS = {
    Fill.FILLED: "filled",
    Fill.PARTLY: "partly filled",
    Fill.LITERATURE: "literature only",
    Fill.EMPTY: "no data in the service",
}
MEDIA = {"json": "application/json", "html": "text/html; charset=utf-8", "pdf": "application/pdf"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A dossier with the remarks that its reader may have. `base` is the service's address for links out of a file."""

    row: Dossier
    document: Document
    notes: Sequence[DossierNote]
    base: str
    records: dict[str, int]

    def records_path(self, figure: str) -> str:
        return f"/dossiers/{self.row.id}/records?figure={quote(figure, safe='')}"


def shown_number(number: int) -> str:
    """The annex has no number."""
    return f"{number}" if number <= 19 else "Annex"


def as_file(whole: Whole, form: str) -> bytes:
    """The bytes of the form `json`, `html` or `pdf`."""
    made: dict[str, Callable[[Whole], bytes]] = {"json": to_json, "html": to_html, "pdf": to_pdf}
    return made[form](whole)


def file_name(whole: Whole, form: str) -> str:
    stem = "".join(c if c.isascii() and (c.isalnum() or c in "-,") else "-" for c in whole.row.name).strip("-") or "dossier"
    return f"dossier-{stem[:60]}-{whole.document.snapshot['cutoff']}.{form}"


def to_json(whole: Whole) -> bytes:
    """The document, the number of records of each figure with where they are listed, and the remarks."""
    found = values.as_json(whole.document)
    found |= {
        "id": whole.row.id,
        "digest": whole.row.digest,
        "figures": {
            key: {"records": n, "href": whole.base + whole.records_path(key), "api": f"{whole.base}/v1{whole.records_path(key)}"}
            for key, n in sorted(whole.records.items())
        },
        "annotations": [
            {"section": note.section, "text": note.text, "author": note.author, "at": note.created_at.isoformat()}
            for note in whole.notes
        ],
        "notice": words.DISCLAIMER,
    }
    return json.dumps(found, ensure_ascii=False, indent=1).encode()


def to_html(whole: Whole) -> bytes:
    """One file with its own style, to be kept or printed. Links lead to the service."""
    text = render_text(
        "dossiers/alone.html",
        {
            "whole": whole,
            "document": whole.document,
            "style": Markup(f"<style>{STYLE.read_text(encoding='utf-8')}</style>"),  # noqa: S704 - shipped
            "fills": FILLS,
            "picture": download_picture,
            "shown_number": shown_number,
            "href": lambda figure: whole.base + whole.records_path(figure),
            "base": whole.base,
            "kind_of": lambda block: type(block).__name__,
        },
    )
    return text.encode()


def download_picture(block: values.Chart | values.Drawing) -> Markup:
    """The picture in literal colours."""
    if isinstance(block, values.Drawing):
        return drawing(block)
    return Markup(charts.picture(block.svg, block.narrow, label=block.name).download)  # noqa: S704 - drawn by this service


def page_picture(block: values.Chart | values.Drawing) -> Markup:
    """The picture in the colours of the page, a chart in two widths."""
    if isinstance(block, values.Drawing):
        return drawing(block)
    drawn = charts.picture(block.svg, block.narrow, label=block.name)
    return drawn.wide + drawn.narrow


def drawing(block: values.Drawing) -> Markup:
    """The structure, named for those who do not see it."""
    named = f'<svg aria-label="{Markup.escape(block.name)}" '
    return Markup(block.svg.replace("<svg ", named, 1))  # noqa: S704 - drawn by this service; the name is escaped


def to_pdf(whole: Whole) -> bytes:
    """A4, fit for paper: numbers underlined, each a link to its records."""
    compiled = typst.compile(TEMPLATE.read_bytes(), format="pdf", sys_inputs={"dossier": json.dumps(_content(whole))})
    assert isinstance(compiled, bytes)
    return compiled


def _content(whole: Whole) -> dict[str, Any]:
    document = whole.document
    snapshot = document.snapshot

    def cell(value: values.Value) -> dict[str, str]:
        link = (
            whole.base + (whole.records_path(value.figure) if value.figure else value.link) if value.figure or value.link else ""
        )
        return {"text": value.text + (f" {value.note}" if value.note else ""), "link": link}

    def block(found: values.Block) -> dict[str, Any]:
        match found:
            case values.Facts():
                return {"kind": "facts", "rows": [[name, cell(value)] for name, value in found.rows]}
            case values.Table():
                return {
                    "kind": "table",
                    "caption": found.caption,
                    "columns": list(found.columns),
                    "numeric": list(found.numeric),
                    "rows": [[cell(value) for value in row] for row in found.rows],
                }
            case values.Chart():
                svg = charts.picture(found.svg, found.narrow, label=found.name).download
                return {
                    "kind": "chart",
                    "title": found.title,
                    "subtitle": found.subtitle,
                    "notes": list(found.notes),
                    "alt": found.name,
                    "svg": svg.replace('font-family="Arial"', 'font-family="Libertinus Serif"'),
                }
            case values.Drawing():
                return {"kind": "drawing", "svg": found.svg.replace("currentColor", "#000000"), "alt": found.name}
            case values.Gap():
                return {"kind": "gap", "text": found.text, "fill": found.fill}
            case values.Text():
                return {"kind": "text", "text": found.text}

    return {
        "title": document.title,
        "name": str(document.subject["name"]),
        "demonstration": document.demonstration,
        "facts": [
            ["Snapshot", f"{snapshot['id']}, to the end of {snapshot['cutoff']}"],
            ["Hash of the snapshot (SHA-256)", snapshot["digest"]],
            ["Rows", document.rows],
            ["Made at", document.made_at],
            ["Dossier", f"{whole.row.id}, hash {whole.row.digest}"],
            ["Service", document.service],
        ],
        "method": list(document.method),
        "footer": f"Snapshot {snapshot['id']} #{snapshot['digest'][:8]}, {snapshot['cutoff']}",
        "notice": words.DISCLAIMER,
        "sections": [
            {
                "number": shown_number(section.number),
                "title": section.title,
                "fill": FILLS[section.fill],
                "blocks": [block(found) for found in section.blocks],
                "notes": [
                    {"text": note.text, "by": f"{note.author}, {day(note.created_at)}"}
                    for note in whole.notes
                    if note.section == section.number
                ],
            }
            for section in document.sections
        ],
    }
