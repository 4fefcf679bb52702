"""The service's door to chemistry and names: assessments in disposable workers, a cache, the name table.

Screening uses `assess_uncached`, which leaves nothing behind; intake uses `assess`, whose cache is keyed by the input text and
the engine version and so cannot outlive a rule.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from app.observability.metrics import STRUCTURE_SECONDS
from app.opsin import Translator
from app.pool import Overrun, Pool, WorkerDied
from chem.engine import Engine
from chem.errors import StructureError, StructureProblem
from chem.isomers import isomer_group
from chem.names import NamedSubstance, NameTable
from chem.values import Assessment, Basis, Certainty, Coverage, Identity, Match, Structure, StructureFormat

SINGLE_DEADLINE_S = 2.0
BATCH_DEADLINE_S = 0.5
SCREEN_BUDGET_S = 60.0  # of one request, however many structures it brings
SCREEN_CHUNK = 8  # handed to a worker at once, so that a report waits for few others
SCREENS_AT_ONCE = 2
CACHE_SIZE = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """What a worker is asked: one structure, or a set of candidates. `full` asks for groups and the tautomer hash too, which a
    screen does not show.
    """

    structures: tuple[Structure, ...]
    is_set: bool
    as_of: date
    instruments: tuple[str, ...] | None
    analogues: int
    home: tuple[str, ...]
    full: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """An assessment, the groups its substance belongs to by rule, or the problem of the structure."""

    assessment: Assessment | None
    chemical_group: str | None
    effect_group: str | None
    group_rule: str | None
    problem: StructureProblem | None
    detail: str


@dataclass(frozen=True, slots=True)
class Identified:
    """The identity of a structure, or the slug of its problem and what is wrong."""

    identity: Identity | None
    problem: str | None
    detail: str


def answer(engine: Engine, question: Question) -> Answer:
    """Ask the engine; a structure's own problem is part of the answer, never an exception."""
    try:
        structures: tuple[Structure, ...] = question.structures
        options: dict[str, Any] = {
            "as_of": question.as_of,
            "instruments": question.instruments,
            "analogues": question.analogues,
            "home": question.home,
            "hint": question.full,
        }
        many = question.is_set
        found = engine.assess_candidates(structures, **options) if many else engine.assess(structures[0], **options)
    except StructureError as error:
        return Answer(None, None, None, None, error.code, error.detail)
    identity = found.identity or (found.candidates[0].identity if found.candidates else None)
    groups = engine.groups_of(identity) if identity is not None and question.full else ()
    first = groups[0] if groups else None
    return Answer(
        found,
        first.chemical_group if first else None,
        first.effect_group if first else None,
        first.rule if first else None,
        None,
        "",
    )


class ScreenFailed(Exception):
    """A fault of the service while it screened: the kind of the error and where, not its words, which may hold a structure."""

    def __init__(self, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
        super().__init__(f"{type(error).__name__}{where}")


def _out_of_time(detail: str) -> Answer:
    return Answer(None, None, None, None, StructureProblem.TIMEOUT, detail)


def _ask_each(pool: Pool, questions: Sequence[Question], ends: float) -> list[Answer]:
    if time.monotonic() >= ends:
        return [_out_of_time("the request's time was over before this structure's turn") for _ in questions]
    deadlines = [BATCH_DEADLINE_S * max(1, len(question.structures)) for question in questions]
    found = []
    for result in pool.call_each(questions, deadline_s=deadlines):
        if isinstance(result, Overrun | WorkerDied):
            found.append(_out_of_time(str(result)))
        elif isinstance(result, Exception):
            raise ScreenFailed(result) from None
        else:
            found.append(result)
    return found


@dataclass(frozen=True, slots=True)
class Shipped:
    """A substance of the shipped data with what the engine says of it."""

    named: NamedSubstance
    assessment: Assessment
    chemical_group: str


class _AskEngine:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __call__(self, question: Question) -> Answer:
        return answer(self._engine, question)


def _initialise_worker(editions: tuple[Mapping[str, Any], ...]) -> Callable[[Question], Answer]:
    return _AskEngine(Engine.load(editions=editions))


class Chemistry:
    """Engine, names and workers of one process. `workers=0` answers in this process: for the command line and for tests."""

    def __init__(
        self,
        *,
        workers: int,
        names: NameTable | None = None,
        engine: Engine | None = None,
        editions: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.engine = engine or Engine.load(editions=editions)
        self.names = names or NameTable()
        self._workers = workers
        self._pool = self._new_pool(editions)
        self._screens = threading.BoundedSemaphore(SCREENS_AT_ONCE)
        self._cache: OrderedDict[tuple[Question, str], Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._translator = Translator()
        self._shipped: tuple[tuple[date, str], tuple[Shipped, ...]] | None = None
        self._isomer_groups: dict[str, dict[str, str]] | None = None
        self._home = self._homes()

    def _new_pool(self, editions: Sequence[Mapping[str, Any]]) -> Pool | None:
        return Pool(partial(_initialise_worker, tuple(editions)), size=self._workers) if self._workers else None

    def _homes(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for info in self.engine.instruments():
            if info.country:
                found[info.country] = (*found.get(info.country, ()), info.id)
        return found

    def home_of(self, country: str | None) -> tuple[str, ...]:
        """The instruments of a country."""
        return self._home.get(country or "", ())

    def adopt(self, engine: Engine, editions: Sequence[Mapping[str, Any]]) -> None:
        """Answer by this engine, which holds these editions, from now on. What is being asked is answered by the one before."""
        before = self._pool
        with self._lock:
            self.engine = engine
            self._home = self._homes()
            self._pool = self._new_pool(editions)
            self._cache.clear()
            self._shipped = None
        if before is not None:
            before.retire()

    @property
    def version(self) -> str:
        return self.engine.version

    def assess(
        self,
        structures: Sequence[Structure],
        *,
        is_set: bool,
        as_of: date,
        country: str | None = None,
        analogues: int = 3,
    ) -> Answer:
        """Identity and legal status for a report; a repeated structure is answered from the cache."""
        home = self.home_of(country)
        question = Question(tuple(structures), is_set, as_of, None, analogues, home)
        key = (question, self.engine.version)
        with self._lock:
            known = self._cache.get(key)
            if known is not None:
                self._cache.move_to_end(key)
                return known
        with STRUCTURE_SECONDS.time():
            found = self._ask(question, SINGLE_DEADLINE_S)
        if found.problem is not StructureProblem.TIMEOUT:
            with self._lock:
                self._cache[key] = found
                if len(self._cache) > CACHE_SIZE:
                    self._cache.popitem(last=False)
        return found

    def assess_uncached(self, question: Question, *, deadline_s: float = BATCH_DEADLINE_S) -> Answer:
        """For screening: nothing of the structure outlives the call."""
        return self._ask(question, deadline_s)

    def assess_many_uncached(self, questions: Sequence[Question], *, budget_s: float = SCREEN_BUDGET_S) -> list[Answer]:
        """For a screening request: the answers in order, by all workers at once; nothing of a structure outlives the call.

        Each structure has its own deadline; what has not begun when the budget ends is answered as out of time.
        """
        pool = self._pool
        if pool is None:
            return [self._ask_quietly(question) for question in questions]
        with self._screens, ThreadPoolExecutor(self._workers) as threads:
            ends = time.monotonic() + budget_s
            chunks = [questions[start : start + SCREEN_CHUNK] for start in range(0, len(questions), SCREEN_CHUNK)]
            return [found for part in threads.map(lambda chunk: _ask_each(pool, chunk, ends), chunks) for found in part]

    def _ask_quietly(self, question: Question) -> Answer:
        try:
            return answer(self.engine, question)
        except Exception as error:  # noqa: BLE001 - raised again without the words of the error
            raise ScreenFailed(error) from None

    def identify(self, structure: Structure) -> Identified:
        """Identity alone, for a search; nothing is kept."""
        found = self._ask(Question((structure,), False, date.max, (), 0, ()), SINGLE_DEADLINE_S)
        identity = found.assessment.identity if found.assessment else None
        return Identified(identity, found.problem.value if found.problem else None, found.detail)

    def coverage(self, as_of: date, instruments: Sequence[str] | None = None) -> tuple[Coverage, ...]:
        return self.engine.coverage(instruments, as_of=as_of)

    def named(self, inchikey: str) -> NamedSubstance | None:
        """The shipped substance with this parent key."""
        return self.names.by_inchikey(inchikey)

    def from_systematic_name(self, name: str) -> str | None:
        """The SMILES that a systematic name means, where the optional translator is installed and reads it; else None."""
        return self._translator.smiles_of(name)

    def has_isomers(self, identity: Identity) -> bool:
        """Whether the shipped data hold another substance of the same formula and ring scaffold: a known group of isomers."""
        return bool(self.isomers_of(identity))

    def isomers_of(self, identity: Identity) -> tuple[str, ...]:
        """The names of the shipped substances that a routine method may take for this one, by name."""
        shape = isomer_group(identity.parent_smiles)
        members = self._isomers().get(shape, {}) if shape else {}
        return tuple(sorted(name for connectivity, name in members.items() if connectivity != identity.connectivity))

    def _isomers(self) -> dict[str, dict[str, str]]:
        if self._isomer_groups is None:
            groups: dict[str, dict[str, str]] = {}
            for substance in self.names.substances.values():
                key = self.names.inchikey_of(substance.key)
                if substance.smiles and key and substance.origin in ("schedule", "reference", "extra"):
                    shape = isomer_group(substance.smiles)
                    if shape is not None:
                        groups.setdefault(shape, {}).setdefault(key[:14], substance.name)
            self._isomer_groups = groups
        return self._isomer_groups

    def shipped_substances(self, as_of: date) -> tuple[Shipped, ...]:
        """The substances of schedules and reference lists, the ordinary ones left out, with identity and UN status on a day.

        By InChIKey; worked out once a day.
        """
        with self._lock:
            if self._shipped is not None and self._shipped[0] == (as_of, self.version):
                return self._shipped[1]
        found: dict[str, Shipped] = {}
        for named in self.names.substances.values():
            inchikey = self.names.inchikey_of(named.key)
            wanted = named.smiles and inchikey and named.origin in ("schedule", "reference", "extra")
            if not wanted or inchikey in found or named.key in self.names.ordinary:
                continue
            answer = self.assess((Structure(format=StructureFormat.SMILES, text=named.smiles or ""),), is_set=False, as_of=as_of)
            if answer.assessment is not None and answer.assessment.identity is not None:
                found[inchikey or ""] = Shipped(named, answer.assessment, answer.chemical_group or "other")
        listed = tuple(found[key] for key in sorted(found))
        with self._lock:
            self._shipped = ((as_of, self.version), listed)
        return listed

    def material_matches(self, named: NamedSubstance, as_of: date) -> tuple[Match, ...]:
        """The entry that lists a material by name (opium, coca leaf); empty where none does or not yet on this date."""
        if not named.listed_as:
            return ()
        instrument, _, entry_name = named.listed_as.partition(":")
        return tuple(
            Match(
                instrument=instrument,
                schedule=entry.schedule,
                entry=entry.name,
                basis=Basis.LISTED,
                certainty=Certainty.CERTAIN,
                captured=True,
                captured_elsewhere=None,
                reason=None,
                carve_outs=(),
                rule=f"{instrument.lower()}/listed",
                text_status=entry.text_status,
                explanation=f"Reported by name as {named.name}, which the schedule lists by name; it has no single structure.",
                atoms=(),
                effective_from=entry.effective_from,
                not_before=entry.not_before,
                source=entry.source,
            )
            for entry in self.engine.entries(instrument, as_of=as_of)
            if entry.name == entry_name
        )

    def warm(self) -> None:
        if self._pool is not None:
            self._pool.warm()

    def close(self) -> None:
        self._translator.close()
        if self._pool is not None:
            self._pool.close()

    def _ask(self, question: Question, deadline_s: float) -> Answer:
        pool = self._pool
        if pool is None:
            return answer(self.engine, question)
        try:
            found: Answer = pool.call(question, deadline_s=deadline_s * max(1, len(question.structures)))
        except Overrun:
            return _out_of_time(f"not done within {deadline_s:g} s")
        except WorkerDied as error:
            return _out_of_time(str(error))
        return found
