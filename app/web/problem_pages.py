"""Problems as pages: the answer a browser gets, and the page at every problem's `type` address."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fastapi import APIRouter, Request
from sqlalchemy.exc import SQLAlchemyError
from starlette.responses import Response

from app.auth.sessions import MaybeViewer, Viewer, optional_viewer
from app.context import AppContext, Context
from app.persistence import trail
from app.problems import KINDS, FieldError, Problem
from app.web.frame import Crumb, Frame, build_frame
from app.web.security import HEADERS
from app.web.templating import Page

log = logging.getLogger("nps.pages")

router = APIRouter(include_in_schema=False)

# what the titles say to a person; those not named here read well as they are
_TITLES = {
    "unauthorised": "Sign in to see this",
    "forbidden": "This page is not for your role",
    "not-found": "Page not found",
    "rate-limited": "Too many requests",
    "internal": "Something went wrong here",
    "unavailable": "The service cannot answer now",
    "validation": "The address or form cannot be read",
}
_MENDS = {
    "unauthorised": "Programs send a key; people sign in.",
    "forbidden": "Ask the operator of this service if you need it.",
    "not-found": "Check the address. It does not exist, or you may not see it.",
    "validation": "Go back and change what is named above.",
    "conflict": "Open the record again to see how it stands now, and decide then.",
    "stale-version": "Open the record again, compare, and send your change once more.",
    "rate-limited": "Wait a little and try again.",
    "internal": "Nothing was stored. Try again; if it stays, quote the reference to the operator of this service.",
    "unavailable": "Nothing was stored. Try again in a few seconds.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemContext:
    detail: str
    mend: str
    errors: tuple[FieldError, ...]
    reference: str | None
    sign_in: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    slug: str
    status: int
    title: str
    mend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KindsContext:
    kinds: tuple[KindRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KindContext:
    kind: KindRow


def _row(slug: str) -> KindRow:
    kind = KINDS[slug]
    return KindRow(slug=slug, status=kind.status, title=kind.title, mend=kind.mend)


def render_problem(request: Request, problem: Problem, reference: str | None) -> Response:
    """The page for a problem, with a reference: that of a logged error, else the id of the request, which the log holds too.

    When the database does not answer, the frame is that of somebody not signed in.

    It carries the headers of `app.web.security` itself: a 500 is answered outside of all middleware.
    """
    context: AppContext = request.app.state.context
    kind = KINDS[problem.slug]
    title = _TITLES.get(problem.slug, kind.title)
    viewer, frame = _frame(request, context, title)
    detail = problem.detail
    if detail == kind.mend:
        detail = ""
    page = ProblemContext(
        detail=detail,
        mend=_MENDS.get(problem.slug, kind.mend),
        errors=problem.errors,
        reference=reference or _request_id(),
        sign_in=viewer is None and problem.slug in {"unauthorised", "forbidden", "not-found"},
    )
    return Page(
        "web/problem.html", frame, page, status=kind.status, headers=HEADERS | problem.headers | {"Cache-Control": "no-store"}
    )


def _request_id() -> str | None:
    trace = trail.current()
    return trace.request_id if trace is not None else None


def _frame(request: Request, context: AppContext, title: str) -> tuple[Viewer | None, Frame]:
    try:
        viewer = optional_viewer(request, context)
        with context.database.read() as session:
            return viewer, build_frame(request, context, session, viewer, title=title, error=True)
    except SQLAlchemyError:
        log.exception("the database did not answer for an error page: %s", request.url.path)
        return None, build_frame(request, context, None, None, title=title, error=True)


@router.get("/problems")
def problems(request: Request, context: Context, viewer: MaybeViewer) -> Response:
    with context.database.read() as session:
        frame = build_frame(
            request, context, session, viewer, title="Messages explained", crumbs=(Crumb(text="Overview", href="/"),)
        )
    return Page("web/kinds.html", frame, KindsContext(kinds=tuple(_row(slug) for slug in KINDS)))


@router.get("/problems/{slug}")
def problem_kind(request: Request, context: Context, viewer: MaybeViewer, slug: str) -> Response:
    if slug not in KINDS:
        raise Problem("not-found", "There is no message of this name.")
    with context.database.read() as session:
        frame = build_frame(
            request,
            context,
            session,
            viewer,
            title=KINDS[slug].title,
            crumbs=(Crumb(text="Overview", href="/"), Crumb(text="Messages explained", href="/problems")),
        )
    return Page("web/kind.html", frame, KindContext(kind=_row(slug)))
