"""Uploaded files: taken with 202, run by the worker, refused rows back in a file that can be mended and sent again."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.imports import jobs
from app.imports import service as service_module
from app.imports.bulk import Writer
from app.imports.mapping import MappingError, parse_mapping
from app.imports.readers import Row, read_rows
from app.imports.suggest import suggest_mapping
from app.persistence.base import Base
from app.persistence.models import Detection, ImportChunk, Report, Task
from app.worker import Worker
from tests.conftest import Service

MAPPING = """[report]
lab_reference = "{No}"
[sample]
country = "DE"
date_sampled = "{Date}"
context = "seizure"
form = "{Form}"
[[substances]]
name = "{Substance}"
techniques = ["gc-ms"]
"""
HEADER = ["No", "Date", "Form", "Substance", "Remark"]


def rows(count: int, *, bad: dict[int, dict[str, str]]) -> list[dict[str, str]]:
    names = ["MDMA", "cocaine HCl", "ketamine", "no such thing", "2-MMC"]
    found = []
    for n in range(count):
        row = {"No": f"A-{n}", "Date": "2026-11-03", "Form": "powder", "Substance": names[n % 5], "Remark": ""}
        found.append(row | bad.get(n, {}))
    return found


def as_file(lines: list[dict[str, str]], header: list[str] = HEADER) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, header)
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue().encode()


def upload(service: Service, key: dict[str, str], content: bytes, name: str = "year.csv", **fields: str) -> Any:
    return service.client.post("/v1/imports", headers=key, files={"file": (name, content)}, data=fields)


def work(service: Service) -> None:
    Worker(service.context, schedule=False).run_due()


def count(service: Service, model: type) -> int:
    with service.context.database.read() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


BAD = {
    7: {"Date": "03.11.2026"}, 20: {"Form": "powdr"}, 33: {"Substance": ""}, 60: {"Date": "2027-01-01"}, 99: {"Date": ""},
    120: {"No": ""}, 150: {"Form": "Tablette"}, 201: {"Date": "2026-13-01"}, 255: {"Form": "cristal"}, 300: {"Date": "soon"},
    404: {"No": "A-403"}, 499: {"Date": "2026-11-31"},
}  # fmt: skip


def test_of_500_rows_12_come_back_and_go_in_once_mended(service: Service) -> None:
    key = service.key("lab", "DE")
    mapping = MAPPING.replace('name = "{Substance}"', 'name = "{Substance}"\nmethod_note = "{Remark}"')
    content = as_file(rows(500, bad={**BAD, 33: {"Substance": "x" * 401}}))
    answer = upload(service, key, content, mapping=mapping)
    assert (answer.status_code, answer.json()["state"]) == (202, "waiting")
    address = answer.headers["location"]
    work(service)
    done = service.client.get(address, headers=key).json()
    assert (done["state"], done["rows"]) == ("done", {"total": 500, "read": 500, "stored": 488, "known": 0, "rejected": 12})
    assert done["labels_unresolved"] == {"no such thing": 99}
    assert count(service, Report) == 488
    assert count(service, ImportChunk) == 0

    text = service.client.get(f"{address}/rejects", headers=key).text
    refused = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["nps_row"]) for row in refused] == [n + 2 for n in sorted(BAD)]
    assert all(row["nps_field"] and row["nps_reason"] for row in refused)
    by_row = {int(row["nps_row"]) - 2: row for row in refused}
    assert (by_row[7]["nps_column"], by_row[7]["nps_suggestion"]) == ("Date", "2026-11-03?")
    assert (by_row[20]["nps_column"], by_row[20]["nps_suggestion"]) == ("Form", "powder?")
    assert by_row[255]["nps_suggestion"] == "crystal?"
    page = service.client.get(f"{address}/rejects?format=json&limit=5", headers=key).json()
    assert [item["row"] for item in page["items"]] == [9, 22, 35, 62, 101]
    assert page["next_cursor"] == 101

    for row in refused:  # mended in the very file that came back
        row |= {"Date": "2026-11-04", "Form": "powder", "Substance": "MDMA", "No": f"M-{row['nps_row']}"}
    again = upload(service, key, as_file(refused, list(refused[0])), name="mended.csv", mapping=mapping)
    work(service)
    done = service.client.get(again.headers["location"], headers=key).json()
    assert (done["rows"]["stored"], done["rows"]["rejected"]) == (12, 0)
    assert count(service, Report) == 500

    same = upload(service, key, content, mapping=mapping)
    work(service)
    done = service.client.get(same.headers["location"], headers=key).json()
    assert (done["rows"]["stored"], done["rows"]["known"]) == (0, 488)


def test_a_run_that_is_cut_off_is_taken_up_again(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    key = service.key("lab", "DE")
    monkeypatch.setattr(service_module, "BATCH", 40)
    answer = upload(service, key, as_file(rows(300, bad={3: {"Date": "never"}})), mapping=MAPPING)
    job_id = answer.json()["id"]

    def dying_after(batches: int) -> Callable[[int], None]:
        left = iter(range(batches))

        def progress(_: int) -> None:
            if next(left, None) is None:
                raise RuntimeError("killed")

        return progress

    for batches in (random.Random(5).randint(1, 6), 2):
        with pytest.raises(RuntimeError, match="killed"):
            jobs._run(service.context, job_id, make_folder(service), dying_after(batches))
    work(service)
    done = service.client.get(f"/v1/imports/{job_id}", headers=key).json()
    assert done["rows"] == {"total": 300, "read": 300, "stored": 299, "known": 0, "rejected": 1}
    assert (count(service, Report), count(service, Detection)) == (299, 299)
    assert len(service.client.get(f"/v1/imports/{job_id}/rejects?format=json", headers=key).json()["items"]) == 1


def make_folder(service: Service) -> Path:
    folder = Path(service.context.settings.data_dir) / "spool"
    folder.mkdir(exist_ok=True)
    return folder


def test_without_a_mapping_the_answer_proposes_one_and_nothing_is_imported(sqlite_service: Service) -> None:
    service = sqlite_service
    key = service.key("lab", "DE")
    content = "Labor-Nr;Datum;Form;Wirkstoff;Methode;Einsender\nA1;03.11.2026;Pulver;Kokain HCl;GC/MS, IR;Zoll\n"
    content += "A2;14.11.2026;Tbl;MDMA;GC-MS;Polizei\n"
    answer = upload(service, key, content.encode())
    assert (answer.status_code, answer.json()["state"]) == (202, "draft")
    assert count(service, Task) == 0
    started = service.client.post(
        f"{answer.headers['location']}/start", headers=key, data={"mapping": answer.json()["mapping"], "mode": "historical"}
    )
    assert started.status_code == 202, started.text
    work(service)
    assert service.client.get(answer.headers["location"], headers=key).json()["rows"]["stored"] == 2
    with service.context.database.read() as session:
        found = session.execute(select(Detection.techniques, Detection.context).order_by(Detection.report_id)).all()
    assert [tuple(row) for row in found] == [(["gc", "ms", "ftir"], "seizure"), (["gc", "ms"], "seizure")]
    again = service.client.post(f"{answer.headers['location']}/start", headers=key, data={"mapping": MAPPING})
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("name", "content", "fields", "pointer"),
    [
        ("a.pdf", b"x", {"mapping": MAPPING}, "/file"),
        ("a.csv", b"", {}, "/file"),
        ("a.csv", b"a\n1\n", {"mapping": "[report"}, "/mapping"),
        ("a.csv", b"a\n1\n", {"mapping": MAPPING, "mode": "replay"}, "/mode"),
        ("a.csv", b"a\n1\n", {"mapping": MAPPING, "mode": "loud"}, "/mode"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_field(
    sqlite_service: Service, name: str, content: bytes, fields: dict[str, str], pointer: str
) -> None:
    answer = upload(sqlite_service, sqlite_service.key("lab", "DE"), content, name, **fields)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_a_file_that_turns_out_unreadable_fails_with_the_reason(sqlite_service: Service) -> None:
    key = sqlite_service.key("lab", "DE")
    answer = upload(sqlite_service, key, b"no zip", "a.xlsx", mapping=MAPPING)
    work(sqlite_service)
    found = sqlite_service.client.get(answer.headers["location"], headers=key).json()
    assert found["state"] == "failed"
    assert "XLSX" in found["error"]


def test_an_import_is_its_laboratory_s_own(sqlite_service: Service) -> None:
    answer = upload(sqlite_service, sqlite_service.key("lab", "DE"), as_file(rows(3, bad={})), mapping=MAPPING)
    other = sqlite_service.key("lab", "FR")
    for path in ("", "/rejects"):
        assert sqlite_service.client.get(answer.headers["location"] + path, headers=other).status_code == 404
    assert sqlite_service.client.get("/v1/imports", headers=other).json()["items"] == []
    assert upload(sqlite_service, sqlite_service.key("authority", "DE"), b"a\n1\n").status_code == 403


FORGET = {"id", "report_id", "substance_id", "detection_id", "case_id", "import_id", "received_at", "updated_at", "created_at",
          "org_id", "actor", "first_seen", "last_seen", "started_at", "ended_at", "file_sha256"}  # fmt: skip


def everything(service: Service) -> dict[str, list[str]]:
    """All rows of what an import writes, without ids and times, in order of their content."""
    found = {}
    with service.context.database.read() as session:
        for name in (
            "report",
            "report_version",
            "sample",
            "detection",
            "harm_case",
            "case_substance",
            "substance",
            "curation_item",
        ):
            table = Base.metadata.tables[name]
            lines = []
            for row in session.execute(select(table)).mappings():
                kept = {key: value for key, value in row.items() if key not in FORGET}
                if name == "report":
                    for part in kept["answer"]["substances"]:
                        part["substance_id"] = bool(part["substance_id"])
                    kept["answer"] = {k: v for k, v in kept["answer"].items() if k not in ("id", "received_at")}
                lines.append(json.dumps(kept, default=str, sort_keys=True))
            found[name] = sorted(lines)
    return found


def test_the_fast_way_writes_what_the_ordinary_way_writes(
    make_service: Callable[[str], Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = MAPPING + '\n[[substances]]\nname = "norfentanyl"\nrelation = "metabolite"\ntechniques = ["lc-msms"]\n'
    mapping += '[[cases]]\nseriousness = "death"\nexposure_evidence = "biological"\n'
    content = as_file(rows(60, bad={4: {"Date": "x"}, 9: {"Substance": "fentanyl or analog"}}))
    found = []
    for name in ("fast", "ordinary"):
        made = make_service(f"sqlite:///{tmp_path / name}.sqlite")
        if name == "ordinary":
            monkeypatch.setattr(Writer, "takes", lambda *_: False)
        upload(made, made.key("lab", "DE"), content, mapping=mapping, mode="historical")
        work(made)
        found.append(everything(made))
    assert found[0]["report"]
    assert len(found[0]["harm_case"]) == 59
    for table, lines in found[0].items():
        assert lines == found[1][table], table


def test_a_live_import_raises_what_single_reports_would(
    make_service: Callable[[str], Service], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast way is only taken where nothing can be raised: new substances, forms and countries go the ordinary way."""
    forms = ["powder", "tablet", "powder", "nasal_spray"]
    changed = {n: {"Form": forms[n % 4], "Date": f"2026-{7 + n % 5:02d}-03"} for n in range(120)}
    found = []
    for name in ("fast", "ordinary"):
        made = make_service(f"sqlite:///{tmp_path / name}.sqlite")
        if name == "ordinary":
            monkeypatch.setattr(Writer, "takes", lambda *_: False)
        key = made.key("lab", "DE")
        answer = upload(made, key, as_file(rows(120, bad=changed)), mapping=MAPPING)
        work(made)
        assert made.client.get(answer.headers["location"], headers=key).json()["rows"]["stored"] == 120
        alerts = made.client.get("/v1/alerts?limit=200", headers=key).json()["items"]
        found.append(sorted((a["type"], a["headline"]) for a in alerts))
    assert found[0] == found[1]
    assert {kind for kind, _ in found[0]} >= {"first_region", "new_form_or_route"}


def test_a_proposed_mapping_reads_the_file_it_was_proposed_for(real_data: Path) -> None:
    for name in ("bc_drug_checking_2018_2019.csv", "ct_overdose_toxicology_2012_2018.csv"):
        proposal = suggest_mapping(read_rows(real_data / name, "csv"), country="CA")
        mapping = parse_mapping(proposal.toml)
        bodies = [mapping.report_of(row.cells) for row in islice(read_rows(real_data / name, "csv"), 60)]
        assert sum(bool(body["substances"]) for body in bodies) > 30
        assert all(body["sample"]["date_sampled"].startswith("20") for body in bodies)
        assert proposal.columns["date_sampled"] in ("sample_date", "death_month")


def test_a_proposal_carries_old_codes_and_says_what_it_cannot(tmp_path: Path) -> None:
    forms = ["Pulver", "TBL", "Zäpfchen"]
    fixed = {"Method": "GC/MS; UPLC-QTOF", "CASNo": "50-36-2"}
    cells = [{"Case No": f"C{n}", "Sample date": f"{n + 13}/10/2026", "Form": form, **fixed} for n, form in enumerate(forms)]
    proposal = suggest_mapping((Row(n, c) for n, c in enumerate(cells)), country="AT")
    body = parse_mapping(proposal.toml).report_of(cells[1])
    assert body["sample"] == {"country": "AT", "date_sampled": "2026-10-14", "context": "unknown", "form": "tablet"}
    assert body["substances"] == [{"cas": "50-36-2", "techniques": ["gc-ms", "lc-qtof"]}]
    assert any("Zäpfchen" in question for question in proposal.open_questions)


def test_a_mapping_with_the_wrong_shape_says_so() -> None:
    for text in ("report = 1\n[sample]\na = 1", "[report]\nlab_reference='x'\n[sample]\n[substances]\nname='x'"):
        with pytest.raises(MappingError, match="is not a"):
            parse_mapping(text)
