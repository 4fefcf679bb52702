"""Answers are as the OpenAPI description says: no key missing, none that is not described."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from starlette.testclient import TestClient

from alerts.values import Scope
from app.notifications import documents
from app.worker import Worker


def conforms(document: dict[str, Any], model: type[BaseModel], *, also: frozenset[str] = frozenset()) -> None:
    """Fails unless the document validates and has exactly the model's keys, and those of `also`."""
    model.model_validate(document)
    assert set(document) == set(model.model_fields) | also


def test_documents_have_exactly_the_described_keys(
    client: TestClient, context: Any, world: Any, store_report: Any, receivers: Any
) -> None:
    authority, operator = world.org("authority"), world.org("operator")
    headers, analyst = world.key(authority), world.key(operator)
    wish = {"channel": "webhook", "url": receivers().url}
    made = client.post("/v1/subscriptions", headers=headers, json=wish).json()
    conforms(made, documents.NewSubscriptionDoc)
    worker = Worker(context, schedule=False)
    worker.run_due()
    (alert_id,) = store_report(world.lab, world.substance(), first_in=Scope.REGION)
    worker.run_due()
    conforms(client.get(f"/v1/subscriptions/{made['id']}", headers=headers).json(), documents.SubscriptionDoc)
    conforms(client.post(f"/v1/subscriptions/{made['id']}/test", headers=headers).json(), documents.TestDoc)
    redelivery = client.post(f"/v1/subscriptions/{made['id']}/redeliver", headers=headers, json={"alert": alert_id})
    conforms(redelivery.json(), documents.RedeliveryDoc)
    conforms(client.post(f"/v1/alerts/{alert_id}/acknowledge", headers=headers).json(), documents.AnswerDoc)
    conforms(client.post(f"/v1/alerts/{alert_id}/approve", headers=analyst).json(), documents.AlertDoc)
    worker.run_due()
    (page, events) = (client.get(path, headers=headers).json() for path in ("/v1/alerts", "/v1/events"))
    conforms(page, documents.AlertPage)
    conforms(events, documents.EventPage)
    conforms(events["items"][0], documents.EventDoc)
    conforms(page["items"][0]["references"][0], documents.ReferenceDoc)
    conforms(page["items"][0]["acknowledgements"][0], documents.AcknowledgementDoc)
    delivery = client.get(f"/v1/alerts/{alert_id}/deliveries", headers=headers).json()["items"][0]
    conforms(delivery, documents.DeliveryDoc)
    conforms(delivery["attempts"][0], documents.AttemptDoc)
    conforms(client.post(f"/v1/deliveries/{delivery['id']}/retry", headers=analyst).json(), documents.DeliveryDoc)
    conforms(client.get(f"/v1/alerts/{alert_id}/coverage", headers=headers).json(), documents.CoverageDoc)
    measure = {"kind": "none", "alert": alert_id}
    conforms(
        client.post("/v1/measures", headers=headers, json=measure).json(),
        documents.MeasureDoc,
        also=frozenset({"from", "raised"}),
    )


def test_the_description_names_them(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    schema = paths["/v1/alerts/{alert_id}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/AlertDoc"}
