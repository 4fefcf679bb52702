"""Screening on a Dask cluster of two processes: the same records as in one, whatever dies meanwhile, and nothing in a log."""

from __future__ import annotations

import json
import logging
import os
import signal
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from click.testing import CliRunner
from distributed import Client, LocalCluster
from pyarrow import parquet

from app.cli import main
from app.screening import cluster
from app.screening.catalogue import Catalogue, CatalogueError
from app.screening.cluster import ClusterError, run_on_cluster
from app.screening.run import ScreenOptions

MARK = "SECRETNAME"
LINES = [f"{'C' * (n % 30 + 1)}N(C)C(C)C(=O)c1ccccc1 {MARK}-{n}" for n in range(90)] + ["c1ccc not-closed", "O=C=O.[Na+] odd"]


@pytest.fixture(scope="module")
def two_workers() -> Iterator[LocalCluster]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as made:
        yield made


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "SHARD", 20)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    path = tmp_path / "catalogue.smi"
    path.write_text("\n".join(LINES) + "\n")
    return path


def options(folder: Path, **more: Any) -> ScreenOptions:
    values = {"as_of": date(2026, 11, 24), "instruments": None, "analogues": 0, "workers": 0, "out": "parquet", "output": folder}
    return ScreenOptions(**(values | more))  # type: ignore[arg-type]


def column(folder: Path, name: str) -> list[Any]:
    tables = [parquet.read_table(path) for path in sorted(folder.glob("part-*.parquet"))]
    found: list[Any] = pyarrow.concat_tables(tables).column(name).to_pylist()
    return found


def records(folder: Path) -> list[str]:
    return [str(line) for line in column(folder, "record")]


def alone(catalogue: Path) -> list[str]:
    """The records of a run in one process."""
    done = CliRunner().invoke(main, ["screen", str(catalogue), "--as-of", "2026-11-24", "--analogues", "0"])
    return done.stdout.splitlines()


@pytest.mark.usefixtures("small_shards")
def test_the_records_are_those_of_one_process_though_a_worker_is_killed(
    two_workers: LocalCluster, catalogue: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    killed: list[int] = []

    def kill_one(done: int) -> None:
        if not killed:
            with Client(two_workers, set_as_default=False) as client:
                victim = min(client.run(os.getpid).values())
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    outcome = run_on_cluster(Catalogue(catalogue), options(tmp_path / "out"), two_workers.scheduler_address, progress=kill_one)
    assert killed
    assert outcome.records == len(LINES)
    assert outcome.errors == 1
    assert records(tmp_path / "out") == alone(catalogue)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (len(manifest["parts"]), manifest["records"]) == (5, len(LINES))
    said = capfd.readouterr()
    assert MARK not in said.out + said.err


@pytest.mark.usefixtures("small_shards")
def test_a_run_goes_on_with_what_is_missing_and_refuses_another_catalogue(
    two_workers: LocalCluster, catalogue: Path, tmp_path: Path
) -> None:
    folder, address = tmp_path / "out", two_workers.scheduler_address
    run_on_cluster(Catalogue(catalogue), options(folder), address)
    whole = records(folder)
    kept = (folder / "part-000001.parquet").stat().st_mtime_ns
    (folder / "part-000003.parquet").unlink()
    with pytest.raises(ClusterError, match="not empty"):
        run_on_cluster(Catalogue(catalogue), options(folder), address)
    run_on_cluster(Catalogue(catalogue), options(folder, resume=True), address)
    assert records(folder) == whole
    assert (folder / "part-000001.parquet").stat().st_mtime_ns == kept
    with pytest.raises(ClusterError, match="made with as_of"):
        run_on_cluster(Catalogue(catalogue), options(folder, resume=True, as_of=date(2020, 1, 1)), address)
    catalogue.write_text("CC\n" + catalogue.read_text())
    with pytest.raises(ClusterError, match="other inputs"):
        run_on_cluster(Catalogue(catalogue), options(folder, resume=True), address)


@pytest.mark.usefixtures("small_shards")
def test_parquet_shards_by_the_command(two_workers: LocalCluster, tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    texts, names = ["CCO", "CN", "CNC(C)C(=O)c1ccccc1", None], ["a", "", "c", "d"]
    parquet.write_table(pyarrow.table({"SMILES": texts, "name": names}), shards / "a.parquet")
    (shards / "b.smi").write_text("CC(N)Cc1ccccc1 amphetamine\n")
    done = CliRunner().invoke(
        main,
        ["screen", str(shards), "--dask", two_workers.scheduler_address, "--output", str(tmp_path / "out"),
         "--certificate", str(tmp_path / "c.pdf")],
    )  # fmt: skip
    assert done.exit_code == 1, done.output  # the empty structure is an error
    found = [json.loads(line) for line in records(tmp_path / "out")]
    assert [r["index"] for r in found] == [0, 1, 2, 3, 4]
    assert [r["status"] for r in found] == ["ok", "ok", "ok", "error", "ok"]
    assert found[4]["legal_status"] == "controlled"
    assert column(tmp_path / "out", "legal_status")[4] == "controlled"
    assert "UN-1971: controlled" in column(tmp_path / "out", "status_by_instrument")[4]
    assert (tmp_path / "c.pdf").read_bytes().startswith(b"%PDF")


def test_a_cluster_with_other_rules_is_refused(two_workers: LocalCluster, catalogue: Path, tmp_path: Path) -> None:
    shard = cluster.Shard(
        0, 0, tuple(Catalogue(catalogue).items()), cluster.Wanted(as_of=date(2026, 11, 24), instruments=None, analogues=0), (),
        {"versions": "normalisation 0.0"}, 1,
    )  # fmt: skip
    with Client(two_workers, set_as_default=False) as client:
        done = client.submit(cluster.screen_shard, shard, pure=False).result()
    assert "install the same version on all" in done.failure
    assert MARK not in repr(shard)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"nothing of the kind")
    with pytest.raises(CatalogueError, match="cannot be read as Parquet"):
        list(Catalogue(tmp_path / "x.parquet").items())
    (tmp_path / "empty").mkdir()
    with pytest.raises(CatalogueError, match="holds no file"):
        Catalogue(tmp_path / "empty")
    done = CliRunner().invoke(main, ["screen", str(tmp_path), "--output", str(tmp_path / "o")])
    assert (done.exit_code, "needs --dask" in done.output) == (2, True)
