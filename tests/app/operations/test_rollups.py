"""The counts kept beside the detections equal the detections, whatever path a change took and whoever asks."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, text, update

from app.auth.permissions import TLP_ORDER, Principal, Role
from app.cli import main
from app.explore.queries import members_of
from app.imports.mapping import read_mapping
from app.imports.readers import format_of
from app.imports.rejects import RejectFile
from app.imports.service import run_import
from app.operations.erase import erase
from app.persistence import migrations
from app.persistence.models import (
    CaseSubstance,
    Detection,
    DetectionDelta,
    HarmCase,
    Organisation,
    SharingGroup,
    SharingGroupMember,
    ShownPlace,
    Substance,
)
from app.persistence.models.rollups import OPEN_LABELS
from app.persistence.rollups import SHAPES, differences, fold_all, rebuild
from app.sharing.counts import Cut, at_most, counts, first_months, groupings, pairs
from app.sharing.rows import labels, readable_detections, readable_parts
from app.substances.changes import first_month_of
from tests.conftest import NOW, Service

SUBSTANCES = (
    {"structure": {"smiles": "CCC(=O)N(c1ccc(F)cc1)C1CCN(CCc2ccccc2)CC1"}, "techniques": ["gc-ms", "nmr"],
     "reference_material": "certified", "isomers_excluded": "yes"},
    {"structure": {"smiles": "CCN(CC)CCn1c(Cc2ccc(OC(C)C)cc2)nc2cc(ccc12)[N+](=O)[O-]"}, "techniques": ["gc-ms"]},
    {"name": "caffeine", "techniques": ["gc-ms"]},
    {"name": "nothing that anybody knows", "techniques": ["colour_test"]},
    {"name": "MDMA", "relation": "impurity", "techniques": ["ftir"]},
)  # fmt: skip
QUESTIONS = (
    (("month",), Cut()),
    (("substance_id", "month"), Cut(months=("2026-09", "2026-10"))),
    (("country",), Cut(confidences=None, relations=None)),
    (("month", "country"), Cut(months=("2026-04", "2026-12"), confidences=None, relations=None)),
    (("country", "month", "confidence"), Cut(countries=("DE", "MT"))),
    (("org_id", "month"), Cut(confidences=("probable", "tentative"))),
    (("substance_id", "month", "tlp"), Cut()),
    (("substance_id", "country", "month", "confidence"), Cut(months=("2026-04", "2026-12"))),
    (("substance_id", "org_id", "month"), Cut(confidences=("confirmed",), countries=("DE", "FR"))),
    (("month", "country", "context"), Cut(relations=None)),
    (("substance_id", "org_id"), Cut(confidences=("probable", "tentative"))),
    (("substance_id", "month", "country", "org_id", "context", "confidence", "relation", "tlp"), Cut(confidences=None)),
)

BY_CLASS = (("country", "month", "confidence"), ("org_id", "month"), ("org_id", "country", "month"))
IN_CONTEXT = (("org_id", "country", "month"), Cut(contexts=("seizure",)))


@pytest.fixture
def changed(service: Service, tmp_path: Path) -> Service:
    """A service after reports of every label, corrections, withdrawals, an import, merges, splits, undoing and erasures."""
    dice = random.Random(188)
    labs = {country: service.key("lab", country, name=f"lab {country}") for country in ("DE", "FR", "CA")}
    labs["GB"] = service.key("lab", "GB", name="lab GB", test=True)
    analyst = service.key("operator", "AT", "analyst", name="analyst")
    for kind, country in (("authority", "DE"), ("authority", "FR"), ("reviewer", "CH"), ("industry", "GB")):
        service.key(kind, country, name=f"{kind} {country}")
    database = service.context.database
    with database.write() as session:
        session.add(SharingGroup(id="G1", name="named", created_at=NOW))
        session.flush()
        for name in ("lab DE", "authority FR"):
            session.add(SharingGroupMember(group_id="G1", org_id=service.org_id(name), since=NOW))
    sent: list[tuple[str, str, dict[str, Any]]] = []
    for number, label in enumerate(TLP_ORDER * 5):
        country = dice.choice(("DE", "DE", "FR", "GB"))
        body = {
            "lab_reference": f"R-{number}",
            "sample": {"country": dice.choice((country, "MT")), "date_sampled": dice.choice(("2026-09-14", "2026-10", "2026")),
                       "context": dice.choice(("seizure", "biological"))},
            "substances": dice.sample(SUBSTANCES, dice.randint(1, 4)),
            "cases": [{"seriousness": "death"}],
            "tlp": label,
            "sharing_group": "G1" if label == "RED" and country == "DE" else None,
        }  # fmt: skip
        answer = service.client.post("/v1/reports", json=body, headers=labs[country])
        assert answer.status_code == 201, answer.text
        sent.append((answer.json()["id"], country, body))
    for report_id, country, body in sent[::3]:
        body = {**body, "substances": dice.sample(SUBSTANCES, 2), "tlp": dice.choice(TLP_ORDER), "sharing_group": None}
        answer = service.client.put(f"/v1/reports/{report_id}", json=body, headers={**labs[country], "If-Match": '"1"'})
        assert answer.status_code == 200, answer.text
    for report_id, country, _ in sent[1::4]:
        answer = service.client.post(f"/v1/reports/{report_id}/withdraw", json={"reason": "wrong"}, headers=labs[country])
        assert answer.status_code == 200, answer.text
    _import(service, tmp_path)
    fold_all(database)
    ids = {row["name"].lower(): row["id"] for row in service.client.get("/v1/substances", headers=analyst).json()["items"]}
    a, b = ids["mdma"], ids["caffeine"]
    merged = service.client.post(f"/v1/substances/{a}/merge", json={"into": b, "reason": "a trial"}, headers=analyst).json()
    split = {"reports": [sent[2][0], sent[7][0], sent[0][0]], "to": b, "reason": "a trial"}
    service.client.post(f"/v1/substances/{ids['para-fluorofentanyl']}/split", json=split, headers=analyst)
    undone = service.client.post(f"/v1/substance-events/{merged['id']}/undo", json={"reason": "over"}, headers=analyst)
    assert undone.status_code == 200, undone.text
    with database.write() as session:
        for report_id, _, _ in sent[2::7]:
            erase(session, report_id, basis="a trial", actor="cli:test", now=NOW)
    return service


def _import(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    header = "sample_date,city,expected_substance,fentanyl_strip,benzodiazepine_strip,detected"
    rows = [f"2026-{month:02d}-02,Testville,Fentanyl,True,N/A,Caffeine;Fentanyl HCl;MDMA" for month in (3, 4, 4, 9, 11)]
    path.write_text("\n".join([header, *rows]) + "\n")
    with service.context.database.read() as session:
        org = session.get_one(Organisation, service.org_id("lab CA"))
    lab = Principal(actor="cli:x", org_id=org.id, org_name=org.name, kind="lab", country="CA", role=Role.LAB, test=False)
    mapping = read_mapping(Path(__file__).resolve().parents[2] / "mappings" / "bc_drug_checking.toml")
    rejects = RejectFile(tmp_path / "rejects.csv")
    outcome = run_import(
        service.context, path=path, file_format=format_of(path), mapping=mapping, principal=lab, mode="live", rejects=rejects,
        progress=lambda _: None,
    )  # fmt: skip
    rejects.close()
    assert outcome.stored == 5


def _readers(service: Service) -> list[Principal | None]:
    found: list[Principal | None] = [None]
    with service.context.database.read() as session:
        for org in session.scalars(select(Organisation)):
            role = {"operator": Role.ANALYST}.get(org.kind) or Role(org.kind)
            found.append(
                Principal(
                    actor="key:x", org_id=org.id, org_name=org.name, kind=org.kind, country=org.country, role=role, test=org.test
                )
            )
    return found


def _check(service: Service) -> dict[str, bool]:
    """Every cell, and every reader's answer to every question; which classes are counted under their present members."""
    database = service.context.database
    seen_classes: dict[str, bool] = {}
    assert list(differences(database)) == []
    with database.read() as session:
        if not session.scalar(select(func.count()).select_from(DetectionDelta)):  # all of them hold something
            assert all(session.scalar(text(f"SELECT sum(n) FROM {table}")) for table in SHAPES)
    seen: Counter[str] = Counter()
    with database.read() as session:
        for reader, (by, cut) in product(_readers(service), (*QUESTIONS, IN_CONTEXT)):
            columns = [func.coalesce(Detection.substance_id, "") if c == "substance_id" else getattr(Detection, c) for c in by]
            raw = (
                select(*columns, func.count())
                .where(readable_detections(reader), *cut.conditions(Detection))
                .group_by(*columns)
            )  # fmt: skip
            expected = {tuple(row[:-1]): row[-1] for row in session.execute(raw)}
            found = {tuple(row[:-1]): row[-1] for row in session.execute(counts(reader, by, cut))}
            assert found == expected, (reader, by, cut)
            ways = (by, by[:1], by[-1:])
            for way, rows in zip(ways, groupings(session, reader, ways, cut), strict=True):
                assert sorted(rows) == sorted(tuple(row) for row in session.execute(counts(reader, way, cut))), (reader, way, cut)
            seen[reader.org_name if reader else "public"] = max(
                seen[reader.org_name if reader else "public"], sum(found.values())
            )
        for reader, since in product(_readers(service), ("", "2026-09", "2026-10", "2027-01")):
            rules = [readable_detections(reader), Detection.substance_id.is_not(None), *Cut().conditions(Detection)]
            pair = (Detection.substance_id, Detection.country)
            seen_since = {(row[0], row[1]) for row in session.execute(select(*pair).where(*rules, Detection.month >= since))}
            assert {tuple(row) for row in session.execute(pairs(session, reader, since))} == seen_since, (reader, since)
            some = sorted({one for one, _ in seen_since})[:1]
            of_some = {one for one in seen_since if one[0] in some}
            assert {tuple(row) for row in session.execute(pairs(session, reader, since, some))} == of_some, (reader, since)
            by_pair = select(*pair, func.min(Detection.month)).where(*rules).group_by(*pair)
            first = {(row[0], row[1]): row[2] for row in session.execute(by_pair)}
            assert first_months(session, reader, sorted({one for one, _ in first})) == first, reader
        for reader, months in product(_readers(service), (("2026-01", "2026-09"), ("2026-09", "2026-12"))):
            by_place = counts(reader, ("substance_id", "country"), Cut(months=months))
            exact = {(one, place): min(n, 3) for one, place, n in session.execute(by_place) if one}
            assert at_most(session, reader, sorted({one for one, _ in exact}), months, 3) == exact, (reader, months)
        for reader in _readers(service):
            of_cases = select(CaseSubstance.case_id, CaseSubstance.detection_id)
            by_case = of_cases.join(HarmCase, HarmCase.id == CaseSubstance.case_id).where(readable_parts(reader))
            by_detection = of_cases.join(Detection, Detection.id == CaseSubstance.detection_id).where(readable_detections(reader))
            assert sorted(session.execute(by_case).all()) == sorted(session.execute(by_detection).all()), reader
        for reader, country in product(_readers(service), (None, "MT", "DE")):
            cut = Cut(countries=None if country is None else (country,))
            where = (readable_detections(reader), *cut.conditions(Detection), Substance.ordinary.is_(False))
            months = select(Substance.id, func.min(Detection.month)).join(Detection, Detection.substance_id == Substance.id)
            known = months.where(*where, Substance.merged_into.is_(None)).group_by(Substance.id)
            kept = {row[0]: row[1] for row in session.execute(known)}
            assert first_month_of(session, reader, country=country) == kept, (reader, country)
        classes = session.scalars(select(Substance.chemical_group).where(Substance.ordinary.is_(False)).distinct()).all()
        for reader, group, by in product(_readers(service), classes, BY_CLASS):
            members, counted = members_of(session, group)
            cut = Cut(substances=members, months=("2026-03", "2026-11"))
            way = counts(reader, by, replace(cut, group=group if counted else None))
            assert ("class_cell" in str(way)) is counted
            columns = [getattr(Detection, name) for name in by]
            rows = (
                select(*columns, func.count()).where(readable_detections(reader), *cut.conditions(Detection)).group_by(*columns)
            )
            assert sorted(map(tuple, session.execute(way))) == sorted(map(tuple, session.execute(rows))), (reader, group, by)
            seen_classes[group] = counted
        parts = session.execute(
            select(CaseSubstance.substance_id, Detection.substance_id).join(Detection, Detection.id == CaseSubstance.detection_id)
        ).all()
    assert len(set(seen.values())) > 5, seen  # readers who see different rows
    assert parts
    assert all(kept == real for kept, real in parts)
    return seen_classes


def test_counts_equal_the_detections_after_every_kind_of_change(changed: Service) -> None:
    database = changed.context.database
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(DetectionDelta))  # merge, split and erasure are not folded yet
    _check(changed)
    assert fold_all(database) > 0
    assert fold_all(database) == 0
    assert all(_check(changed).values())
    with database.write() as session:  # an analyst decides on classes
        of = {row.name: row for row in session.scalars(select(Substance))}
        fentanyl, mdma = of["para-Fluorofentanyl"], of["MDMA"]
        left, fentanyl.chemical_group, mdma.ordinary = fentanyl.chemical_group, "nitazene", True
    decided = _check(changed)
    assert not decided["nitazene"]
    assert left not in decided or not decided[left]
    assert fold_all(database) == 0
    assert all(_check(changed).values())
    before = rebuild(database)
    assert before["detection_cell"] > 20
    _check(changed)


def test_verify_names_the_cell_that_differs_and_rebuild_mends_it(
    sqlite_service: Service, example_report: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = sqlite_service
    monkeypatch.setenv("DATABASE_URL", service.context.database.url)
    monkeypatch.setenv("NPS_SECRET_KEY", "for tests only")
    assert service.client.post("/v1/reports", json=example_report, headers=service.key("lab", "DE")).status_code == 201
    fold_all(service.context.database)
    proved = CliRunner().invoke(main, ["rollups", "verify"])
    assert (proved.exit_code, proved.output) == (0, "every count equals that of the detections\n")
    with service.context.database.write() as session:
        session.execute(text("UPDATE place_month SET n = 7 WHERE confidence = 'confirmed'"))
        session.execute(update(DetectionDelta).values(n=2))
    wrong = CliRunner().invoke(main, ["rollups", "verify"])
    assert wrong.exit_code == 1
    assert "place_month: month=2026-11, country=DE" in wrong.output
    assert "context=seizure, confidence=confirmed" in wrong.output
    assert "kept 7, counted 1" in wrong.output
    with service.context.database.write() as session:
        session.execute(text("DELETE FROM detection_delta"))
        session.execute(text("UPDATE shown_place SET last_month = '2026-12'"))
    wrong = CliRunner().invoke(main, ["rollups", "verify"])
    assert "shown_place: substance_id=" in wrong.output
    assert "kept 2026-11 to 2026-12, counted 2026-11 to 2026-11" in wrong.output
    mended = CliRunner().invoke(main, ["rollups", "rebuild"])
    assert (mended.exit_code, "detection_cell: 2 cells" in mended.output) == (0, True)
    assert CliRunner().invoke(main, ["rollups", "verify"]).exit_code == 0


def test_the_first_and_last_month_of_a_pair_go_back_as_reports_are_withdrawn(service: Service) -> None:
    lab = service.key("lab", "DE")
    database = service.context.database
    sent: dict[str, str] = {}

    def kept() -> dict[str, tuple[str, str]]:
        fold_all(database)
        assert list(differences(database)) == []
        with database.read() as session:
            return {row.tlp: (row.first_month, row.last_month) for row in session.scalars(select(ShownPlace))}

    for month, label in (("2026-05", "CLEAR"), ("2026-03", "AMBER"), ("2026-08", "GREEN"), ("2026-10", "RED")):
        sample = {"country": "DE", "date_sampled": month, "context": "seizure"}
        body = {"lab_reference": month, "sample": sample, "substances": [SUBSTANCES[0]], "tlp": label}
        answer = service.client.post("/v1/reports", json=body, headers=lab)
        assert answer.status_code == 201, answer.text
        sent[month] = answer.json()["id"]
    clear, green, amber = ("2026-05", "2026-05"), ("2026-05", "2026-08"), ("2026-03", "2026-08")
    assert kept() == {"CLEAR": clear, "GREEN": green, "AMBER": amber, "AMBER+STRICT": amber}
    early = ("2026-03", "2026-05")
    for month, left in (
        ("2026-08", {"CLEAR": clear, "GREEN": clear, "AMBER": early, "AMBER+STRICT": early}),
        ("2026-05", {"AMBER": ("2026-03", "2026-03"), "AMBER+STRICT": ("2026-03", "2026-03")}),
        ("2026-10", {"AMBER": ("2026-03", "2026-03"), "AMBER+STRICT": ("2026-03", "2026-03")}),
        ("2026-03", {}),
    ):
        answer = service.client.post(f"/v1/reports/{sent[month]}/withdraw", json={"reason": "wrong"}, headers=lab)
        assert answer.status_code == 200, answer.text
        assert kept() == left


def test_the_labels_of_the_counts_are_those_of_the_readers() -> None:
    assert (*OPEN_LABELS, "RED") == TLP_ORDER
    lab = Principal(actor="key:k", org_id="o", org_name="o", kind="lab", country="DE", role=Role.LAB, test=False)
    for reader in (None, *(replace(lab, role=role) for role in Role)):
        assert labels(reader) == OPEN_LABELS[: len(labels(reader))]


def test_a_process_of_an_earlier_version_leaves_the_lines_to_the_newer_one(
    service: Service, example_report: dict[str, Any]
) -> None:
    """Side by side during an upgrade: it might not know every count. Its own answers stay exact, and it stays ready."""
    lab = service.key("lab", "DE")
    assert service.client.post("/v1/reports", json=example_report, headers=lab).status_code == 201
    database = service.context.database
    with database.write() as session:
        before = session.scalar(text("SELECT version_num FROM alembic_version"))
        session.execute(text("UPDATE alembic_version SET version_num = '9999_later'"))
    assert fold_all(database) == 0
    assert not migrations.behind(database.engine)
    assert service.client.get("/readyz").json()["status"] == "ok"
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(DetectionDelta))
    assert list(differences(database)) == []
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :before"), {"before": before})
    assert fold_all(database) > 0
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0020_open_months'"))
    assert migrations.behind(database.engine)
    assert service.client.get("/readyz").status_code == 503
