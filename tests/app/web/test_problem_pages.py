"""Every refusal as a page: a heading in words, what to do, and a reference under which the operator finds it; never a trace."""

from __future__ import annotations

import logging
import re

import pytest
from fastapi import APIRouter
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from app.problems import Problem
from tests.conftest import Service

# status: the problem behind it, and what the page must say
PAGES = {
    404: ("not-found", "Page not found", "Check the address."),
    409: ("conflict", "The record is in another state", "Open the record again to see how it stands now"),
    412: ("stale-version", "Somebody edited first", "Open the record again, compare"),
    422: ("validation", "The address or form cannot be read", "Go back and change what is named above."),
    429: ("rate-limited", "Too many requests", "Wait a little and try again."),
    500: ("", "Something went wrong here", "quote the reference to the operator"),
    503: ("", "The service cannot answer now", "Try again in a few seconds."),
}


@pytest.fixture
def client(sqlite_service: Service) -> TestClient:
    """The whole service, with one more page that refuses in each of these ways."""
    router = APIRouter()

    @router.get("/refuses/{status}")
    def refuses(status: int) -> None:
        if status == 500:
            raise RuntimeError("a secret detail of app/secret.py")
        if status == 503:
            raise OperationalError("SELECT secret FROM detail", {}, Exception("locked"))
        raise Problem(
            PAGES[status][0], "Revision 3 was written meanwhile.", headers={"Retry-After": "9"} if status == 429 else {}
        )

    app = sqlite_service.client.app
    app.include_router(router)  # type: ignore[attr-defined]
    return sqlite_service.client


def test_every_refusal_has_a_page_in_words_with_a_reference(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    seen = set()
    for status, (_, title, mend) in PAGES.items():
        with caplog.at_level(logging.ERROR):
            answer = client.get(f"/refuses/{status}", headers={"accept": "text/html"})
        text = answer.text
        assert answer.status_code == status
        assert re.findall(r"<h1>(.*?)</h1>", text) == [title]
        assert f"<title>Error: {title} - NPS Early Warning</title>" in text
        assert mend in text
        assert ("Revision 3 was written meanwhile." in text) == (status < 500)
        reference = re.search(r'Reference: <span class="mono">(\w+)</span>', text)
        assert reference, status
        seen.add(reference.group(1))
        if status == 500:
            assert reference.group(1) in caplog.text  # under which the error stands in the log
        else:
            assert reference.group(1) == answer.headers["x-request-id"]  # of every line of the log
        for trace in ("Traceback", "secret", "RuntimeError", "OperationalError", ".py"):
            assert trace not in text, status
        assert answer.headers["cache-control"] == "no-store"
    assert len(seen) == len(PAGES)
    assert client.get("/refuses/429", headers={"accept": "text/html"}).headers["retry-after"] == "9"


def test_a_row_that_one_may_not_see_answers_as_one_that_does_not_exist(sqlite_service: Service) -> None:
    """The same page for both, word for word, but for the reference."""
    lab, abroad = sqlite_service.key("lab", "DE"), sqlite_service.key("lab", "FR")
    body = {
        "lab_reference": "E-1",
        "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "seizure"},
        "substances": [{"structure": {"smiles": "CCC(=O)N(c1ccc(F)c(F)c1)C1CCN(CCc2ccccc2C)CC1"}, "techniques": ["gc-ms"]}],
        "tlp": "AMBER",
    }
    sent = sqlite_service.client.post("/v1/reports", json=body, headers=lab).json()
    asked = (
        (f"/substances/{sent['substances'][0]['substance_id']}", {"accept": "text/html"}),
        (f"/v1/reports/{sent['id']}", abroad),
    )
    for path, headers in asked:
        hidden = sqlite_service.client.get(path, headers=headers)
        nowhere = sqlite_service.client.get(f"{path[:-26]}01ARZ3NDEKTSV4RRFFQ69G5FAV", headers=headers)
        assert (hidden.status_code, nowhere.status_code) == (404, 404), path
        one, other = (re.sub(r"[0-9A-HJKMNP-TV-Z]{26}", "ID", answer.text) for answer in (hidden, nowhere))
        assert one == other, path
