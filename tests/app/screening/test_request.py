"""`POST /v1/screen`, its certificate and its page: bounded, in parallel, the same bytes as the command, and no trace."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from rdkit import Chem
from sqlalchemy import inspect, text

from app.chemistry import Chemistry, Question
from app.screening.certificate import Run, content
from app.screening.run import kind_of
from chem.errors import StructureProblem
from chem.values import Structure, StructureFormat
from tests.bench.library import structures
from tests.conftest import Service
from tests.site import client_of, make_site, sign_in, token_in

CEC = "CCNC(C)C(=O)c1ccc(Cl)cc1"  # a cathinone of single countries, in no convention
FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"


@pytest.fixture(scope="module")
def pooled() -> Iterator[Chemistry]:
    """Chemistry in two worker processes, as the service has it."""
    chemistry = Chemistry(workers=2)
    yield chemistry
    chemistry.close()


def test_records_come_in_order_with_their_coverage(sqlite_service: Service) -> None:
    key = sqlite_service.key("industry", "GB")
    body = {
        "structures": [
            {"name": "a", "smiles": FENTANYL},
            {"smiles": "c1ccc"},
            {"candidates": ["CNC(C)C(=O)c1ccccc1C", {"smiles": "CNC(C)C(=O)c1cccc(C)c1"}]},
        ],
        "as_of": "2026-11-24",
        "instruments": ["UN-1961", "UN-1971"],
    }
    answer = sqlite_service.client.post("/v1/screen", json=body, headers=key)
    assert answer.status_code == 200, answer.text
    records = answer.json()["records"]
    assert [r["index"] for r in records] == [0, 1, 2]
    assert records[0]["legal_status"] == "controlled"
    assert records[1]["error"]["code"] == "structure-unreadable"
    assert len(records[2]["candidates"]) == 2
    assert [c["instrument"] for c in answer.json()["coverage"]] == ["UN-1961", "UN-1971"]
    for wrong in ({"structures": [{}]}, {"structures": [{"smiles": "C"}] * 1001}, {**body, "instruments": ["X"]}):
        assert sqlite_service.client.post("/v1/screen", json=wrong, headers=key).status_code == 422


def question(smiles: str) -> Question:
    return Question((Structure(format=StructureFormat.SMILES, text=smiles),), False, date(2026, 11, 24), None, 3, ())


def test_the_workers_share_a_request_and_keep_its_order(pooled: Chemistry, chemistry: Chemistry) -> None:
    asked = [question(smiles) for smiles in structures(60)]
    assert pooled.assess_many_uncached(asked) == chemistry.assess_many_uncached(asked)


def test_a_request_is_bounded_in_time(pooled: Chemistry) -> None:
    answers = pooled.assess_many_uncached([question(smiles) for smiles in structures(200)], budget_s=0.05)
    assert len(answers) == 200
    assert answers[-1].problem is StructureProblem.TIMEOUT
    assert pooled.assess_uncached(question(FENTANYL), deadline_s=10).problem is None


def test_the_certificate_ties_input_and_output(sqlite_service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Run] = []
    from app.screening import service as slice_

    original = slice_.certificate
    monkeypatch.setattr(slice_, "certificate", lambda run: made.append(run) or original(run))
    key = sqlite_service.key("industry", "GB")
    structures = [{"smiles": text} for text in (FENTANYL, "CCO", CEC, "c1ccc")]
    body = json.dumps({"structures": structures, "as_of": "2026-11-24"})
    headers = key | {"Content-Type": "application/json"}
    pdf = sqlite_service.client.post("/v1/screen/certificate.pdf", content=body, headers=headers)
    assert pdf.status_code == 200, pdf.text
    assert pdf.headers["content-type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF")
    records = sqlite_service.client.post("/v1/screen", content=body, headers=headers).json()["records"]
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()
    (run,) = made
    assert run.input_sha256 == hashlib.sha256(body.encode()).hexdigest()
    assert run.output_sha256 == hashlib.sha256(lines).hexdigest()
    printed = json.dumps(content(run))
    assert FENTANYL not in printed
    told = dict(content(run)["results"])
    assert told["controlled under the UN conventions"] == "1"
    assert told["no match in the UN conventions, controlled under another instrument"] == "1"
    assert told["no match in what is covered"] == "1"
    assert sum(int(count) for count in told.values()) == 4
    assert {row["instrument"] for row in content(run)["coverage"]} >= {"UN-1961", "US-CSA"}


def test_a_certificate_of_other_instruments_says_nothing_of_the_conventions() -> None:
    counts = {"not_controlled/controlled": 3, "not_controlled/possibly_controlled": 2, "not_controlled": 1}
    run = Run(
        made_at=datetime(2026, 11, 24, tzinfo=UTC), as_of=date(2026, 11, 24), engine_version="normalisation 1, RDKit 2",
        instruments=("UK-MDA", "DE-NPSG"), counts=counts, coverage=[], input_sha256="0" * 64, output_sha256="f" * 64,
        what_input="a", what_output="b",
    )  # fmt: skip
    assert content(run)["results"] == [
        ("controlled under an instrument that was asked", "3"), ("possibly controlled under an instrument that was asked", "2"),
        ("no match in what is covered", "1"), ("unresolved", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("legal_status", "others", "kind"),
    [
        ("controlled", {"UK-MDA": "possibly_controlled"}, "controlled"),
        ("possibly_controlled", {"UK-MDA": "possibly_controlled"}, "possibly_controlled"),
        ("possibly_controlled", {"UK-MDA": "controlled"}, "possibly_controlled/controlled"),
        ("not_controlled", {"UK-MDA": "possibly_controlled", "DE-NPSG": "controlled"}, "not_controlled/controlled"),
        ("not_controlled", {"UK-MDA": "possibly_controlled"}, "not_controlled/possibly_controlled"),
        ("not_controlled", {"UK-MDA": "not_controlled"}, "not_controlled"),
        ("unresolved", {}, "unresolved"),
    ],
)
def test_a_record_counts_by_the_conventions_and_by_what_goes_beyond_them(
    legal_status: str, others: dict[str, str], kind: str
) -> None:
    statuses = {"UN-1961": legal_status} | others
    assert kind_of({"status": "ok", "legal_status": legal_status, "status_by_instrument": statuses}) == kind


def test_a_certificate_prints_names_as_they_are() -> None:
    from app.screening.certificate import certificate

    run = Run(
        made_at=datetime(2026, 11, 24, tzinfo=UTC), as_of=date(2026, 11, 24), engine_version="normalisation 1, RDKit 2",
        instruments=("UN-1961",), counts={"error:new-code": 1}, coverage=[], input_sha256="0" * 64, output_sha256="f" * 64,
        what_input='#panic("x") *a* $b$ \\', what_output="[b](c).ndjson",
    )  # fmt: skip
    assert certificate(run).startswith(b"%PDF")


# pages


def test_the_page_shows_and_hands_out_the_records(tmp_path: Path, chemistry: Chemistry) -> None:
    app = make_site(tmp_path)
    app.state.context.chemistry = chemistry
    client = client_of(app)
    assert client.get("/screening").status_code == 303
    sign_in(client, "lab.de@example.org")
    page = client.get("/screening")
    form = {"csrf_token": token_in(page.text), "structures": f"{FENTANYL} fentanyl\n{CEC} x\nc1ccc\n", "as_of": "2026-11-24"}
    shown = client.post("/screening", data=form)
    assert shown.status_code == 200
    assert (
        "3 structures: 1 controlled under the UN conventions, 0 possibly, 1 by the law of single countries alone, certainly or "
        "possibly, 1 without an answer" in shown.text
    )
    assert '>No UN match</strong> <strong class="badge legal-controlled">Controlled in DE, GB</strong>' in shown.text
    assert "Fentanyl is named in Schedule I" in shown.text
    assert shown.headers["cache-control"] == "private, no-store"
    lines = client.post("/screening", data={**form, "want": "ndjson"})
    assert [json.loads(line)["status"] for line in lines.text.splitlines()] == ["ok", "ok", "error"]
    assert client.post("/screening", data={**form, "want": "csv"}).text.startswith("index,name")
    assert client.post("/screening", data={**form, "want": "pdf"}).content.startswith(b"%PDF")
    for wrong in (
        {"as_of": "yesterday"},
        {"structures": " "},
        {"structures": "C\n" * 1001},
        {"format": "csv", "structures": "x"},
    ):
        refused = client.post("/screening", data={**form, **wrong})
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
    assert client.post("/screening", data={**form, "csrf_token": "x"}).status_code == 403


# no trace


@pytest.fixture(scope="module")
def unique() -> list[str]:
    """1,000 structures that nothing else in the suite uses."""
    return structures(6_000)[5_000:]


def traces(structure: str) -> set[str]:
    """Texts that would give a structure away: itself, its canonical SMILES, its InChIKey and what that is cut to."""
    mol = Chem.MolFromSmiles(structure)
    key = Chem.MolToInchiKey(mol)
    largest = max(Chem.GetMolFrags(mol, asMols=True), key=lambda m: m.GetNumAtoms())
    return {structure, Chem.MolToSmiles(mol), key, key[:14], Chem.MolToInchiKey(largest)[:14], Chem.MolToSmiles(largest)}


def haystacks(folder: Path) -> Iterator[bytes]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.read_bytes()


def assert_no_trace(found: bytes, unique: list[str], names: list[str]) -> None:
    for wanted in {trace for structure in unique for trace in traces(structure)} | set(names):
        assert wanted.encode() not in found, wanted


def test_a_screened_catalogue_leaves_no_trace(
    make_service: Callable[[str], Service], database_url: str, chemistry: Chemistry, unique: list[str], tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    service = make_service(database_url)
    # workers of its own: the service closes its chemistry with itself
    service.context.chemistry = Chemistry(workers=2, names=chemistry.names, engine=chemistry.engine)
    key = service.key("industry", "GB")
    names = [f"zq-catalogue-{n}" for n in range(len(unique))]
    body = {"structures": [{"name": n, "smiles": s} for n, s in zip(names, unique, strict=True)], "as_of": "2026-11-24"}
    with caplog.at_level(logging.DEBUG):
        answer = service.client.post("/v1/screen", json=body, headers=key)
        assert answer.status_code == 200
        assert sum(r["status"] == "ok" for r in answer.json()["records"]) >= 990
        pdf = service.client.post("/v1/screen/certificate.pdf", json={**body, "structures": body["structures"][:50]}, headers=key)
        assert pdf.status_code == 200
        broken = service.client.post("/v1/screen", json={"structures": [{"smiles": unique[0], "x": 1}]}, headers=key)
        assert broken.status_code == 422
    assert_no_trace(caplog.text.encode() + pdf.content, unique, names)
    assert_no_trace(b"".join(haystacks(tmp_path)), unique, names)
    with service.context.database.read() as session:
        rows = [
            str(list(row))
            for table in inspect(service.context.database.engine).get_table_names()
            for row in session.execute(text(f'SELECT * FROM "{table}"'))
        ]
    assert_no_trace("\n".join(rows).encode(), unique, names)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder with a short path: the sockets of the worker processes live in it, and their paths are limited."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def test_the_command_leaves_nothing_but_its_output(unique: list[str], tmp_path: Path, short_folder: Path) -> None:
    data, temporary, where = tmp_path / "data", short_folder, tmp_path / "where"
    for folder in (data, where):
        folder.mkdir()
    environment = os.environ | {"NPS_DATA_DIR": str(data), "TMPDIR": str(temporary), "HOME": str(where)}
    environment |= {"PYTHONPATH": str(Path(__file__).resolve().parents[3]), "PYTHONDONTWRITEBYTECODE": "1"}
    source, out = tmp_path / "in.smi", tmp_path / "out.ndjson"
    source.write_text("".join(f"{s} zq-{n}\n" for n, s in enumerate(unique)))
    command = [sys.executable, "-m", "app.cli", "screen", str(source), "--output", str(out), "--workers", "2"]
    done = subprocess.run(command, env=environment, cwd=where, capture_output=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert len(out.read_bytes().splitlines()) == len(unique)
    found = b"".join(b"".join(haystacks(folder)) for folder in (data, temporary, where))
    assert_no_trace(found + done.stdout + done.stderr, unique, [f"zq-{n}" for n in range(len(unique))])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "in.smi", "out.ndjson", "where"]


def test_a_fault_while_screening_tells_no_structure(
    make_service: Callable[[str], Service], tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(f"sqlite:///{tmp_path / 'nps.sqlite'}")

    def broken(engine: Any, asked: Question) -> None:
        raise RuntimeError(f"cannot do {asked.structures[0].text}")

    monkeypatch.setattr("app.chemistry.answer", broken)
    answer = service.client.post("/v1/screen", json={"structures": [{"smiles": FENTANYL}]}, headers=service.key("industry", "GB"))
    assert answer.status_code == 500
    assert answer.json()["reference"] in caplog.text
    assert "RuntimeError" in caplog.text
    assert FENTANYL not in caplog.text + answer.text


NOTICEABLE = 0.3  # a cached answer is faster by far more; the noise of a busy machine stays below


def speedup(ask: Callable[[Question], object], asked: list[Question]) -> float:
    """How much faster a repeat is than the time before: the trimmed mean of the paired ratios, less 1.

    Each structure is asked for twice in a row, so that a drift of the machine falls on both alike.
    """
    differences = []
    for question_ in asked:
        times = []
        for _ in range(2):
            start = time.perf_counter()
            ask(question_)
            times.append(time.perf_counter() - start)
        differences.append(times[0] / times[1] - 1)
    trimmed = sorted(differences)[len(differences) // 10 : -len(differences) // 10]
    return statistics.fmean(trimmed)


def test_a_repeat_is_not_faster_than_the_first_time(chemistry: Chemistry, unique: list[str]) -> None:
    """A cache would show. The control is the same structures asked for again, whose pairs have the processor's warmth too."""
    asked = [question(smiles) for smiles in unique[:300]]

    def fresh(asked_now: Question) -> object:
        return chemistry.assess_many_uncached([asked_now])

    never_seen = speedup(fresh, asked)
    seen_before = speedup(fresh, asked)
    assert never_seen - seen_before < NOTICEABLE, (never_seen, seen_before)


def test_the_measure_of_a_repeat_finds_a_cache(unique: list[str]) -> None:
    """The measure itself can fail: with a cache before the same engine it does."""
    chemistry = Chemistry(workers=0)

    def cached(asked: Question) -> object:
        return chemistry.assess(asked.structures, is_set=False, as_of=asked.as_of)

    asked = [question(smiles) for smiles in unique[300:400]]
    assert speedup(cached, asked) - speedup(cached, asked) > 3 * NOTICEABLE
