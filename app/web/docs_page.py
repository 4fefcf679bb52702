"""`/docs`: every operation of the interface in words, from the OpenAPI document, without a script or an external host."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from app.auth.sessions import MaybeViewer
from app.context import Context
from app.web.frame import Crumb, build_frame
from app.web.templating import Page

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A parameter or a field of a body. `kind` is its type in words."""

    name: str
    where: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One call. `schema` is the JSON schema of its body as text, where there is one."""

    method: str
    path: str
    anchor: str
    summary: str
    description: str
    parameters: tuple[Field, ...]
    body: tuple[Field, ...]
    schema: str | None
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DocsContext:
    groups: tuple[tuple[str, tuple[Operation, ...]], ...]


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(part) for part in schema["anyOf"] if part.get("type") != "null"))
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _resolved(schema: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    return found


def _operation(method: str, path: str, given: dict[str, Any], document: dict[str, Any]) -> Operation:
    content = given.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    schema = _resolved(content, document) if content else {}
    required = set(schema.get("required", ()))
    return Operation(
        method=method.upper(),
        path=path,
        anchor=f"{method}-{path.strip('/').replace('/', '-').replace('{', '').replace('}', '')}",
        summary=given.get("summary", ""),
        description=given.get("description", ""),
        parameters=tuple(
            Field(
                name=p["name"], where=p["in"], kind=_kind(p.get("schema", {})), required=p.get("required", False),
                description=p.get("description", ""),
            )
            for p in given.get("parameters", ())
            if p["name"].lower() != "authorization"
        ),
        body=tuple(
            Field(name=name, where="body", kind=_kind(value), required=name in required, description=value.get("description", ""))
            for name, value in schema.get("properties", {}).items()
        ),
        schema=json.dumps(schema, indent=2) if schema else None,
        answers=tuple(sorted(given.get("responses", {}))),
    )  # fmt: skip


def operations(document: dict[str, Any]) -> tuple[tuple[str, tuple[Operation, ...]], ...]:
    """The operations of an OpenAPI document by their first tag, in the document's order."""
    groups: dict[str, list[Operation]] = {}
    for path, methods in document["paths"].items():
        for method, given in methods.items():
            tag = given.get("tags", ["other"])[0]
            groups.setdefault(tag, []).append(_operation(method, path, given, document))
    return tuple((tag, tuple(found)) for tag, found in groups.items())


@router.get("/docs")
def docs(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    page = DocsContext(groups=operations(request.app.openapi()))
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title="Interface for programs", crumbs=(Crumb(text="Overview", href="/"),)
        )
    return Page("web/docs.html", frame, page)
