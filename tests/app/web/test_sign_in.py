"""Signing in and out: one message, next address kept, guessing slowed down, tokens in every form."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from argon2 import Type
from fastapi import FastAPI
from sqlalchemy import select

from app.auth import accounts
from app.auth import pages as sign_in_pages
from app.auth.sessions import COOKIE, safe_return
from app.auth.throttle import SignInThrottle
from app.auth.tokens import hash_token
from app.persistence.models import Person, WebSession
from app.web import csrf
from tests.conftest import SHIPPED_HASHER
from tests.factories import NOW, PASSWORD
from tests.site import client_of, close_site, make_site, sign_in, token_in

LAB = "lab.de@example.org"


def test_right_password_signs_in_and_goes_to_the_address_kept(site: FastAPI) -> None:
    client = client_of(site)
    wanted = client.get("/inbox?show=all")
    assert wanted.status_code == 303
    assert wanted.headers["location"] == "/sign-in?next=/inbox?show=all"
    form = client.get(wanted.headers["location"])
    assert 'value="/inbox?show=all"' in form.text
    answer = sign_in(client, LAB, next_address="/inbox?show=all")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/inbox?show=all"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Max-Age=43200" in cookie
    assert client.get("/inbox?show=all").status_code == 200


def test_only_the_hash_of_the_cookie_is_stored(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, LAB)
    token = client.cookies[COOKIE]
    with fresh_site.state.context.database.read() as session:
        stored = session.scalars(select(WebSession)).one()
    assert stored.token_hash == hash_token(token)
    assert token not in stored.token_hash


def test_the_cookie_is_secure_where_the_service_is_on_https(tmp_path: Path) -> None:
    app = make_site(tmp_path, base_url="https://testserver")
    client = client_of(app)
    client.base_url = "https://testserver"  # type: ignore[assignment]
    assert "Secure" in sign_in(client, LAB).headers["set-cookie"]
    assert client.get("/").headers["strict-transport-security"]
    close_site(app)


def test_wrong_password_and_unknown_person_get_the_same_answer(site: FastAPI) -> None:
    first = sign_in(client_of(site), LAB, "not the password")
    second = sign_in(client_of(site), "nobody@example.org", "not the password")
    assert first.status_code == second.status_code == 422
    assert sign_in_pages.FAILURE in first.text

    def plain(text: str, email: str) -> str:
        return text.replace(token_in(text), "").replace(email, "")

    assert plain(first.text, LAB) == plain(second.text, "nobody@example.org")
    assert "<title>Error: Sign in - NPS Early Warning</title>" in first.text


def test_a_wrong_password_costs_the_same_work_for_anybody(site: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hash is worked out whether the e-mail is known or not: the time tells nothing."""
    hasher, work = accounts._hasher, []

    class Counted:
        def verify(self, stored: str, given: str) -> bool:
            work.append(stored.rpartition("$")[0].rpartition("$")[0])  # the parameters of the hash, that is its cost
            return hasher.verify(stored, given)

    monkeypatch.setattr(accounts, "_hasher", Counted())
    for email in (LAB, "nobody@example.org"):
        assert sign_in(client_of(site), email, "not the password").status_code == 422
    assert len(work) == 2
    assert work[0] == work[1]


def test_the_shipped_hash_is_argon2id_with_the_work_that_rfc_9106_recommends() -> None:
    """Its second choice, for where memory is short: 64 MiB, three passes, four lanes."""
    assert SHIPPED_HASHER.type is Type.ID
    assert SHIPPED_HASHER.memory_cost >= 64 * 1024
    assert SHIPPED_HASHER.time_cost >= 3
    assert SHIPPED_HASHER.parallelism >= 4


def test_a_disabled_person_is_told_no_more_and_loses_the_sign_in(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, LAB)
    with fresh_site.state.context.database.write() as session:
        session.scalars(select(Person).where(Person.email == LAB)).one().disabled_at = NOW
    assert client.get("/reports").status_code == 303
    assert sign_in_pages.FAILURE in sign_in(client_of(fresh_site), LAB).text


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example/",
        "//evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "evil",
        "/\tx",
        "",
    ],
)
def test_a_foreign_next_address_is_refused(site: FastAPI, address: str) -> None:
    assert safe_return(address) == "/"
    assert sign_in(client_of(site), LAB, next_address=address).headers["location"] == "/"


def test_a_sign_in_without_its_token_is_refused(site: FastAPI) -> None:
    client = client_of(site)
    client.get("/sign-in")
    answer = client.post("/sign-in", data={"email": LAB, "password": PASSWORD, "csrf_token": "forged"})
    assert answer.status_code == 422
    assert COOKIE not in client.cookies


def test_signing_out_needs_the_token_and_ends_the_sign_in(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, LAB)
    assert client.post("/sign-out", data={"csrf_token": "forged"}).status_code == 403
    token = token_in(client.get("/").text)
    cookie = client.cookies[COOKIE]
    assert client.post("/sign-out", data={"csrf_token": token}).status_code == 303
    client.cookies.set(COOKIE, cookie)
    assert client.get("/reports").status_code == 303


def test_a_sign_in_ends_after_twelve_hours(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, LAB)
    clock = fresh_site.state.context.now
    clock.now = NOW + timedelta(hours=11, minutes=59)
    assert client.get("/reports").status_code == 200
    clock.now = NOW + timedelta(hours=12)
    assert client.get("/reports").status_code == 303


def test_guessing_is_slowed_down_for_known_and_unknown_alike(fresh_site: FastAPI) -> None:
    for email in (LAB, "nobody@example.org"):
        client = client_of(fresh_site)
        statuses = [sign_in(client, email, "wrong").status_code for _ in range(9)]
        assert statuses == [422] * 8 + [429]
    late = sign_in(client_of(fresh_site), LAB)
    assert late.status_code == 429
    assert int(late.headers["retry-after"]) == 15 * 60
    assert "Try again in 15 minutes" in late.text
    fresh_site.state.context.now.now = NOW + timedelta(minutes=15)
    assert sign_in(client_of(fresh_site), LAB).status_code == 303


def test_an_address_that_tries_many_e_mails_is_slowed_down(fresh_site: FastAPI) -> None:
    throttle = SignInThrottle(fresh_site.state.context.database, b"s", per_email=3, per_address=5)
    for n in range(5):
        assert throttle.wait(email=f"{n}@example.org", address="192.0.2.1", now=NOW) is None
        throttle.failed(email=f"{n}@example.org", address="192.0.2.1", now=NOW)
    assert throttle.wait(email="new@example.org", address="192.0.2.1", now=NOW) == timedelta(minutes=15)
    assert throttle.wait(email="new@example.org", address="192.0.2.2", now=NOW) is None


def test_a_right_password_clears_the_count_of_its_e_mail(fresh_site: FastAPI) -> None:
    throttle = SignInThrottle(fresh_site.state.context.database, b"s", per_email=2, per_address=50)
    for _ in range(2):
        throttle.failed(email="A@example.org ", address="192.0.2.1", now=NOW)
    assert throttle.wait(email="a@example.org", address="192.0.2.9", now=NOW) is not None
    throttle.succeeded(email="a@example.org")
    assert throttle.wait(email="a@example.org", address="192.0.2.9", now=NOW) is None


def test_a_printed_token_differs_each_time_and_still_matches() -> None:
    token = csrf.new_token()
    first, second = csrf.mask(token), csrf.mask(token)
    assert first != second
    assert csrf.matches(first, token)
    assert csrf.matches(second, token)
    assert not csrf.matches(first, csrf.new_token())
    assert not csrf.matches("", token)
    assert not csrf.matches("é", token)


def test_a_lost_sign_in_sends_a_part_of_a_page_to_the_whole_sign_in(site: FastAPI) -> None:
    answer = client_of(site).get("/inbox", headers={"hx-request": "true", "hx-current-url": "http://testserver/inbox?show=all"})
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/sign-in?next=/inbox?show=all"


def test_the_look_is_kept_and_printed_by_the_server(fresh_site: FastAPI) -> None:
    client = client_of(fresh_site)
    sign_in(client, LAB)
    text = client.get("/account").text
    assert '<html lang="en" data-theme="system">' in text
    assert client.post("/account", data={"csrf_token": "forged", "theme": "dark"}).status_code == 403
    assert client.post("/account", data={"csrf_token": token_in(text), "theme": "loud"}).status_code == 422
    answer = client.post("/account", data={"csrf_token": token_in(text), "theme": "dark"})
    assert '<html lang="en" data-theme="dark">' in client.get(answer.headers["location"]).text
    assert client.post("/account", data={"csrf_token": token_in(text), "theme": "dark", "shortcuts": "loud"}).status_code == 422
    for sent, printed in (("off", ' data-shortcuts="off"'), ("", ' data-shortcuts="off"'), ("on", "")):  # unsaid: as it was
        client.post("/account", data={"csrf_token": token_in(text), "theme": "dark", "shortcuts": sent})
        assert f'<html lang="en" data-theme="dark"{printed}>' in client.get("/account").text


def test_signing_out_everywhere_ends_every_sign_in_of_the_person(fresh_site: FastAPI) -> None:
    first, second, other = client_of(fresh_site), client_of(fresh_site), client_of(fresh_site)
    for client in (first, second):
        sign_in(client, LAB)
    sign_in(other, "lab.fr@example.org")
    first.post("/account/sign-out-everywhere", data={"csrf_token": token_in(first.get("/account").text)})
    assert [client.get("/reports").status_code for client in (first, second, other)] == [303, 303, 200]
