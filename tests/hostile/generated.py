"""Inputs made up by Hypothesis: reports bent out of shape, raw bytes, odd paths and queries, forms, files. None may be a 5xx."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from app.auth.doors import DOORS
from tests.hostile.files import HEAD, PLAIN, ROW
from tests.hostile.structures import MOL, STRUCTURES

REPORT: dict[str, Any] = {
    "lab_reference": "G",
    "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure", "quantity": {"value": 1, "unit": "g"}},
    "substances": [{"structure": {"smiles": "CCO"}, "name": "x", "techniques": ["gc-ms"], "purity_percent": 4.1}],
    "cases": [{"seriousness": "death", "substances": [{"index": 0, "role": "sole_cause"}]}],
    "tlp": "GREEN",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as a client sends it."""

    method: str
    path: str
    content: bytes | None = None
    files: dict[str, Any] | None = None
    data: dict[str, str] | None = None
    headers: dict[str, str] = field(default_factory=dict)


odd_text = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["", "\x00", "\ud800", "‮", "A" * 5_000, "=cmd|1", "<script>", "../../x", "%00", "-1", "NaN", "9" * 400, "' OR 1=1"]
    ),
)
odd_number = st.one_of(st.integers(), st.floats(), st.sampled_from([10**30, -(10**30), 2**63, 1e308, -0.0]))
odd_value = st.recursive(
    st.one_of(st.none(), st.booleans(), odd_number, odd_text),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(odd_text, inner, max_size=4)),
    max_leaves=12,
)


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


PLACES = _places(REPORT)


@st.composite
def bent_reports(draw: st.DrawFn) -> bytes:
    """The example with one to three of its values replaced, left out or added to."""
    report = json.loads(json.dumps(REPORT))
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(PLACES))
        inside: Any = report
        for key in way:
            inside = inside[key] if isinstance(inside, dict | list) and _has(inside, key) else None
        if not isinstance(inside, dict | list) or not _has(inside, last):
            continue
        what = draw(st.sampled_from(["replace", "drop", "add", "structure"]))
        if what == "drop" and isinstance(inside, dict):
            inside.pop(last)
        elif what == "add" and isinstance(inside, dict):
            inside[draw(odd_text)] = draw(odd_value)
        elif what == "structure":
            _, form, text, _ = draw(st.sampled_from(STRUCTURES))
            inside[last] = {form: text[:20_000]} if last == "structure" else text[:300]
        else:
            inside[last] = draw(odd_value)
    return _bytes(report)


def _has(inside: Any, key: str | int) -> bool:
    return key in inside if isinstance(inside, dict) else isinstance(key, int) and key < len(inside)


def _bytes(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


@st.composite
def paths(draw: st.DrawFn, name: str) -> str:
    """The path of a door with odd values for its parameters, and an odd query."""
    from urllib.parse import quote

    path = name.split(" ", 1)[1]
    while "{" in path:
        start, end = path.index("{"), path.index("}")
        value = draw(odd_text)[:80].encode("utf-8", "replace")
        path = path[:start] + (quote(value, safe="") or "x") + path[end + 1 :]
    keys = ("q", "limit", "cursor", "after", "sort", "before", "country", "level", "as_of", "min_level", "show", "type", "next")
    query = draw(st.dictionaries(st.sampled_from(keys), odd_text, max_size=3))
    text = "&".join(f"{key}={quote(value[:200].encode('utf-8', 'replace'), safe='')}" for key, value in query.items())
    return f"{path}?{text}" if text else path


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Any of them."""
    kind = draw(st.sampled_from(["report", "json", "bytes", "get", "page", "form", "file", "report"]))
    api = sorted(name for name in DOORS if " /v1/" in name and not name.startswith("GET"))
    if kind == "report":
        return Ask(method="POST", path="/v1/reports?dry_run=true", content=draw(bent_reports()), headers=JSON)
    if kind == "json":
        name = draw(st.sampled_from(api))
        return Ask(method=name.split()[0], path=draw(paths(name)), content=_bytes(draw(odd_value)), headers=JSON)
    if kind == "bytes":
        name = draw(st.sampled_from(api))
        headers = {
            "Content-Type": draw(st.sampled_from(["application/json", "text/csv", "multipart/form-data", "x/y; charset=\x7f"]))
        }
        return Ask(method=name.split()[0], path=draw(paths(name)), content=draw(st.binary(max_size=400)), headers=headers)
    if kind in ("get", "page"):
        names = sorted(name for name in DOORS if name.startswith("GET") and (" /v1/" in name) is (kind == "get"))
        name = draw(st.sampled_from(names))
        return Ask(method="GET", path=draw(paths(name)), headers={"Accept": draw(st.sampled_from(["text/html", "*/*", "x"]))})
    if kind == "form":
        names = sorted(name for name in DOORS if name.startswith("POST") and " /v1/" not in name)
        fields = st.dictionaries(
            st.sampled_from(["email", "password", "next", "theme", "csrf_token", "code", "note", "structure", "org", "id"]),
            odd_text.map(lambda text: text.encode("utf-8", "replace").decode()), max_size=5,
        )  # fmt: skip
        name = draw(st.sampled_from(names))
        return Ask(method="POST", path=draw(paths(name)), data=draw(fields), headers={"Accept": "text/html"})
    name, base = draw(
        st.sampled_from([("a.csv", HEAD + ROW * 3), ("a.xlsx", PLAIN), ("a.sdf", MOL.encode()), ("a.ndjson", b'{"a": 1}\n')])
    )
    content = bytearray(base)
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(content) - 1))
        content[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=6))
        content = content or bytearray(b"x")
    return Ask(
        method="POST",
        path="/v1/imports",
        files={"file": (draw(st.sampled_from([name, "a", "../../b.csv", "c.exe"])), bytes(content))},
    )


JSON = {"Content-Type": "application/json"}


def send(client: Any, ask: Ask, headers: dict[str, str]) -> Any:
    """The answer; None where the client itself refuses to write such a request."""
    given = ask.headers if ask.path.split("?")[0].startswith("/v1/") is False else {**headers, **ask.headers}
    try:
        return client.request(
            ask.method, ask.path, content=ask.content, files=ask.files, data=ask.data, headers=given, follow_redirects=False
        )
    except (UnicodeError, ValueError):
        return None
