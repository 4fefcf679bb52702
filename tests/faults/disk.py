"""A disk under SQLite that a test may fill, or cut the power of.

SQLite's own operating-system layer lets its system calls be replaced (sqlite3_vfs.xSetSystemCall), and the methods of a file as
it is opened. Every write, truncation and sync of this process's databases is written to a journal, so that a test can afterwards
build the files as they would be found after a power cut at any moment: everything synced is there, and of what was not yet synced
a random part.
Source of the interface: https://www.sqlite.org/c3ref/vfs.html.
"""

from __future__ import annotations

import ctypes
import errno
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_PWRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, use_errno=True)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_OPEN = ctypes.CFUNCTYPE(  # the path goes on as the address it came by: SQLite keeps that, and not what it points at
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)
)
_SYNC_SLOT, _SLOTS = 5, 19  # of sqlite3_io_methods: iVersion, xClose, xRead, xWrite, xTruncate, xSync, ...
_UNLINK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, use_errno=True)
_FTRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_int64, use_errno=True)
SECTOR = 512


class _Vfs(ctypes.Structure):
    _fields_ = (
        [("iVersion", ctypes.c_int), ("szOsFile", ctypes.c_int), ("mxPathname", ctypes.c_int), ("pNext", ctypes.c_void_p)]
        + [("zName", ctypes.c_char_p), ("pAppData", ctypes.c_void_p)]
        + [(f"method{n}", ctypes.c_void_p) for n in range(13)]
        + [("xSetSystemCall", ctypes.c_void_p), ("xGetSystemCall", ctypes.c_void_p)]
    )  # fmt: skip


@dataclass
class Disk:
    """What went to disk, in order. `full` makes every write fail with ENOSPC."""

    folder: Path
    events: list[tuple[str, str, int, bytes]] = field(default_factory=list)  # kind, file name, offset or size, bytes
    full: bool = False
    refused: int = 0

    def mark(self, note: str) -> None:
        """A note in the journal: what was acknowledged by now."""
        self.events.append(("mark", note, 0, b""))

    def name_of(self, descriptor: int) -> str | None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        return path.name if path.parent == self.folder else None

    def after_power_cut(self, at: int, target: Path, draw: random.Random) -> list[str]:
        """Write the files into `target` as found where the power went after `at` events; the notes of before."""
        synced: dict[str, bytearray] = {}
        pending: dict[str, list[tuple[str, int, bytes]]] = {}
        notes = []
        for kind, name, number, data in self.events[:at]:
            if kind == "mark":
                notes.append(name)
            elif kind == "unlink":
                synced.pop(name, None)
                pending.pop(name, None)
            elif kind == "fsync":
                for step in pending.pop(name, []):
                    _apply(synced.setdefault(name, bytearray()), step)
                synced.setdefault(name, bytearray())
            else:
                pending.setdefault(name, []).append((kind, number, data))
        for name, steps in pending.items():
            for kind, offset, data in steps:
                if kind == "truncate":
                    if draw.random() < 0.5:
                        _apply(synced.setdefault(name, bytearray()), (kind, offset, data))
                    continue
                for start in range(0, len(data), SECTOR):  # a torn write: some sectors reached the disk
                    if draw.random() < 0.5:
                        part = ("write", offset + start, data[start : start + SECTOR])
                        _apply(synced.setdefault(name, bytearray()), part)
        for name, content in synced.items():
            (target / name).write_bytes(content)
        return notes


def _apply(content: bytearray, step: tuple[str, int, bytes]) -> None:
    kind, number, data = step
    if kind == "truncate":
        del content[number:]
        content.extend(bytes(max(0, number - len(content))))
        return
    content.extend(bytes(max(0, number + len(data) - len(content))))
    content[number : number + len(data)] = data


def sqlite_library() -> ctypes.CDLL | None:
    """The library that this interpreter's sqlite3 module uses; None where it is built into the interpreter."""
    import _sqlite3

    del _sqlite3
    for line in Path("/proc/self/maps").read_text().splitlines():
        if "libsqlite3" in line:
            return ctypes.CDLL(line.split()[-1])
    return None


@contextmanager
def watched(folder: Path, library: ctypes.CDLL) -> Iterator[Disk]:
    """A disk that keeps a journal of the databases in this folder while the block runs."""
    disk = Disk(folder.resolve())
    for found in sorted(path for path in disk.folder.iterdir() if path.is_file()):  # what lay there before is on the disk
        disk.events += [("write", found.name, 0, found.read_bytes()), ("fsync", found.name, 0, b"")]
    libc = ctypes.CDLL(None, use_errno=True)
    library.sqlite3_vfs_find.restype = ctypes.POINTER(_Vfs)
    vfs = library.sqlite3_vfs_find(b"unix")
    put = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)(vfs.contents.xSetSystemCall)
    libc.pwrite.restype, libc.pwrite.argtypes = ctypes.c_ssize_t, (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
    libc.ftruncate.argtypes = (ctypes.c_int, ctypes.c_int64)

    def pwrite(descriptor: int, data: int, size: int, offset: int) -> int:
        name = disk.name_of(descriptor)
        if name is not None and disk.full:
            disk.refused += 1
            ctypes.set_errno(errno.ENOSPC)
            return -1
        if name is not None:
            disk.events.append(("write", name, offset, ctypes.string_at(data, size)))
        written: int = libc.pwrite(descriptor, data, size, offset)
        return written

    def ftruncate(descriptor: int, size: int) -> int:
        name = disk.name_of(descriptor)
        if name is not None:
            disk.events.append(("truncate", name, size, b""))
        done: int = libc.ftruncate(descriptor, size)
        return done

    def unlink(path: bytes) -> int:
        where = Path(os.fsdecode(path))
        if where.parent == disk.folder:
            disk.events.append(("unlink", where.name, 0, b""))
        done: int = libc.unlink(path)
        return done

    opener = _OPEN(vfs.contents.method0)

    def open_file(layer: int, path: int | None, file: int, flags: int, out: Any) -> int:
        result: int = opener(layer, path, file, flags, out)
        methods = ctypes.c_void_p.from_address(file)
        where = Path(os.fsdecode(ctypes.string_at(path))) if path else None
        if result == 0 and methods.value and where is not None and where.parent == disk.folder:
            methods.value = _watching(methods.value, where.name, disk)
        return result

    opening = _OPEN(open_file)
    calls: list[tuple[bytes, Any]] = [
        (b"pwrite", _PWRITE(pwrite)), (b"pwrite64", _PWRITE(pwrite)), (b"ftruncate", _FTRUNCATE(ftruncate)),
        (b"unlink", _UNLINK(unlink)),
    ]  # fmt: skip
    for name, function in calls:
        put(vfs, name, ctypes.cast(function, ctypes.c_void_p))
    plain = vfs.contents.method0
    vfs.contents.method0 = ctypes.cast(opening, ctypes.c_void_p).value
    _KEPT.append((opening, calls))
    try:
        yield disk
    finally:
        vfs.contents.method0 = plain
        for name, _ in calls:
            put(vfs, name, None)


_KEPT: list[Any] = []  # what open files point at must outlive them


def _watching(methods: int, name: str, disk: Disk) -> int:
    """The address of a copy of a file's methods that notes each sync."""
    table = (ctypes.c_void_p * _SLOTS).from_buffer_copy((ctypes.c_void_p * _SLOTS).from_address(methods))
    plain = _SYNC(table[_SYNC_SLOT] or 0)

    def sync(handle: int, flags: int) -> int:
        result: int = plain(handle, flags)
        if result == 0:
            disk.events.append(("fsync", name, 0, b""))
        return result

    noting = _SYNC(sync)
    table[_SYNC_SLOT] = ctypes.cast(noting, ctypes.c_void_p).value
    _KEPT.append((table, noting))
    return ctypes.addressof(table)
