"""Bulk intake: every row stored, known or refused with a reason; the same file again stores nothing."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import xlsxwriter
from sqlalchemy import func, select

from app.auth import accounts
from app.auth.permissions import Principal
from app.chemistry import Chemistry
from app.imports.mapping import MappingError, read_mapping, row_hash
from app.imports.readers import FileError, format_of, read_rows
from app.imports.rejects import RejectFile
from app.imports.service import Outcome, run_import
from app.persistence.models import Alert, AlertRevision, Detection, HarmCase, ImportJob, Organisation, Report, Substance, Task
from chem.names import Outcome as Meaning
from chem.names import fold
from tests.conftest import Service

MAPPINGS = Path(__file__).resolve().parents[2] / "mappings"
BC, CT = MAPPINGS / "bc_drug_checking.toml", MAPPINGS / "ct_overdose_toxicology.toml"

HEADER = "sample_date,city,expected_substance,fentanyl_strip,benzodiazepine_strip,detected"
ROWS = [
    "2026-11-02,Testville,Fentanyl,True,N/A,Caffeine;Fentanyl HCl",
    "2026-11-02,Testville,Fentanyl,True,N/A,Caffeine;Fentanyl HCl",  # identical: another sample
    "2026-11-03,Testville,MDMA,False,N/A,MDMA",
    "2026-11-03,Testville,Unknown,True,True,Uncertain Match",
    "2026-11-03,Testville,Sugar,False,False,",
]
BAD = ["2026-13-03,Testville,MDMA,False,N/A,MDMA", "2027-01-03,Testville,MDMA,False,N/A,MDMA", "2026-11-03,too,few"]


def laboratory(service: Service, country: str = "CA") -> Principal:
    service.key("lab", country, name=f"importer {country}")
    with service.context.database.read() as session:
        org = session.get_one(Organisation, service.org_id(f"importer {country}"))
        return accounts.principal_of(org, "lab", "cli:import")


def run(service: Service, principal: Principal, path: Path, mapping: Path, mode: str = "live") -> tuple[Outcome, Path]:
    rejects = RejectFile(path.with_suffix(".rejects.csv"))
    try:
        outcome = run_import(
            service.context, path=path, file_format=format_of(path), mapping=read_mapping(mapping), principal=principal,
            mode=mode, rejects=rejects, progress=lambda _: None,
        )  # fmt: skip
    finally:
        rejects.close()
    return outcome, rejects.path


def count(service: Service, model: type) -> int:
    with service.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_good_rows_are_stored_and_bad_ones_returned_with_reasons(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("\n".join([HEADER, *ROWS, *BAD]) + "\n")
    principal = laboratory(service)
    outcome, rejects = run(service, principal, path, BC)
    assert (outcome.read, outcome.stored, outcome.known, outcome.rejected) == (8, 5, 0, 3)
    with rejects.open() as file:
        refused = list(csv.DictReader(file))
    assert [row["nps_row"] for row in refused] == ["7", "8", "9"]
    assert [row["nps_field"] for row in refused] == ["/sample/date_sampled", "/sample/date_sampled", "row"]
    assert "future" in refused[1]["nps_reason"]
    with service.context.database.read() as session:
        job = session.scalars(select(ImportJob)).one()
        assert (job.state, job.rows_stored, job.rows_rejected) == ("done", 5, 3)

    again, _ = run(service, principal, path, BC)
    assert (again.stored, again.known, again.rejected) == (0, 5, 3)
    assert count(service, Report) == 5


def test_the_mapping_reads_strips_and_splits(sqlite_service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    run(sqlite_service, laboratory(sqlite_service), path, BC)
    with sqlite_service.context.database.read() as session:
        rows = session.execute(
            select(Detection.reported_name, Detection.resolution, Detection.confidence, Detection.resolution_class, func.count())
            .group_by(Detection.reported_name, Detection.resolution, Detection.confidence, Detection.resolution_class)
            .order_by(Detection.reported_name)
        ).all()
        assert [tuple(row) for row in rows] == [
            ("Benzodiazepine", "class", "screening", "benzodiazepine_type", 1),
            ("Caffeine", "name", "tentative", None, 2),
            ("Fentanyl HCl", "name", "probable", None, 2),  # a spectrum and a strip measure different properties
            ("Fentanyl or Analog", "class", "screening", "fentanyl_analogue", 1),
            ("MDMA", "name", "tentative", None, 1),
            ("Uncertain Match", "unresolved", "tentative", None, 1),
        ]
        assert session.scalars(select(Report.outcome).order_by(Report.outcome)).all() == ["detected"] * 4 + ["none_detected"]
        # caffeine raises nothing; fentanyl, identified by two properties, is the first in the region
        named = session.execute(select(Alert.type, Substance.name).join(Substance, Substance.id == Alert.substance_id)).all()
        assert [tuple(row) for row in named] == [("first_region", "Fentanyl")]


def test_a_historical_import_counts_and_stays_quiet(sqlite_service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n")
    outcome, _ = run(sqlite_service, laboratory(sqlite_service), path, BC, mode="historical")
    assert (outcome.stored, outcome.alerts) == (5, 0)
    with sqlite_service.context.database.read() as session:
        alert, revision = session.execute(select(Alert, AlertRevision).join(AlertRevision)).one()
        assert (alert.type, alert.level, alert.tlp, alert.country) == ("analytical", 1, "GREEN", "CA")
        assert revision.headline == "Earlier data: 5 reports from Canada, November 2026"
    again, _ = run(sqlite_service, laboratory(sqlite_service, "US"), path, BC, mode="historical")
    assert (again.stored, count(sqlite_service, Alert)) == (5, 2)  # one line an import


def test_a_replay_receives_each_row_on_its_day_and_looks_at_each_day_in_order(sqlite_service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    days = [f"2025-03-{day:02},Testville,MDMA,True,N/A,Fentanyl HCl" for day in (9, 2, 5)]
    path.write_text("\n".join([HEADER, *days]) + "\n")
    outcome, _ = run(sqlite_service, laboratory(sqlite_service), path, BC, mode="replay")
    assert outcome.stored == 3
    with sqlite_service.context.database.read() as session:
        received = session.scalars(select(Report.received_at).order_by(Report.received_at)).all()
        assert [moment.isoformat() for moment in received] == [f"2025-03-{day:02}T12:00:00+00:00" for day in (2, 5, 9)]
        first = session.scalars(select(Alert).where(Alert.type == "first_region")).one()
        assert first.received_at == received[0]  # a year and a half ago: not old, for it came in then
        due = session.execute(
            select(Task.key, Task.run_at).where(Task.topic == "evaluate").order_by(Task.priority.desc(), Task.run_at)
        ).all()
        daily = [key.removeprefix("daily:") for key, _ in due if key.startswith("daily:")]
        assert daily == [f"2025-03-{day:02}" for day in range(3, 11)]
        moments = [key.removeprefix("daily:")[:10] for key, _ in due]
        assert moments == sorted(moments)  # days and reports in one order of time


@pytest.mark.parametrize("kind", ["xlsx", "ndjson"])
def test_other_formats_give_the_same_reports(sqlite_service: Service, tmp_path: Path, kind: str) -> None:
    rows = [line.split(",") for line in [HEADER, *ROWS]]
    path = tmp_path / f"file.{kind}"
    if kind == "xlsx":
        book = xlsxwriter.Workbook(str(path))
        sheet = book.add_worksheet()
        for number, row in enumerate(rows):
            sheet.write_row(number, 0, row)
        book.close()
    else:
        path.write_text("\n".join(json.dumps(dict(zip(rows[0], row, strict=True))) for row in rows[1:]))
    outcome, _ = run(sqlite_service, laboratory(sqlite_service), path, BC)
    assert (outcome.stored, outcome.rejected) == (5, 0)


def test_an_sdf_is_read_record_by_record(sqlite_service: Service, tmp_path: Path) -> None:
    mapping = tmp_path / "sdf.toml"
    mapping.write_text(
        '[report]\nlab_reference = "{Case}"\n[sample]\ncountry = "DE"\ndate_sampled = "{Date}"\ncontext = "seizure"\n'
        '[[substances]]\nname = "{title}"\nstructure = { molfile = "{molfile}" }\ntechniques = ["gc-ms"]\n'
    )
    block = "\n  test\n\n  2  1  0  0  0  0  0  0  0  0999 V2000\n    0.0000    0.0000    0.0000 C   0  0\n"
    block += "    1.0000    0.0000    0.0000 O   0  0\n  1  2  1  0\nM  END\n"
    record = f"methanol{block}> <Case>\nC-1\n\n> <Date>\n2026-11-01\n\n$$$$\n"
    path = tmp_path / "file.sdf"
    path.write_text(record + record.replace("C-1", "C-2").replace("M  END", "") + record.replace("C-1", "C-3"))
    outcome, rejects = run(sqlite_service, laboratory(sqlite_service), path, mapping)
    assert (outcome.stored, outcome.rejected) == (2, 1)
    assert "M  END" in rejects.read_text()


def test_a_cell_that_looks_like_a_formula_is_harmless_in_the_reject_file(sqlite_service: Service, tmp_path: Path) -> None:
    path = tmp_path / "file.csv"
    path.write_text(f"{HEADER}\n2026-99-99,=HYPERLINK(1),x,False,N/A,MDMA\n")
    _, rejects = run(sqlite_service, laboratory(sqlite_service), path, BC)
    assert "'=HYPERLINK" in rejects.read_text()


def test_a_reference_with_other_content_is_refused_not_dropped(sqlite_service: Service, tmp_path: Path) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(BC.read_text().replace("{rowhash}-{n}", "{city}"))
    path = tmp_path / "file.csv"
    path.write_text("\n".join([HEADER, ROWS[0], ROWS[2]]) + "\n")
    outcome, rejects = run(sqlite_service, laboratory(sqlite_service), path, mapping)
    assert (outcome.stored, outcome.known, outcome.rejected) == (1, 0, 1)
    assert "other content" in rejects.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[report", "Expected"),
        ("[sample]\ncountry='DE'", "[report] is missing"),
        ("[report]\ntlp='GREEN'\n[sample]\na='b'", "lab_reference"),
        ("[report]\nlab_reference='{a}'\n[sample]\na='b'", "[[substances]]"),
        ("[report]\nlab_reference='{a}'\n[sample]\na='b'\n[extra]\n", "unknown part"),
    ],
)
def test_a_broken_mapping_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "m.toml"
    path.write_text(text)
    with pytest.raises(MappingError, match=message.replace("[", r"\[")):
        read_mapping(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", b"\xff\xfe\x00a"), ("a.csv", b""), ("a.csv", b"x,x\n1,2\n"), ("a.xlsx", b"no zip"), ("a.pdf", b"")],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(FileError):
        list(read_rows(path, format_of(path)))


def test_identical_rows_have_one_hash_whatever_the_order_of_columns() -> None:
    assert row_hash({"a": "1", "b": "2"}) == row_hash({"b": "2", "a": "1"})
    assert row_hash({"a": "1", "b": "2"}) != row_hash({"a": "2", "b": "1"})


def test_the_real_files_go_in_whole(make_service: Callable[[str], Service], tmp_path: Path, real_data: Path) -> None:
    """All rows stored or refused with a reason; only doubtful labels stay unresolved; nothing is raised by old samples."""
    service = make_service(f"sqlite:///{tmp_path / 'real.sqlite'}")
    for name, mapping, country, rows in (
        ("bc_drug_checking_2018_2019.csv", BC, "CA", 7_958),
        ("ct_overdose_toxicology_2012_2018.csv", CT, "US", 5_103),
    ):
        path = tmp_path / name
        lines = (real_data / name).read_text().splitlines(keepends=True)
        assert len(lines) == rows + 1
        path.write_text("".join(lines[:1] + lines[1::8]))  # every eighth row: the whole files take a minute each
        outcome, rejects = run(service, laboratory(service, country), path, mapping)
        assert outcome.read == len(lines[1::8])
        assert (outcome.stored, outcome.rejected, outcome.alerts) == (outcome.read, 0, 0)
        assert not rejects.exists()
        again, _ = run(service, laboratory_again(service, country), path, mapping)
        assert (again.stored, again.known) == (0, outcome.read)
    assert count(service, HarmCase) > 500


def laboratory_again(service: Service, country: str) -> Principal:
    with service.context.database.read() as session:
        org = session.get_one(Organisation, service.org_id(f"importer {country}"))
        return accounts.principal_of(org, "lab", "cli:import")


REAL_LABELS = (
    ("bc_drug_checking_2018_2019.csv", "detected"),
    ("ct_overdose_toxicology_2012_2018.csv", "substances"),
    ("ct_overdose_toxicology_2012_2018.csv", "other_text"),
)


def real_labels(real_data: Path) -> Counter[str]:
    """Every label of the real files with how often it occurs."""
    found: Counter[str] = Counter()
    for name, column in REAL_LABELS:
        with (real_data / name).open() as file:
            for row in csv.DictReader(file):
                found.update(part.strip() for part in row[column].split(";") if part.strip())
    return found


def test_real_labels_that_name_a_definite_substance_resolve(chemistry: Chemistry, real_data: Path) -> None:
    """At least 95 % of the occurrences. Not counted: classes, labels of doubt, several meanings, and what names no substance."""
    outcomes: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    for label, times in real_labels(real_data).items():
        found = chemistry.names.resolve(label)
        if found.outcome is Meaning.NONE and found.reason == "no table has this name":
            unknown[label] += times
        elif found.outcome is not Meaning.NONE:
            outcomes[found.outcome.value] += times
    assert outcomes["substance"] > 24_000
    share = outcomes["substance"] / (outcomes["substance"] + sum(unknown.values()))
    assert share >= 0.95, unknown.most_common(20)
    assert outcomes["candidates"] > 1_000  # "Heroin/Morph/Codeine" is offered as what it could be, never guessed


def test_no_real_label_comes_out_as_another_substance(chemistry: Chemistry, real_data: Path) -> None:
    """Each label that resolves holds a known name of what it resolved to, beside at most words on the state of the sample."""
    names = chemistry.names
    labels = real_labels(real_data)
    assert len(labels) > 300
    for label in labels:
        found = names.resolve(label)
        if found.outcome is Meaning.SUBSTANCE:
            known = {name.folded for name in names.names_of(found.substances[0].key)}
            assert any(name in fold(label) for name in known), (label, found.substances[0].name)
