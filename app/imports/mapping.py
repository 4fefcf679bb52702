"""A mapping file (TOML) says how one row of a laboratory's table becomes one report.

[report]
lab_reference = "{Case No}"            # or "{rowhash}-{n}": n counts identical rows, which can be different people
tlp = "GREEN"

[sample]                               # every field of the contract's sample; "{column}" is replaced by the cell
country = "CA"
date_sampled = "{date}"
context = "collected"

[[substances]]                         # a block gives one substance, or one for each part of a split cell
split = { column = "found", by = ";" } # then "{item}" is the part
name = "{item}"
techniques = ["ftir"]
extra_techniques = [ { when = { column = "strip", equals = "True" }, matching = "fentanyl", add = ["test_strip"] } ]
skip = ["Negative"]                    # parts that are no substance

[[substances]]
when = { column = "strip", equals = "True" }
unless_any = "fentanyl"                # not where an earlier block gave a substance whose name contains this
name = "Fentanyl or Analog"

[[cases]]
seriousness = "death"

[values.context_detail]                # old codes of a column's values, carried to the vocabularies
"Post-mortem" = "post_mortem"

Further: `techniques = [{ split = "Method", by = "[;,]" }]` makes a list of the parts of a cell, and `date_format = "%d.%m.%Y"`
under [file] says how the file writes days.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

_FIELD = re.compile(r"\{([^{}]+)\}")
_SHAPES = {"file": dict, "report": dict, "sample": dict, "substances": list, "cases": list, "values": dict}
_TOP = {"file", "report", "sample", "substances", "cases", "values"}
_BLOCK_ONLY = {"split", "skip", "when", "unless_any", "extra_techniques"}
_DATES = {"date_sampled", "date_received", "date_analysed"}
_NOTHING: tuple[Any, ...] = ("", None, {}, [])
Template = Callable[[dict[str, str]], Any]
_NUMBERS = {"purity_percent", "price", "items", "pss", "value"}


class MappingError(Exception):
    """The mapping file cannot be used; the message says where and why."""


@dataclass(slots=True)
class Mapping:
    """A read mapping. `report_of` turns rows into report bodies; it counts identical rows as it goes."""

    report: dict[str, Any]
    sample: dict[str, Any]
    substances: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    values: dict[str, dict[str, str]]
    file: dict[str, Any]
    sha256: str
    _seen: Counter[str] = field(default_factory=Counter)
    _report: Template = field(init=False)
    _sample: Template = field(init=False)
    _blocks: list[tuple[dict[str, Any], Template]] = field(init=False)
    _cases: list[Template] = field(init=False)

    def __post_init__(self) -> None:
        self._report, self._sample = self._made(self.report), self._made(self.sample)
        self._blocks = [
            (block, self._made({key: value for key, value in block.items() if key not in _BLOCK_ONLY}))
            for block in self.substances
        ]
        self._cases = [self._made(case) for case in self.cases]

    def report_of(self, row: dict[str, str]) -> dict[str, Any]:
        """The report body of a row. Raises MappingError naming a column that the row has not."""
        digest = row_hash(row)
        self._seen[digest] += 1
        known = {**row, "rowhash": digest[:16], "n": str(self._seen[digest])}
        body: dict[str, Any] = self._report(known)
        body["sample"] = self._sample(known)
        substances: list[dict[str, Any]] = []
        for block, template in self._blocks:
            substances.extend(self._substances(block, template, known, substances))
        body["substances"] = substances
        if not substances:
            body["outcome"] = "none_detected"
        cases = [case(known) for case in self._cases]
        if cases:
            body["cases"] = cases
        return body

    def sample_of(self, row: dict[str, str]) -> dict[str, Any]:
        """The sample of a row alone. Raises MappingError naming a column that the row has not."""
        sample: dict[str, Any] = self._sample({**row, "rowhash": "", "n": ""})
        return sample

    def _substances(
        self, block: dict[str, Any], template: Template, row: dict[str, str], before: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        if "when" in block and not _holds(block["when"], row):
            return []
        unless = block.get("unless_any")
        if unless and any(unless.lower() in str(s.get("name", "")).lower() for s in before):
            return []
        split = block.get("split")
        items = [""]
        if split:
            cell = _cell(row, split["column"])
            parts = re.split(split["by_pattern"], cell) if "by_pattern" in split else cell.split(split.get("by", ";"))
            items = [part.strip() for part in parts if part.strip()]
        skip = {s.lower() for s in block.get("skip", [])}
        found = []
        for item in items:
            if split and item.lower() in skip:
                continue
            substance = template({**row, "item": item} if split else row)
            for extra in block.get("extra_techniques", []):
                if _holds(extra["when"], row) and extra.get("matching", "").lower() in item.lower():
                    substance["techniques"] = [*substance.get("techniques", []), *extra["add"]]
            if any(substance.get(key) for key in ("name", "cas", "inchikey", "structure")):
                found.append(substance)
        return found

    def _made(self, node: Any, name: str = "") -> Template:
        """The template of a node, made once: from a row to the value with its fields filled in; what is empty is left out."""
        if isinstance(node, str):
            return self._made_text(node, name)
        if isinstance(node, dict):
            members = [(key, self._made(value, key)) for key, value in node.items()]
            return lambda row: {key: value for key, make in members if (value := make(row)) not in _NOTHING}
        if isinstance(node, list):
            if len(node) == 1 and isinstance(node[0], dict) and set(node[0]) == {"split", "by"}:
                return self._made_split(node[0]["split"], node[0]["by"], name)
            parts = [self._made(value, name) for value in node]
            return lambda row: [value for make in parts if (value := make(row)) not in _NOTHING]
        return lambda row: node

    def _made_split(self, column: str, by: str, name: str) -> Template:
        codes = self.values.get(name, {})
        pattern = re.compile(by)
        return lambda row: [codes.get(p, p) for part in pattern.split(_cell(row, column)) if (p := part.strip())]

    def _made_text(self, text: str, name: str) -> Template:
        pieces = _FIELD.split(text)  # texts and names of columns in turn
        codes, number = self.values.get(name, {}), name in _NUMBERS
        written = self.file.get("date_format") if name in _DATES else None

        def finished(filled: str) -> Any:
            filled = codes.get(filled, filled)
            if written and filled:
                return _day(filled, written)
            return _number(filled) if number and filled else filled

        if len(pieces) == 1:
            fixed = finished(text.strip())
            return lambda row: fixed
        if len(pieces) == 3 and not pieces[0] and not pieces[2]:
            column = pieces[1]
            if codes or number or written:
                return lambda row: finished(_cell(row, column))
            return lambda row: _cell(row, column)
        return lambda row: finished("".join(p if n % 2 == 0 else _cell(row, p) for n, p in enumerate(pieces)).strip())


def _day(text: str, written: str) -> str:
    """The day in ISO 8601; a text that is written otherwise stays, and the report's own check names it."""
    try:
        return datetime.strptime(text, written).date().isoformat()  # noqa: DTZ007 - a calendar day has no zone
    except ValueError:
        return text


def _number(text: str) -> Any:
    try:
        return float(text.replace(",", ".")) if not text.lstrip("-").isdigit() else int(text)
    except ValueError:
        return text  # the report's own check names the field and the value


def _cell(row: dict[str, str], column: str) -> str:
    if column not in row:
        raise MappingError(f"the file has no column {column!r}; it has: {', '.join(c for c in row if c not in ('rowhash', 'n'))}")
    return row[column].strip()


def _holds(condition: dict[str, Any], row: dict[str, str]) -> bool:
    cell = _cell(row, condition["column"])
    if "equals" in condition:
        return cell == str(condition["equals"])
    if "one_of" in condition:
        return cell in condition["one_of"]
    return bool(cell)


def row_hash(row: dict[str, str]) -> str:
    """SHA-256 in hexadecimal over the row's columns and cells, in the order of the columns' names."""
    return hashlib.sha256(json.dumps(sorted(row.items()), ensure_ascii=False).encode()).hexdigest()


def read_mapping(path: Path) -> Mapping:
    """The mapping of a TOML file. Raises MappingError for a missing part, an unknown key or text that is not TOML."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise MappingError(f"{path.name} is not UTF-8 (byte {error.start})") from error
    return parse_mapping(text, path.name)


def parse_mapping(text: str, name: str = "the mapping") -> Mapping:
    """The mapping of a text. Raises MappingError like `read_mapping`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{name}: {error}") from error
    unknown = set(data) - _TOP
    if unknown:
        raise MappingError(f"{name}: unknown part [{sorted(unknown)[0]}]; known are {', '.join(sorted(_TOP))}")
    for part, kind in _SHAPES.items():
        if part in data and not isinstance(data[part], kind):
            raise MappingError(f"{name}: [{part}] is not a {'table' if kind is dict else 'list of tables'}")
    for part in ("report", "sample"):
        if part not in data:
            raise MappingError(f"{name}: [{part}] is missing")
    if "lab_reference" not in data["report"]:
        raise MappingError(f'{name}: [report] needs lab_reference, for example "{{Case No}}" or "{{rowhash}}-{{n}}"')
    if not data.get("substances"):
        raise MappingError(f"{name}: at least one [[substances]] block is needed")
    try:
        return Mapping(
            report=data["report"],
            sample=data["sample"],
            substances=list(data["substances"]),
            cases=list(data.get("cases", [])),
            values=dict(data.get("values", {})),
            file=dict(data.get("file", {})),
            sha256=hashlib.sha256(text.encode()).hexdigest(),
        )
    except (re.error, TypeError, AttributeError, KeyError) as error:
        raise MappingError(f"{name}: {error}") from error
