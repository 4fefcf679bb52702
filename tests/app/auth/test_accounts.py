"""Second factors, sign-ins one by one, passwords, people, keys with scopes and overlap, rates, and secrets under a new key."""

from __future__ import annotations

import base64
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from app.auth.sessions import COOKIE
from app.auth.throttle import SignInThrottle
from app.cli import main
from app.notifications.secrets import SecretBox
from app.persistence.models import ApiKey, AuditEntry, Person, SignInFailure, Subscription, WebSession
from tests.conftest import Service
from tests.factories import NOW, PASSWORD
from tests.site import client_of, close_site, make_site, sign_in, token_in

LAB = "lab.de@example.org"
ADMIN = "admin.at@example.org"


@pytest.fixture
def site(tmp_path: Path) -> FastAPI:
    app = make_site(tmp_path)
    yield app
    close_site(app)


def _code(secret: str, site: FastAPI, *, steps: int = 0) -> str:
    key = base64.b32decode(secret.replace(" ", ""))
    return TOTP(key, 6, SHA1(), 30).generate(site.state.context.now().timestamp() + 30 * steps).decode()


def _enrol(site: FastAPI, client: TestClient) -> tuple[str, list[str]]:
    """Sets up the second factor through the pages; the secret and the recovery codes."""
    token = token_in(client.get("/account").text)
    assert client.post("/account/second-factor", data={"csrf_token": token, "current": PASSWORD}).status_code == 303
    page = client.get("/account/second-factor").text
    secret = re.search(r'<dd class="mono">([A-Z2-7 ]+)</dd>', page)
    assert secret
    done = client.post("/account/second-factor/confirm", data={"csrf_token": token_in(page), "code": _code(secret[1], site)})
    assert done.status_code == 200, done.text
    return secret[1], re.findall(r'<li class="mono">([0-9a-f]{5}-[0-9a-f]{5})</li>', done.text)


def _second_step(client: TestClient, code: str) -> int:
    form = sign_in(client, LAB)
    assert form.status_code == 200, "a right password alone must not open the account"
    assert COOKIE not in client.cookies
    return client.post("/sign-in/code", data={"csrf_token": token_in(form.text), "code": code, "next": "/reports"}).status_code


def test_a_second_factor_is_asked_for_and_each_code_works_once(site: FastAPI) -> None:
    first = client_of(site)
    sign_in(first, LAB)
    secret, recovery = _enrol(site, first)
    assert len(recovery) == 10
    assert _second_step(client_of(site), "000000") == 422
    assert _second_step(client_of(site), _code(secret, site)) == 422, "the code that turned it on was used"
    site.state.context.now.now += timedelta(seconds=60)
    code = _code(secret, site)
    assert _second_step(client_of(site), code) == 303
    assert _second_step(client_of(site), code) == 422
    assert _second_step(client_of(site), recovery[0]) == 303
    assert _second_step(client_of(site), recovery[0]) == 422
    with site.state.context.database.read() as session:
        person = session.scalars(select(Person).where(Person.email == LAB)).one()
        assert secret.replace(" ", "") not in str(person.totp_secret)
        assert len(person.recovery or ()) == 9
        assert not set(recovery) & set(person.recovery or ())


def test_a_forged_or_old_ticket_opens_nothing(site: FastAPI) -> None:
    first = client_of(site)
    sign_in(first, LAB)
    secret, _ = _enrol(site, first)
    site.state.context.now.now += timedelta(minutes=1)
    client = client_of(site)
    form = sign_in(client, LAB)
    with site.state.context.database.read() as session:
        other = session.scalars(select(Person.id).where(Person.email == ADMIN)).one()
    data = {"csrf_token": token_in(form.text), "code": _code(secret, site), "next": "/"}
    ticket = client.cookies["nps_second"]
    forged = client_of(site)
    forged.cookies.update({"nps_second": other + ticket[26:], "nps_form": client.cookies["nps_form"]})
    assert forged.post("/sign-in/code", data=data).status_code == 422
    site.state.context.now.now += timedelta(minutes=6)
    late = client_of(site)
    late.cookies.update({"nps_second": ticket, "nps_form": client.cookies["nps_form"]})
    assert late.post("/sign-in/code", data={**data, "code": _code(secret, site)}).status_code == 422
    assert COOKIE not in late.cookies


def test_codes_are_slowed_down_and_a_right_password_does_not_clear_them(site: FastAPI) -> None:
    first = client_of(site)
    sign_in(first, LAB)
    _enrol(site, first)
    answers = [_second_step(client_of(site), "123456") for _ in range(9)]
    assert answers == [422] * 8 + [429]


def test_taking_it_off_needs_a_code_and_setting_it_up_the_password(site: FastAPI) -> None:
    client = client_of(site)
    sign_in(client, LAB)
    token = token_in(client.get("/account").text)
    assert client.post("/account/second-factor", data={"csrf_token": token, "current": "wrong"}).status_code == 422
    _, recovery = _enrol(site, client)
    assert client.post("/account/second-factor/remove", data={"csrf_token": token, "code": "000000"}).status_code == 422
    assert client.post("/account/second-factor/remove", data={"csrf_token": token, "code": recovery[3]}).status_code == 303
    assert sign_in(client_of(site), LAB).status_code == 303


def test_sign_ins_are_listed_and_ended_one_by_one(site: FastAPI) -> None:
    first, second, other = client_of(site), client_of(site), client_of(site)
    for client in (first, second):
        sign_in(client, LAB)
    sign_in(other, "lab.fr@example.org")
    page = first.get("/account").text
    (handle,) = re.findall(r"/account/sign-ins/([0-9a-f]{16})/end", page)
    data = {"csrf_token": token_in(other.get("/account").text)}
    assert other.post(f"/account/sign-ins/{handle}/end", data=data).status_code == 404, "it is not theirs"
    assert first.post(f"/account/sign-ins/{handle}/end", data={"csrf_token": token_in(page)}).status_code == 303
    assert [client.get("/reports").status_code for client in (first, second)] == [200, 303]


def test_changing_the_password_needs_the_old_one_and_ends_other_sign_ins(site: FastAPI) -> None:
    first, second = client_of(site), client_of(site)
    for client in (first, second):
        sign_in(client, LAB)
    data = {
        "csrf_token": token_in(first.get("/account").text),
        "current": PASSWORD,
        "new": "another long one",
        "again": "another long one",
    }
    for wrong in (
        {"current": "no"},
        {"again": "differs"},
        {"new": "short", "again": "short"},
        {"new": "a" * 14, "again": "a" * 14},
    ):
        assert first.post("/account/password", data={**data, **wrong}).status_code == 422, wrong
    assert first.post("/account/password", data=data).status_code == 303
    assert [client.get("/reports").status_code for client in (first, second)] == [200, 303]
    assert sign_in(client_of(site), LAB).status_code == 422
    assert sign_in(client_of(site), LAB, "another long one").status_code == 303


def test_failures_are_shared_between_processes_and_tell_nobodys_name(site: FastAPI) -> None:
    context = site.state.context
    one, two = (SignInThrottle(context.database, context.secret, per_email=2) for _ in range(2))
    one.failed(email="Somebody@example.org", address="192.0.2.1", now=NOW)
    two.failed(email="somebody@example.org ", address="192.0.2.2", now=NOW)
    for throttle in (one, two):
        assert throttle.wait(email="somebody@example.org", address="192.0.2.3", now=NOW) == timedelta(minutes=15)
    with context.database.read() as session:
        assert "example.org" not in str(session.scalars(select(SignInFailure.who)).all())
        assert session.scalar(select(AuditEntry.id).limit(1)) is not None


def test_the_administrators_page_makes_and_cuts_off_people_and_keys(site: FastAPI) -> None:
    admin = client_of(site)
    sign_in(admin, ADMIN)
    page = admin.get("/accounts").text
    token = token_in(page)
    org = re.search(r'<option value="([^"]+)">Test laboratory DE', page)
    assert org
    wish = {"csrf_token": token, "org": org[1], "email": "New@example.org", "name": "New", "role": "lab"}
    made = admin.post("/accounts/people", data=wish)
    password = re.search(r'new@example.org: <span class="mono">([^<]+)</span>', made.text)
    assert password
    client = client_of(site)
    assert sign_in(client, "new@example.org", password[1]).status_code == 303
    for wrong in ({"role": "analyst"}, {"email": "x"}, {"email": LAB}, {"org": "?"}):
        assert admin.post("/accounts/people", data={**wish, **wrong}).status_code == 422, wrong
    with site.state.context.database.read() as session:
        new = session.scalars(select(Person.id).where(Person.email == "new@example.org")).one()
        own = session.scalars(select(Person.id).where(Person.email == ADMIN)).one()
    assert admin.post(f"/accounts/people/{own}/disable", data={"csrf_token": token}).status_code == 409
    assert admin.post(f"/accounts/people/{new}/disable", data={"csrf_token": token}).status_code == 303
    assert client.get("/reports").status_code == 303, "an open sign-in ends with the account"
    assert sign_in(client_of(site), "new@example.org", password[1]).status_code == 422

    key = admin.post(
        "/accounts/keys", data={"csrf_token": token, "org": org[1], "role": "lab", "scopes": "report.send", "note": "LIMS"}
    )
    assert re.search(r'<span class="mono">nps_[\w-]{43}</span>', key.text)
    assert (
        admin.post("/accounts/keys", data={"csrf_token": token, "org": org[1], "role": "lab", "scopes": "accounts"}).status_code
        == 422
    )
    with site.state.context.database.read() as session:
        key_id = session.scalars(select(ApiKey.id).where(ApiKey.note == "LIMS")).one()
    assert "in place of" in admin.post(f"/accounts/keys/{key_id}/rotate", data={"csrf_token": token}).text
    assert admin.post(f"/accounts/keys/{key_id}/revoke", data={"csrf_token": token}).status_code == 303
    assert admin.post(f"/accounts/keys/{key_id}/rotate", data={"csrf_token": token}).status_code == 409


def test_a_key_is_cut_to_its_scopes_and_replaced_with_an_overlap(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", service.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    service.key("lab", "DE", name="lab")
    run = CliRunner()
    made = run.invoke(
        main, ["keys", "create", "--org", service.org_id("lab"), "--role", "lab", "--scope", "report.read", "--json"]
    )
    assert made.exit_code == 0, made.output
    cut = json.loads(made.output)
    headers = {"Authorization": f"Bearer {cut['key']}"}
    assert service.client.get("/v1/reports", headers=headers).status_code == 200
    refused = service.client.post("/v1/reports", json={}, headers=headers)
    assert (refused.status_code, "cut to other rights" in refused.json()["detail"]) == (403, True)
    wrong = run.invoke(main, ["keys", "create", "--org", service.org_id("lab"), "--role", "lab", "--scope", "accounts"])
    assert wrong.exit_code == 2

    renewed = run.invoke(main, ["keys", "rotate", cut["id"], "--overlap-hours", "1", "--json"])
    assert renewed.exit_code == 0, renewed.output
    fresh = {"Authorization": f"Bearer {json.loads(renewed.output)['key']}"}
    with service.context.database.read() as session:
        ends = session.get_one(ApiKey, cut["id"]).expires_at
    assert ends is not None
    service.clock.at = ends - timedelta(seconds=1)
    assert [service.client.get("/v1/reports", headers=h).status_code for h in (headers, fresh)] == [200, 200]
    assert service.client.post("/v1/reports", json={}, headers=fresh).status_code == 403
    service.clock.at = ends
    assert [service.client.get("/v1/reports", headers=h).status_code for h in (headers, fresh)] == [401, 200]


def test_people_by_the_command_line(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", service.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    service.key("authority", "DE", name="authority")
    run = CliRunner()
    org = service.org_id("authority")
    made = run.invoke(main, ["people", "create", "--org", org, "--email", "a@example.org", "--name", "A", "--role", "authority"])
    assert made.exit_code == 0, made.output
    again = run.invoke(main, ["people", "create", "--org", org, "--email", "A@example.org", "--name", "A", "--role", "authority"])
    assert again.exit_code == 2
    assert run.invoke(main, ["people", "disable", "a@example.org"]).exit_code == 0
    assert "disabled" in run.invoke(main, ["people", "list"]).output
    assert run.invoke(main, ["people", "enable", "a@example.org"]).exit_code == 0
    reset = run.invoke(main, ["people", "reset", "a@example.org"])
    assert reset.exit_code == 0
    assert reset.output.splitlines()[0] not in made.output
    assert run.invoke(main, ["people", "disable", "nobody@example.org"]).exit_code == 2


def test_every_answer_to_a_key_tells_what_is_left_of_its_rate(sqlite_service: Service) -> None:
    service = sqlite_service
    key = service.key("lab", "DE")
    service.context.rates.limit = 3
    left = [service.client.get("/v1/vocabularies", headers=key).headers["ratelimit"] for _ in range(3)]
    assert left == ['"minute";r=2;t=60', '"minute";r=1;t=60', '"minute";r=0;t=60']
    refused = service.client.get("/v1/vocabularies", headers=key)
    assert (refused.status_code, refused.headers["retry-after"], refused.headers["ratelimit-policy"]) == (
        429,
        "60",
        '"minute";q=3;w=60',
    )
    service.clock.at += timedelta(seconds=60)
    assert service.client.get("/v1/vocabularies", headers=key).status_code == 200


def test_an_address_without_a_key_or_with_wrong_ones_is_counted_too(sqlite_service: Service) -> None:
    service = sqlite_service
    service.context.addresses.limit = 2
    assert service.client.get("/v1/alerts").status_code == 200
    assert service.client.get("/v1/alerts", headers={"Authorization": "Bearer nps_wrong"}).status_code == 401
    assert service.client.get("/v1/alerts").status_code == 429
    assert service.client.get("/v1/alerts", headers={"Authorization": "Bearer nps_wrong"}).status_code == 429
    assert service.client.get("/v1/alerts", headers=service.key("lab", "DE")).status_code == 200


def test_secrets_move_to_a_new_key_and_open_under_both_meanwhile(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    wish = {"channel": "webhook", "url": "https://authority.example/hook"}
    made = service.client.post("/v1/subscriptions", json=wish, headers=service.key("authority", "DE")).json()
    monkeypatch.setenv("DATABASE_URL", service.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "the new key")
    refused = CliRunner().invoke(main, ["secrets", "rotate"])
    assert (refused.exit_code, "NPS_SECRET_KEY_PREVIOUS" in refused.output) == (1, True)
    monkeypatch.setenv("NPS_SECRET_KEY_PREVIOUS", "for tests only")
    done = CliRunner().invoke(main, ["secrets", "rotate"])
    assert (done.exit_code, "1 secrets" in done.output) == (0, True), done.output
    with service.context.database.read() as session:
        (row,) = session.scalars(select(Subscription.secrets)).one()
    from app.settings import Settings

    box = SecretBox(Settings(NPS_SECRET_KEY="the new key").secret())
    assert box.open(row["secret"]) == made["secret"]
    assert (
        SecretBox(service.context.secret, Settings(NPS_SECRET_KEY="the new key").secret()).open(row["secret"]) == made["secret"]
    )


def test_the_key_file_is_replaced_beside_the_embedded_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_DATA_DIR", str(tmp_path))
    CliRunner().invoke(main, ["orgs", "list"])
    first = CliRunner().invoke(main, ["secrets", "rotate"])
    assert first.exit_code == 0, first.output
    old, new = ((tmp_path / name).read_text() for name in ("secret-key.previous", "secret-key"))
    assert old != new
    for name in ("secret-key", "secret-key.previous"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_nothing_tells_whether_an_e_mail_is_known(site: FastAPI) -> None:
    texts = set()
    for email in (LAB, "nobody@example.org"):
        client = client_of(site)
        answer = sign_in(client, email, "wrong password")
        text = re.sub(r'name="csrf_token" value="[^"]+"', "", answer.text).replace(email, "")
        texts.add((answer.status_code, text, tuple(sorted(answer.headers.keys()))))
    assert len(texts) == 1
    with site.state.context.database.read() as session:
        assert session.scalar(select(WebSession.token_hash)) is None
