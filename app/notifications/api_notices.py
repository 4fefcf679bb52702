"""Routes of manual notices, measures, CAP documents and the Atom feed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response

from alerts.render import alert_document
from app.auth.permissions import Action, Principal
from app.context import Context, optional_principal, requires
from app.notifications import documents, feeds, notices, queries
from app.notifications.cursors import decode_cursor, page
from app.notifications.schemas import MeasureIn, NoticeIn

router = APIRouter()

Anybody = Annotated[Principal | None, Depends(optional_principal)]


@router.post(
    "/alerts", status_code=201, tags=["alerts"], response_model=None, responses=documents.described(201, documents.AlertDoc)
)
def issue_notice(
    wish: NoticeIn, principal: Annotated[Principal, Depends(requires(Action.ALERT_WRITE))], context: Context
) -> dict[str, Any]:
    """Issue a manual notice, by the release policy: levels 1 and 2 at once to all who match, 3 and 4 to others after approval.

    Analysts write of any country or of none, authorities of their own. The same notice again answers 409 with its alert.
    """
    with context.database.write() as session:
        alert = notices.issue(session, principal, wish, context.now(), home=context.chemistry.home_of(wish.country))
        alert_id = alert.id
    context.wake_worker()
    with context.database.read() as session:
        found = queries.find(session, principal, alert_id)
        assert found is not None
        return alert_document(queries.views_for(session, principal, [found])[0])


@router.get("/alerts.atom", tags=["alerts"], response_class=Response)
def atom(principal: Anybody, context: Context, if_none_match: Annotated[str | None, Header()] = None) -> Response:
    """The newest 100 alerts this reader may see, as Atom; without a key those labelled TLP:CLEAR. RED is never in it."""
    with context.database.read() as session:
        found = [
            item
            for item in queries.alerts_for(session, principal, queries.AlertSearch(), limit=feeds.MOST_ENTRIES)
            if item.revision.tlp != "RED"
        ]
        views = queries.views_for(session, principal, found)
    content = feeds.atom_of(context, found, views, public=principal is None)
    etag = feeds.etag_of(content)
    headers = {
        "ETag": etag,
        "Cache-Control": "public, max-age=60" if principal is None else "private, no-cache",
        "Vary": "Authorization",
    }
    if if_none_match is not None and etag in [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type="application/atom+xml", headers=headers)


@router.get("/alerts/{alert_id}.cap", tags=["alerts"], response_class=Response)
def cap(alert_id: str, principal: Anybody, context: Context) -> Response:
    """The alert as a CAP 1.2 document. TLP:RED has none."""
    with context.database.read() as session:
        content = feeds.cap_of(session, context, principal, alert_id)
    return Response(content, media_type="application/cap+xml")


@router.post(
    "/measures", status_code=201, tags=["measures"], response_model=None, responses=documents.described(201, documents.MeasureDoc)
)
def record_measure(
    wish: MeasureIn, principal: Annotated[Principal, Depends(requires(Action.MEASURE_WRITE))], context: Context
) -> dict[str, Any]:
    """Record what your authority decided for its country. A control raises `control_change`, whose id is in `raised`."""
    with context.database.write() as session:
        measure, raised = notices.record_measure(
            session, principal, wish, context.now(), home=context.chemistry.home_of(principal.country)
        )
        (answer,) = notices.measure_documents(session, principal, [(measure, principal.org_name)])
    context.wake_worker()
    return answer | {"raised": raised}


@router.get("/measures", tags=["measures"], response_model=None, responses=documents.described(200, documents.MeasurePage))
def list_measures(
    principal: Annotated[Principal, Depends(requires(Action.ALERT_READ))],
    context: Context,
    substance: str | None = None,
    country: str | None = None,
    alert: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    cursor: Annotated[str | None, Query(description="`next_cursor` of the page before")] = None,
) -> dict[str, Any]:
    """Measures of all countries, newest first."""
    with context.database.read() as session:
        rows = notices.measures(
            session, principal, substance=substance, country=country, alert=alert, before=decode_cursor(cursor), limit=limit + 1
        )
        items = notices.measure_documents(session, principal, rows[:limit])
    return page(items, rows[limit - 1][0].id if len(rows) > limit else None)
