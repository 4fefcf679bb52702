"""Screening a catalogue on an existing Dask cluster: the cluster hands out shards, records come back as Parquet.

A shard is some thousand inputs in catalogue order. What is done lies in the output folder as `part-000042.parquet`, each with the
hash of its inputs and the options that made it, so that a run which was cut off goes on with what is missing, and a worker that
dies costs its shard alone. Structures are read in disposable processes of the worker, as everywhere. Dask sees of a shard only
its number, since it writes the arguments of what fails into its log.
"""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from app.pool import Pool
from app.screening.catalogue import Catalogue
from app.screening.inputs import Item
from app.screening.records import Wanted
from app.screening.run import Ask, Outcome, Screener, ScreenOptions, check_instruments, chunk_of, kind_of
from app.screening.writers import by_instrument, one_line
from chem.engine import Engine
from chem.values import to_json

SHARD = 2_000
CHUNK = 50
WAIT_FOR_WORKERS_S = 60
SHARD_KEY = b"nps-shard"
MANIFEST = "manifest.json"


class ClusterError(Exception):
    """The run cannot go on; the message says why and what to do. What is done stays in the output folder."""


@dataclass(frozen=True, slots=True)
class Shard:
    """Some inputs in catalogue order. Only its number shows in a log."""

    number: int
    start: int = field(repr=False)
    items: tuple[Item, ...] = field(repr=False)
    wanted: Wanted = field(repr=False)
    editions: tuple[Mapping[str, Any], ...] = field(repr=False)
    settings: dict[str, Any] = field(repr=False)
    threads: int = field(repr=False)

    @property
    def items_sha256(self) -> str:
        digest = hashlib.sha256()
        for item in self.items:
            item.digest_into(digest)
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """The records of a shard as the bytes of a Parquet file; or why there are none, in words that name no structure."""

    number: int
    counts: dict[str, int]
    parquet: bytes = field(repr=False)
    failure: str | None = None


# -- in a worker of the cluster ---------------------------------------------------------------------------------------------

_pools: dict[str, Pool] = {}
_lock = threading.Lock()


class _OtherRules(Exception):
    """This worker has another version of normalisation or rules than who asks."""


@dataclass(frozen=True, slots=True)
class _Refuser:
    found: str

    def __call__(self, ask: Ask) -> Any:
        raise _OtherRules(self.found)


def _initialise(editions: tuple[Mapping[str, Any], ...], version: str) -> Callable[[Ask], Any]:
    engine = Engine.load(editions=editions)
    return Screener(engine) if engine.version == version else _Refuser(engine.version)


def _pool(shard: Shard) -> Pool:
    """The disposable processes of this worker, one a thread of it."""
    version = shard.settings["versions"]
    with _lock:
        if version not in _pools:
            # Dask's workers are daemons, which multiprocessing allows no children; ours end by themselves when their pipe closes
            multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]
            _pools[version] = Pool(partial(_initialise, shard.editions, version), size=shard.threads)
        return _pools[version]


def screen_shard(shard: Shard) -> Done:
    """Runs in a worker of the cluster. Never raises: Dask would log the arguments."""
    try:
        pool = _pool(shard)
        asks = [Ask(n, item, shard.wanted, "record") for n, item in enumerate(shard.items, start=shard.start)]
        records = [record for at in range(0, len(asks), CHUNK) for _, record in chunk_of(pool, asks[at : at + CHUNK])]
    except _OtherRules as error:
        return Done(shard.number, {}, b"", f"a worker of the cluster has {error}; install the same version on all")
    except Exception as error:  # noqa: BLE001 - told to who asked, without the structure that may stand in it
        return Done(shard.number, {}, b"", f"a worker of the cluster failed with {type(error).__name__}")
    counts = Counter(kind_of(record) for record in records)
    note = {
        "settings": shard.settings, "start": shard.start, "items_sha256": shard.items_sha256, "counts": dict(counts),
    }  # fmt: skip
    return Done(shard.number, dict(counts), _parquet(records, note))


def _parquet(records: list[dict[str, Any]], note: dict[str, Any]) -> bytes:
    """One row a record: what one filters by as columns, and the whole record as JSON."""
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table(
        {
            "index": pyarrow.array([r["index"] for r in records], pyarrow.int64()),
            "name": pyarrow.array([r.get("name") for r in records], pyarrow.string()),
            "input": pyarrow.array([r["input"] for r in records], pyarrow.string()),
            "status": pyarrow.array([r["status"] for r in records], pyarrow.string()),
            "legal_status": pyarrow.array([r.get("legal_status") for r in records], pyarrow.string()),
            "status_by_instrument": pyarrow.array([by_instrument(r) for r in records], pyarrow.string()),
            "parent_inchikey": pyarrow.array(
                [(r.get("identity") or {}).get("parent_inchikey") for r in records], pyarrow.string()
            ),
            "record": pyarrow.array([one_line(r) for r in records], pyarrow.string()),
        }
    ).replace_schema_metadata({SHARD_KEY: json.dumps(note)})
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd")
    return out.getvalue()


# -- who asks ---------------------------------------------------------------------------------------------------------------


def run_on_cluster(
    catalogue: Catalogue, options: ScreenOptions, address: str, *, progress: Callable[[int], None] = lambda records: None
) -> Outcome:
    """Screen every input into the folder `options.output`: parts in Parquet and a manifest with their hashes.

    Raises ClusterError: no cluster there, no workers, another version on a worker, or a folder of another run.
    """
    from distributed import Client

    assert options.output is not None
    engine = Engine.load(editions=options.editions)
    check_instruments(engine, options.instruments)
    settings = options.settings(engine) | {"shard": SHARD}
    outcome = Outcome(
        as_of=options.as_of,
        engine_version=engine.version,
        coverage=to_json(engine.coverage(options.instruments, as_of=options.as_of)),
    )
    folder = options.output
    _prepare(folder, go_on=options.resume)
    try:
        client = Client(address, set_as_default=False, timeout="20s")
    except (OSError, TimeoutError, ValueError) as error:
        raise ClusterError(f"there is no Dask scheduler at {address}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=WAIT_FOR_WORKERS_S)
        except TimeoutError as error:
            raise ClusterError(f"the cluster at {address} has no worker; start one and run again with --resume") from error
        parts = _Parts(client, folder, settings, outcome, progress)
        for shard in _shards(catalogue, options, settings, parts.threads):
            parts.take(shard)
        parts.finish()
    outcome.input_sha256 = catalogue.sha256
    outcome.output_sha256 = _write_manifest(folder, settings, outcome, parts.hashes)
    return outcome


def day_of(folder: Path) -> date | None:
    """The day whose law the run in this folder asks; None where there is no part yet."""
    from pyarrow import parquet

    part = next(iter(sorted(folder.glob("part-*.parquet"))), None) if folder.is_dir() else None
    if part is None:
        return None
    note = json.loads((parquet.read_schema(part).metadata or {}).get(SHARD_KEY, b"{}"))
    return date.fromisoformat(note["settings"]["as_of"]) if note else None


def _prepare(folder: Path, *, go_on: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    there = [path for path in folder.iterdir() if not path.name.endswith(".new")]
    if there and not go_on:
        raise ClusterError(f"{folder} is not empty; give another folder, or --resume to go on with the run in it")
    (folder / MANIFEST).unlink(missing_ok=True)


def _shards(
    catalogue: Catalogue, options: ScreenOptions, settings: dict[str, Any], threads: Callable[[], int]
) -> Iterator[Shard]:
    wanted = Wanted(as_of=options.as_of, instruments=options.instruments, analogues=options.analogues)
    items, number, start = catalogue.items(), 0, 0
    while batch := tuple(islice(items, SHARD)):
        yield Shard(number, start, batch, wanted, options.editions, settings, threads())
        number, start = number + 1, start + len(batch)


class _Parts:
    """Shards under way and the files of those that are done; a bounded number is under way."""

    def __init__(
        self, client: Any, folder: Path, settings: dict[str, Any], outcome: Outcome, progress: Callable[[int], None]
    ) -> None:
        from distributed import as_completed

        self._client, self._folder, self._settings = client, folder, settings
        self._outcome, self._progress = outcome, progress
        self._waiting = 0
        self._done = as_completed([], loop=client.loop)
        self._run = os.urandom(6).hex()
        self.hashes: dict[str, str] = {}

    def threads(self) -> int:
        """Threads of the largest worker: each worker's disposable processes are as many."""
        return max(self._client.nthreads().values(), default=1)

    def take(self, shard: Shard) -> None:
        """Skip a shard whose part is there; else hand it out, and wait where too many are under way."""
        path = self._path(shard.number)
        if path.exists():
            counts = self._known(path, shard)
            self._count(path, counts)
            return
        while self._waiting >= 2 * sum(self._client.nthreads().values()) + 2:
            self._collect()
        # a key of its own: Dask would else name it after a hash of the structures
        future = self._client.submit(screen_shard, shard, key=f"nps-screen-{self._run}-{shard.number}", pure=False)
        self._done.add(future)
        self._waiting += 1

    def finish(self) -> None:
        while self._waiting:
            self._collect()

    def _collect(self) -> None:
        from distributed import CancelledError, KilledWorker

        future = next(self._done)
        self._waiting -= 1
        try:
            done: Done = future.result()
        except (KilledWorker, CancelledError) as error:
            raise ClusterError("workers of the cluster died again and again; mend it and run again with --resume") from error
        if done.failure is not None:
            raise ClusterError(f"{done.failure}. Then run again with --resume.")
        path = self._path(done.number)
        fresh = path.with_name(path.name + ".new")
        with fresh.open("wb") as file:
            file.write(done.parquet)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
        self._count(path, done.counts)

    def _count(self, path: Path, counts: Mapping[str, int]) -> None:
        with path.open("rb") as file:
            self.hashes[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
        self._outcome.counts.update(counts)
        self._progress(self._outcome.records)

    def _path(self, number: int) -> Path:
        return self._folder / f"part-{number:06}.parquet"

    def _known(self, path: Path, shard: Shard) -> dict[str, int]:
        """The counts of a part made before. Raises ClusterError where other options or other inputs made it."""
        from pyarrow import ArrowException, parquet

        try:
            note: dict[str, Any] = json.loads(parquet.read_schema(path).metadata[SHARD_KEY])
        except (ArrowException, KeyError, TypeError, ValueError) as error:
            raise ClusterError(f"{path.name} is no part of a screen; remove it and run again") from error
        for name, now in self._settings.items():
            if note["settings"].get(name) != now:
                raise ClusterError(f"{path.name} was made with {name} {note['settings'].get(name)!r}, now {now!r}; start anew")
        if (note["start"], note["items_sha256"]) != (shard.start, shard.items_sha256):
            raise ClusterError(f"{path.name} was made from other inputs; start anew in another folder")
        counts: dict[str, int] = note["counts"]
        return counts


def _write_manifest(folder: Path, settings: dict[str, Any], outcome: Outcome, hashes: Mapping[str, str]) -> str:
    """The folder's table of contents; its SHA-256."""
    document = {
        "settings": settings,
        "records": outcome.records,
        "counts": dict(outcome.counts),
        "coverage": outcome.coverage,
        "input_sha256": outcome.input_sha256,
        "parts": dict(sorted(hashes.items())),
    }
    data = (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
    path = folder / MANIFEST
    fresh = path.with_name(path.name + ".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
    return hashlib.sha256(data).hexdigest()
