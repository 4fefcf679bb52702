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
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FIELD = re.compile(r"\{([^{}]+)\}")
_TOP = {"file", "report", "sample", "substances", "cases", "values"}
_BLOCK_ONLY = {"split", "skip", "when", "unless_any", "extra_techniques"}
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

    def report_of(self, row: dict[str, str]) -> dict[str, Any]:
        """The report body of a row. Raises MappingError naming a column that the row has not."""
        digest = row_hash(row)
        self._seen[digest] += 1
        known = {**row, "rowhash": digest[:16], "n": str(self._seen[digest])}
        body: dict[str, Any] = _clean(self._fill(self.report, known))
        body["sample"] = _clean(self._fill(self.sample, known))
        substances: list[dict[str, Any]] = []
        for block in self.substances:
            substances.extend(self._substances(block, known, substances))
        body["substances"] = substances
        if not substances:
            body["outcome"] = "none_detected"
        cases = [_clean(self._fill(case, known)) for case in self.cases]
        if cases:
            body["cases"] = cases
        return body

    def _substances(self, block: dict[str, Any], row: dict[str, str], before: list[dict[str, Any]]) -> list[dict[str, Any]]:
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
        template = {key: value for key, value in block.items() if key not in _BLOCK_ONLY}
        found = []
        for item in items:
            if split and item.lower() in skip:
                continue
            substance = _clean(self._fill(template, {**row, "item": item}))
            for extra in block.get("extra_techniques", []):
                if _holds(extra["when"], row) and extra.get("matching", "").lower() in item.lower():
                    substance["techniques"] = [*substance.get("techniques", []), *extra["add"]]
            if any(substance.get(key) for key in ("name", "cas", "inchikey", "structure")):
                found.append(substance)
        return found

    def _fill(self, node: Any, row: dict[str, str], name: str = "") -> Any:
        if isinstance(node, str):
            text = _FIELD.sub(lambda match: _cell(row, match[1]), node).strip()
            text = self.values.get(name, {}).get(text, text)
            return _number(text) if name in _NUMBERS and text else text
        if isinstance(node, dict):
            return {key: self._fill(value, row, key) for key, value in node.items()}
        if isinstance(node, list):
            return [self._fill(value, row, name) for value in node]
        return node


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


def _clean(node: Any) -> Any:
    """Empty texts and objects are absent fields."""
    if isinstance(node, dict):
        cleaned = {key: _clean(value) for key, value in node.items()}
        return {key: value for key, value in cleaned.items() if value not in ("", None, {}, [])}
    if isinstance(node, list):
        return [value for value in map(_clean, node) if value not in ("", None, {})]
    return node


def row_hash(row: dict[str, str]) -> str:
    """SHA-256 in hexadecimal over the row's columns and cells, in the order of the columns' names."""
    return hashlib.sha256(json.dumps(sorted(row.items()), ensure_ascii=False).encode()).hexdigest()


def read_mapping(path: Path) -> Mapping:
    """The mapping of a TOML file. Raises MappingError for a missing part, an unknown key or text that is not TOML."""
    text = path.read_text(encoding="utf-8")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{path.name}: {error}") from error
    unknown = set(data) - _TOP
    if unknown:
        raise MappingError(f"{path.name}: unknown part [{sorted(unknown)[0]}]; known are {', '.join(sorted(_TOP))}")
    for part in ("report", "sample"):
        if not isinstance(data.get(part), dict):
            raise MappingError(f"{path.name}: [{part}] is missing")
    if "lab_reference" not in data["report"]:
        raise MappingError(f'{path.name}: [report] needs lab_reference, for example "{{Case No}}" or "{{rowhash}}-{{n}}"')
    if not data.get("substances"):
        raise MappingError(f"{path.name}: at least one [[substances]] block is needed")
    return Mapping(
        report=data["report"],
        sample=data["sample"],
        substances=list(data["substances"]),
        cases=list(data.get("cases", [])),
        values=dict(data.get("values", {})),
        file=dict(data.get("file", {})),
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )
