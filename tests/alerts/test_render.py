"""Bodies stay small, whole, and say what they left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.render import BODY_LIMIT, alert_document, month_name, one_line, retracted_texts, webhook_body
from alerts.values import AlertView, Texts

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
KEYS = {
    "id", "type", "level", "level_name", "state", "reviewed", "controlled", "headline", "short", "summary", "full", "instruction",
    "rule", "substance", "evidence", "countries", "tlp", "issued_at", "revision", "references", "acknowledgements",
}  # fmt: skip


def view(**more: Any) -> AlertView:
    values: dict[str, Any] = {
        "id": "a", "type": "spike", "level": 2, "state": "issued", "reviewed": False, "controlled": True,
        "texts": Texts(headline="h", short="s", summary="u", full="f", instruction="i"), "rule": "spike/1", "numbers": {},
        "substance": {"id": "x", "name": "n", "inchikey": None, "matches": []}, "evidence": (), "countries": ("DE",),
        "tlp": "GREEN",
        "issued_at": NOW, "revision": 1, "references": (),
    }  # fmt: skip
    return AlertView(**(values | more))


def test_a_document_has_exactly_the_keys_of_the_contract() -> None:
    assert set(alert_document(view())) == KEYS
    thin = alert_document(view(withheld=True))
    assert set(thin) == KEYS | {"withheld"}
    assert thin["withheld"] is True


@pytest.mark.parametrize("count", [0, 100, 5000])
def test_a_body_is_under_twenty_kibibytes_whatever_it_rests_on(count: int) -> None:
    evidence = tuple(f"01ARZ3NDEKTSV4RRFFQ69G{number:04}" for number in range(count))
    document = json.loads(body := webhook_body("alert.issued", NOW, alert_document(view(evidence=evidence))))
    assert len(body) < BODY_LIMIT
    assert document["type"] == "alert.issued"
    assert document["timestamp"] == "2026-11-24T12:00:00.000Z"
    left_out = document["data"].get("omitted", {"evidence": 0})["evidence"]
    assert len(document["data"]["evidence"]) + left_out == count


def test_a_long_text_gives_way_last() -> None:
    texts = Texts(headline="h", short="s", summary="u", full="ä" * 30_000, instruction="i")
    body = webhook_body("alert.issued", NOW, alert_document(view(texts=texts)))
    assert len(body) < BODY_LIMIT
    assert json.loads(body)["data"]["full"].endswith("…")


@given(st.text(max_size=500), st.integers(1, 200))
def test_one_line_is_one_printable_line_of_at_most_so_many_characters(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert line.isprintable()


def test_a_retraction_says_so_first_in_every_place() -> None:
    texts = retracted_texts(
        Texts(headline="h" * 160, short="s" * 160, summary="u", full="f", instruction="i"), "It was withdrawn."
    )
    assert all(text.startswith("Retracted") for text in (texts.headline, texts.short, texts.summary, texts.full))
    assert len(texts.short) <= 160
    assert "It was withdrawn." in texts.summary


def test_months_by_name() -> None:
    assert month_name("2026-11") == "November 2026"
    assert month_name("2026") == "2026"
