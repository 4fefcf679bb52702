"""`nps screen`: order, formats, deadlines, going on after a kill, exit status, certificate."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from python_calamine import CalamineWorkbook

from app.cli import main
from app.screening import resume
from app.screening.inputs import MOST_CHARACTERS, read_items

FENTANYL = "CCC(=O)N(c1ccccc1)C1CCN(CCc2ccccc2)CC1"
MOLFILE = "ethanol\n  x\n\n  3  2  0  0  0  0            999 V2000\n" + "".join(
    f"{x:10.4f}    0.0000    0.0000 {e}   0  0\n" for x, e in ((0, "C"), (1.5, "C"), (3, "O"))
)
MOLFILE += "  1  2  1  0\n  2  3  1  0\nM  END\n"


def screen(*arguments: str | Path, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, ["screen", *map(str, arguments)], input=stdin)


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_records_keep_their_order_and_a_bad_one_costs_itself_alone(tmp_path: Path) -> None:
    smiles = [f"{'C' * (1 + n % 40)}N" if n % 10 else "c1ccc" for n in range(300)]
    source, out = tmp_path / "a.smi", tmp_path / "a.ndjson"
    source.write_text("".join(f"{s} no {n}\n" for n, s in enumerate(smiles)))
    result = screen(source, "--workers", "2", "--output", out, "--as-of", "2026-11-24")
    assert result.exit_code == 1
    records = lines_of(out)
    assert [(r["index"], r["name"], r["input"]) for r in records] == [(n, f"no {n}", s) for n, s in enumerate(smiles)]
    assert [r["status"] for r in records] == ["error" if s == "c1ccc" else "ok" for s in smiles]
    assert not resume.path_beside(out).exists()
    coverage = json.loads(result.stderr.splitlines()[-1])["coverage"]
    assert {row["instrument"] for row in coverage} >= {"UN-1961", "CN-NPS"}


def test_one_structure_in_every_format_gives_one_record(tmp_path: Path) -> None:
    texts = {
        "smi": "CCO ethanol\n",
        "csv": "id;smiles\nethanol;CCO\n",
        "ndjson": json.dumps({"name": "ethanol", "molfile": MOLFILE}) + "\n",
        "sdf": MOLFILE + "$$$$\n",
    }
    keys = set()
    for form, text in texts.items():
        result = screen("--format", form, "--as-of", "2026-11-24", stdin=text)
        assert result.exit_code == 0, result.output
        (record,) = [json.loads(line) for line in result.stdout.splitlines()]
        assert record["name"] == "ethanol"
        keys.add(record["identity"]["parent_inchikey"])
    assert keys == {"LFQSCWFLJHTTHZ-UHFFFAOYSA-N"}


def test_tables_hold_what_the_lines_hold(tmp_path: Path) -> None:
    source = tmp_path / "a.smi"
    source.write_text(f"{FENTANYL} =HYPERLINK(1)\nCCO\nCCNC(C)C(=O)c1ccc(Cl)cc1\n")
    book, table = tmp_path / "a.xlsx", tmp_path / "a.csv"
    assert screen(source, "--out", "xlsx", "--output", book).exit_code == 0
    assert screen(source, "--out", "csv", "--output", table).exit_code == 0
    rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
    sheets = CalamineWorkbook.from_path(str(book))
    cells = sheets.get_sheet_by_name("Records").to_python()
    assert [row["legal_status"] for row in rows] == ["controlled", "not_controlled", "not_controlled"]
    assert "UN-1961: controlled" in rows[0]["status_by_instrument"]
    assert [row["status_by_instrument"] for row in rows[1:]] == ["", "UK-MDA: controlled; DE-NPSG: controlled"]
    assert [row[14] for row in cells[1:]] == [row["status_by_instrument"] for row in rows]
    assert rows[0]["name"] == "'=HYPERLINK(1)"
    assert cells[1][1] == "=HYPERLINK(1)"
    assert [row[6] for row in cells[1:]] == [row["parent_inchikey"] for row in rows]
    assert "UN-1961" in {row[0] for row in sheets.get_sheet_by_name("Coverage").to_python()}
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["smi", "csv", "ndjson", "sdf"])
def test_an_endless_line_is_one_bad_record_in_bounded_memory(form: str) -> None:
    head = "smiles\n" if form == "csv" else ""
    end = "\n$$$$\nx\nCCO\n$$$$\n" if form == "sdf" else "\nCCO\n"
    items = list(read_items(io.StringIO(head + "C" * (3 * MOST_CHARACTERS) + end), form))
    assert len(items) == 2
    assert items[0].error is not None
    assert len(items[0].shown) <= 200


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "a.smi"
    source.write_text("CCO\n")
    for arguments in (
        [source, "--instruments", "UN-1871"],
        [source, "--resume"],
        [source, "--resume", "--output", tmp_path / "none.ndjson"],
        [source, "--resume", "--out", "xlsx", "--output", tmp_path / "a.xlsx"],
        [source, "--output", source],
    ):
        assert screen(*arguments).exit_code == 2
    assert source.read_text() == "CCO\n"


@pytest.fixture
def killed(tmp_path: Path) -> tuple[Path, Path]:
    """Input and output of a run that was killed in the middle."""
    source, out = tmp_path / "long.smi", tmp_path / "long.ndjson"
    source.write_text("".join(f"{'C' * (1 + n % 60)}Oc1ccc({'C' * (1 + n // 60)}N)cc1 no {n}\n" for n in range(1_500)))
    command = [sys.executable, "-m", "app.cli", "screen", str(source), "--output", str(out), "--as-of", "2026-11-20"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as process:
        ends = time.monotonic() + 60
        while not resume.path_beside(out).exists() and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert resume.path_beside(out).exists()
    return source, out


def test_a_killed_run_goes_on_where_its_output_ended(killed: tuple[Path, Path], tmp_path: Path) -> None:
    source, out = killed
    before = resume.load(out)
    assert 0 < before.records < 1_500
    kept = out.read_bytes()[: before.output_bytes]
    certificate = tmp_path / "run.pdf"
    assert screen(source, "--output", out, "--resume", "--certificate", certificate, "--workers", "2").exit_code == 0
    assert out.read_bytes().startswith(kept)
    whole = tmp_path / "whole.ndjson"
    assert screen(source, "--output", whole, "--as-of", "2026-11-20", "--workers", "2").exit_code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert certificate.read_bytes().startswith(b"%PDF")
    assert not resume.path_beside(out).exists()


def test_a_run_goes_on_only_with_the_same_input_output_and_options(killed: tuple[Path, Path]) -> None:
    source, out = killed
    text, written = source.read_text(), out.read_bytes()
    for change, arguments in (
        (lambda: None, ["--analogues", "1"]),
        (lambda: None, ["--as-of", "2026-11-24"]),
        (lambda: source.write_text("N" + text), []),
        (lambda: (source.write_text(text), out.write_bytes(b"x" + written[1:])), []),
        (lambda: out.write_bytes(written[:10]), []),
    ):
        change()
        result = screen(source, "--output", out, "--resume", *arguments)
        assert result.exit_code == 2
        assert "start the run anew" in result.stderr
        assert resume.path_beside(out).exists()


def test_the_checkpoint_holds_no_structure(killed: tuple[Path, Path]) -> None:
    _, out = killed
    text = resume.path_beside(out).read_text()
    assert "cc1" not in text
    assert "no 1" not in text
    assert set(json.loads(text)) == {"settings", "records", "items_sha256", "output_bytes", "output_sha256", "counts"}


def test_hashes_are_those_of_input_and_output(tmp_path: Path) -> None:
    from datetime import date

    from app.screening.inputs import Source
    from app.screening.run import ScreenOptions, run_screen

    source, out = tmp_path / "a.smi", tmp_path / "a.csv"
    source.write_text(f"{FENTANYL}\nCCO\nc1ccc\n")
    options = ScreenOptions(as_of=date(2026, 11, 24), instruments=None, analogues=0, workers=1, out="csv", output=out)
    with source.open("rb") as stream:
        outcome = run_screen(Source(stream, "smi"), options)
    assert outcome.input_sha256 == hashlib.sha256(source.read_bytes()).hexdigest()
    assert outcome.output_sha256 == hashlib.sha256(out.read_bytes()).hexdigest()
    assert dict(outcome.counts) == {"controlled": 1, "not_controlled": 1, "error:structure-unreadable": 1}
