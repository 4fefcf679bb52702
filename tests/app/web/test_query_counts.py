"""Every page costs the same number of queries over a small world and over one several times as large."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import event, func, select
from starlette.testclient import TestClient

from app.persistence.models import (
    Attempt,
    Contact,
    CurationItem,
    Detection,
    Dossier,
    ImportJob,
    Measure,
    Snapshot,
    Subscription,
    Task,
)
from tests.factories import NOW, World
from tests.site import client_of, close_site, fill, make_site, sign_in

PEOPLE = {
    "lab": "lab.de@example.org", "authority": "authority.de@example.org", "reviewer": "reviewer.ch@example.org",
    "analyst": "analyst.at@example.org", "admin": "admin.at@example.org",
}  # fmt: skip
# role and address; {s} and {t} are the ids of two substances, {r} of a report of the laboratory
PAGES = (
    ("", "/"), ("", "/substances"), ("", "/substances/{s}"), ("", "/lag"), ("", "/law"),
    ("lab", "/"), ("authority", "/"), ("analyst", "/"),
    ("lab", "/substances?sort=-countries"), ("reviewer", "/substances/{s}"), ("authority", "/substances/{s}"),
    ("reviewer", "/explore?period=36"), ("lab", "/explore?split=country"), ("authority", "/explore?split=substance&view=table"),
    ("reviewer", "/explore?view=map&measure=rate"), ("analyst", "/explore?substance={s}&split=context"),
    ("reviewer", "/detections?period=36"), ("lab", "/detections?by=country"), ("reviewer", "/cases?substance={s}"),
    ("reviewer", "/families/synthetic_cathinone"), ("reviewer", "/families/nitazene"),
    ("reviewer", "/priorities"), ("lab", "/priorities"), ("reviewer", "/priorities/compare?s={s}&s={t}"),
    ("reviewer", "/dossiers"), ("lab", "/dossiers"), ("reviewer", "/packages"),
    ("authority", "/coverage"), ("analyst", "/coverage"), ("admin", "/coverage"),
    ("authority", "/countries/DE"), ("analyst", "/countries/FR"), ("lab", "/substances/{s}/signals/DE"),
    ("lab", "/inbox?show=all"), ("authority", "/inbox"), ("analyst", "/inbox?show=all"),
    ("authority", "/subscriptions"), ("authority", "/subscriptions/new?min_level=1&tlp_max=AMBER"),
    ("authority", "/contacts"), ("authority", "/measures"), ("analyst", "/alerts/new"),
    ("lab", "/reports"), ("lab", "/reports/{r}"), ("lab", "/imports"),
    ("analyst", "/ops"), ("analyst", "/ops/curation"), ("analyst", "/ops/merge"), ("admin", "/ops/audit"), ("admin", "/accounts"),
    ("lab", "/account"),
)  # fmt: skip
TIMES = 6


def more(world: World, times: int) -> None:
    """Rows of every kind that a page lists, so many times."""
    lab, authority = world.organisations["Test laboratory DE"], world.organisations["Test authority DE"]
    operator = world.organisations["Test operator"]
    add = world.session.add
    snapshot = Snapshot(cutoff=date(2026, 1, 1), labels="CLEAR", digest="0" * 64, counts={}, facts=b"", made_at=NOW)
    add(snapshot)
    world.session.flush()
    for n in range(times):
        country = ("ES", "IT", "SE", "PL", "NL", "AU")[n]
        sender = world.organisation("lab", country)
        world.person(sender)
        world.organisation("authority", country)
        opioid = world.substance(f"Testonitazene {n}", group="nitazene", effect="opioid", names=((f"TN-{n}", "code"),))
        stimulant = world.substance(f"Testocathinone {n}", group="synthetic_cathinone", effect="stimulant")
        for month in range(9):
            day = (NOW - timedelta(days=30 * month + 20)).date()
            for substance, org in ((opioid, sender), (stimulant, lab), (stimulant, sender)):
                found = world.detection(org, substance, sampled_on=day, tlp=("CLEAR", "GREEN", "AMBER")[month % 3])
        for harmed in (found, world.detection(lab, stimulant)):
            world.case(harmed, seriousness="intensive_care")
        world.detection(lab, None, label=f"unknown powder {n}", confidence="screening")
        alert = world.alert(
            opioid, headline=f"Testonitazene {n} in {country}", level=3, countries=("DE", country), evidence=(found,),
            at=NOW - timedelta(hours=30 + n),
        )  # fmt: skip
        world.alert(stimulant, headline=f"Testocathinone {n}", level=2, tlp="CLEAR", countries=(country,))
        add(
            Measure(
                org_id=authority.id, country="DE", kind="provisional_control", substance_id=opioid.id, alert_id=alert.id,
                legal_basis="Act 1", valid_from=date(2026, 3, 1), actor="person:x", created_at=NOW,
            )
        )  # fmt: skip
        add(
            Subscription(
                org_id=authority.id, role="authority", channel="webhook", target=f"https://a.example/{n}", filter={},
                tlp_max="GREEN", detail="full", state="active", secrets=[], created_at=NOW,
            )
        )  # fmt: skip
        add(Contact(org_id=authority.id, position=n, name=f"C{n}", email=f"c{n}@a.example", actor="person:x", created_at=NOW))
        task = Task(
            topic="remind", key=f"q{n}", lane="remind", priority=0, state="dead", run_at=NOW, payload={}, attempts=12,
            created_at=NOW, done_at=NOW, last_error="500",
        )  # fmt: skip
        add(task)
        world.session.flush()
        add(
            Attempt(
                task_id=task.id, n=12, started_at=NOW, ended_at=NOW, outcome="failed", status=500, latency_ms=3, response="no",
                worker="w",
            )
        )  # fmt: skip
        add(
            CurationItem(
                folded=f"powder {n}", label=f"Powder {n}", reason="unknown", candidates=[], reports=n + 1, first_seen=NOW,
                last_seen=NOW,
            )
        )  # fmt: skip
        add(
            ImportJob(
                org_id=lab.id, filename=f"f{n}.csv", file_sha256=f"{n}" * 64, mapping_sha256="0" * 64, mode="live", state="done",
                started_at=NOW, ended_at=NOW, rows_total=3,
            )
        )  # fmt: skip
        for view in ("reviewer", "shared"):
            add(
                Dossier(
                    kind="substance", subject=opioid.id, name=opioid.name, view=view, snapshot_id=snapshot.id, state="waiting",
                    org_id=operator.id, actor="person:x", created_at=NOW,
                )
            )  # fmt: skip


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, FastAPI]]:
    """The small world and the large one, by how many times the rows are in them."""

    def world(times: int) -> FastAPI:
        def filled(made: World) -> None:
            fill(made)
            more(made, times)

        return make_site(tmp_path_factory.mktemp(f"times-{times}"), fill_world=filled)

    found = {times: world(times) for times in (1, TIMES)}
    yield found
    for app in found.values():
        close_site(app)


@pytest.fixture(scope="module")
def clients(sites: dict[int, FastAPI]) -> Iterator[dict[tuple[int, str], TestClient]]:
    found = {(times, role): client_of(app) for times, app in sites.items() for role in ("", *PEOPLE)}
    for (_, role), client in found.items():
        if role:
            assert sign_in(client, PEOPLE[role]).status_code == 303
    yield found
    for client in found.values():
        client.close()


@pytest.fixture(scope="module")
def ids(clients: dict[tuple[int, str], TestClient]) -> dict[int, dict[str, str]]:
    return {times: _ids(clients[times, "lab"]) for times in (1, TIMES)}


def _ids(client: TestClient) -> dict[str, str]:
    def first(path: str, kind: str) -> str:
        found = re.search(rf'href="/{kind}/([0-9A-Z]{{26}})"', client.get(path).text)
        assert found, path
        return found.group(1)

    return {"s": first("/substances?q=2-MMC", "substances"), "t": first("/substances?q=4-FF", "substances"),
            "r": first("/reports", "reports")}  # fmt: skip


def statements(app: FastAPI, client: TestClient, path: str) -> list[str]:
    """The queries of the second request: what is worked out once is kept by then."""
    assert client.get(path).status_code == 200, path
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement != "BEGIN":
            seen.append(statement)

    engine = app.state.context.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        assert "could not be loaded" not in client.get(path).text
    finally:
        event.remove(engine, "before_cursor_execute", note)
    return seen


def test_the_worlds_differ_as_they_should(sites: dict[int, FastAPI]) -> None:
    sizes = {}
    for times, app in sites.items():
        with app.state.context.database.read() as session:
            sizes[times] = [session.scalar(select(func.count()).select_from(table)) for table in (Measure, Task, Dossier)]
            assert (session.scalar(select(func.count()).select_from(Detection)) or 0) > 27 * times
    assert [large / small for small, large in zip(sizes[1], sizes[TIMES], strict=True)] == [TIMES] * 3


@pytest.mark.parametrize(("role", "path"), PAGES)
def test_a_page_costs_the_same_over_a_larger_world(
    sites: dict[int, FastAPI],
    clients: dict[tuple[int, str], TestClient],
    ids: dict[int, dict[str, str]],
    role: str,
    path: str,
) -> None:
    spent = {}
    for times, app in sites.items():
        spent[times] = statements(app, clients[times, role], path.format(**ids[times]))
    assert len(spent[TIMES]) == len(spent[1]), "\n".join(
        s[:300] for s in spent[TIMES] if spent[TIMES].count(s) > spent[1].count(s)
    )
