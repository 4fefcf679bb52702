"""The pages of dossiers: build one, follow it, read it, open the records under a figure, remark on it, take it away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from app.auth.permissions import Action, may
from app.auth.sessions import Viewer, requires_form, requires_viewer
from app.context import AppContext, Context
from app.dossiers import keeping
from app.dossiers.api import ABSENT, figure_of, file_of, whole_of
from app.dossiers.assembling import FAMILY, STEPS, SUBSTANCE, NoSubject
from app.dossiers.forms import FILLS, MEDIA, Whole, page_picture
from app.dossiers.records import COLUMNS, PAGE, Record, records_of
from app.dossiers.values import Fill, Kind
from app.dossiers.views import WORDS, View, views_of
from app.persistence.models import Dossier, Snapshot
from app.problems import Problem
from app.substances.search import Sort, search_substances
from app.web import words
from app.web.frame import Crumb, build_frame
from app.web.issues import Issue
from app.web.templating import Fragment, Page, with_query

router = APIRouter(include_in_schema=False)
Reader = Annotated[Viewer, Depends(requires_viewer(Action.COUNTS_READ))]
Builder = Annotated[Viewer, Depends(requires_form(Action.DOSSIER_BUILD))]
LIMIT = 50
MOST_TEXT = 4_000
DOSSIERS = Crumb(text="Dossiers", href="/dossiers")
STATES = {"waiting": "Waiting", "running": "Being made", "done": "Made", "failed": "Broken off"}
VIEW_NAMES = {View.REVIEWER.value: "CLEAR to AMBER", View.SHARED.value: "CLEAR and GREEN"}
KIND_WORDS = {
    Kind.DETECTIONS: ("detection", "detections"), Kind.CASES: ("case", "cases"), Kind.ALERTS: ("alert", "alerts"),
    Kind.VALUES: ("entry", "entries"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ListContext:
    """`candidates` are substances that a text could mean, where it means several."""

    rows: tuple[Dossier, ...]
    states: Mapping[str, str]
    view_names: Mapping[str, str]
    builds: bool
    views: tuple[tuple[str, str], ...]
    groups: Mapping[str, str]
    text: str
    issues: tuple[Issue, ...] = ()
    candidates: tuple[tuple[str, str], ...] = ()
    next_href: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DossierContext:
    """A dossier: while it is made only its progress, then `whole`."""

    row: Dossier
    snapshot: Snapshot
    polls: bool
    steps: int
    state: str
    rows_in_words: str
    annotates: bool
    actor: str
    picture: Callable[..., Markup]
    kind_of: Callable[[object], str]
    fills: Mapping[Fill, str]
    whole: Whole | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsContext:
    row: Dossier
    count: str
    columns: Sequence[str]
    records: tuple[tuple[int, Record], ...]
    gone: str
    labelled: str
    next_href: str | None
    figure_href: str


def _list(
    request: Request, context: AppContext, viewer: Viewer, *, text: str = "", before: str | None = None,
    issues: tuple[Issue, ...] = (), candidates: tuple[tuple[str, str], ...] = (),
) -> Response:  # fmt: skip
    with context.database.read() as session:
        found = keeping.list_dossiers(session, viewer.principal, before=before, limit=LIMIT + 1)
        frame = build_frame(
            request, context, session, viewer, title="Dossiers", error=bool(issues), crumbs=(Crumb(text="Overview", href="/"),)
        )
    page = ListContext(
        rows=tuple(found[:LIMIT]), states=STATES, view_names=VIEW_NAMES, builds=may(viewer.principal, Action.DOSSIER_BUILD),
        views=tuple((view.value, WORDS[view]) for view in views_of(viewer.principal)),
        groups={code: name for code, name in words.CHEMICAL_GROUPS.items() if code != "other"}, text=text, issues=issues,
        candidates=candidates, next_href=with_query("/dossiers", before=found[LIMIT - 1].id) if len(found) > LIMIT else None,
    )  # fmt: skip
    return Page("dossiers/list.html", frame, page, status=422 if issues else 200)


@router.get("/dossiers")
def dossiers(
    request: Request,
    context: Context,
    viewer: Reader,
    substance: Annotated[str, Query(max_length=400)] = "",
    before: Annotated[str | None, Query(max_length=26)] = None,
) -> Response:
    """The dossiers that the reader may open, and for reviewers and analysts the form for a new one."""
    return _list(request, context, viewer, text=substance, before=before)


@router.post("/dossiers")
def build(
    request: Request,
    context: Context,
    viewer: Builder,
    subject: Annotated[str, Form(max_length=400)] = "",
    family: Annotated[str, Form(max_length=40)] = "",
    rows: Annotated[str, Form(max_length=10)] = View.REVIEWER.value,
) -> Response:
    """Begin a dossier of yesterday's snapshot; one that is there already opens."""
    view = View(rows) if rows in {v.value for v in views_of(viewer.principal)} else views_of(viewer.principal)[0]
    text = subject.strip()
    if family and text:
        return _list(
            request, context, viewer, text=text, issues=(Issue(field="subject", text="Give a substance or a family, not both."),)
        )
    if not family and not text:
        return _list(request, context, viewer, issues=(Issue(field="subject", text="Give a substance or choose a family."),))
    kind, wanted = (FAMILY, family) if family else (SUBSTANCE, text)
    snapshot = keeping.snapshot_of_view(context, view)
    try:
        with context.database.write() as session:
            dossier_id = keeping.begin(session, context, viewer.principal, view, kind, wanted, snapshot)
    except NoSubject:
        return _look_for(request, context, viewer, text, view)
    context.wake_worker()
    return RedirectResponse(f"/dossiers/{dossier_id}", status_code=303)


def _look_for(request: Request, context: AppContext, viewer: Viewer, text: str, view: View) -> Response:
    """By name: one substance is taken, several are offered."""
    with context.database.read() as session:
        found = search_substances(session, viewer.principal, now=context.now(), text=text, sort=Sort.NAME, limit=12)
    if len(found.items) == 1 and found.exact:
        snapshot = keeping.snapshot_of_view(context, view)
        try:
            with context.database.write() as session:
                dossier_id = keeping.begin(session, context, viewer.principal, view, SUBSTANCE, found.items[0].id, snapshot)
        except NoSubject:
            issue = Issue(
                field="subject", text="This substance is known from rows of a stricter label alone: choose the other rows."
            )
            return _list(request, context, viewer, text=text, issues=(issue,))
        context.wake_worker()
        return RedirectResponse(f"/dossiers/{dossier_id}", status_code=303)
    candidates = tuple((row.id, row.name) for row in found.items) or tuple(found.near)
    said = "several substances may be meant; choose one below" if candidates else "no substance has a name like it"
    return _list(
        request, context, viewer, text=text, issues=(Issue(field="subject", text=f"{text}: {said}."),), candidates=candidates
    )


def _dossier(context: AppContext, viewer: Viewer, dossier_id: str) -> DossierContext:
    with context.database.read() as session:
        row = keeping.open_dossier(session, viewer.principal, dossier_id)
        if row is None:
            raise Problem("not-found", ABSENT)
        snapshot = session.get_one(Snapshot, row.snapshot_id)
    whole = whole_of(context, viewer.principal, dossier_id)[0] if row.state == "done" else None
    return DossierContext(
        row=row, snapshot=snapshot, polls=row.state in ("waiting", "running"), steps=STEPS, state=STATES[row.state],
        rows_in_words=WORDS[View(row.view)], annotates=may(viewer.principal, Action.DOSSIER_BUILD), actor=viewer.principal.actor,
        picture=page_picture, kind_of=lambda block: type(block).__name__, fills=FILLS, whole=whole,
    )  # fmt: skip


@router.get("/dossiers/{dossier_id}")
def dossier(request: Request, context: Context, viewer: Reader, dossier_id: str) -> Response:
    return _shown(request, context, viewer, dossier_id, fragment=False)


@router.get("/dossiers/{dossier_id}/progress")
def progress(request: Request, context: Context, viewer: Reader, dossier_id: str) -> Response:
    """The part that changes while it is made. The last one holds the dossier and asks for no more."""
    return _shown(request, context, viewer, dossier_id, fragment=True)


def _shown(request: Request, context: AppContext, viewer: Viewer, dossier_id: str, *, fragment: bool) -> Response:
    page = _dossier(context, viewer, dossier_id)
    with context.database.read() as session:
        frame = build_frame(
            request,
            context,
            session,
            viewer,
            title=f"Dossier: {page.row.name}",
            crumbs=(Crumb(text="Overview", href="/"), DOSSIERS),
        )
    return (Fragment if fragment else Page)("dossiers/progress.html" if fragment else "dossiers/dossier.html", frame, page)


@router.get("/dossiers/{dossier_id}/records")
def records(
    request: Request,
    context: Context,
    viewer: Reader,
    dossier_id: str,
    figure: Annotated[str, Query(max_length=200)] = "",
    start: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """The list under a figure; as long as the figure is large."""
    whole, figures = whole_of(context, viewer.principal, dossier_id)
    found = figure_of(figures, figure)
    with context.database.read() as session:
        rows = records_of(session, viewer.principal, found, start=start, now=context.now())
        frame = build_frame(
            request, context, session, viewer, title=f"Records of figure {figure}",
            crumbs=(Crumb(text="Overview", href="/"), DOSSIERS, Crumb(text=whole.row.name, href=f"/dossiers/{dossier_id}")),
        )  # fmt: skip
    gone = sum(row.gone for row in rows)
    following = start + PAGE
    address = f"/dossiers/{dossier_id}/records"
    page = RecordsContext(
        row=whole.row,
        count=words.count(len(found.records), *KIND_WORDS[found.kind]),
        columns=COLUMNS[found.kind],
        records=tuple(enumerate(rows, start + 1)),
        gone=f"{words.count(gone, 'record', 'records')} on this page: corrected, withdrawn or no longer open to you since."
        if gone
        else "",
        labelled=f"Records of {whole.row.name}",
        next_href=with_query(address, figure=figure, start=following) if following < len(found.records) else None,
        figure_href=address,
    )
    return Page("dossiers/records.html", frame, page)


@router.get("/dossiers/{dossier_id}/dossier.{form}")
def download(context: Context, viewer: Reader, dossier_id: str, form: str) -> Response:
    if form not in MEDIA:
        raise Problem("not-found", ABSENT)
    return file_of(context, viewer.principal, dossier_id, form)


@router.post("/dossiers/{dossier_id}/again")
def again(context: Context, viewer: Builder, dossier_id: str) -> Response:
    """Try once more one that was broken off."""
    with context.database.write() as session:
        row = keeping.open_dossier(session, viewer.principal, dossier_id)
        if row is None:
            raise Problem("not-found", ABSENT)
        keeping.begin_again(session, row, context.now())
    context.wake_worker()
    return RedirectResponse(f"/dossiers/{dossier_id}", status_code=303)


@router.post("/dossiers/{dossier_id}/notes")
def annotate(
    context: Context,
    viewer: Builder,
    dossier_id: str,
    section: Annotated[int, Form(ge=1, le=20)] = 19,
    text: Annotated[str, Form(max_length=MOST_TEXT)] = "",
) -> Response:
    """Remark on a heading; the dossier itself is never changed."""
    with context.database.write() as session:
        row = keeping.open_dossier(session, viewer.principal, dossier_id)
        if row is None:
            raise Problem("not-found", ABSENT)
        if text.strip():
            keeping.annotate(session, row, viewer.principal, viewer.name, section, text.strip(), context.now())
    return RedirectResponse(f"/dossiers/{dossier_id}#s{section}", status_code=303)


@router.post("/dossiers/{dossier_id}/notes/{note_id}/withdraw")
def withdraw(context: Context, viewer: Builder, dossier_id: str, note_id: str) -> Response:
    """Take an own remark back."""
    with context.database.write() as session:
        row = keeping.open_dossier(session, viewer.principal, dossier_id)
        if row is None or not keeping.withdraw_note(session, dossier_id, note_id, viewer.principal, context.now()):
            raise Problem("not-found", ABSENT)
    return RedirectResponse(f"/dossiers/{dossier_id}", status_code=303)
