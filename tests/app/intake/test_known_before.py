"""What is known of a substance before a report: by an index of its own, whatever else was found of the substance."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, text

from app.intake import queries
from app.notifications import background
from app.persistence import migrations
from app.persistence.models import Detection, Substance
from app.persistence.rollups import fold_all
from app.persistence.session import Database
from tests.conftest import Service

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


def test_a_common_substance_costs_no_more_than_a_rare_one(sqlite_service: Service, example_report: dict[str, Any]) -> None:
    """On SQLite, which works out both sides of an OR in what is selected."""
    database = sqlite_service.context.database
    headers = sqlite_service.key("lab", "DE")
    assert sqlite_service.client.post("/v1/reports", json=example_report, headers=headers).status_code == 201
    names = [column.name for column in Detection.__table__.columns if column.name not in ("id", "position")]
    with database.read() as session:
        wanted = select(Detection, Substance.key).join(Substance, Detection.substance_id == Substance.id)
        row, key = session.execute(wanted.where(Detection.relation == "parent", Detection.counted)).first() or (None, None)
        assert row is not None
        given = KNOWN | {"country": row.country, "region": row.region, "substance_key": key}
    steps = []
    for more in (0, 3000):
        with database.engine.begin() as connection:
            connection.execute(
                text(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :more) "
                    f"INSERT INTO detection (id, position, {', '.join(names)}) SELECT 'copy' || i, 100 + i, {', '.join(names)} "
                    "FROM detection, n WHERE id = :id AND :more > 0"
                ),
                {"more": more, "id": row.id},
            )
        fold_all(database)
        taken: list[int] = []
        with database.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(lambda taken=taken: taken.append(1), 10)
            assert connection.execute(queries._BY_KEY, given).one()
            driver.set_progress_handler(None, 0)
        steps.append(len(taken))
    assert steps[1] <= 2 * steps[0], steps
