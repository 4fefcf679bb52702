"""A Dask cluster of two local workers screens 200,000 structures, one worker killed half way; compared with one process.

NPS_BENCH_SIZE=20000 takes fewer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from pyarrow import parquet

from tests.bench.figures import figure
from tests.bench.library import structures

SIZE = int(os.environ.get("NPS_BENCH_SIZE", "200000"))


def _spawn(*command: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__MEMORY__SPILL": "False"}
    return subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _screen(path: Path, output: Path, *more: str) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "app.cli", "screen", str(path), "--output", str(output), *more]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    if '"coverage"' not in done.stderr:  # the last line of a run that came to its end
        raise RuntimeError(done.stderr)
    return time.perf_counter() - began


def main() -> None:
    """Prints times, the ratio, when the worker was killed, and whether every record is the same."""
    with tempfile.TemporaryDirectory(prefix="nps-bench-") as name:
        folder = Path(name)
        path, parts, alone = folder / "catalogue.smi", folder / "parts", folder / "alone.ndjson"
        path.write_text("".join(f"{smiles} s{n}\n" for n, smiles in enumerate(structures(SIZE))))
        port = _port()
        address = f"tcp://127.0.0.1:{port}"
        scheduler = _spawn(
            "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard",
        )  # fmt: skip
        # without a nanny, so that the one that is killed does not come back
        workers = [
            _spawn("distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard",
                   "--local-directory", str(folder / f"w{n}"))
            for n in range(2)
        ]  # fmt: skip
        total = -(-SIZE // 2000)
        killed: list[int] = []

        def kill_half_way() -> None:
            while len(list(parts.glob("part-*.parquet"))) < total // 2:
                time.sleep(0.2)
            workers[0].send_signal(signal.SIGKILL)
            killed.append(len(list(parts.glob("part-*.parquet"))))

        killer = threading.Thread(target=kill_half_way, daemon=True)
        killer.start()
        try:
            on_cluster = _screen(path, parts, "--dask", address)
        finally:
            for process in (*workers, scheduler):
                process.terminate()
            said = b"".join(process.communicate(timeout=60)[1] for process in (*workers, scheduler))
        one = _screen(path, alone)
        same = total_lines = 0
        different: list[tuple[str, str]] = []
        with alone.open(encoding="utf-8") as lines:
            for part in sorted(parts.glob("part-*.parquet")):
                for record in parquet.read_table(part, columns=["record"]).column("record").to_pylist():
                    total_lines += 1
                    by_one = next(lines, "").rstrip("\n")
                    same += by_one == record
                    if by_one != record and len(different) < 3:
                        different.append((record, by_one))
            left = sum(1 for _ in lines)
        print(f"{SIZE:,} structures in {total} shards; a worker killed after {killed} parts")
        print(f"  cluster (two workers, then one): {on_cluster:.1f} s; one process: {one:.1f} s; ratio {one / on_cluster:.2f}")
        figure("cluster", "records the same as alone, of all", same / SIZE, aim=">= 1")
        figure("cluster", "time alone over the cluster's, a worker killed half way", one / on_cluster, "times")
        print(f"  records {total_lines:,}, the same as alone {same:,}, missing {left}")
        for record, by_one in different:
            print(f"  different\n    on the cluster: {record}\n    alone:          {by_one}")
        print(f"  names of the catalogue in the cluster's logs: {said.count(b' s1')}")


if __name__ == "__main__":
    main()
