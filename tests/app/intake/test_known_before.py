"""What is known of a substance before a report: by an index of its own, whatever else was found of the substance."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import text

from app.intake import queries
from app.notifications import background
from app.persistence import migrations
from app.persistence.session import Database

KNOWN = {"country": "DE", "region": "Europe", "org_id": "lab", "test": False, "substance_key": "inchikey:X"}
SEEN = {"substance_id": "s", "report_id": "r", "country": "DE", "region": "Europe", "form": "tablet"}
OTHERS = ("ix_detection_last", "ix_detection_series", "ix_detection_substance_id_received_at", "ix_detection_received_at")


@pytest.mark.parametrize(
    ("statement", "given", "times"),
    [
        (queries._BY_KEY, KNOWN, 6),
        (background._seen_before(corrected=False, test=False, by_form=True), SEEN, 3),
    ],
    ids=["known before", "seen before"],
)
def test_what_was_found_before_can_go_by_its_index(database_url: str, statement: Any, given: Any, times: int) -> None:
    database = Database(database_url)
    migrations.upgrade(database.engine)
    engine = database.engine
    written = str(statement.params(**given).compile(engine, compile_kwargs={"literal_binds": True})).replace("%%", "%")
    with engine.connect() as connection:
        if not database.is_sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
        for other in OTHERS:  # so that no other can be taken for as good while the table is empty
            connection.execute(text(f"DROP INDEX {other}"))
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        plan = [str(row) for row in connection.exec_driver_sql(f"{explain} {written}")]
    database.dispose()
    assert sum("ix_detection_before" in line for line in plan) >= times, plan
