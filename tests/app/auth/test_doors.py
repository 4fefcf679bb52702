"""Every operation and page times everybody who may knock: each with the outcome that the permission table and section 7 give it.

The world holds one AMBER report of a German laboratory with a death and a substance that nobody else reported. What each reader
may open of it is written here in words of its own (`MAY_OPEN`), not taken from the code under test.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import APIRouter

from app.auth import accounts, sessions
from app.auth.doors import DOORS, Door, DoorError, Rows, check_doors, routes_of
from app.auth.permissions import Role
from app.main import create_app
from app.persistence.models import ApiKey, WebSession
from app.web import csrf
from tests.conftest import NOW, Service

# who knocks: name, kind of the organisation, its country, role
PEOPLE = (
    ("sender", "lab", "DE", "lab"),
    ("lab of another organisation", "lab", "DE", "lab"),
    ("lab abroad", "lab", "FR", "lab"),
    ("authority", "authority", "DE", "authority"),
    ("authority abroad", "authority", "FR", "authority"),
    ("reviewer", "reviewer", "CH", "reviewer"),
    ("analyst", "operator", "AT", "analyst"),
    ("admin", "operator", "AT", "admin"),
    ("industry", "industry", "GB", "industry"),
)
NOBODY = ("anonymous", "expired", "revoked")

# who may open what, by the parameter that names it: domain guide, section 7, for an AMBER row of Germany
MAY_OPEN = {
    "report_id": {"sender", "authority", "reviewer", "analyst"},
    "substance_id": {"sender", "authority", "reviewer", "analyst"},
    # not approved yet: the laboratory and the authorities of the country, and the analyst who decides
    "alert_id": {"sender", "authority", "analyst"},
    "subscription_id": {"sender"},
    # made by the reviewer of the reviewers' rows
    "dossier_id": {"reviewer", "analyst"},
    # waits for an analyst
    "use_id": {"industry", "analyst"},
}
# what a path holds beside the rows of the world
FIXED = {
    "change": "rotate",
    "country": "DE",
    "digest": "0",
    "form": "json",
    "package": "annual",
    "group": "nitazene",
    "kind": "csv",
    "instrument": "UN-1961",
    "name": "connect",
    "name:path": "app.css",
    "slug": "validation",
    "which": "month",
}
# parameters that name no row here: whoever may ask gets 404, or 422 where the body is looked at first
NAMES_NOTHING = {
    "delivery_id": "msg_01JD0000000000000000000000",
    "handle": "0000000000000000",
    "event_id": "01JD0000000000000000000000",
    "item_id": "01JD0000000000000000000000",
    "import_id": "01JD0000000000000000000000",
    "job_id": "01JD0000000000000000000000",
    "key_id": "x",
    "note_id": "01JD0000000000000000000000",
    "person_id": "x",
    "task_id": "01JD0000000000000000000000",
    "row_id": "01JD0000000000000000000000",
    "token": "x",
}
RULE = "us-csa/fentanyl-related"
QUERIES = {
    "GET /law/rule": f"?id={RULE}",
    "GET /v1/dossiers/{dossier_id}/records": "?figure=13.all",
    "GET /dossiers/{dossier_id}/records": "?figure=13.all",
}
# a body that each POST takes; without one `{}` is sent, which a permitted caller gets a 422 for
BODIES: dict[str, Any] = {
    "POST /v1/reports/{report_id}/withdraw": {"reason": "by mistake"},
    "POST /v1/subscriptions/{subscription_id}/redeliver": {"all_dead": True},
    "POST /v1/activity-reports/{row_id}/withdraw": {"reason": "by mistake"},
    "POST /v1/aggregate-reports/{row_id}/withdraw": {"reason": "by mistake"},
    "POST /v1/incidents/{row_id}/withdraw": {"reason": "by mistake"},
    "POST /v1/reports/{report_id}/consent": {"tlp": "AMBER"},
    "POST /v1/alerts/{alert_id}/label": {"tlp": "AMBER+STRICT", "note": "for the test"},
    "POST /v1/legitimate-uses/{use_id}/confirm": {"note": "for the test"},
    "POST /v1/legitimate-uses/{use_id}/refuse": {"note": "for the test"},
    "POST /v1/legitimate-uses/{use_id}/withdraw": {"reason": "by mistake"},
    "POST /v1/screen": {"structures": [{"name": "a", "smiles": "C"}]},
    "POST /v1/substances/search": {"text": "fentanyl"},
}
# these change what later doors are asked about
LAST = (
    "POST /v1/alerts/{alert_id}/label",
    "POST /v1/alerts/{alert_id}/approve", "POST /alerts/{alert_id}/approve", "PUT /v1/reports/{report_id}",
    "POST /v1/reports/{report_id}/withdraw", "DELETE /v1/subscriptions/{subscription_id}",
    "POST /account/sign-out-everywhere", "POST /sign-out",
)  # fmt: skip


@dataclass
class Matrix:
    """The world: a header and a cookie for each who knocks, and the ids of what there is."""

    service: Service
    headers: dict[str, dict[str, str]] = field(default_factory=dict)
    people: dict[str, tuple[str, str]] = field(default_factory=dict)  # cookie and form token
    roles: dict[str, Role] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)


REPORT = {
    "lab_reference": "MATRIX-AMBER-DEATH",
    "sample": {"country": "DE", "date_sampled": "2026-11-03", "context": "biological", "context_detail": "post_mortem"},
    "substances": [
        {"structure": {"smiles": "CCC(=O)N(c1ccc(F)c(F)c1)C1CCN(CCc2ccccc2C)CC1"}, "techniques": ["gc-ms", "nmr"],
         "schymanski_level": "1", "reference_material": "certified", "isomers_excluded": "yes"},
    ],
    "cases": [{"seriousness": "death", "role": "sole_cause", "exposure_evidence": "biological"}],
    "tlp": "AMBER",
}  # fmt: skip


@pytest.fixture
def matrix(sqlite_service: Service) -> Matrix:
    service = sqlite_service
    found = Matrix(service)
    with service.context.database.write() as session:
        for name, kind, country, role in PEOPLE:
            org = accounts.create_organisation(session, name=name, kind=kind, country=country, test=False, now=NOW)
            _, secret = accounts.create_key(session, org_id=org.id, role=role, now=NOW)
            person = accounts.create_person(
                session, org_id=org.id, email=f"{name.replace(' ', '.')}@example.org", name=name, role=role,
                password="a long password for tests", now=NOW,
            )  # fmt: skip
            cookie = sessions.open_session(session, person.id, NOW)
            session.flush()
            token = session.query(WebSession).filter(WebSession.person_id == person.id).one().csrf_token
            found.headers[name] = {"Authorization": f"Bearer {secret}"}
            found.people[name] = (cookie, token)
            found.roles[name] = Role(role)
            if name == "sender":
                for state in ("expired", "revoked"):
                    key, secret = accounts.create_key(session, org_id=org.id, role=role, now=NOW)
                    session.get_one(ApiKey, key.id).expires_at = NOW - timedelta(days=1) if state == "expired" else None
                    session.get_one(ApiKey, key.id).revoked_at = NOW if state == "revoked" else None
                    found.headers[state] = {"Authorization": f"Bearer {secret}"}
    found.headers["anonymous"] = {}
    sent = service.client.post("/v1/reports", json=REPORT, headers=found.headers["sender"])
    assert sent.status_code == 201, sent.text
    subscription = service.client.post(
        "/v1/subscriptions", json={"channel": "inbox", "tlp_max": "GREEN"}, headers=found.headers["sender"]
    )
    assert subscription.status_code == 201, subscription.text
    declared = service.client.post(
        "/v1/legitimate-uses",
        json={"name": "isotonitazene", "use": "none", "source": "own search"},
        headers=found.headers["industry"],
    )
    assert declared.status_code == 201, declared.text
    answer = sent.json()
    service.clock.at += timedelta(days=1)  # a dossier rests on the snapshot of the day before
    substance = answer["substances"][0]["substance_id"]
    dossier = service.client.get(f"/v1/substances/{substance}/dossier.json", headers=found.headers["reviewer"])
    assert dossier.status_code == 200, dossier.text
    service.clock.at -= timedelta(days=1)
    found.ids = {
        "report_id": answer["id"], "substance_id": answer["substances"][0]["substance_id"], "alert_id": answer["alerts"][-1],
        "subscription_id": subscription.json()["id"], "dossier_id": dossier.json()["id"],
        "use_id": declared.json()["id"],
    }  # fmt: skip
    return found


def _expected(name: str, door: Door, who: str, matrix: Matrix) -> Callable[[httpx.Response], bool]:
    """The outcome of this door for this person, as a condition on the answer."""
    path = name.split(" ", 1)[1]
    page = not _for_programs(path)
    if who in ("expired", "revoked") and not page and door.rows is not Rows.LINK:
        return lambda answer: answer.status_code == 401
    anonymous = who in NOBODY
    if door.action is not None and anonymous:
        if page:
            return lambda answer: answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
        return lambda answer: answer.status_code == 401
    if door.action is not None and matrix.roles[who] not in door.roles:
        return lambda answer: answer.status_code == 403
    parameters = set(re.findall(r"{([^}]+)}", path))
    if parameters & set(NAMES_NOTHING) and name != "GET /v1/subscriptions/{subscription_id}/confirm/{token}":
        return lambda answer: answer.status_code in (404, 422)  # 422 where the body is looked at first
    for parameter in parameters & set(MAY_OPEN):
        allowed = set(MAY_OPEN[parameter])
        if door.rows is Rows.SENT:
            allowed &= {"sender"}
        if "/dossier." in path and "substance_id" in parameters:
            allowed &= {"reviewer", "analyst"}  # the rows that are somebody's own are in no dossier
        if door.rows is Rows.TEXT:
            allowed &= {"sender", "authority"}
        if name.endswith(("/deliveries", "/coverage")):
            allowed |= {"admin"}  # the operator follows deliveries of every alert, without its content
        if door.rows is Rows.LINK:
            continue
        if who not in allowed:
            return lambda answer: answer.status_code == 404
    return lambda answer: (
        answer.status_code < 500
        and answer.status_code not in (401, 403, 404)
        and "sign-in" not in answer.headers.get("location", "")
    )


def _for_programs(path: str) -> bool:
    """Whether a door is asked with a key, not with a sign-in."""
    return path.startswith("/v1/") or path == "/metrics"


def _knock(name: str, door: Door, who: str, matrix: Matrix, *, token: bool = True) -> httpx.Response:
    method, path = name.split(" ", 1)
    for parameter in re.findall(r"{([^}]+)}", path):
        value = (matrix.ids | FIXED | NAMES_NOTHING).get(parameter)
        assert value is not None, f"{name}: say in this test what stands for {parameter}"
        path = path.replace(f"{{{parameter}}}", value)
    path += QUERIES.get(name, "")
    client = matrix.service.client
    client.cookies.clear()
    if _for_programs(path):
        body = BODIES.get(name, {}) if method in ("POST", "PUT", "PATCH") else None
        extra = {"If-Match": '"1"'} if method == "PUT" else {}
        return client.request(method, path, headers={**matrix.headers[who], **extra}, json=body, follow_redirects=False)
    headers = {"accept": "text/html"}
    data = None
    if who in matrix.people:
        cookie, secret = matrix.people[who]
        headers["cookie"] = f"{sessions.COOKIE}={cookie}"
        data = (
            {"csrf_token": csrf.mask(secret), "theme": "dark", "id": RULE, "structure": "C"} if method == "POST" and token else {}
        )
    return client.request(method, path, headers=headers, data=data, follow_redirects=False)


def test_every_door_for_everybody(matrix: Matrix) -> None:
    names = [name for name, _ in routes_of(matrix.service.client.app)]  # type: ignore[arg-type]
    ordered = sorted(names, key=lambda name: (name in LAST, LAST.index(name) if name in LAST else 0, not name.startswith("GET")))
    wrong = []
    knocks = 0
    for name in ordered:
        door = DOORS[name]
        if name in ("POST /sign-in", "POST /sign-in/code"):
            continue  # tests/app/web/test_sign_in.py, tests/app/auth/test_accounts.py
        # those who may not first, the sender last: what a door changes must not answer for the others
        for who in (*NOBODY, *(person[0] for person in reversed(PEOPLE))):
            answer = _knock(name, door, who, matrix)
            knocks += 1
            if not _expected(name, door, who, matrix)(answer):
                wrong.append(f"{name} for {who}: {answer.status_code} {answer.headers.get('location', '')} {answer.text[:160]}")
    assert not wrong, "\n".join(wrong)
    assert knocks >= 12 * 60


# what tells of the AMBER report: its substance by name, key and structure, its ids, its sender, its reference
MARKS = ("{report_id}", "{substance_id}", "difluoro", "KEY", "c(F)c1)C1CCN(CCc2ccccc2C)CC1", "MATRIX-AMBER-DEATH")
# where a reader may ask for the substance without knowing its id
QUESTIONS: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/v1/substances?q=KEY", None),
    ("GET", "/v1/substances?sort=newest&limit=200", None),
    ("GET", "/v1/substances?q=CONNECTIVITY", None),
    ("POST", "/v1/substances/search", {"smiles": "SMILES"}),
    ("GET", "/v1/alerts?substance=SUBSTANCE&limit=500", None),
    ("GET", "/v1/alerts?country=DE&type=serious_harm", None),
    ("GET", "/v1/reports?limit=200", None),
)


def test_a_reader_abroad_learns_nothing_of_an_amber_death_by_any_door(matrix: Matrix) -> None:
    """Every GET of the API and of the pages, and every search, by everybody whom section 7 gives no right to the row."""
    service = matrix.service
    shown = service.client.get(f"/v1/substances/{matrix.ids['substance_id']}", headers=matrix.headers["sender"]).json()
    secrets = [
        mark.format(**matrix.ids).replace("KEY", shown["inchikey"])
        for mark in MARKS
        if mark != "difluoro" or "difluoro" in shown["name"].lower()
    ]
    secrets += [shown["name"], shown["connectivity"], shown["smiles"], matrix.ids["alert_id"]]
    told: list[str] = []
    asked = 0

    def look(who: str, where: str, answer: httpx.Response) -> None:
        nonlocal asked
        asked += 1
        # what the caller sent itself comes back in messages and forms; it tells nothing
        text = answer.text if answer.status_code == 200 else ""
        if who == "admin" and where in ("GET /v1/audit", "GET /ops/audit", "GET /ops/audit.csv"):
            for value in matrix.ids.values():
                text = text.replace(value, "")  # the log holds ids, and the operator reads it; nothing else of a row is in it
        if who == "admin" and where.endswith(("/deliveries", "/coverage")):
            text = text.replace(matrix.ids["alert_id"], "")  # the operator follows deliveries by the id it asked with
        told.extend(f"{who} at {where}: {mark}" for mark in secrets if mark in text and mark not in where)

    for who in ("anonymous", "lab of another organisation", "lab abroad", "authority abroad", "industry", "admin"):
        for name, door in DOORS.items():
            if name.startswith("GET"):
                look(who, name, _knock(name, door, who, matrix))
        for method, path, body in QUESTIONS:
            for word, value in (
                ("KEY", shown["inchikey"]), ("CONNECTIVITY", shown["connectivity"]), ("SUBSTANCE", matrix.ids["substance_id"]),
            ):  # fmt: skip
                path = path.replace(word, value)
            sent = {"smiles": shown["smiles"]} if body else None
            service.client.cookies.clear()
            answer = service.client.request(method, path, headers=matrix.headers[who], json=sent)
            look(who, path, answer)
            if answer.status_code == 200 and not path.startswith("/v1/alerts?country"):
                page = answer.json()
                assert page.get("total", 0) == 0 or "newest" in path, (who, path)
                assert not [item for item in page["items"] if item.get("id") in matrix.ids.values()], (who, path)
    assert not told, "\n".join(told)
    assert asked > 200
    # and those who may do see it, so that the marks are the right ones
    assert shown["name"] in service.client.get("/v1/substances?q=" + shown["inchikey"], headers=matrix.headers["reviewer"]).text


def test_counts_do_not_tell_a_reader_abroad_that_the_row_exists(matrix: Matrix) -> None:
    """The number of substances, of newest ones and of countries is the same with and without the AMBER report."""
    service = matrix.service
    abroad, sender = matrix.headers["authority abroad"], matrix.headers["sender"]

    def counts() -> list[Any]:
        found: list[Any] = [
            service.client.get(path, headers=abroad).json().get("total")
            for path in ("/v1/substances?limit=1", "/v1/substances?chemical_group=fentanyl_analogue&limit=1")
        ]
        report = {
            **REPORT,
            "lab_reference": f"N-{len(tellings)}",
            "tlp": "GREEN",
            "cases": [],
            "substances": [{"name": "caffeine"}],
        }
        known = service.client.post("/v1/reports?dry_run=true", json=report, headers=matrix.headers["lab abroad"]).json()
        found += [known["substances"][0]["first_in"], known["substances"][0]["other_labs"]]
        tellings.append(found)
        return found

    tellings: list[list[Any]] = []
    before = counts()
    other = {
        **REPORT,
        "lab_reference": "M-2",
        "substances": [{**REPORT["substances"][0], "structure": {"smiles": "CCC(=O)N(c1ccc(F)c(F)c1)C1CCN(CCc2ccccc2CC)CC1"}}],
    }  # type: ignore[index]
    assert service.client.post("/v1/reports", json=other, headers=sender).status_code == 201
    assert counts() == before


def test_a_form_without_the_sign_ins_token_does_nothing(matrix: Matrix) -> None:
    for name, door in DOORS.items():
        if not door.form:
            continue
        for who, role in matrix.roles.items():
            if role in door.roles:
                assert _knock(name, door, who, matrix, token=False).status_code == 403, (name, who)


def test_every_post_of_a_page_is_marked_as_a_form() -> None:
    for name, door in DOORS.items():
        if name.startswith("POST /") and not name.startswith("POST /v1/") and door.action is not None:
            assert door.form, name


def test_a_route_without_a_line_stops_the_start(matrix: Matrix) -> None:
    app = create_app(matrix.service.context.settings, context=matrix.service.context)
    router = APIRouter()

    @router.get("/v1/secrets")
    def secrets() -> dict[str, str]:
        return {}

    app.include_router(router)
    with pytest.raises(DoorError, match="GET /v1/secrets has no line"):
        check_doors(app)


def test_every_operation_of_the_openapi_document_has_a_line(matrix: Matrix) -> None:
    document = matrix.service.client.get("/openapi.json").json()
    operations = {f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item}
    assert operations <= set(DOORS)
    assert len(operations) >= 35
