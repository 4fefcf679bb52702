"""Whether the audit trail still is what was sealed: every changed, removed, inserted or reordered entry by its id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.audit.seals import DIGEST_KEPT, FIRST, entry_digest, minute_of, seal_hash, settled_before
from app.persistence.models import AuditEntry, AuditSeal

CHUNK = 500


@dataclass(slots=True, kw_only=True)
class Verification:
    """What was checked and what is wrong with it. `last` is the newest seal's hash: note it down elsewhere now and then."""

    seals: int = 0
    entries: int = 0
    unsealed: int = 0
    first_minute: str | None = None
    last_minute: str | None = None
    last: str = FIRST
    findings: list[str] = field(default_factory=list)


def verify(session: Session, *, known: Sequence[str] = ()) -> Verification:
    """Walk every seal in order. `known` are hashes noted down earlier: each must still be in the chain."""
    found = Verification()
    wanted = set(known)
    sealed: set[str] = set()
    sealed_at = None
    for seal in session.scalars(select(AuditSeal).order_by(AuditSeal.seq).execution_options(yield_per=CHUNK)):
        _check_link(seal, found)
        _check_entries(session, seal, found)
        sealed.update(row[0] for row in seal.entries)
        wanted.discard(seal.sha256)
        found.seals, found.last = seal.seq, seal.sha256
        found.first_minute = found.first_minute or seal.minute
        found.last_minute = seal.minute
        sealed_at = seal.sealed_at
    found.findings += [f"seal {value} was noted down and is not in the chain" for value in sorted(wanted)]
    found.entries = session.scalar(select(func.count()).select_from(AuditEntry)) or 0
    found.unsealed = found.entries - sum(1 for _ in _present(session, sealed))
    if sealed_at is not None:
        # what was settled when the newest seal was made and is in none came later
        old = session.execute(select(AuditEntry.id, AuditEntry.at).where(AuditEntry.at < settled_before(sealed_at)))
        found.findings += [
            f"entry {entry_id} of {minute_of(at)} was inserted after its minute was sealed"
            for entry_id, at in old
            if entry_id not in sealed
        ]
    return found


def _present(session: Session, ids: set[str]) -> Iterator[str]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), CHUNK):
        yield from session.scalars(select(AuditEntry.id).where(AuditEntry.id.in_(ordered[start : start + CHUNK])))


def _check_link(seal: AuditSeal, found: Verification) -> None:
    if seal.seq != found.seals + 1:
        found.findings.append(f"seals {found.seals + 1} to {seal.seq - 1} were removed")
    if seal.previous != found.last:
        found.findings.append(f"seal {seal.seq} of {seal.minute} is not chained to the seal before it")


def _check_entries(session: Session, seal: AuditSeal, found: Verification) -> None:
    before = len(found.findings)
    ids = [row[0] for row in seal.entries]
    if ids != sorted(ids):
        found.findings.append(f"the entries of seal {seal.seq} of {seal.minute} were reordered")
    entries: dict[str, AuditEntry] = {}
    for start in range(0, len(ids), CHUNK):
        rows = session.scalars(select(AuditEntry).where(AuditEntry.id.in_(ids[start : start + CHUNK])))
        entries.update((row.id, row) for row in rows)
    digests = []
    for entry_id, digest in seal.entries:
        entry = entries.get(entry_id)
        if entry is None:
            found.findings.append(f"entry {entry_id} of {seal.minute} was removed")
            continue
        now = entry_digest(entry)
        digests.append(now)
        if now[:DIGEST_KEPT] != digest:
            found.findings.append(f"entry {entry_id} of {seal.minute} was changed")
    intact = len(found.findings) == before
    if intact and seal_hash(seal.previous, seal.seq, seal.minute, digests) != seal.sha256:
        found.findings.append(f"seal {seal.seq} of {seal.minute} was changed")
