"""Search by structure over the stored substances: an index in a disposable worker, kept up with what is stored.

The index is over everything; who asks gets only what exists for them, and counts, order and pages are made of that alone. A
query that takes too long, whatever its pattern, costs its worker and nothing else.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.auth.permissions import Principal
from app.persistence.models import Substance
from app.persistence.session import Database
from app.pool import Overrun, Pool, WorkerDied
from app.substances.queries import existing_substances
from app.substances.search import CursorError, SubstanceRow, search_substances
from chem.errors import StructureError, StructureProblem
from chem.library import Found, Library, Query, QueryForm, Search
from chem.values import Structure, StructureFormat

DEADLINE_S = 2.0
START_S = 60.0  # for the first query after a worker was replaced, which waits for the index
MOST_NEW = 1_000  # substances sent along with a query, before the index is built anew
IDS_AT_ONCE = 5_000
MOST_CHARACTERS = 4_000

Rows = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Ask:
    """A query, and the substances that came after the worker's index was built."""

    query: Query
    base: int
    fresh: Rows


class _Searcher:
    """Runs in the worker."""

    def __init__(self, rows: Rows) -> None:
        self._library = Library(rows)

    def __call__(self, ask: _Ask | None) -> list[Found] | StructureError:
        if ask is None:
            return []  # a call that only waits until the index is there
        self._library.extend(ask.fresh[len(self._library) - ask.base :])
        try:
            return self._library.find(ask.query)
        except StructureError as error:
            return error


def _initialise(rows: Rows) -> Callable[[_Ask | None], list[Found] | StructureError]:
    return _Searcher(rows)


class StructureIndex:
    """The stored structures of one database, for queries from any thread. Built when first asked."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._pool: Pool | None = None
        self._base: Rows = ()
        self._fresh: Rows = ()

    def find(self, query: Query, *, deadline_s: float = DEADLINE_S) -> list[Found]:
        """Everything stored that fits, for whoever may see it. Raises StructureError: unreadable, too large, or out of time."""
        pool, base, fresh = self._current()
        try:
            pool.call(None, deadline_s=START_S)
            found = pool.call(_Ask(query, base, fresh), deadline_s=deadline_s)
        except Overrun as error:
            detail = f"the search was not done within {deadline_s:g} s: the pattern is too general; name more of its atoms"
            raise StructureError(StructureProblem.TIMEOUT, detail) from error
        except WorkerDied as error:
            raise StructureError(StructureProblem.TIMEOUT, "the search could not be done: simplify the pattern") from error
        if isinstance(found, StructureError):
            raise found
        answer: list[Found] = found
        return answer

    def close(self) -> None:
        with self._lock:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

    def _current(self) -> tuple[Pool, int, Rows]:
        """The pool, how many structures its workers were built with, and those that came since."""
        with self._lock:
            known = len(self._base) + len(self._fresh)
            last = self._fresh[-1][0] if self._fresh else (self._base[-1][0] if self._base else "")
            with self._database.read() as session:
                count = session.scalar(select(func.count()).select_from(Substance).where(*_STORED)) or 0
                new: Rows = ()
                if count != known or self._pool is None:
                    new = _rows(session, after=last)
                    if known + len(new) != count or len(self._fresh) + len(new) > MOST_NEW or self._pool is None:
                        self._rebuild(_rows(session, after=""))
                        new = ()
            self._fresh = (*self._fresh, *new)
            assert self._pool is not None
            return self._pool, len(self._base), self._fresh

    def _rebuild(self, rows: Rows) -> None:
        before = self._pool
        self._base, self._fresh = rows, ()
        self._pool = Pool(partial(_initialise, rows), size=2)
        if before is not None:
            before.retire()


_STORED = (Substance.smiles.is_not(None), Substance.merged_into.is_(None))


def _rows(session: Session, *, after: str) -> Rows:
    query = select(Substance.id, Substance.smiles).where(*_STORED, Substance.id > after).order_by(Substance.id)
    return tuple((identifier, smiles) for identifier, smiles in session.execute(query) if smiles is not None)


def query_of(context: Any, search: Search, form: str, text: str, *, least: float = 0.0) -> Query:
    """The query for a structure as it was sent. Raises StructureError where it is refused.

    A similarity search compares parents. A substructure is looked for as drawn; an InChI or molfile by way of its own structure.
    """
    if form == QueryForm.SMARTS:
        return Query(search=search, form=QueryForm.SMARTS, text=text, least=least)
    if form == QueryForm.SMILES and search is Search.SUBSTRUCTURE:
        if len(text) > MOST_CHARACTERS:
            raise StructureError(StructureProblem.TOO_LARGE, f"the SMILES has more than {MOST_CHARACTERS:,} characters")
        return Query(search=search, form=QueryForm.SMILES, text=text.strip(), least=least)
    found = context.chemistry.identify(Structure(format=StructureFormat(form), text=text))
    if found.identity is None:
        raise StructureError(StructureProblem(found.problem), found.detail)
    smiles = found.identity.parent_smiles
    return Query(search=search, form=QueryForm.SMILES, text=smiles, least=least)


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureRow:
    """A substance found, with its similarity to the query (0.0 to 1.0; none where the query is a pattern)."""

    substance: SubstanceRow
    similarity: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StructurePage:
    """One page of what was found and exists for the reader, most similar first."""

    items: tuple[StructureRow, ...]
    total: int
    next_cursor: str | None


def search_structures(
    session: Session,
    index: StructureIndex,
    principal: Principal | None,
    query: Query,
    *,
    now: datetime,
    limit: int,
    cursor: str | None = None,
) -> StructurePage:
    """Substances that hold the structure, or are like it. Raises StructureError and CursorError."""
    after = _decode(cursor, query) if cursor else None
    hits = index.find(query)
    visible = _visible(session, principal, [hit.id for hit in hits])
    hits = [hit for hit in hits if hit.id in visible]
    rest = hits if after is None else [hit for hit in hits if (-hit.similarity, hit.id) > after]
    chosen = rest[:limit]
    rows: dict[str, SubstanceRow] = {}
    if chosen:
        page = search_substances(session, principal, now=now, ids=[hit.id for hit in chosen], limit=limit)
        rows = {row.id: row for row in page.items}
    similar = query.form.value != "smarts"
    return StructurePage(
        items=tuple(
            StructureRow(substance=rows[hit.id], similarity=hit.similarity if similar else None)
            for hit in chosen
            if hit.id in rows
        ),
        total=len(hits),
        next_cursor=_encode(chosen[-1], query) if len(rest) > limit else None,
    )


def _visible(session: Session, principal: Principal | None, ids: list[str]) -> set[str]:
    found: set[str] = set()
    for start in range(0, len(ids), IDS_AT_ONCE):
        part = ids[start : start + IDS_AT_ONCE]
        found.update(session.scalars(select(Substance.id).where(existing_substances(principal), Substance.id.in_(part))))
    return found


def _encode(hit: Found, query: Query) -> str:
    values = [query.search.value, hit.similarity, hit.id]
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def _decode(cursor: str, query: Query) -> tuple[float, str]:
    try:
        values: Any = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError) as error:
        raise CursorError("the cursor cannot be read") from error
    fits = isinstance(values, list) and len(values) == 3 and isinstance(values[1], int | float) and isinstance(values[2], str)
    if not fits or values[0] != query.search.value:
        raise CursorError("the cursor belongs to another search")
    return -float(values[1]), values[2]
