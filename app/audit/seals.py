"""Seals: each minute's audit entries under one SHA-256, chained to the seal before.

A seal's hash is SHA-256 over the previous seal's hash, its own number, its minute, and the digest of each entry in order of id,
one a line. An entry's digest is SHA-256 over its fields as JSON with sorted names. Anybody with an export can compute both again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from app.persistence import locks
from app.persistence.models import AuditEntry, AuditSeal

FIRST = "0" * 64  # what the first seal is chained to
# a minute is sealed when it is over for this long; what commits later still goes into a following seal, up to LATE
SETTLED = timedelta(minutes=1)
LATE = timedelta(minutes=15)
DIGEST_KEPT = 16


def entry_document(entry: AuditEntry) -> dict[str, object]:
    """An entry as it is exported and hashed. Times in UTC to the microsecond."""
    return {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "kind": entry.kind,
        "actor": entry.actor,
        "org_id": entry.org_id,
        "door": entry.door,
        "request_id": entry.request_id,
        "objects": entry.objects,
    }


def entry_digest(entry: AuditEntry) -> str:
    document = json.dumps(entry_document(entry), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(document.encode()).hexdigest()


def seal_hash(previous: str, seq: int, minute: str, digests: Iterable[str]) -> str:
    lines = "\n".join((previous, str(seq), minute, *digests))
    return hashlib.sha256(lines.encode()).hexdigest()


def minute_of(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}"


def settled_before(now: datetime) -> datetime:
    """Entries from before this moment are due for a seal."""
    return now.replace(second=0, microsecond=0) - SETTLED


def seal_due(session: Session, now: datetime) -> int:
    """Seal every settled minute that has entries; the number of seals made. Any number of sealers is harmless."""
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": locks.SEALING})
    last = session.scalar(select(AuditSeal).order_by(AuditSeal.seq.desc()).limit(1))
    query = select(AuditEntry).where(AuditEntry.at < settled_before(now)).order_by(AuditEntry.at, AuditEntry.id)
    sealed: set[str] = set()
    if last is not None:
        newest = session.scalar(select(func.max(AuditSeal.minute)))
        since = datetime.fromisoformat(f"{newest}:00+00:00") - LATE
        query = query.where(AuditEntry.at >= since)
        # a late seal names an earlier minute, so those of the window are found by their minute
        for entries in session.scalars(select(AuditSeal.entries).where(AuditSeal.minute >= minute_of(since))):
            sealed.update(row[0] for row in entries)
    previous, seq = (last.sha256, last.seq) if last is not None else (FIRST, 0)
    made = 0
    fresh = (entry for entry in session.scalars(query) if entry.id not in sealed)
    for minute, group in groupby(fresh, key=lambda entry: minute_of(entry.at)):
        rows = sorted(((entry.id, entry_digest(entry)) for entry in group), key=lambda row: row[0])
        seq += 1
        sha256 = seal_hash(previous, seq, minute, (digest for _, digest in rows))
        session.execute(insert(AuditSeal).values(**_seal(seq, minute, now, rows, previous, sha256)))
        previous = sha256
        made += 1
    return made


def _seal(seq: int, minute: str, now: datetime, rows: Sequence[tuple[str, str]], previous: str, sha256: str) -> dict[str, object]:
    kept = [[entry_id, digest[:DIGEST_KEPT]] for entry_id, digest in rows]
    return {"seq": seq, "minute": minute, "sealed_at": now, "entries": kept, "previous": previous, "sha256": sha256}
