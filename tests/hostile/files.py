"""Files that a hostile or careless sender may upload, each with the only outcome that is right.

`refused`: the file as a whole cannot be read, and the message says why. `rows`: it is read, bad rows with a reason each.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import xlsxwriter

from tests.hostile.structures import MOL

HEAD = b"ref,substance,country,date\n"
ROW = b"A-1,heroin,DE,2026-11-03\n"
SHEET = "xl/worksheets/sheet1.xml"
NS = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'


def _workbook(rows: list[list[object]]) -> bytes:
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        for n, row in enumerate(rows):
            for m, value in enumerate(row):
                sheet.write(n, m, value)
    return out.getvalue()


PLAIN = _workbook([["ref", "substance"], ["A-1", "heroin"], ["A-2", "xylazine"]])


def _with(parts: dict[str, bytes], *, drop: tuple[str, ...] = (), base: bytes = PLAIN) -> bytes:
    """The plain workbook with some of its parts replaced, added or left out."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(base)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            if name not in parts and name not in drop:
                new.writestr(name, old.read(name))
        for name, content in parts.items():
            new.writestr(name, content)
    return out.getvalue()


def _sheet(body: str, head: str = "") -> bytes:
    return f'<?xml version="1.0"?>{head}<worksheet {NS}><sheetData>{body}</sheetData></worksheet>'.encode()


def _cell(ref: str, value: str) -> str:
    return f'<c r="{ref}" t="inlineStr"><is><t>{value}</t></is></c>'


def _zip_bomb() -> bytes:
    """A sheet of 2 GiB of blanks in 2 MiB."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(PLAIN)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            if name != SHEET:
                new.writestr(name, old.read(name))
        with new.open(SHEET, "w", force_zip64=True) as part:
            blank = b" " * (1 << 24)
            for _ in range(80):
                part.write(blank)
    return out.getvalue()


LAUGHS = (
    '<!DOCTYPE x [<!ENTITY a "ha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{("&" + chr(97 + n) + ";") * 10}">' for n in range(9))
    + "]>"
)
OUTSIDE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'
FAR = _sheet(f'<row r="1">{_cell("A1", "ref")}</row><row r="1048576">{_cell("XFD1048576", "x")}</row>')

FILES: list[tuple[str, str, Callable[[], bytes], str]] = [
    # CSV
    ("empty.csv", "csv", lambda: b"", "refused"),
    ("only-a-line-feed.csv", "csv", lambda: b"\n", "rows"),
    ("header-alone.csv", "csv", lambda: HEAD, "rows"),
    ("nul-bytes.csv", "csv", lambda: HEAD + b"A\x00,heroin,DE,2026\n", "rows"),
    ("all-nul.csv", "csv", lambda: b"\x00" * 10_000, "rows"),
    ("latin-1.csv", "csv", lambda: HEAD + "A,h\xe9roine,FR,2026\n".encode("latin-1"), "refused"),
    ("utf-16.csv", "csv", lambda: HEAD.decode().encode("utf-16"), "refused"),
    ("utf-16-without-mark.csv", "csv", lambda: HEAD.decode().encode("utf-16-le"), "rows"),
    ("bad-bytes-late.csv", "csv", lambda: HEAD + ROW * 9_000 + b"\xff\xfe\n", "refused"),
    ("surrogate.csv", "csv", lambda: HEAD + b"\xed\xa0\x80,heroin,DE,2026\n", "refused"),
    ("open-quote.csv", "csv", lambda: HEAD + b'"A-1,heroin,DE,2026\n' + ROW * 50, "rows"),
    ("open-quote-header.csv", "csv", lambda: b'"ref,substance\n' + ROW, "refused"),
    ("quote-inside.csv", "csv", lambda: HEAD + b'A"1",her"oin,DE,2026\n', "rows"),
    ("too-many-cells.csv", "csv", lambda: HEAD + b"," * 10_000 + b"\n", "rows"),
    ("too-few-cells.csv", "csv", lambda: HEAD + b"A-1\n", "rows"),
    ("a-cell-of-two-megabytes.csv", "csv", lambda: HEAD + b"A" * 2_000_000 + b",x,DE,2026\n", "rows"),
    ("a-line-of-thirty-megabytes.csv", "csv", lambda: b"a" * 30_000_000, "refused"),
    ("ten-thousand-columns.csv", "csv", lambda: b",".join(b"c%d" % n for n in range(10_000)) + b"\n", "rows"),
    ("two-columns-of-one-name.csv", "csv", lambda: b"ref,ref\nA,B\n", "refused"),
    ("nameless-columns.csv", "csv", lambda: b",,\n1,2,3\n", "refused"),
    ("formulas.csv", "csv", lambda: HEAD + b"=cmd|' /C calc'!A0,+1+1,-2+3,@SUM(A1)\n", "rows"),
    ("html.csv", "csv", lambda: b"<html><body>login</body></html>", "rows"),
    ("carriage-returns.csv", "csv", lambda: HEAD.replace(b"\n", b"\r") + ROW.replace(b"\n", b"\r"), "rows"),
    ("an-xlsx-called.csv", "csv", lambda: PLAIN, "refused"),
    ("escape-codes.csv", "csv", lambda: HEAD + b"\x1b[2J,\x07,DE,2026\n", "rows"),
    # XLSX
    ("empty.xlsx", "xlsx", lambda: b"", "refused"),
    ("not-a-zip.xlsx", "xlsx", lambda: b"PK\x03\x04" + b"x" * 500, "refused"),
    ("a-csv-called.xlsx", "xlsx", lambda: HEAD + ROW, "refused"),
    ("cut-in-half.xlsx", "xlsx", lambda: PLAIN[: len(PLAIN) // 2], "refused"),
    ("no-sheet.xlsx", "xlsx", lambda: _with({}, drop=(SHEET,)), "refused"),
    ("empty-sheet.xlsx", "xlsx", lambda: _workbook([]), "refused"),
    ("zip-bomb.xlsx", "xlsx", _zip_bomb, "refused"),
    ("five-thousand-parts.xlsx", "xlsx", lambda: _with({f"xl/x{n}.xml": b"<x/>" for n in range(5_001)}), "refused"),
    ("billion-laughs.xlsx", "xlsx", lambda: _with({SHEET: _sheet(f'<row r="1">{_cell("A1", "&j;")}</row>', LAUGHS)}), "refused"),
    ("outside-entity.xlsx", "xlsx", lambda: _with({SHEET: _sheet(f'<row r="1">{_cell("A1", "&f;")}</row>', OUTSIDE)}), "refused"),
    ("laughs-in-styles.xlsx", "xlsx", lambda: _with({"xl/styles.xml": f"<?xml version='1.0'?>{LAUGHS}<x>&j;</x>".encode()}), "refused"),
    ("one-cell-far-away.xlsx", "xlsx", lambda: _with({SHEET: FAR}), "refused"),
    ("cell-beyond-the-sheet.xlsx", "xlsx", lambda: _with({SHEET: _sheet(f'<row r="1">{_cell("ZZZZZZ1", "x")}</row>')}), "rows"),
    ("sheet-cut.xlsx", "xlsx", lambda: _with({SHEET: _sheet("<row r='1'><c r='A1'")[:-40]}), "refused"),
    ("sheet-of-nulls.xlsx", "xlsx", lambda: _with({SHEET: b"\x00" * 1_000}), "refused"),
    ("shared-string-99999.xlsx", "xlsx", lambda: _with({SHEET: _sheet('<row r="1"><c r="A1" t="s"><v>99999</v></c></row>')}), "refused"),
    ("shared-string-minus-one.xlsx", "xlsx", lambda: _with({SHEET: _sheet('<row r="1"><c r="A1" t="s"><v>-1</v></c></row>')}), "rows"),
    ("path-outside.xlsx", "xlsx", lambda: _with({"../../evil.xml": b"<x/>"}), "rows"),
    ("macro.xlsx", "xlsx", lambda: _with({"xl/vbaProject.bin": b"\xd0\xcf\x11\xe0" * 100}), "rows"),
    ("formulas.xlsx", "xlsx", lambda: _workbook([["ref", "substance"], ["=1+1", "heroin"]]), "rows"),
    ("dates-and-numbers.xlsx", "xlsx", lambda: _workbook([["ref", "n"], [1.0, 1e300], [True, -0.0]]), "rows"),
    # NDJSON
    ("empty.ndjson", "ndjson", lambda: b"", "rows"),
    ("deep.ndjson", "ndjson", lambda: b"[" * 100_000 + b"\n" + b'{"a":' * 5_000 + b"1" + b"}" * 5_000 + b"\n", "rows"),
    ("not-objects.ndjson", "ndjson", lambda: b'1\n"a"\nnull\n[]\ntrue\n', "rows"),
    ("nan.ndjson", "ndjson", lambda: b'{"a": NaN, "b": Infinity, "c": 1e999}\n', "rows"),
    ("bad-utf-8.ndjson", "ndjson", lambda: b'{"a": "\xff"}\n', "rows"),
    ("surrogates.ndjson", "ndjson", lambda: b'{"a": "\\ud800", "b": "\\u0000"}\n', "rows"),
    ("a-number-of-5000-digits.ndjson", "ndjson", lambda: b'{"a": ' + b"9" * 5_000 + b"}\n", "rows"),
    ("one-name-twice.ndjson", "ndjson", lambda: b'{"a": 1, "a": 2}\n', "rows"),
    # SDF
    ("empty.sdf", "sdf", lambda: b"", "rows"),
    ("no-end.sdf", "sdf", lambda: MOL.replace("M  END", "").encode() + b"$$$$\n", "rows"),
    ("thousand-separators.sdf", "sdf", lambda: b"$$$$\n" * 1_000, "rows"),
    ("open-item.sdf", "sdf", lambda: MOL.encode() + b"> <NAME\nx\n$$$$\n", "rows"),
    ("binary.sdf", "sdf", lambda: bytes(range(256)) * 50, "rows"),
    ("good.sdf", "sdf", lambda: MOL.encode() + b"> <REF>\nA-1\n\n$$$$\n", "rows"),
]  # fmt: skip
