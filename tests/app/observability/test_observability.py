"""Metrics, their documentation and rules, and structured logs."""

from __future__ import annotations

import io
import json
import logging
import re
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families

from app.cli import main
from app.observability.cli import RULES
from app.observability.logs import JsonLines
from app.web.help_pages import source_of
from app.worker import Worker
from tests.conftest import Service

NAME = re.compile(r"\bnps_[a-z_]+\b")


def scraped(service: Service) -> dict[str, list[Any]]:
    answer = service.client.get("/metrics", headers=service.key("operator", "DE", "admin", name=f"op {service.clock.at}"))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {family.name: family.samples for family in text_string_to_metric_families(answer.text)}


def value(found: dict[str, list[Any]], name: str, **labels: str) -> float:
    family = next(samples for known, samples in found.items() if name.startswith(known))
    return float(sum(s.value for s in family if s.name == name and labels.items() <= s.labels.items()))


def test_what_happens_is_counted(service: Service, example_report: dict[str, Any]) -> None:
    lab = service.key("lab", "DE")
    before = scraped(service)
    assert service.client.post("/v1/reports", json=example_report, headers=lab).status_code == 201
    assert service.client.post("/v1/reports", json={}, headers=lab).status_code == 422
    assert service.client.get("/a/some-secret-token", follow_redirects=False).status_code in (303, 404)
    service.clock.at += timedelta(days=2)
    after = scraped(service)

    def grown(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert grown("nps_reports_total", kind="created") == 1
    assert grown("nps_http_requests_total", method="POST", route="/v1/reports", status="201") == 1
    assert grown("nps_http_requests_total", method="POST", route="/v1/reports", status="422") == 1
    assert grown("nps_http_request_seconds_count", route="POST /v1/reports") == 2
    assert value(after, "nps_queue_tasks", topic="fanout", state="ready") > 0
    assert value(after, "nps_queue_oldest_seconds", topic="fanout") == pytest.approx(2 * 86_400)
    assert value(after, "nps_alerts_unacknowledged", level="3") + value(after, "nps_alerts_unacknowledged", level="4") > 0
    assert value(after, "nps_alerts_overdue", level="3") == value(after, "nps_alerts_unacknowledged", level="3")
    labels = {str(s.labels) for samples in after.values() for s in samples}
    assert not any("secret-token" in text for text in labels)

    Worker(service.context, schedule=False).run_due()
    worked = scraped(service)
    assert value(worked, "nps_task_seconds_count", topic="fanout", outcome="done") > 0
    assert value(worked, "nps_queue_tasks", topic="fanout", state="ready") == 0


def test_every_metric_is_documented_and_every_rule_watches_one_that_is_there(service: Service) -> None:
    there = {name for name in scraped(service) if name.startswith("nps_")}
    documented = {name.removesuffix("_total") for name in NAME.findall(source_of("operations"))}
    assert len(there) >= 14
    assert there == documented
    rules = {re.sub(r"_(total|bucket)$", "", name) for name in NAME.findall(RULES.read_text(encoding="utf-8"))}
    assert rules <= there
    assert "NpsAlertOverdue" in CliRunner().invoke(main, ["metrics", "rules"]).output


def test_a_log_line_has_the_ids_and_no_content(sqlite_service: Service, example_report: dict[str, Any]) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("nps")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        lab = sqlite_service.key("lab", "DE")
        answer = sqlite_service.client.post("/v1/reports", json=example_report, headers=lab)
        assert sqlite_service.client.get(f"/v1/reports/{answer.json()['id']}", headers=lab).status_code == 200
        Worker(sqlite_service.context, schedule=False).run_due()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    sent = next(line for line in lines if line.get("door") == "POST /v1/reports")
    assert sent["request"] == answer.headers["X-Request-Id"]
    assert (sent["report"], sent["alerts"], sent["status"]) == (answer.json()["id"], answer.json()["alerts"], 201)
    assert sent["actor"].startswith("key:")
    read = next(line for line in lines if line.get("door", "").startswith("GET /v1/reports/"))
    assert read["message"] == "GET /v1/reports/{report_id} 200"
    worked = [line for line in lines if line.get("topic") == "fanout"]
    assert {line["alert"] for line in worked} == set(answer.json()["alerts"])
    for word in ("fluorofentanyl", example_report["lab_reference"], lab["Authorization"].split()[1]):
        assert word not in out.getvalue()
