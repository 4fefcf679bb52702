"""The only translation from errors to answers: RFC 9457 problem documents, or a page where a browser asks.

Slugs are part of the public contract: never renamed, each with a page at its `type` address.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DataError, OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

log = logging.getLogger("nps.http")

MEDIA_TYPE = "application/problem+json"
UNSTORABLE = "A text holds a character that cannot be stored (NUL or half a surrogate pair), or a number is too large."


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: status, title, and what its page says about the mend."""

    status: int
    title: str
    mend: str


KINDS: dict[str, Kind] = {
    "malformed-json": Kind(400, "The body is not JSON", "Send UTF-8 JSON with the content type application/json."),
    "bad-request": Kind(400, "The request could not be read", "See detail."),
    "unauthorised": Kind(
        401,
        "A valid key is needed",
        "Send Authorization: Bearer KEY with a key that is neither revoked nor expired.",
    ),
    "forbidden": Kind(403, "This key may not do that", "Use a key whose role may; the detail names the roles."),
    "not-found": Kind(404, "Not found", "It does not exist, or this key may not see it."),
    "method-not-allowed": Kind(405, "Method not allowed", "The Allow header lists what is allowed."),
    "duplicate-reference": Kind(
        409,
        "This lab_reference was used before",
        "Correct the stored report with PUT, or send another lab_reference.",
    ),
    "in-progress": Kind(409, "The first request with this Idempotency-Key is still running", "Try again in a second."),
    "conflict": Kind(409, "The record is in another state", "See detail."),
    "stale-version": Kind(412, "Somebody edited first", "Get the record again and send its new ETag in If-Match."),
    "body-too-large": Kind(413, "The body is too large", "Send less at once; files go to POST /v1/imports."),
    "unsupported-media-type": Kind(415, "Content type not supported", "Send application/json."),
    "validation": Kind(422, "The input cannot be processed as sent", "Each entry of errors points at a field."),
    "structure-unreadable": Kind(422, "The structure could not be read", "The detail says what and where."),
    "structure-empty": Kind(422, "The structure has no atoms", "Send a structure, or leave it null and give a name."),
    "structure-too-large": Kind(422, "The structure is too large", "The detail names the limit."),
    "structure-undefined": Kind(422, "The structure is not one structure", "Send the possible ones as candidates."),
    "structure-timeout": Kind(422, "The structure took too long", "Send a simpler drawing of the same structure."),
    "idempotency-key-reused": Kind(
        422, "This Idempotency-Key belongs to another body", "Send the first body again, or take a new key."
    ),
    "precondition-required": Kind(428, "If-Match is needed", "Send the ETag of the version that you edit."),
    "rate-limited": Kind(429, "Too many requests", "Wait as long as Retry-After says."),
    "internal": Kind(500, "Something went wrong here", "Nothing was stored. Quote the reference to the operator."),
    "unavailable": Kind(503, "The database cannot take this now", "Nothing was stored. Send it again after Retry-After."),
}

_BY_STATUS = {
    400: "bad-request",
    401: "unauthorised",
    403: "forbidden",
    404: "not-found",
    405: "method-not-allowed",
    409: "conflict",
    413: "body-too-large",
    415: "unsupported-media-type",
    422: "validation",
    429: "rate-limited",
    503: "unavailable",
}


# every status that an operation may refuse with, for the OpenAPI document
DOCUMENTED = (400, 401, 403, 404, 405, 409, 412, 413, 415, 422, 428, 429, 500, 503)
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "A problem document (RFC 9457). `type` is the address of a page that says what to do.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string"},
                    "detail": {"type": "string"},
                    "suggestion": {"type": "string"},
                },
            },
        },
    },
}


def responses() -> dict[int | str, dict[str, Any]]:
    """The refusals of every operation, as FastAPI documents them."""
    return {
        status: {
            "description": "; ".join(kind.title for kind in KINDS.values() if kind.status == status) or HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": _SCHEMA}},
        }
        for status in DOCUMENTED
    }


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field and what is wrong with it. `pointer` is a JSON pointer into the body (RFC 6901)."""

    pointer: str
    detail: str
    suggestion: str | None = None


class Problem(Exception):
    """An answer that is not a success, by its slug in `KINDS`."""

    def __init__(
        self,
        slug: str,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(slug, detail)
        self.slug = slug
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}
        self.extra = extra

    def document(self, base_url: str) -> dict[str, Any]:
        kind = KINDS[self.slug]
        body: dict[str, Any] = {
            "type": f"{base_url}/problems/{self.slug}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = [
                {
                    "pointer": e.pointer,
                    "detail": e.detail,
                    **({"suggestion": e.suggestion} if e.suggestion else {}),
                }
                for e in self.errors
            ]
        return body | self.extra


def pointer(parts: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901) from the parts of a path."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _wants_page(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return not request.url.path.startswith("/v1/") and "text/html" in accept


PageRenderer = Callable[[Request, Problem, str | None], Response]


def install(app: FastAPI, *, base_url: str, page: PageRenderer | None = None) -> None:
    """Register the handlers. `page` renders a problem for a browser: request, problem, and the reference of a logged error."""

    def answer(request: Request, problem: Problem, reference: str | None = None) -> Response:
        if page is not None and _wants_page(request):
            return page(request, problem, reference)
        document = problem.document(base_url)
        if reference:
            document["reference"] = reference
        return JSONResponse(document, status_code=document["status"], headers=problem.headers, media_type=MEDIA_TYPE)

    @app.exception_handler(Problem)
    def _problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(RequestValidationError)
    def _validation(request: Request, error: RequestValidationError) -> Response:
        return answer(request, from_validation(error.errors()))

    @app.exception_handler(HTTPException)
    def _http(request: Request, error: HTTPException) -> Response:
        slug = _BY_STATUS.get(error.status_code, "bad-request" if error.status_code < 500 else "internal")
        detail = str(error.detail)
        if detail == HTTPStatus(error.status_code).phrase:
            detail = KINDS[slug].mend
        return answer(request, Problem(slug, detail, headers=dict(error.headers or {})))

    @app.exception_handler(OperationalError)
    def _database(request: Request, error: OperationalError) -> Response:
        log.exception("the database refused a request: %s %s", request.method, request.url.path, exc_info=error)
        return answer(request, Problem("unavailable", KINDS["unavailable"].mend, headers={"Retry-After": "5"}))

    @app.exception_handler(DataError)
    @app.exception_handler(UnicodeEncodeError)
    @app.exception_handler(OverflowError)
    def _unstorable(request: Request, error: Exception) -> Response:
        # a NUL, half a surrogate pair, a number beyond 64 bits: no database keeps them, so nothing can be found or stored by them
        return answer(request, Problem("validation", UNSTORABLE))

    @app.exception_handler(Exception)
    def _unlisted(request: Request, error: Exception) -> Response:
        reference = secrets.token_hex(6)
        log.error("unexpected error %s: %s %s", reference, request.method, request.url.path, exc_info=error)
        return answer(request, Problem("internal", KINDS["internal"].mend), reference)


def from_validation(errors: Sequence[Any], *, prefix: Sequence[str | int] = ()) -> Problem:
    """A problem from Pydantic's errors, with JSON pointers and sentences that name the field.

    Malformed JSON becomes `malformed-json` (400); everything else `validation` (422).
    """
    found = []
    for error in errors:
        location = [part for part in error["loc"] if part != "body"]
        if error["type"] == "json_invalid":
            where = error.get("ctx", {}).get("error", "")
            return Problem("malformed-json", f"The body is not JSON: {where} at character {error['loc'][-1]}.")
        # a tagged or plain union adds the name of its member to the path; the client's body has no such part
        parts = [*prefix, *(part for part in location if not (isinstance(part, str) and "[" in part))]
        found.append(FieldError(pointer(parts), _sentence(error)))
    first = found[0]
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return Problem("validation", f"{first.pointer or 'the body'}: {first.detail}{more}", errors=found)


def _sentence(error: Any) -> str:
    match error["type"]:
        case "missing":
            return "This field is required."
        case "extra_forbidden":
            return "There is no field of this name. See GET /v1/vocabularies and the documentation at /docs."
        case "value_error":
            return str(error["ctx"]["error"])
        case _:
            message = str(error["msg"])
            return message if message.endswith(".") else message + "."
