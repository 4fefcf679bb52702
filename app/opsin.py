"""Systematic names to structures by OPSIN, where the optional extra `opsin` and a Java runtime are installed.

One Java process a service process, started with the first systematic name and fed line by line; a name that takes longer than
the deadline costs that process, and the next name starts another. Without the extra nothing is read and `missing` says why.
"""

from __future__ import annotations

import atexit
import logging
import re
import selectors
import shutil
import subprocess
import threading
from collections import OrderedDict
from importlib.util import find_spec
from pathlib import Path

log = logging.getLogger("nps.opsin")

DEADLINE_S = 5.0
CACHE_SIZE = 5_000
MAX_NAME = 400
# a systematic name has locants or enclosing marks, and a chemical ending; "K2 spice" is not one
_SYSTEMATIC = re.compile(
    r"(?:\d|[NOαβ]['′]?)-[\[({a-zA-Z]|[a-z]\)[a-z]|yl\b|ane\b|amide\b|amine\b|one\b|ol\b|oate\b", re.IGNORECASE
)


def looks_systematic(name: str) -> bool:
    """Whether the name is worth asking: long enough, with locants, in one line of printable text."""
    return 8 <= len(name) <= MAX_NAME and name.isprintable() and bool(re.search(r"\d|[NO]-", name) and _SYSTEMATIC.search(name))


class Translator:
    """Names to SMILES. Safe for threads; a name is asked once and its answer kept under the version of the translator."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._cache: OrderedDict[tuple[str, str], str | None] = OrderedDict()
        self._jar = _jar()
        self._java = shutil.which("java")

    @property
    def missing(self) -> str | None:
        """What is not installed, as a sentence; None where names can be read."""
        if self._jar is None:
            return "The extra is not installed: pip install 'nps-early-warning[opsin]'."
        return None if self._java else "No Java runtime is on the path (java)."

    @property
    def version(self) -> str:
        return self._jar.stem if self._jar else ""

    def smiles_of(self, name: str) -> str | None:
        """The SMILES of a systematic name; None where it is none, cannot be read, or nothing is installed to read it."""
        name = " ".join(name.split())
        if self.missing is not None or not looks_systematic(name):
            return None
        key = (name, self.version)
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
            try:
                answer = self._ask(name)
            except (OSError, TimeoutError) as error:
                log.warning("the translator of systematic names failed: %s", error)
                self._end()
                return None
            self._cache[key] = answer
            if len(self._cache) > CACHE_SIZE:
                self._cache.popitem(last=False)
            return answer

    def close(self) -> None:
        with self._lock:
            self._end()

    def _ask(self, name: str) -> str | None:
        if self._process is None or self._process.poll() is not None:
            assert self._java is not None
            self._process = subprocess.Popen(  # noqa: S603 - fixed arguments, the name goes in by its standard input
                [self._java, "-Xmx256m", "-jar", str(self._jar), "-osmi"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            atexit.register(self._process.kill)
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(name.encode() + b"\n")
        stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            if not selector.select(DEADLINE_S):
                raise TimeoutError(f"not read within {DEADLINE_S:g} s")
        line = stdout.readline()
        if not line:
            raise OSError("the Java process ended")
        return line.decode().strip() or None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            atexit.unregister(self._process.kill)
            self._process = None


def _jar() -> Path | None:
    """The archive that the optional package carries, found without importing it: its import runs Java and warns."""
    spec = find_spec("py2opsin")
    folders = spec.submodule_search_locations if spec is not None else None
    found = sorted(Path(folders[0]).glob("opsin-cli-*.jar")) if folders else []
    return found[-1] if found else None
