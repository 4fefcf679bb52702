"""A few hundred generated inputs in each run of the suite; `python -m tests.hostile` takes 10,000, NPS_HOSTILE another number."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings

from tests.conftest import Service
from tests.hostile.generated import Ask, asks, send

# Hypothesis looks at the one random state of the process, which threads of the service draw from meanwhile
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
EXAMPLES = int(os.environ.get("NPS_HOSTILE", "300"))
QUICK = settings(
    max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip


@pytest.fixture
def target(make_service: Callable[[str], Service], database_url: str, tmp_path: Path) -> Service:
    service = make_service(database_url)
    service.context.addresses.limit = 0
    return service


def test_no_made_up_request_is_a_5xx(target: Service) -> None:
    lab, admin = target.key("lab", "DE"), target.key("operator", "AT", "analyst")

    @QUICK
    @given(asks())
    def ask(wish: Ask) -> None:
        for headers in (lab, admin):
            answer = send(target.client, wish, headers)
            assert answer is None or answer.status_code < 500, (wish, answer.text[:400])

    ask()
    assert target.client.get("/readyz").status_code == 200


def test_no_operation_of_the_document_is_a_5xx(target: Service) -> None:
    """Schemathesis makes the inputs from the OpenAPI document, right ones and wrong ones."""
    key = target.key("lab", "DE")
    schema = schemathesis.openapi.from_asgi("/openapi.json", target.client.app)
    operations = [result.ok() for result in schema.get_all_operations()]
    few = settings(QUICK, max_examples=max(EXAMPLES // len(operations), 2))
    for operation in operations:

        @few
        @given(operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            sent = case.as_transport_kwargs(base_url="http://testserver", headers=key)
            method, url = sent.pop("method"), sent.pop("url")
            sent = {name: value for name, value in sent.items() if name in ("json", "data", "params", "headers", "files")}
            if isinstance(sent.get("data"), bytes | str):
                sent["content"] = sent.pop("data")
            try:
                answer = target.client.request(method, url, **{**sent, "headers": {**(sent.get("headers") or {}), **key}})
            except (UnicodeError, ValueError, TypeError):
                return  # no client writes such a request
            assert answer.status_code < 500, (method, url, answer.text[:400])

        ask()
