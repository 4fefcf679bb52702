"""A new edition: refused with its place, compared before it is loaded, followed by every process, matched with what is there."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.chemistry import Chemistry
from app.cli import main
from app.context import AppContext
from app.law import rescreen as rescreening
from app.law.follow import Follower
from app.law.rescreen import progress_of, rescreen
from app.persistence.models import Alert, AlertRevision, Detection, LoadedEdition, Substance, Task
from app.persistence.session import Database
from app.worker import Worker
from chem.engine import Engine
from chem.errors import DataError
from chem.stored import identity_from_json
from chem.values import Structure, StructureFormat, to_json
from tests.conftest import NOW, Clock, Service

MMC = "CNC(C)C(=O)c1ccccc1C"  # 2-MMC: under no convention in the shipped law
FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"
EDITION: dict[str, Any] = {
    "instrument": "UN-1971",
    "edition": {"id": "2026-11 (test)", "from": "2026-11-20", "source": "Decision of the test"},
    "add": [{"name": "2-MMC", "schedule": "II", "smiles": MMC, "text_status": "read", "effective_from": "2026-11-20",
             "source": "Decision of the test, 2-MMC"}],
}  # fmt: skip
NATIONAL: dict[str, Any] = {
    "instrument": "FR-TEST",
    "edition": {"id": "2026", "from": "2026-01-01", "source": "Arrêté of the test"},
    "new": {
        "title": "List of France", "country": "FR", "order": ["IV"], "source": "Arrêté of the test",
        "clauses": {"IV": {"stereoisomers": "none", "text_status": "read", "source": "Arrêté of the test"}},
    },
    "add": [{"name": "2-MMC", "schedule": "IV", "smiles": MMC, "text_status": "read", "effective_from": "2026-01-01",
             "source": "Arrêté of the test, line 1"}],
    "not_coded": {"add": ["everything but 2-MMC"]},
}  # fmt: skip


def changed(**parts: Any) -> dict[str, Any]:
    return {**deepcopy(EDITION), **parts}


def first_added(**values: Any) -> dict[str, Any]:
    return changed(add=[{**EDITION["add"][0], **values}])


REFUSED: dict[str, tuple[Any, str]] = {
    "not an object": ([], "object"),
    "unknown key": (changed(adds=[]), "unknown keys: adds"),
    "no edition": ({"instrument": "UN-1971"}, "missing keys: edition"),
    "unknown key of the edition": (changed(edition={**EDITION["edition"], "to": "2027-01-01"}), "edition: unknown keys: to"),
    "no source of the edition": (changed(edition={**EDITION["edition"], "source": " "}), "source must be a text"),
    "no date": (changed(edition={**EDITION["edition"], "from": "soon"}), "is no date"),
    "before the newest": (changed(edition={**EDITION["edition"], "from": "1999-01-01"}), "lies before that of the newest"),
    "unknown column": (first_added(colour="red"), "add 1: unknown keys: colour"),
    "no source of a row": (changed(add=[{k: v for k, v in EDITION["add"][0].items() if k != "source"}]), "missing keys: source"),
    "empty source of a row": (first_added(source=""), "add 1: source is empty"),
    "schedule": (first_added(schedule="IX"), "'IX' is none of"),
    "structure": (first_added(smiles="c1ccc"), "add 1: structure cannot be read"),
    "two substances": (first_added(smiles="CCO.CCN"), "must be one substance"),
    "text status": (first_added(text_status="sure"), "'sure' is none of"),
    "changes the past": (first_added(effective_from="2020-01-01"), "the past stays as it was"),
    "overlap": (changed(add=[EDITION["add"][0], EDITION["add"][0]]), "add 2: '2-MMC' stands in schedule II already"),
    "ends what is not there": (
        changed(end=[{"name": "Unobtainium", "schedule": "I", "until": "2026-12-31", "source": "x"}]), "'Unobtainium' is not in",
    ),
    "ends in the past": (
        changed(end=[{"name": "cathinone", "schedule": "I", "until": "2020-01-01", "source": "x"}]), "the past stays as it was",
    ),
    "unknown instrument": (changed(instrument="XX-1"), "describe it under `new`"),
    "known instrument described": (changed(new=NATIONAL["new"]), "leave `new` out"),
    "rule of no form": (changed(rule=[{"id": "x"}]), "x: missing keys"),
    "rule of wrong types": (changed(rule=["x"]), "not in the form of a class rule"),
    "sentence": (changed(not_coded={"remove": ["no such"]}), "there is no such sentence"),
}  # fmt: skip


@pytest.fixture(scope="module")
def read_anew() -> Callable[[Any], None]:
    """Reads an edition over the shipped law, whose instruments are loaded once."""
    from chem.catalog import DATA
    from chem.classes import connectivity_of
    from chem.editions import amend
    from chem.rules import load_rules
    from chem.schedules import load_instrument

    known = load_instrument(DATA / "schedules" / "un-1971")
    rules = load_rules(DATA / "rules" / "un-1971", "UN-1971", connectivity_of)

    def read(document: Any) -> None:
        of_known = isinstance(document, dict) and document.get("instrument") == "UN-1971"
        amend(document, known if of_known else None, rules, connectivity_of)

    return read


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_edition_is_refused_with_its_place(read_anew: Callable[[Any], None], name: str) -> None:
    document, words = REFUSED[name]
    with pytest.raises(DataError, match=re.escape(words)):
        read_anew(document)


def status(engine: Engine, smiles: str, day: date, instrument: str = "UN-1971") -> str:
    structure = Structure(format=StructureFormat.SMILES, text=smiles)
    found = engine.assess(structure, as_of=day, analogues=0)
    return found.status_by_instrument[instrument].value


def test_older_dates_keep_the_older_edition(chemistry: Chemistry) -> None:
    ending = changed(end=[{"name": "cathinone", "schedule": "I", "until": "2026-12-31", "source": "Decision 2"}])
    engine = Engine.load(editions=[ending, NATIONAL])
    cathinone = "C[C@H](N)C(=O)c1ccccc1"
    assert [status(engine, MMC, d) for d in (date(2026, 11, 19), date(2026, 11, 20))] == ["not_controlled", "controlled"]
    assert [status(engine, cathinone, d) for d in (date(2026, 12, 31), date(2027, 1, 1))] == ["controlled", "not_controlled"]
    assert [status(engine, MMC, d, "FR-TEST") for d in (date(2025, 12, 31), date(2026, 1, 1))] == ["not_controlled", "controlled"]
    editions = {c.instrument: c.edition for c in engine.coverage(as_of=date(2026, 11, 19))}
    assert editions["UN-1971"] == {c.instrument: c.edition for c in chemistry.coverage(date(2026, 11, 19))}["UN-1971"]
    assert {c.instrument: c.edition for c in engine.coverage(as_of=date(2026, 11, 20))}["UN-1971"] == "2026-11 (test)"
    assert engine.version != chemistry.version
    assert len(engine.version) <= 80


def test_an_identity_is_read_back(chemistry: Chemistry) -> None:
    for smiles in (MMC, f"{FENTANYL}.Cl", "CCO.c1ccccc1CC(C)N", "C[C@H](N)C(=O)c1ccccc1 |o1:1|", "[2H]C([2H])([2H])NC"):
        identity = chemistry.engine.identify(Structure(format=StructureFormat.SMILES, text=smiles))
        assert identity_from_json(json.loads(json.dumps(to_json(identity)))) == identity


# a service


@pytest.fixture
def lawful(make_service: Callable[[str], Service], chemistry: Chemistry, database_url: str) -> Service:
    """A service with chemistry of its own, which a new edition may change."""
    service = make_service(database_url)
    service.context.chemistry = Chemistry(workers=0, names=chemistry.names, engine=chemistry.engine)
    return service


def report(
    service: Service, key: dict[str, str], reference: str, structure: dict[str, Any], country: str = "ES"
) -> dict[str, Any]:
    body = {
        "lab_reference": reference,
        "sample": {"country": country, "date_sampled": "2026-11-20", "context": "seizure"},
        "substances": [{"structure": structure, "techniques": ["gc-ms"], "reference_material": "certified"}],
        "tlp": "GREEN",
    }
    answer = service.client.post("/v1/reports", json=body, headers=key)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def run_due(service: Service) -> None:
    Worker(service.context, schedule=False).run_due()


def alerts(service: Service) -> list[Alert]:
    with service.context.database.read() as session:
        return list(session.scalars(select(Alert).where(Alert.type == "control_change").order_by(Alert.id)))


def test_an_edition_is_compared_loaded_and_matched(lawful: Service) -> None:
    lab, admin = lawful.key("lab", "DE"), lawful.key("operator", "AT", "admin")
    report(lawful, lab, "1", {"smiles": f"{MMC}.Cl"})
    report(lawful, lab, "2", {"smiles": FENTANYL})
    isomers = report(lawful, lab, "3", {"candidates": [{"smiles": MMC}, {"smiles": "CNC(C)C(=O)c1cccc(CC)c1"}]})
    assert isomers["substances"][0]["legal_status"] == "not_controlled"
    address = "/v1/schedules/UN-1971/editions"
    assert lawful.client.post(address, json=EDITION, headers=lab).status_code == 403
    before = lawful.context.chemistry.version

    dry = lawful.client.post(f"{address}?dry_run=true", json=EDITION, headers=admin)
    assert dry.status_code == 200, dry.text
    assert dry.json()["stored"] is False
    assert lawful.context.chemistry.version == before
    found = dry.json()["difference"]
    assert found["added"] == ["2-MMC (II)"]
    assert found["substances_matched"] == found["substances_changed"] + 1
    (change,) = found["substances"]
    assert (change["old"], change["new"]) == ("not_controlled", "controlled")

    assert lawful.client.post(address, json=EDITION, headers=admin).status_code == 201
    assert lawful.client.post(address, json=EDITION, headers=admin).status_code == 422  # the same once more
    assert lawful.context.chemistry.version != before
    assert report(lawful, lab, "4", {"smiles": MMC})["substances"][0]["legal_status"] == "controlled"
    behind = lawful.client.get(address, headers=lab).json()
    assert behind["substances_behind"] == 2
    assert behind["items"][-1]["id"] == "2026-11 (test)"

    run_due(lawful)
    after = lawful.client.get(address, headers=lab).json()
    assert after["substances_behind"] == 0
    assert (after["rescreen"]["phase"], after["rescreen"]["failed"]) == ("done", 0)
    with lawful.context.database.read() as session:
        detections = session.scalars(select(Detection).order_by(Detection.received_at, Detection.id)).all()
        assert {d.engine_version for d in detections} == {lawful.context.chemistry.version}
        assert [d.legal_status for d in detections] == ["controlled", "controlled", "possibly_controlled", "controlled"]
        assert [c["legal_status"] for c in detections[2].candidates] == ["controlled", "not_controlled"]
        substance = session.scalars(select(Substance).where(Substance.smiles == MMC)).one()
        assert (substance.legal_status, substance.matches[0]["entry"]) == ("controlled", "2-MMC")
    (alert,) = alerts(lawful)
    assert alert.dedupe_key == f"control_change:{substance.id}:UN-1971:2026-11-20"
    assert (alert.level, alert.reviewed, alert.controlled) == (1, True, True)
    with lawful.context.database.read() as session:
        revision = session.scalars(select(AlertRevision).where(AlertRevision.alert_id == alert.id)).one()
    assert "controlled under UN-1971 from 20 Nov" in revision.headline
    assert "Decision of the test" in revision.full

    lawful.clock.at += timedelta(minutes=2)
    run_due(lawful)  # the laggards; nothing new comes of it
    assert len(alerts(lawful)) == 1
    assert lawful.client.get("/v1/schedules/UN-1971?as_of=2026-11-19", headers=lab).text.count('"2-MMC"') == 0
    assert lawful.client.get("/v1/schedules/UN-1971?as_of=2026-11-20", headers=lab).text.count('"2-MMC"') == 1


def test_a_wrong_edition_loads_nothing(lawful: Service) -> None:
    admin = lawful.key("operator", "AT", "admin")
    for document, address in (
        (first_added(smiles="CCO.CCN"), "UN-1971"), (first_added(source=""), "UN-1971"), (EDITION, "UN-1961"),
    ):  # fmt: skip
        refused = lawful.client.post(f"/v1/schedules/{address}/editions", json=document, headers=admin)
        assert refused.status_code == 422, refused.text
        assert refused.json()["errors"]
    with lawful.context.database.read() as session:
        assert session.scalars(select(LoadedEdition)).all() == []
        assert session.scalars(select(Task).where(Task.topic == "rescreen")).all() == []


def test_a_national_list_counts_in_its_country_alone(lawful: Service) -> None:
    lab, admin = lawful.key("lab", "FR"), lawful.key("operator", "AT", "admin")
    report(lawful, lab, "1", {"smiles": MMC}, "FR")
    report(lawful, lab, "2", {"smiles": MMC}, "ES")
    assert lawful.client.post("/v1/schedules/FR-TEST/editions", json=NATIONAL, headers=admin).status_code == 201
    run_due(lawful)
    with lawful.context.database.read() as session:
        rows = session.scalars(select(Detection).order_by(Detection.country)).all()
        assert [(r.country, r.legal_status) for r in rows] == [("ES", "not_controlled"), ("FR", "controlled")]
        assert session.scalars(select(Substance)).one().legal_status == "not_controlled"
    (alert,) = alerts(lawful)
    assert alert.country == "FR"


def test_an_edition_of_tomorrow_is_matched_on_its_day(lawful: Service) -> None:
    lab, admin = lawful.key("lab", "DE"), lawful.key("operator", "AT", "admin")
    report(lawful, lab, "1", {"smiles": MMC})
    later = first_added(effective_from="2026-12-01")
    later["edition"]["from"] = "2026-12-01"
    assert lawful.client.post("/v1/schedules/UN-1971/editions", json=later, headers=admin).status_code == 201
    run_due(lawful)
    assert alerts(lawful) == []
    lawful.clock.at = datetime(2026, 12, 1, 0, 5, tzinfo=UTC)
    with lawful.context.database.write() as session:
        waiting = select(Task).where(Task.topic == "rescreen", Task.state == "ready", Task.key.endswith("2026-12-01"))
        task = session.scalars(waiting).one()
        assert task.run_at == datetime(2026, 12, 1, 0, 1, tzinfo=UTC)
        task.run_at = NOW - timedelta(days=1)  # PostgreSQL goes by its own clock
    run_due(lawful)
    assert [alert.dedupe_key.rpartition(":")[2] for alert in alerts(lawful)] == ["2026-12-01"]


def test_another_process_follows_without_a_restart(lawful: Service, chemistry: Chemistry) -> None:
    settings, database = lawful.context.settings, Database(lawful.context.database.url)
    other = AppContext(
        settings=settings, database=database, secret=b"s" * 32, now=Clock(),
        chemistry=Chemistry(workers=1, names=chemistry.names, engine=chemistry.engine),
    )  # fmt: skip
    structure = (Structure(format=StructureFormat.SMILES, text=MMC),)

    def verdict() -> str:
        found = other.chemistry.assess(structure, is_set=False, as_of=NOW.date()).assessment
        return str(found.status_by_instrument["UN-1971"].value)

    assert verdict() == "not_controlled"
    follower = Follower(other, every_s=0.1)
    follower.start()
    admin = lawful.key("operator", "AT", "admin")
    assert lawful.client.post("/v1/schedules/UN-1971/editions", json=EDITION, headers=admin).status_code == 201
    ends = time.monotonic() + 30
    while other.editions == 0 and time.monotonic() < ends:
        time.sleep(0.05)
    follower.stop()
    assert verdict() == "controlled"  # by its worker process too
    assert other.chemistry.version == lawful.context.chemistry.version
    other.chemistry.close()
    database.dispose()


def test_a_run_that_was_cut_off_goes_on(lawful: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = lawful.key("lab", "DE")
    for n in range(7):
        report(lawful, lab, str(n), {"smiles": f"{'C' * (n + 1)}NC(C)C(=O)c1ccccc1C"})
    monkeypatch.setattr(rescreening, "BATCH", 2)
    answers = iter([True, True, False])
    day = NOW.date()
    assert rescreen(lawful.context, as_of=day, go_on=lambda: next(answers)) is None
    with lawful.context.database.read() as session:
        half = progress_of(session)
    assert half is not None
    assert (half.phase, half.done) == ("substances", 4)
    seen: list[int] = []
    found = rescreen(lawful.context, as_of=day, told=lambda progress: seen.append(progress.done))
    assert found is not None
    assert (found.phase, found.done, seen[0]) == ("done", 7, 6)


def many_detections(service: Service, number: int) -> None:
    """As many detections of 2-MMC, a third of them from France, drawn as its salt."""
    lab = service.key("lab", "DE")
    for n in range(number):
        report(service, lab, f"many {n}", {"smiles": f"{MMC}.Cl"}, "FR" if n % 3 == 0 else "ES")


def test_a_common_substance_is_matched_in_short_transactions(lawful: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    many_detections(lawful, 7)
    admin = lawful.key("operator", "AT", "admin")
    assert lawful.client.post("/v1/schedules/FR-TEST/editions", json=NATIONAL, headers=admin).status_code == 201
    monkeypatch.setattr(rescreening, "MOST_SECONDS", 0.0)  # each transaction is over as soon as it did something
    monkeypatch.setattr(rescreening, "DETECTIONS", 3)
    version, day = lawful.context.chemistry.version, NOW.date()
    answers = iter([True] * 3 + [False])
    assert rescreen(lawful.context, as_of=day, go_on=lambda: next(answers)) is None
    with lawful.context.database.read() as session:
        half = progress_of(session)
        matched = session.scalars(select(Detection.engine_version).order_by(Detection.received_at, Detection.id)).all()
    assert half is not None
    assert (half.phase, half.done, half.changed) == ("substances", 0, 1)
    assert [version == found for found in matched] == [True] * 3 + [False] * 4

    batches: list[int] = []
    found = rescreen(lawful.context, as_of=day, told=lambda progress: batches.append(progress.done))
    assert found is not None
    assert (found.done, found.changed, found.alerts) == (1, 1, len(alerts(lawful)))
    assert batches.count(0) == 3  # then the last detection, and the substance with it
    with lawful.context.database.read() as session:
        rows = session.scalars(select(Detection)).all()
        assert {row.engine_version for row in rows} == {version}
        assert {(row.country, row.legal_status) for row in rows} == {("FR", "controlled"), ("ES", "not_controlled")}


def test_what_cannot_be_read_any_more_keeps_its_verdict_and_stops_nothing(lawful: Service) -> None:
    many_detections(lawful, 2)
    report(lawful, lawful.key("lab", "IT"), "other", {"smiles": FENTANYL}, "IT")
    with lawful.context.database.write() as session:
        broken = session.scalars(select(Detection).where(Detection.country == "ES")).one()
        substance = session.get_one(Substance, broken.substance_id)
        substance.smiles, broken.identity = None, {"an older": "form"}
        kept, before = broken.id, (broken.legal_status, broken.engine_version)
    admin = lawful.key("operator", "AT", "admin")
    assert lawful.client.post("/v1/schedules/UN-1971/editions", json=EDITION, headers=admin).status_code == 201
    found = rescreen(lawful.context, as_of=NOW.date())
    assert found is not None
    assert (found.phase, found.done, found.failed) == ("done", 2, 1)
    with lawful.context.database.read() as session:
        rows = {row.id: row for row in session.scalars(select(Detection))}
        assert (rows[kept].legal_status, rows[kept].engine_version) == before
        others = {row.engine_version for row in rows.values() if row.id != kept}
    assert others == {lawful.context.chemistry.version}


def test_a_newer_edition_in_the_midst_of_a_run_is_the_one_that_counts(lawful: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    many_detections(lawful, 4)
    monkeypatch.setattr(rescreening, "MOST_SECONDS", 0.0)
    turns = iter(range(100))

    def go_on() -> bool:
        if next(turns) == 2:
            admin = lawful.key("operator", "AT", "admin")
            assert lawful.client.post("/v1/schedules/UN-1971/editions", json=EDITION, headers=admin).status_code == 201
        return True

    before = lawful.context.chemistry.version
    found = rescreen(lawful.context, as_of=NOW.date(), go_on=go_on)
    assert found is not None
    assert found.version == lawful.context.chemistry.version != before
    with lawful.context.database.read() as session:
        rows = session.scalars(select(Detection)).all()
        assert {(row.engine_version, row.legal_status) for row in rows} == {(found.version, "controlled")}


def test_the_command_compares_loads_and_matches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NPS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("DATABASE_URL", raising=False)
    file, wrong = tmp_path / "edition.toml", tmp_path / "wrong.json"
    file.write_text(
        'instrument = "UN-1971"\n[edition]\nid = "2026-11 (test)"\nfrom = 2026-11-20\nsource = "Decision of the test"\n'
        f'[[add]]\nname = "2-MMC"\nschedule = "II"\nsmiles = "{MMC}"\ntext_status = "read"\neffective_from = 2026-11-20\n'
        'source = "Decision of the test"\n'
    )
    wrong.write_text(json.dumps(changed(adds=[])))
    runner = CliRunner()
    refused = runner.invoke(main, ["schedules", "load", str(wrong)])
    assert refused.exit_code == 1
    assert "unknown keys: adds" in refused.output
    assert "+ 2-MMC (II)" in runner.invoke(main, ["schedules", "diff", str(file)]).output
    assert runner.invoke(main, ["schedules", "load", str(file)]).exit_code == 0
    assert "newest edition 2026-11 (test)" in runner.invoke(main, ["schedules", "list"]).output
    assert "2-MMC" in runner.invoke(main, ["schedules", "show", "UN-1971", "--as-of", "2026-11-20"]).output
    assert "2-MMC" not in runner.invoke(main, ["schedules", "show", "UN-1971", "--as-of", "2026-11-19"]).output
    screened = runner.invoke(main, ["screen", "--as-of", "2026-11-24"], input=f"{MMC}\n")
    assert json.loads(screened.stdout)["status_by_instrument"]["UN-1971"] == "controlled"
    matched = runner.invoke(main, ["rescreen", "--json"])
    assert matched.exit_code == 0, matched.output
    assert json.loads(matched.stdout)["phase"] == "done"
