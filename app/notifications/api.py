"""Routes of subscriptions, alerts, the feed and deliveries."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import select

from alerts.render import alert_document, iso
from app.auth.permissions import Action, Principal
from app.context import AppContext, Context, optional_principal, requires
from app.notifications import api_notices, contacts, coverage, decisions, deliveries, documents, queries, subscriptions
from app.notifications.cursors import decode_cursor, encode_cursor, page
from app.notifications.preview import preview
from app.notifications.schemas import (
    NoteIn,
    PreviewIn,
    ReasonIn,
    RedeliverIn,
    RosterIn,
    RotateIn,
    SightingIn,
    SubscriptionIn,
    SubscriptionPatch,
)
from app.persistence.models import Subscription
from app.problems import Problem
from app.sharing.consent import LabelIn

router = APIRouter(prefix="/v1")
router.include_router(api_notices.router)  # first: /alerts/{id}.cap is also a /alerts/{id}

Subscriber = Annotated[Principal, Depends(requires(Action.SUBSCRIBE))]
Anybody = Annotated[Principal | None, Depends(optional_principal)]
Analyst = Annotated[Principal, Depends(requires(Action.ALERT_APPROVE))]
Authority = Annotated[Principal, Depends(requires(Action.ALERT_ACKNOWLEDGE))]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before")]


# subscriptions


@router.post(
    "/subscriptions",
    status_code=201,
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(201, documents.NewSubscriptionDoc),
)
def create_subscription(wish: SubscriptionIn, principal: Subscriber, context: Context) -> dict[str, Any]:
    """Make an endpoint. For a webhook the answer holds `secret`, shown here and at rotation only, and a signed ping is sent at
    once: answer it with 2xx and `{"nonce": "…"}` and the endpoint is active. `tlp_max` is cut to what the role may hold.
    """
    with context.database.write() as session:
        made, secret = subscriptions.create(
            session,
            principal,
            wish,
            allow=context.settings.egress_allow,
            box=context.box,
            mail=bool(context.settings.smtp_url),
            now=context.now(),
        )
        answer = subscriptions.document(made)
    context.wake_worker()
    return answer | ({"secret": secret} if secret is not None else {})


@router.get(
    "/subscriptions", tags=["subscriptions"], response_model=None, responses=documents.described(200, documents.SubscriptionPage)
)
def list_subscriptions(principal: Subscriber, context: Context, limit: Limit = 100, cursor: Cursor = None) -> dict[str, Any]:
    """This organisation's endpoints, newest first."""
    with context.database.read() as session:
        rows = subscriptions.page(session, principal, before=decode_cursor(cursor), limit=limit + 1)
    return page([subscriptions.document(row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None)


@router.get(
    "/subscriptions/{subscription_id}",
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(200, documents.SubscriptionDoc),
)
def get_subscription(subscription_id: str, principal: Subscriber, context: Context) -> dict[str, Any]:
    with context.database.read() as session:
        return subscriptions.document(subscriptions.own(session, principal, subscription_id))


@router.patch(
    "/subscriptions/{subscription_id}",
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(200, documents.SubscriptionDoc),
)
def change_subscription(subscription_id: str, wish: SubscriptionPatch, principal: Subscriber, context: Context) -> dict[str, Any]:
    """Change the given fields. Another `url`, and `state: active` on a disabled endpoint, send a ping that must be answered
    first.
    """
    with context.database.write() as session:
        subscription = subscriptions.own(session, principal, subscription_id, lock=True)
        subscriptions.change(session, subscription, wish, allow=context.settings.egress_allow, now=context.now())
        session.flush()
        answer = subscriptions.document(subscription)
    context.wake_worker()
    return answer


@router.delete("/subscriptions/{subscription_id}", status_code=204, tags=["subscriptions"])
def delete_subscription(subscription_id: str, principal: Subscriber, context: Context) -> Response:
    """Close the endpoint; deliveries that wait for it are cancelled."""
    with context.database.write() as session:
        subscriptions.delete(session, subscriptions.own(session, principal, subscription_id, lock=True), context.now())
    return Response(status_code=204)


@router.post(
    "/subscriptions/preview",
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(200, documents.PreviewDoc),
)
def preview_subscription(wish: PreviewIn, principal: Subscriber, context: Context) -> dict[str, Any]:
    """What a filter would have sent in the past 30 days, by the rules of sending; nothing is stored."""
    with context.database.read() as session:
        seen = preview(session, principal, wish.filter, wish.tlp_max, context.now())
    return {
        "since": iso(seen.since),
        "total": len(seen.found),
        "by_level": {str(level): count for level, count in seen.by_level.items()},
        "alerts": [item.alert.id for item in seen.found],
    }


@router.get("/contacts", tags=["subscriptions"], response_model=None, responses=documents.described(200, documents.RosterDoc))
def get_contacts(principal: Subscriber, context: Context) -> dict[str, Any]:
    """This organisation's roster, in the order in which contacts are told, each with whether it is on duty now."""
    now = context.now()
    with context.database.read() as session:
        return {"contacts": [contacts.document(row, now) for row in contacts.roster(session, principal.org_id)]}


@router.put("/contacts", tags=["subscriptions"], response_model=None, responses=documents.described(200, documents.RosterDoc))
def put_contacts(wish: RosterIn, principal: Subscriber, context: Context) -> dict[str, Any]:
    """Put these contacts in place of the roster. The first is told when an answer is overdue, the others after that; a deputy
    stands in outside of a contact's hours. Without a roster the people who sign in are told.
    """
    now = context.now()
    with context.database.write() as session:
        return {"contacts": [contacts.document(row, now) for row in contacts.replace(session, principal, wish.contacts, now)]}


@router.post(
    "/subscriptions/{subscription_id}/test",
    status_code=202,
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(202, documents.TestDoc),
)
def test_subscription(subscription_id: str, principal: Subscriber, context: Context) -> dict[str, Any]:
    """Send a signed ping now; the answer names its delivery."""
    with context.database.write() as session:
        subscription = subscriptions.own(session, principal, subscription_id, lock=True)
        delivery = subscriptions.send_test(session, subscription, context.now())
    context.wake_worker()
    return {"delivery": delivery}


@router.post(
    "/subscriptions/{subscription_id}/rotate-secret",
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(200, documents.NewSubscriptionDoc),
)
def rotate_secret(subscription_id: str, principal: Subscriber, context: Context, wish: RotateIn | None = None) -> dict[str, Any]:
    """A new `secret`, which signs at once. The old one also signs for `overlap_hours` (default 24, 0 to 168)."""
    overlap = timedelta(hours=(wish or RotateIn()).overlap_hours)
    with context.database.write() as session:
        subscription = subscriptions.own(session, principal, subscription_id, lock=True)
        secret = subscriptions.rotate(session, subscription, context.box, context.now(), overlap=overlap)
        answer = subscriptions.document(subscription)
    return answer | {"secret": secret}


@router.post(
    "/subscriptions/{subscription_id}/redeliver",
    status_code=202,
    tags=["subscriptions"],
    response_model=None,
    responses=documents.described(202, documents.RedeliveryDoc),
)
def redeliver(subscription_id: str, wish: RedeliverIn, principal: Subscriber, context: Context) -> dict[str, Any]:
    """Send again `{"alert"}`, `{"from", "to"}` or `{"all_dead": true}`: the same webhook-id, a new timestamp."""
    with context.database.write() as session:
        subscription = subscriptions.own(session, principal, subscription_id, lock=True)
        count = subscriptions.redeliver(session, principal, subscription, wish, context.now())
    context.wake_worker()
    return {"redelivering": count}


_CONFIRM = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Alerts by e-mail</title>
<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex"></head>
<body><main><h1>Alerts by e-mail</h1>{}</main></body></html>"""


@router.get("/subscriptions/{subscription_id}/confirm/{token}", tags=["subscriptions"], response_class=HTMLResponse)
def ask_to_confirm(subscription_id: str, token: str) -> HTMLResponse:
    """The page behind the link of a confirmation e-mail. It changes nothing: link scanners only GET."""
    button = '<form method="post"><p>Send alerts to this address?</p><button>Confirm address</button></form>'
    return HTMLResponse(_CONFIRM.format(button), headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


@router.post("/subscriptions/{subscription_id}/confirm/{token}", tags=["subscriptions"], response_class=HTMLResponse)
def confirm_address(subscription_id: str, token: str, context: Context) -> HTMLResponse:
    """Confirm an e-mail endpoint; the link works once."""
    with context.database.write() as session:
        done = subscriptions.confirm(session, subscription_id, token, context.now())
    context.wake_worker()
    if not done:
        raise Problem("not-found", "This link was used before, or a newer one was sent.")
    return HTMLResponse(_CONFIRM.format("<p>Confirmed. Alerts will be sent to this address.</p>"))


# alerts


@router.get("/alerts", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AlertPage))
def list_alerts(
    principal: Anybody,
    context: Context,
    type: Annotated[list[str] | None, Query()] = None,
    country: Annotated[list[str] | None, Query()] = None,
    region: Annotated[list[str] | None, Query()] = None,
    group: Annotated[list[str] | None, Query()] = None,
    state: Annotated[list[str] | None, Query()] = None,
    substance: str | None = None,
    min_level: Annotated[int | None, Query(ge=1, le=4)] = None,
    controlled: bool | None = None,
    reviewed: bool | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Alerts this reader may see, newest first; without a key those labelled TLP:CLEAR."""
    search = queries.AlertSearch(
        types=tuple(type or ()),
        countries=tuple(country or ()),
        regions=tuple(region or ()),
        groups=tuple(group or ()),
        states=tuple(state or ()),
        substance=substance,
        min_level=min_level,
        controlled=controlled,
        reviewed=reviewed,
        before=decode_cursor(cursor),
    )
    with context.database.read() as session:
        found = queries.alerts_for(session, principal, search, limit=limit + 1)
        items = [alert_document(view) for view in queries.views_for(session, principal, found[:limit])]
    return page(items, found[limit - 1].alert.id if len(found) > limit else None)


@router.get("/alerts/{alert_id}", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AlertDoc))
def get_alert(alert_id: str, principal: Anybody, context: Context) -> dict[str, Any]:
    """The newest revision that this reader may see."""
    return _alert(context, principal, alert_id)


def _alert(context: AppContext, principal: Principal | None, alert_id: str) -> dict[str, Any]:
    with context.database.read() as session:
        found = queries.find(session, principal, alert_id)
        if found is None:
            raise Problem("not-found", "There is no alert of this id, or this key may not see it.")
        return alert_document(queries.views_for(session, principal, [found])[0])


@router.get("/events", tags=["alerts"], response_model=None, responses=documents.described(200, documents.EventPage))
def list_events(
    principal: Anybody,
    context: Context,
    after: Annotated[int, Query(ge=0)] = 0,
    limit: Limit = 100,
    cursor: Annotated[str | None, Query()] = None,
) -> dict[str, Any]:
    """Published revisions in the order of their gapless `seq`, after `after`: to repair any gap. Those this reader may not see
    are left out. `next_after` is where to go on, now or later; `generation` changes when the database was restored: then begin
    at 0.
    """
    start = decode_cursor(cursor)
    if start is not None:
        if not start.isdigit():
            raise Problem("bad-request", "cursor: send next_cursor of the page before, unchanged.")
        after = int(start)
    with context.database.read() as session:
        return deliveries.events(session, principal, after=after, limit=limit, encode=encode_cursor)


@router.post(
    "/alerts/{alert_id}/approve", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AlertDoc)
)
def approve_alert(alert_id: str, principal: Analyst, context: Context, wish: NoteIn | None = None) -> dict[str, Any]:
    """Approve for everybody: one analyst for level 3, two different ones for level 4. Answers the alert as it then stands."""
    with context.database.write() as session:
        decisions.approve(session, principal, alert_id, wish.note if wish else None, context.now())
    context.wake_worker()
    return _alert(context, principal, alert_id)


@router.post(
    "/alerts/{alert_id}/close", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AlertDoc)
)
def close_alert(alert_id: str, wish: ReasonIn, principal: Analyst, context: Context) -> dict[str, Any]:
    """Say that the alert is over, in its last revision: state `closed`, and nobody is asked to answer any more."""
    with context.database.write() as session:
        decisions.close(session, principal, alert_id, wish.note, context.now())
    context.wake_worker()
    return _alert(context, principal, alert_id)


@router.post(
    "/alerts/{alert_id}/label", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AlertDoc)
)
def relabel_alert(alert_id: str, wish: LabelIn, principal: Analyst, context: Context) -> dict[str, Any]:
    """Give the alert another TLP label in its next revision. Raising is always possible; lowering needs that every report it
    rests on carries the label itself or has its sender's recorded consent (POST /v1/reports/{id}/consent), else 409.
    """
    with context.database.write() as session:
        decisions.relabel(session, principal, alert_id, wish.tlp, wish.note, context.now())
    context.wake_worker()
    return _alert(context, principal, alert_id)


def _answer(context: AppContext, principal: Principal, alert_id: str, kind: str, note: str | None) -> dict[str, Any]:
    with context.database.write() as session:
        row = decisions.answer(session, principal, alert_id, kind, note, context.now())
        return {
            "alert": row.alert_id,
            "revision": row.revision,
            "kind": row.kind,
            "note": row.note,
            "organisation": principal.org_name,
            "country": principal.country,
            "at": iso(row.at),
        }


@router.post(
    "/alerts/{alert_id}/acknowledge",
    tags=["alerts"],
    response_model=None,
    responses=documents.described(200, documents.AnswerDoc),
)
def acknowledge_alert(alert_id: str, principal: Authority, context: Context, wish: NoteIn | None = None) -> dict[str, Any]:
    """Say that your organisation has the alert in hand. Once; the first answer stays."""
    return _answer(context, principal, alert_id, "acknowledged", wish.note if wish else None)


@router.post(
    "/alerts/{alert_id}/assess", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AnswerDoc)
)
def assess_alert(alert_id: str, principal: Authority, context: Context, wish: NoteIn | None = None) -> dict[str, Any]:
    """Say what your organisation makes of the alert, in `note`. Once; the first answer stays."""
    return _answer(context, principal, alert_id, "assessed", wish.note if wish else None)


@router.post(
    "/alerts/{alert_id}/sightings", tags=["alerts"], response_model=None, responses=documents.described(200, documents.AnswerDoc)
)
def sight_alert(
    alert_id: str,
    principal: Annotated[Principal, Depends(requires(Action.ALERT_SIGHT))],
    context: Context,
    wish: SightingIn | None = None,
) -> dict[str, Any]:
    """We see it too: a short statement of an authority or a laboratory. Once an organisation."""
    return _answer(context, principal, alert_id, "sighting", wish.note if wish else None)


# deliveries


@router.get(
    "/alerts/{alert_id}/deliveries",
    tags=["alerts"],
    response_model=None,
    responses=documents.described(200, documents.DeliveryPage),
)
def list_deliveries(
    alert_id: str,
    principal: Annotated[Principal, Depends(requires(Action.DELIVERY_READ))],
    context: Context,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """Where the alert went and what came of it, with every attempt. An authority sees its own endpoints, analysts and the
    operator all of them.
    """
    with context.database.read() as session:
        items, last = deliveries.of_alert(session, principal, alert_id, before=decode_cursor(cursor), limit=limit)
    return page(items, last)


@router.get(
    "/alerts/{alert_id}/coverage", tags=["alerts"], response_model=None, responses=documents.described(200, documents.CoverageDoc)
)
def alert_coverage(
    alert_id: str, principal: Annotated[Principal, Depends(requires(Action.DELIVERY_READ))], context: Context
) -> dict[str, Any]:
    """For each authority: sent, delivered, failing, seen, acknowledged, overdue; and the countries where there is nobody to
    tell.
    """
    with context.database.read() as session:
        return coverage.coverage_of(session, principal, alert_id, context.now())


@router.post(
    "/deliveries/{delivery_id}/retry",
    status_code=202,
    tags=["alerts"],
    response_model=None,
    responses=documents.described(202, documents.DeliveryDoc),
)
def retry_delivery(
    delivery_id: str,
    principal: Annotated[Principal, Depends(requires(Action.DELIVERY_RETRY))],
    context: Context,
) -> dict[str, Any]:
    """Try a delivery again now, whatever came of it before: the same webhook-id, a new attempt."""
    with context.database.write() as session:
        task = deliveries.own_delivery(session, principal, delivery_id)
        subscription = session.scalars(select(Subscription).where(Subscription.id == task.lane).with_for_update()).one()
        if subscription.deleted_at is not None:
            raise Problem("conflict", "The endpoint was deleted.")
        subscriptions.resend(session, [task.id], subscription, context.now())
        session.expire(task)
        answer = deliveries.document(session, task, subscription, None)
    context.wake_worker()
    return answer
